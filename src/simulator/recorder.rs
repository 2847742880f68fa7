//! Plays a world and writes down what happens until it comes to rest.
//!
//! A world is at rest when nothing happens any more but tries of probes that are answered as
//! before, and nothing else is ahead: no pause before a restart, no grace period, no time that the
//! script speaks of.

use core::time::Duration;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::casting::Cast;
use super::invariants::Broken;
use super::recording::{
    Bar, ContainerSummary, Ending, Event, HookRun, PodSummary, Recording, Signal, Stage, Tries,
};
use super::script::{Answer, ContainerScript};
use super::timeline::{Entry, Subject, What, name};
use super::{World, path};
use crate::config::plan::{Container, ContainerId, Hook, Plan, PodId, Role};
use crate::limits::GRACE_MIN;
use crate::supervisor::Supervisor;
use crate::supervisor::escalation;
use crate::supervisor::phase;
use crate::supervisor::pod::{Member, PodView};
use crate::supervisor::probe::{Outcome, ProbeKind};
use crate::supervisor::record::{Cause, Instance, State};
use crate::supervisor::report::{Next, Report};
use crate::time::Instant;

/// How long to look at a world that does not come to rest, from the last time that was assumed.
const LOOK: Duration = Duration::from_secs(600);

/// Turns of one recording. Some two for each try of a probe.
const TURNS_MAX: usize = 100_000;

/// Plays and records, until it is at rest, or `until` if that is given.
///
/// # Errors
///
/// The decisions have broken an invariant, which would be a mistake of the program.
pub fn record(cast: &Cast, until: Option<Duration>) -> Result<Recording, Broken> {
    let world = World::new(Rc::clone(&cast.plan), cast.script.clone())?;
    let assumed = cast.assumptions.iter().map(|assumption| assumption.latest()).max().unwrap_or_default();
    let recorder = Recorder {
        patience: patience(&cast.plan),
        until: Instant::ZERO.after(until.unwrap_or(assumed.saturating_add(LOOK))),
        waits: until.is_some(),
        last: Instant::ZERO,
        ahead: cast.script.stops.last().copied().unwrap_or_default(),
        seen: 0,
        open: vec![None; cast.plan.containers.len()],
        latest: BTreeMap::new(),
        recording: Recording {
            end: Instant::ZERO,
            ending: Ending::AtRest,
            events: Vec::new(),
            bars: Vec::new(),
            tries: Vec::new(),
            signals: Vec::new(),
            hooks: Vec::new(),
            containers: vec![ContainerSummary::default(); cast.plan.containers.len()],
            pods: vec![PodSummary::default(); cast.plan.pods.len()],
            plan: Rc::clone(&cast.plan),
        },
        cast,
        world,
    };
    recorder.record()
}

/// Longer than any call of the runtime takes in a world in which none fails.
const CALLS: Duration = Duration::from_secs(1);

/// The longest time for which a probe that is answered in the same way all the time may still
/// change what is decided.
fn patience(plan: &Plan) -> Duration {
    let watchdog = plan.machine.watchdog.as_ref().and_then(|watchdog| watchdog.unready_limit);
    let probes = plan.containers.iter().flat_map(|container| {
        ProbeKind::ALL.into_iter().filter_map(|kind| kind.of(&container.probes)).map(|probe| {
            let tries = probe.failure_threshold.max(probe.success_threshold).saturating_add(1);
            probe.initial_delay.saturating_add(probe.period.saturating_mul(tries))
        })
    });
    CALLS.saturating_add(probes.max().unwrap_or_default()).saturating_add(watchdog.unwrap_or_default())
}

/// The age of a run after which its container does nothing new.
fn last_change(script: &ContainerScript) -> Duration {
    let runs = script.runs.iter().flatten().flatten();
    let answers = [&script.startup, &script.liveness, &script.readiness];
    let answers = answers.into_iter().flatten().flatten().map(|(from, _)| from);
    runs.chain(answers).max().copied().unwrap_or_default()
}

