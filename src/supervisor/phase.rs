//! What Kubernetes would say of a pod: its phase, and whether it and its containers are ready.

use super::pod::{Member, PodState, PodStopReason, PodView};
use super::policy::Policy;
use super::record::Cause;
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
    match view.record.state {
        PodState::Waiting { .. } | PodState::SettingUp => Phase::Pending,
        PodState::Active | PodState::Stopping { .. } => phase_of_containers(view),
        PodState::TearingDown { reason, .. } | PodState::Ended { reason, .. } => match reason {
            PodStopReason::InitFailed(_) | PodStopReason::DependencyFailed(_) => Phase::Failed,
            PodStopReason::Completed | PodStopReason::Requested => {
                let succeeded = view
                    .mains()
                    .all(|main| main.record.state.end().is_some_and(|end| end.is_success(Role::Main)));
                if succeeded { Phase::Succeeded } else { Phase::Failed }
            }
        },
    }
}

/// The phase of a pod that is not at its end.
fn phase_of_containers(view: &PodView) -> Phase {
    let main_seen =
        view.mains().any(|main| main.record.last_exit.is_some() || main.record.state.has_started());
    let pending = view.inits().any(|init| match init.container.role {
        // Passed once is passed: a sidecar that restarts later does not undo it.
        Role::Sidecar => {
            !(init.record.state.has_started() && init.record.probes.is_started(&init.container.probes))
        }
        Role::Init | Role::Main => !succeeded(&init),
    });
    let pending = pending && !main_seen;
    let waiting =
        view.mains().any(|main| !main.record.state.has_started() && main.record.last_exit.is_none());
    if pending || waiting { Phase::Pending } else { Phase::Running }
}

fn succeeded(member: &Member) -> bool {
    member.record.state.end().is_some_and(|end| end.is_success(member.container.role))
}

/// Whether a main container or sidecar is ready: it runs, has started, and its readiness probe,
/// if any, says so.
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
        (PodState::Active, Cause::Exit { .. } | Cause::StartFailed | Cause::NeverRan) => {
            Policy::of(view.pod, member.container).should_restart(end)
        }
        (PodState::Active, Cause::LeftBehind) => false,
        (
            PodState::Waiting { .. }
            | PodState::SettingUp
            | PodState::Stopping { .. }
            | PodState::TearingDown { .. }
            | PodState::Ended { .. },
            _,
        ) => false,
    }
}
