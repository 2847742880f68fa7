//! From the results of single tries to a verdict (Kubernetes' probe worker).
//!
//! A worker asks every `period`, one try at a time. Equal results in a row form a run; a run that
//! reaches its threshold is published, anything shorter leaves the former verdict. After a
//! published startup result or liveness failure the worker is on hold until the next instance of
//! the container: the first has said all it can, the second has the container stopped.
//!
//! Each instance begins with fresh workers: startup unknown, liveness succeeded, readiness failed.
//! While the startup probe has not succeeded, the other two do not ask.

use super::alarm::Alarm;
use super::notice::{KeepAlive, Notice};
use crate::config::plan::{Notify, Probe, Probes};
use crate::time::Instant;

/// Which of a container's probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProbeKind {
    /// Gates everything later, and the other two.
    Startup,
    /// Restarts the container when it fails.
    Liveness,
    /// Decides whether the container is ready.
    Readiness,
}

impl ProbeKind {
    /// All of them, in the order in which they are looked at.
    pub const ALL: [ProbeKind; 3] = [ProbeKind::Startup, ProbeKind::Liveness, ProbeKind::Readiness];

    /// Its name in configuration and messages.
    pub fn name(self) -> &'static str {
        match self {
            ProbeKind::Startup => "startup",
            ProbeKind::Liveness => "liveness",
            ProbeKind::Readiness => "readiness",
        }
    }

    /// Where it stands in [`ProbeKind::ALL`].
    pub fn index(self) -> usize {
        match self {
            ProbeKind::Startup => 0,
            ProbeKind::Liveness => 1,
            ProbeKind::Readiness => 2,
        }
    }

    /// The configuration of this probe, if the container has it.
    pub fn of(self, probes: &Probes) -> Option<&Probe> {
        match self {
            ProbeKind::Startup => probes.startup.as_ref(),
            ProbeKind::Liveness => probes.liveness.as_ref(),
            ProbeKind::Readiness => probes.readiness.as_ref(),
        }
    }
}

/// What one try said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The container is well.
    Success,
    /// It is not, or did not answer in time.
    Failure,
    /// It could not be asked (no process or descriptor was to be had): says nothing about it.
    Error,
    /// The container is well, and something about its answer should be known.
    Warning,
}

/// What the tries say together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not enough tries yet.
    Unknown,
    /// Well.
    Success,
    /// Not well.
    Failure,
}

/// Tries that could not be made, in a row, before the round is given up and the next period is
/// waited for (kubelet: three).
const ERROR_TRIES: u8 = 3;

/// One probe of one instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Worker {
    verdict: Verdict,
    run: Outcome,
    run_length: u32,
    on_hold: bool,
    errors: u8,
    /// The next try does not wait for its period.
    again: bool,
    next_at: Instant,
    under_way_until: Option<Instant>,
}

/// What a worker wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Make a try.
    Try,
    /// End the try that is under way; it has taken too long and counts as a failure.
    TimeOut,
}

impl Worker {
    fn new(kind: ProbeKind) -> Worker {
        let verdict = match kind {
            ProbeKind::Startup => Verdict::Unknown,
            ProbeKind::Liveness => Verdict::Success,
            ProbeKind::Readiness => Verdict::Failure,
        };
        Worker {
            verdict,
            run: Outcome::Error,
            run_length: 0,
            on_hold: false,
            errors: 0,
            again: false,
            next_at: Instant::ZERO,
            under_way_until: None,
        }
    }

    /// What the tries of this instance say together.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// What it wants now, if anything.
    pub fn want(&self, alarm: &mut Alarm) -> Option<Want> {
        if self.on_hold {
            return None;
        }
        match self.under_way_until {
            Some(until) => alarm.due(until).then_some(Want::TimeOut),
            None => (self.again || alarm.due(self.next_at)).then_some(Want::Try),
        }
    }

    /// The next try is not made before `now`, and the periods count from it.
    pub fn put_off(&mut self, now: Instant) {
        self.next_at = self.next_at.max(now);
    }

    /// Notes that a try is under way since `now`. The next one keeps the phase of the periods; of
    /// periods that passed during a long try only one is made up for.
    pub fn begin(&mut self, probe: &Probe, now: Instant) {
        self.under_way_until = Some(now.after(probe.timeout));
        if core::mem::take(&mut self.again) && self.next_at > now {
            return;
        }
        let late = now.since(self.next_at).as_nanos() % probe.period.as_nanos().max(1);
        // The remainder of a division by a period is shorter than the period.
        let late = core::time::Duration::from_nanos(u64::try_from(late).unwrap_or(0));
        self.next_at = now.after(probe.period.saturating_sub(late));
    }

