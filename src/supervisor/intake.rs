//! What an event changes in the records.
//!
//! Every event meets every state. What does not fit (late, doubled, about a former instance)
//! finds a record that has moved on, and changes nothing.

use super::event::{ContainerEvent, Event, Goal};
use super::hook::{self, HookKind};
use super::pod::{Member, PodState};
use super::probe::{self, ProbeKind, Verdict, Workers};
use super::record::{Cause, End, Failure, Instance, State, StopPhase, StopReason};
use super::report::{self, Next, Report};
use super::{POD_RETRY, Stop, Supervisor, TEAR_DOWN_TRIES, phase, remove_retry, restart};
use crate::config::plan::{ContainerId, PodId};
use crate::limits::GRACE_MIN;
use crate::time::Instant;

impl Supervisor {
    /// Notes what has happened.
    pub fn handle(&mut self, event: Event, now: Instant) {
        match event {
            Event::PodSetUp(id) => {
                if let Some(record) = self.setting_up(id) {
                    record.state = PodState::Active;
                    record.failures = 0;
                }
            }
            Event::PodSetUpFailed(id, failure) => {
                if let Some(record) = self.setting_up(id) {
                    record.state = PodState::Waiting { try_at: now.after(POD_RETRY) };
                    record.failures = record.failures.saturating_add(1);
                    record.failure = failure;
                    self.report(Report::PodSetUpFailed { pod: id, retry_in: POD_RETRY });
                }
            }
            Event::PodTornDown(id) => self.end_tear_down(id, None, now),
            Event::PodTearDownFailed(id, failure) => self.end_tear_down(id, Some(failure), now),
            Event::Container(id, instance, event) => self.handle_container(id, instance, event, now),
            Event::StopRequested(goal) => self.handle_stop(goal, now),
        }
    }

    fn handle_stop(&mut self, goal: Goal, now: Instant) {
        let before = self.stop;
        let stop = match before {
            None => Stop { goal, requests: 1, deadline: self.stop_deadline(goal, now) },
            // Who wants the machine to go down does not want it less for a request that only stops
            // the pods.
            Some(stop) => Stop {
                goal: if goal == Goal::Exit { stop.goal } else { goal },
                requests: stop.requests.saturating_add(1),
                deadline: stop.deadline.or(self.stop_deadline(goal, now)),
            },
        };
        self.stop = Some(stop);
        let news = before
            .is_none_or(|before| before.goal != stop.goal || before.is_shortened() != stop.is_shortened());
        if !news {
            return;
        }
        self.report(Report::StopRequested { goal: stop.goal, shortened: stop.is_shortened() });
        if stop.is_shortened() {
            for record in &mut self.pods {
                if let PodState::Stopping { deadline, .. } = &mut record.state {
                    *deadline = (*deadline).min(now.after(GRACE_MIN));
                }
            }
        }
    }

    fn handle_container(&mut self, id: ContainerId, instance: Instance, event: ContainerEvent, now: Instant) {
        let Some((container, record)) = self.member_mut(id) else { return };
        if record.instance != instance {
            return;
        }
        match (record.state, event) {
            (State::Creating { .. }, ContainerEvent::Created) => record.state = State::Created,
            // It was made just as it was killed: what was made is to be killed, too.
            (State::Killing { reason, ran, .. }, ContainerEvent::Created) => {
                record.state = State::Killing { reason, ran, again_at: now };
            }
            (
                State::Creating { .. } | State::Created | State::Starting { .. },
                ContainerEvent::CreateFailed(failure) | ContainerEvent::StartFailed(failure),
            ) => {
                record.failure = failure;
                self.note_end(id, Cause::StartFailed, now);
            }
            (State::Killing { reason, .. }, ContainerEvent::CreateFailed(_)) => {
                let cause = self.killed_before_start(id, reason);
                self.note_end(id, cause, now);
            }
            (State::Starting { exited: None, .. }, ContainerEvent::Started) => {
                record.probes = Workers::begin_instance(&container.probes, now);
                record.start_failures = 0;
                record.state = match container.hooks.post_start {
                    Some(_) => State::PostStart { since: now, hook: hook::Stage::Due },
                    None => State::Running { since: now },
                };
                self.report(Report::Started { container: id });
            }
            (State::Starting { exited: Some(exit), .. }, ContainerEvent::Started) => {
                record.start_failures = 0;
                self.report(Report::Started { container: id });
                self.note_end(id, Cause::Exit { exit, stopped: None }, now);
            }
            (State::Starting { give_up_at, exited: None }, ContainerEvent::Exited(exit)) => {
                record.state = State::Starting { give_up_at, exited: Some(exit) };
            }
            (
                State::Created | State::PostStart { .. } | State::Running { .. },
                ContainerEvent::Exited(exit),
            ) => {
                self.note_end(id, Cause::Exit { exit, stopped: None }, now);
            }
            (State::Stopping { reason, .. }, ContainerEvent::Exited(exit)) => {
                self.note_end(id, Cause::Exit { exit, stopped: Some(reason) }, now);
            }
            (State::Killing { reason, ran, .. }, ContainerEvent::Exited(exit)) => {
                let cause = if ran {
                    Cause::Exit { exit, stopped: Some(reason) }
                } else {
                    self.killed_before_start(id, reason)
                };
                self.note_end(id, cause, now);
            }
            (State::Removing { end, .. } | State::Exited { end, .. }, ContainerEvent::Removed) => {
                record.state = State::Ended { end }
            }
            (State::Removing { end, tries, .. }, ContainerEvent::RemoveFailed(failure)) => {
                record.failure = failure;
                let tries = tries.saturating_add(1);
                let retry_in = remove_retry(tries);
                record.state = State::Exited { end, remove_at: now.after(retry_in), tries };
                // The first failures are a cgroup that empties a little later than its first
                // process ended; said is what lasts.
                if tries >= 4 {
                    self.report(Report::RemoveFailed { container: id, retry_in });
                }
            }
            (State::Running { .. } | State::Stopping { .. }, ContainerEvent::Probed(kind, outcome, why)) => {
                self.observe_probe(id, kind, outcome, why, now);
            }
            (
                State::PostStart { hook: hook::Stage::UnderWay { .. }, .. },
                ContainerEvent::HookEnded(kind @ HookKind::PostStart, outcome),
            )
            | (
                State::Stopping { phase: StopPhase::PreStop { hook: hook::Stage::UnderWay { .. } }, .. },
                ContainerEvent::HookEnded(kind @ HookKind::PreStop, outcome),
            ) => self.observe_hook(id, kind, outcome, now),
            // Late or doubled: the record has moved on.
            (
                State::Absent
                | State::Creating { .. }
                | State::Created
                | State::Starting { .. }
                | State::PostStart { .. }
                | State::Running { .. }
                | State::Stopping { .. }
                | State::Killing { .. }
                | State::Exited { .. }
                | State::Removing { .. }
                | State::Ended { .. },
                _,
            ) => {}
        }
        self.report_pod(id);
    }

