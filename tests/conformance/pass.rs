//! What the supervisor decides when it sees a pod as the case says: the kinds `decision`,
//! `restart-decision` and `init-failed`.

use outrigger::supervisor::event::{Event, Goal};
use outrigger::supervisor::pod::{PodState, PodStopReason};
use outrigger::supervisor::probe::ProbeKind;
use outrigger::time::Instant;
use serde_json::{Value, json};

use super::case::Case;
use super::pod::Shape;
use super::setting::{Done, NOW, Setting, pass};
use super::text::{flag, key_value, list, not_understood};

/// Whether something is as expected.
pub(crate) fn compare<T: PartialEq + std::fmt::Debug>(text: &str, expected: &T, actual: &T) -> Result<(), String> {
    if expected == actual { Ok(()) } else { Err(format!("expected {text}, but it is {actual:?}")) }
}

pub(crate) fn decision(case: &Case, expected: &[String]) -> Result<(), String> {
    let state = case.part("state");
    let none = serde_json::Map::new();
    let containers = state.get("containers").and_then(Value::as_object).unwrap_or(&none);
    let mut shape = Shape::default();
    for (name, known) in containers {
        for kind in ProbeKind::ALL {
            if known.get(kind.name()).is_some_and(|it| !it.is_null()) {
                shape.probes.push((name.clone(), kind));
            }
        }
    }
    let mut setting = Setting::new(case.part("pod"), shape)?;
    match state.get("sandbox") {
        Some(Value::Object(sandbox)) if sandbox.get("ready") == Some(&Value::Bool(true)) => {}
        // Never made, or no longer usable.
        Some(Value::Object(_) | Value::Null) => setting.pod.state = PodState::Waiting { try_at: Instant::ZERO },
        _ => return Err(not_understood("the state has no `sandbox`")),
    }
    for (name, known) in containers {
        setting.set(name, known)?;
    }
    let done = pass(&mut setting.supervisor(), &setting.names);
    expected.iter().try_for_each(|text| check_decision(text, &done))
}

fn check_decision(text: &str, done: &Done) -> Result<(), String> {
    let not_understood = || not_understood(text);
    let (key, value) = key_value(text).ok_or_else(not_understood)?;
    let names = || list(value).ok_or_else(not_understood);
    let wanted = || flag(value).ok_or_else(not_understood);
    let compare_names = |actual: &[String]| {
        let actual: Vec<&str> = actual.iter().map(String::as_str).collect();
        compare(text, &names()?, &actual)
    };
    match key {
        // Before a pod is set up whatever is left of it is removed.
        "killPod" => compare(text, &wanted()?, &(done.stopped.is_some() || done.set_up)),
        "createSandbox" => compare(text, &wanted()?, &done.set_up),
        "startInit" => compare_names(&done.inits),
        "start" => compare_names(&done.mains),
        "kill" => compare_names(&done.killed),
        _ => Err(not_understood()),
    }
}

pub(crate) fn restart_decision(case: &Case, expected: &[String]) -> Result<(), String> {
    let input = case.part("input");
    let pod = json!({
        "restartPolicy": input.get("podRestartPolicy").unwrap_or(&Value::Null),
        "containers": [{"name": "asked"}, {"name": "other"}],
    });
    let word = input.get("state").and_then(Value::as_str).unwrap_or_default();
    let word = word.strip_suffix(" (latest record)").unwrap_or(word);
    let known = match word.split_once(' ') {
        Some(("never", "started")) => None,
        Some(("unknown", "state")) => Some(json!({"state": "unknown"})),
        Some(("exited", code)) => {
            let code: u8 = code.parse().map_err(|_| not_understood(word))?;
            Some(json!({"state": "exited", "exitCode": code}))
        }
        None if word == "running" || word == "created" => Some(json!({"state": word})),
        Some(_) | None => return Err(not_understood(&format!("state {word:?}"))),
    };
    for text in expected {
        let (deleted, rest) = match text.strip_prefix("after deletion was requested: ") {
            Some(rest) => (true, rest),
            None => (false, text.as_str()),
        };
        let wanted = rest.strip_prefix("restart=").and_then(flag).ok_or_else(|| not_understood(text))?;
        let mut setting = Setting::new(&pod, Shape::default())?;
        // The pod goes on whatever becomes of the one that is asked about.
        setting.set("other", &json!({"state": "running"}))?;
        if let Some(known) = &known {
            setting.set("asked", known)?;
        }
        let mut supervisor = setting.supervisor();
        if deleted {
            supervisor.handle(Event::StopRequested(Goal::Exit), NOW);
        }
        let done = pass(&mut supervisor, &setting.names);
        compare(text, &wanted, &done.mains.iter().any(|name| name == "asked"))?;
    }
    Ok(())
}

pub(crate) fn init_failed(case: &Case, expected: &[String]) -> Result<(), String> {
    // Whether it has failed shows where a failure is final.
    let pod = json!({
        "restartPolicy": "Never",
        "initContainers": [{"name": "asked"}],
        "containers": [{"name": "main"}],
    });
    let mut setting = Setting::new(&pod, Shape::default())?;
    setting.set("asked", case.part("input"))?;
    let done = pass(&mut setting.supervisor(), &setting.names);
    for text in expected {
        let wanted = text.strip_prefix("failed=").and_then(flag).ok_or_else(|| not_understood(text))?;
        compare(text, &wanted, &matches!(done.stopped, Some(PodStopReason::InitFailed(_))))?;
    }
    Ok(())
}
