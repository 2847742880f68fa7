//! A random world as data: a plan and how it behaves, small enough to be cut down by hand.
//!
//! What it can have: 1 to 4 pods with at most 8 containers each, `after` one another; every policy
//! and rules; probes and hooks; short and long grace periods and back-offs; containers that run, end and answer as they
//! like; and, unless the world is calm, calls of the runtime that fail, cannot be made, hang, or
//! work when they are killed; first processes that are gone before they began; processes that
//! SIGKILL ends late or never; cgroups that stay populated; events that come late or twice; and one
//! to three stops at any time and for any goal.

use std::rc::Rc;
use std::time::Duration;

use outrigger::config::plan::{
    Backoff, Container, Hook, Hooks, OnFailure, Operator, Plan, Pod, PodId, Probe, Probes, RestartAction,
    RestartPolicy, RestartRule, Role, Watchdog,
};
use outrigger::config::{self, Source};
use outrigger::limits::GRACE_MIN;
use outrigger::simulator::script::{
    Answer, Answers, CallResult, ContainerScript, Detour, HookScript, PodScript, Script,
};
use outrigger::supervisor::event::Goal;
use outrigger::supervisor::probe::Outcome;
use outrigger::supervisor::record::ExitStatus;
use outrigger::time::Instant;

use crate::random::Random;

/// See the top of this file.
#[derive(Clone, Debug)]
pub(crate) struct Sketch {
    pub(crate) pods: Vec<PodSketch>,
    pub(crate) stops: Vec<(Duration, Goal)>,
    pub(crate) tells_together: bool,
    pub(crate) unready_limit: Option<Duration>,
    pub(crate) runtime_timeout: Duration,
    pub(crate) shutdown_timeout: Duration,
}

#[derive(Clone, Debug)]
pub(crate) struct PodSketch {
    /// Its number when the sketch was made, which names it: pods before it may be cut away.
    pub(crate) number: usize,
    /// Numbers of earlier pods.
    pub(crate) after: Vec<usize>,
    pub(crate) policy: RestartPolicy,
    pub(crate) grace: Duration,
    pub(crate) backoff: Backoff,
    pub(crate) essential: bool,
    pub(crate) on_failure: OnFailure,
    pub(crate) script: PodScript,
    pub(crate) detours: Vec<Detour>,
    /// Init containers and sidecars first.
    pub(crate) containers: Vec<ContainerSketch>,
}

#[derive(Clone, Debug)]
pub(crate) struct ContainerSketch {
    pub(crate) number: usize,
    pub(crate) role: Role,
    pub(crate) policy: Option<RestartPolicy>,
    pub(crate) rules: Vec<RestartRule>,
    pub(crate) grace: Option<Duration>,
    pub(crate) hooks: Hooks,
    pub(crate) probes: Probes,
    pub(crate) script: ContainerScript,
    pub(crate) detours: Vec<Detour>,
}

/// A plan with one pod of one container, from which all others are made: what a container is made
/// from does not matter here.
pub(crate) struct Template {
    plan: Plan,
    container: Container,
    pod: Pod,
    probe: Probe,
}

impl Template {
    pub(crate) fn new() -> Template {
        let text = "name = \"p0\"\n[[containers]]\nname = \"c0\"\nrootfs = \"/x\"\ncommand = [\"/x\"]\n\
                    readiness-probe = { exec = { command = [\"/x\"] } }\n";
        let source = Source { name: "template.toml".to_owned(), bytes: text.into() };
        let mut plan = config::load(None, &[source]).unwrap_or_else(|problems| panic!("{problems}"));
        let mut container = plan.containers.remove(0);
        let probe = core::mem::take(&mut container.probes).readiness.unwrap();
        let pod = plan.pods.remove(0);
        Template { container, pod, probe, plan }
    }
}

