//! Looks at every action and says which rule it breaks, if any. What it knows comes from the
//! events and from what really exists, not from the supervisor's records.

use std::rc::Rc;
use std::time::Duration;

use outrigger::config::plan::{Container, ContainerId, Operator, Plan, PodId, RestartPolicy, Role};
use outrigger::limits::GRACE_MIN;
use outrigger::supervisor::action::{Action, ContainerAction};
use outrigger::supervisor::event::{ContainerEvent, Event};
use outrigger::supervisor::pod::PodStopReason;
use outrigger::supervisor::probe::{Outcome, ProbeKind};
use outrigger::supervisor::record::{Exit, ExitStatus, StopReason};
use outrigger::supervisor::report::Report;
use outrigger::time::Instant;

use super::body::{Body, Call, CallKind, Process};
use super::path;

/// What is known of one container.
#[derive(Clone, Debug, Default)]
struct Facts {
    /// An init container has ended with 0, a sidecar was initialised: what is behind may start.
    passed: bool,
    /// How the newest instance that ran has ended, and when.
    exit: Option<(Exit, Instant)>,
    /// Whether it is that end which the next instance comes after, and not a start that failed.
    exit_is_newest: bool,
    /// Of this instance: it could not be created or started.
    start_failed: bool,
    /// The pause that the next restart after an exit has to keep, and when the last one was.
    pause: Option<(Instant, Duration)>,
    sigterm_at: Option<Instant>,
    /// Of this instance: a probe had it stopped.
    stopped_by_probe: bool,
    left_behind: bool,
}

#[derive(Clone, Debug, Default)]
struct PodFacts {
    is_up: bool,
    /// When it began to stop, and when its grace period ends.
    stops: Option<(Instant, Instant)>,
    torn_down: bool,
    left_behind: bool,
}

/// See the top of this file.
pub(super) struct Witness {
    plan: Rc<Plan>,
    facts: Vec<Facts>,
    pods: Vec<PodFacts>,
    stop_requests: u32,
    given_up: bool,
}

/// `Err(text)` unless the condition holds.
fn require(holds: bool, text: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(text()) }
}

impl Witness {
    pub(super) fn new(plan: Rc<Plan>) -> Witness {
        Witness {
            facts: vec![Facts::default(); plan.containers.len()],
            pods: vec![PodFacts::default(); plan.pods.len()],
            stop_requests: 0,
            given_up: false,
            plan,
        }
    }

    pub(super) fn note_stop_request(&mut self) {
        self.stop_requests += 1;
    }

    /// Notes what the supervisor is about to learn.
    pub(super) fn note(&mut self, event: &Event, bodies: &[Body], now: Instant) {
        match event {
            Event::PodSetUp(id) => self.pods[id.index()].is_up = true,
            Event::PodTornDown(id) => self.pods[id.index()].torn_down = true,
            Event::PodSetUpFailed(..) | Event::PodTearDownFailed(..) | Event::StopRequested(_) => {}
            Event::Container(id, instance, event) => {
                let body = &bodies[id.index()];
                if body.instance == *instance && body.exists {
                    self.note_of_container(*id, body, event, now);
                }
            }
        }
    }

    fn note_of_container(&mut self, id: ContainerId, body: &Body, event: &ContainerEvent, now: Instant) {
        let container = &self.plan.containers[id.index()];
        let facts = &mut self.facts[id.index()];
        let runs = matches!(body.process, Process::Runs(_));
        match event {
            ContainerEvent::Started if container.role == Role::Sidecar && runs => {
                facts.passed |= container.probes.startup.is_none();
            }
            ContainerEvent::Probed(ProbeKind::Startup, Outcome::Success, _) if runs => facts.passed = true,
            ContainerEvent::Exited(exit) if !facts.exit_is_newest && !facts.start_failed => {
                facts.exit = Some((*exit, now));
                facts.exit_is_newest = true;
                if container.role == Role::Init && *exit == ExitStatus::Code(0).into() {
                    facts.passed = true;
                }
            }
            ContainerEvent::StartFailed(_) | ContainerEvent::CreateFailed(_) => {
                facts.start_failed = true;
                facts.exit_is_newest = false;
            }
            ContainerEvent::Created
            | ContainerEvent::Started
            | ContainerEvent::Exited(_)
            | ContainerEvent::Removed
            | ContainerEvent::RemoveFailed(_)
            | ContainerEvent::Probed(..) => {}
        }
    }

