//! The phase of a pod whose containers are as the case says.

use outrigger::supervisor::phase;
use outrigger::supervisor::pod::{PodState, PodStopReason};
use outrigger::supervisor::probe::ProbeKind;
use serde_json::Value;

use super::case::Case;
use super::pass::compare;
use super::pod::Shape;
use super::setting::{NOW, POD, Setting, pass};
use super::text::not_understood;

pub(crate) fn phase(case: &Case, expected: &[String]) -> Result<(), String> {
    let (pod, state) = (case.part("pod"), case.part("state"));
    let names = |key: &str| -> Vec<String> {
        let list = pod.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
        list.iter().filter_map(|it| it.get("name")?.as_str().map(str::to_owned)).collect()
    };
    let (inits, mut mains) = (names("initContainers"), names("containers"));
    let is_sidecar = |name: &str| {
        let inits = pod.get("initContainers").and_then(Value::as_array);
        inits.is_some_and(|all| all.iter().any(|it| it["name"] == name && it.get("restartPolicy") == Some(&"Always".into())))
    };
    let mut shape = Shape::default();
    let mut known: Vec<(String, Value)> = Vec::new();
    for key in ["initContainerStatuses", "containerStatuses", "statuses"] {
        for status in state.get(key).and_then(Value::as_array).into_iter().flatten() {
            let name = status.get("name").and_then(Value::as_str).ok_or("a status has no name")?;
            let taken = |name: &String| known.iter().any(|(it, _)| it == name);
            let name = if taken(&name.to_owned()) {
                // A name that stands twice is that of the next container without a status.
                inits.iter().chain(&mains).find(|it| !taken(it)).cloned().ok_or("a status too many")?
            } else {
                name.to_owned()
            };
            if !inits.contains(&name) && !mains.contains(&name) {
                // A pod of ours has at least one main container.
                mains.push(name.clone());
                shape.more_mains.push(name.clone());
            }
            known.push((name, status.clone()));
        }
    }
    let bool_of = |value: &Value, key: &str| value.get(key).and_then(Value::as_bool).unwrap_or(false);
    let mut sidecar_pending = false;
    for name in inits.iter().filter(|name| is_sidecar(name)) {
        let status = known.iter().find(|(it, _)| it == name).map(|(_, status)| status);
        let started = status.is_some_and(|status| bool_of(status, "started"));
        if !started {
            shape.probes.push((name.clone(), ProbeKind::Startup));
        }
        let down = status.is_some_and(|it| it["state"] == "terminated" || it.get("lastExitCode").is_some());
        sidecar_pending |= !started && !down;
    }
    let mut setting = Setting::new(pod, shape)?;
    // What main containers did before the pod was set up anew is not in our records any more. Without a
    // sidecar that is on its way the cases say nothing about it.
    let anew = !bool_of(state, "podHasInitialized") && sidecar_pending;
    for (name, status) in &known {
        if !(anew && mains.contains(name)) {
            setting.set(name, status)?;
        }
    }
    if bool_of(state, "podIsTerminal") {
        setting.pod.state = PodState::Ended { reason: PodStopReason::Requested, at: NOW };
    }
    let mut supervisor = setting.supervisor();
    // A phase that is final follows at once where nothing of the pod runs any more.
    pass(&mut supervisor);
    let actual = phase::phase(&supervisor.view(POD).unwrap()).name();
    for text in expected {
        let wanted = text.strip_prefix("phase=").ok_or_else(|| not_understood(text))?;
        compare(text, &wanted, &actual)?;
    }
    Ok(())
}
