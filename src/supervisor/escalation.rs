//! What follows when an essential pod has failed, or is not ready for too long.
//!
//! A pod has failed when its containers' restart policies have given up: it is at its end, and not
//! because somebody asked for that. Then its `on-failure` says what follows: the pod is started
//! anew, with the same growing pauses as a container; or all pods are stopped, in order, for a
//! reboot or a rescue.
//!
//! A pod that never gets ready, or is restarting for ever, does not fail. For that there is the
//! watchdog: with `unready-limit` it is fed no longer once an essential pod has not been ready for
//! that long, and the hardware resets the machine.

use super::alarm::Alarm;
use super::event::Goal;
use super::phase::{Phase, is_pod_ready, phase};
use super::pod::{PodState, PodStopReason, PodView};
use crate::config::plan::{OnFailure, PodId};
use crate::time::Instant;

use core::time::Duration;

/// What to do about a pod that has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Start it anew.
    Restart(PodId),
    /// Stop all pods.
    StopAll(PodId, Goal),
}

/// Whether a pod has come to its end by itself and without success.
pub fn has_failed(view: &PodView) -> bool {
    match view.record.state {
        PodState::TearingDown { reason, .. } | PodState::Ended { reason, .. } => {
            reason != PodStopReason::Requested && phase(view) == Phase::Failed
        }
        PodState::Waiting { .. }
        | PodState::SettingUp
        | PodState::Active
        | PodState::RestartingAll { .. }
        | PodState::Stopping { .. } => false,
    }
}

/// Whether a pod has failed and is going to be started anew.
pub fn will_restart(view: &PodView) -> bool {
    view.pod.on_failure == OnFailure::Restart && has_failed(view)
}

/// What follows for a pod. `None`: nothing, or not yet.
pub fn next_step(view: &PodView, alarm: &mut Alarm) -> Option<Step> {
    let PodState::Ended { at, .. } = view.record.state else { return None };
    if !has_failed(view) {
        return None;
    }
    match view.pod.on_failure {
        OnFailure::Nothing => None,
        OnFailure::Restart => {
            let due = view.record.backoff.restart_at(at, &view.pod.restart_backoff);
            alarm.due(due).then_some(Step::Restart(view.id))
        }
        OnFailure::Reboot => Some(Step::StopAll(view.id, Goal::Reboot)),
        OnFailure::Rescue => Some(Step::StopAll(view.id, Goal::Rescue)),
    }
}

/// Whether an essential pod is what it should be: ready, or through with success.
pub fn is_well(view: &PodView) -> bool {
    is_pod_ready(view) || phase(view) == Phase::Succeeded
}

/// Whether an essential pod has been not ready for longer than `limit`.
pub fn is_overdue(view: &PodView, limit: Duration, alarm: &mut Alarm) -> bool {
    view.pod.essential && view.record.unready_since.is_some_and(|since| alarm.due(since.after(limit)))
}

/// Since when a pod has not been well, as of `now`.
pub fn unready_since(view: &PodView, now: Instant) -> Option<Instant> {
    if is_well(view) { None } else { Some(view.record.unready_since.unwrap_or(now)) }
}