    /// Whether an action keeps the rules.
    pub(super) fn check(&mut self, action: &Action, bodies: &[Body], now: Instant) -> Result<(), String> {
        match *action {
            Action::SetUpPod(id) => self.check_set_up(id, bodies),
            Action::TearDownPod(id) => self.check_tear_down(id, bodies),
            Action::Container(id, instance, action) => {
                let body = &bodies[id.index()];
                let name = path(&self.plan, id);
                if let ContainerAction::Create { .. } = action {
                    require(!body.exists, || format!("{name} is created beside its former instance"))?;
                    require(instance > body.instance, || format!("{name} is created with an old number"))?;
                    return self
                        .check_create(id, now)
                        .map_err(|error| format!("{name} is created, but {error}"));
                }
                require(body.exists, || format!("{action:?} for {name}, of which nothing exists"))?;
                require(body.instance == instance, || format!("{action:?} for a wrong instance of {name}"))?;
                let checked = match action {
                    ContainerAction::Start => self.check_start(id, body),
                    ContainerAction::Stop => self.check_stop(id, bodies, now),
                    ContainerAction::Kill => self.check_kill(id, body, now),
                    ContainerAction::Remove => {
                        require(!matches!(body.process, Process::Runs(_)), || "it still runs".to_owned())
                    }
                    ContainerAction::Probe(kind) => check_probe(body, kind),
                    ContainerAction::CancelProbe(_) | ContainerAction::Create { .. } => Ok(()),
                };
                checked.map_err(|error| format!("{action:?} for {name}, but {error}"))
            }
            Action::Report(report) => {
                if let Report::PodStopping { pod, reason: PodStopReason::Requested, .. } = report {
                    let name = &self.plan.pods[pod.index()].name;
                    require(!self.is_needed(pod), || format!("pod {name} is stopped before one after it"))?;
                }
                self.note_report(&report, now);
                Ok(())
            }
        }
    }

    /// Of most reports nothing is to be noted, hence no list of all of them.
    fn note_report(&mut self, report: &Report, now: Instant) {
        if let Report::PodStopping { pod, grace, .. } = *report {
            self.pods[pod.index()].stops = Some((now, now.after(grace)));
        }
        if let Report::StopRequested { shortened: true, .. } = *report {
            for (_, deadline) in self.pods.iter_mut().filter_map(|pod| pod.stops.as_mut()) {
                *deadline = (*deadline).min(now.after(GRACE_MIN));
            }
        }
        if let Report::PodRestarting { pod, .. } = *report {
            let (inits, mains) = self.containers(pod);
            self.pods[pod.index()] = PodFacts::default();
            for it in inits.chain(mains) {
                self.facts[it] = Facts::default();
            }
        }
        if let Report::PodEscalated { .. } = *report {
            self.stop_requests += 1;
        }
        if let Report::StopGivenUp = *report {
            self.given_up = true;
        }
        if let Report::PodLeftBehind { pod } = *report {
            self.pods[pod.index()].left_behind = true;
        }
        if let Report::LeftBehind { container } = *report {
            self.facts[container.index()].left_behind = true;
        }
        if let Report::ProbeFailed { container, .. } = *report {
            self.facts[container.index()].stopped_by_probe = true;
        }
        let timeouts = [StopReason::CreateTimeout, StopReason::StartTimeout];
        if let Report::Killed { container, reason, .. } = *report {
            if timeouts.contains(&reason) {
                self.facts[container.index()].start_failed = true;
                self.facts[container.index()].exit_is_newest = false;
            }
        }
    }

