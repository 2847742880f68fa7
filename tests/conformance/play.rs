//! A pod of a case on the virtual clock: its containers behave as the case says, its actions are done,
//! and what happens becomes a [`History`].

use std::rc::Rc;
use std::time::Duration;

use outrigger::config::plan::{ContainerId, PodId, Role};
use outrigger::simulator::World;
use outrigger::simulator::timeline::{Entry, Subject, What as Happened};
use outrigger::supervisor::condition;
use outrigger::supervisor::event::{ContainerEvent, Event, Goal};
use outrigger::supervisor::hook::HookKind;
use outrigger::supervisor::pod::{PodState, PodView};
use outrigger::supervisor::probe::ProbeKind;
use outrigger::supervisor::record::{Exit, ExitStatus};
use outrigger::supervisor::report::Report;
use outrigger::supervisor::status::{self, ContainerState, Terminated};
use outrigger::time::Instant;
use serde_json::Value;

use super::answer::{Logged, logged};
use super::behaviour::{Behaviour, behaviour};
use super::case::Case;
use super::condition::{Condition, condition};
use super::expectation::{check, describe};
use super::history::{ContainerStatus, End, History, PodStatus, State, What};
use super::pod::{self, names_of};
use super::staging::{grace_of, hook_key, script, set_answers, shape};
use super::text::{duration, not_understood, split_remark};

/// The one pod of a case.
const POD: PodId = PodId(0);

/// How long is waited for what an action waits for.
const PATIENCE: Duration = Duration::from_secs(600);

/// How long a pod that does not end is looked at after the last action.
const LOOKED_AT: Duration = Duration::from_secs(2000);

/// How long the last status has to stay, so that it counts.
const AFTERWARDS: Duration = Duration::from_secs(10);

/// The kinds `scenario` and `derived`.
pub(crate) fn scenario(case: &Case, expected: &[String]) -> Result<(), String> {
    check(expected, &names_of(case.part("pod")), &history(case)?)
}

/// What happens to the pod of a case when its actions are done.
pub(crate) fn history(case: &Case) -> Result<History, String> {
    let mut play = Play::new(case)?;
    for action in &case.actions {
        play.act(action).map_err(|why| format!("{action}: {why}"))?;
    }
    play.end()?;
    Ok(play.history)
}

pub(crate) struct Play {
    world: World,
    /// Whether the pod lives on, while there is no supervisor.
    stopped: Option<bool>,
    /// As the case calls them.
    names: Vec<String>,
    containers: Vec<Value>,
    behaviours: Vec<Behaviour>,
    runs: Vec<usize>,
    /// When somebody changed its configuration.
    changed_at: Vec<Option<Duration>>,
    history: History,
    /// What [`Play::records`] gave last.
    pub last_records: Option<Vec<String>>,
    /// What containers that have ended had printed: the log writer tells it a little later.
    outputs: Vec<(ContainerId, String)>,
    /// How much of the world's timeline is in the history.
    seen: usize,
}

impl Play {
    pub(crate) fn new(case: &Case) -> Result<Play, String> {
        let pod = case.part("pod");
        let plan = pod::plan(pod, &shape(case)?)?;
        let containers = pod::containers_of(pod);
        let names = names_of(pod);
        let behaviours: Result<Vec<Behaviour>, String> = containers.iter().map(behaviour).collect();
        let behaviours = behaviours?;
        let script = script(&plan, &containers, &behaviours)?;
        let world = World::new(Rc::clone(&plan), script).map_err(|broken| broken.to_string())?;
        let history = History { grace: plan.pods[0].termination_grace_period, ..History::default() };
        let count = names.len();
        let mut play = Play {
            world,
            stopped: None,
            names,
            containers,
            behaviours,
            runs: vec![0; count],
            changed_at: vec![None; count],
            history,
            last_records: None,
            outputs: Vec::new(),
            seen: 0,
        };
        play.step()?;
        Ok(play)
    }

    fn now(&self) -> Duration {
        self.world.now().since(Instant::ZERO)
    }

    fn id(&self, name: &str) -> Result<usize, String> {
        self.names.iter().position(|it| it == name).ok_or(format!("there is no container `{name}`"))
    }

