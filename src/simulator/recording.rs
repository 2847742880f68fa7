//! What happens in a world, written down as bars, tries and lines until it comes to rest: what
//! every picture of it is made from.
//!
//! A world is at rest when nothing happens any more but tries of probes that are answered as
//! before, and nothing else is ahead: no pause before a restart, no grace period, no time that the
//! script speaks of.

use core::time::Duration;
use std::rc::Rc;

use super::casting::Cast;
use super::invariants::Broken;
use super::script::{Answer, ContainerScript};
use super::timeline::{Entry, Subject, What, name};
use super::{World, path};
use crate::config::plan::{ContainerId, Plan, PodId, Role};
use crate::supervisor::escalation;
use crate::supervisor::phase::{self, Phase};
use crate::supervisor::pod::{Member, PodView};
use crate::supervisor::probe::{Outcome, ProbeKind};
use crate::supervisor::record::{Cause, Exit, Instance, State};
use crate::supervisor::report::{Next, Report, Severity};
use crate::supervisor::{Outcome as End, Supervisor};
use crate::time::Instant;

/// How long to look at a world that does not come to rest, from the last time that was assumed.
const LOOK: Duration = Duration::from_secs(600);

/// Turns of one recording. Some two for each try of a probe.
const TURNS_MAX: usize = 100_000;

/// A life of a world.
#[derive(Clone, Debug)]
pub struct Recording {
    /// Who lived.
    pub plan: Rc<Plan>,
    /// Where it ends.
    pub end: Instant,
    /// Why there.
    pub ending: Ending,
    /// What was told, in its order.
    pub events: Vec<Event>,
    /// States of containers, by container, then time; no state is empty.
    pub bars: Vec<Bar>,
    /// Tries of probes with the same answer in a row.
    pub tries: Vec<Tries>,
    /// Signals to containers.
    pub signals: Vec<Signal>,
    /// By position in the plan.
    pub containers: Vec<ContainerSummary>,
    /// By position in the plan.
    pub pods: Vec<PodSummary>,
}

/// Why a recording ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All pods have ended.
    Ended(End),
    /// It is at rest.
    AtRest,
    /// It was to be looked at for so long.
    Until,
    /// It has gone on for too long.
    TooLong,
    /// Too much has happened.
    TooMuch,
}

/// Something that was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: Instant,
    /// Of what.
    pub of: Subject,
    /// Its name in JSON.
    pub what: &'static str,
    /// How much it asks of its reader.
    pub severity: Severity,
    /// In words, without the name of the pod or container.
    pub text: String,
    /// How a process ended.
    pub exit: Option<Exit>,
}

/// Where a container is, in rough.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The runtime creates and starts it.
    Creating,
    /// Its command runs.
    Running,
    /// And it is ready.
    Ready,
    /// It is being stopped.
    Stopping,
    /// What is left is being removed.
    Removing,
    /// It waits to be started again.
    BackOff,
}

impl Stage {
    /// All of them, in the order of a life.
    pub const ALL: [Stage; 6] =
        [Stage::Creating, Stage::Running, Stage::Ready, Stage::Stopping, Stage::Removing, Stage::BackOff];

    /// Its name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Creating => "creating",
            Stage::Running => "running",
            Stage::Ready => "ready",
            Stage::Stopping => "stopping",
            Stage::Removing => "removing",
            Stage::BackOff => "back-off",
        }
    }
}

/// A container in one state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bar {
    /// Which container.
    pub container: ContainerId,
    /// Which instance.
    pub instance: Instance,
    /// Which state.
    pub stage: Stage,
    /// From when.
    pub from: Instant,
    /// Until when.
    pub to: Instant,
}

/// Tries of a probe in a row that were answered in the same way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tries {
    /// Of which container.
    pub container: ContainerId,
    /// In which instance.
    pub instance: Instance,
    /// Which probe.
    pub kind: ProbeKind,
    /// Whether they succeed.
    pub success: bool,
    /// When they are made; never empty.
    pub at: Vec<Instant>,
}

/// A signal to a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signal {
    /// When.
    pub at: Instant,
    /// To which container.
    pub container: ContainerId,
    /// To which instance.
    pub instance: Instance,
    /// Its name.
    pub name: &'static str,
    /// Whether it ends whatever gets it.
    pub kills: bool,
}

/// What became of a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ContainerSummary {
    /// How often its command was started.
    pub starts: u32,
    /// Starts after an exit.
    pub restarts: u32,
    /// How it ended last.
    pub last_end: Option<(Exit, Instant)>,
    /// When it was ready first; for an init container, when it had done its part.
    pub ready_at: Option<Instant>,
    /// What it is in at the end.
    pub stage: Option<Stage>,
}

