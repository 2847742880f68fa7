//! The decisions: events in, actions out. Pure: no system call, no clock, no error.
//!
//! Four calls make up its life, in this order in every turn of the loop:
//!
//! 1. [`Supervisor::handle`] (`intake.rs`) notes in the records what has happened.
//! 2. [`Supervisor::next_action`], until it returns `None`, says what to do about it: after the
//!    last event that is known, so that no deadline overtakes one.
//! 3. [`Supervisor::exit`] says whether that was all.
//! 4. [`Supervisor::next_deadline`] says when to come again if nothing happens.
//!
//! Deciding is level-triggered, as in the kubelet: each decision is made from the records alone,
//! for all pods, as if it were the first. An event that is lost, late or doubled changes what is
//! known, never how it is decided. What was asked for is written into the record, so that it is
//! asked for once. Same events at the same times give the same actions.
//!
//! `intake.rs` notes events. `startup.rs`, `shutdown.rs` and `upkeep.rs` look at one pod and name
//! the next step; this file writes the step into the records and turns it into an [`Action`].

pub mod action;
pub mod alarm;
pub mod announcer;
pub mod condition;
pub mod escalation;
pub mod event;
pub mod grace;
pub mod hook;
mod intake;
pub mod kept;
pub mod notice;
pub mod phase;
pub mod pod;
pub mod policy;
pub mod probe;
pub mod record;
pub mod renewal;
pub mod report;
pub mod restart;
pub mod shutdown;
mod spread;
pub mod standing;
pub mod startup;
pub mod status;
mod stop;
pub mod upkeep;
pub mod wording;

use core::time::Duration;

use std::rc::Rc;

use heapless::Deque;

use self::action::{Action, ContainerAction};
use self::alarm::Alarm;
use self::event::Goal;
use self::grace::effective_grace;
use self::pod::{Member, PodRecord, PodState, PodStopReason, PodView};
use self::record::{Cause, End, Record, State, StopReason};
use self::report::Report;
use crate::config::plan::{Backoff, Container, ContainerId, Plan, PodId};
use crate::limits::{GRACE_MIN, REPORTS_MAX};
use crate::time::Instant;

/// Pause before a set-up or tear-down of a pod that failed is tried again. The kubelet's for
/// errors of this kind.
const POD_RETRY: Duration = Duration::from_secs(10);

/// Pause before a removal that failed is tried again: most often a cgroup that was not empty yet.
const REMOVE_RETRY: Duration = Duration::from_millis(100);

/// Longest such pause.
const REMOVE_RETRY_MAX: Duration = Duration::from_secs(10);

/// Pause before SIGKILL is sent again to what should be gone.
const KILL_AGAIN: Duration = Duration::from_secs(1);

/// Tear-downs of a pod that may fail before it ends all the same, with something left behind.
const TEAR_DOWN_TRIES: u32 = 3;

/// A stop of everything that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stop {
    /// What for.
    goal: Goal,
    /// How often somebody has asked for it: from the second time on with [`GRACE_MIN`] for what
    /// still runs. 0: it follows from a pod that has failed.
    requests: u32,
    /// When the machine goes down whatever still runs; `None` if it goes on.
    deadline: Option<Instant>,
}

impl Stop {
    fn is_shortened(self) -> bool {
        self.requests > 1
    }
}

/// How it all ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Pods that failed by themselves, not by being stopped.
    pub failed: usize,
    /// Whether something could not be removed.
    pub left_behind: bool,
    /// What everything was stopped for; [`Goal::Exit`] also if all pods ended by themselves.
    pub goal: Goal,
}

/// What is wanted next, and for whom.
enum Step {
    SetUp(PodId),
    TearDown(PodId),
    StopPod(PodId, PodStopReason),
    EndPod(PodId, PodStopReason),
    Create(ContainerId),
    RestartAll(PodId, ContainerId),
    BeginAgain(PodId),
    Upkeep(upkeep::Step),
    Escalate(escalation::Step),
    GiveUp,
}