    /// Goes on to the next thing that happens. False: nothing will.
    fn step(&mut self) -> Result<bool, String> {
        let wrong = |play: &Play, broken: String| format!("{broken}{}", describe(&play.history));
        let more = match self.world.step() {
            Ok(at) => at.is_some(),
            Err(broken) => return Err(wrong(self, broken.to_string())),
        };
        self.note();
        for (id, output) in std::mem::take(&mut self.outputs) {
            let instance = self.world.supervisor().record(id).map(|record| record.instance);
            let event = ContainerEvent::LastLines(output.into());
            self.inject(Event::Container(id, instance.unwrap_or_default(), event))?;
        }
        Ok(more)
    }

    fn run_until(&mut self, at: Duration) -> Result<(), String> {
        let at = Instant::ZERO.after(at);
        while self.world.exit().is_none() && self.world.next_time().is_some_and(|next| next <= at) {
            self.step()?;
        }
        self.world.pass_time(at);
        self.note();
        Ok(())
    }

    fn wait(&mut self, holds: impl Fn(&Play) -> bool) -> Result<(), String> {
        let limit = Instant::ZERO.after(self.now() + PATIENCE);
        while !holds(self) {
            if self.world.exit().is_some() || self.world.next_time().is_none_or(|at| at > limit) {
                return Err(format!("it does not come{}", describe(&self.history)));
            }
            self.step()?;
        }
        Ok(())
    }

    fn inject(&mut self, event: Event) -> Result<(), String> {
        if self.world.exit().is_none() {
            self.world.inject(event).map_err(|broken| broken.to_string())?;
        }
        self.note();
        Ok(())
    }

    /// A container's process ends now.
    pub(crate) fn end_container(&mut self, name: &str, code: u8) -> Result<(), String> {
        let id = self.id(name)?;
        self.kill(id, ExitStatus::Code(code))
    }

    /// Goes on for as long as a start takes.
    pub(crate) fn settle(&mut self) -> Result<(), String> {
        let at = self.now() + Duration::from_secs(1);
        self.run_until(at)
    }

    /// Each container that was ever started: `name attempt N running`.
    pub(crate) fn records(&self) -> Vec<String> {
        let Some((_, status)) = self.history.statuses.last() else { return Vec::new() };
        let record = |it: &ContainerStatus| {
            let state = match it.state {
                State::Running => "running",
                State::Terminated(_) => "exited",
                State::Waiting(_) => it.last.as_ref().map(|_| "exited")?,
            };
            Some(format!("{} attempt {} {state}", it.name, it.restarts))
        };
        status.containers.iter().filter_map(record).collect()
    }

    /// Until the pod has ended, or has been looked at for long enough.
    fn end(&mut self) -> Result<(), String> {
        self.history.actions_ended =
            if self.history.acted_at.is_zero() { Duration::ZERO } else { self.now() };
        let limit = self.now() + LOOKED_AT;
        self.run_until(limit)?;
        self.history.end = self.now();
        // What probes and hooks write down was foreseen.
        self.history.marks.sort_by_key(|mark| mark.at);
        if self.world.exit().is_some() {
            let gone = self.history.statuses.last().map_or(self.now(), |(at, _)| *at);
            self.history.gone = Some(gone);
            self.history.end = gone.max(self.history.actions_ended) + AFTERWARDS;
        }
        Ok(())
    }
}

