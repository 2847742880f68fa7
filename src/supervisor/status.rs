//! What Kubernetes would say of a container and of its pod: their statuses, word for word those
//! of its API. Views of the records: nothing here is remembered, and nothing is allocated.
//!
//! A container waits, runs, or has terminated; beside that stands how the instance before ended.
//! One that has ended and is to be started again waits, and tells why, as soon as there is
//! something to wait for: the pause after a crash, or the next try of a start that failed.

use super::phase::{self, Phase};
use super::pod::{Member, PodState, PodStopReason, PodView};
use super::policy::Policy;
use super::record::{Cause, End, ExitStatus, StartStep, State, StopReason, Termination};
use super::restart::start_at;
use crate::config::plan::Role;
use crate::time::Instant;

/// The status of one container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContainerStatus<'a> {
    /// Where it is.
    pub state: ContainerState<'a>,
    /// How the instance before ended.
    pub last_state: Option<Terminated<'a>>,
    /// How often it was started again.
    pub restart_count: u32,
    /// Whether it runs and has passed its startup probe, if it has one.
    pub started: bool,
    /// Whether it serves; of a regular init container: whether it has succeeded.
    pub ready: bool,
}

/// Where a container is, in Kubernetes' three states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContainerState<'a> {
    /// It does not run, and will or may.
    Waiting {
        /// Why it does not.
        reason: WaitingReason,
        /// That in words; may be empty.
        message: &'a str,
    },
    /// It runs.
    Running {
        /// Since when.
        started_at: Instant,
    },
    /// It has ended, and is not started again, or nothing has come in between yet.
    Terminated(Terminated<'a>),
}

/// How an instance ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terminated<'a> {
    /// As a shell counts: 128 + n for signal n.
    pub exit_code: u8,
    /// The signal that killed its first process.
    pub signal: Option<u8>,
    /// In one word.
    pub reason: TerminatedReason,
    /// What it left as termination message, or why it could not be started; may be empty.
    pub message: &'a str,
    /// When it was started; `None` if it was not, or nobody saw it.
    pub started_at: Option<Instant>,
    /// When its end was noticed; `None` if it was never started.
    pub finished_at: Option<Instant>,
}

/// Why a container does not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitingReason {
    /// Its turn comes after init containers.
    PodInitializing,
    /// It is about to be made.
    ContainerCreating,
    /// It has ended, and pauses before it is started again.
    CrashLoopBackOff,
    /// It could not be made.
    CreateContainerError,
    /// It was made, and its command could not be started.
    RunContainerError,
    /// Its `post-start` hook has failed.
    PostStartHookError,
    /// A rule has all containers of the pod started anew.
    RestartingAllContainers,
}

impl WaitingReason {
    /// The word, as Kubernetes writes it.
    pub fn name(self) -> &'static str {
        match self {
            WaitingReason::PodInitializing => "PodInitializing",
            WaitingReason::ContainerCreating => "ContainerCreating",
            WaitingReason::CrashLoopBackOff => "CrashLoopBackOff",
            WaitingReason::CreateContainerError => "CreateContainerError",
            WaitingReason::RunContainerError => "RunContainerError",
            WaitingReason::PostStartHookError => "PostStartHookError",
            WaitingReason::RestartingAllContainers => "RestartingAllContainers",
        }
    }
}

/// In one word how a container ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TerminatedReason {
    /// With exit code 0.
    Completed,
    /// With another one, or by a signal.
    Error,
    /// The kernel's out-of-memory killer took one of its processes.
    OomKilled,
    /// Nobody knows; or it was never seen to start in a pod that has ended.
    ContainerStatusUnknown,
    /// Its command could not be started.
    StartError,
    /// A rule has all containers of the pod started anew.
    RestartingAllContainers,
}

impl TerminatedReason {
    /// The word, as Kubernetes writes it.
    pub fn name(self) -> &'static str {
        match self {
            TerminatedReason::Completed => "Completed",
            TerminatedReason::Error => "Error",
            TerminatedReason::OomKilled => "OOMKilled",
            TerminatedReason::ContainerStatusUnknown => "ContainerStatusUnknown",
            TerminatedReason::StartError => "StartError",
            TerminatedReason::RestartingAllContainers => "RestartingAllContainers",
        }
    }
}

/// A container's status beside what it means for its pod's phase and conditions. Made from the
/// records by [`views`]; tests make it from what Kubernetes' own tests give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusView<'a> {
    /// The container's name.
    pub name: &'a str,
    /// Its role.
    pub role: Role,
    /// Its status; `None` if nothing is known of it.
    pub status: Option<ContainerStatus<'a>>,
    /// Whether it would be started again after the end that its status shows: by its policy and
    /// rules alone, whatever happens to the pod.
    pub restartable: bool,
}

/// The statuses of a pod's containers, in start order.
pub fn views<'a>(view: &PodView<'a>) -> impl Iterator<Item = StatusView<'a>> + Clone + use<'a> {
    let view = *view;
    view.members().map(move |member| StatusView {
        name: &member.container.name,
        role: member.container.role,
        status: Some(container_status(&view, &member)),
        restartable: match member.record.state.end() {
            Some(end) => Policy::of(view.pod, member.container).should_restart(end),
            None => true,
        },
    })
}