/// All pods, what is known of them, and what is to be done.
#[derive(Debug)]
pub struct Supervisor {
    plan: Rc<Plan>,
    pods: Box<[PodRecord]>,
    records: Box<[Record]>,
    stop: Option<Stop>,
    /// The deadline of the stop has passed; nothing is waited for any more.
    given_up: bool,
    left_behind: bool,
    /// How long an essential pod may be not ready; `None` where no watchdog runs that would mind.
    unready_limit: Option<Duration>,
    /// The essential pod that has not been ready for too long, if any.
    overdue: Option<PodId>,
    reports: Deque<Report, REPORTS_MAX>,
    reports_lost: u32,
    next_deadline: Option<Instant>,
}

impl Supervisor {
    /// A supervisor that has done nothing yet. All memory that it will ever use is taken here.
    pub fn new(plan: Rc<Plan>) -> Supervisor {
        let mut supervisor = Supervisor {
            pods: plan.pods.iter().map(|_| PodRecord::new()).collect(),
            records: plan.containers.iter().map(|_| Record::default()).collect(),
            plan,
            stop: None,
            given_up: false,
            left_behind: false,
            unready_limit: None,
            overdue: None,
            reports: Deque::new(),
            reports_lost: 0,
            next_deadline: None,
        };
        supervisor.seed_jitter(0);
        supervisor
    }

    /// A supervisor that goes on from what is known: it decides as one that has come there by events.
    ///
    /// `None` if there is not one record for each pod and container of the plan.
    pub fn with_records(
        plan: Rc<Plan>,
        pods: Box<[PodRecord]>,
        records: Box<[Record]>,
    ) -> Option<Supervisor> {
        let fits = pods.len() == plan.pods.len() && records.len() == plan.containers.len();
        fits.then(|| Supervisor { pods, records, ..Supervisor::new(plan) })
    }

    /// The machine's watchdog runs: from now on its `unready-limit`, if there is one, counts.
    pub fn mind_watchdog(&mut self) {
        self.unready_limit = self.plan.machine.watchdog.as_ref().and_then(|watchdog| watchdog.unready_limit);
    }

    /// The next thing to do at `now`. Ends: each answer is written into the records, and asking
    /// again gives the next one, until nothing is left to do.
    pub fn next_action(&mut self, now: Instant) -> Option<Action> {
        loop {
            if let Some(report) = self.next_report() {
                return Some(Action::Report(report));
            }
            let mut alarm = Alarm::new(now);
            let Some(step) = self.decide(&mut alarm) else {
                self.look_at_essential_pods(now, &mut alarm);
                if !self.reports.is_empty() {
                    continue;
                }
                self.next_deadline = alarm.next();
                return None;
            };
            if let Some(action) = self.carry_out(step, now) {
                return Some(action);
            }
        }
    }

    /// The next thing to tell. To be asked after each event as well: a report is worded from the
    /// records, and must be before they change again.
    pub fn next_report(&mut self) -> Option<Report> {
        let report = self.reports.pop_front();
        let lost = core::mem::take(&mut self.reports_lost);
        if report.is_some() {
            self.reports_lost = lost;
        }
        report.or((lost > 0).then_some(Report::Lost(lost)))
    }

