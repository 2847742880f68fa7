//! Cutting a world down to what still breaks the same invariant.

use outrigger::config::plan::{Hooks, OnFailure, Probes, Role};
use outrigger::simulator::script::{ContainerScript, PodScript};

use crate::sketch::{ContainerSketch, PodSketch, Sketch};

/// The smallest world that is found by leaving things out one by one, as long as `fails` holds.
pub(crate) fn shrink(sketch: &Sketch, fails: impl Fn(&Sketch) -> bool) -> Sketch {
    let mut smallest = sketch.clone();
    loop {
        let Some(smaller) = candidates(&smallest).into_iter().find(|it| fails(it)) else { return smallest };
        smallest = smaller;
    }
}

/// All worlds with one thing less, the largest things first.
fn candidates(sketch: &Sketch) -> Vec<Sketch> {
    let mut all = Vec::new();
    let mut push = |change: &dyn Fn(&mut Sketch)| {
        let mut smaller = sketch.clone();
        change(&mut smaller);
        if weight(&smaller) < weight(sketch) {
            all.push(smaller);
        }
    };
    for at in 0..sketch.pods.len() {
        if sketch.pods.len() > 1 {
            push(&|it| drop(it.pods.remove(at)));
        }
    }
    for at in 1..sketch.stops.len() {
        push(&|it| {
            it.stops.remove(at);
        });
    }
    push(&|it| it.unready_limit = None);
    push(&|it| it.tells_together = false);
    for (at, pod) in sketch.pods.iter().enumerate() {
        let mains = pod.containers.iter().filter(|it| it.role == Role::Main).count();
        for (inner, container) in pod.containers.iter().enumerate() {
            if container.role != Role::Main || mains > 1 {
                push(&|it| drop(it.pods[at].containers.remove(inner)));
            }
        }
        push(&|it| it.pods[at].after.clear());
        push(&|it| it.pods[at].detours.clear());
        push(&|it| it.pods[at].script = PodScript::default());
        push(&|it| it.pods[at].on_failure = OnFailure::Nothing);
        push(&|it| it.pods[at].essential = it.pods[at].on_failure != OnFailure::Nothing);
        for inner in 0..pod.containers.len() {
            let cut = |change: fn(&mut ContainerSketch)| {
                move |it: &mut Sketch| change(&mut it.pods[at].containers[inner])
            };
            push(&cut(|it| it.script = ContainerScript::default()));
            push(&cut(|it| it.hooks = Hooks::default()));
            push(&cut(|it| it.hooks.post_start = None));
            push(&cut(|it| it.hooks.pre_stop = None));
            push(&cut(|it| it.rules.clear()));
            push(&cut(|it| it.grace = None));
            push(&cut(|it| it.probes = Probes::default()));
            push(&cut(|it| it.probes.startup = None));
            push(&cut(|it| it.probes.liveness = None));
            push(&cut(|it| it.probes.readiness = None));
            push(&cut(|it| it.detours.truncate(1)));
            push(&cut(|it| it.detours.clear()));
            push(&cut(|it| it.script.runs = ContainerScript::default().runs));
            push(&cut(|it| it.script.exits.truncate(1)));
            push(&cut(|it| it.script.exits = ContainerScript::default().exits));
            push(&cut(|it| it.script.oom_killed = ContainerScript::default().oom_killed));
            push(&cut(|it| it.script.ignores_sigterm = false));
            push(&cut(|it| it.script.stops_after = ContainerScript::default().stops_after));
            push(&cut(|it| it.script.stops_with = ContainerScript::default().stops_with));
            push(&cut(|it| it.script.create_takes = ContainerScript::default().create_takes));
            push(&cut(|it| it.script.start_takes = ContainerScript::default().start_takes));
            push(&cut(|it| it.script.removal_takes = ContainerScript::default().removal_takes));
            push(&cut(|it| it.script.post_start.clear()));
            push(&cut(|it| it.script.pre_stop.clear()));
            push(&cut(|it| it.script.startup.clear()));
            push(&cut(|it| it.script.liveness.clear()));
            push(&cut(|it| it.script.readiness.clear()));
        }
    }
    all
}

/// How much there is in a world that could be left out.
fn weight(sketch: &Sketch) -> usize {
    let fixed = sketch.stops.len() + usize::from(sketch.tells_together);
    fixed + usize::from(sketch.unready_limit.is_some()) + sketch.pods.iter().map(weight_of_pod).sum::<usize>()
}

