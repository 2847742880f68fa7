//! The conditions of a pod, word for word those of Kubernetes' API: whether its containers may be
//! started, whether its init containers are through, and whether it serves.

use core::fmt::{self, Write};

use super::phase::{self, Phase};
use super::pod::{PodState, PodView};
use super::status::{self, ContainerState, StatusView};
use crate::config::plan::Role;
use crate::limits::POD_CONTAINERS_MAX;

/// What a condition is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Its volumes and network are there.
    PodReadyToStartContainers,
    /// All its containers are stopped, to be started again from the first one on.
    AllContainersRestarting,
    /// Its init containers have succeeded and its sidecars have started. Stays so once a main
    /// container was started.
    Initialized,
    /// Its main containers and sidecars are ready.
    ContainersReady,
    /// The same, as nothing else is asked of it (Kubernetes has readiness gates).
    Ready,
}

impl Kind {
    /// Its name, as Kubernetes writes it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::PodReadyToStartContainers => "PodReadyToStartContainers",
            Kind::AllContainersRestarting => "AllContainersRestarting",
            Kind::Initialized => "Initialized",
            Kind::ContainersReady => "ContainersReady",
            Kind::Ready => "Ready",
        }
    }
}

/// In one word why a condition is as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Nothing is known of any container.
    UnknownContainerStatuses,
    /// Some init container is not through.
    ContainersNotInitialized,
    /// Some container is not ready.
    ContainersNotReady,
    /// The pod has succeeded.
    PodCompleted,
    /// The pod has failed.
    PodFailed,
}

impl Reason {
    /// The word, as Kubernetes writes it.
    pub fn name(self) -> &'static str {
        match self {
            Reason::UnknownContainerStatuses => "UnknownContainerStatuses",
            Reason::ContainersNotInitialized => "ContainersNotInitialized",
            Reason::ContainersNotReady => "ContainersNotReady",
            Reason::PodCompleted => "PodCompleted",
            Reason::PodFailed => "PodFailed",
        }
    }
}

/// Containers of one pod, by their positions in start order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Members(u64);

const _: () = assert!(POD_CONTAINERS_MAX <= u64::BITS as usize, "a pod's containers must fit");

impl Members {
    fn add(&mut self, position: usize) {
        // More than a plan may have are none of its pod's.
        self.0 |= u32::try_from(position).ok().and_then(|bit| 1_u64.checked_shl(bit)).unwrap_or(0);
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether the container at this position is one of them.
    pub fn contains(self, position: usize) -> bool {
        u32::try_from(position).ok().and_then(|bit| self.0.checked_shr(bit)).is_some_and(|bits| bits & 1 == 1)
    }
}

/// One condition of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    /// What it is about.
    pub kind: Kind,
    /// Whether it holds.
    pub holds: bool,
    /// Why, where there is something to say.
    pub reason: Option<Reason>,
    /// The containers that nothing is known of.
    pub unknown: Members,
    /// The containers that are not as they should be.
    pub lacking: Members,
}

impl Condition {
    fn new(kind: Kind, holds: bool, reason: Option<Reason>) -> Condition {
        Condition { kind, holds, reason, unknown: Members::default(), lacking: Members::default() }
    }

    /// Writes the reason in words, with the names of the containers; `statuses` are those that it
    /// was made of. Nothing where no container is to be named.
    pub fn write_message<'a>(
        &self,
        statuses: impl Iterator<Item = StatusView<'a>> + Clone,
        out: &mut impl Write,
    ) -> fmt::Result {
        let lacking = if self.kind == Kind::Initialized { "incomplete" } else { "unready" };
        let mut separator = "";
        for (word, members) in [("unknown", self.unknown), (lacking, self.lacking)] {
            if members.is_empty() {
                continue;
            }
            write!(out, "{separator}containers with {word} status: [")?;
            let mut blank = "";
            for (position, view) in statuses.clone().enumerate() {
                if members.contains(position) {
                    write!(out, "{blank}{}", view.name)?;
                    blank = " ";
                }
            }
            out.write_char(']')?;
            separator = ", ";
        }
        Ok(())
    }
}

