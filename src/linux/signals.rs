//! Signals to the supervisor, as something that epoll sees (signal-hook's pipe).

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use libc::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, c_int};
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::SignalOnly;

/// What a signal to us means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// SIGCHLD: a child has ended. Every turn of the loop looks for such; this makes it turn.
    Reap,
    /// SIGTERM, SIGINT (Ctrl-C), SIGQUIT, or SIGHUP (the terminal is gone): stop everything.
    Stop,
    /// SIGUSR1 or SIGUSR2, whose default would end us and orphan the containers: nothing.
    Ignore,
}

/// The signals that this process ignores, as a mask (proc(5), `SigIgn`).
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

/// The signals that we take.
#[derive(Debug)]
pub struct Signals {
    delivery: SignalDelivery<UnixStream, SignalOnly>,
}

impl Signals {
    /// From here on none of them ends the process. Fails with `EMFILE` and the like.
    pub fn register() -> io::Result<Signals> {
        let (read, write) = UnixStream::pair()?;
        let ignored = ignored();
        // What nohup(1) or a shell's `&` has made us ignore stays ignored.
        let wanted = |signal: &c_int| match *signal {
            SIGHUP | SIGINT | SIGQUIT => ignored >> (signal - 1) & 1 == 0,
            _ => true,
        };
        let all = [SIGCHLD, SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2].into_iter().filter(wanted);
        Ok(Signals { delivery: SignalDelivery::with_pipe(read, write, SignalOnly, all)? })
    }

    /// What has come since the last call; several of the same signal count once.
    pub fn take(&mut self) -> impl Iterator<Item = Request> {
        self.delivery.pending().map(|signal| match signal {
            SIGCHLD => Request::Reap,
            SIGTERM | SIGINT | SIGQUIT | SIGHUP => Request::Stop,
            _ => Request::Ignore,
        })
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.delivery.get_read().as_fd()
    }
}