/// The status of one container of a pod.
pub fn container_status<'a>(view: &PodView<'a>, member: &Member<'a>) -> ContainerStatus<'a> {
    let record = member.record;
    let state = state(view, member);
    // That of the instance before the one that the state tells of.
    let last = match state {
        ContainerState::Terminated(_) if record.state.end().is_some_and(End::ran) => &record.former_exit,
        ContainerState::Terminated(_) | ContainerState::Waiting { .. } | ContainerState::Running { .. } => {
            if record.last_exit.is_some() {
                &record.last_exit
            } else {
                &record.former_exit
            }
        }
    };
    let started = record.state.has_started() && record.probes.is_started(&member.container.probes);
    ContainerStatus {
        state,
        last_state: last.as_ref().map(terminated),
        restart_count: record.restarts,
        started,
        ready: match member.container.role {
            Role::Init => matches!(state, ContainerState::Terminated(end) if end.exit_code == 0),
            Role::Sidecar | Role::Main => phase::is_container_ready(member),
        },
    }
}

fn state<'a>(view: &PodView<'a>, member: &Member<'a>) -> ContainerState<'a> {
    let record = member.record;
    if record.state.has_started() {
        // Noted when it was started.
        return ContainerState::Running { started_at: record.started_at.unwrap_or_default() };
    }
    match record.state.end() {
        Some(end) => ended(view, member, end),
        None => unstarted(view, member),
    }
}

/// Of an instance that has not started, or of none. As long as its post-start hook has not ended,
/// Kubernetes does not call it running.
fn unstarted<'a>(view: &PodView<'a>, member: &Member<'a>) -> ContainerState<'a> {
    let is_over = match view.record.state {
        PodState::TearingDown { .. } | PodState::Ended { .. } => true,
        PodState::Waiting { .. }
        | PodState::SettingUp
        | PodState::Active
        | PodState::RestartingAll { .. }
        | PodState::Stopping { .. } => false,
    };
    if is_over && was_due(view, member) {
        return ContainerState::Terminated(Terminated {
            exit_code: ExitStatus::Unknown.code(),
            signal: None,
            reason: TerminatedReason::ContainerStatusUnknown,
            message: "the pod has ended before the container was started",
            started_at: None,
            finished_at: None,
        });
    }
    let record = member.record;
    if let State::Stopping { reason: StopReason::PostStartHook, .. }
    | State::Killing { reason: StopReason::PostStartHook, .. } = record.state
    {
        return ContainerState::Waiting {
            reason: WaitingReason::PostStartHookError,
            message: &record.failure,
        };
    }
    let reason = match (record.failed_step, &record.last_exit) {
        (Some(step), _) => {
            return ContainerState::Waiting { reason: start_failure(step), message: &record.failure };
        }
        (None, Some(exit)) => after_exit(exit),
        // Its pod begins again with its first container.
        (None, None) if record.former_exit.is_some() => WaitingReason::RestartingAllContainers,
        (None, None) if view.inits().len() > 0 => WaitingReason::PodInitializing,
        (None, None) => WaitingReason::ContainerCreating,
    };
    ContainerState::Waiting { reason, message: "" }
}

/// Whether a container that has not run was due to when its pod ended: an initialized pod's main
/// containers, and init containers before one that ran (Kubernetes: TerminatePod).
fn was_due(view: &PodView, member: &Member) -> bool {
    let seen = |member: &Member| member.record.last_exit.is_some() || member.record.state.runs();
    match member.container.role {
        Role::Main => {
            phase::has_initialized(view)
                || view.inits().all(|init| match init.container.role {
                    Role::Init => init.record.state.end().is_some_and(|end| end.is_success(Role::Init)),
                    Role::Sidecar | Role::Main => seen(&init),
                })
        }
        Role::Init | Role::Sidecar => {
            view.members().filter(|other| other.id.index() > member.id.index()).any(|other| seen(&other))
        }
    }
}

/// Of an instance that has ended, in whatever way.
fn ended<'a>(view: &PodView<'a>, member: &Member<'a>, end: End) -> ContainerState<'a> {
    let record = member.record;
    match end.cause {
        Cause::StartFailed | Cause::MayHaveRun if phase::will_restart(view, member) => {
            let reason = record.failed_step.map_or(WaitingReason::CreateContainerError, start_failure);
            ContainerState::Waiting { reason, message: &record.failure }
        }
        Cause::StartFailed => ContainerState::Terminated(Terminated {
            // As containerd and CRI-O tell it.
            exit_code: 128,
            signal: None,
            reason: TerminatedReason::StartError,
            message: &record.failure,
            started_at: None,
            finished_at: Some(end.at),
        }),
        Cause::NeverRan => unstarted(view, member),
        Cause::MayHaveRun | Cause::LeftBehind => ContainerState::Terminated(Terminated {
            exit_code: ExitStatus::Unknown.code(),
            signal: None,
            reason: TerminatedReason::ContainerStatusUnknown,
            message: &record.failure,
            started_at: record.started_at,
            finished_at: Some(end.at),
        }),
        Cause::Exit { .. } => {
            let Some(exit) = &record.last_exit else { return unstarted(view, member) };
            let pauses = phase::will_restart(view, member)
                && start_at(record, &view.pod.restart_backoff).is_some_and(|at| at > end.at);
            let shown = terminated(exit);
            // As in Kubernetes: an init container or sidecar that has exited with 0 never waits.
            let waits = match member.container.role {
                Role::Main => pauses,
                Role::Init | Role::Sidecar => pauses && shown.exit_code != 0,
            };
            if waits {
                ContainerState::Waiting { reason: after_exit(exit), message: "" }
            } else {
                ContainerState::Terminated(shown)
            }
        }
    }
}

