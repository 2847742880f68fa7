//! What is known of one pod at one time, as a case says, and what the supervisor does then.

use std::rc::Rc;
use std::time::Duration;

use outrigger::config::plan::{ContainerId, Plan, PodId, Role};
use outrigger::supervisor::Supervisor;
use outrigger::supervisor::action::{Action, ContainerAction};
use outrigger::supervisor::event::{ContainerEvent, Event};
use outrigger::supervisor::pod::{PodRecord, PodState, PodStopReason};
use outrigger::supervisor::probe::{Outcome, ProbeKind, Workers};
use outrigger::supervisor::record::{
    Cause, End, ExitStatus, Instance, Record, State, StopReason, Termination, failure,
};
use outrigger::time::Instant;
use serde_json::Value;

use super::pod::{Shape, find, names_of, plan};

/// The time of every case of this kind.
pub(crate) const NOW: Instant = Instant::from_nanos(1_000_000_000_000);

/// How long the supervisor is watched: longer than the pause before it tries again what could not be
/// started, shorter than everything that a probe could come to.
const WATCHED: Duration = Duration::from_millis(2500);

/// The one pod of a case.
pub(crate) const POD: PodId = PodId(0);

/// What is known of a pod.
pub(crate) struct Setting {
    pub plan: Rc<Plan>,
    /// As the case calls its containers.
    pub names: Vec<String>,
    pub pod: PodRecord,
    pub records: Vec<Record>,
}

/// What the supervisor did.
#[derive(Debug, Default)]
pub(crate) struct Done {
    /// It had volumes and network made.
    pub set_up: bool,
    /// It stopped the pod.
    pub stopped: Option<PodStopReason>,
    /// Init containers and sidecars that were started, in order.
    pub inits: Vec<String>,
    /// Main containers that were started, in order.
    pub mains: Vec<String>,
    /// Containers that were stopped, by signal or SIGKILL, while the pod went on.
    pub killed: Vec<String>,
    /// Containers that were stopped with the pod.
    pub killed_with_pod: Vec<String>,
    /// Everything that was asked of containers, in order.
    pub asked: Vec<(String, ContainerAction)>,
}

impl Setting {
    /// The pod of a case, set up, of which no container was ever created.
    pub(crate) fn new(pod: &Value, mut shape: Shape) -> Result<Setting, String> {
        // As short as can be: a case asks what is started, not when.
        shape.pod_lines.push_str("restart-backoff = { initial = \"0s\" }\n");
        let plan = plan(pod, &shape)?;
        let records = vec![Record::default(); plan.containers.len()];
        let names = [names_of(pod), shape.more_mains].concat();
        Ok(Setting { names, pod: PodRecord { state: PodState::Active, ..PodRecord::new() }, records, plan })
    }

    pub(crate) fn set(&mut self, name: &str, known: &Value) -> Result<(), String> {
        let id = find(&self.plan, name)?;
        let not_understood = || format!("not understood: {name} is {known}");
        let word = |key: &str| known.get(key).and_then(Value::as_str);
        let before = Instant::from_nanos(NOW.as_nanos() - 100_000_000_000);
        let record = match word("state") {
            Some("created") => Record { state: State::Created, ..Record::default() },
            Some("running") => {
                let mut probes = Workers::begin_instance(&self.plan.containers[id.index()].probes, before);
                for kind in ProbeKind::ALL {
                    self.set_verdict(id, &mut probes, kind, known)?;
                }
                Record { state: State::Running { since: before }, probes, ..Record::default() }
            }
            Some("exited" | "terminated") => {
                ended(exit_code(known.get("exitCode")).ok_or_else(not_understood)?, known)
            }
            Some("waiting") => match known.get("lastExitCode") {
                None | Some(Value::Null) => Record::default(),
                code => ended(exit_code(code).ok_or_else(not_understood)?, known),
            },
            // Its start has not returned in time, so nobody knows whether it runs.
            Some("unknown") => {
                Record { state: State::Starting { give_up_at: NOW, exited: None }, ..Record::default() }
            }
            _ => return Err(not_understood()),
        };
        self.records[id.index()] = Record { instance: Instance(1), ..record };
        Ok(())
    }

    fn set_verdict(
        &self,
        id: ContainerId,
        workers: &mut Workers,
        kind: ProbeKind,
        known: &Value,
    ) -> Result<(), String> {
        let outcome = match known.get(kind.name()).and_then(Value::as_str) {
            None | Some("Unknown") => return Ok(()),
            Some("Success") => Outcome::Success,
            Some("Failure") => Outcome::Failure,
            Some(word) => return Err(format!("not understood: {} is {word}", kind.name())),
        };
        let probe = kind.of(&self.plan.containers[id.index()].probes).ok_or("it has no such probe")?;
        for _ in 0..probe.failure_threshold.max(probe.success_threshold) {
            let worker = workers.worker_mut(kind);
            worker.begin(probe, NOW);
            worker.observe(kind, probe, outcome);
        }
        Ok(())
    }

