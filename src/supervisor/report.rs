//! What the user is told. In which words: `wording.rs`.

use core::time::Duration;

use super::event::Goal;
use super::hook::HookKind;
use super::phase::Phase;
use super::pod::PodStopReason;
use super::probe::ProbeKind;
use super::record::{Exit, ExitStatus, StopReason};
use crate::config::plan::{ContainerId, PodId};

/// Something that the user is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// The pod's turn has come.
    PodStarting {
        /// Which.
        pod: PodId,
    },
    /// Its volumes or network could not be made; the record knows why.
    PodSetUpFailed {
        /// Which.
        pod: PodId,
        /// When that is tried again.
        retry_in: Duration,
    },
    /// The supervisor before was ended in its midst, and it goes on from there.
    PodRestored {
        /// Which.
        pod: PodId,
        /// Whether its volumes are still there.
        survives: bool,
    },
    /// Its phase has changed.
    PodPhase {
        /// Which.
        pod: PodId,
        /// To what.
        phase: Phase,
    },
    /// It became ready, or is not ready any more.
    PodReadiness {
        /// Which.
        pod: PodId,
        /// Whether it is.
        ready: bool,
    },
    /// It is stopped.
    PodStopping {
        /// Which.
        pod: PodId,
        /// Why.
        reason: PodStopReason,
        /// How long that may take.
        grace: Duration,
    },
    /// Nothing of it is left, or all that could be done is done.
    PodEnded {
        /// Which.
        pod: PodId,
        /// How it ended.
        phase: Phase,
        /// Why it was stopped.
        reason: PodStopReason,
    },
    /// Its volumes or network could not be removed; the record knows why.
    PodLeftBehind {
        /// Which.
        pod: PodId,
    },
    /// A container's own command runs.
    Started {
        /// Which.
        container: ContainerId,
    },
    /// A container could not be started; the record knows why.
    StartFailed {
        /// Which.
        container: ContainerId,
        /// What happens to it.
        next: Next,
    },
    /// Its first process is gone.
    Exited {
        /// Which.
        container: ContainerId,
        /// How.
        exit: Exit,
        /// What happens to it.
        next: Next,
    },
    /// Its startup probe has succeeded.
    StartupSucceeded {
        /// Which.
        container: ContainerId,
        /// Since it runs.
        took: Duration,
    },
    /// Its startup or liveness probe has failed for good; the record knows why.
    ProbeFailed {
        /// Which.
        container: ContainerId,
        /// Which probe.
        kind: ProbeKind,
    },
    /// A probe could not be made, which says nothing about the container; the record knows why.
    ProbeNotMade {
        /// Which.
        container: ContainerId,
        /// Which probe.
        kind: ProbeKind,
    },
    /// It was to say that it is well and did not, or said the opposite; the record knows why.
    Unwell {
        /// Which.
        container: ContainerId,
    },
    /// It says itself that it has started.
    SaidReady {
        /// Which.
        container: ContainerId,
    },
    /// It says itself that it stops.
    SaidStopping {
        /// Which.
        container: ContainerId,
    },
    /// A probe succeeded with an answer that the user should know of.
    ProbeWarned {
        /// Which.
        container: ContainerId,
        /// Which probe.
        kind: ProbeKind,
    },
    /// Its readiness has changed.
    Readiness {
        /// Which.
        container: ContainerId,
        /// Whether it is ready.
        ready: bool,
    },
    /// One of its hooks has ended well.
    HookDone {
        /// Which.
        container: ContainerId,
        /// Which hook.
        kind: HookKind,
        /// How long it took.
        took: Duration,
    },
    /// One of its hooks has failed, or was not done in time (Kubernetes: FailedPostStartHook,
    /// FailedPreStopHook); the record knows why.
    HookFailed {
        /// Which.
        container: ContainerId,
        /// Which hook.
        kind: HookKind,
    },
    /// It is stopped, and its pre-stop hook comes first.
    PreStopBegun {
        /// Which.
        container: ContainerId,
        /// Why it is stopped.
        reason: StopReason,
    },
    /// It was sent its stop signal.
    StopSignalled {
        /// Which.
        container: ContainerId,
        /// Why.
        reason: StopReason,
    },
    /// All its processes were sent SIGKILL.
    Killed {
        /// Which.
        container: ContainerId,
        /// Why it was stopped.
        reason: StopReason,
        /// Whether it was told to stop before, and has not.
        grace_over: bool,
    },
    /// What is left of it could not be removed; the record knows why.
    RemoveFailed {
        /// Which.
        container: ContainerId,
        /// When that is tried again.
        retry_in: Duration,
    },
    /// Its removal took too long.
    RemoveTimedOut {
        /// Which.
        container: ContainerId,
        /// How long.
        timeout: Duration,
    },
    /// It could be neither killed nor removed, and is not waited for any longer.
    LeftBehind {
        /// Which.
        container: ContainerId,
    },
    /// Somebody wants everything stopped.
    StopRequested {
        /// What for.
        goal: Goal,
        /// Again.
        shortened: bool,
    },
    /// An essential pod has failed, and everything is stopped for it.
    PodEscalated {
        /// Which.
        pod: PodId,
        /// What for.
        goal: Goal,
    },
    /// An essential pod has failed, and is started anew.
    PodRestarting {
        /// Which.
        pod: PodId,
        /// How often that was so, with this time.
        restarts: u32,
    },
    /// The end of a container asks for all of its pod to be started again.
    AllContainersRestarting {
        /// Which pod.
        pod: PodId,
        /// Which container.
        by: ContainerId,
    },
    /// An essential pod has not been ready for so long that the watchdog is fed no longer.
    PodOverdue {
        /// Which.
        pod: PodId,
        /// The watchdog's `unready-limit`.
        limit: Duration,
    },
    /// No essential pod is overdue any more.
    PodsWell,
    /// Not everything has stopped in time.
    StopGivenUp,
    /// So many reports did not fit.
    Lost(u32),
}

