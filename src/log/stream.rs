//! Which streams of bytes there are, and whose they are.

use crate::limits::NAME_MAX;

/// One open stream: its position in the supervisor's table, free for another stream once the log
/// writer has reported its end. Range: below `STREAMS_MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamId(pub u16);

impl StreamId {
    /// The supervisor's own lines. Open as long as the supervisor lives.
    pub const SUPERVISOR: StreamId = StreamId(0);

    /// The position as a number that slices take.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// Which of the two streams of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standard {
    /// Descriptor 1.
    Output,
    /// Descriptor 2.
    Error,
}

impl Standard {
    /// The name that the CRI log format has for it.
    pub fn name(self) -> &'static str {
        match self {
            Standard::Output => "stdout",
            Standard::Error => "stderr",
        }
    }
}

/// Whose output it is: one instance of one container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Labels<'a> {
    /// Name of the pod.
    pub pod: &'a str,
    /// Name of the container, unique in the pod.
    pub container: &'a str,
    /// How often the container was restarted before; 0 is its first instance.
    pub instance: u32,
    /// Position of the container in the plan; chooses its colour.
    pub position: u16,
    /// Whether the log writer is to tell how its output has ended.
    pub last_lines: bool,
}

impl Labels<'_> {
    /// Whether both names are RFC 1123 labels. They become directories, so a name with a slash or
    /// dots would lead elsewhere.
    pub fn are_valid(&self) -> bool {
        is_label(self.pod) && is_label(self.container)
    }
}

fn is_label(name: &str) -> bool {
    let valid = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !name.is_empty() && name.len() <= NAME_MAX && name.bytes().all(valid)
}

/// Where a stream comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source<'a> {
    /// What the supervisor itself says.
    Supervisor,
    /// What a container says.
    Container {
        /// Whose output it is.
        labels: Labels<'a>,
        /// On which of its two streams.
        standard: Standard,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_not_labels() {
        let long = "a".repeat(NAME_MAX + 1);
        for name in ["", ".", "..", "a/b", "/", "a.b", "A", "ä", "a b", "a\0", long.as_str()] {
            for (pod, container) in [(name, "app"), ("pod", name)] {
                let labels = Labels { pod, container, instance: 0, position: 0, last_lines: false };
                assert!(!labels.are_valid(), "{labels:?}");
            }
        }
        let longest = "a".repeat(NAME_MAX);
        let labels =
            Labels { pod: "web-1", container: &longest, instance: 0, position: 0, last_lines: false };
        assert!(labels.are_valid());
    }
}
