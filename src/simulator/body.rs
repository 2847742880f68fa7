//! What there really is of each container, and what the supervisor's actions do to it.

use core::time::Duration;

use super::invariants::Broken;
use super::script::{Answer, CallResult, in_run};
use super::timeline::{Subject, What};
use super::{Happening, MOMENT, World, at, at_mut};
use crate::config::plan::{ContainerId, Role};
use crate::supervisor::action::ContainerAction;
use crate::supervisor::event::{ContainerEvent, Event};
use crate::supervisor::hook::HookKind;
use crate::supervisor::probe::ProbeKind;
use crate::supervisor::record::{Exit, ExitStatus, Instance, failure};
use crate::time::Instant;

/// A runtime call that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) kind: CallKind,
    pub(super) number: u64,
    /// How it goes.
    result: CallResult,
    killed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CallKind {
    Create,
    Start,
    Remove,
}

/// The first process of a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Process {
    #[default]
    None,
    /// It was created and waits.
    Waits,
    /// The container's own command, since then.
    Runs(Instant),
}

/// What there really is of a container.
#[derive(Clone, Debug, Default)]
pub(super) struct Body {
    pub(super) instance: Instance,
    /// Whether something of this instance exists: from `create` to the end of the removal.
    pub(super) exists: bool,
    pub(super) process: Process,
    pub(super) call: Option<Call>,
    pub(super) tries: Tries,
    /// The hook that is under way, with its number.
    pub(super) hook: Option<(HookKind, u64)>,
    pub(super) creates: u32,
    pub(super) starts: u32,
    pub(super) runs: usize,
    pub(super) removals: u32,
}

/// The tries that are under way, by their numbers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tries {
    startup: Option<u64>,
    liveness: Option<u64>,
    readiness: Option<u64>,
}

impl Body {
    /// Whether its own command runs.
    pub(super) fn runs(&self) -> bool {
        matches!(self.process, Process::Runs(_))
    }

    /// Nothing of it is left after the supervisor. What it has done stays counted.
    pub(super) fn end_with_supervisor(&mut self) {
        *self = Body {
            creates: self.creates,
            starts: self.starts,
            runs: self.runs,
            removals: self.removals,
            ..Body::default()
        };
    }

    /// Whether its own command runs in this instance.
    pub(super) fn runs_as(&self, instance: Instance) -> bool {
        self.runs() && self.instance == instance
    }

    /// The try of this probe that is under way.
    pub(super) fn try_mut(&mut self, kind: ProbeKind) -> &mut Option<u64> {
        match kind {
            ProbeKind::Startup => &mut self.tries.startup,
            ProbeKind::Liveness => &mut self.tries.liveness,
            ProbeKind::Readiness => &mut self.tries.readiness,
        }
    }

    /// The same, to be looked at.
    pub(super) fn try_under_way(&self, kind: ProbeKind) -> Option<u64> {
        match kind {
            ProbeKind::Startup => self.tries.startup,
            ProbeKind::Liveness => self.tries.liveness,
            ProbeKind::Readiness => self.tries.readiness,
        }
    }
}

impl World {
    pub(super) fn act(
        &mut self,
        id: ContainerId,
        instance: Instance,
        action: ContainerAction,
    ) -> Result<(), Broken> {
        match action {
            ContainerAction::Create { .. } => self.create(id, instance),
            ContainerAction::Start => self.start(id),
            ContainerAction::Stop => self.stop(id),
            ContainerAction::Kill => self.kill(id),
            ContainerAction::Remove => self.remove(id),
            ContainerAction::Probe(kind) => self.probe(id, kind),
            ContainerAction::CancelProbe(kind) => {
                *at_mut(&mut self.bodies, id.index())?.try_mut(kind) = None;
                Ok(())
            }
            ContainerAction::Hook(kind) => self.begin_hook(id, kind),
            ContainerAction::CancelHook(kind) => {
                self.say(Subject::Container(id), || What::CancelsHook(kind));
                self.kill_hook(id).map(drop)
            }
        }
    }