struct Recorder<'a> {
    cast: &'a Cast,
    world: World,
    patience: Duration,
    until: Instant,
    /// Whether to look until then even if it is at rest.
    waits: bool,
    /// When something happened that was not the same as before.
    last: Instant,
    /// When something is going to happen at the latest, as far as is known.
    ahead: Instant,
    /// Entries of the timeline that were read.
    seen: usize,
    /// The state of each container that lasts.
    open: Vec<Option<(Stage, Instance, Instant)>>,
    recording: Recording,
    /// Where the latest tries of each probe stand.
    latest: BTreeMap<(ContainerId, ProbeKind), usize>,
}

impl Recorder<'_> {
    fn record(mut self) -> Result<Recording, Broken> {
        let mut turns = 0;
        let ending = loop {
            if let Some(exit) = self.world.exit() {
                // Looks whether nothing is left.
                self.world.step()?;
                break Ending::Ended(exit);
            }
            let next = self.world.next_time();
            if next.is_none_or(|next| next > self.ahead.after(self.patience))
                && !self.waits
                && self.is_at_rest()
            {
                break Ending::AtRest;
            }
            if next.is_none_or(|next| next > self.until) {
                break if self.waits { Ending::Until } else { Ending::TooLong };
            }
            if turns == TURNS_MAX {
                break Ending::TooMuch;
            }
            turns += 1;
            self.world.step()?;
            self.read();
            self.look();
        };
        let rest = (self.last.since(Instant::ZERO) / 10).max(Duration::from_millis(200));
        let end = match ending {
            Ending::Ended(_) => self.last,
            Ending::AtRest => self.last.after(rest).min(self.until),
            Ending::Until | Ending::TooLong => self.until,
            Ending::TooMuch => self.world.now(),
        };
        Ok(self.finish(ending, end))
    }

    /// A pod that is started anew keeps a pause of which nothing is told.
    fn is_at_rest(&self) -> bool {
        !self.world.supervisor().views().any(|view| escalation::will_restart(&view))
    }

    /// What is new in the timeline.
    fn read(&mut self) {
        let entries = self.world.timeline().get(self.seen..).unwrap_or_default();
        self.seen += entries.len();
        for entry in entries {
            let notes = Notes {
                cast: self.cast,
                world: &self.world,
                recording: &mut self.recording,
                latest: &mut self.latest,
            };
            if let Some(ahead) = notes.note(entry) {
                self.last = entry.at;
                self.ahead = self.ahead.max(entry.at.after(ahead));
            }
        }
    }

    /// How the containers and pods stand.
    fn look(&mut self) {
        let now = self.world.now();
        for view in self.world.supervisor().views() {
            for member in view.members() {
                let stage = stage(&view, &member);
                let Some(open) = self.open.get_mut(member.id.index()) else { continue };
                let is_same = match (&open, stage) {
                    (Some((is, instance, _)), Some(stage)) => {
                        *is == stage && *instance == member.record.instance
                    }
                    (None, None) => true,
                    (Some(_), None) | (None, Some(_)) => false,
                };
                if is_same {
                    continue;
                }
                self.last = now;
                self.ahead = self.ahead.max(now);
                let next = stage.map(|stage| (stage, member.record.instance, now));
                if let Some(bar) = core::mem::replace(open, next).and_then(|open| bar(member.id, open, now)) {
                    self.recording.bars.push(bar);
                }
                let Some(summary) = self.recording.containers.get_mut(member.id.index()) else { continue };
                if stage == Some(Stage::Ready) {
                    summary.ready_at = summary.ready_at.or(Some(now));
                }
            }
            let Some(pod) = self.recording.pods.get_mut(view.id.index()) else { continue };
            pod.phase = phase::phase(&view);
            pod.ready = phase::is_pod_ready(&view);
            if pod.ready {
                pod.ready_at = pod.ready_at.or(Some(now));
            }
        }
    }

    fn finish(mut self, ending: Ending, end: Instant) -> Recording {
        for (index, open) in self.open.iter().enumerate() {
            let id = ContainerId(u16::try_from(index).unwrap_or(u16::MAX));
            self.recording.bars.extend(open.and_then(|open| bar(id, open, end)));
            if let Some(summary) = self.recording.containers.get_mut(index) {
                summary.stage = open.map(|(stage, ..)| stage);
                summarise(summary, self.world.supervisor(), id);
            }
        }
        self.recording.bars.sort_by_key(|bar| (bar.container, bar.from));
        for tries in &mut self.recording.tries {
            tries.at.retain(|at| *at <= end);
        }
        self.recording.tries.retain(|tries| !tries.at.is_empty());
        Recording { ending, end, ..self.recording }
    }
}

