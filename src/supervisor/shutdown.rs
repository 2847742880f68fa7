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

use super::alarm::Alarm;
use super::pod::{Member, PodView};
use super::record::{State, StopPhase};
use crate::config::plan::{ContainerId, Role};
use crate::limits::GRACE_MIN;
use crate::time::Instant;

/// What to do for a stopping pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Begin to stop this container.
    Stop(ContainerId),
    /// Send this one its stop signal.
    Signal(ContainerId),
    /// Kill this one: nothing of its own has run yet, so there is nothing to be told.
    Kill(ContainerId),
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
        if let Some(step) = stop(&init, turn) {
            return Some(step);
        }
        // A regular init container is nobody's prerequisite.
        if init.container.role == Role::Sidecar {
            later_gone &= init.record.state.is_gone();
        }
    }
    view.members().all(|member| member.record.state.is_gone()).then_some(Step::TearDown)
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
