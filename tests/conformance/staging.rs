//! The world in which a case's pod is played: what its script and our configuration say beside the case.

use std::time::Duration;

use outrigger::config::plan::Plan;
use outrigger::simulator::script::{ContainerScript, Script};
use outrigger::supervisor::hook::HookKind;
use outrigger::supervisor::probe::ProbeKind;
use outrigger::supervisor::record::ExitStatus;
use serde_json::Value;

use super::answer::{answers, hook};
use super::behaviour::Behaviour;
use super::case::Case;
use super::pod::Shape;
use super::text::{duration, json_seconds, not_understood, split_remark};

/// Its key in a case.
pub(crate) fn hook_key(kind: HookKind) -> &'static str {
    match kind {
        HookKind::PostStart => "postStart",
        HookKind::PreStop => "preStop",
    }
}

/// ` gracePeriod=30s`.
pub(crate) fn grace_of(text: &str) -> Option<Duration> {
    duration(text.trim().strip_prefix("gracePeriod=")?)
}

/// What our configuration says of the pod beside what is in the case's pod.
pub(crate) fn shape(case: &Case) -> Result<Shape, String> {
    let mut shape = Shape::default();
    let config = case.part("config");
    let seconds = |key: &str| config.get(key).and_then(json_seconds).map(super::text::write_duration);
    if let (Some(initial), Some(max)) = (seconds("initial"), seconds("max")) {
        shape.pod_lines.push_str(&format!("restart-backoff = {{ initial = {initial:?}, max = {max:?} }}\n"));
    } else if !config.is_null() {
        return Err(not_understood(&format!("config {config}")));
    }
    if case.part("status") == "proposal" {
        // What no release does yet is ours behind a switch.
        shape.pod_lines.push_str("restart-sidecars-during-termination = true\n");
    }
    let deletes = case.actions.iter().filter_map(|it| split_remark(it).0.strip_prefix("delete pod"));
    shape.grace = deletes.filter_map(grace_of).next();
    Ok(shape)
}

/// How the world behaves.
pub(crate) fn script(plan: &Plan, containers: &[Value], behaviours: &[Behaviour]) -> Result<Script, String> {
    let mut script = Script::default();
    for (id, (container, behaviour)) in containers.iter().zip(behaviours).enumerate() {
        let path = format!("{}/{}", plan.pods[0].name, plan.containers[id].name);
        script.containers.insert(path, container_script(container, behaviour)?);
    }
    let never = |it: &Value| it["mounts"].as_str().is_some_and(|words| words.contains("never"));
    if containers.iter().any(never) {
        let pod = script.pods.entry(plan.pods[0].name.clone()).or_default();
        pod.set_up_fails = u32::MAX;
    }
    Ok(script)
}

fn container_script(container: &Value, behaviour: &Behaviour) -> Result<ContainerScript, String> {
    let mut script = ContainerScript {
        runs: Some(behaviour.runs.iter().map(|run| run.lasts).collect()),
        exits: behaviour.runs.iter().map(|run| ExitStatus::Code(run.exit)).collect(),
        oom_killed: behaviour.runs.iter().map(|run| run.oom_killed).collect(),
        start_delay: behaviour.run(0).start_delay,
        ignores_sigterm: behaviour.on_sigterm.is_none(),
        ..ContainerScript::default()
    };
    script.message.clone_from(&behaviour.run(0).message);
    if let Some(handler) = &behaviour.on_sigterm {
        script.stops_after = handler.takes;
        script.stops_with = ExitStatus::Code(handler.exit);
    }
    match container.get("image").and_then(Value::as_str) {
        None => {}
        // It is not there, however often it is looked for.
        Some("unpullable") => script.create_fails = u32::MAX,
        Some(image) => return Err(not_understood(&format!("image {image:?}"))),
    }
    for kind in [HookKind::PostStart, HookKind::PreStop] {
        let Some(it) = container.get(hook_key(kind)) else { continue };
        let goes = hook(it, behaviour)?.into_iter().collect();
        match kind {
            HookKind::PostStart => script.post_start = goes,
            HookKind::PreStop => script.pre_stop = goes,
        }
    }
    set_answers(&mut script, container, behaviour, false)?;
    Ok(script)
}

/// What it answers to its probes; `stopping`: after SIGTERM.
pub(crate) fn set_answers(
    script: &mut ContainerScript,
    container: &Value,
    behaviour: &Behaviour,
    stopping: bool,
) -> Result<(), String> {
    let of = |kind: ProbeKind| answers(&container[format!("{}Probe", kind.name())], behaviour, stopping);
    script.startup = of(ProbeKind::Startup)?;
    script.liveness = of(ProbeKind::Liveness)?;
    script.readiness = of(ProbeKind::Readiness)?;
    Ok(())
}
