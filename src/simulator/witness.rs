//! Looks at every action and says which rule it breaks, if any. What it knows comes from the
//! events and from what really exists, not from the supervisor's records.

use core::ops::Range;
use core::time::Duration;
use std::rc::Rc;

use super::body::{Body, Call, CallKind, Process};
use super::facts::{Facts, PodFacts, Tries};
use super::invariants::{Broken, Invariant, require};
use super::{at, at_mut, path};
use crate::config::plan::{
    Container, ContainerId, Operator, Plan, Pod, PodId, RestartAction, RestartPolicy, RestartRule, Role,
};
use crate::limits::GRACE_MIN;
use crate::supervisor::action::{Action, ContainerAction};
use crate::supervisor::event::{ContainerEvent, Event};
use crate::supervisor::hook::HookKind;
use crate::supervisor::kept::Kept;
use crate::supervisor::pod::PodStopReason;
use crate::supervisor::probe::{Outcome, ProbeKind};
use crate::supervisor::record::{Exit, ExitStatus, StopReason};
use crate::supervisor::report::Report;
use crate::time::Instant;

/// See the top of this file.
pub(super) struct Witness {
    pub(super) plan: Rc<Plan>,
    pub(super) facts: Vec<Facts>,
    pub(super) pods: Vec<PodFacts>,
    /// For each pod: when containers of it were restarted, and when it was as a whole.
    pub(super) restarts: Vec<(Vec<Instant>, Vec<Instant>)>,
    pub(super) stop_requests: u32,
    pub(super) given_up: bool,
}

impl Witness {
    pub(super) fn new(plan: Rc<Plan>) -> Witness {
        Witness {
            facts: vec![Facts::default(); plan.containers.len()],
            pods: vec![PodFacts::default(); plan.pods.len()],
            restarts: vec![Default::default(); plan.pods.len()],
            stop_requests: 0,
            given_up: false,
            plan,
        }
    }

    /// The supervisor knows more of a pod's former life than is known here.
    pub(super) fn note_restored(&mut self, id: PodId) {
        if let Some(facts) = self.pods.get_mut(id.index()) {
            facts.is_restored = true;
        }
    }

    /// The supervisor begins with this of a pod.
    pub(super) fn note_kept(&mut self, id: PodId, kept: &[Kept]) {
        let Some(pod) = self.plan.pods.get(id.index()) else { return };
        let facts = self.facts.get_mut(pod.containers()).into_iter().flatten();
        for (position, (facts, own)) in facts.zip(kept).enumerate() {
            // What is behind it has run, so it was passed: an earlier sidecar holds nobody up.
            let later = kept.iter().skip(position + 1).any(|later| later.ran);
            facts.passed = later || own.exit.is_some_and(|exit| exit.is_success(Role::Init));
            facts.was_created = own.ran;
            // A rule may look at it; of its back-off nothing was kept.
            facts.exit = own.exit.map(|exit| (exit, Instant::ZERO));
        }
    }

    pub(super) fn note_stop_request(&mut self) {
        self.stop_requests += 1;
    }

    /// Notes what the supervisor is about to learn.
    pub(super) fn note(&mut self, event: &Event, bodies: &[Body], now: Instant) -> Result<(), Broken> {
        match event {
            Event::PodSetUp(id) => at_mut(&mut self.pods, id.index())?.is_up = true,
            Event::PodTornDown(id) => {
                let facts = at_mut(&mut self.pods, id.index())?;
                facts.torn_down |= facts.tear_down_asked;
            }
            Event::PodSetUpFailed(..) | Event::PodTearDownFailed(..) | Event::StopRequested(_) => {}
            Event::ContainerChanged(id) => {
                let body = at(bodies, id.index())?;
                let is_init = at(&self.plan.containers, id.index())?.role == Role::Init;
                let facts = at_mut(&mut self.facts, id.index())?;
                facts.pause = None;
                facts.changed = !is_init && body.exists && !facts.exit_is_newest;
            }
            Event::Container(id, instance, event) => {
                let body = at(bodies, id.index())?;
                if body.instance == *instance && body.exists {
                    self.note_of_container(*id, body, event, now)?;
                }
                if let (ContainerEvent::Removed, true) = (event, body.instance == *instance) {
                    at_mut(&mut self.facts, id.index())?.removed_at.get_or_insert(now);
                }
            }
        }
        Ok(())
    }