/// What became of a pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PodSummary {
    /// Its phase.
    pub phase: Phase,
    /// Whether it is ready.
    pub ready: bool,
    /// When it was ready first.
    pub ready_at: Option<Instant>,
}

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
        recording: Recording {
            end: Instant::ZERO,
            ending: Ending::AtRest,
            events: Vec::new(),
            bars: Vec::new(),
            tries: Vec::new(),
            signals: Vec::new(),
            containers: vec![ContainerSummary::default(); cast.plan.containers.len()],
            pods: vec![PodSummary::default(); cast.plan.pods.len()],
            plan: Rc::clone(&cast.plan),
        },
        cast,
        world,
    };
    recorder.record()
}

/// The longest time for which a probe that is answered in the same way all the time may still
/// change what is decided.
fn patience(plan: &Plan) -> Duration {
    let watchdog = plan.machine.watchdog.as_ref().and_then(|watchdog| watchdog.unready_limit);
    let probes = plan.containers.iter().flat_map(|container| {
        ProbeKind::ALL.into_iter().filter_map(|kind| kind.of(&container.probes)).map(|probe| {
            let tries = probe.failure_threshold.max(probe.success_threshold).saturating_add(1);
            let each = probe.period.max(probe.timeout);
            probe.initial_delay.saturating_add(each.saturating_mul(tries))
        })
    });
    probes.max().unwrap_or_default().saturating_add(watchdog.unwrap_or_default())
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
            let notes = Notes { cast: self.cast, world: &self.world, recording: &mut self.recording };
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
        State::Stopping { .. } | State::Killing { .. } => Some(Stage::Stopping),
        State::Exited { .. } | State::Removing { .. } => Some(Stage::Removing),
        State::Ended { .. } => phase::will_restart(view, member).then_some(Stage::BackOff),
    }
}

fn summarise(summary: &mut ContainerSummary, supervisor: &Supervisor, id: ContainerId) {
    let Some(record) = supervisor.record(id) else { return };
    summary.restarts = record.restarts;
    summary.last_end = record.last_exit.and_then(|end| match end.cause {
        Cause::Exit { exit, .. } => Some((exit, end.at)),
        Cause::StartFailed | Cause::NeverRan | Cause::LeftBehind => None,
    });
}

/// What is written down of one entry.
struct Notes<'a> {
    cast: &'a Cast,
    world: &'a World,
    recording: &'a mut Recording,
}

impl Notes<'_> {
    /// If it is something new: how long what follows from it may take.
    fn note(self, entry: &Entry) -> Option<Duration> {
        match (&entry.what, entry.of) {
            (What::Reported { report, text }, _) => Some(self.note_report(entry.at, report, text)),
            (What::Probes(kind, answer), Subject::Container(id)) => {
                self.note_try(entry.at, id, *kind, *answer).then_some(Duration::ZERO)
            }
            (What::SendsStop, Subject::Container(id)) => self.note_signal(entry.at, id, "SIGTERM", false),
            (What::Kills, Subject::Container(id)) => self.note_signal(entry.at, id, "SIGKILL", true),
            (What::Starting, Subject::Container(id)) => {
                if let Some(summary) = self.recording.containers.get_mut(id.index()) {
                    summary.starts += 1;
                }
                let script = self.cast.script.containers.get(&path(&self.recording.plan, id));
                Some(script.map(last_change).unwrap_or_default())
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
                | What::Told { .. },
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
        let text = text.strip_prefix(prefix.as_str()).unwrap_or(text).to_owned();
        self.recording.events.push(Event { at, of, what, severity: report.severity(), text, exit: ended });
        follows(report)
    }

    /// Whether the answer is another one than before.
    fn note_try(self, at: Instant, id: ContainerId, kind: ProbeKind, answer: Answer) -> bool {
        let instance = self.instance(id);
        let success = answer == Answer::Is(Outcome::Success);
        let tries = &mut self.recording.tries;
        let last = tries
            .iter_mut()
            .rev()
            .find(|it| it.container == id && it.kind == kind)
            .filter(|it| it.instance == instance && it.success == success);
        match last {
            Some(last) => {
                last.at.push(at);
                false
            }
            None => {
                tries.push(Tries { container: id, instance, kind, success, at: vec![at] });
                true
            }
        }
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
        Report::Readiness { container: id, ready: true } => container(id, "ready"),
        Report::Readiness { container: id, ready: false } => container(id, "not-ready"),
        Report::StopSignalled { container: id, .. } => container(id, "stop-signalled"),
        Report::Killed { container: id, .. } => container(id, "killed"),
        Report::RemoveFailed { container: id, .. } => container(id, "remove-failed"),
        Report::RemoveTimedOut { container: id, .. } => container(id, "remove-timed-out"),
        Report::LeftBehind { container: id } => container(id, "left-behind"),
        Report::StopRequested { .. } => (Subject::World, "stop-requested"),
        Report::PodsWell => (Subject::World, "pods-well"),
        Report::StopGivenUp => (Subject::World, "stop-given-up"),
        Report::Lost(_) => (Subject::World, "lost"),
    }
}

/// Milliseconds from the beginning.
pub fn millis(at: Instant) -> u64 {
    at.as_nanos() / 1_000_000
}
