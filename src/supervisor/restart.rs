//! When a container that ended is started again (Kubernetes' crash-loop back-off).
//!
//! The pause belongs to the container, not to one of its ends: an entry remembers the last pause
//! and when the last restart was. The first restart is immediate; then the pauses grow from
//! `initial` by doubling up to `max`. An instance that ran longer than `reset` begins anew. The
//! exit code plays no part, so a container that always exits with 0 backs off too.
//!
//! With jitter a pause is longer by a part of it that looks like chance, so that what has failed
//! together is not started again together. It comes from a seed and a count: the same on every
//! look, and in every run with that seed.

use core::time::Duration;

use super::record::{Cause, Record};
use crate::config::plan::Backoff;
use crate::time::Instant;

/// Shortest pause after a start that failed, also where the configured one is zero: a runtime
/// that cannot start anything would otherwise be forked in an endless loop.
const START_RETRY_MIN: Duration = Duration::from_secs(1);

/// What is remembered between restarts of a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    last: Option<Restart>,
    /// Where its chance comes from.
    seed: u64,
    /// Restarts that were noted, so that each has a chance of its own.
    count: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Restart {
    /// When it was.
    at: Instant,
    /// The pause that the next one keeps, without jitter.
    delay: Duration,
}

impl Entry {
    /// An entry whose jitter is that of `seed`.
    pub fn new(seed: u64) -> Entry {
        Entry { seed, ..Entry::default() }
    }

    /// An entry that knows of no restart, with the same jitter.
    #[must_use]
    pub fn anew(&self) -> Entry {
        Entry::new(self.seed)
    }

    /// The earliest time of a restart after an exit at `exited_at`.
    pub fn restart_at(&self, exited_at: Instant, backoff: &Backoff) -> Instant {
        match self.current(exited_at, backoff) {
            Some(restart) => exited_at.after(self.jittered(restart.delay, self.count, backoff)),
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
        self.count = self.count.saturating_add(1);
    }

    /// The next restart is like the first one.
    pub fn forget(&mut self) {
        self.last = None;
    }

    fn current(&self, exited_at: Instant, backoff: &Backoff) -> Option<Restart> {
        self.last.filter(|restart| exited_at.since(restart.at) <= backoff.reset)
    }

    /// The pause, and up to `jitter` of it more: never less, and the same for the same seed and
    /// count.
    fn jittered(&self, pause: Duration, count: u32, backoff: &Backoff) -> Duration {
        if backoff.jitter == 0 {
            return pause;
        }
        let chance = u128::from(mix(self.seed ^ u64::from(count)) >> 32);
        let most = pause.as_nanos() * u128::from(backoff.jitter) / 1000;
        let more = u64::try_from((most * chance) >> 32).unwrap_or(u64::MAX);
        pause.saturating_add(Duration::from_nanos(more))
    }
}

/// A number that looks like chance: near arguments give far results (the finalizer of SplitMix64).
pub fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// The earliest time of the next start of a container whose newest instance has ended, or that
/// is to begin again with all others of its pod. `None`: nothing has to be kept away from.
pub fn start_at(record: &Record, backoff: &Backoff) -> Option<Instant> {
    let end = record.end_before_start()?;
    Some(match end.cause {
        Cause::StartFailed | Cause::MayHaveRun => {
            let pause = start_retry_delay(record.start_failures, backoff);
            end.at.after(record.backoff.jittered(pause, record.start_failures, backoff))
        }
        Cause::Exit { .. } | Cause::NeverRan | Cause::LeftBehind => {
            record.backoff.restart_at(end.at, backoff)
        }
    })
}

/// Notes in the record that its next instance is started at `now`.
pub fn begin_instance(record: &mut Record, backoff: &Backoff, now: Instant) {
    record.instance.0 = record.instance.0.saturating_add(1);
    record.changed = false;
    let Some(end) = record.end_before_start() else { return };
    if let Cause::Exit { .. } = end.cause {
        record.backoff.advance(end.at, now, backoff);
        record.restarts = record.restarts.saturating_add(1);
    }
}

/// Pause after `failures` failed starts in a row: as after exits, but without the immediate
/// first retry, since what just failed would most likely fail again. None of them: what failed is
/// configured anew.
fn start_retry_delay(failures: u32, backoff: &Backoff) -> Duration {
    if failures == 0 {
        return Duration::ZERO;
    }
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
        jitter: 0,
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
    fn jitter_makes_pauses_longer_by_at_most_its_part_and_differently_each_time() {
        let backoff = Backoff { jitter: 100, ..KUBERNETES };
        let pauses = |seed: u64| -> Vec<u64> {
            let mut entry = Entry::new(seed);
            let pause = |_| {
                let start = entry.restart_at(at(0), &backoff);
                assert_eq!(start, entry.restart_at(at(0), &backoff), "another look, the same answer");
                entry.advance(at(0), at(0), &backoff);
                start.as_nanos()
            };
            (0..200).map(pause).collect()
        };
        let some = pauses(1);
        assert_eq!(some, pauses(1));
        assert_ne!(some, pauses(2));
        assert_eq!(some[0], 0, "the first restart is immediate");
        let secs = 1_000_000_000;
        assert!((10 * secs..=11 * secs).contains(&some[1]));
        let capped = &some[6..];
        assert!(capped.iter().all(|pause| (300 * secs..=330 * secs).contains(pause)), "{capped:?}");
        let late = capped.iter().filter(|pause| **pause > 315 * secs).count();
        assert!((60..=134).contains(&late), "{late} of {} are in the upper half", capped.len());
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
