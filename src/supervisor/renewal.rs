//! A pod that begins again with its first container, as one: because the end of a container asks
//! for it (Kubernetes: RestartAllContainers), or because it is essential and has failed.
//!
//! For the first all its containers are stopped at once, main containers first: no order, no
//! pre-stop hooks, and [`GRACE_MIN`](crate::limits::GRACE_MIN) between the stop signal and SIGKILL.
//! Its volumes and network stay. When nothing of the containers is left the pod is as if it had
//! just been set up, except for what must outlive that: how often each container was restarted,
//! how its last instance ended, and its back-off. So a container that asks again and again finds
//! everybody's pauses growing, and the pod does not spin.

use super::escalation::Recent;
use super::phase;
use super::pod::{Member, PodState, PodView};
use super::policy::{Decision, Policy};
use super::record::{Record, State, StopPhase, StopReason};
use super::report::Report;
use super::{Action, Supervisor};
use crate::config::plan::{ContainerId, PodId};
use crate::time::Instant;

/// What to do for a pod whose containers are all restarted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Begin to stop this container.
    Stop(ContainerId),
    /// Send this one its stop signal.
    Signal(ContainerId),
    /// Kill this one: nothing of its own has run yet.
    Kill(ContainerId),
    /// Nothing of them is left: the pod begins again.
    Begin,
}

/// The container, if any, whose end restarts all containers of the pod.
pub fn trigger(view: &PodView) -> Option<ContainerId> {
    let asks = |member: &Member| asks(view, member);
    view.members().find(asks).map(|member| member.id)
}

/// Whether this is such a container.
pub fn asks(view: &PodView, member: &Member) -> bool {
    let decide = |end| Policy::of(view.pod, member.container).decide(end);
    member.record.state.end().map(decide) == Some(Decision::RestartAllContainers)
}

/// The next step. `None`: something is under way.
pub fn next_step(view: &PodView) -> Option<Step> {
    let stop = |member: Member| match member.record.state {
        State::Creating { .. } | State::Created => Some(Step::Kill(member.id)),
        State::PostStart { .. } | State::Running { .. } => Some(Step::Stop(member.id)),
        State::Stopping { phase: StopPhase::Waiting { .. }, .. } => Some(Step::Signal(member.id)),
        // Whether its own command runs already is known when `start` has returned.
        State::Starting { .. }
        | State::Absent
        | State::Stopping { phase: StopPhase::PreStop { .. } | StopPhase::Signalled { .. }, .. }
        | State::Killing { .. }
        | State::Exited { .. }
        | State::Removing { .. }
        | State::Ended { .. } => None,
    };
    let all_gone = || view.members().all(|member| member.record.state.is_gone());
    view.mains().chain(view.inits()).find_map(stop).or_else(|| all_gone().then_some(Step::Begin))
}

impl Supervisor {
    /// Has all containers of a pod stopped.
    pub(super) fn restart_all(&mut self, id: PodId, by: ContainerId, now: Instant) -> Option<Action> {
        let containers = self.plan.pods.get(id.index())?.containers();
        let record = self.pod_mut(id)?;
        record.state = PodState::RestartingAll { by, since: now };
        // As one restart: it is one container that has failed.
        record.recent_container_restarts.note(now);
        for record in self.records.get_mut(containers)? {
            // Whoever has been told already has no more time than the others.
            if let State::Stopping { reason, grace_end, phase, .. } = &mut record.state {
                (*reason, *grace_end) = (StopReason::RestartAllContainers, now);
                if let StopPhase::PreStop { .. } = phase {
                    *phase = StopPhase::Waiting { since: now };
                }
            }
        }
        self.report(Report::AllContainersRestarting { pod: id, by });
        self.report_pod(by);
        None
    }

    /// Puts a pod, of whose containers nothing is left, back to its first container.
    pub(super) fn begin_again(&mut self, id: PodId) -> Option<Action> {
        let containers = self.plan.pods.get(id.index())?.containers();
        let PodState::RestartingAll { by, .. } = self.pod_mut(id)?.state else { return None };
        self.pod_mut(id)?.state = PodState::Active;
        for record in self.records.get_mut(containers)? {
            *record = Record {
                instance: record.instance,
                restarts: record.restarts,
                former: record.end_before_start(),
                former_exit: record.last_exit.take().or(record.former_exit.take()),
                backoff: record.backoff,
                start_failures: record.start_failures,
                ..Record::default()
            };
        }
        self.report_pod(by);
        None
    }

    /// Puts a pod that has failed back to its beginning. Its containers keep their instance numbers,
    /// so that what is still on its way from before is not taken for news, and count one more
    /// restart, so that their logs go on.
    pub(super) fn restart_pod(&mut self, id: PodId, now: Instant) -> Option<Action> {
        let pod = self.plan.pods.get(id.index())?;
        let (containers, backoff) = (pod.containers(), pod.restart_backoff);
        let record = self.pods.get_mut(id.index())?;
        let PodState::Ended { at, .. } = record.state else { return None };
        record.backoff.advance(at, now, &backoff);
        record.restarts = record.restarts.saturating_add(1);
        record.recent_restarts.note(now);
        record.recent_container_restarts = Recent::default();
        record.state = PodState::Waiting { try_at: now };
        record.start_time = None;
        record.failures = 0;
        record.reported = phase::Reported::default();
        let restarts = record.restarts;
        for record in self.records.get_mut(containers)? {
            let ran = u32::from(record.instance.0 > 0);
            *record = Record {
                instance: record.instance,
                restarts: record.restarts.saturating_add(ran),
                backoff: record.backoff.anew(),
                ..Record::default()
            };
        }
        self.report(Report::PodRestarting { pod: id, restarts });
        None
    }
}
