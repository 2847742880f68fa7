//! Signals to the supervisor, as something that epoll sees (signal-hook's pipe).

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use libc::{SIGCHLD, SIGHUP, SIGINT, SIGPWR, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, c_int};
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::SignalOnly;

use crate::supervisor::event::Goal;

/// What a signal to us means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// SIGCHLD: a child has ended. Every turn of the loop looks for such; this makes it turn.
    Reap,
    /// Stop everything in order.
    Stop(Goal),
    /// Stop everything without waiting for grace periods.
    StopAtOnce(Goal),
    /// SIGHUP to a service (daemon(7)): look at the configuration files again.
    Reload,
    /// A signal whose default would end us and orphan the containers: nothing.
    Ignore,
}

/// A process like others: all signals that ask it to end mean the same.
const PROCESS: [(c_int, Request); 7] = [
    (SIGCHLD, Request::Reap),
    (SIGTERM, Request::Stop(Goal::Exit)),
    // Ctrl-C.
    (SIGINT, Request::Stop(Goal::Exit)),
    (SIGQUIT, Request::Stop(Goal::Exit)),
    // The terminal is gone.
    (SIGHUP, Request::Stop(Goal::Exit)),
    (SIGUSR1, Request::Ignore),
    (SIGUSR2, Request::Ignore),
];

/// A service: the same, but for SIGHUP, since it has no terminal that could go.
const SERVICE: [(c_int, Request); 7] = [
    (SIGCHLD, Request::Reap),
    (SIGTERM, Request::Stop(Goal::Exit)),
    (SIGINT, Request::Stop(Goal::Exit)),
    (SIGQUIT, Request::Stop(Goal::Exit)),
    (SIGHUP, Request::Reload),
    (SIGUSR1, Request::Ignore),
    (SIGUSR2, Request::Ignore),
];

/// The first real-time signal that a program can use with glibc. Not `SIGRTMIN()`: musl keeps one
/// more for itself, but those who send us such a signal mean these numbers.
const RTMIN: c_int = 34;

/// The first process of a machine: what busybox' `poweroff`, `reboot` and `halt` send to their
/// init, the kernel on Ctrl-Alt-Del, a UPS daemon, and what systemd's tools and container managers
/// send to systemd. docs/edge-image.md has the table.
const FIRST_PROCESS: [(c_int, Request); 15] = [
    (SIGCHLD, Request::Reap),
    // Ctrl-Alt-Del (reboot(2), LINUX_REBOOT_CMD_CAD_OFF).
    (SIGINT, Request::Stop(Goal::Reboot)),
    (SIGTERM, Request::Stop(Goal::Reboot)),
    (SIGUSR1, Request::Stop(Goal::Halt)),
    (SIGUSR2, Request::Stop(Goal::PowerOff)),
    (SIGPWR, Request::Stop(Goal::PowerOff)),
    (RTMIN + 3, Request::Stop(Goal::Halt)),
    (RTMIN + 4, Request::Stop(Goal::PowerOff)),
    (RTMIN + 5, Request::Stop(Goal::Reboot)),
    (RTMIN + 13, Request::StopAtOnce(Goal::Halt)),
    (RTMIN + 14, Request::StopAtOnce(Goal::PowerOff)),
    (RTMIN + 15, Request::StopAtOnce(Goal::Reboot)),
    (SIGHUP, Request::Ignore),
    (SIGQUIT, Request::Ignore),
    // A write to a console that is gone.
    (libc::SIGPIPE, Request::Ignore),
];

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
    meanings: &'static [(c_int, Request)],
}

impl Signals {
    /// From here on none of them ends the process. SIGHUP means a reload to a service, which has
    /// no terminal, and else a stop. Fails with `EMFILE` and the like.
    pub fn register(service: bool) -> io::Result<Signals> {
        let meanings = if service { &SERVICE } else { &PROCESS };
        let ignored = ignored();
        // What nohup(1) or a shell's `&` has made us ignore stays ignored.
        let wanted = |signal: &c_int| match *signal {
            SIGHUP | SIGINT | SIGQUIT => ignored >> (signal - 1) & 1 == 0,
            _ => true,
        };
        Signals::take_over(meanings, meanings.iter().map(|(signal, _)| *signal).filter(wanted))
    }

    /// As the first process of the machine. Fails with `EMFILE` and the like.
    pub fn register_first_process() -> io::Result<Signals> {
        Signals::take_over(&FIRST_PROCESS, FIRST_PROCESS.iter().map(|(signal, _)| *signal))
    }

    fn take_over(
        meanings: &'static [(c_int, Request)],
        signals: impl Iterator<Item = c_int>,
    ) -> io::Result<Signals> {
        let (read, write) = UnixStream::pair()?;
        let signals: Vec<c_int> = signals.collect();
        Ok(Signals { delivery: SignalDelivery::with_pipe(read, write, SignalOnly, signals)?, meanings })
    }

    /// What has come since the last call; several of the same signal count once.
    pub fn take(&mut self) -> impl Iterator<Item = Request> {
        let meanings = self.meanings;
        self.delivery.pending().map(|signal| {
            let found = meanings.iter().find(|(known, _)| *known == signal);
            found.map_or(Request::Ignore, |(_, request)| *request)
        })
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.delivery.get_read().as_fd()
    }
}