fn start_failure(step: StartStep) -> WaitingReason {
    match step {
        StartStep::Create => WaitingReason::CreateContainerError,
        StartStep::Start => WaitingReason::RunContainerError,
    }
}

/// Why a container waits that has run and ended.
fn after_exit(exit: &Termination) -> WaitingReason {
    let stopped = match exit.end.cause {
        Cause::Exit { stopped, .. } => stopped,
        Cause::StartFailed | Cause::MayHaveRun | Cause::NeverRan | Cause::LeftBehind => None,
    };
    match stopped {
        None
        | Some(
            StopReason::Pod
            | StopReason::StartupProbe
            | StopReason::LivenessProbe
            | StopReason::CreateTimeout
            | StopReason::StartTimeout
            | StopReason::Changed,
        ) => WaitingReason::CrashLoopBackOff,
        Some(StopReason::RestartAllContainers) => WaitingReason::RestartingAllContainers,
        Some(StopReason::PostStartHook) => WaitingReason::PostStartHookError,
    }
}

fn terminated(exit: &Termination) -> Terminated<'_> {
    let (status, oom_killed, stopped) = match exit.end.cause {
        Cause::Exit { exit, stopped } => (exit.status, exit.oom_killed, stopped),
        Cause::StartFailed | Cause::MayHaveRun | Cause::NeverRan | Cause::LeftBehind => {
            (ExitStatus::Unknown, false, None)
        }
    };
    let reason = match status {
        _ if oom_killed => TerminatedReason::OomKilled,
        _ if stopped == Some(StopReason::RestartAllContainers) => TerminatedReason::RestartingAllContainers,
        ExitStatus::Code(0) => TerminatedReason::Completed,
        ExitStatus::Code(_) | ExitStatus::Signal(_) => TerminatedReason::Error,
        ExitStatus::Unknown => TerminatedReason::ContainerStatusUnknown,
    };
    Terminated {
        exit_code: status.code(),
        signal: if let ExitStatus::Signal(signal) = status { Some(signal) } else { None },
        reason,
        message: &exit.message,
        started_at: exit.started_at,
        finished_at: Some(exit.end.at),
    }
}

/// The status of a pod, beside its conditions ([`condition`](super::condition)) and containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PodStatus<'a> {
    /// Its phase.
    pub phase: Phase,
    /// Why it has failed, in one word, where Kubernetes has one.
    pub reason: Option<PodReason>,
    /// What failed last about the pod itself, in words; may be empty.
    pub message: &'a str,
}

/// In one word why a pod has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodReason {
    /// It was active for longer than its `active-deadline`.
    DeadlineExceeded,
    /// Its containers were restarted more often than its `escalation` allows. Not in Kubernetes.
    RestartedTooOften,
}

impl PodReason {
    /// The word, as Kubernetes writes it or would.
    pub fn name(self) -> &'static str {
        match self {
            PodReason::DeadlineExceeded => "DeadlineExceeded",
            PodReason::RestartedTooOften => "RestartedTooOften",
        }
    }
}

/// The status of a pod.
pub fn pod_status<'a>(view: &PodView<'a>) -> PodStatus<'a> {
    let phase = phase::phase(view);
    let reason = match (phase, view.record.stop_reason()) {
        (Phase::Pending | Phase::Running | Phase::Succeeded, _) | (Phase::Failed, None) => None,
        (
            Phase::Failed,
            Some(
                PodStopReason::Completed
                | PodStopReason::InitFailed(_)
                | PodStopReason::DependencyFailed(_)
                | PodStopReason::Requested,
            ),
        ) => None,
        (Phase::Failed, Some(PodStopReason::DeadlineExceeded)) => Some(PodReason::DeadlineExceeded),
        (Phase::Failed, Some(PodStopReason::RestartedTooOften)) => Some(PodReason::RestartedTooOften),
    };
    let message = match reason {
        Some(PodReason::DeadlineExceeded) => "Pod was active on the node longer than the specified deadline",
        Some(PodReason::RestartedTooOften) => "Its containers were restarted more often than it allows",
        None => view.record.failure.as_str(),
    };
    PodStatus { phase, reason, message }
}