    /// When to ask for the next action although nothing has happened. `None`: never. Holds from
    /// the moment that `next_action` returned `None` until the next event.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.next_deadline
    }

    /// Whether every essential pod is ready, or has not been for less than the watchdog's
    /// `unready-limit`. As of the last `next_action`; always so while everything is being stopped,
    /// which has a deadline of its own, and without a watchdog.
    pub fn are_essential_pods_well(&self) -> bool {
        self.overdue.is_none()
    }

    /// Whether everything is being stopped.
    pub fn is_stopping(&self) -> bool {
        self.stop.is_some()
    }

    /// How it ended, once nothing of any pod is left and none is to be started anew, or the
    /// deadline for that has passed.
    pub fn exit(&self) -> Option<Outcome> {
        let ended = |view: &PodView<'_>| {
            view.record.is_ended() && (self.stop.is_some() || !escalation::will_restart(view))
        };
        if !(self.given_up || self.views().all(|view| ended(&view))) || !self.reports.is_empty() {
            return None;
        }
        let failed = self.views().filter(escalation::has_failed).count();
        let goal = self.stop.map(|stop| stop.goal).unwrap_or_default();
        Some(Outcome { failed, left_behind: self.left_behind, goal })
    }

    /// What it was made for.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What is known of a container.
    pub fn record(&self, id: ContainerId) -> Option<&Record> {
        self.records.get(id.index())
    }

    /// What is known of a pod.
    pub fn pod_record(&self, id: PodId) -> Option<&PodRecord> {
        self.pods.get(id.index())
    }

    /// One pod with its containers.
    pub fn view(&self, id: PodId) -> Option<PodView<'_>> {
        PodView::new(&self.plan, &self.pods, &self.records, id)
    }

    /// All pods with their containers, each behind those it is `after`.
    pub fn views(&self) -> impl Iterator<Item = PodView<'_>> {
        (0..=u8::MAX).map_while(|index| self.view(PodId(index)))
    }
}

// Deciding: `&self`, from the records alone.
impl Supervisor {
    fn decide(&self, alarm: &mut Alarm) -> Option<Step> {
        if self.given_up {
            return None;
        }
        if self.stop.and_then(|stop| stop.deadline).is_some_and(|deadline| alarm.due(deadline)) {
            return Some(Step::GiveUp);
        }
        let pods = 0..u8::try_from(self.pods.len()).unwrap_or(u8::MAX);
        let mut step = |id| self.view(PodId(id)).and_then(|view| self.pod_step(&view, alarm));
        // Stopping begins with the pods that others do not depend on, and those stand last: what
        // they have come to in this turn counts for the others already.
        let step = if self.stop.is_some() {
            pods.rev().find_map(&mut step)
        } else {
            pods.into_iter().find_map(&mut step)
        };
        step.or_else(|| self.next_in_line(alarm).map(Step::Create))
    }

