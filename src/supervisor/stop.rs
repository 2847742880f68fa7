//! The stop of one container, as it is written into its record: its hook, its turn, its signal.

use core::time::Duration;

use super::Supervisor;
use super::action::{Action, ContainerAction};
use super::grace::{GracePeriods, grace};
use super::hook::{HookKind, Stage};
use super::record::{State, StopPhase, StopReason};
use super::report::Report;
use crate::config::plan::{ContainerId, Hook, Probe};
use crate::time::Instant;

impl Supervisor {
    /// Begins to stop a container that runs. A post-start hook is not waited for any longer.
    pub(super) fn stop_container(
        &mut self,
        id: ContainerId,
        reason: StopReason,
        now: Instant,
    ) -> Option<Action> {
        let (container, record) = self.member_mut(id)?;
        let hook = if let State::PostStart { hook, .. } = record.state { Some(hook) } else { None };
        // A sleep is nobody's but ours.
        let is_ours = matches!(container.hooks.post_start, Some(Hook::Sleep(_)));
        self.begin_stop(id, reason, now);
        match hook {
            Some(Stage::UnderWay { .. }) if !is_ours => {
                self.container_action(id, ContainerAction::CancelHook(HookKind::PostStart))
            }
            Some(Stage::UnderWay { .. } | Stage::Due) | None => None,
        }
    }

    /// Writes down that a container that runs is to be stopped.
    pub(super) fn begin_stop(&mut self, id: ContainerId, reason: StopReason, now: Instant) {
        let Some(grace) = self.container_grace(id, reason) else { return };
        let Some((container, record)) = self.member_mut(id) else { return };
        let phase = match container.hooks.pre_stop {
            // Of a pod that is renewed nothing is kept for later.
            Some(_) if reason != StopReason::RestartAllContainers => StopPhase::PreStop { hook: Stage::Due },
            Some(_) | None => StopPhase::Waiting { since: now },
        };
        let started = record.state.has_started();
        record.state = State::Stopping { reason, started, grace_end: now.after(grace), phase };
    }

    /// Its hook has ended and its turn has come.
    pub(super) fn send_stop_signal(&mut self, id: ContainerId, now: Instant) -> Option<Action> {
        let record = self.record_mut(id)?;
        let State::Stopping { reason, started, grace_end, phase: StopPhase::Waiting { since } } =
            record.state
        else {
            return None;
        };
        // What it has waited for others is not counted against it.
        let grace_end = grace_end.after(now.since(since));
        let phase = StopPhase::Signalled { at: now };
        record.state = State::Stopping { reason, started, grace_end, phase };
        self.report(Report::StopSignalled { container: id, reason });
        self.container_action(id, ContainerAction::Stop)
    }

    fn container_grace(&self, id: ContainerId, reason: StopReason) -> Option<Duration> {
        let container = self.plan.containers.get(id.index())?;
        let probes = &container.probes;
        let of = |probe: &Option<Probe>| probe.as_ref().and_then(|probe| probe.termination_grace_period);
        let periods = GracePeriods {
            pod: self.grace(container.pod),
            container: container.termination_grace_period,
            startup_probe: of(&probes.startup),
            liveness_probe: of(&probes.liveness),
        };
        Some(grace(&periods, reason))
    }
}
