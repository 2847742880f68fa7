//! What of a stopping pod is to be stopped next (Kubernetes' termination order).
//!
//! Main containers and a running regular init container get the stop signal at once, together.
//! Sidecars wait for their turn: after all main containers, and then one at a time in reverse
//! start order. Ended means that nothing is left of it, so the order is that of facts.
//!
//! Pre-stop hooks do not wait for anybody's turn: those of all containers begin together, and the
//! stop signal comes when the hook has ended and it is the container's turn. A post-start hook is not
//! waited for any more.
//!
//! The grace period is shared: each stage has what the earlier stages left. When it is over, all
//! sidecars that still wait get the stop signal together. Between a stop signal and SIGKILL there
//! are always at least [`GRACE_MIN`], so a termination can take that much longer.
//!
//! A pod may want its sidecars kept up meanwhile: one that ends by itself before its turn is
//! started again then, with the usual pauses, while somebody still needs it and there is time
//! (Kubernetes: KEP-4438, not in a release yet). The grace period stays as it is.

use core::time::Duration;

use super::alarm::Alarm;
use super::pod::{Member, PodView};
use super::record::{Cause, State, StopPhase};
use super::restart::start_at;
use crate::config::plan::{ContainerId, Role};
use crate::limits::GRACE_MIN;
use crate::time::Instant;

/// Time that a sidecar must have left when it is started again; with less it would be told to stop
/// as soon as it is up. (KEP-4438: about a second.)
const RESTART_TIME_MIN: Duration = Duration::from_secs(1);

/// What to do for a stopping pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Begin to stop this container.
    Stop(ContainerId),
    /// Send this one its stop signal.
    Signal(ContainerId),
    /// Kill this one: nothing of its own has run yet, so there is nothing to be told.
    Kill(ContainerId),
    /// Create this sidecar again.
    Create(ContainerId),
    /// Nothing of its containers is left.
    TearDown,
}

/// The next step of a pod whose grace period ends at `deadline`. `None`: something is under way
/// or not due yet.
pub fn next_step(view: &PodView, deadline: Instant, alarm: &mut Alarm) -> Option<Step> {
    let mains_gone = view.mains().all(|main| main.record.state.is_gone());
    for main in view.mains() {
        if let Some(step) = stop(&main, true) {
            return Some(step);
        }
    }
    // From the last init container to the first: a sidecar's turn has come when all behind it
    // are gone.
    let mut later_gone = mains_gone;
    let over = alarm.due(deadline);
    for init in view.inits().rev() {
        let turn = match init.container.role {
            Role::Sidecar => later_gone || over,
            Role::Init | Role::Main => true,
        };
        let comes_up = matches!(init.record.state, State::Creating { .. } | State::Created);
        let step = if !turn && is_kept(view, &init) && (comes_up || init.record.state.is_gone()) {
            let at = restart_at(view, &init, deadline);
            at.is_some_and(|at| alarm.due(at)).then_some(Step::Create(init.id))
        } else {
            stop(&init, turn)
        };
        if step.is_some() {
            return step;
        }
        // A regular init container is nobody's prerequisite.
        if init.container.role == Role::Sidecar {
            later_gone &= init.record.state.is_gone();
        }
    }
    view.members().all(|member| member.record.state.is_gone()).then_some(Step::TearDown)
}

/// Whether this is a sidecar that is kept up until its turn: one that has been up before.
pub fn is_kept(view: &PodView, member: &Member) -> bool {
    let kept = view.pod.restart_sidecars_during_termination && member.container.role == Role::Sidecar;
    kept && member.record.has_run()
}

/// When a sidecar that has ended before its turn is started again in a pod whose grace period ends
/// at `deadline`. `None`: it is not; it was told to stop, or there is no time left for it.
pub fn restart_at(view: &PodView, member: &Member, deadline: Instant) -> Option<Instant> {
    let by_itself = match member.record.state.end()?.cause {
        Cause::Exit { stopped: None, .. } | Cause::StartFailed | Cause::MayHaveRun => true,
        Cause::Exit { stopped: Some(reason), .. } => reason.is_probe(),
        Cause::NeverRan | Cause::LeftBehind => false,
    };
    let at = start_at(member.record, &view.pod.restart_backoff)?;
    let in_time = at.after(RESTART_TIME_MIN) < deadline;
    (is_kept(view, member) && by_itself && in_time).then_some(at)
}

/// When SIGKILL follows a stop signal that was sent at `since` in a pod that is to be gone by
/// `deadline`.
pub fn kill_at(since: Instant, deadline: Instant) -> Instant {
    deadline.max(since.after(GRACE_MIN))
}

fn stop(member: &Member, turn: bool) -> Option<Step> {
    match member.record.state {
        State::Creating { .. } | State::Created => Some(Step::Kill(member.id)),
        State::PostStart { .. } => Some(Step::Stop(member.id)),
        State::Running { .. } => {
            (turn || member.container.hooks.pre_stop.is_some()).then_some(Step::Stop(member.id))
        }
        State::Stopping { phase: StopPhase::Waiting { .. }, .. } => turn.then_some(Step::Signal(member.id)),
        // Whether its own command runs already is known when `start` has returned.
        State::Starting { .. }
        | State::Absent
        | State::Stopping { phase: StopPhase::PreStop { .. } | StopPhase::Signalled { .. }, .. }
        | State::Killing { .. }
        | State::Exited { .. }
        | State::Removing { .. }
        | State::Ended { .. } => None,
    }
}
