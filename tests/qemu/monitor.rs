//! QEMU's monitor: keys of a keyboard, and why the machine ended.
//!
//! One JSON object a line, see "QEMU Machine Protocol Specification" in QEMU's manual.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use serde_json::{Value, json};

/// How a machine ended by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    PowerOff,
    Reboot,
}

#[derive(Default)]
struct Said {
    ending: Option<Ending>,
    replies: Vec<Value>,
    gone: bool,
}

pub(super) struct Monitor {
    stream: UnixStream,
    said: Arc<(Mutex<Said>, Condvar)>,
}

impl Monitor {
    pub(super) fn new(stream: UnixStream) -> Monitor {
        let said = Arc::<(Mutex<Said>, Condvar)>::default();
        let lines = BufReader::new(stream.try_clone().unwrap());
        std::thread::spawn({
            let said = Arc::clone(&said);
            move || listen(lines, &said)
        });
        Monitor { stream, said }
    }

    /// Executes a command. Fails if QEMU refuses it.
    pub(super) fn execute(&mut self, command: &str, arguments: &Value, deadline: Instant) {
        let line = json!({ "execute": command, "arguments": arguments });
        writeln!(self.stream, "{line}").unwrap();
        let (said, changed) = &*self.said;
        let mut said = said.lock().unwrap();
        loop {
            if let Some(reply) = said.replies.pop() {
                assert!(reply["return"].is_object(), "{line}: {reply}");
                return;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!said.gone && !left.is_zero(), "{line}: no reply");
            said = changed.wait_timeout(said, left).unwrap().0;
        }
    }

    /// Waits until the machine has ended. `None`: not by `deadline`, or QEMU died.
    pub(super) fn wait_for_end(&self, deadline: Instant) -> Option<Ending> {
        let (said, changed) = &*self.said;
        let mut said = said.lock().unwrap();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if said.ending.is_some() || said.gone || left.is_zero() {
                return said.ending;
            }
            said = changed.wait_timeout(said, left).unwrap().0;
        }
    }
}

fn listen(lines: BufReader<UnixStream>, said: &(Mutex<Said>, Condvar)) {
    for line in lines.lines() {
        let Ok(line) = line else { break };
        let value: Value = serde_json::from_str(&line).unwrap_or_default();
        let mut said_now = said.0.lock().unwrap();
        match value["data"]["reason"].as_str() {
            Some("guest-shutdown") if value["event"] == "SHUTDOWN" => {
                said_now.ending = Some(Ending::PowerOff)
            }
            Some("guest-reset") if value["event"] == "SHUTDOWN" => said_now.ending = Some(Ending::Reboot),
            _ if value["return"].is_object() || value["error"].is_object() => said_now.replies.push(value),
            // The greeting, and events that nobody waits for.
            _ => {}
        }
        said.1.notify_all();
    }
    said.0.lock().unwrap().gone = true;
    said.1.notify_all();
}