    fn create(&mut self, id: ContainerId, instance: Instance) -> Result<(), Broken> {
        self.say(Subject::Container(id), || What::Creates(instance));
        let script = at(&self.container_scripts, id.index())?;
        let takes = script.create_takes;
        let body = at_mut(&mut self.bodies, id.index())?;
        *body = Body {
            instance,
            exists: true,
            process: Process::None,
            call: None,
            tries: Tries::default(),
            hook: None,
            creates: body.creates + 1,
            ..*body
        };
        let result = script.create(body.creates);
        self.call(id, CallKind::Create, takes, result)
    }

    fn start(&mut self, id: ContainerId) -> Result<(), Broken> {
        self.say(Subject::Container(id), || What::Starts);
        let script = at(&self.container_scripts, id.index())?;
        let body = at_mut(&mut self.bodies, id.index())?;
        body.starts += 1;
        let (takes, instance) = (script.start_takes, body.instance);
        let is_gone = body.process == Process::None;
        let result = if is_gone { CallResult::Fails } else { script.start(body.starts) };
        let dies = !is_gone && body.starts <= script.dies_in_start;
        let status = in_run(&script.exits, body.runs).unwrap_or(ExitStatus::Code(0));
        if dies {
            body.runs += 1;
        }
        self.call(id, CallKind::Start, takes, result)?;
        if dies {
            let hangs = matches!(result, CallResult::Hangs | CallResult::OutrunsKill);
            let after = if hangs { MOMENT } else { takes.saturating_sub(MOMENT) };
            self.schedule(self.now.after(after), Happening::Dies(id, instance, status));
        }
        Ok(())
    }

    fn stop(&mut self, id: ContainerId) -> Result<(), Broken> {
        self.say(Subject::Container(id), || What::SendsStop);
        let script = at(&self.container_scripts, id.index())?;
        if !script.ignores_sigterm && !script.unkillable {
            let instance = at(&self.bodies, id.index())?.instance;
            let dies = Happening::Dies(id, instance, script.stops_with);
            self.schedule(self.now.after(script.stops_after), dies);
        }
        Ok(())
    }

    fn kill(&mut self, id: ContainerId) -> Result<(), Broken> {
        self.say(Subject::Container(id), || What::Kills);
        self.kill_process(id)?;
        if let Some(call) = at(&self.bodies, id.index())?.call.filter(|call| !call.killed) {
            // From now on it is another call: one that is about to end.
            self.count += 1;
            let number = self.count;
            at_mut(&mut self.bodies, id.index())?.call = Some(Call { number, killed: true, ..call });
            self.schedule(self.now.after(MOMENT), Happening::CallReturns(id, number));
        }
        Ok(())
    }

    fn kill_process(&mut self, id: ContainerId) -> Result<(), Broken> {
        let script = at(&self.container_scripts, id.index())?;
        let body = at(&self.bodies, id.index())?;
        if body.process != Process::None && !script.unkillable {
            let dies = Happening::Dies(id, body.instance, ExitStatus::Signal(9));
            self.schedule(self.now.after(script.killed_after), dies);
        }
        Ok(())
    }

    fn remove(&mut self, id: ContainerId) -> Result<(), Broken> {
        self.say(Subject::Container(id), || What::Removes);
        // What is left over, say of a start that failed, is killed first.
        self.kill_process(id)?;
        let script = at(&self.container_scripts, id.index())?;
        let takes = script.removal_takes;
        let body = at_mut(&mut self.bodies, id.index())?;
        body.removals += 1;
        body.tries = Tries::default();
        let result = script.removal(body.removals);
        let (instance, call) = (body.instance, body.call);
        // A call that was killed and has not ended yet; its end comes late.
        if call.is_some_and(|call| call.kind == CallKind::Start) {
            let event = ContainerEvent::StartFailed(failure("it was killed"));
            self.schedule(self.now.after(MOMENT), Happening::Ends(Event::Container(id, instance, event)));
        }
        self.call(id, CallKind::Remove, takes, result)
    }

