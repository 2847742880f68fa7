//! What an event changes in the records.
//!
//! Every event meets every state. What does not fit (late, doubled, about a former instance)
//! finds a record that has moved on, and changes nothing.

use core::time::Duration;

use super::event::{ContainerEvent, Event, Goal};
use super::hook::{self, HookKind};
use super::notice::Notice;
use super::pod::{Member, PodState};
use super::probe::{self, ProbeKind, Verdict, Workers};
use super::record::{
    self, Cause, End, Failure, Instance, Record, StartStep, State, StopPhase, StopReason, Termination,
};
use super::report::{Next, Report};
use super::{
    POD_RETRY, Stop, Supervisor, TEAR_DOWN_TRIES, escalation, phase, remove_retry, renewal, restart,
    shutdown, wording,
};
use crate::config::plan::{ContainerId, PodId, Role, TerminationMessage, TerminationMessagePolicy};
use crate::limits::GRACE_MIN;
use crate::time::Instant;

impl Supervisor {
    /// Notes what has happened.
    pub fn handle(&mut self, event: Event, now: Instant) {
        match event {
            Event::PodSetUp(id) => {
                if let Some(record) = self.setting_up(id) {
                    record.state = PodState::Active;
                    record.has_remains = false;
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
            Event::ContainerChanged(id) => self.handle_change(id),
            Event::StopRequested(goal) => self.handle_stop(goal, now),
        }
    }

    fn handle_change(&mut self, id: ContainerId) {
        let pod = self.plan.containers.get(id.index()).and_then(|container| self.pod_record(container.pod));
        if pod.is_none_or(|pod| pod.stop_reason().is_some()) {
            return;
        }
        let Some((container, record)) = self.member_mut(id) else { return };
        record.changed = container.role != Role::Init && record.state.is_active();
        record.backoff.forget();
        record.start_failures = 0;
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
        if let ContainerEvent::LastLines(lines) = event {
            // Told late by nature: whether it is started again already plays no part.
            return note_last_lines(record, &container.termination_message, instance, lines);
        }
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
                ContainerEvent::CreateFailed(failure),
            ) => {
                record.failure = failure;
                record.failed_step = Some(StartStep::Create);
                self.note_end(id, Cause::StartFailed, now);
            }
            (
                State::Creating { .. } | State::Created | State::Starting { .. },
                ContainerEvent::StartFailed(failure),
            ) => {
                record.failure = failure;
                record.failed_step = Some(StartStep::Start);
                self.note_end(id, Cause::StartFailed, now);
            }
            (State::Killing { reason, .. }, ContainerEvent::CreateFailed(_)) => {
                let cause = self.killed_before_start(id, reason);
                self.note_end(id, cause, now);
            }
            (State::Starting { exited: None, .. }, ContainerEvent::Started) => {
                record.probes = Workers::begin_instance(&container.probes, now).remembering(&record.probes);
                record.start_failures = 0;
                record.failed_step = None;
                record.started_at = Some(now);
                record.state = match container.hooks.post_start {
                    Some(_) => State::PostStart { since: now, hook: hook::Stage::Due },
                    None => State::Running { since: now },
                };
                self.report(Report::Started { container: id });
            }
            (State::Starting { exited: Some(exit), .. }, ContainerEvent::Started) => {
                record.start_failures = 0;
                record.failed_step = None;
                record.started_at = Some(now);
                self.report(Report::Started { container: id });
                self.note_end(id, Cause::Exit { exit, stopped: None }, now);
            }
            (State::Starting { give_up_at, exited: None }, ContainerEvent::Exited(exit)) => {
                record.state = State::Starting { give_up_at, exited: Some(exit) };
            }
            // Whatever its exit code says: of the container's own command nothing has run.
            (State::Created, ContainerEvent::Exited(_)) => {
                record.failure = record::failure("its first process ended before it was started");
                self.note_end(id, Cause::StartFailed, now);
            }
            (State::PostStart { .. } | State::Running { .. }, ContainerEvent::Exited(exit)) => {
                self.note_end(id, Cause::Exit { exit, stopped: None }, now);
            }
            // It has not been told yet that its pod stops.
            (
                State::Stopping {
                    reason: StopReason::Pod,
                    phase: StopPhase::PreStop { .. } | StopPhase::Waiting { .. },
                    ..
                },
                ContainerEvent::Exited(exit),
            ) => self.note_end(id, Cause::Exit { exit, stopped: None }, now),
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
            (
                State::Created
                | State::Starting { .. }
                | State::PostStart { .. }
                | State::Running { .. }
                | State::Stopping { .. }
                | State::Killing { .. },
                ContainerEvent::TerminationMessage(message),
            ) => record.message = message,
            (State::Running { .. } | State::Stopping { .. }, ContainerEvent::Probed(kind, outcome, why)) => {
                self.observe_probe(id, kind, outcome, why, now);
            }
            // Its own command runs before the end of `start` is known.
            (
                State::Starting { .. }
                | State::PostStart { .. }
                | State::Running { .. }
                | State::Stopping { .. },
                ContainerEvent::Notified(notice),
            ) => self.note_notice(id, notice, now),
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
        let (step, name) = match reason {
            StopReason::Pod
            | StopReason::StartupProbe
            | StopReason::LivenessProbe
            | StopReason::RestartAllContainers
            | StopReason::Changed
            | StopReason::PostStartHook => return Cause::NeverRan,
            StopReason::CreateTimeout => (StartStep::Create, "create"),
            StopReason::StartTimeout => (StartStep::Start, "start"),
        };
        if let Some(record) = self.record_mut(id) {
            record.failed_step = Some(step);
            record.failure = wording::timed_out(name, timeout);
        }
        match step {
            StartStep::Create => Cause::StartFailed,
            StartStep::Start => Cause::MayHaveRun,
        }
    }

    /// Notes that the first process of a container is gone, or never came.
    pub(super) fn note_end(&mut self, id: ContainerId, cause: Cause, now: Instant) {
        let end = End { at: now, cause };
        let Some(record) = self.record_mut(id) else { return };
        record.state = State::Exited { end, remove_at: now, tries: 0 };
        let started_at = record.started_at.take();
        let message = core::mem::take(&mut record.message);
        let instance = record.instance;
        match cause {
            Cause::Exit { .. } => {
                let termination = Termination { instance, started_at, end, message };
                if let Some(former) = record.last_exit.replace(termination) {
                    record.former_exit = Some(former);
                }
            }
            Cause::StartFailed | Cause::MayHaveRun => {
                record.start_failures = record.start_failures.saturating_add(1);
            }
            Cause::NeverRan | Cause::LeftBehind => {}
        }
        let next = self.next_of(id, now);
        match cause {
            Cause::Exit { exit, .. } => self.report(Report::Exited { container: id, exit, next }),
            Cause::StartFailed | Cause::MayHaveRun => {
                self.report(Report::StartFailed { container: id, next })
            }
            Cause::NeverRan | Cause::LeftBehind => {}
        }
    }

    /// What happens to a container that has just ended.
    fn next_of(&self, id: ContainerId, now: Instant) -> Next {
        let Some((container, record)) = self.plan.containers.get(id.index()).zip(self.record(id)) else {
            return Next::Stays;
        };
        let Some(view) = self.view(container.pod) else { return Next::Stays };
        let member = Member { id, container, record };
        if view.record.state == PodState::Active && escalation::is_exhausted(&view, now) {
            return Next::Stays;
        }
        if view.record.state == PodState::Active && renewal::asks(&view, &member) {
            return Next::RestartsAll;
        }
        if phase::will_restart(&view, &member) {
            let start_at = restart::start_at(record, &view.pod.restart_backoff);
            return Next::RestartsIn(start_at.map_or(Duration::ZERO, |at| at.since(now)));
        }
        if let PodState::Stopping { deadline, .. } = view.record.state {
            if let Some(at) = shutdown::restart_at(&view, &member, deadline) {
                return Next::RestartsIn(at.since(now));
            }
        }
        match view.record.state {
            PodState::RestartingAll { .. }
            | PodState::Stopping { .. }
            | PodState::TearingDown { .. }
            | PodState::Ended { .. } => Next::WasStopped,
            PodState::Waiting { .. } | PodState::SettingUp | PodState::Active => Next::Stays,
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
        let said = record::cut(&why);
        // The same reason or warning again and again is told once.
        let news = match outcome {
            probe::Outcome::Error => record.failure != why,
            probe::Outcome::Warning => record.said.get(kind.index()) != Some(&said),
            probe::Outcome::Success | probe::Outcome::Failure => false,
        };
        match outcome {
            probe::Outcome::Failure | probe::Outcome::Error => record.failure = why,
            probe::Outcome::Success | probe::Outcome::Warning => {}
        }
        if let Some(place) = record.said.get_mut(kind.index()) {
            *place = said;
        }
        let changed = record.probes.worker_mut(kind).observe(kind, probe, outcome);
        let running_since = if let State::Running { since } = record.state { Some(since) } else { None };
        match outcome {
            probe::Outcome::Error if news => self.report(Report::ProbeNotMade { container: id, kind }),
            probe::Outcome::Warning if news => self.report(Report::ProbeWarned { container: id, kind }),
            probe::Outcome::Error
            | probe::Outcome::Warning
            | probe::Outcome::Success
            | probe::Outcome::Failure => {}
        }
        match (kind, changed, running_since) {
            (ProbeKind::Startup, Some(Verdict::Success), Some(since)) => {
                self.begin_readiness(id, now);
                self.report(Report::StartupSucceeded { container: id, took: now.since(since) });
            }
            (ProbeKind::Readiness, Some(Verdict::Success | Verdict::Failure), _) => {
                self.report_readiness(id);
            }
            (ProbeKind::Startup | ProbeKind::Liveness, Some(Verdict::Failure), Some(_)) => {
                self.report(Report::ProbeFailed { container: id, kind });
            }
            (ProbeKind::Startup | ProbeKind::Liveness | ProbeKind::Readiness, _, _) => {}
        }
    }

    fn note_notice(&mut self, id: ContainerId, mut notice: Notice, now: Instant) {
        let Some((container, record)) = self.member_mut(id) else { return };
        let Some(notify) = container.probes.notify else { return };
        let pod = container.pod;
        // Whether it is well has no effect any more when it stops, or its pod.
        let stops = matches!(record.state, State::Stopping { .. });
        if stops || self.pod_record(pod).is_none_or(|record| record.state != PodState::Active) {
            notice.keep_alive = None;
        }
        let Some((_, record)) = self.member_mut(id) else { return };
        let noted = record.probes.note(notify, &notice, now);
        if let Some(status) = notice.status {
            record.status = status;
        }
        if noted.failed {
            record.failure = record::failure("it says so itself (WATCHDOG=trigger)");
        }
        if noted.ready {
            self.begin_readiness(id, now);
            self.report(Report::SaidReady { container: id });
        }
        if noted.stopping {
            self.report(Report::SaidStopping { container: id });
        }
        if noted.failed {
            self.report(Report::Unwell { container: id });
        }
    }

    /// Once a container has started, its readiness is asked for at once, and from then on each
    /// period (Kubernetes: the same).
    fn begin_readiness(&mut self, id: ContainerId, now: Instant) {
        let Some((container, record)) = self.member_mut(id) else { return };
        if record.probes.is_started(&container.probes) {
            record.probes.worker_mut(ProbeKind::Readiness).put_off(now);
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

/// The end of the log stands for a message where the policy says so, the instance has failed, and
/// it has left none.
fn note_last_lines(record: &mut Record, wanted: &TerminationMessage, instance: Instance, lines: Box<str>) {
    match wanted.policy {
        TerminationMessagePolicy::File => return,
        TerminationMessagePolicy::FallbackToLogsOnError => {}
    }
    let exits = [record.last_exit.as_mut(), record.former_exit.as_mut()];
    if let Some(exit) = exits.into_iter().flatten().find(|exit| exit.instance == instance) {
        let failed = matches!(exit.end.cause, Cause::Exit { exit, .. } if exit.status.code() != 0);
        if failed && exit.message.is_empty() {
            exit.message = lines;
        }
    }
}
