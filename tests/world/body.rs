//! What there really is of each container, and what the supervisor's actions do to it.

use std::time::Duration;

use outrigger::config::plan::{ContainerId, Role};
use outrigger::supervisor::action::ContainerAction;
use outrigger::supervisor::event::{ContainerEvent, Event};
use outrigger::supervisor::probe::{Outcome, ProbeKind};
use outrigger::supervisor::record::{Exit, ExitStatus, Instance, failure};
use outrigger::time::Instant;

use super::script::{Answer, ContainerScript, in_run};
use super::{Happening, MOMENT, World};

/// The bit in a call's number that says that it was killed.
const KILLED: u64 = 1 << 63;

/// A runtime call that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) kind: CallKind,
    pub(super) number: u64,
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
    pub(super) tries: [Option<u64>; 3],
    pub(super) creates: u32,
    pub(super) starts: u32,
    pub(super) runs: usize,
    pub(super) removals: u32,
}

impl World {
    fn container_script(&self, id: ContainerId) -> ContainerScript {
        self.script.containers.get(&self.path(id)).cloned().unwrap_or_default()
    }

    pub(super) fn act(&mut self, id: ContainerId, instance: Instance, action: ContainerAction) {
        match action {
            ContainerAction::Create { .. } => self.create(id, instance),
            ContainerAction::Start => self.start(id),
            ContainerAction::Stop => self.stop(id),
            ContainerAction::Kill => self.kill(id),
            ContainerAction::Remove => self.remove(id),
            ContainerAction::Probe(kind) => self.probe(id, kind),
            ContainerAction::CancelProbe(kind) => self.bodies[id.index()].tries[kind as usize] = None,
        }
    }

    fn create(&mut self, id: ContainerId, instance: Instance) {
        let path = self.path(id);
        self.say(&format!("    create {path}"));
        let script = self.container_script(id);
        let body = &mut self.bodies[id.index()];
        *body = Body {
            instance,
            exists: true,
            process: Process::None,
            call: None,
            tries: [None; 3],
            creates: body.creates + 1,
            ..*body
        };
        let hangs = body.creates <= script.create_hangs;
        self.call(id, CallKind::Create, (!hangs).then_some(script.create_takes));
    }

    fn start(&mut self, id: ContainerId) {
        let script = self.container_script(id);
        let body = &mut self.bodies[id.index()];
        body.starts += 1;
        let (starts, runs, instance) = (body.starts, body.runs, body.instance);
        let hangs = starts <= script.start_hangs;
        self.call(id, CallKind::Start, (!hangs).then_some(script.start_takes));
        if starts <= script.dies_in_start {
            let after = if hangs { MOMENT } else { script.start_takes.saturating_sub(MOMENT) };
            let status = in_run(&script.exits, runs).unwrap_or(ExitStatus::Code(0));
            self.bodies[id.index()].runs += 1;
            self.schedule(self.now.after(after), Happening::Dies(id, instance, status));
        }
    }

    fn stop(&mut self, id: ContainerId) {
        let path = self.path(id);
        self.say(&format!("    SIGTERM to {path}"));
        let script = self.container_script(id);
        if !script.ignores_sigterm && !script.unkillable {
            let dies = Happening::Dies(id, self.bodies[id.index()].instance, script.stops_with);
            self.schedule(self.now.after(script.stops_after), dies);
        }
    }

    fn kill(&mut self, id: ContainerId) {
        let path = self.path(id);
        self.say(&format!("    SIGKILL to {path}"));
        let unkillable = self.container_script(id).unkillable;
        let body = &self.bodies[id.index()];
        let (instance, process, call) = (body.instance, body.process, body.call);
        if process != Process::None && !unkillable {
            self.schedule(self.now.after(MOMENT), Happening::Dies(id, instance, ExitStatus::Signal(9)));
        }
        if let Some(Call { kind, .. }) = call {
            // From now on it is another call: one that fails.
            self.call(id, kind, Some(MOMENT));
            self.bodies[id.index()].call.iter_mut().for_each(|call| call.number |= KILLED);
        }
    }

    fn remove(&mut self, id: ContainerId) {
        let script = self.container_script(id);
        let body = &mut self.bodies[id.index()];
        body.removals += 1;
        body.tries = [None; 3];
        let hangs = body.removals <= script.removal_hangs;
        let (instance, process, call) = (body.instance, body.process, body.call);
        // A call that was killed and has not ended yet; its end comes late.
        if call.is_some_and(|call| call.kind == CallKind::Start) {
            let event = ContainerEvent::StartFailed(failure("it was killed"));
            self.schedule(self.now.after(MOMENT), Happening::Ends(Event::Container(id, instance, event)));
        }
        // What is left over, say of a start that failed, is killed first.
        if process != Process::None && !script.unkillable {
            self.schedule(self.now.after(MOMENT), Happening::Dies(id, instance, ExitStatus::Signal(9)));
        }
        self.call(id, CallKind::Remove, (!hangs).then_some(script.removal_takes));
    }