    /// Notes the outcome of the try that is under way. Returns the verdict if this changed it.
    pub fn observe(&mut self, kind: ProbeKind, probe: &Probe, outcome: Outcome) -> Option<Verdict> {
        self.under_way_until.take()?;
        let (threshold, verdict, outcome) = match outcome {
            Outcome::Error => {
                self.errors = (self.errors + 1) % ERROR_TRIES;
                self.again = self.errors > 0;
                return None;
            }
            Outcome::Success | Outcome::Warning => {
                (probe.success_threshold, Verdict::Success, Outcome::Success)
            }
            Outcome::Failure => (probe.failure_threshold, Verdict::Failure, Outcome::Failure),
        };
        self.errors = 0;
        if self.run != outcome {
            self.run = outcome;
            self.run_length = 0;
        }
        self.run_length = self.run_length.saturating_add(1);
        if self.run_length < threshold {
            return None;
        }
        self.on_hold = match kind {
            ProbeKind::Startup => true,
            ProbeKind::Liveness => verdict == Verdict::Failure,
            ProbeKind::Readiness => false,
        };
        let changed = self.verdict != verdict;
        self.verdict = verdict;
        changed.then_some(verdict)
    }
}

/// The workers of one container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workers {
    startup: Worker,
    liveness: Worker,
    readiness: Worker,
    own: OwnWord,
}

/// What a container has said of itself, where it is expected to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct OwnWord {
    /// `READY=1`, and since when.
    ready: Option<Instant>,
    stopping: bool,
    /// When it must have said again that it is well.
    alive_until: Option<Instant>,
    /// It did not, or said that it is not.
    failed: bool,
}

impl Default for Workers {
    fn default() -> Workers {
        Workers {
            startup: Worker::new(ProbeKind::Startup),
            liveness: Worker::new(ProbeKind::Liveness),
            readiness: Worker::new(ProbeKind::Readiness),
            own: OwnWord::default(),
        }
    }
}

/// What a notice has changed about a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Noted {
    /// It has said that it is ready, for the first time.
    pub ready: bool,
    /// It has said that it stops, for the first time.
    pub stopping: bool,
    /// It has said that it is not well, for the first time.
    pub failed: bool,
}

impl Workers {
    /// Fresh workers for an instance that runs since `since`.
    pub fn begin_instance(probes: &Probes, since: Instant) -> Workers {
        let mut workers = Workers::default();
        for kind in ProbeKind::ALL {
            if let Some(probe) = kind.of(probes) {
                workers.worker_mut(kind).next_at = since.after(probe.initial_delay);
            }
        }
        workers
    }

    /// With what the instance has said of itself before it was known to run.
    pub fn remembering(self, before: &Workers) -> Workers {
        Workers { own: before.own, ..self }
    }

    /// Notes what the container has said of itself.
    pub fn note(&mut self, notify: Notify, notice: &Notice, now: Instant) -> Noted {
        let before = self.own;
        if notice.ready {
            self.own.ready = self.own.ready.or(Some(now));
        }
        self.own.stopping |= notice.stopping;
        // Watched is what has started; the keep-alives of a start that takes long are no promise.
        let watched = self.own.ready.is_some() && !self.own.failed;
        match notice.keep_alive {
            Some(KeepAlive::Failed) => self.miss_keep_alive(),
            Some(KeepAlive::Alive) if watched => self.await_keep_alive(notify, now),
            None if watched && before.ready.is_none() => self.await_keep_alive(notify, now),
            Some(KeepAlive::Alive) | None => {}
        }
        Noted {
            ready: before.ready.is_none() && self.own.ready.is_some(),
            stopping: !before.stopping && self.own.stopping,
            failed: !before.failed && self.own.failed,
        }
    }

    fn await_keep_alive(&mut self, notify: Notify, now: Instant) {
        self.own.alive_until = notify.watchdog_timeout.map(|timeout| now.after(timeout));
    }

    /// Until when the container must say that it is well. `None`: it need not.
    pub fn alive_until(&self) -> Option<Instant> {
        self.own.alive_until
    }

    /// Notes that it did not, or that it said the opposite: as good as a failed liveness probe.
    pub fn miss_keep_alive(&mut self) {
        self.own.alive_until = None;
        self.own.failed = true;
    }

    /// The worker of one kind.
    pub fn worker(&self, kind: ProbeKind) -> &Worker {
        match kind {
            ProbeKind::Startup => &self.startup,
            ProbeKind::Liveness => &self.liveness,
            ProbeKind::Readiness => &self.readiness,
        }
    }

    /// The worker of one kind, to be told something.
    pub fn worker_mut(&mut self, kind: ProbeKind) -> &mut Worker {
        match kind {
            ProbeKind::Startup => &mut self.startup,
            ProbeKind::Liveness => &mut self.liveness,
            ProbeKind::Readiness => &mut self.readiness,
        }
    }

    /// Whether a running instance counts as started: it has no startup probe, or that succeeded;
    /// and where it is to say so itself, it has.
    pub fn is_started(&self, probes: &Probes) -> bool {
        (probes.startup.is_none() || self.startup.verdict == Verdict::Success)
            && (probes.notify.is_none() || self.own.ready.is_some())
    }