impl Sketch {
    pub(crate) fn random(seed: u64, template: &Template) -> Sketch {
        let random = &mut Random::new(seed);
        let calm = random.one_in(4);
        let pods = random.pick(&[1, 1, 1, 2, 2, 3, 4]);
        let most = [8, 8, 5, 4, 3][pods];
        let pods: Vec<PodSketch> =
            (0..pods).map(|number| pod(number, most, calm, random, template)).collect();
        let horizon = random.pick(&[200, 2000, 10_000, 40_000, 120_000]);
        let first = Duration::from_millis(random.between(0, horizon));
        let goals =
            [Goal::Exit, Goal::Exit, Goal::Exit, Goal::Reboot, Goal::PowerOff, Goal::Halt, Goal::Rescue];
        let mut stops = vec![(first, random.pick(&goals))];
        while random.one_in(3) && stops.len() < 3 {
            let (last, _) = stops[stops.len() - 1];
            stops.push((last + random.duration(40_000), random.pick(&goals)));
        }
        Sketch {
            pods,
            stops,
            tells_together: random.one_in(2),
            unready_limit: random.one_in(3).then(|| random.duration(60_000).max(Duration::from_secs(1))),
            runtime_timeout: random.pick(&[1, 5, 30].map(Duration::from_secs)),
            shutdown_timeout: random.pick(&[5, 60, 600].map(Duration::from_secs)),
        }
    }

    /// Plan and script of this world.
    pub(crate) fn build(&self, template: &Template) -> (Rc<Plan>, Script) {
        let mut plan = Plan { pods: Vec::new(), containers: Vec::new(), ..template.plan.clone() };
        let mut script = Script {
            stops: self.stops.iter().map(|(at, _)| Instant::ZERO.after(*at)).collect(),
            goals: self.stops.iter().map(|(_, goal)| *goal).collect(),
            tells_together: self.tells_together,
            detours_may_be_missed: true,
            ..Script::default()
        };
        plan.machine.runtime_timeout = self.runtime_timeout;
        plan.machine.shutdown_timeout = self.shutdown_timeout;
        plan.machine.watchdog = Some(Watchdog {
            device: "/dev/watchdog".into(),
            timeout: Duration::from_secs(30),
            unready_limit: self.unready_limit,
        });
        for pod in &self.pods {
            let position = |number: &usize| self.pods.iter().position(|pod| pod.number == *number);
            let id = |position: usize| PodId(u8::try_from(position).unwrap());
            let name = format!("p{}", pod.number);
            let first = plan.containers.len();
            let inits = pod.containers.iter().filter(|it| it.role != Role::Main).count();
            let at = |offset: usize| u16::try_from(first + offset).unwrap();
            plan.pods.push(Pod {
                name: name.clone(),
                restart_policy: pod.policy,
                termination_grace_period: pod.grace,
                restart_backoff: pod.backoff,
                after: pod.after.iter().filter_map(position).map(id).collect(),
                init_containers: at(0)..at(inits),
                main_containers: at(inits)..at(pod.containers.len()),
                essential: pod.essential,
                on_failure: pod.on_failure,
                ..template.pod.clone()
            });
            script.detours.extend(pod.detours.iter().map(|it| Detour { of: name.clone(), ..it.clone() }));
            script.pods.insert(name.clone(), pod.script.clone());
            for container in &pod.containers {
                let path = format!("{name}/c{}", container.number);
                let detours = container.detours.iter();
                script.detours.extend(detours.map(|it| Detour { of: path.clone(), ..it.clone() }));
                script.containers.insert(path, container.script.clone());
                plan.containers.push(Container {
                    name: format!("c{}", container.number),
                    pod: id(plan.pods.len() - 1),
                    role: container.role,
                    probes: container.probes.clone(),
                    hooks: container.hooks.clone(),
                    restart_policy: container.policy,
                    restart_policy_rules: container.rules.clone(),
                    termination_grace_period: container.grace,
                    ..template.container.clone()
                });
            }
        }
        (Rc::new(plan), script)
    }

    /// When all must have ended.
    ///
    /// Pods are stopped one after another at worst. Each has its grace period, two seconds more for
    /// what was told late, and then, if anything can go wrong with killing and removing, the time
    /// after which it is left behind. Its set-up and tear-down may be told of late.
    pub(crate) fn bound(&self) -> Instant {
        let rest = |pod: &PodSketch, grace: Duration| {
            let told_late: Duration =
                pod.detours.iter().flat_map(|detour| detour.arrives_after.first()).sum();
            let stuck = if pod.containers.iter().all(ContainerSketch::ends_at_once) {
                let removal = pod.containers.iter().map(|it| it.script.removal_takes).max();
                GRACE_MIN + removal.unwrap_or_default() * 2
            } else {
                Duration::from_secs(30)
            };
            grace + stuck + told_late + pod.script.set_up_takes + Duration::from_secs(2)
        };
        let all = |grace: fn(Duration) -> Duration| -> Duration {
            self.pods.iter().map(|pod| rest(pod, grace(pod.grace))).sum()
        };
        let first = Instant::ZERO.after(self.stops[0].0).after(all(|own| own));
        let second = self.stops.get(1).map(|(at, _)| {
            // What was set up or stopped before the second request may have its whole rest.
            Instant::ZERO.after(*at).after(all(|own| own.min(GRACE_MIN)))
        });
        let down = self.stops.iter().find(|(_, goal)| *goal != Goal::Exit);
        let down = down.map(|(at, _)| Instant::ZERO.after(*at).after(self.shutdown_timeout));
        [Some(first), second, down].into_iter().flatten().min().unwrap_or_default()
    }
}

