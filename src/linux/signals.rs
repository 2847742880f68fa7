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
    /// SIGTERM, SIGINT (Ctrl-C), SIGQUIT, or in the foreground SIGHUP (the terminal is gone): stop
    /// everything.
    Stop,
    /// SIGHUP to a service (daemon(7)): look at the configuration files again.
    Reload,
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
    hangup: Request,
}

impl Signals {
    /// From here on none of them ends the process. SIGHUP means a reload to a service, which has
    /// no terminal, and else a stop. Fails with `EMFILE` and the like.
    pub fn register(service: bool) -> io::Result<Signals> {
        let hangup = if service { Request::Reload } else { Request::Stop };
        let (read, write) = UnixStream::pair()?;
        let ignored = ignored();
        // What nohup(1) or a shell's `&` has made us ignore stays ignored.
        let wanted = |signal: &c_int| match *signal {
            SIGHUP | SIGINT | SIGQUIT => ignored >> (signal - 1) & 1 == 0,
            _ => true,
        };
        let all = [SIGCHLD, SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2].into_iter().filter(wanted);
        Ok(Signals { delivery: SignalDelivery::with_pipe(read, write, SignalOnly, all)?, hangup })
    }

    /// What has come since the last call; several of the same signal count once.
    pub fn take(&mut self) -> impl Iterator<Item = Request> {
        let hangup = self.hangup;
        self.delivery.pending().map(move |signal| match signal {
            SIGCHLD => Request::Reap,
            SIGTERM | SIGINT | SIGQUIT => Request::Stop,
            SIGHUP => hangup,
            _ => Request::Ignore,
        })
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.delivery.get_read().as_fd()
    }
}
