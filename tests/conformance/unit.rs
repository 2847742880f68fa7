//! The kind `probe-unit`: which of its evaluators a case is for follows from what it gives and expects.

use outrigger::supervisor::action::ContainerAction;
use serde_json::{Value, json};

use super::case::Case;
use super::handler;
use super::pass::compare;
use super::pod::Shape;
use super::setting::{NOW, POD, Setting, pass, pass_with};
use super::text::{flag, not_understood};
use super::worker;
use outrigger::supervisor::event::{Event, Goal};
use outrigger::supervisor::pod::{PodState, PodStopReason};
use outrigger::supervisor::probe::{ProbeKind, Workers};
use outrigger::supervisor::status;

pub(crate) fn probe_unit(case: &Case, expected: &[String]) -> Result<(), String> {
    let input = case.part("input");
    let says = |start: &str| expected.iter().any(|text| text.starts_with(start));
    if says("workerContinues=") {
        return worker_continues(input, expected);
    }
    if says("worker: ") {
        return worker_step(input, expected);
    }
    let is_status = |text: &String| {
        super::text::key_value(text)
            .is_some_and(|(key, value)| (key == "started" || key == "ready") && flag(value).is_some())
    };
    if expected.iter().any(|text| text == "refused when it is read") {
        return refused(input, expected);
    }
    if expected.iter().all(is_status) {
        return started_and_ready(input, expected);
    }
    if input.get("server").is_some() || input.get("followNonLocalRedirects").is_some() {
        return handler::http(case, expected);
    }
    if case.title.starts_with("TCP probe") {
        return handler::tcp(case, expected);
    }
    match input.get("case").and_then(Value::as_str) {
        Some("no probe spec") => return without_probe(expected),
        Some("handler Warning") => return worker::warning(expected),
        Some(words) if case.title.starts_with("exec probe") || words.starts_with("handler ") => {
            return handler::exec(words, expected);
        }
        Some(_) | None => {}
    }
    if input.get("env").is_some() {
        return worker::expansion(case, expected);
    }
    worker::sequence(case, expected)
}

/// A container without probes is well as soon as it runs.
fn without_probe(expected: &[String]) -> Result<(), String> {
    let pod = json!({"containers": [{"name": "asked"}]});
    let probes = super::pod::plan(&pod, &Shape::default())?.containers[0].probes.clone();
    let workers = Workers::begin_instance(&probes, NOW);
    let well = workers.is_ready(&probes) && workers.failed(&probes).is_none();
    for text in expected {
        let wanted = text.strip_prefix("result: ").ok_or_else(|| not_understood(text))?;
        compare(text, &wanted, &if well { "Success" } else { "Failure" })?;
    }
    Ok(())
}

/// What the configuration cannot say.
fn refused(input: &Value, expected: &[String]) -> Result<(), String> {
    let words = input.get("case").and_then(Value::as_str).unwrap_or_default();
    let pod = if words == "no handler" {
        json!({"containers": [{"name": "asked", "readinessProbe": {"noHandler": true}}]})
    } else if words.starts_with("regular init") {
        json!({"initContainers": [{"name": "asked", "startupProbe": {}}], "containers": [{"name": "main"}]})
    } else if let Some(port) = input.get("port") {
        json!({"containers": [{"name": "asked", "readinessProbe": {"tcpSocket": {"port": port}}}]})
    } else {
        return Err(not_understood(&input.to_string()));
    };
    let refusal = super::pod::plan(&pod, &Shape { keeps_commands: true, ..Shape::default() });
    expected.iter().try_for_each(|text| compare(text, &true, &refusal.is_err()))
}

