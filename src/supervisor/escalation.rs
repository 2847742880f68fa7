//! What follows when an essential pod has failed, or is not ready for too long.
//!
//! A pod has failed when its containers' restart policies have given up: it is at its end, and not
//! because somebody asked for that. Then its `on-failure` says what follows: the pod is started
//! anew, with the same growing pauses as a container; or all pods are stopped, in order, for a
//! reboot or a rescue.
//!
//! With an `escalation` there are steps before that, each with a count of what happened within a
//! window of time: more restarts of its containers than that, and the pod has failed although its
//! policies would go on; fewer restarts of the pod, and a pod that has failed is started anew
//! first. So a container that crashes is restarted, then the pod with fresh volumes and network,
//! then the machine. Nothing of it is kept over a restart of the supervisor or the machine.
//!
//! A pod that never gets ready does not fail. For that there is the watchdog: with `unready-limit` it is fed no longer once an essential pod has not been ready for
//! that long, and the hardware resets the machine.

use super::alarm::Alarm;
use super::event::Goal;
use super::phase::{Phase, is_pod_ready, phase, will_restart as will_restart_container};
use super::pod::{Member, PodState, PodStopReason, PodView};
use super::record::{Cause, StopReason};
use super::{restart, startup};
use crate::config::plan::{OnFailure, PodId};
use crate::limits::ESCALATION_RESTARTS_MAX;
use crate::time::Instant;

use core::time::Duration;

use heapless::Deque;

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

/// When something happened, the last times of it.
#[derive(Clone, Debug, Default)]
pub struct Recent {
    times: Deque<Instant, ESCALATION_RESTARTS_MAX>,
}

impl Recent {
    /// Notes that it happens at `now`. Of more than an escalation can allow the oldest is dropped.
    pub fn note(&mut self, now: Instant) {
        if self.times.is_full() {
            self.times.pop_front();
        }
        // There is room.
        let _ = self.times.push_back(now);
    }

    /// How often it has happened within the window that ends at `now`.
    pub fn count(&self, now: Instant, window: Duration) -> usize {
        self.times.iter().filter(|at| now.since(**at) <= window).count()
    }
}

/// Whether the next start of this container is a restart that counts: after an end by itself, or a
/// start that failed.
pub fn is_counted(member: &Member) -> bool {
    let end = member.record.state.end();
    end.is_some_and(|end| !matches!(end.cause, Cause::Exit { stopped: Some(StopReason::Changed), .. }))
}

/// Whether one of its containers is to be restarted, and that would be once too often: as of the
/// time when it is due, so that nobody waits for a restart that does not come.
pub fn is_exhausted(view: &PodView, now: Instant) -> bool {
    let Some(escalation) = view.pod.escalation else { return false };
    let Some(most) = escalation.container_restarts else { return false };
    let is_too_often = |member: Member| {
        let due = restart::start_at(member.record, &view.pod.restart_backoff).map_or(now, |due| due.max(now));
        is_counted(&member)
            && will_restart_container(view, &member)
            && view.record.recent_container_restarts.count(due, escalation.window) >= most
    };
    !startup::is_completed(view) && view.members().any(is_too_often)
}

/// Whether a pod has failed and is going to be started anew.
pub fn will_restart(view: &PodView) -> bool {
    has_failed(view)
        && match view.record.state {
            PodState::Ended { at, .. } => is_started_anew(view, at),
            // Which of both is decided at its end.
            PodState::TearingDown { .. } => {
                let has_tries = view.pod.escalation.is_some_and(|it| it.pod_restarts.is_some());
                can_be_started_anew(view) && (view.pod.on_failure == OnFailure::Restart || has_tries)
            }
            PodState::Waiting { .. }
            | PodState::SettingUp
            | PodState::Active
            | PodState::RestartingAll { .. }
            | PodState::Stopping { .. } => false,
        }
}

/// Whether a pod that has failed at `at` is started anew.
fn is_started_anew(view: &PodView, at: Instant) -> bool {
    if !can_be_started_anew(view) {
        return false;
    }
    let escalation = view.pod.escalation;
    let has_tries = escalation.and_then(|it| Some((it.pod_restarts?, it.window)));
    let again = has_tries.is_some_and(|(most, window)| view.record.recent_restarts.count(at, window) < most);
    again || view.pod.on_failure == OnFailure::Restart
}

/// Whether it would help to start a pod anew that has failed.
///
/// One that has not started, since a pod that it is `after` has failed for good, would fail again at
/// once, and for ever. One of which something is left behind would have two instances of it, which is
/// worse than none.
fn can_be_started_anew(view: &PodView) -> bool {
    let is_futile = matches!(view.record.stop_reason(), Some(PodStopReason::DependencyFailed(_)));
    let is_left_behind =
        |member: Member| member.record.state.end().is_some_and(|end| end.cause == Cause::LeftBehind);
    !is_futile && !view.members().any(is_left_behind)
}

/// What follows for a pod. `None`: nothing, or not yet.
pub fn next_step(view: &PodView, alarm: &mut Alarm) -> Option<Step> {
    let PodState::Ended { at, .. } = view.record.state else { return None };
    if !has_failed(view) {
        return None;
    }
    if is_started_anew(view, at) {
        let due = view.record.backoff.restart_at(at, &view.pod.restart_backoff);
        return alarm.due(due).then_some(Step::Restart(view.id));
    }
    match view.pod.on_failure {
        OnFailure::Nothing | OnFailure::Restart => None,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_happened_within_the_window_counts() {
        let at = |seconds| Instant::ZERO.after(Duration::from_secs(seconds));
        let mut recent = Recent::default();
        for second in [0, 10, 20] {
            recent.note(at(second));
        }
        let window = Duration::from_secs(15);
        for (now, count) in [(20, 2), (25, 2), (26, 1), (35, 1), (36, 0)] {
            assert_eq!(recent.count(at(now), window), count, "at {now} s");
        }
    }

    #[test]
    fn as_many_are_counted_as_can_be_allowed() {
        let mut recent = Recent::default();
        for _ in 0..=ESCALATION_RESTARTS_MAX {
            recent.note(Instant::ZERO);
        }
        assert_eq!(recent.count(Instant::ZERO, Duration::ZERO), ESCALATION_RESTARTS_MAX);
    }
}