    fn note_of_container(
        &mut self,
        id: ContainerId,
        body: &Body,
        event: &ContainerEvent,
        now: Instant,
    ) -> Result<(), Broken> {
        let container = at(&self.plan.containers, id.index())?;
        let facts = at_mut(&mut self.facts, id.index())?;
        facts.comes_up &= matches!(event, ContainerEvent::Created);
        match event {
            ContainerEvent::Started => {
                let is_first = facts.started_at.is_none();
                facts.started_at.get_or_insert(now);
                let gate = container.role == Role::Sidecar || container.role == Role::Main;
                if gate
                    && body.runs()
                    && container.probes.startup.is_none()
                    && container.probes.notify.is_none()
                    && container.hooks.post_start.is_none()
                {
                    facts.initialised_at.get_or_insert(now);
                    facts.passed |= container.role == Role::Sidecar;
                }
                // That it ended may be known before that it began; it counts from then on.
                if let Some((_, at)) = facts.exit.as_mut().filter(|_| facts.exit_is_newest && is_first) {
                    *at = now;
                }
                facts.passed |= facts.exit_is_newest && has_succeeded(container.role, facts.exit);
            }
            ContainerEvent::Probed(kind, outcome, _) => {
                if let Some(tries) = tries_mut(facts, *kind) {
                    tries.under_way = false;
                }
                if (*kind, *outcome, body.runs()) == (ProbeKind::Startup, Outcome::Success, true) {
                    facts.passed |= container.probes.notify.is_none() || facts.said_ready;
                    facts.startup_succeeded = true;
                    if container.probes.notify.is_none() {
                        facts.initialised_at.get_or_insert(now);
                    }
                }
            }
            ContainerEvent::Notified(notice) if notice.ready && body.runs() => {
                facts.passed |= container.probes.startup.is_none() || facts.startup_succeeded;
                facts.said_ready = true;
            }
            // Nothing of its own has run yet.
            ContainerEvent::Exited(_) if !facts.start_asked => {
                facts.start_failed = true;
                facts.exit_is_newest = false;
            }
            ContainerEvent::Exited(exit) if !facts.exit_is_newest && !facts.start_failed => {
                facts.exit = Some((*exit, now));
                facts.exit_is_newest = true;
                facts.passed |= facts.started_at.is_some() && has_succeeded(container.role, facts.exit);
            }
            ContainerEvent::StartFailed(_) | ContainerEvent::CreateFailed(_) => {
                facts.start_failed = true;
                facts.exit_is_newest = false;
            }
            ContainerEvent::Removed
            | ContainerEvent::Created
            | ContainerEvent::Exited(_)
            | ContainerEvent::RemoveFailed(_)
            | ContainerEvent::TerminationMessage(_)
            | ContainerEvent::LastLines(_)
            | ContainerEvent::HookEnded(..)
            | ContainerEvent::Notified(_) => {}
        }
        Ok(())
    }

    /// Whether an action keeps the rules.
    pub(super) fn check(&mut self, action: &Action, bodies: &[Body], now: Instant) -> Result<(), Broken> {
        match *action {
            Action::SetUpPod(id) => {
                at_mut(&mut self.pods, id.index())?.set_up_asked = true;
                self.check_set_up(id, bodies)
            }
            Action::TearDownPod(id) => {
                at_mut(&mut self.pods, id.index())?.tear_down_asked = true;
                self.check_tear_down(id, bodies)
            }
            Action::Container(id, instance, action) => {
                let body = at(bodies, id.index())?;
                let checked = if let ContainerAction::Create { .. } = action {
                    require(Invariant::OneInstance, !body.exists, || "its former instance exists".to_owned())
                        .and_then(|()| {
                            require(Invariant::OneInstance, instance > body.instance, || {
                                "its number is an old one".to_owned()
                            })
                        })
                        .and_then(|()| self.check_create(id, bodies, now))
                } else {
                    let is_known = at(&self.facts, id.index())?.removed_at.is_some();
                    let exists = body.exists || !is_known;
                    require(Invariant::FittingActions, exists, || "nothing of it exists".to_owned())
                        .and_then(|()| {
                            require(Invariant::FittingActions, body.instance == instance, || {
                                "the instance is another one".to_owned()
                            })
                        })
                        .and_then(|()| self.check_of_instance(id, action, bodies, now))
                };
                checked.map_err(|broken| {
                    let text = format!("{action:?} for {}, but {}", path(&self.plan, id), broken.text);
                    Broken { text, ..broken }
                })
            }
            Action::Report(report) => {
                if let Report::PodStopping { pod, reason: PodStopReason::Requested, .. } = report {
                    require(Invariant::PodOrder, !self.is_needed(pod), || {
                        format!("pod {} is stopped before one after it", self.pod_name(pod))
                    })?;
                }
                self.note_report(&report, now)
            }
        }
    }

