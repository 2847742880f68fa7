//! What has happened in a world as bars, tries and lines: what every picture of it is made from.
//! `recorder.rs` makes it.

use std::rc::Rc;

use super::timeline::Subject;
use crate::config::plan::{ContainerId, Plan};
use crate::supervisor::Outcome as End;
use crate::supervisor::hook::HookKind;
use crate::supervisor::phase::Phase;
use crate::supervisor::probe::ProbeKind;
use crate::supervisor::record::{Exit, Instance};
use crate::supervisor::report::Severity;
use crate::time::Instant;

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
    /// Hooks, by their beginning.
    pub hooks: Vec<HookRun>,
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
    /// Whether earlier ones in this instance were answered in the other way.
    pub is_change: bool,
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

/// One run of a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HookRun {
    /// Of which container.
    pub container: ContainerId,
    /// Of which instance.
    pub instance: Instance,
    /// Which hook.
    pub kind: HookKind,
    /// When it was begun.
    pub from: Instant,
    /// When it ended, and whether well; `None`: it lasts.
    pub end: Option<(Instant, bool)>,
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

impl Recording {
    /// Returns whether it was under way.
    pub(super) fn end_hook(&mut self, id: ContainerId, kind: HookKind, end: (Instant, bool)) -> bool {
        let is_it = |hook: &&mut HookRun| hook.container == id && hook.kind == kind && hook.end.is_none();
        match self.hooks.iter_mut().rev().find(is_it) {
            Some(hook) => {
                hook.end = Some(end);
                true
            }
            None => false,
        }
    }
}

/// Milliseconds from the beginning.
pub fn millis(at: Instant) -> u64 {
    at.as_nanos() / 1_000_000
}