fn bar(container: ContainerId, open: (Stage, Instance, Instant), to: Instant) -> Option<Bar> {
    let (stage, instance, from) = open;
    (from < to).then_some(Bar { container, instance, stage, from, to })
}

fn stage(view: &PodView, member: &Member) -> Option<Stage> {
    match member.record.state {
        State::Absent => None,
        State::Creating { .. } | State::Created | State::Starting { .. } => Some(Stage::Creating),
        State::Running { .. } => match member.container.role {
            Role::Sidecar | Role::Main if phase::is_container_ready(member) => Some(Stage::Ready),
            Role::Init | Role::Sidecar | Role::Main => Some(Stage::Running),
        },
        State::PostStart { .. } => Some(Stage::Running),
        State::Stopping { .. } | State::Killing { .. } => Some(Stage::Stopping),
        State::Exited { .. } | State::Removing { .. } => Some(Stage::Removing),
        State::Ended { .. } => phase::will_restart(view, member).then_some(Stage::BackOff),
    }
}

fn summarise(summary: &mut ContainerSummary, supervisor: &Supervisor, id: ContainerId) {
    let Some(record) = supervisor.record(id) else { return };
    summary.restarts = record.restarts;
    summary.last_end = record.last_exit.as_ref().and_then(|last| match last.end.cause {
        Cause::Exit { exit, .. } => Some((exit, last.end.at)),
        Cause::StartFailed | Cause::MayHaveRun | Cause::NeverRan | Cause::LeftBehind => None,
    });
}

/// What is written down of one entry.
struct Notes<'a> {
    cast: &'a Cast,
    world: &'a World,
    recording: &'a mut Recording,
    latest: &'a mut BTreeMap<(ContainerId, ProbeKind), usize>,
}