    fn pod_step(&self, view: &PodView, alarm: &mut Alarm) -> Option<Step> {
        let over =
            |alarm: &mut Alarm| view.record.active_until(view.pod).is_some_and(|until| alarm.due(until));
        match view.record.state {
            PodState::Waiting { try_at } => {
                if self.stop.is_some() {
                    return Some(end_or_stop(view, PodStopReason::Requested));
                }
                if over(alarm) {
                    return Some(Step::StopPod(view.id, PodStopReason::DeadlineExceeded));
                }
                match self.dependencies(view) {
                    Dependencies::Failed(id) => Some(end_or_stop(view, PodStopReason::DependencyFailed(id))),
                    // Of a pod that the supervisor before had: nothing is to be started any more.
                    Dependencies::Met if startup::is_completed(view) => {
                        Some(end_or_stop(view, PodStopReason::Completed))
                    }
                    Dependencies::Met => alarm.due(try_at).then_some(Step::SetUp(view.id)),
                    Dependencies::NotYet => None,
                }
            }
            PodState::SettingUp => None,
            PodState::Ended { .. } => match self.stop {
                Some(_) => None,
                None => escalation::next_step(view, alarm).map(Step::Escalate),
            },
            PodState::Active => {
                if self.stop.is_some() && self.dependents_ended(view.id) {
                    return Some(Step::StopPod(view.id, PodStopReason::Requested));
                }
                if over(alarm) {
                    return Some(Step::StopPod(view.id, PodStopReason::DeadlineExceeded));
                }
                if escalation::is_exhausted(view, alarm.now()) {
                    return Some(Step::StopPod(view.id, PodStopReason::RestartedTooOften));
                }
                if let Some(id) = renewal::trigger(view) {
                    return Some(Step::RestartAll(view.id, id));
                }
                match startup::next_step(view, alarm) {
                    Some(startup::Step::Create(id)) if self.plan.machine.start_spread.is_none() => {
                        Some(Step::Create(id))
                    }
                    Some(startup::Step::Stop(reason)) => Some(Step::StopPod(view.id, reason)),
                    // Of those that may not all come up at one time, `next_in_line` chooses.
                    Some(startup::Step::Create(_)) | None => upkeep::next_step(view, alarm).map(Step::Upkeep),
                }
            }
            PodState::RestartingAll { .. } => {
                if self.stop.is_some() && self.dependents_ended(view.id) {
                    return Some(Step::StopPod(view.id, PodStopReason::Requested));
                }
                if over(alarm) {
                    return Some(Step::StopPod(view.id, PodStopReason::DeadlineExceeded));
                }
                let reason = StopReason::RestartAllContainers;
                match renewal::next_step(view) {
                    Some(renewal::Step::Stop(id)) => Some(Step::Upkeep(upkeep::Step::Stop(id, reason))),
                    Some(renewal::Step::Signal(id)) => Some(Step::Upkeep(upkeep::Step::Signal(id))),
                    Some(renewal::Step::Kill(id)) => Some(Step::Upkeep(upkeep::Step::Kill(id, reason))),
                    Some(renewal::Step::Begin) => Some(Step::BeginAgain(view.id)),
                    None => upkeep::next_step(view, alarm).map(Step::Upkeep),
                }
            }
            PodState::Stopping { deadline, .. } => match shutdown::next_step(view, deadline, alarm) {
                Some(shutdown::Step::Stop(id)) => Some(Step::Upkeep(upkeep::Step::Stop(id, StopReason::Pod))),
                Some(shutdown::Step::Signal(id)) => Some(Step::Upkeep(upkeep::Step::Signal(id))),
                Some(shutdown::Step::Kill(id)) => Some(Step::Upkeep(upkeep::Step::Kill(id, StopReason::Pod))),
                Some(shutdown::Step::Create(id)) => Some(Step::Create(id)),
                Some(shutdown::Step::TearDown) => Some(Step::TearDown(view.id)),
                None => upkeep::next_step(view, alarm).map(Step::Upkeep),
            },
            PodState::TearingDown { try_at, .. } => {
                try_at.is_some_and(|at| alarm.due(at)).then_some(Step::TearDown(view.id))
            }
        }
    }

    fn dependencies(&self, view: &PodView) -> Dependencies {
        let mut all = Dependencies::Met;
        for &id in &view.pod.after {
            let Some(other) = self.view(id) else { continue };
            match phase::phase(&other) {
                // It has another try.
                phase::Phase::Failed if escalation::will_restart(&other) => all = Dependencies::NotYet,
                phase::Phase::Failed => return Dependencies::Failed(id),
                phase::Phase::Succeeded => {}
                phase::Phase::Pending | phase::Phase::Running => {
                    if !phase::is_pod_ready(&other) {
                        all = Dependencies::NotYet;
                    }
                }
            }
        }
        all
    }

    fn dependents_ended(&self, id: PodId) -> bool {
        self.views().all(|view| view.record.is_ended() || !view.pod.after.contains(&id))
    }
}

/// Ends a pod that was not set up. After a set-up that failed, or another supervisor, something of
/// it may be there, and is to be removed.
fn end_or_stop(view: &PodView, reason: PodStopReason) -> Step {
    if view.record.failures == 0 && !view.record.has_remains {
        Step::EndPod(view.id, reason)
    } else {
        Step::StopPod(view.id, reason)
    }
}

/// How the pods stand that a pod is `after`.
enum Dependencies {
    /// All are ready or have succeeded.
    Met,
    /// Some are not ready yet.
    NotYet,
    /// This one never will be.
    Failed(PodId),
}

