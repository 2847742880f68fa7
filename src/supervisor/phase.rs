//! What Kubernetes would say of a pod: its phase, and whether it and its containers are ready.

use super::pod::{Member, PodState, PodStopReason, PodView};
use super::policy::Policy;
use super::record::{Cause, State};
use super::status::{self, ContainerState, StatusView, Terminated, TerminatedReason};
use crate::config::plan::Role;

/// The phase of a pod, in Kubernetes' words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Not all init containers are through, or nothing was started yet.
    #[default]
    Pending,
    /// At least one container runs, or is about to be started again.
    Running,
    /// All main containers ended with 0 and none will be started again.
    Succeeded,
    /// All main containers ended, or the pod was stopped; not all of them with 0.
    Failed,
}

impl Phase {
    /// Its name, as Kubernetes writes it.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Pending => "Pending",
            Phase::Running => "Running",
            Phase::Succeeded => "Succeeded",
            Phase::Failed => "Failed",
        }
    }
}

/// What was last reported about a pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reported {
    /// Its phase.
    pub phase: Phase,
    /// Whether it was ready.
    pub ready: bool,
}

/// The phase of a pod. `Succeeded` and `Failed` are only said when nothing of it runs any more.
pub fn phase(view: &PodView) -> Phase {
    let counted = |terminal| of_statuses(status::views(view), terminal, has_initialized(view));
    match view.record.state {
        PodState::Waiting { .. } | PodState::SettingUp => Phase::Pending,
        // What it will end as is held back until it has ended (Kubernetes: status manager).
        PodState::Active | PodState::RestartingAll { .. } | PodState::Stopping { .. } => match counted(false)
        {
            // It begins again with its init containers, which have run before.
            Phase::Running if is_initializing(view) => Phase::Pending,
            // A main container that could not be started is not started any more.
            Phase::Running if view.record.stop_reason().is_some() && !has_initialized(view) => Phase::Pending,
            phase @ (Phase::Pending | Phase::Running) => phase,
            Phase::Succeeded | Phase::Failed if has_initialized(view) => Phase::Running,
            Phase::Succeeded | Phase::Failed => Phase::Pending,
        },
        PodState::TearingDown { reason, .. } | PodState::Ended { reason, .. } => match reason {
            PodStopReason::InitFailed(_)
            | PodStopReason::DependencyFailed(_)
            | PodStopReason::DeadlineExceeded
            | PodStopReason::RestartedTooOften => Phase::Failed,
            PodStopReason::Completed | PodStopReason::Requested => match counted(true) {
                Phase::Succeeded => Phase::Succeeded,
                // Main containers that never ran have not done what they were to do.
                Phase::Failed | Phase::Pending | Phase::Running => Phase::Failed,
            },
        },
    }
}

/// Whether a main container of the pod, as it was set up last, was started (Kubernetes:
/// HasAnyActiveRegularContainerStarted). From then on the pod does not go back to `Pending` for a
/// sidecar that restarts.
pub fn has_initialized(view: &PodView) -> bool {
    view.mains().any(|main| {
        let record = main.record;
        record.state != State::Absent && (record.state.has_started() || record.last_exit.is_some())
    })
}

/// Whether no main container was started since the pod was set up or began again, and an init
/// container is not through.
fn is_initializing(view: &PodView) -> bool {
    let is_through = |init: &Member| match init.container.role {
        Role::Sidecar => {
            init.record.state.has_started() && init.record.probes.is_started(&init.container.probes)
        }
        Role::Init | Role::Main => {
            init.record.state.end().is_some_and(|end| end.is_success(init.container.role))
        }
    };
    !has_initialized(view) && !view.inits().all(|init| is_through(&init))
}

/// What the statuses of a pod's containers count as (Kubernetes: getPhase).
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    pending_init: u32,
    failed_init: u32,
    pending_sidecar: u32,
    waiting: u32,
    running: u32,
    unknown: u32,
    stopped: u32,
    succeeded: u32,
    /// Of those that stopped: the ones that are not started again.
    last: u32,
}

impl Count {
    fn add(&mut self, view: &StatusView) {
        match view.role {
            Role::Init => self.add_init(view),
            Role::Sidecar => self.add_sidecar(view),
            Role::Main => self.add_main(view),
        }
    }