impl Notes<'_> {
    /// If it is something new: how long what follows from it may take.
    fn note(self, entry: &Entry) -> Option<Duration> {
        match (&entry.what, entry.of) {
            (What::Reported { report, text }, _) => Some(self.note_report(entry.at, report, text)),
            (What::Probes(kind, answer), Subject::Container(id)) => {
                self.note_try(entry.at, id, *kind, *answer).then_some(Duration::ZERO)
            }
            (What::SendsStop, Subject::Container(id)) => {
                let container = self.recording.plan.containers.get(id.index());
                let signal = container.map(|container| container.stop_signal).unwrap_or_default();
                self.note_signal(entry.at, id, signal.name(), false)
            }
            (What::BeginsHook(kind), Subject::Container(id)) => {
                let (kind, from, instance) = (*kind, entry.at, self.instance(id));
                self.recording.hooks.push(HookRun { container: id, instance, kind, from, end: None });
                Some(Duration::ZERO)
            }
            (What::HookKilled(kind), Subject::Container(id)) => {
                self.recording.end_hook(id, *kind, (entry.at, false));
                Some(Duration::ZERO)
            }
            (What::Kills, Subject::Container(id)) => self.note_signal(entry.at, id, "SIGKILL", true),
            (What::Starting, Subject::Container(id)) => {
                if let Some(summary) = self.recording.containers.get_mut(id.index()) {
                    summary.starts += 1;
                }
                let script = self.cast.script.containers.get(&path(&self.recording.plan, id));
                let container = self.recording.plan.containers.get(id.index());
                Some(
                    script
                        .map(last_change)
                        .unwrap_or_default()
                        .max(container.map(post_start).unwrap_or_default()),
                )
            }
            (
                What::Probes(..)
                | What::SendsStop
                | What::Kills
                | What::Starting
                | What::SetsUp
                | What::TearsDown
                | What::Creates(_)
                | What::Starts
                | What::Removes
                | What::Started
                | What::Exiting
                | What::Exited(_)
                | What::Removed
                | What::Arrives(..)
                | What::Told { .. }
                | What::BeginsHook(_)
                | What::CancelsHook(_)
                | What::HookEnded(..)
                | What::HookKilled(_),
                _,
            ) => Some(Duration::ZERO),
        }
    }

    fn note_report(self, at: Instant, report: &Report, text: &str) -> Duration {
        let (of, what) = about(report);
        let prefix = match of {
            Subject::World => String::new(),
            Subject::Pod(_) => format!("pod {}: ", name(&self.recording.plan, of)),
            Subject::Container(_) => format!("{}: ", name(&self.recording.plan, of)),
        };
        let mut ended = None;
        if let Report::Exited { container, exit, .. } = *report {
            ended = Some(exit);
            let role = self.recording.plan.containers.get(container.index()).map(|container| container.role);
            if let (Some(Role::Init), true, Some(summary)) =
                (role, exit.is_success(Role::Init), self.recording.containers.get_mut(container.index()))
            {
                summary.ready_at = summary.ready_at.or(Some(at));
            }
        }
        if let Report::HookDone { container, kind, took } = *report {
            if !self.recording.end_hook(container, kind, (at, true)) {
                // One that sleeps is nothing that is begun.
                let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
                let from = Instant::from_nanos(at.as_nanos().saturating_sub(nanos));
                let (instance, end) = (self.instance(container), Some((at, true)));
                self.recording.hooks.push(HookRun { container, instance, kind, from, end });
            }
        }
        if let Report::HookFailed { container, kind } = *report {
            self.recording.end_hook(container, kind, (at, false));
        }
        let mut follows = follows(report);
        if let Report::PodStarting { pod } = *report {
            let deadline = self.recording.plan.pods.get(pod.index()).and_then(|pod| pod.active_deadline);
            follows = deadline.unwrap_or_default();
        }
        if let Report::StopSignalled { container, .. } | Report::PreStopBegun { container, .. } = *report {
            follows = longest_grace(&self.recording.plan, container);
        }
        let text = text.strip_prefix(prefix.as_str()).unwrap_or(text).to_owned();
        self.recording.events.push(Event { at, of, what, severity: report.severity(), text, exit: ended });
        follows
    }

    /// Whether the answer is another one than before.
    fn note_try(self, at: Instant, id: ContainerId, kind: ProbeKind, answer: Answer) -> bool {
        let instance = self.instance(id);
        let success = answer == Answer::Is(Outcome::Success);
        let tries = &mut self.recording.tries;
        let latest = self.latest.get(&(id, kind)).and_then(|position| tries.get_mut(*position));
        let mut is_change = false;
        if let Some(latest) = latest.filter(|latest| latest.instance == instance) {
            if latest.success == success {
                latest.at.push(at);
                return false;
            }
            is_change = true;
        }
        self.latest.insert((id, kind), tries.len());
        tries.push(Tries { container: id, instance, kind, success, is_change, at: vec![at] });
        true
    }

    fn note_signal(self, at: Instant, id: ContainerId, name: &'static str, kills: bool) -> Option<Duration> {
        let instance = self.instance(id);
        self.recording.signals.push(Signal { at, container: id, instance, name, kills });
        Some(Duration::ZERO)
    }

    fn instance(&self, id: ContainerId) -> Instance {
        self.world.supervisor().record(id).map_or(Instance(0), |record| record.instance)
    }
}

/// How long what follows from a report may take.
fn follows(report: &Report) -> Duration {
    let (Report::PodSetUpFailed { retry_in: time, .. }
    | Report::RemoveFailed { retry_in: time, .. }
    | Report::RemoveTimedOut { timeout: time, .. }
    | Report::PodStopping { grace: time, .. }
    | Report::StartFailed { next: Next::RestartsIn(time), .. }
    | Report::Exited { next: Next::RestartsIn(time), .. }) = *report
    else {
        return Duration::ZERO;
    };
    time
}