// Carrying out: the step is written into the records.
impl Supervisor {
    fn carry_out(&mut self, step: Step, now: Instant) -> Option<Action> {
        match step {
            Step::SetUp(id) => {
                let record = self.pod_mut(id)?;
                record.state = PodState::SettingUp;
                record.start_time = record.start_time.or(Some(now));
                self.report(Report::PodStarting { pod: id });
                Some(Action::SetUpPod(id))
            }
            Step::TearDown(id) => {
                let record = self.pod_mut(id)?;
                let reason = record.stop_reason()?;
                let tries = match record.state {
                    PodState::TearingDown { tries, .. } => tries,
                    PodState::Waiting { .. }
                    | PodState::SettingUp
                    | PodState::Active
                    | PodState::RestartingAll { .. }
                    | PodState::Stopping { .. }
                    | PodState::Ended { .. } => 0,
                };
                record.state = PodState::TearingDown { reason, try_at: None, tries };
                Some(Action::TearDownPod(id))
            }
            Step::StopPod(id, reason) => {
                let grace = self.grace(id);
                self.pod_mut(id)?.state = PodState::Stopping { reason, deadline: now.after(grace) };
                self.report(Report::PodStopping { pod: id, reason, grace });
                None
            }
            Step::EndPod(id, reason) => {
                self.pod_mut(id)?.state = PodState::Ended { reason, at: now };
                self.report_end(id);
                None
            }
            Step::Create(id) => {
                let backoff = self.backoff(id)?;
                let give_up_at = now.after(self.plan.machine.runtime_timeout);
                let pod = self.plan.containers.get(id.index())?.pod;
                let view = self.view(pod)?;
                if view.members().any(|member| member.id == id && escalation::is_counted(&member)) {
                    self.pod_mut(pod)?.recent_container_restarts.note(now);
                }
                let record = self.record_mut(id)?;
                restart::begin_instance(record, &backoff, now);
                record.probes = probe::Workers::default();
                record.said = Default::default();
                record.status = record::Said::new();
                record.state = State::Creating { give_up_at };
                let restarts = record.restarts;
                self.container_action(id, ContainerAction::Create { restarts })
            }
            Step::RestartAll(id, by) => self.restart_all(id, by, now),
            Step::BeginAgain(id) => self.begin_again(id),
            Step::Upkeep(step) => self.carry_out_upkeep(step, now),
            Step::Escalate(escalation::Step::Restart(id)) => self.restart_pod(id, now),
            Step::Escalate(escalation::Step::StopAll(id, goal)) => {
                self.stop = Some(Stop { goal, requests: 0, deadline: self.stop_deadline(goal, now) });
                self.report(Report::PodEscalated { pod: id, goal });
                None
            }
            Step::GiveUp => {
                self.given_up = true;
                self.left_behind = true;
                self.report(Report::StopGivenUp);
                None
            }
        }
    }

    fn stop_deadline(&self, goal: Goal, now: Instant) -> Option<Instant> {
        (goal != Goal::Exit).then(|| now.after(self.plan.machine.shutdown_timeout))
    }

    /// Notes since when each essential pod has not been ready, and whether that is too long.
    fn look_at_essential_pods(&mut self, now: Instant, alarm: &mut Alarm) {
        let Some(limit) = self.unready_limit else { return };
        let mut overdue = None;
        for index in 0..u8::try_from(self.pods.len()).unwrap_or(u8::MAX) {
            let id = PodId(index);
            let Some(view) = self.view(id) else { continue };
            if !view.pod.essential {
                continue;
            }
            let since = escalation::unready_since(&view, now);
            if let Some(record) = self.pod_mut(id) {
                record.unready_since = since;
            }
            let Some(view) = self.view(id) else { continue };
            if overdue.is_none() && self.stop.is_none() && escalation::is_overdue(&view, limit, alarm) {
                overdue = Some(id);
            }
        }
        match (self.overdue, overdue) {
            (None, Some(pod)) => self.report(Report::PodOverdue { pod, limit }),
            // A stop makes no pod ready, but has a deadline of its own.
            (Some(_), None) if self.stop.is_none() => self.report(Report::PodsWell),
            (None | Some(_), None) | (Some(_), Some(_)) => {}
        }
        self.overdue = overdue;
    }