    fn check_of_instance(
        &mut self,
        id: ContainerId,
        action: ContainerAction,
        bodies: &[Body],
        now: Instant,
    ) -> Result<(), Broken> {
        let body = at(bodies, id.index())?;
        match action {
            ContainerAction::Start => {
                self.check_start(id, body)?;
                at_mut(&mut self.facts, id.index())?.start_asked = true;
                Ok(())
            }
            ContainerAction::Stop => self.check_stop(id, bodies, now),
            ContainerAction::Kill => {
                self.check_kill(id, body, now)?;
                at_mut(&mut self.facts, id.index())?.killed = true;
                Ok(())
            }
            ContainerAction::Remove => {
                require(Invariant::FittingActions, !body.runs(), || "it still runs".to_owned())
            }
            ContainerAction::Probe(kind) => {
                let hook_ended = self.has_passed_post_start(id)?;
                require(Invariant::HookOrder, hook_ended, || "its post-start hook lasts".to_owned())?;
                check_probe(body, kind)?;
                if let Some(tries) = tries_mut(at_mut(&mut self.facts, id.index())?, kind) {
                    *tries = Tries { begun_at: Some(now), under_way: true };
                }
                Ok(())
            }
            ContainerAction::CancelProbe(kind) => {
                if let Some(tries) = tries_mut(at_mut(&mut self.facts, id.index())?, kind) {
                    tries.under_way = false;
                }
                Ok(())
            }
            ContainerAction::Hook(kind) => self.check_hook(id, kind, body),
            ContainerAction::CancelHook(_) | ContainerAction::Create { .. } => Ok(()),
        }
    }

    /// Of most reports nothing is to be noted, hence no list of all of them.
    fn note_report(&mut self, report: &Report, now: Instant) -> Result<(), Broken> {
        if let Report::PodStopping { pod, grace, .. } = *report {
            at_mut(&mut self.pods, pod.index())?.stops = Some((now, now.after(grace)));
        }
        if let Report::StopRequested { shortened: true, .. } = *report {
            for (_, deadline) in self.pods.iter_mut().filter_map(|pod| pod.stops.as_mut()) {
                *deadline = (*deadline).min(now.after(GRACE_MIN));
            }
        }
        if let Report::PodRestarting { pod, .. } = *report {
            self.check_pod_restart(pod, now)?;
            *at_mut(&mut self.pods, pod.index())? = PodFacts::default();
            let (inits, mains) = self.containers(pod)?;
            for it in inits.chain(mains) {
                *at_mut(&mut self.facts, it)? = Facts::default();
            }
        }
        if let Report::AllContainersRestarting { pod, by } = *report {
            let facts = at(&self.facts, by.index())?;
            let rule = facts.exit.and_then(|(exit, _)| self.rule(by, exit, facts));
            let asks = rule.is_some_and(|rule| rule.action == RestartAction::RestartAllContainers);
            require(Invariant::RestartPolicy, asks, || {
                format!("{} asks for nothing", self.name(by.index()))
            })?;
            at_mut(&mut self.pods, pod.index())?.restarts_all = true;
            self.check_container_restart(pod, now)?;
        }
        if let Report::PodEscalated { .. } = *report {
            self.stop_requests += 1;
        }
        if let Report::StopGivenUp = *report {
            self.given_up = true;
        }
        if let Report::PodLeftBehind { pod } = *report {
            at_mut(&mut self.pods, pod.index())?.left_behind = true;
        }
        if let Report::LeftBehind { container } = *report {
            at_mut(&mut self.facts, container.index())?.left_behind = true;
        }
        if let Report::ProbeFailed { container, .. } = *report {
            at_mut(&mut self.facts, container.index())?.stopped_by_probe = true;
        }
        if let Report::HookDone { container, kind: HookKind::PostStart, .. } = *report {
            let probes = &at(&self.plan.containers, container.index())?.probes;
            let (has_startup_probe, has_notify) = (probes.startup.is_some(), probes.notify.is_some());
            let facts = at_mut(&mut self.facts, container.index())?;
            facts.post_start_ended = true;
            facts.passed |= !has_startup_probe;
            if !has_startup_probe && !has_notify {
                facts.initialised_at.get_or_insert(now);
            }
        }
        if let Report::HookFailed { container, kind: HookKind::PostStart } = *report {
            at_mut(&mut self.facts, container.index())?.post_start_ended = true;
        }
        if let Report::PreStopBegun { container, reason } | Report::StopSignalled { container, reason } =
            *report
        {
            let alone = self.grace_alone(container, reason)?;
            let facts = at_mut(&mut self.facts, container.index())?;
            facts.stopped_alone = alone;
            facts.post_start_ended = true;
        }
        if let Report::PreStopBegun { container, .. } = *report {
            at_mut(&mut self.facts, container.index())?.pre_stop_at = Some(now);
        }
        if let Report::Killed { container, .. } = *report {
            at_mut(&mut self.facts, container.index())?.comes_up = false;
        }
        let timeouts = [StopReason::CreateTimeout, StopReason::StartTimeout];
        if let Report::Killed { container, reason, .. } = *report {
            if timeouts.contains(&reason) {
                let facts = at_mut(&mut self.facts, container.index())?;
                facts.start_failed = true;
                facts.exit_is_newest = false;
            }
        }
        Ok(())
    }

