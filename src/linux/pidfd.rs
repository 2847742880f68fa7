//! The calls on processes and their descriptors that nix lacks.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::unistd::Pid;

/// `pidfd_open(child, 0)` — a descriptor that becomes readable when `child` ends.
///
/// `child` must be ours and not yet reaped, so that its number cannot have been reused.
/// Linux 5.3, pidfd_open(2); before that `ENOSYS`, and SIGCHLD alone tells of the end.
/// Close-on-exec by itself.
#[allow(unsafe_code, reason = "nix has no wrapper")]
pub fn open(child: Pid) -> nix::Result<OwnedFd> {
    // SAFETY: both arguments are integers; the kernel reads no memory of ours.
    let raw = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, child.as_raw(), 0) })?;
    let raw = RawFd::try_from(raw).map_err(|_| Errno::EBADF)?;
    // SAFETY: the call succeeded, so `raw` is open and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// `pidfd_send_signal(pidfd, signal, NULL, 0)` — cannot hit another process, whatever happened to
/// the number in between. Linux 5.1, pidfd_send_signal(2). `ESRCH`: it was reaped already.
#[allow(unsafe_code, reason = "nix has no wrapper")]
pub fn send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> nix::Result<()> {
    let info = core::ptr::null::<libc::siginfo_t>();
    // SAFETY: a null siginfo is allowed and means what kill(2) would send; the rest are integers.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, info, 0) };
    Errno::result(result).map(drop)
}

/// `kill(child, signal)` — nix has no names for real-time signals. `child` must be ours and not yet
/// reaped. kill(2).
#[allow(unsafe_code, reason = "nix knows no real-time signals")]
pub fn send_real_time_signal(child: Pid, signal: i32) -> nix::Result<()> {
    // SAFETY: both arguments are integers.
    Errno::result(unsafe { libc::kill(child.as_raw(), signal) }).map(drop)
}