impl ContainerSketch {
    /// Whether SIGKILL and removal work at once, and are told of.
    fn ends_at_once(&self) -> bool {
        let script = &self.script;
        self.detours.is_empty()
            && script.creates.is_empty()
            && script.starts.is_empty()
            && script.removals.is_empty()
            && !script.unkillable
            && script.killed_after <= Duration::from_millis(1)
    }
}

fn pod(number: usize, most: u64, calm: bool, random: &mut Random, template: &Template) -> PodSketch {
    let count = random.between(1, most);
    let inits = if random.one_in(3) { 0 } else { random.below(count) };
    let containers = (0..count).map(|position| {
        let role = match position < inits {
            true if random.one_in(2) => Role::Sidecar,
            true => Role::Init,
            false => Role::Main,
        };
        container(usize::try_from(position).unwrap(), role, calm, random, template)
    });
    let containers = containers.collect();
    let seconds = |random: &mut Random, choices: &[u64]| Duration::from_secs(random.pick(choices));
    let essential = random.one_in(4);
    let failures = [OnFailure::Nothing, OnFailure::Restart, OnFailure::Restart, OnFailure::Reboot];
    PodSketch {
        number,
        after: (0..number).filter(|_| random.one_in(2)).collect(),
        policy: random.pick(&[RestartPolicy::Always, RestartPolicy::OnFailure, RestartPolicy::Never]),
        grace: seconds(random, &[0, 1, 2, 3, 5, 10, 30]),
        backoff: Backoff {
            initial: seconds(random, &[0, 1, 2, 10]),
            max: seconds(random, &[0, 1, 5, 20, 300]),
            reset: seconds(random, &[1, 5, 20, 600]),
            jitter: random.pick(&[0, 0, 0, 100, 1000]),
        },
        essential,
        on_failure: if essential { random.pick(&failures) } else { OnFailure::Nothing },
        script: PodScript {
            set_up_takes: random.duration(20),
            set_up_fails: if calm || !random.one_in(8) { 0 } else { 1 },
            tear_down_fails: if calm || !random.one_in(8) { 0 } else { random.pick(&[1, 2, 3, 9]) },
        },
        detours: if calm || !random.one_in(10) {
            Vec::new()
        } else {
            vec![detour(random, &["set-up", "torn-down"])]
        },
        containers,
    }
}

/// Events of a container that may come late or twice. Not `probed` and `hook-ended`, which do not
/// say which try they are about: each is told once, and before anything that comes later in time.
const EVENTS: [&str; 7] =
    ["created", "create-failed", "started", "start-failed", "exited", "removed", "remove-failed"];

fn detour(random: &mut Random, events: &[&str]) -> Detour {
    Detour {
        of: String::new(),
        event: random.pick(events).to_owned(),
        nth: u32::try_from(random.between(1, 3)).unwrap(),
        arrives_after: random.one_to(2, |random| random.duration(20_000)),
    }
}