    fn add_init(&mut self, view: &StatusView) {
        let end = match view.status.map(|status| (status.state, status.last_state)) {
            Some((ContainerState::Terminated(end), _) | (ContainerState::Waiting { .. }, Some(end))) => end,
            None | Some((ContainerState::Running { .. }, _) | (ContainerState::Waiting { .. }, None)) => {
                self.pending_init += 1;
                return;
            }
        };
        self.failed_init += u32::from(end.exit_code != 0 && is_last(view, &end));
    }

    fn add_sidecar(&mut self, view: &StatusView) {
        let Some(status) = view.status else {
            self.unknown += 1;
            return;
        };
        match (status.state, status.last_state) {
            (ContainerState::Running { .. }, _) => {
                self.running += 1;
                self.pending_sidecar += u32::from(!status.started);
            }
            (ContainerState::Terminated(_), _) | (ContainerState::Waiting { .. }, Some(_)) => {}
            (ContainerState::Waiting { .. }, None) => {
                self.pending_sidecar += 1;
                self.waiting += 1;
            }
        }
    }

    fn add_main(&mut self, view: &StatusView) {
        match view.status.map(|status| (status.state, status.last_state)) {
            None => self.unknown += 1,
            Some((ContainerState::Running { .. }, _)) => self.running += 1,
            Some((ContainerState::Terminated(end), _)) => {
                self.stopped += 1;
                self.succeeded += u32::from(end.exit_code == 0);
                self.last += u32::from(is_last(view, &end));
            }
            Some((ContainerState::Waiting { .. }, Some(end))) => {
                self.stopped += 1;
                self.last += u32::from(is_last(view, &end));
            }
            Some((ContainerState::Waiting { .. }, None)) => self.waiting += 1,
        }
    }

    fn phase(&self, terminal: bool, initialized: bool) -> Phase {
        if self.failed_init > 0 {
            return Phase::Failed;
        }
        if self.pending_init > 0 || (self.pending_sidecar > 0 && !initialized) || self.waiting > 0 {
            return Phase::Pending;
        }
        if self.unknown > 0 || (self.running == 0 && self.stopped == 0) {
            return Phase::Pending;
        }
        if self.running > 0 || (!terminal && self.stopped > self.last) {
            return Phase::Running;
        }
        if self.succeeded == self.stopped { Phase::Succeeded } else { Phase::Failed }
    }
}

/// Whether a container stays as it ended. Who was ended to have all restarted does not.
fn is_last(view: &StatusView, end: &Terminated) -> bool {
    !view.restartable && end.reason != TerminatedReason::RestartingAllContainers
}

/// The phase that the statuses of its containers give a pod, before anything is held back.
/// `terminal`: it is decided that nothing of it is started again. `initialized`: a main container
/// was started since the pod was set up.
pub fn of_statuses<'a>(
    statuses: impl IntoIterator<Item = StatusView<'a>>,
    terminal: bool,
    initialized: bool,
) -> Phase {
    let mut count = Count::default();
    for view in statuses {
        count.add(&view);
    }
    count.phase(terminal, initialized)
}

/// Whether a main container or sidecar is ready: it runs, has started, and its readiness probe,
/// if any, says so. One that was sent its stop signal runs until it ends (Kubernetes: the same).
pub fn is_container_ready(member: &Member) -> bool {
    member.record.state.serves() && member.record.probes.is_ready(&member.container.probes)
}

/// Whether a pod is ready: all its main containers and sidecars are.
pub fn is_pod_ready(view: &PodView) -> bool {
    let active = matches!(view.record.state, PodState::Active);
    active
        && view.members().all(|member| match member.container.role {
            Role::Init => true,
            Role::Sidecar | Role::Main => is_container_ready(&member),
        })
}

/// Whether a container that has ended will be started again as far as its policy goes.
pub fn will_restart(view: &PodView, member: &Member) -> bool {
    let Some(end) = member.record.state.end() else { return false };
    match (view.record.state, end.cause) {
        (PodState::Active, Cause::Exit { .. } | Cause::StartFailed | Cause::MayHaveRun | Cause::NeverRan) => {
            Policy::of(view.pod, member.container).should_restart(end)
        }
        (PodState::Active, Cause::LeftBehind) => false,
        (
            PodState::Waiting { .. }
            | PodState::SettingUp
            | PodState::RestartingAll { .. }
            | PodState::Stopping { .. }
            | PodState::TearingDown { .. }
            | PodState::Ended { .. },
            _,
        ) => false,
    }
}
