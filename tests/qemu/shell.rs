//! A shell in the machine, on a line of its own: what it says and what the console says do not mix.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Instant;

/// The name of the line in the machine. It is no terminal: nothing is echoed.
const PORT: &str = "/dev/vport0p1";

/// What the machine must load for it.
pub(super) const MODULES: [&str; 2] = ["virtio_pci", "virtio_console"];

/// What the machine runs. One process at a time may open such a line, so it is opened once.
/// Another shell follows one that ended.
pub(super) fn script() -> String {
    format!("exec <> {PORT} >&0 2>&0; while :; do sh; sleep 0.1; done")
}

pub(super) struct Shell {
    stream: UnixStream,
    commands: u32,
}

impl Shell {
    pub(super) fn new(stream: UnixStream) -> Shell {
        Shell { stream, commands: 0 }
    }

    /// Starts a command. What it says and how it ends is `end`'s.
    pub(super) fn begin(&mut self, command: &str) {
        self.commands += 1;
        // In braces: what is set stays set, and the command does not read the next one.
        let mark = mark(self.commands);
        writeln!(self.stream, "{{\n{command}\n}} < /dev/null; echo \"{mark} $? .\"").unwrap();
    }

    /// Waits until the command has ended. Returns its output and status. In the error: what there
    /// is of its output.
    pub(super) fn end(&mut self, deadline: Instant) -> Result<(String, u32), String> {
        let mark = mark(self.commands);
        let mut output = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&output);
            let found = text.split_once(&mark).and_then(|(text, rest)| {
                let (status, _) = rest.split_once(" .\n")?;
                Some((text.trim_end().to_owned(), status.trim().parse().unwrap()))
            });
            if let Some(found) = found {
                return Ok(found);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(text.into_owned());
            }
            self.stream.set_read_timeout(Some(left)).unwrap();
            let mut bytes = [0; 4096];
            match self.stream.read(&mut bytes) {
                Ok(0) => return Err(text.into_owned()),
                Ok(count) => output.extend(&bytes[..count]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => return Err(format!("{text}\n{error}")),
            }
        }
    }
}

fn mark(number: u32) -> String {
    format!("@{number}@")
}