/// A container that has ended is probed again exactly if it is started again.
fn worker_continues(input: &Value, expected: &[String]) -> Result<(), String> {
    let given = |key: &str| input.get(key).filter(|it| !it.is_null()).cloned();
    let sidecar = input.get("sidecar") == Some(&Value::Bool(true));
    let mut asked = json!({"name": "asked", "readinessProbe": {}});
    if let Some(policy) = given("containerRestartPolicy") {
        asked["restartPolicy"] = policy;
    }
    if let Some(codes) = given("restartRuleExitCodesIn") {
        asked["restartPolicyRules"] =
            json!([{"action": "Restart", "exitCodes": {"operator": "In", "values": codes}}]);
    }
    if sidecar {
        asked["restartPolicy"] = "Always".into();
    }
    let (inits, mut mains) = if sidecar { (vec![asked], vec![]) } else { (vec![], vec![asked]) };
    // The pod goes on in either case.
    mains.push(json!({"name": "other"}));
    let policy = given("podRestartPolicy").unwrap_or("Always".into());
    let pod = json!({"restartPolicy": policy, "initContainers": inits, "containers": mains});
    let code = given("exitCode").unwrap_or(0.into());
    match input.get("state").and_then(Value::as_str) {
        None | Some("terminated") => {}
        Some(other) => return Err(not_understood(other)),
    }
    let mut setting = Setting::new(&pod, Shape::default())?;
    setting.set("asked", &json!({"state": "exited", "exitCode": code}))?;
    setting.set("other", &json!({"state": "running"}))?;
    let done = pass(&mut setting.supervisor(), &setting.names);
    let again = done.mains.iter().chain(&done.inits).any(|name| name == "asked");
    for text in expected {
        let wanted =
            text.strip_prefix("workerContinues=").and_then(flag).ok_or_else(|| not_understood(text))?;
        compare(text, &wanted, &again)?;
    }
    Ok(())
}

/// Which of the three probes of a container are asked, and what they say then.
fn worker_step(input: &Value, expected: &[String]) -> Result<(), String> {
    let policy = input.get("podRestartPolicy").cloned().unwrap_or("Always".into());
    let probe = json!({"periodSeconds": 1});
    let pod = json!({"restartPolicy": policy, "containers": [
        {"name": "asked", "livenessProbe": probe, "readinessProbe": probe},
        {"name": "other"},
    ]});
    let mut setting = Setting::new(&pod, Shape::default())?;
    let mut unknown = false;
    match input.get("state").and_then(Value::as_str) {
        Some("phase Failed" | "phase Succeeded") => {
            setting.pod.state = PodState::Ended { reason: PodStopReason::Completed, at: NOW };
        }
        Some("running") => {
            setting.set("asked", &json!({"state": "running"}))?;
            setting.set("other", &json!({"state": "running"}))?;
        }
        Some("other container only" | "no status" | "no container id" | "waiting") => {
            setting.set("other", &json!({"state": "running"}))?;
            unknown = true;
        }
        Some("terminated") => {
            let code = input.get("exitCode").cloned().unwrap_or(1.into());
            setting.set("asked", &json!({"state": "exited", "exitCode": code}))?;
            setting.set("other", &json!({"state": "running"}))?;
            unknown = true;
        }
        _ => return Err(not_understood("the state of the worker's container")),
    }
    let mut supervisor = setting.supervisor();
    if input.get("deletionRequested") == Some(&Value::Bool(true)) {
        supervisor.handle(Event::StopRequested(Goal::Exit), NOW);
    }
    // What is told to stop goes on for a while.
    let (done, supervisor) = pass_with(supervisor, &setting.names, false);
    let asked = |kind: ProbeKind| done.asked.contains(&("asked".to_owned(), ContainerAction::Probe(kind)));
    let any = ProbeKind::ALL.into_iter().any(asked);
    let goes_on = !matches!(supervisor.pod_record(POD).map(|it| &it.state), Some(PodState::Ended { .. }));
    for text in expected {
        match text.as_str() {
            "worker: worker ends" if unknown => {
                compare(text, &(false, false), &(any, done.mains.iter().any(|it| it == "asked")))?;
            }
            "worker: worker ends" => compare(text, &(false, false), &(any, goes_on))?,
            // Nothing is asked now, and its start is on the way.
            "worker: continue" if unknown => {
                compare(text, &(false, true), &(any, done.mains.iter().any(|it| it == "asked")))?;
            }
            "worker: continue" => compare(text, &true, &any)?,
            "worker: readiness continues; liveness and startup workers end" => {
                compare(text, &(true, false), &(asked(ProbeKind::Readiness), asked(ProbeKind::Liveness)))?;
            }
            "result: Failure" if unknown => {
                let view = supervisor.view(POD).unwrap();
                let asked = view.mains().next().unwrap();
                compare(text, &false, &outrigger::supervisor::phase::is_container_ready(&asked))?;
            }
            "result: no result" => compare(text, &false, &any)?,
            "result: Success" => {
                let record = &supervisor.record(super::pod::find(&setting.plan, "asked")?).unwrap().probes;
                compare(
                    text,
                    &"Success",
                    &format!("{:?}", record.worker(ProbeKind::Readiness).verdict()).as_str(),
                )?;
            }
            _ => return Err(not_understood(text)),
        }
    }
    Ok(())
}

