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
pub mod event;
mod intake;
pub mod phase;
pub mod pod;
pub mod probe;
pub mod record;
pub mod report;
pub mod restart;
pub mod shutdown;
pub mod standing;
pub mod startup;
pub mod upkeep;

use core::time::Duration;

use std::rc::Rc;

use heapless::Deque;

use self::action::{Action, ContainerAction};
use self::alarm::Alarm;
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

/// What a stop by request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    /// With each pod's own grace period.
    InOrder,
    /// Asked for again: with [`GRACE_MIN`].
    Shortened,
}

/// How it all ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Pods that failed by themselves, not by being stopped.
    pub failed: usize,
    /// Whether something could not be removed.
    pub left_behind: bool,
}

/// What is wanted next, and for whom.
enum Step {
    SetUp(PodId),
    TearDown(PodId),
    StopPod(PodId, PodStopReason),
    EndPod(PodId, PodStopReason),
    Create(ContainerId),
    Upkeep(upkeep::Step),
}

/// All pods, what is known of them, and what is to be done.
#[derive(Debug)]
pub struct Supervisor {
    plan: Rc<Plan>,
    pods: Box<[PodRecord]>,
    records: Box<[Record]>,
    stop: Option<Stop>,
    left_behind: bool,
    reports: Deque<Report, REPORTS_MAX>,
    reports_lost: u32,
    next_deadline: Option<Instant>,
}

impl Supervisor {
    /// A supervisor that has done nothing yet. All memory that it will ever use is taken here.
    pub fn new(plan: Rc<Plan>) -> Supervisor {
        Supervisor {
            pods: plan.pods.iter().map(|_| PodRecord::new()).collect(),
            records: plan.containers.iter().map(|_| Record::default()).collect(),
            plan,
            stop: None,
            left_behind: false,
            reports: Deque::new(),
            reports_lost: 0,
            next_deadline: None,
        }
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

    /// How it ended, once nothing of any pod is left.
    pub fn exit(&self) -> Option<Outcome> {
        if !self.pods.iter().all(PodRecord::is_ended) || !self.reports.is_empty() {
            return None;
        }
        let failed = self.views().filter(|view| {
            let by_request = view.record.stop_reason() == Some(PodStopReason::Requested);
            !by_request && phase::phase(view) == phase::Phase::Failed
        });
        Some(Outcome { failed: failed.count(), left_behind: self.left_behind })
    }

    /// Whether somebody has asked for a stop of everything.
    pub fn is_stopping(&self) -> bool {
        self.stop.is_some()
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
        let pods = 0..u8::try_from(self.pods.len()).unwrap_or(u8::MAX);
        let mut step = |id| self.view(PodId(id)).and_then(|view| self.pod_step(&view, alarm));
        // Stopping begins with the pods that others do not depend on, and those stand last: what
        // they have come to in this turn counts for the others already.
        if self.stop.is_some() {
            pods.rev().find_map(&mut step)
        } else {
            pods.into_iter().find_map(&mut step)
        }
    }

    fn pod_step(&self, view: &PodView, alarm: &mut Alarm) -> Option<Step> {
        match view.record.state {
            PodState::Waiting { try_at } => {
                if self.stop.is_some() {
                    // After a set-up that failed, something of it may be there.
                    return Some(match view.record.failures {
                        0 => Step::EndPod(view.id, PodStopReason::Requested),
                        _ => Step::StopPod(view.id, PodStopReason::Requested),
                    });
                }
                match self.dependencies(view) {
                    Dependencies::Failed(id) => {
                        Some(Step::EndPod(view.id, PodStopReason::DependencyFailed(id)))
                    }
                    Dependencies::Met => alarm.due(try_at).then_some(Step::SetUp(view.id)),
                    Dependencies::NotYet => None,
                }
            }
            PodState::SettingUp | PodState::Ended { .. } => None,
            PodState::Active => {
                if self.stop.is_some() && self.dependents_ended(view.id) {
                    return Some(Step::StopPod(view.id, PodStopReason::Requested));
                }
                match startup::next_step(view, alarm) {
                    Some(startup::Step::Create(id)) => Some(Step::Create(id)),
                    Some(startup::Step::Stop(reason)) => Some(Step::StopPod(view.id, reason)),
                    None => upkeep::next_step(view, alarm).map(Step::Upkeep),
                }
            }
            PodState::Stopping { deadline, .. } => match shutdown::next_step(view, deadline, alarm) {
                Some(shutdown::Step::Stop(id)) => Some(Step::Upkeep(upkeep::Step::Stop(id, StopReason::Pod))),
                Some(shutdown::Step::Kill(id)) => Some(Step::Upkeep(upkeep::Step::Kill(id, StopReason::Pod))),
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
                self.pod_mut(id)?.state = PodState::SettingUp;
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
                self.pod_mut(id)?.state = PodState::Ended { reason };
                self.report_end(id);
                None
            }
            Step::Create(id) => {
                let backoff = self.backoff(id)?;
                let give_up_at = now.after(self.plan.machine.runtime_timeout);
                let record = self.record_mut(id)?;
                restart::begin_instance(record, &backoff, now);
                record.state = State::Creating { give_up_at };
                let restarts = record.restarts;
                self.container_action(id, ContainerAction::Create { restarts })
            }
            Step::Upkeep(step) => self.carry_out_upkeep(step, now),
        }
    }

    fn carry_out_upkeep(&mut self, step: upkeep::Step, now: Instant) -> Option<Action> {
        match step {
            upkeep::Step::Start(id) => {
                let give_up_at = now.after(self.plan.machine.runtime_timeout);
                self.record_mut(id)?.state = State::Starting { give_up_at, exited: None };
                self.container_action(id, ContainerAction::Start)
            }
            upkeep::Step::Stop(id, reason) => {
                let grace = self.grace(self.plan.containers.get(id.index())?.pod);
                self.record_mut(id)?.state = State::Stopping { reason, since: now, grace };
                self.report(Report::StopSignalled { container: id, reason });
                self.container_action(id, ContainerAction::Stop)
            }
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
            upkeep::Step::TimeOutProbe(id, kind) => {
                let why = record::failure("no answer in time");
                self.observe_probe(id, kind, probe::Outcome::Failure, why, now);
                self.report_pod(id);
                self.container_action(id, ContainerAction::CancelProbe(kind))
            }
        }
    }

    fn container_action(&self, id: ContainerId, action: ContainerAction) -> Option<Action> {
        Some(Action::Container(id, self.record(id)?.instance, action))
    }

    fn grace(&self, id: PodId) -> Duration {
        let own = self.plan.pods.get(id.index()).map_or(GRACE_MIN, |pod| pod.termination_grace_period);
        match self.stop {
            Some(Stop::Shortened) => own.min(GRACE_MIN),
            Some(Stop::InOrder) | None => own,
        }
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
            PodState::Active | PodState::Stopping { .. } => {}
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
