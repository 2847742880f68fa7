//! What the supervisor decides when it sees a pod as the case says: the kinds `decision`,
//! `restart-decision`, `init-failed` and `sync-sequence`.

use outrigger::config::plan::ContainerId;
use outrigger::supervisor::event::{Event, Goal};
use outrigger::supervisor::kept::Kept;
use outrigger::supervisor::pod::{PodState, PodStopReason};
use outrigger::supervisor::probe::ProbeKind;
use outrigger::supervisor::record::{Cause, Record};
use outrigger::time::Instant;
use serde_json::{Value, json};

use super::case::Case;
use super::play::Play;
use super::pod::Shape;
use super::setting::{Done, NOW, Setting, pass};
use super::text::{flag, key_value, list, not_understood};

/// Whether something is as expected.
pub(crate) fn compare<T: PartialEq + std::fmt::Debug>(
    text: &str,
    expected: &T,
    actual: &T,
) -> Result<(), String> {
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
    if let Some(of_sandbox) = state.get("containersOfActiveSandbox").and_then(Value::as_object) {
        for (name, known) in of_sandbox {
            setting.set(name, known)?;
        }
        return check_initialized(&setting, expected);
    }
    let mut lost = false;
    match state.get("sandbox") {
        Some(Value::Object(sandbox)) if sandbox.get("ready") == Some(&Value::Bool(true)) => {}
        // Never made, or no longer usable.
        Some(Value::Object(_) | Value::Null) => {
            setting.pod.state = PodState::Waiting { try_at: Instant::ZERO };
            lost = true;
        }
        _ => return Err(not_understood("the state has no `sandbox`")),
    }
    let mut changed = Vec::new();
    let mut kept = vec![Kept::default(); setting.names.len()];
    for (name, known) in containers {
        if name.ends_with(" (older record)") {
            // Of each container we keep one record.
            continue;
        }
        setting.set(name, known)?;
        let id = super::pod::find(&setting.plan, name)?;
        let exit = match setting.records[id.index()].state.end().map(|end| end.cause) {
            Some(Cause::Exit { exit, .. }) => Some(exit),
            _ => None,
        };
        kept[id.index()] = Kept { restarts: 0, ran: true, exit };
        if known.get("specChanged") == Some(&Value::Bool(true)) {
            changed.push(id);
        }
    }
    if lost {
        // A pod loses what it has outside of containers only together with its supervisor.
        setting.records.fill(Record::default());
    }
    if state.get("allContainersRestarting") == Some(&Value::Bool(true)) {
        // Which container asked for it plays no part any more.
        setting.pod.state = PodState::RestartingAll { by: ContainerId(0), since: NOW };
    }
    let mut supervisor = setting.supervisor();
    if lost && !containers.is_empty() {
        supervisor.restore(super::setting::POD, &kept, false, NOW);
    }
    for id in changed {
        supervisor.handle(Event::ContainerChanged(id), NOW);
    }
    let done = pass(&mut supervisor, &setting.names);
    expected.iter().try_for_each(|text| check_decision(text, &done))
}

/// `removed=[a(kill), b]`: which of the records that are given up have to be stopped for that.
fn check_removed(text: &str, listed: &[&str], done: &Done) -> Result<(), String> {
    let own = listed.iter().filter(|name| !name.ends_with(" (older record)"));
    let mut wanted: Vec<&str> = own.filter_map(|name| name.strip_suffix("(kill)")).collect();
    let mut actual: Vec<&str> = done.killed.iter().map(String::as_str).collect();
    wanted.sort_unstable();
    actual.sort_unstable();
    compare(text, &wanted, &actual)
}

/// `podHasInitialized=true`: whether a main container was started since the pod was set up.
fn check_initialized(setting: &Setting, expected: &[String]) -> Result<(), String> {
    let supervisor = setting.supervisor();
    let view = supervisor.view(super::setting::POD).unwrap();
    for text in expected {
        let wanted =
            text.strip_prefix("podHasInitialized=").and_then(flag).ok_or_else(|| not_understood(text))?;
        compare(text, &wanted, &outrigger::supervisor::phase::has_initialized(&view))?;
    }
    Ok(())
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
        "removed" => check_removed(text, &names()?, done),
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

/// `pass 3 (init1 exited 0): records = [init1 attempt 0 exited, foo1 attempt 0 running]`: several looks at a
/// pod that comes up.
pub(crate) fn sequence(case: &Case, expected: &[String]) -> Result<(), String> {
    let mut pod = case.part("pod").clone();
    // Whatever is to end ends when the case says so.
    for key in ["initContainers", "containers"] {
        for container in pod[key].as_array_mut().into_iter().flatten() {
            container["command"] = "long-running".into();
        }
    }
    let mut body = case.body.clone();
    body["pod"] = pod;
    let mut play = Play::new(&Case { body, ..case.clone() })?;
    for text in expected {
        let not = || not_understood(text);
        let (head, wanted) = text.split_once(": ").ok_or_else(not)?;
        let event = head.split_once(" (").and_then(|(_, rest)| rest.strip_suffix(')'));
        match event.map(|event| event.split(' ').collect::<Vec<_>>()).as_deref() {
            None | Some([_, "still", "running"]) => {}
            Some([name, "exited", code]) => play.end_container(name, code.parse().map_err(|_| not())?)?,
            Some(_) => return Err(not()),
        }
        play.settle()?;
        let records = play.records();
        if wanted != "records unchanged" {
            let wanted = wanted.strip_prefix("records = ").and_then(list).ok_or_else(not)?;
            let actual: Vec<&str> = records.iter().map(String::as_str).collect();
            compare(text, &wanted, &actual)?;
        }
        if let Some(before) =
            play.last_records.replace(records.clone()).filter(|_| wanted == "records unchanged")
        {
            compare(text, &before, &records)?;
        }
    }
    Ok(())
}

/// Whether a pod has been active for too long.
pub(crate) fn deadline(case: &Case, expected: &[String]) -> Result<(), String> {
    let input = case.part("input");
    let pod = json!({
        "activeDeadlineSeconds": input.get("activeDeadlineSeconds"),
        "containers": [{"name": "main"}],
    });
    let mut setting = Setting::new(&pod, Shape::default())?;
    setting.set("main", &json!({"state": "running"}))?;
    setting.pod.start_time = match input.get("startTime") {
        None | Some(Value::Null) => None,
        Some(text) => {
            let ago = text.as_str().and_then(|it| it.strip_suffix(" ago")).and_then(super::text::duration);
            let ago = ago.ok_or_else(|| not_understood(&format!("startTime {text}")))?;
            let nanos = u64::try_from(ago.as_nanos()).unwrap_or(u64::MAX);
            Some(Instant::from_nanos(NOW.as_nanos().saturating_sub(nanos)))
        }
    };
    let mut supervisor = setting.supervisor();
    let done = pass(&mut supervisor, &setting.names);
    let view = supervisor.view(super::setting::POD).unwrap();
    let reason = outrigger::supervisor::status::pod_status(&view).reason.map(|reason| reason.name());
    for text in expected {
        match key_value(text) {
            Some(("expired", value)) => {
                let wanted = flag(value).ok_or_else(|| not_understood(text))?;
                compare(text, &wanted, &(done.stopped == Some(PodStopReason::DeadlineExceeded)))?;
            }
            Some(("reason", value)) => compare(text, &Some(value), &reason)?,
            Some(_) | None => return Err(not_understood(text)),
        }
    }
    Ok(())
}