// Actions.
impl Play {
    fn act(&mut self, action: &str) -> Result<(), String> {
        let (action, _) = split_remark(action);
        if let Some(what) = action.strip_prefix("wait ") {
            return self.act_wait(what);
        }
        let now = self.now();
        if self.history.acted_at.is_zero() {
            self.history.acted_at = now;
        }
        if let Some(rest) = action.strip_prefix("delete pod") {
            if !rest.is_empty() && grace_of(rest).is_none() {
                return Err(not_understood(action));
            }
            self.history.note(now, "pod", What::Delete);
            return self.inject(Event::StopRequested(Goal::Exit));
        }
        match action {
            "stop supervisor" => {
                self.stopped = Some(true);
                return Ok(());
            }
            "start supervisor" => return self.start_supervisor(),
            "restart supervisor" => {
                self.stopped = Some(true);
                return self.start_supervisor();
            }
            // Without its supervisor: whatever of the pod is outside of containers has gone.
            "stop the pod sandbox" if self.stopped.is_some() => {
                self.stopped = Some(false);
                return Ok(());
            }
            "stop the pod sandbox" => {
                self.stopped = Some(false);
                return self.start_supervisor();
            }
            // The runtime remembers nothing of what has ended.
            "remove completed init containers from the runtime" => return Ok(()),
            _ => {}
        }
        if let Some(name) = action.strip_prefix("change image of ") {
            let id = self.id(name)?;
            self.changed_at[id] = Some(now);
            return self.change(id);
        }
        if let Some(name) = action.strip_prefix("send SIGTERM to PID 1 of ") {
            let id = self.id(name)?;
            if let Some(handler) = &self.behaviours[id].on_sigterm {
                self.kill(id, ExitStatus::Code(handler.exit))?;
            }
            return Ok(());
        }
        if let Some(rest) = action.strip_prefix("kill -9 the main process of ") {
            for name in rest.split(" and of ") {
                let id = self.id(name)?;
                self.kill(id, ExitStatus::Signal(9))?;
            }
            return Ok(());
        }
        Err(not_understood(action))
    }

    fn act_wait(&mut self, what: &str) -> Result<(), String> {
        if let Some(time) = duration(what) {
            let until = self.now() + time;
            return self.run_until(until);
        }
        if let Some(name) = what.strip_suffix(" logs Terminating") {
            let id = self.id(name)?;
            let name = self.names[id].clone();
            return self.wait(|play| play.history.times(&name, What::Sigterm).next().is_some());
        }
        let text = match what.strip_suffix(" exited") {
            Some(name) => format!("exited({name})"),
            None => what.to_owned(),
        };
        let condition: Condition = condition(&text, &self.names).ok_or_else(|| not_understood(what))?;
        self.wait(|play| condition.holds(&play.history, play.now()))
    }

    fn kill(&mut self, id: usize, status: ExitStatus) -> Result<(), String> {
        self.world.end_command(container_id(id), status).map_err(|broken| broken.to_string())?;
        self.note();
        Ok(())
    }

    /// It is killed, and the next one ends what is left of the containers, and begins with what is kept.
    fn start_supervisor(&mut self) -> Result<(), String> {
        let survives = self.stopped.take().ok_or("there is a supervisor")?;
        let now = self.now();
        for (id, name) in self.names.iter().enumerate() {
            if self.world.running(container_id(id)).is_some() {
                self.history.note(now, name, What::Sigkill);
                self.history.note(now, name, What::Exited(137));
            }
        }
        self.world.restart_supervisor(survives).map_err(|broken| broken.to_string())?;
        self.note();
        Ok(())
    }

    fn change(&mut self, id: usize) -> Result<(), String> {
        self.inject(Event::ContainerChanged(container_id(id)))
    }
}

// Writing down.
impl Play {
    fn note(&mut self) {
        let new: Vec<Entry> = self.world.timeline()[self.seen..].to_vec();
        self.seen += new.len();
        for entry in new {
            self.note_entry(&entry);
        }
        if let Some(view) = self.world.supervisor().view(POD) {
            let status = self.status(&view);
            self.history.note_status(self.now(), status);
        }
    }