fn container(
    number: usize,
    role: Role,
    calm: bool,
    random: &mut Random,
    template: &Template,
) -> ContainerSketch {
    let mut script =
        ContainerScript {
            create_takes: random.duration(100),
            start_takes: random.duration(50),
            removal_takes: random.duration(100),
            runs: match role {
                Role::Init => Some(random.one_to(3, |random| Some(random.duration(5000)))),
                Role::Sidecar | Role::Main if random.one_in(2) => None,
                Role::Sidecar | Role::Main => {
                    Some(random.one_to(4, |random| {
                        if random.one_in(4) { None } else { Some(random.duration(30_000)) }
                    }))
                }
            },
            exits: random.one_to(4, status),
            oom_killed: random.one_to(3, |random| random.one_in(8)),
            ignores_sigterm: random.one_in(5),
            stops_after: random.duration(6000),
            stops_with: status(random),
            ..ContainerScript::default()
        };
    let probed = role != Role::Init;
    let probes = Probes {
        startup: (probed && random.one_in(4)).then(|| probe(random, template, true)),
        liveness: (probed && random.one_in(4)).then(|| probe(random, template, true)),
        readiness: (probed && random.one_in(4)).then(|| probe(random, template, false)),
        notify: None,
    };
    script.startup = random.some(2, answers);
    script.liveness = random.some(2, answers);
    script.readiness = random.some(2, answers);
    let mut detours = Vec::new();
    if !calm && random.one_in(3) {
        match random.below(8) {
            0 => script.creates = random.one_to(3, call_result),
            1 => script.starts = random.one_to(3, call_result),
            2 => script.removals = random.one_to(5, call_result),
            3 => script.dies_in_create = 2,
            4 => script.dies_in_start = 2,
            5 => script.killed_after = random.duration(45_000),
            6 => script.unkillable = true,
            _ => detours = random.one_to(3, |random| detour(random, &EVENTS)),
        }
    }
    let policies = [RestartPolicy::Always, RestartPolicy::OnFailure, RestartPolicy::Never];
    let policy = match role {
        Role::Sidecar => Some(RestartPolicy::Always),
        Role::Init | Role::Main => random.one_in(4).then(|| random.pick(&policies)),
    };
    let has_rules = policy.is_some() && role != Role::Sidecar && random.one_in(2);
    let hooks = Hooks {
        post_start: (probed && random.one_in(6)).then(|| hook(random, template)),
        pre_stop: (probed && random.one_in(6)).then(|| hook(random, template)),
    };
    script.post_start = random.one_to(3, hook_script);
    script.pre_stop = random.one_to(3, hook_script);
    ContainerSketch {
        number,
        role,
        policy,
        rules: if has_rules { random.one_to(2, rule) } else { Vec::new() },
        grace: random.one_in(5).then(|| random.duration(40_000)),
        hooks,
        probes,
        script,
        detours,
    }
}

fn status(random: &mut Random) -> ExitStatus {
    random.pick(&[
        ExitStatus::Code(0),
        ExitStatus::Code(0),
        ExitStatus::Code(1),
        ExitStatus::Signal(11),
        ExitStatus::Unknown,
    ])
}

fn rule(random: &mut Random) -> RestartRule {
    RestartRule {
        action: RestartAction::Restart,
        operator: random.pick(&[Operator::In, Operator::NotIn]),
        values: random.some(2, |random| random.pick(&[0, 1, 139])),
    }
}

fn hook(random: &mut Random, template: &Template) -> Hook {
    if random.one_in(2) {
        Hook::Sleep(random.duration(5000))
    } else {
        Hook::Ask(template.probe.check.clone())
    }
}

fn hook_script(random: &mut Random) -> HookScript {
    let takes = if random.one_in(6) { None } else { Some(random.duration(10_000)) };
    HookScript { takes, fails: random.one_in(4) }
}

fn call_result(random: &mut Random) -> CallResult {
    random.pick(&[
        CallResult::Works,
        CallResult::Fails,
        CallResult::FailsAtOnce,
        CallResult::Hangs,
        CallResult::OutrunsKill,
    ])
}

fn probe(random: &mut Random, template: &Template, has_one_success: bool) -> Probe {
    let seconds = |random: &mut Random, choices: &[u64]| Duration::from_secs(random.pick(choices));
    let count = |random: &mut Random| u32::try_from(random.between(1, 3)).unwrap();
    Probe {
        initial_delay: seconds(random, &[0, 0, 1, 5]),
        period: seconds(random, &[1, 2, 5, 10]),
        timeout: seconds(random, &[1, 1, 3]),
        success_threshold: if has_one_success { 1 } else { count(random) },
        failure_threshold: count(random),
        termination_grace_period: (has_one_success && random.one_in(4)).then(|| random.duration(40_000)),
        ..template.probe.clone()
    }
}

/// The answers of one run: at most three, from different ages on.
fn answers(random: &mut Random) -> <Answers as IntoIterator>::Item {
    let mut from = Duration::ZERO;
    random.one_to(3, |random| {
        let answer = random.pick(&[
            Answer::Is(Outcome::Success),
            Answer::Is(Outcome::Success),
            Answer::Is(Outcome::Failure),
            Answer::Is(Outcome::Error),
            Answer::Never,
        ]);
        let at = from;
        from += random.duration(20_000);
        (at, answer)
    })
}