fn weight_of_pod(pod: &PodSketch) -> usize {
    let differs = differing(&pod.script, &PodScript::default());
    let escalates = usize::from(pod.essential) + usize::from(pod.on_failure != OnFailure::Nothing);
    let containers: usize = pod.containers.iter().map(weight_of_container).sum();
    100 + pod.after.len() + pod.detours.len() + differs + escalates + containers
}

fn weight_of_container(container: &ContainerSketch) -> usize {
    let Probes { startup, liveness, readiness, notify: _ } = &container.probes;
    let probes = [startup, liveness, readiness].into_iter().flatten().count();
    let Hooks { post_start, pre_stop } = &container.hooks;
    let hooks = [post_start, pre_stop].into_iter().flatten().count();
    let differs = differing(&container.script, &ContainerScript::default());
    let own = container.rules.len() + usize::from(container.grace.is_some()) + hooks;
    10 + own + probes + container.detours.len() + differs + container.script.exits.len()
}

/// Lines of the two that differ, in their debug form.
fn differing<T: std::fmt::Debug>(one: &T, other: &T) -> usize {
    differences(one, other).len()
}

/// What `one` has and `other` has not, field by field in its debug form.
pub(crate) fn differences<T: std::fmt::Debug>(one: &T, other: &T) -> Vec<String> {
    let fields = |it: &T| -> Vec<String> {
        let text = format!("{it:#?}");
        // A field begins with four blanks; what is deeper belongs to it.
        let mut fields: Vec<String> = Vec::new();
        for line in text.lines().skip(1) {
            match (line.starts_with("     ") || line.starts_with("    ]"), fields.last_mut()) {
                (true, Some(field)) => field.push_str(line.trim()),
                _ => fields.push(line.trim().to_owned()),
            }
        }
        fields
    };
    let others = fields(other);
    fields(one).into_iter().filter(|field| !others.contains(field)).collect()
}

/// A world in words: a line for each pod and container, with what is not as usual.
pub(crate) fn describe(sketch: &Sketch) -> String {
    let mut text = format!(
        "stops {:?}, tells-together {}, unready-limit {:?}, runtime-timeout {:?}, shutdown-timeout {:?}\n",
        sketch.stops,
        sketch.tells_together,
        sketch.unready_limit,
        sketch.runtime_timeout,
        sketch.shutdown_timeout
    );
    for pod in &sketch.pods {
        let odd = differences(&pod.script, &PodScript::default()).join(" ");
        let backoff = (pod.backoff.initial, pod.backoff.max, pod.backoff.reset);
        text.push_str(&format!(
            "pod p{}: after {:?}, policy {:?}, grace {:?}, back-off {backoff:?}, essential {}, on-failure {:?} {odd}\n",
            pod.number, pod.after, pod.policy, pod.grace, pod.essential, pod.on_failure
        ));
        for detour in &pod.detours {
            text.push_str(&format!(
                "    {} {} arrives after {:?}\n",
                detour.event, detour.nth, detour.arrives_after
            ));
        }
        for container in &pod.containers {
            let odd = differences(&container.script, &ContainerScript::default()).join(" ");
            text.push_str(&format!("  {:?} c{}: {odd}\n", container.role, container.number));
            let (policy, rules, grace) = (container.policy, &container.rules, container.grace);
            if policy.is_some() || grace.is_some() {
                text.push_str(&format!("    policy {policy:?}, rules {rules:?}, grace {grace:?}\n"));
            }
            let Hooks { post_start, pre_stop } = &container.hooks;
            for (kind, hook) in [("post-start", post_start), ("pre-stop", pre_stop)] {
                if let Some(hook) = hook {
                    text.push_str(&format!("    {kind}: {hook:?}\n"));
                }
            }
            for detour in &container.detours {
                let (event, nth, after) = (&detour.event, detour.nth, &detour.arrives_after);
                text.push_str(&format!("    {event} {nth} arrives after {after:?}\n"));
            }
            let Probes { startup, liveness, readiness, notify: _ } = &container.probes;
            for (kind, probe) in [("startup", startup), ("liveness", liveness), ("readiness", readiness)] {
                if let Some(probe) = probe {
                    text.push_str(&format!(
                        "    {kind}: delay {:?}, period {:?}, timeout {:?}, thresholds {}/{}\n",
                        probe.initial_delay,
                        probe.period,
                        probe.timeout,
                        probe.success_threshold,
                        probe.failure_threshold
                    ));
                }
            }
        }
    }
    text
}