    fn probe(&mut self, id: ContainerId, kind: ProbeKind) -> Result<(), Broken> {
        self.count += 1;
        let number = self.count;
        let script = at(&self.container_scripts, id.index())?;
        let body = at_mut(&mut self.bodies, id.index())?;
        let (instance, run) = (body.instance, body.runs.saturating_sub(1));
        *body.try_mut(kind) = Some(number);
        let age = match body.process {
            Process::Runs(since) => self.now.since(since),
            Process::None | Process::Waits => Duration::ZERO,
        };
        let answer = script.answer(kind, run, age);
        self.say(Subject::Container(id), || What::Probes(kind, answer));
        if let Answer::Is(outcome) = answer {
            let at = self.now.after(MOMENT);
            self.schedule(at, Happening::Answers(id, instance, kind, number, outcome));
        }
        Ok(())
    }

    fn begin_hook(&mut self, id: ContainerId, kind: HookKind) -> Result<(), Broken> {
        self.say(Subject::Container(id), || What::BeginsHook(kind));
        self.count += 1;
        let number = self.count;
        let body = at_mut(&mut self.bodies, id.index())?;
        body.hook = Some((kind, number));
        let hook = at(&self.container_scripts, id.index())?.hook(kind, body.runs.saturating_sub(1));
        if let Some(takes) = hook.takes {
            self.schedule(self.now.after(takes), Happening::HookEnds(id, number, !hook.fails));
        }
        Ok(())
    }

    pub(super) fn end_hook(&mut self, id: ContainerId, number: u64, well: bool) -> Result<(), Broken> {
        let body = at_mut(&mut self.bodies, id.index())?;
        let Some((kind, _)) = body.hook.filter(|(_, under_way)| *under_way == number) else { return Ok(()) };
        body.hook = None;
        let instance = body.instance;
        self.say(Subject::Container(id), || What::HookEnded(kind, well));
        let outcome = if well { Ok(()) } else { Err(failure("it exited with 1")) };
        self.emit(Event::Container(id, instance, ContainerEvent::HookEnded(kind, outcome)))
    }

    /// Returns which it was, if one was under way.
    fn kill_hook(&mut self, id: ContainerId) -> Result<Option<HookKind>, Broken> {
        let Some((kind, _)) = at_mut(&mut self.bodies, id.index())?.hook.take() else { return Ok(None) };
        self.say(Subject::Container(id), || What::HookKilled(kind));
        Ok(Some(kind))
    }

    /// Begins a runtime call that goes as `result` says.
    fn call(
        &mut self,
        id: ContainerId,
        kind: CallKind,
        takes: Duration,
        result: CallResult,
    ) -> Result<(), Broken> {
        self.count += 1;
        let number = self.count;
        at_mut(&mut self.bodies, id.index())?.call = Some(Call { kind, number, result, killed: false });
        let takes = match result {
            CallResult::Works | CallResult::Fails => takes,
            CallResult::FailsAtOnce => Duration::ZERO,
            CallResult::Hangs | CallResult::OutrunsKill => return Ok(()),
        };
        self.schedule(self.now.after(takes), Happening::CallReturns(id, number));
        Ok(())
    }

    pub(super) fn end_call(&mut self, id: ContainerId, number: u64) -> Result<(), Broken> {
        let body = at_mut(&mut self.bodies, id.index())?;
        let Some(call) = body.call.take_if(|call| call.number == number) else { return Ok(()) };
        let works = match call.result {
            CallResult::Works => !call.killed,
            CallResult::OutrunsKill => true,
            CallResult::Fails | CallResult::FailsAtOnce | CallResult::Hangs => false,
        };
        let why = |reason: &str| failure(if call.killed { "it was killed" } else { reason });
        let instance = body.instance;
        let event = match call.kind {
            CallKind::Create if !works => {
                ContainerEvent::CreateFailed(why("the root file system is not there"))
            }
            CallKind::Create => {
                self.end_create(id)?;
                ContainerEvent::Created
            }
            CallKind::Start if !works => ContainerEvent::StartFailed(why("the command was not found")),
            CallKind::Start => {
                if body.process == Process::Waits {
                    self.begin_run(id)?;
                }
                ContainerEvent::Started
            }
            CallKind::Remove if !works => ContainerEvent::RemoveFailed(why("device or resource busy")),
            CallKind::Remove if body.process != Process::None => {
                ContainerEvent::RemoveFailed(why("its cgroup still has processes"))
            }
            CallKind::Remove => {
                body.exists = false;
                self.say(Subject::Container(id), || What::Removed);
                ContainerEvent::Removed
            }
        };
        self.emit(Event::Container(id, instance, event))
    }