    /// Only behind pods that are ready or have succeeded.
    fn check_set_up(&self, id: PodId, bodies: &[Body]) -> Result<(), String> {
        let name = &self.plan.pods[id.index()].name;
        require(!self.pods[id.index()].is_up, || format!("pod {name} is set up twice"))?;
        require(self.stop_requests == 0, || format!("pod {name} is set up after the stop was requested"))?;
        for other in &self.plan.pods[id.index()].after {
            let (inits, mains) = self.containers(*other);
            let ended_well = |main: usize| {
                !bodies[main].exists
                    && self.facts[main].exit.is_some_and(|(exit, _)| exit.status == ExitStatus::Code(0))
            };
            let succeeded = mains.clone().all(ended_well) && inits.clone().all(|init| !bodies[init].exists);
            let ready = inits.chain(mains).all(|it| {
                self.plan.containers[it].role == Role::Init || matches!(bodies[it].process, Process::Runs(_))
            });
            require(succeeded || ready, || format!("pod {name} is set up before one that it is after"))?;
        }
        Ok(())
    }

    fn check_tear_down(&self, id: PodId, bodies: &[Body]) -> Result<(), String> {
        let (inits, mains) = self.containers(id);
        for it in inits.chain(mains) {
            require(!bodies[it].exists || self.facts[it].left_behind, || {
                format!("pod {} is torn down around {}", self.plan.pods[id.index()].name, self.name(it))
            })?;
        }
        Ok(())
    }

    fn check_create(&mut self, id: ContainerId, now: Instant) -> Result<(), String> {
        let container = &self.plan.containers[id.index()];
        let pod = &self.pods[container.pod.index()];
        require(pod.is_up && !pod.torn_down, || "its pod is not set up".to_owned())?;
        require(pod.stops.is_none(), || "its pod is being stopped".to_owned())?;
        require(self.stop_requests == 0 || self.is_needed(container.pod), || {
            "the stop was requested, and nobody needs its pod any more".to_owned()
        })?;
        let (inits, _) = self.containers(container.pod);
        for it in inits.filter(|it| *it < id.index()) {
            require(self.facts[it].passed, || format!("{} was not passed yet", self.name(it)))?;
        }
        let facts = &self.facts[id.index()];
        if facts.exit_is_newest {
            self.check_restart(container, facts, now)?;
        }
        let backoff = self.plan.pods[container.pod.index()].restart_backoff;
        let facts = &mut self.facts[id.index()];
        if let (true, Some((_, exited_at))) = (facts.exit_is_newest, facts.exit) {
            let expired = |at: Instant| exited_at.since(at) > backoff.reset;
            let delay = match facts.pause {
                Some((at, delay)) if !expired(at) => {
                    require(now >= exited_at.after(delay), || format!("its back-off of {delay:?} lasts"))?;
                    (delay * 2).min(backoff.max)
                }
                Some(_) | None => backoff.initial.min(backoff.max),
            };
            facts.pause = Some((now, delay));
        }
        facts.exit_is_newest = false;
        facts.start_failed = false;
        facts.stopped_by_probe = false;
        facts.sigterm_at = None;
        Ok(())
    }

    fn check_restart(&self, container: &Container, facts: &Facts, now: Instant) -> Result<(), String> {
        let Some((exit, exited_at)) = facts.exit else { return Ok(()) };
        require(now >= exited_at, || "it has not ended yet".to_owned())?;
        let well = exit.status == ExitStatus::Code(0);
        let rule = container.restart_policy_rules.iter().find(|rule| {
            rule.values.contains(&exit.status.code()) == (rule.operator == Operator::In)
                && exit.status != ExitStatus::Unknown
                && !facts.stopped_by_probe
        });
        if rule.is_some() {
            let done = container.role == Role::Init && well && !exit.oom_killed;
            return require(!done, || "it is an init container that has succeeded".to_owned());
        }
        let of_pod = self.plan.pods[container.pod.index()].restart_policy;
        match (container.role, container.restart_policy.unwrap_or(of_pod)) {
            (Role::Sidecar, _) | (Role::Main, RestartPolicy::Always) => Ok(()),
            (Role::Init, RestartPolicy::Always | RestartPolicy::OnFailure) => {
                require(!well || exit.oom_killed, || "it is an init container that has succeeded".to_owned())
            }
            (Role::Main, RestartPolicy::OnFailure) => {
                require(!well || facts.stopped_by_probe, || "it has succeeded".to_owned())
            }
            (Role::Init | Role::Main, RestartPolicy::Never) => {
                Err("it has ended under the policy never".to_owned())
            }
        }
    }