    /// The first container that is created after all of its pod were to be restarted: whether
    /// nothing is left of the others. From then on it is as at the first start.
    fn check_beginning(&mut self, id: PodId, bodies: &[Body]) -> Result<(), Broken> {
        if !at(&self.pods, id.index())?.restarts_all {
            return Ok(());
        }
        let (inits, mains) = self.containers(id)?;
        for it in inits.chain(mains) {
            require(Invariant::InitOrder, !at(bodies, it)?.exists, || {
                format!("all are restarted, and there still is {}", self.name(it))
            })?;
            let facts = at_mut(&mut self.facts, it)?;
            facts.passed = false;
            facts.restarts_anyway = true;
        }
        at_mut(&mut self.pods, id.index())?.restarts_all = false;
        Ok(())
    }

    fn check_create(&mut self, id: ContainerId, bodies: &[Body], now: Instant) -> Result<(), Broken> {
        self.check_beginning(at(&self.plan.containers, id.index())?.pod, bodies)?;
        let container = at(&self.plan.containers, id.index())?;
        let pod = at(&self.pods, container.pod.index())?;
        let is_up = pod.is_up && !pod.torn_down;
        let pod_is_active = pod.stops.is_none();
        require(Invariant::PodLife, is_up, || "its pod is not set up".to_owned())?;
        let facts = at(&self.facts, id.index())?;
        let may_come_back = self.may_come_back(container)?
            && facts.sigterm_at.is_none_or(|_| facts.stopped_by_probe)
            && pod.stops.is_some_and(|(_, deadline)| now.after(Duration::from_secs(1)) < deadline);
        require(Invariant::PodLife, pod.stops.is_none() || may_come_back, || {
            "its pod is being stopped".to_owned()
        })?;
        if may_come_back {
            let (inits, mains) = self.containers(container.pod)?;
            let mut behind = inits.filter(|it| *it > id.index()).chain(mains);
            let needed = behind.any(|it| bodies.get(it).is_some_and(|body| body.exists));
            require(Invariant::StopOrder, needed, || "its turn to stop has come".to_owned())?;
        }
        let needed = may_come_back || self.is_needed(container.pod);
        require(Invariant::PodOrder, self.stop_requests == 0 || needed, || {
            "the stop was requested, and nobody needs its pod any more".to_owned()
        })?;
        let coming = self.facts.iter().filter(|facts| facts.comes_up).count();
        let most = self.plan.machine.start_spread.filter(|_| !may_come_back);
        require(Invariant::StartSpread, most.is_none_or(|most| coming < most), || {
            format!("{coming} others are coming up")
        })?;
        let (inits, _) = self.containers(container.pod)?;
        for it in inits.filter(|it| *it < id.index()) {
            require(Invariant::InitOrder, at(&self.facts, it)?.passed, || {
                format!("{} was not passed yet", self.name(it))
            })?;
        }
        if container.role == Role::Main && !at(&self.facts, id.index())?.was_created {
            self.check_post_start_of_earlier(id)?;
        }
        let facts = at(&self.facts, id.index())?;
        if facts.exit_is_newest && !facts.restarts_anyway && !facts.changed {
            self.check_restart(id, container, facts, now)?;
        }
        let is_restart =
            (facts.exit_is_newest || facts.start_failed) && !facts.restarts_anyway && !facts.changed;
        let (of, backoff) = (container.pod, self.pod(container.pod)?.restart_backoff);
        if is_restart && pod_is_active {
            self.check_container_restart(of, now)?;
        }
        let facts = at_mut(&mut self.facts, id.index())?;
        if let (true, Some((_, exited_at))) = (facts.exit_is_newest, facts.exit) {
            let expired = |at: Instant| exited_at.since(at) > backoff.reset;
            let delay = match facts.pause {
                Some((at, delay)) if !expired(at) => {
                    require(Invariant::BackOff, now >= exited_at.after(delay), || {
                        format!("its back-off of {delay:?} lasts")
                    })?;
                    delay.saturating_mul(2).min(backoff.max)
                }
                Some(_) | None => backoff.initial.min(backoff.max),
            };
            facts.pause = Some((now, delay));
        }
        facts.start_failures = if facts.start_failed { facts.start_failures.saturating_add(1) } else { 0 };
        // The rest is about the former instance.
        *facts = Facts {
            passed: facts.passed,
            exit: facts.exit,
            start_failures: facts.start_failures,
            pause: facts.pause,
            was_created: true,
            comes_up: true,
            ..Facts::default()
        };
        Ok(())
    }