    pub(crate) fn supervisor(&self) -> Supervisor {
        let pods = vec![self.pod.clone()].into_boxed_slice();
        Supervisor::with_records(Rc::clone(&self.plan), pods, self.records.clone().into_boxed_slice())
            .unwrap()
    }
}

/// A code, or "non-zero".
pub(crate) fn exit_code(value: Option<&Value>) -> Option<u8> {
    match value? {
        Value::String(word) if word == "non-zero" => Some(1),
        code => u8::try_from(code.as_u64()?).ok(),
    }
}

fn ended(code: u8, known: &Value) -> Record {
    let oom_killed = known.get("reason").and_then(Value::as_str) == Some("OOMKilled");
    let word = |key: &str| known.get(key).and_then(Value::as_str);
    let by_rule = word("reason").or(word("lastReason")) == Some("RestartingAllContainers");
    let stopped = by_rule.then_some(StopReason::RestartAllContainers);
    let exit = outrigger::supervisor::record::Exit { status: ExitStatus::Code(code), oom_killed };
    let end = End { at: NOW, cause: Cause::Exit { exit, stopped } };
    let exit = Termination { instance: Instance(1), started_at: None, end, message: Box::default() };
    Record { state: State::Ended { end }, last_exit: Some(exit), ..Record::default() }
}

/// Lets the supervisor act, as the kubelet acts in one pass: what is told to end ends at once, what is
/// started does not come further.
pub(crate) fn pass(supervisor: &mut Supervisor, names: &[String]) -> Done {
    run(supervisor, names, true)
}

/// The same; `ends`: whether what is told to end does, and probes tell nothing. Else all goes on, and they succeed.
pub(crate) fn pass_with(mut supervisor: Supervisor, names: &[String], ends: bool) -> (Done, Supervisor) {
    let done = run(&mut supervisor, names, ends);
    (done, supervisor)
}

fn run(supervisor: &mut Supervisor, names: &[String], ends: bool) -> Done {
    let mut done = Done::default();
    let mut now = NOW;
    let restarts_all = is_restarting_all(supervisor);
    loop {
        if restarts_all && !is_restarting_all(supervisor) {
            // What is started then is the next pass.
            break;
        }
        while let Some(action) = supervisor.next_action(now) {
            if restarts_all && !is_restarting_all(supervisor) {
                break;
            }
            let answer = perform(supervisor, names, &action, ends, &mut done);
            for event in answer {
                supervisor.handle(event, now);
            }
        }
        match supervisor.next_deadline() {
            Some(at) if at <= NOW.after(WATCHED) => now = at,
            Some(_) | None => break,
        }
    }
    done.stopped = supervisor.pod_record(POD).and_then(PodRecord::stop_reason);
    if done.stopped.is_some() {
        // It did not go on.
        done.killed_with_pod.append(&mut done.killed);
    }
    done
}

fn is_restarting_all(supervisor: &Supervisor) -> bool {
    supervisor.pod_record(POD).is_some_and(|pod| matches!(pod.state, PodState::RestartingAll { .. }))
}

fn perform(
    supervisor: &Supervisor,
    names: &[String],
    action: &Action,
    ends: bool,
    done: &mut Done,
) -> Vec<Event> {
    let (id, instance, action) = match *action {
        Action::SetUpPod(pod) => {
            done.set_up = true;
            return vec![Event::PodSetUp(pod)];
        }
        Action::TearDownPod(pod) => return vec![Event::PodTornDown(pod)],
        Action::Container(id, instance, action) => (id, instance, action),
        _ => return Vec::new(),
    };
    let container = &supervisor.plan().containers[id.index()];
    let name = &names[id.index()];
    done.asked.push((name.clone(), action));
    let stopping = supervisor.pod_record(POD).and_then(PodRecord::stop_reason).is_some();
    let killed = if stopping { &mut done.killed_with_pod } else { &mut done.killed };
    let tell = |event| vec![Event::Container(id, instance, event)];
    match action {
        ContainerAction::Create { .. } | ContainerAction::Start => {
            let started = if container.role == Role::Main { &mut done.mains } else { &mut done.inits };
            started.push(name.clone());
            Vec::new()
        }
        ContainerAction::Stop => {
            killed.push(name.clone());
            if ends { tell(ContainerEvent::Exited(ExitStatus::Signal(15).into())) } else { Vec::new() }
        }
        ContainerAction::Kill => {
            if !killed.contains(name) {
                killed.push(name.clone());
            }
            tell(ContainerEvent::Exited(ExitStatus::Signal(9).into()))
        }
        ContainerAction::Remove => tell(ContainerEvent::Removed),
        ContainerAction::Probe(kind) => {
            // What probes say is what the case says: in one pass no try tells anything new.
            let outcome = if ends { Outcome::Error } else { Outcome::Success };
            tell(ContainerEvent::Probed(kind, outcome, failure("")))
        }
        _ => Vec::new(),
    }
}
