//! One run of `outrigger`, seen from outside: its lines, its process, its exit status.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::unistd::{Pid, pipe2};
use outrigger::linux::pidfd;

use super::machine::Machine;

/// How long to wait for what must come. Wide: other tests and other programs want the CPU, too.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// A line of output and when it came.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) at: Instant,
    pub(super) text: String,
}

#[derive(Default)]
struct Output {
    lines: Vec<Line>,
    ended: bool,
}

type Shared = Arc<(Mutex<Output>, Condvar)>;

/// A run that is under way. Killed when it is dropped before it has ended.
pub(super) struct Run<'m> {
    machine: &'m Machine,
    child: Child,
    pidfd: OwnedFd,
    output: Shared,
    reader: Option<JoinHandle<()>>,
    ended: bool,
}

/// A run that has ended.
pub(super) struct Ended {
    /// The exit status; `None` if a signal ended it.
    pub(super) status: Option<i32>,
    pub(super) lines: Vec<Line>,
    pub(super) at: Instant,
}

impl<'m> Run<'m> {
    /// Standard output and error go into one pipe, so that the order of their lines is known.
    pub(super) fn start(machine: &'m Machine, mut command: Command) -> Run<'m> {
        let (read, write) = pipe2(OFlag::O_CLOEXEC).unwrap();
        command.stdin(Stdio::null()).stdout(write.try_clone().unwrap()).stderr(write);
        let child = command.spawn().unwrap();
        drop(command);
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
        let output = Shared::default();
        let reader = std::thread::spawn({
            let output = Arc::clone(&output);
            move || read_lines(read, &output)
        });
        Run { machine, pidfd: pidfd::open(pid).unwrap(), child, output, reader: Some(reader), ended: false }
    }

    pub(super) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    /// Waits for a line that contains `text`, not before line `from`. Returns its position.
    pub(super) fn wait_for_after(&self, from: usize, text: &str) -> usize {
        let deadline = Instant::now() + PATIENCE;
        let (output, changed) = &*self.output;
        let mut output = output.lock().unwrap();
        let mut searched = from;
        loop {
            let found = output.lines.iter().skip(searched).position(|line| line.text.contains(text));
            if let Some(position) = found {
                return searched + position;
            }
            searched = searched.max(output.lines.len());
            let left = deadline.saturating_duration_since(Instant::now());
            if output.ended || left.is_zero() {
                let lines = join(&output.lines);
                // Not while the lock is held: it would be poisoned for the reader.
                drop(output);
                panic!("no line with {text:?} after line {from} in:\n{lines}");
            }
            output = changed.wait_timeout(output, left).unwrap().0;
        }
    }

    /// Waits for a line that contains `text`. Returns its position.
    pub(super) fn wait_for(&self, text: &str) -> usize {
        self.wait_for_after(0, text)
    }

    /// The lines so far.
    pub(super) fn lines(&self) -> Vec<Line> {
        self.output.0.lock().unwrap().lines.clone()
    }

    /// The line at a position.
    pub(super) fn line(&self, position: usize) -> Line {
        self.output.0.lock().unwrap().lines[position].clone()
    }

    pub(super) fn signal(&self, signal: Signal) {
        // ESRCH: it has just ended by itself, which `end` will show.
        let _ = pidfd::send_signal(self.pidfd.as_fd(), signal as i32);
    }

    /// Waits until it has ended by itself, and that nothing is left of it.
    pub(super) fn end(self) -> Ended {
        let machine = self.machine;
        let ended = self.end_leaving();
        let lines = join(&ended.lines);
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| machine.assert_nothing_left()));
        assert!(found.is_ok(), "after this run something was left behind:\n{lines}");
        ended
    }

    /// Asks it to stop, and waits until it has.
    pub(super) fn stop(self) -> Ended {
        self.signal(Signal::SIGTERM);
        self.end()
    }

    /// Waits until its process has ended. What it leaves is the test's affair.
    pub(super) fn end_leaving(mut self) -> Ended {
        assert!(poll_readable(&self.pidfd, PATIENCE), "it does not end:\n{}", join(&self.lines()));
        let at = Instant::now();
        let status = self.child.wait().unwrap().code();
        self.ended = true;
        // The log writer ends after it, and with that the output.
        self.reader.take().unwrap().join().unwrap();
        Ended { status, lines: self.lines(), at }
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.signal(Signal::SIGKILL);
            let _ = self.child.wait();
        }
    }
}

impl Ended {
    pub(super) fn text(&self) -> String {
        join(&self.lines)
    }

    /// Fails unless it ended with this exit status.
    pub(super) fn assert_status(&self, status: i32) {
        assert_eq!(self.status, Some(status), "exit status, output:\n{}", self.text());
    }

    /// Fails unless there are lines that contain these texts, in this order.
    pub(super) fn assert_order(&self, texts: &[&str]) {
        let mut lines = self.lines.iter();
        for text in texts {
            assert!(
                lines.any(|line| line.text.contains(text)),
                "{text:?} is not in its place:\n{}",
                self.text()
            );
        }
    }

    pub(super) fn assert_has(&self, text: &str) {
        assert!(self.count(text) > 0, "no line with {text:?} in:\n{}", self.text());
    }

    pub(super) fn count(&self, text: &str) -> usize {
        self.lines.iter().filter(|line| line.text.contains(text)).count()
    }
}

/// Asks again and again, for what tells nobody when it comes. Returns whether it came.
pub(super) fn poll_until(patience: Duration, mut come: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + patience;
    loop {
        if come() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        pause(Duration::from_millis(5));
    }
}

/// For moments that no event marks: a stop request in the middle of something.
pub(super) fn pause(duration: Duration) {
    let timeout = PollTimeout::try_from(duration).unwrap();
    // Without descriptors it waits out the time.
    let _ = poll(&mut [], timeout);
}

fn poll_readable(fd: &OwnedFd, patience: Duration) -> bool {
    let mut watched = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    poll(&mut watched, PollTimeout::try_from(patience).unwrap()).unwrap() > 0
}

fn read_lines(read: OwnedFd, output: &Shared) {
    let mut reader = BufReader::new(File::from(read));
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        let count = reader.read_until(b'\n', &mut bytes).unwrap();
        let mut output_now = output.0.lock().unwrap();
        if count == 0 {
            output_now.ended = true;
        } else {
            let text = String::from_utf8_lossy(&bytes).trim_end().to_owned();
            output_now.lines.push(Line { at: Instant::now(), text });
        }
        output.1.notify_all();
        if count == 0 {
            return;
        }
    }
}

/// The lines as text; of very many or very long ones, what a reader of a failed test can use.
fn join(lines: &[Line]) -> String {
    const LINES_MAX: usize = 300;
    let shown = lines.iter().skip(lines.len().saturating_sub(LINES_MAX));
    shown.map(|line| line.text.chars().take(400).chain(['\n']).collect::<String>()).collect()
}