    /// The rule of a container that its exit matches, if it has ended by itself.
    fn rule(&self, id: ContainerId, exit: Exit, facts: &Facts) -> Option<&RestartRule> {
        self.plan.containers.get(id.index())?.restart_policy_rules.iter().find(|rule| {
            rule.values.contains(&exit.status.code()) == (rule.operator == Operator::In)
                && exit.status != ExitStatus::Unknown
                && !facts.stopped_by_probe
        })
    }

    fn check_restart(
        &self,
        id: ContainerId,
        container: &Container,
        facts: &Facts,
        now: Instant,
    ) -> Result<(), Broken> {
        let Some((_, exited_at)) = facts.exit else { return Ok(()) };
        require(Invariant::OneInstance, now >= exited_at, || "it has not ended yet".to_owned())?;
        self.may_restart(id, container, facts)
    }

    /// Whether the policy lets a container be started again after its last exit.
    pub(super) fn may_restart(
        &self,
        id: ContainerId,
        container: &Container,
        facts: &Facts,
    ) -> Result<(), Broken> {
        let Some((exit, _)) = facts.exit else { return Ok(()) };
        let well = exit.status == ExitStatus::Code(0);
        let rule = self.rule(id, exit, facts);
        let of_pod = self.pod(container.pod)?.restart_policy;
        let (may, why_not) = match (container.role, container.restart_policy.unwrap_or(of_pod)) {
            (Role::Main, _) if rule.is_some() => return Ok(()),
            (Role::Init, _) if rule.is_some() => {
                (!well || exit.oom_killed, "it is an init container that has succeeded")
            }
            (Role::Sidecar, _) | (Role::Main, RestartPolicy::Always) => return Ok(()),
            (Role::Init, RestartPolicy::Always | RestartPolicy::OnFailure) => {
                (!well || exit.oom_killed, "it is an init container that has succeeded")
            }
            (Role::Main, RestartPolicy::OnFailure) => (!well || facts.stopped_by_probe, "it has succeeded"),
            (Role::Init | Role::Main, RestartPolicy::Never) => (false, "it has ended under the policy never"),
        };
        require(Invariant::RestartPolicy, may, || why_not.to_owned())
    }

