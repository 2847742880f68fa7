//! wait: who of our children has ended, and how.

use nix::errno::Errno;
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