    fn check_start(&self, id: ContainerId, body: &Body) -> Result<(), String> {
        let pod = self.plan.containers[id.index()].pod;
        require(body.call.is_none(), || "a runtime call is under way".to_owned())?;
        require(!matches!(body.process, Process::Runs(_)), || "it runs already".to_owned())?;
        require(self.pods[pod.index()].stops.is_none(), || "its pod is being stopped".to_owned())
    }

    /// Main containers and init containers at any time, sidecars in reverse order until the grace
    /// period is over.
    fn check_stop(&mut self, id: ContainerId, bodies: &[Body], now: Instant) -> Result<(), String> {
        let container = &self.plan.containers[id.index()];
        require(self.facts[id.index()].sigterm_at.is_none(), || "it has got SIGTERM already".to_owned())?;
        if let Some((_, deadline)) = self.pods[container.pod.index()].stops {
            if container.role == Role::Sidecar && now < deadline {
                let (inits, mains) = self.containers(container.pod);
                let later =
                    inits.filter(|it| *it > id.index() && self.plan.containers[*it].role == Role::Sidecar);
                for it in later.chain(mains) {
                    require(!bodies[it].exists, || format!("there still is {}", self.name(it)))?;
                }
            }
        }
        self.facts[id.index()].sigterm_at = Some(now);
        Ok(())
    }

    /// What runs is told first, and has its time.
    fn check_kill(&self, id: ContainerId, body: &Body, now: Instant) -> Result<(), String> {
        let starts = matches!(body.call, Some(Call { kind: CallKind::Start, .. }));
        if starts || !matches!(body.process, Process::Runs(_)) {
            return Ok(());
        }
        let container = &self.plan.containers[id.index()];
        let facts = &self.facts[id.index()];
        let Some(sigterm_at) = facts.sigterm_at else { return Err("it got no SIGTERM".to_owned()) };
        require(now >= sigterm_at.after(GRACE_MIN), || "it has not had its two seconds".to_owned())?;
        let own = self.plan.pods[container.pod.index()].termination_grace_period;
        let own_is_over = facts.stopped_by_probe && now >= sigterm_at.after(own.max(GRACE_MIN));
        match self.pods[container.pod.index()].stops {
            None => require(own_is_over, || "its grace period lasts".to_owned()),
            Some((_, deadline)) => {
                require(own_is_over || now >= deadline, || "the grace period lasts".to_owned())
            }
        }
    }

    /// Whether nothing is left when the supervisor says that all has ended.
    pub(super) fn check_end(&self, bodies: &[Body]) -> Result<(), String> {
        if self.given_up {
            return Ok(());
        }
        for (index, body) in bodies.iter().enumerate() {
            require(!body.exists || self.facts[index].left_behind, || {
                format!("all is said to have ended, but there still is {}", self.name(index))
            })?;
        }
        for (pod, facts) in self.plan.pods.iter().zip(&self.pods) {
            require(facts.torn_down || facts.left_behind || !facts.is_up, || {
                format!("all is said to have ended, but pod {} was not torn down", pod.name)
            })?;
        }
        Ok(())
    }

    /// Whether a pod that is after this one is up: until it has ended, this one is kept up too.
    fn is_needed(&self, id: PodId) -> bool {
        let mut pods = self.plan.pods.iter().zip(&self.pods);
        pods.any(|(pod, facts)| pod.after.contains(&id) && facts.is_up && !facts.torn_down)
    }

    fn containers(&self, id: PodId) -> (core::ops::Range<usize>, core::ops::Range<usize>) {
        let pod = &self.plan.pods[id.index()];
        let range = |run: &core::ops::Range<u16>| usize::from(run.start)..usize::from(run.end);
        (range(&pod.init_containers), range(&pod.main_containers))
    }

    fn name(&self, index: usize) -> String {
        path(&self.plan, ContainerId(u16::try_from(index).unwrap()))
    }
}

fn check_probe(body: &Body, kind: ProbeKind) -> Result<(), String> {
    require(body.tries[kind as usize].is_none(), || "a try is under way".to_owned())?;
    require(body.call.is_none() && body.process != Process::Waits, || "it has not started".to_owned())
}