    /// Whether it is a sidecar that is kept up while its pod stops.
    fn may_come_back(&self, container: &Container) -> Result<bool, Broken> {
        let kept = self.pod(container.pod)?.restart_sidecars_during_termination;
        Ok(kept && container.role == Role::Sidecar)
    }

    fn check_start(&self, id: ContainerId, body: &Body) -> Result<(), Broken> {
        let container = at(&self.plan.containers, id.index())?;
        let stops =
            at(&self.pods, container.pod.index())?.stops.is_some() && !self.may_come_back(container)?;
        require(Invariant::FittingActions, body.call.is_none(), || "a runtime call is under way".to_owned())?;
        require(Invariant::FittingActions, !body.runs(), || "it runs already".to_owned())?;
        require(Invariant::PodLife, !stops, || "its pod is being stopped".to_owned())
    }

    /// Main containers and init containers at any time, sidecars in reverse order until the grace
    /// period is over.
    fn check_stop(&mut self, id: ContainerId, bodies: &[Body], now: Instant) -> Result<(), Broken> {
        let container = at(&self.plan.containers, id.index())?;
        let is_first = at(&self.facts, id.index())?.sigterm_at.is_none();
        require(Invariant::GracePeriod, is_first, || "it has got SIGTERM already".to_owned())?;
        let needs_hook =
            container.hooks.pre_stop.is_some() && !at(&self.pods, container.pod.index())?.restarts_all;
        let has_begun = !needs_hook || at(&self.facts, id.index())?.pre_stop_at.is_some();
        require(Invariant::HookOrder, has_begun, || "its pre-stop hook was not begun".to_owned())?;
        if let Some((_, deadline)) = at(&self.pods, container.pod.index())?.stops {
            if container.role == Role::Sidecar && now < deadline {
                let (inits, mains) = self.containers(container.pod)?;
                let is_sidecar =
                    |it: &usize| self.plan.containers.get(*it).is_some_and(|it| it.role == Role::Sidecar);
                let later = inits.filter(|it| *it > id.index()).filter(is_sidecar);
                for it in later.chain(mains) {
                    require(Invariant::StopOrder, !at(bodies, it)?.exists, || {
                        format!("there still is {}", self.name(it))
                    })?;
                }
            }
        }
        at_mut(&mut self.facts, id.index())?.sigterm_at = Some(now);
        Ok(())
    }

    /// What runs is told first, and has its time.
    fn check_kill(&self, id: ContainerId, body: &Body, now: Instant) -> Result<(), Broken> {
        let starts = matches!(body.call, Some(Call { kind: CallKind::Start, .. }));
        // Nobody is told who is not known to run: his start may have taken too long.
        let is_known = at(&self.facts, id.index())?.started_at.is_some();
        if starts || !body.runs() || !is_known {
            return Ok(());
        }
        let container = at(&self.plan.containers, id.index())?;
        let facts = at(&self.facts, id.index())?;
        let Some(sigterm_at) = facts.sigterm_at else {
            return Err(Broken::new(Invariant::GracePeriod, "it got no SIGTERM".to_owned()));
        };
        require(Invariant::GracePeriod, now >= sigterm_at.after(GRACE_MIN), || {
            "it has not had its two seconds".to_owned()
        })?;
        // Its time begins with its pre-stop hook. What it waits for its turn is not counted against
        // it, but nobody here knows how long that was.
        let since = facts.pre_stop_at.unwrap_or(sigterm_at);
        let own = facts.stopped_alone.or(container.termination_grace_period);
        // A stop that was asked for again leaves two seconds to whatever still runs.
        let own = if self.stop_requests > 1 { Some(GRACE_MIN) } else { own };
        let own_is_over = own.is_some_and(|own| now >= since.after(own));
        let pod = at(&self.pods, container.pod.index())?;
        let is_over = match pod.stops {
            _ if pod.restarts_all => true,
            None => own_is_over,
            Some((_, deadline)) => own_is_over || now >= deadline,
        };
        require(Invariant::GracePeriod, is_over, || "its grace period lasts".to_owned())
    }