    fn note_entry(&mut self, entry: &Entry) {
        let at = entry.at.since(Instant::ZERO);
        if let Happened::Reported {
            report: Report::ProbeFailed { container, kind: ProbeKind::Liveness },
            ..
        } = &entry.what
        {
            let name = self.names[container.index()].clone();
            self.history.note(at, &name, What::LivenessFailed);
        }
        if let Happened::Reported { report: Report::ProbeWarned { container, .. }, .. } = &entry.what {
            let name = self.names[container.index()].clone();
            self.history.note(at, &name, What::ProbeWarning);
        }
        let Subject::Container(id) = entry.of else { return };
        let name = self.names[id.index()].clone();
        let mut note = |what| self.history.note(at, &name, what);
        match &entry.what {
            Happened::Starting => {
                note(What::Starting);
                self.runs[id.index()] += 1;
                self.answer(id, false);
            }
            Happened::Started => note(What::Started),
            Happened::Exiting => note(What::Exiting),
            Happened::Exited(Exit { status, .. }) => {
                note(What::Exited(status.code()));
                let output = &self.behaviours[id.index()].run(self.runs[id.index()].saturating_sub(1)).output;
                if !output.is_empty() {
                    self.outputs.push((id, output.clone()));
                }
            }
            Happened::SendsStop => {
                note(What::Sigterm);
                self.answer(id, true);
            }
            Happened::Kills => note(What::Sigkill),
            Happened::BeginsHook(kind) => {
                note(if *kind == HookKind::PostStart { What::PostStart } else { What::PreStop });
                if let Some(it) = logged(&self.containers[id.index()][hook_key(*kind)]) {
                    self.history.note(at, &it.name, What::Starting);
                    self.history.note(at + it.start_delay, &it.name, What::Started);
                }
            }
            Happened::HookEnded(kind, _) | Happened::HookKilled(kind) => {
                if *kind == HookKind::PreStop {
                    note(What::PreStopOver);
                }
                let by_itself = matches!(entry.what, Happened::HookEnded(..));
                if let Some(it) = logged(&self.containers[id.index()][hook_key(*kind)]).filter(|_| by_itself)
                {
                    self.history.note(at, &it.name, What::Exiting);
                }
            }
            Happened::Probes(kind, _) => {
                let probe = &self.containers[id.index()][format!("{}Probe", kind.name())];
                self.note_logged(at, logged(probe));
            }
            _ => {}
        }
    }

    /// What a probe or hook writes down under a name of its own.
    fn note_logged(&mut self, at: Duration, logged: Option<Logged>) {
        let Some(Logged { name, start_delay, lasts }) = logged else { return };
        self.history.note(at, &name, What::Starting);
        self.history.note(at + start_delay, &name, What::Started);
        if let Some(lasts) = lasts {
            self.history.note(at + lasts, &name, What::Exiting);
        }
    }

    /// What the container answers to probes from now on.
    fn answer(&mut self, id: ContainerId, stopping: bool) {
        let (container, behaviour) = (&self.containers[id.index()], &self.behaviours[id.index()]);
        let Some(script) = self.world.container_script_mut(id) else { return };
        // They were read without a mistake when the play began.
        let _ = set_answers(script, container, behaviour, stopping);
    }

    fn status(&self, view: &PodView) -> PodStatus {
        let pod = status::pod_status(view);
        let container = |member| {
            let it = status::container_status(view, &member);
            let id = member.id.index();
            let last_start = self.history.times(&self.names[id], What::Starting).last();
            ContainerStatus {
                name: self.names[id].clone(),
                is_init: member.container.role != Role::Main,
                state: match it.state {
                    ContainerState::Waiting { reason, .. } => State::Waiting(reason.name().to_owned()),
                    ContainerState::Running { .. } => State::Running,
                    ContainerState::Terminated(end) => State::Terminated(terminated(&end)),
                },
                last: it.last_state.as_ref().map(terminated),
                restarts: it.restart_count,
                started: it.started,
                ready: it.ready,
                is_new: self.changed_at[id].is_some_and(|at| last_start.is_some_and(|start| start >= at)),
            }
        };
        let renewing = matches!(view.record.state, PodState::RestartingAll { .. });
        let renewing = ("AllContainersRestarting".to_owned(), (renewing, String::new()));
        PodStatus {
            phase: pod.phase.name().to_owned(),
            reason: pod.reason.map(|it| it.name().to_owned()).unwrap_or_default(),
            conditions: condition::conditions(view)
                .iter()
                .map(|it| {
                    let reason = it.reason.map(|it| it.name().to_owned()).unwrap_or_default();
                    (it.kind.name().to_owned(), (it.holds, reason))
                })
                .chain([renewing])
                .collect(),
            containers: view.members().map(container).collect(),
        }
    }
}

fn terminated(end: &Terminated) -> End {
    End {
        code: end.exit_code,
        reason: end.reason.name().to_owned(),
        message: end.message.to_owned(),
        finished_at: end.finished_at.map(|at| at.since(Instant::ZERO)),
    }
}

fn container_id(position: usize) -> ContainerId {
    ContainerId(u16::try_from(position).unwrap())
}