    fn carry_out_upkeep(&mut self, step: upkeep::Step, now: Instant) -> Option<Action> {
        match step {
            upkeep::Step::Start(id) => {
                let give_up_at = now.after(self.plan.machine.runtime_timeout);
                self.record_mut(id)?.state = State::Starting { give_up_at, exited: None };
                self.container_action(id, ContainerAction::Start)
            }
            upkeep::Step::Stop(id, reason) => self.stop_container(id, reason, now),
            upkeep::Step::Signal(id) => self.send_stop_signal(id, now),
            upkeep::Step::Kill(id, reason) => {
                let record = self.record_mut(id)?;
                let former = record.state;
                let ran = former.runs();
                record.state = State::Killing { reason, ran, again_at: now.after(KILL_AGAIN) };
                if !matches!(former, State::Killing { .. }) {
                    let grace_over = matches!(former, State::Stopping { .. });
                    self.report(Report::Killed { container: id, reason, grace_over });
                }
                if let State::Starting { exited: Some(_), .. } = former {
                    // Its first process is gone, so no exit will tell of the kill's success; the
                    // `start` that hangs is killed, and its removal waits for that.
                    let cause = self.killed_before_start(id, reason);
                    self.note_end(id, cause, now);
                }
                self.container_action(id, ContainerAction::Kill)
            }
            upkeep::Step::Remove(id) => {
                let give_up_at = now.after(self.plan.machine.runtime_timeout);
                let record = self.record_mut(id)?;
                let State::Exited { end, tries, .. } = record.state else { return None };
                record.state = State::Removing { end, give_up_at, tries };
                self.container_action(id, ContainerAction::Remove)
            }
            upkeep::Step::AbortRemoval(id) => {
                let timeout = self.plan.machine.runtime_timeout;
                let record = self.record_mut(id)?;
                let State::Removing { end, tries, .. } = record.state else { return None };
                let tries = tries.saturating_add(1);
                let retry_in = remove_retry(tries);
                record.state = State::Exited { end, remove_at: now.after(retry_in), tries };
                record.failure = record::failure("it took too long");
                self.report(Report::RemoveTimedOut { container: id, timeout });
                self.container_action(id, ContainerAction::Kill)
            }
            upkeep::Step::LeaveBehind(id) => {
                let record = self.record_mut(id)?;
                if let State::Killing { .. } = record.state {
                    record.failure = record::failure("its processes do not die of SIGKILL");
                } else if let State::Removing { .. } = record.state {
                    record.failure = record::failure("its removal does not end");
                }
                record.state = State::Ended { end: End { at: now, cause: Cause::LeftBehind } };
                self.left_behind = true;
                self.report(Report::LeftBehind { container: id });
                None
            }
            upkeep::Step::Probe(id, kind) => {
                let (container, record) = self.member_mut(id)?;
                record.probes.worker_mut(kind).begin(kind.of(&container.probes)?, now);
                self.container_action(id, ContainerAction::Probe(kind))
            }
            upkeep::Step::MissKeepAlive(id) => {
                let (container, record) = self.member_mut(id)?;
                let timeout = container.probes.notify.and_then(|notify| notify.watchdog_timeout)?;
                record.probes.miss_keep_alive();
                record.failure = wording::silent_for(timeout);
                self.report(Report::Unwell { container: id });
                None
            }
            upkeep::Step::TimeOutProbe(id, kind) => {
                let why = record::failure("no answer in time");
                self.observe_probe(id, kind, probe::Outcome::Failure, why, now);
                self.report_pod(id);
                self.container_action(id, ContainerAction::CancelProbe(kind))
            }
            upkeep::Step::BeginHook(id, kind) => self.begin_hook(id, kind, now),
            upkeep::Step::EndHook(id, kind) => self.end_hook(id, kind, now),
        }
    }