    /// Whether a running instance counts as ready.
    pub fn is_ready(&self, probes: &Probes) -> bool {
        self.is_started(probes)
            && !self.own.stopping
            && (probes.readiness.is_none() || self.readiness.verdict == Verdict::Success)
    }

    /// Which probe, if any, wants a running instance stopped.
    pub fn failed(&self, probes: &Probes) -> Option<ProbeKind> {
        [ProbeKind::Startup, ProbeKind::Liveness]
            .into_iter()
            .find(|&kind| kind.of(probes).is_some() && self.worker(kind).verdict == Verdict::Failure)
            .or(self.own.failed.then_some(ProbeKind::Liveness))
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;
    use crate::config::plan::Check;

    fn probe(success_threshold: u32, failure_threshold: u32) -> Probe {
        Probe {
            check: Check::Exec { command: vec!["true".into()] },
            initial_delay: Duration::ZERO,
            period: Duration::from_secs(10),
            timeout: Duration::from_secs(1),
            success_threshold,
            failure_threshold,
            termination_grace_period: None,
        }
    }

    fn at(millis: u64) -> Instant {
        Instant::ZERO.after(Duration::from_millis(millis))
    }

    /// Feeds outcomes (S, F, E) and writes down the verdict after each (s, f, u; `!` when held).
    fn verdicts(kind: ProbeKind, probe: &Probe, outcomes: &str) -> String {
        let mut worker = Worker::new(kind);
        let mut said = String::new();
        for outcome in outcomes.chars() {
            if worker.want(&mut Alarm::new(Instant::from_nanos(u64::MAX))) != Some(Want::Try) {
                said.push('!');
                continue;
            }
            worker.begin(probe, at(0));
            let outcome = match outcome {
                'S' => Outcome::Success,
                'F' => Outcome::Failure,
                _ => Outcome::Error,
            };
            worker.observe(kind, probe, outcome);
            said.push(match worker.verdict() {
                Verdict::Success => 's',
                Verdict::Failure => 'f',
                Verdict::Unknown => 'u',
            });
        }
        said
    }

    #[test]
    fn a_run_is_published_when_it_reaches_its_threshold() {
        use ProbeKind::{Liveness, Readiness, Startup};
        for (kind, success, failure, outcomes, expected) in [
            (Liveness, 1, 3, "FFSFFF", "sssssf"),
            (Liveness, 1, 1, "FS", "f!"),
            (Liveness, 1, 3, "FEFEF", "ssssf"),
            (Startup, 1, 3, "FFSF", "uus!"),
            (Startup, 1, 2, "FFS", "uf!"),
            (Readiness, 1, 3, "SFFFS", "sssfs"),
            (Readiness, 3, 1, "SSFSSSF", "fffffsf"),
            (Readiness, 2, 2, "SFSFSS", "fffffs"),
        ] {
            let said = verdicts(kind, &probe(success, failure), outcomes);
            assert_eq!(said, expected, "{kind:?} {success}/{failure} {outcomes}");
        }
    }

    #[test]
    fn tries_keep_the_phase_of_the_period() {
        let spec = probe(1, 3);
        let mut worker = Worker::new(ProbeKind::Liveness);
        worker.begin(&spec, at(0));
        worker.observe(ProbeKind::Liveness, &spec, Outcome::Success);
        assert_eq!(worker.next_at, at(10_000));
        worker.begin(&spec, at(10_007));
        assert_eq!(worker.next_at, at(20_000));
        worker.observe(ProbeKind::Liveness, &spec, Outcome::Success);
        worker.begin(&spec, at(45_000));
        assert_eq!(worker.next_at, at(50_000), "only one missed period is made up for");
    }

    #[test]
    fn a_try_that_takes_too_long_is_timed_out() {
        let spec = probe(1, 3);
        let mut worker = Worker::new(ProbeKind::Liveness);
        worker.begin(&spec, at(0));
        let mut alarm = Alarm::new(at(999));
        assert_eq!(worker.want(&mut alarm), None);
        assert_eq!(alarm.next(), Some(at(1000)));
        assert_eq!(worker.want(&mut Alarm::new(at(1000))), Some(Want::TimeOut));
    }

    #[test]
    fn what_cannot_be_asked_is_tried_three_times_at_once_and_then_dropped() {
        let spec = probe(1, 3);
        let mut worker = Worker::new(ProbeKind::Readiness);
        for expected in [Some(Want::Try), Some(Want::Try), None] {
            worker.begin(&spec, at(0));
            worker.observe(ProbeKind::Readiness, &spec, Outcome::Error);
            assert_eq!(worker.want(&mut Alarm::new(at(1))), expected);
            assert_eq!(worker.next_at, at(10_000), "the phase of the period stays");
        }
    }

    #[test]
    fn a_late_result_of_an_ended_try_is_ignored() {
        let spec = probe(1, 1);
        let mut worker = Worker::new(ProbeKind::Liveness);
        assert_eq!(worker.observe(ProbeKind::Liveness, &spec, Outcome::Failure), None);
        assert_eq!(worker.verdict(), Verdict::Success);
    }
}
