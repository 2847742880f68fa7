//! When a container that ended is started again (Kubernetes' crash-loop back-off).
//!
//! The pause belongs to the container, not to one of its ends: an entry remembers the last pause
//! and when the last restart was. The first restart is immediate; then the pauses grow from
//! `initial` by doubling up to `max`. An instance that ran longer than `reset` begins anew. The
//! exit code plays no part, so a container that always exits with 0 backs off too.

use core::time::Duration;

use super::record::{Cause, Record, State};
use crate::config::plan::Backoff;
use crate::time::Instant;

/// Shortest pause after a start that failed, also where the configured one is zero: a runtime
/// that cannot start anything would otherwise be forked in an endless loop.
const START_RETRY_MIN: Duration = Duration::from_secs(1);

/// What is remembered between restarts of a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    last: Option<Restart>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Restart {
    /// When it was.
    at: Instant,
    /// The pause that the next one keeps.
    delay: Duration,
}

impl Entry {
    /// The earliest time of a restart after an exit at `exited_at`.
    pub fn restart_at(&self, exited_at: Instant, backoff: &Backoff) -> Instant {
        match self.current(exited_at, backoff) {
            Some(restart) => exited_at.after(restart.delay),
            None => exited_at,
        }
    }

    /// Notes a restart at `now` after an exit at `exited_at`.
    pub fn advance(&mut self, exited_at: Instant, now: Instant, backoff: &Backoff) {
        let delay = match self.current(exited_at, backoff) {
            Some(restart) => restart.delay.saturating_mul(2).min(backoff.max),
            None => backoff.initial.min(backoff.max),
        };
        self.last = Some(Restart { at: now, delay });
    }

    fn current(&self, exited_at: Instant, backoff: &Backoff) -> Option<Restart> {
        self.last.filter(|restart| exited_at.since(restart.at) <= backoff.reset)
    }
}

/// The earliest time of the next start of a container whose newest instance has ended; its
/// other states have none.
pub fn start_at(record: &Record, backoff: &Backoff) -> Option<Instant> {
    let end = record.state.end()?;
    Some(match end.cause {
        Cause::StartFailed => end.at.after(start_retry_delay(record.start_failures, backoff)),
        Cause::Exit { .. } | Cause::NeverRan | Cause::LeftBehind => {
            record.backoff.restart_at(end.at, backoff)
        }
    })
}

/// Notes in the record that its next instance is started at `now`.
pub fn begin_instance(record: &mut Record, backoff: &Backoff, now: Instant) {
    record.instance.0 = record.instance.0.saturating_add(1);
    let State::Ended { end } = record.state else { return };
    if let Cause::Exit { .. } = end.cause {
        record.backoff.advance(end.at, now, backoff);
        record.restarts = record.restarts.saturating_add(1);
    }
}

/// Pause after `failures` failed starts in a row: as after exits, but without the immediate
/// first retry, since what just failed would most likely fail again.
fn start_retry_delay(failures: u32, backoff: &Backoff) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    backoff.initial.saturating_mul(1 << doublings).min(backoff.max).max(START_RETRY_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KUBERNETES: Backoff = Backoff {
        initial: Duration::from_secs(10),
        max: Duration::from_secs(300),
        reset: Duration::from_secs(600),
    };

    fn at(seconds: u64) -> Instant {
        Instant::ZERO.after(Duration::from_secs(seconds))
    }

    /// Starts of a container that runs `run` seconds each time.
    fn starts(run: u64, backoff: &Backoff, count: usize) -> Vec<u64> {
        let mut entry = Entry::default();
        let mut start = at(0);
        let mut starts = vec![0];
        while starts.len() < count {
            let exit = start.after(Duration::from_secs(run));
            start = entry.restart_at(exit, backoff);
            entry.advance(exit, start, backoff);
            starts.push(start.as_nanos() / 1_000_000_000);
        }
        starts
    }

    #[test]
    fn a_container_that_exits_at_once_starts_at_the_kubelets_offsets() {
        assert_eq!(starts(0, &KUBERNETES, 9), [0, 0, 10, 30, 70, 150, 310, 610, 910]);
    }

    #[test]
    fn more_than_ten_minutes_of_running_begin_anew() {
        assert_eq!(starts(601, &KUBERNETES, 4), [0, 601, 1202, 1803]);
        assert_eq!(starts(600, &KUBERNETES, 4), [0, 600, 1210, 1830]);
    }

    #[test]
    fn a_maximum_below_the_initial_pause_wins() {
        let short = Backoff { max: Duration::from_secs(3), ..KUBERNETES };
        assert_eq!(starts(0, &short, 5), [0, 0, 3, 6, 9]);
    }

    #[test]
    fn failed_starts_are_retried_with_growing_pauses_and_never_in_a_loop() {
        let delays: Vec<u64> = (1..=7).map(|n| start_retry_delay(n, &KUBERNETES).as_secs()).collect();
        assert_eq!(delays, [10, 20, 40, 80, 160, 300, 300]);
        let none = Backoff { initial: Duration::ZERO, ..KUBERNETES };
        assert_eq!(start_retry_delay(1, &none), START_RETRY_MIN);
        assert_eq!(start_retry_delay(u32::MAX, &KUBERNETES).as_secs(), 300);
    }
}