/// The conditions of a pod.
pub fn conditions(view: &PodView) -> [Condition; 5] {
    let is_set_up = match view.record.state {
        PodState::Active | PodState::RestartingAll { .. } | PodState::Stopping { .. } => true,
        PodState::Waiting { .. }
        | PodState::SettingUp
        | PodState::TearingDown { .. }
        | PodState::Ended { .. } => false,
    };
    let is_restarting = matches!(view.record.state, PodState::RestartingAll { .. });
    let phase = phase::phase(view);
    [
        Condition::new(Kind::PodReadyToStartContainers, is_set_up, None),
        Condition::new(Kind::AllContainersRestarting, is_restarting, None),
        initialized(status::views(view), true, phase),
        ready(Kind::ContainersReady, status::views(view), true, phase),
        ready(Kind::Ready, status::views(view), true, phase),
    ]
}

/// The condition `Initialized` of a pod in `phase`. `known` is false where nobody has said
/// anything of the containers yet.
pub fn initialized<'a>(
    statuses: impl Iterator<Item = StatusView<'a>> + Clone,
    known: bool,
    phase: Phase,
) -> Condition {
    let mut inits = 0_usize;
    let mut main_seen = false;
    let mut condition = Condition::new(Kind::Initialized, true, None);
    for (position, view) in statuses.enumerate() {
        match (view.role, view.status) {
            (Role::Main, Some(status)) => {
                main_seen |= match status.state {
                    ContainerState::Running { .. } | ContainerState::Terminated(_) => true,
                    ContainerState::Waiting { .. } => status.last_state.is_some(),
                };
            }
            (Role::Main, None) => {}
            (Role::Init | Role::Sidecar, None) => {
                inits += 1;
                condition.unknown.add(position);
            }
            (role @ (Role::Init | Role::Sidecar), Some(status)) => {
                inits += 1;
                let is_through = if role == Role::Sidecar { status.started } else { status.ready };
                if !is_through {
                    condition.lacking.add(position);
                }
            }
        }
    }
    if inits > 0 && !known {
        return Condition::new(Kind::Initialized, false, Some(Reason::UnknownContainerStatuses));
    }
    if phase == Phase::Succeeded && condition.unknown.is_empty() {
        return Condition::new(Kind::Initialized, true, Some(Reason::PodCompleted));
    }
    if main_seen {
        return Condition::new(Kind::Initialized, true, None);
    }
    if !condition.unknown.is_empty() || !condition.lacking.is_empty() {
        condition.holds = false;
        condition.reason = Some(Reason::ContainersNotInitialized);
    }
    condition
}

/// The condition `ContainersReady` or `Ready` of a pod in `phase`. `known` is false where nobody
/// has said anything of the containers yet.
pub fn ready<'a>(
    kind: Kind,
    statuses: impl Iterator<Item = StatusView<'a>> + Clone,
    known: bool,
    phase: Phase,
) -> Condition {
    if !known {
        return Condition::new(kind, false, Some(Reason::UnknownContainerStatuses));
    }
    let mut condition = Condition::new(kind, true, None);
    for (position, view) in statuses.enumerate() {
        match (view.role, view.status) {
            (Role::Init, _) => {}
            (Role::Sidecar | Role::Main, None) => condition.unknown.add(position),
            (Role::Sidecar | Role::Main, Some(status)) => {
                if !status.ready {
                    condition.lacking.add(position);
                }
            }
        }
    }
    match phase {
        Phase::Succeeded if condition.unknown.is_empty() => {
            return Condition::new(kind, false, Some(Reason::PodCompleted));
        }
        Phase::Failed => return Condition::new(kind, false, Some(Reason::PodFailed)),
        Phase::Pending | Phase::Running | Phase::Succeeded => {}
    }
    if !condition.unknown.is_empty() || !condition.lacking.is_empty() {
        condition.holds = false;
        condition.reason = Some(Reason::ContainersNotReady);
    }
    condition
}