/// What a report is about, and its name in JSON.
fn about(report: &Report) -> (Subject, &'static str) {
    let pod = |id: PodId, what| (Subject::Pod(id), what);
    let container = |id: ContainerId, what| (Subject::Container(id), what);
    match *report {
        Report::PodStarting { pod: id } => pod(id, "pod-starting"),
        Report::PodSetUpFailed { pod: id, .. } => pod(id, "pod-set-up-failed"),
        Report::PodPhase { pod: id, .. } => pod(id, "pod-phase"),
        Report::PodReadiness { pod: id, ready: true } => pod(id, "pod-ready"),
        Report::PodReadiness { pod: id, ready: false } => pod(id, "pod-not-ready"),
        Report::PodStopping { pod: id, .. } => pod(id, "pod-stopping"),
        Report::PodEnded { pod: id, .. } => pod(id, "pod-ended"),
        Report::PodLeftBehind { pod: id } => pod(id, "pod-left-behind"),
        Report::PodEscalated { pod: id, .. } => pod(id, "pod-escalated"),
        Report::PodRestarting { pod: id, .. } => pod(id, "pod-restarting"),
        Report::PodOverdue { pod: id, .. } => pod(id, "pod-overdue"),
        Report::Started { container: id } => container(id, "started"),
        Report::StartFailed { container: id, .. } => container(id, "start-failed"),
        Report::Exited { container: id, .. } => container(id, "exited"),
        Report::StartupSucceeded { container: id, .. } => container(id, "startup-succeeded"),
        Report::ProbeFailed { container: id, .. } => container(id, "probe-failed"),
        Report::ProbeNotMade { container: id, .. } => container(id, "probe-not-made"),
        Report::ProbeWarned { container: id, .. } => container(id, "probe-warned"),
        Report::Unwell { container: id } => container(id, "unwell"),
        Report::SaidReady { container: id } => container(id, "said-ready"),
        Report::SaidStopping { container: id } => container(id, "said-stopping"),
        Report::Readiness { container: id, ready: true } => container(id, "ready"),
        Report::Readiness { container: id, ready: false } => container(id, "not-ready"),
        Report::StopSignalled { container: id, .. } => container(id, "stop-signalled"),
        Report::Killed { container: id, .. } => container(id, "killed"),
        Report::RemoveFailed { container: id, .. } => container(id, "remove-failed"),
        Report::RemoveTimedOut { container: id, .. } => container(id, "remove-timed-out"),
        Report::LeftBehind { container: id } => container(id, "left-behind"),
        Report::PodRestored { pod: id, .. } => pod(id, "pod-restored"),
        Report::AllContainersRestarting { pod: id, .. } => pod(id, "all-containers-restarting"),
        Report::HookDone { container: id, .. } => container(id, "hook-done"),
        Report::HookFailed { container: id, .. } => container(id, "hook-failed"),
        Report::PreStopBegun { container: id, .. } => container(id, "pre-stop-begun"),
        Report::StopRequested { .. } => (Subject::World, "stop-requested"),
        Report::PodsWell => (Subject::World, "pods-well"),
        Report::StopGivenUp => (Subject::World, "stop-given-up"),
        Report::Lost(_) => (Subject::World, "lost"),
    }
}

/// How long a post-start hook sleeps.
fn post_start(container: &Container) -> Duration {
    match container.hooks.post_start {
        Some(Hook::Sleep(time)) => time,
        Some(Hook::Ask(_)) | None => Duration::ZERO,
    }
}

/// The longest that a stop of a container may take, whatever the reason.
fn longest_grace(plan: &Plan, id: ContainerId) -> Duration {
    let Some(container) = plan.containers.get(id.index()) else { return Duration::ZERO };
    let pod = plan.pods.get(container.pod.index()).map(|pod| pod.termination_grace_period);
    let probes = ProbeKind::ALL.into_iter().filter_map(|kind| kind.of(&container.probes));
    let probes = probes.filter_map(|probe| probe.termination_grace_period);
    let graces = probes.chain(pod).chain(container.termination_grace_period).chain([GRACE_MIN]);
    graces.max().unwrap_or_default()
}
