//! Which clock, and the one timer on it; the time of day.
//!
//! `CLOCK_MONOTONIC`: it cannot be set, so no jump of the wall clock (no battery, a late NTP)
//! stretches a grace period or freezes a probe. It stands still while the machine sleeps, as the
//! containers do: after a resume no probe and no grace period is over that was not before.

use core::time::Duration;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use crate::log::wall_time::WallTime;
use crate::time::Instant;

/// The time now. Does not fail on a kernel that this program runs on (clock_gettime(2): only for
/// a clock that does not exist); the clock's zero is returned if it did.
pub fn now() -> Instant {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC)
        .map_or(Instant::ZERO, |time| Instant::ZERO.after(Duration::from(time)))
}

/// The wall clock, `CLOCK_REALTIME`; its zero where it stands before that, or cannot be told. Not
/// `SystemTime`: on a 32-bit device whose C library tells no time after 2038-01-19 it panics.
pub fn wall_time() -> WallTime {
    let Ok(time) = nix::time::clock_gettime(nix::time::ClockId::CLOCK_REALTIME) else {
        return WallTime::default();
    };
    match (u64::try_from(time.tv_sec()), u32::try_from(time.tv_nsec())) {
        (Ok(seconds), Ok(nanos)) => WallTime::new(seconds, nanos),
        _ => WallTime::default(),
    }
}

/// timerfd_create(2) — readable when its time has come.
#[derive(Debug)]
pub struct Timer {
    fd: TimerFd,
    armed_for: Option<Instant>,
}

impl Timer {
    /// Not armed. Fails with `EMFILE`, `ENFILE` or `ENOMEM`.
    pub fn new() -> nix::Result<Timer> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        Ok(Timer { fd: TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?, armed_for: None })
    }

    /// Arms it for `deadline`, or disarms it. Costs no system call where nothing changes.
    pub fn arm(&mut self, deadline: Option<Instant>) -> nix::Result<()> {
        if deadline == self.armed_for {
            return Ok(());
        }
        match deadline {
            // Zero would disarm it; a nanosecond after the clock's zero is long past as well.
            Some(at) => {
                let time = TimeSpec::from_duration(Duration::from_nanos(at.as_nanos().max(1)));
                self.fd.set(Expiration::OneShot(time), TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
            }
            None => self.fd.unset()?,
        }
        self.armed_for = deadline;
        Ok(())
    }

    /// Takes note that it was readable: it is so no longer, and not armed.
    pub fn acknowledge(&mut self) {
        // Disarming clears what there is to read. It cannot fail for a timer that is open.
        let _ = self.fd.unset();
        self.armed_for = None;
    }
}

impl AsFd for Timer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