    /// How long a container has that is stopped for this reason, if that is not its pod's affair.
    fn grace_alone(&self, id: ContainerId, reason: StopReason) -> Result<Option<Duration>, Broken> {
        let container = at(&self.plan.containers, id.index())?;
        let pod = self.pod(container.pod)?.termination_grace_period;
        let own = container.termination_grace_period.unwrap_or(pod);
        let probe = match reason {
            StopReason::StartupProbe => container.probes.startup.as_ref(),
            StopReason::LivenessProbe => container.probes.liveness.as_ref(),
            StopReason::PostStartHook | StopReason::Changed => None,
            StopReason::RestartAllContainers => return Ok(Some(GRACE_MIN)),
            StopReason::Pod | StopReason::CreateTimeout | StopReason::StartTimeout => return Ok(None),
        };
        Ok(Some(probe.and_then(|probe| probe.termination_grace_period).unwrap_or(own)))
    }

    fn has_passed_post_start(&self, id: ContainerId) -> Result<bool, Broken> {
        let has_hook = at(&self.plan.containers, id.index())?.hooks.post_start.is_some();
        Ok(!has_hook || at(&self.facts, id.index())?.post_start_ended)
    }

    fn check_hook(&self, id: ContainerId, kind: HookKind, body: &Body) -> Result<(), Broken> {
        require(Invariant::FittingActions, body.hook.is_none(), || "a hook is under way".to_owned())?;
        let has_started = body.call.is_none() && body.process != Process::Waits;
        require(Invariant::FittingActions, has_started, || "it has not started".to_owned())?;
        let is_signalled = at(&self.facts, id.index())?.sigterm_at.is_some();
        require(Invariant::HookOrder, !is_signalled, || "it has got its stop signal".to_owned())?;
        let is_first = kind == HookKind::PreStop || !at(&self.facts, id.index())?.post_start_ended;
        require(Invariant::HookOrder, is_first, || "it comes a second time".to_owned())
    }

    /// The first start of a main container waits for the post-start hooks of those before it.
    fn check_post_start_of_earlier(&self, id: ContainerId) -> Result<(), Broken> {
        let pod = at(&self.plan.containers, id.index())?.pod;
        let (_, mains) = self.containers(pod)?;
        for it in mains.filter(|it| *it < id.index()) {
            let has_hook = at(&self.plan.containers, it)?.hooks.post_start.is_some();
            let facts = at(&self.facts, it)?;
            let is_starting = facts.was_created && !facts.start_failed && !facts.exit_is_newest;
            require(Invariant::HookOrder, !has_hook || !is_starting || facts.post_start_ended, || {
                format!("the post-start hook of {} lasts", self.name(it))
            })?;
        }
        Ok(())
    }

    pub(super) fn pod(&self, id: PodId) -> Result<&Pod, Broken> {
        at(&self.plan.pods, id.index())
    }

    /// Positions of a pod's init containers and main containers.
    pub(super) fn containers(&self, id: PodId) -> Result<(Range<usize>, Range<usize>), Broken> {
        let pod = self.pod(id)?;
        let range = |run: &Range<u16>| usize::from(run.start)..usize::from(run.end);
        Ok((range(&pod.init_containers), range(&pod.main_containers)))
    }

    pub(super) fn name(&self, index: usize) -> String {
        u16::try_from(index).map(|index| path(&self.plan, ContainerId(index))).unwrap_or_default()
    }

    pub(super) fn pod_name(&self, id: PodId) -> &str {
        self.plan.pods.get(id.index()).map_or("?", |pod| &pod.name)
    }
}

fn has_succeeded(role: Role, exit: Option<(Exit, Instant)>) -> bool {
    role == Role::Init && exit.is_some_and(|(exit, _)| exit == ExitStatus::Code(0).into())
}

fn tries_mut(facts: &mut Facts, kind: ProbeKind) -> Option<&mut Tries> {
    let position = ProbeKind::ALL.iter().position(|it| *it == kind)?;
    facts.tries.get_mut(position)
}

fn check_probe(body: &Body, kind: ProbeKind) -> Result<(), Broken> {
    let is_first = body.try_under_way(kind).is_none();
    require(Invariant::ProbeTries, is_first, || "a try is under way".to_owned())?;
    let has_started = body.call.is_none() && body.process != Process::Waits;
    require(Invariant::ProbeTries, has_started, || "it has not started".to_owned())
}