    /// Why a container ended that was killed before its own command ran.
    pub(super) fn killed_before_start(&mut self, id: ContainerId, reason: StopReason) -> Cause {
        let timeout = self.plan.machine.runtime_timeout;
        let step = match reason {
            StopReason::Pod
            | StopReason::StartupProbe
            | StopReason::LivenessProbe
            | StopReason::PostStartHook => return Cause::NeverRan,
            StopReason::CreateTimeout => "create",
            StopReason::StartTimeout => "start",
        };
        if let Some(record) = self.record_mut(id) {
            record.failure = report::timed_out(step, timeout);
        }
        Cause::StartFailed
    }

    /// Notes that the first process of a container is gone, or never came.
    pub(super) fn note_end(&mut self, id: ContainerId, cause: Cause, now: Instant) {
        let end = End { at: now, cause };
        let Some(record) = self.record_mut(id) else { return };
        record.state = State::Exited { end, remove_at: now, tries: 0 };
        match cause {
            Cause::Exit { .. } => record.last_exit = Some(end),
            Cause::StartFailed => record.start_failures = record.start_failures.saturating_add(1),
            Cause::NeverRan | Cause::LeftBehind => {}
        }
        let next = self.next_of(id, now);
        match cause {
            Cause::Exit { exit, .. } => self.report(Report::Exited { container: id, exit, next }),
            Cause::StartFailed => self.report(Report::StartFailed { container: id, next }),
            Cause::NeverRan | Cause::LeftBehind => {}
        }
    }

    /// What happens to a container that has just ended.
    fn next_of(&self, id: ContainerId, now: Instant) -> Next {
        let next = || {
            let container = self.plan.containers.get(id.index())?;
            let record = self.record(id)?;
            let view = self.view(container.pod)?;
            if !phase::will_restart(&view, &Member { id, container, record }) {
                return None;
            }
            Some(restart::start_at(record, &view.pod.restart_backoff)?.since(now))
        };
        let stopping = || {
            let view = self.view(self.plan.containers.get(id.index())?.pod)?;
            view.record.stop_reason()
        };
        match next() {
            Some(pause) => Next::RestartsIn(pause),
            None if stopping().is_some() => Next::WasStopped,
            None => Next::Stays,
        }
    }

    pub(super) fn observe_probe(
        &mut self,
        id: ContainerId,
        kind: ProbeKind,
        outcome: probe::Outcome,
        why: Failure,
        now: Instant,
    ) {
        let Some((container, record)) = self.member_mut(id) else { return };
        let Some(probe) = kind.of(&container.probes) else { return };
        // The same reason again and again is said once.
        let news = outcome == probe::Outcome::Error && record.failure != why;
        if outcome != probe::Outcome::Success {
            record.failure = why;
        }
        let changed = record.probes.worker_mut(kind).observe(kind, probe, outcome);
        let running_since = if let State::Running { since } = record.state { Some(since) } else { None };
        if news {
            self.report(Report::ProbeNotMade { container: id, kind });
        }
        match (kind, changed, running_since) {
            (ProbeKind::Startup, Some(Verdict::Success), Some(since)) => {
                self.report(Report::StartupSucceeded { container: id, took: now.since(since) });
            }
            (ProbeKind::Readiness, Some(Verdict::Success | Verdict::Failure), Some(_)) => {
                self.report_readiness(id);
            }
            (ProbeKind::Startup | ProbeKind::Liveness, Some(Verdict::Failure), Some(_)) => {
                self.report(Report::ProbeFailed { container: id, kind });
            }
            (ProbeKind::Startup | ProbeKind::Liveness | ProbeKind::Readiness, _, _) => {}
        }
    }

    fn end_tear_down(&mut self, id: PodId, failure: Option<Failure>, now: Instant) {
        let Some(record) = self.pod_mut(id) else { return };
        let PodState::TearingDown { reason, try_at: None, tries } = record.state else { return };
        let Some(failure) = failure else {
            record.state = PodState::Ended { reason, at: now };
            self.report_end(id);
            return;
        };
        record.failure = failure;
        let tries = tries.saturating_add(1);
        if tries >= TEAR_DOWN_TRIES {
            record.state = PodState::Ended { reason, at: now };
            self.left_behind = true;
            self.report(Report::PodLeftBehind { pod: id });
            self.report_end(id);
        } else {
            let retry_in = remove_retry(tries);
            record.state = PodState::TearingDown { reason, try_at: Some(now.after(retry_in)), tries };
        }
    }
}
