//! What a machine writes on its serial port, as text that grows.

use std::io::Read;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

/// What the kernel writes when its PID 1 has died, among other reasons.
const KERNEL_PANIC: &str = "Kernel panic - not syncing";

#[derive(Default)]
struct Text {
    text: String,
    ended: bool,
}

/// The serial port's other end.
pub(super) struct Console {
    shared: Arc<(Mutex<Text>, Condvar)>,
    reader: Option<JoinHandle<()>>,
}

impl Console {
    /// Reads until the machine is gone.
    pub(super) fn read(port: impl Read + Send + 'static) -> Console {
        let shared = Arc::<(Mutex<Text>, Condvar)>::default();
        let reader = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || read_all(port, &shared)
        });
        Console { shared, reader: Some(reader) }
    }

    /// Waits until `text` stands at `from` or behind it. Returns the position behind it. In the
    /// error: why it will not come.
    pub(super) fn wait_for(&self, from: usize, text: &str, deadline: Instant) -> Result<usize, String> {
        let (shared, changed) = &*self.shared;
        let mut now = shared.lock().unwrap();
        loop {
            if let Some(position) = now.text[from..].find(text) {
                return Ok(from + position + text.len());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if now.text.contains(KERNEL_PANIC) {
                return Err(format!("the kernel panicked while {text:?} was waited for"));
            } else if now.ended {
                return Err(format!("the machine is gone, and {text:?} did not come"));
            } else if left.is_zero() {
                return Err(format!("{text:?} did not come in time"));
            }
            now = changed.wait_timeout(now, left).unwrap().0;
        }
    }

    /// All of it so far.
    pub(super) fn text(&self) -> String {
        self.shared.0.lock().unwrap().text.clone()
    }

    pub(super) fn has_kernel_panic(&self) -> bool {
        self.text().contains(KERNEL_PANIC)
    }

    /// Waits for the last byte of a machine that has ended.
    pub(super) fn join(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
    }
}

fn read_all(mut port: impl Read, shared: &(Mutex<Text>, Condvar)) {
    let mut bytes = [0; 4096];
    let mut plain = Plain::default();
    loop {
        let count = port.read(&mut bytes).unwrap_or(0);
        let mut now = shared.0.lock().unwrap();
        now.text.extend(String::from_utf8_lossy(&bytes[..count]).chars().filter(|&c| plain.keeps(c)));
        now.ended = count == 0;
        shared.1.notify_all();
        if count == 0 {
            return;
        }
    }
}

/// Leaves out carriage returns, and what only moves a cursor or colours a terminal (ECMA-48, 5.4).
#[derive(Default)]
enum Plain {
    #[default]
    Text,
    Escape,
    Sequence,
}

impl Plain {
    fn keeps(&mut self, character: char) -> bool {
        match (&self, character) {
            (Plain::Text, '\x1b') => *self = Plain::Escape,
            (Plain::Text, '\r') => {}
            (Plain::Text, _) => return true,
            (Plain::Escape, '[') => *self = Plain::Sequence,
            (Plain::Escape, _) => *self = Plain::Text,
            (Plain::Sequence, '@'..='~') => *self = Plain::Text,
            (Plain::Sequence, _) => {}
        }
        false
    }
}