/// What happens to a container that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It is started again after this pause.
    RestartsIn(Duration),
    /// All containers of its pod are started again.
    RestartsAll,
    /// Nothing: its policy says so.
    Stays,
    /// Nothing by itself: all containers of its pod are being stopped.
    WasStopped,
}

/// How much a report asks of its reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Everything goes as planned.
    Info,
    /// Something does not, and is being dealt with.
    Warning,
    /// Something is lost or cannot be done.
    Error,
}

impl Report {
    /// How much it asks of its reader.
    pub fn severity(&self) -> Severity {
        match self {
            Report::PodEnded { phase: Phase::Failed, reason: PodStopReason::Requested, .. } => Severity::Info,
            Report::PodEnded { phase: Phase::Failed, .. }
            | Report::PodLeftBehind { .. }
            | Report::LeftBehind { .. }
            | Report::PodSetUpFailed { .. }
            | Report::StartFailed { .. }
            | Report::RemoveFailed { .. }
            | Report::RemoveTimedOut { .. }
            | Report::PodEscalated { .. }
            | Report::PodOverdue { .. }
            | Report::StopGivenUp => Severity::Error,
            Report::PodStopping { reason, .. } => match reason {
                PodStopReason::InitFailed(_)
                | PodStopReason::DependencyFailed(_)
                | PodStopReason::DeadlineExceeded
                | PodStopReason::RestartedTooOften => Severity::Error,
                PodStopReason::Completed | PodStopReason::Requested => Severity::Info,
            },
            Report::Exited { exit: Exit { oom_killed: true, .. }, .. } => Severity::Warning,
            Report::Exited { exit, next, .. } => match (exit.status, next) {
                (ExitStatus::Code(0), _) | (_, Next::WasStopped) => Severity::Info,
                (ExitStatus::Code(_) | ExitStatus::Signal(_) | ExitStatus::Unknown, _) => Severity::Warning,
            },
            Report::ProbeFailed { .. }
            | Report::ProbeNotMade { .. }
            | Report::ProbeWarned { .. }
            | Report::Unwell { .. }
            | Report::HookFailed { .. }
            | Report::Killed { .. }
            | Report::Readiness { ready: false, .. }
            | Report::PodRestarting { .. }
            | Report::AllContainersRestarting { .. }
            | Report::PodRestored { .. }
            | Report::Lost(_) => Severity::Warning,
            Report::SaidReady { .. }
            | Report::SaidStopping { .. }
            | Report::PodStarting { .. }
            | Report::PodPhase { .. }
            | Report::PodReadiness { .. }
            | Report::PodEnded { .. }
            | Report::Started { .. }
            | Report::StartupSucceeded { .. }
            | Report::Readiness { ready: true, .. }
            | Report::HookDone { .. }
            | Report::PreStopBegun { .. }
            | Report::StopSignalled { .. }
            | Report::StopRequested { .. }
            | Report::PodsWell => Severity::Info,
        }
    }
}