    /// The first process exists, and waits if it is not gone already.
    fn end_create(&mut self, id: ContainerId) -> Result<(), Broken> {
        let script = at(&self.container_scripts, id.index())?;
        let body = at_mut(&mut self.bodies, id.index())?;
        body.process = Process::Waits;
        if body.creates <= script.dies_in_create {
            let status = in_run(&script.exits, body.runs).unwrap_or(ExitStatus::Code(0));
            body.runs += 1;
            let dies = Happening::Dies(id, body.instance, status);
            self.schedule(self.now, dies);
        }
        Ok(())
    }

    /// A container's own command begins.
    fn begin_run(&mut self, id: ContainerId) -> Result<(), Broken> {
        let script = at(&self.container_scripts, id.index())?;
        let role = at(&self.plan.containers, id.index())?.role;
        let body = at_mut(&mut self.bodies, id.index())?;
        let (run, instance) = (body.runs, body.instance);
        body.runs += 1;
        body.process = Process::Runs(self.now);
        let runs = script
            .runs
            .as_deref()
            .map_or(if role == Role::Init { Some(Duration::from_secs(1)) } else { None }, |runs| {
                in_run(runs, run).flatten()
            });
        let status = in_run(&script.exits, run).unwrap_or(ExitStatus::Code(0));
        let start_delay = script.start_delay;
        let says = script.says.get(run).or(script.says.last()).cloned().unwrap_or_default();
        for (after, message) in says {
            self.schedule(self.now.after(after), Happening::Says(id, instance, message));
        }
        self.say(Subject::Container(id), || What::Starting);
        if self.timeline.is_some() {
            if start_delay.is_zero() {
                self.say(Subject::Container(id), || What::Started);
            } else {
                self.schedule(self.now.after(start_delay), Happening::Starts(id, instance));
            }
        }
        if let Some(runs) = runs {
            self.schedule(self.now.after(runs), Happening::Dies(id, instance, status));
        }
        Ok(())
    }

    pub(super) fn die(
        &mut self,
        id: ContainerId,
        instance: Instance,
        status: ExitStatus,
    ) -> Result<(), Broken> {
        let body = at_mut(&mut self.bodies, id.index())?;
        if body.instance != instance || body.process == Process::None {
            return Ok(());
        }
        let ran = body.runs();
        let age = match body.process {
            Process::Runs(since) => self.now.since(since),
            Process::None | Process::Waits => Duration::ZERO,
        };
        body.process = Process::None;
        let run = body.runs.saturating_sub(1);
        let script = at(&self.container_scripts, id.index())?;
        let is_of_age = age >= in_run(&script.oom_from, run).unwrap_or_default();
        let oom_killed = is_of_age && in_run(&script.oom_killed, run).unwrap_or(false);
        let exit = Exit { status, oom_killed };
        if ran && status != ExitStatus::Signal(9) {
            self.say(Subject::Container(id), || What::Exiting);
        }
        self.say(Subject::Container(id), || What::Exited(exit));
        let message = at(&self.container_scripts, id.index())?.message.as_str();
        if ran && !message.is_empty() {
            let event = ContainerEvent::TerminationMessage(message.into());
            self.emit(Event::Container(id, instance, event))?;
        }
        // What runs in the container ends with its first process, and is heard of later.
        if let Some(kind) = self.kill_hook(id)? {
            let event = ContainerEvent::HookEnded(kind, Err(failure("it was killed by SIGKILL")));
            self.schedule(self.now.after(MOMENT), Happening::Ends(Event::Container(id, instance, event)));
        }
        self.emit(Event::Container(id, instance, ContainerEvent::Exited(exit)))
    }
}