    fn container_action(&self, id: ContainerId, action: ContainerAction) -> Option<Action> {
        Some(Action::Container(id, self.record(id)?.instance, action))
    }

    fn grace(&self, id: PodId) -> Duration {
        let own = self.plan.pods.get(id.index()).map_or(GRACE_MIN, |pod| pod.termination_grace_period);
        let limit = self.stop.filter(|stop| stop.is_shortened()).map(|_| GRACE_MIN);
        effective_grace(own, None, limit)
    }

    fn backoff(&self, id: ContainerId) -> Option<Backoff> {
        let container = self.plan.containers.get(id.index())?;
        Some(self.plan.pods.get(container.pod.index())?.restart_backoff)
    }
}

// Telling the user: changes are said, and only changes.
impl Supervisor {
    fn report(&mut self, report: Report) {
        if self.reports.push_back(report).is_err() {
            self.reports_lost = self.reports_lost.saturating_add(1);
        }
    }

    fn report_readiness(&mut self, id: ContainerId) {
        let Some(container) = self.plan.containers.get(id.index()) else { return };
        if container.probes.readiness.is_none() {
            return;
        }
        let Some(record) = self.record(id) else { return };
        let ready = phase::is_container_ready(&Member { id, container, record });
        self.report(Report::Readiness { container: id, ready });
    }

    /// Reports what has changed about the pod of a container.
    fn report_pod(&mut self, id: ContainerId) {
        let Some(container) = self.plan.containers.get(id.index()) else { return };
        let pod = container.pod;
        let Some(view) = self.view(pod) else { return };
        match view.record.state {
            PodState::Active | PodState::RestartingAll { .. } | PodState::Stopping { .. } => {}
            // Its end is told when it has come.
            PodState::Waiting { .. }
            | PodState::SettingUp
            | PodState::TearingDown { .. }
            | PodState::Ended { .. } => return,
        }
        let now = phase::Reported { phase: phase::phase(&view), ready: phase::is_pod_ready(&view) };
        let before = view.record.reported;
        if now == before {
            return;
        }
        // That a pod at its end is not ready any more is no news.
        let says_readiness =
            now.ready != before.ready && self.stop.is_none() && !startup::is_completed(&view);
        if let Some(record) = self.pod_mut(pod) {
            record.reported = now;
        }
        if now.phase != before.phase {
            self.report(Report::PodPhase { pod, phase: now.phase });
        }
        if says_readiness {
            self.report(Report::PodReadiness { pod, ready: now.ready });
        }
    }

    fn report_end(&mut self, id: PodId) {
        let Some(view) = self.view(id) else { return };
        let phase = phase::phase(&view);
        let Some(reason) = view.record.stop_reason() else { return };
        self.report(Report::PodEnded { pod: id, phase, reason });
    }
}

// The tables. An id that is not in them belongs to another plan; nothing happens then.
impl Supervisor {
    fn pod_mut(&mut self, id: PodId) -> Option<&mut PodRecord> {
        self.pods.get_mut(id.index())
    }

    fn setting_up(&mut self, id: PodId) -> Option<&mut PodRecord> {
        self.pod_mut(id).filter(|record| record.state == PodState::SettingUp)
    }

    fn record_mut(&mut self, id: ContainerId) -> Option<&mut Record> {
        self.records.get_mut(id.index())
    }

    fn member_mut(&mut self, id: ContainerId) -> Option<(&Container, &mut Record)> {
        Some((self.plan.containers.get(id.index())?, self.records.get_mut(id.index())?))
    }
}

/// Pause before the removal after `tries` failed ones.
fn remove_retry(tries: u32) -> Duration {
    REMOVE_RETRY.saturating_mul(1 << tries.saturating_sub(1).min(10)).min(REMOVE_RETRY_MAX)
}