    fn probe(&mut self, id: ContainerId, kind: ProbeKind) {
        let script = self.container_script(id);
        self.count += 1;
        let number = self.count;
        let body = &mut self.bodies[id.index()];
        let (instance, run) = (body.instance, body.runs.saturating_sub(1));
        body.tries[kind as usize] = Some(number);
        let age = match body.process {
            Process::Runs(since) => self.now.since(since),
            Process::None | Process::Waits => Duration::ZERO,
        };
        let answer = script.answer(kind, run, age);
        if self.script.shows_probes {
            let word = match answer {
                Answer::Is(Outcome::Success) => "yes",
                Answer::Is(Outcome::Failure) => "no",
                Answer::Is(Outcome::Error) => "it cannot be asked",
                Answer::Is(Outcome::Warning) => "yes, with a warning",
                Answer::Never => "(silence)",
            };
            let text = format!("    {} probe of {}: {word}", kind.name(), self.path(id));
            self.say(&text);
        }
        if let Answer::Is(outcome) = answer {
            let at = self.now.after(MOMENT);
            self.schedule(at, Happening::Answers(id, instance, kind, number, outcome));
        }
    }

    /// Begins a runtime call. One without a duration hangs.
    fn call(&mut self, id: ContainerId, kind: CallKind, takes: Option<Duration>) {
        self.count += 1;
        let number = self.count;
        let call = Call { kind, number };
        self.bodies[id.index()].call = Some(call);
        if let Some(takes) = takes {
            self.schedule(self.now.after(takes), Happening::CallReturns(id, call));
        }
    }

    pub(super) fn end_call(&mut self, id: ContainerId, call: Call) -> Result<(), String> {
        let script = self.container_script(id);
        let now = self.now;
        let body = &mut self.bodies[id.index()];
        let Some(current) = body.call.filter(|current| current.number & !KILLED == call.number) else {
            return Ok(());
        };
        body.call = None;
        let killed = current.number & KILLED != 0;
        let why = |reason: &str| failure(if killed { "it was killed" } else { reason });
        let instance = body.instance;
        let event = match call.kind {
            CallKind::Create if killed || body.creates <= script.create_fails => {
                ContainerEvent::CreateFailed(why("the root file system is not there"))
            }
            CallKind::Create => {
                body.process = Process::Waits;
                ContainerEvent::Created
            }
            CallKind::Start if killed || body.starts <= script.start_fails => {
                ContainerEvent::StartFailed(why("the command was not found"))
            }
            CallKind::Start => {
                if body.process == Process::Waits {
                    let run = body.runs;
                    body.runs += 1;
                    body.process = Process::Runs(now);
                    let role = self.plan.containers[id.index()].role;
                    let runs = script.runs.as_deref().map_or(
                        if role == Role::Init { Some(Duration::from_secs(1)) } else { None },
                        |runs| in_run(runs, run).flatten(),
                    );
                    let status = in_run(&script.exits, run).unwrap_or(ExitStatus::Code(0));
                    if let Some(runs) = runs {
                        self.schedule(now.after(runs), Happening::Dies(id, instance, status));
                    }
                }
                ContainerEvent::Started
            }
            CallKind::Remove if killed || body.removals <= script.removal_fails => {
                ContainerEvent::RemoveFailed(why("device or resource busy"))
            }
            CallKind::Remove if body.process != Process::None => {
                ContainerEvent::RemoveFailed(why("its cgroup still has processes"))
            }
            CallKind::Remove => {
                body.exists = false;
                ContainerEvent::Removed
            }
        };
        self.emit(Event::Container(id, instance, event))
    }

    pub(super) fn die(
        &mut self,
        id: ContainerId,
        instance: Instance,
        status: ExitStatus,
    ) -> Result<(), String> {
        let body = &mut self.bodies[id.index()];
        if body.instance != instance || body.process == Process::None {
            return Ok(());
        }
        body.process = Process::None;
        let run = body.runs.saturating_sub(1);
        let oom_killed = in_run(&self.container_script(id).oom_killed, run).unwrap_or(false);
        let exit = Exit { status, oom_killed };
        self.emit(Event::Container(id, instance, ContainerEvent::Exited(exit)))
    }
}
