//! What the OOM killer is told about us and our children: `/proc/self/oom_score_adj`, proc(5).
//!
//! Any process may raise its value; to lower it below the lowest that a privileged one has ever
//! set, CAP_SYS_RESOURCE is needed. Children begin with their parent's.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};

const FILE: &str = "/proc/self/oom_score_adj";

/// Ours, as the kubelet's: as good as never. -1000 is never, and then a limit of the cgroup that we
/// are in could kill nobody.
const OWN: i32 = -999;

/// What may be told about children.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OomScore {
    /// What was told about us before.
    given: i32,
    /// The lowest that children may have; `None`: any.
    lowest: Option<i32>,
}

impl OomScore {
    /// Has the OOM killer spare us. In the second place: why that cannot be.
    pub fn protect() -> (OomScore, Option<String>) {
        let found = fs::read_to_string(FILE).ok().and_then(|text| text.trim().parse().ok());
        let lowered = write(OWN);
        let score = OomScore::from_found(found, lowered.is_ok());
        let why = lowered.err().map(|error| {
            format!(
                "the OOM killer is not told to spare the supervisor: oom_score_adj stays {} ({}), and no \
                 container has less",
                score.given,
                super::reason(&error)
            )
        });
        (score, why)
    }

    fn from_found(found: Option<i32>, lowered: bool) -> OomScore {
        // After a crash of the first process, the next one finds what the one before has set.
        let given = found.filter(|&found| found != OWN).unwrap_or(0);
        OomScore { given, lowest: (!lowered).then_some(given) }
    }

    /// What of a wanted value is possible.
    pub fn possible(&self, wanted: i32) -> i32 {
        self.lowest.map_or(wanted, |lowest| wanted.max(lowest))
    }

    /// Tells about us what was told before.
    pub fn give_back(&self) {
        // Raising it is always allowed; where it was not lowered nothing changes.
        let _ = write(self.given);
    }
}

fn write(value: i32) -> io::Result<()> {
    // Not `fs::write`: that would make a file where there is none.
    OpenOptions::new().write(true).open(FILE)?.write_all(value.to_string().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_nothing_may_be_lowered_children_have_at_least_what_was_given() {
        for (found, lowered, wanted, expected) in [
            (Some(0), true, -997, -997),
            (Some(0), true, 1000, 1000),
            (Some(0), false, -997, 0),
            (Some(0), false, 500, 500),
            (Some(100), false, 3, 100),
            (Some(-500), false, -997, -500),
            (None, false, -997, 0),
        ] {
            let score = OomScore::from_found(found, lowered);
            assert_eq!(score.possible(wanted), expected, "{found:?} {lowered} {wanted}");
        }
    }

    #[test]
    fn what_an_instance_before_has_set_was_not_given() {
        assert_eq!(OomScore::from_found(Some(OWN), true).given, 0);
        assert_eq!(OomScore::from_found(Some(-998), true).given, -998);
    }
}