/// `running, startup Success, no readiness probe`: what the status says then.
fn started_and_ready(input: &Value, expected: &[String]) -> Result<(), String> {
    let words = input.get("case").and_then(Value::as_str).unwrap_or_default();
    let mut parts: Vec<&str> = words.split(',').map(str::trim).collect();
    let is_init = input.get("sidecar").is_some();
    let sidecar = input.get("sidecar") == Some(&Value::Bool(true));
    if is_init && !parts.is_empty() {
        let role = parts.remove(0);
        compare("its role", &if sidecar { "sidecar" } else { "regular init" }, &role)?;
    }
    let mut known = json!({});
    let mut shape = Shape::default();
    for part in parts {
        let words: Vec<&str> = part.split(' ').collect();
        match words.as_slice() {
            ["running"] => known["state"] = "running".into(),
            ["waiting"] => known["state"] = "waiting".into(),
            ["terminated"] => known = json!({"state": "exited", "exitCode": 0}),
            ["terminated", "exit", code] => {
                let code: u8 = code.parse().map_err(|_| not_understood(part))?;
                known = json!({"state": "exited", "exitCode": code});
            }
            ["no", "readiness" | "startup" | "liveness", "probe" | "probes"]
            | ["no", "probe" | "probes"]
            | ["started"] => {}
            ["no", "status"] => known = json!({"state": "waiting"}),
            [kind, "pending"] | [kind, "result", "pending" | "missing"] | ["no", kind, "result"] => {
                shape
                    .probes
                    .push(("asked".to_owned(), probe_kind(kind).ok_or_else(|| not_understood(part))?));
            }
            [kind, "result", result] | [kind, result] => {
                shape
                    .probes
                    .push(("asked".to_owned(), probe_kind(kind).ok_or_else(|| not_understood(part))?));
                known[*kind] = (*result).into();
            }
            _ => return Err(not_understood(part)),
        }
    }
    let mut asked = json!({"name": "asked"});
    if sidecar {
        asked["restartPolicy"] = "Always".into();
    }
    let mains = if is_init { json!([{"name": "main"}]) } else { json!([asked]) };
    let inits = if is_init { json!([asked]) } else { json!([]) };
    let mut setting = Setting::new(&json!({"initContainers": inits, "containers": mains}), shape)?;
    setting.set("asked", &known)?;
    let supervisor = setting.supervisor();
    let view = supervisor.view(POD).unwrap();
    let member = view.members().next().unwrap();
    let actual = status::container_status(&view, &member);
    for text in expected {
        let (key, value) = text.split_once('=').ok_or_else(|| not_understood(text))?;
        let wanted = flag(value).ok_or_else(|| not_understood(text))?;
        match key {
            "started" => compare(text, &wanted, &actual.started)?,
            "ready" => compare(text, &wanted, &actual.ready)?,
            _ => return Err(not_understood(text)),
        }
    }
    Ok(())
}

fn probe_kind(word: &str) -> Option<ProbeKind> {
    ProbeKind::ALL.into_iter().find(|kind| kind.name() == word)
}
