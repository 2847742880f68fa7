//! wait: who of our children has ended, and how.

use core::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::time::TimeSpec;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use crate::supervisor::record::ExitStatus;

/// Children that one turn of the loop reaps at most. A storm of orphans (we are everybody's
/// reaper) must not hold up the decisions.
pub const REAPS_MAX: usize = 256;

/// `waitpid(-1, &status, WNOHANG | __WALL)` — takes one ended child off the kernel's list: ours,
/// or an orphan that fell to us. `None`: none has ended (or there is none at all, `ECHILD`).
///
/// Not nix's wrapper: that one fails, after the child is gone, for a child that was killed by a
/// real-time signal, which has no name there. A container's end would be lost.
#[allow(unsafe_code, reason = "nix loses children that a real-time signal killed")]
pub fn next() -> Option<(Pid, ExitStatus)> {
    let mut status = 0;
    loop {
        // SAFETY: `status` is ours and outlives the call, which writes one int into it.
        match Errno::result(unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG | libc::__WALL) }) {
            Ok(0) => return None,
            Ok(pid) => return Some((Pid::from_raw(pid), decode(status))),
            Err(Errno::EINTR) => {}
            Err(_) => return None,
        }
    }
}

/// Whether we have children, ended or not. Takes none off the list.
pub fn has_children() -> bool {
    // Any other error is one of nix's about a child that there is.
    look() != Err(Errno::ECHILD)
}

/// Waits until a child has ended, but at most for `patience`; may return earlier. Only where no
/// loop runs: before it, and at the end.
#[allow(unsafe_code, reason = "nix has no wrapper for sigtimedwait")]
pub fn wait(patience: Duration) {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGCHLD);
    // Blocked first, so that a child that ends after the look below leaves its signal pending,
    // whatever its disposition (signal(7)).
    let Ok(before) = signals.thread_swap_mask(SigmaskHow::SIG_BLOCK) else { return };
    if matches!(look(), Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD)) {
        let patience = TimeSpec::from_duration(patience);
        let (signals, patience) = (signals.as_ref(), patience.as_ref());
        // SAFETY: both outlive the call; nothing is asked for about the signal.
        unsafe { libc::sigtimedwait(signals, core::ptr::null_mut(), patience) };
    }
    // A mask that was in force before is in force again; that cannot fail.
    let _ = before.thread_set_mask();
}

/// `waitid(P_ALL, …, WEXITED | WNOHANG | WNOWAIT)`
fn look() -> nix::Result<WaitStatus> {
    waitid(Id::All, WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT)
}

fn decode(status: libc::c_int) -> ExitStatus {
    if libc::WIFEXITED(status) {
        // The kernel keeps eight bits of it.
        ExitStatus::Code(u8::try_from(libc::WEXITSTATUS(status)).unwrap_or(u8::MAX))
    } else if libc::WIFSIGNALED(status) {
        ExitStatus::Signal(u8::try_from(libc::WTERMSIG(status)).unwrap_or(0))
    } else {
        ExitStatus::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exits_and_signals_are_told_apart() {
        for (status, expected) in [
            (0, ExitStatus::Code(0)),
            (7 << 8, ExitStatus::Code(7)),
            (255 << 8, ExitStatus::Code(255)),
            (9, ExitStatus::Signal(9)),
            (40, ExitStatus::Signal(40)),
            (0x80 | 11, ExitStatus::Signal(11)),
        ] {
            assert_eq!(decode(status), expected);
        }
    }
}
