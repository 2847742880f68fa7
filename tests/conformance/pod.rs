//! A pod as Kubernetes writes it, through our own configuration to a plan.

use std::fmt::Write as _;
use std::rc::Rc;
use std::time::Duration;

use outrigger::config::plan::{ContainerId, Plan};
use outrigger::config::{self, Source};
use outrigger::supervisor::probe::ProbeKind;
use serde_json::Value;

use super::text::{json_seconds, write_duration};

/// The name of the one pod of a case.
const POD: &str = "pod";

/// How the pod of a case is made into ours.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shape {
    /// Lines for the pod's own table.
    pub pod_lines: String,
    /// Probes that containers get unless they have them: container, and which.
    pub probes: Vec<(String, ProbeKind)>,
    /// Main containers beside those of the case.
    pub more_mains: Vec<String>,
    /// The pod's grace period, whatever the case says.
    pub grace: Option<Duration>,
    /// Whether the commands of exec probes are those of the case.
    pub keeps_commands: bool,
}

/// The containers of a case's pod, init containers first.
pub(crate) fn containers_of(pod: &Value) -> Vec<Value> {
    let list = |key: &str| pod.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    [list("initContainers"), list("containers")].concat()
}

/// Their names, as the case has them.
pub(crate) fn names_of(pod: &Value) -> Vec<String> {
    containers_of(pod).iter().filter_map(|it| it.get("name")?.as_str().map(str::to_owned)).collect()
}

/// A name as ours have to be.
pub(crate) fn our_name(name: &str) -> String {
    name.to_lowercase()
}

/// A plan with the pod of a case.
pub(crate) fn plan(pod: &Value, shape: &Shape) -> Result<Rc<Plan>, String> {
    let text = toml(pod, shape)?;
    let source = Source { name: "pod.toml".to_owned(), bytes: text.clone().into_bytes() };
    match config::load(None, &[source]) {
        Ok(plan) => Ok(Rc::new(plan)),
        Err(problems) => Err(format!("the pod is refused:\n{problems}\n{text}")),
    }
}

/// The container of a name.
pub(crate) fn find(plan: &Plan, name: &str) -> Result<ContainerId, String> {
    let position = plan.containers.iter().position(|container| container.name == our_name(name));
    let position = position.ok_or(format!("there is no container `{name}`"))?;
    Ok(ContainerId(u16::try_from(position).unwrap()))
}

fn toml(pod: &Value, shape: &Shape) -> Result<String, String> {
    let mut text = format!("name = {POD:?}\n");
    if let Some(policy) = pod.get("restartPolicy") {
        writeln!(text, "restart-policy = {:?}", policy_word(policy)?).unwrap();
    }
    let given = |key: &str| pod.get(key).filter(|value| !value.is_null()).map(duration).transpose();
    let grace = shape.grace.map(write_duration);
    if let Some(grace) = grace.map_or_else(|| given("terminationGracePeriodSeconds"), |it| Ok(Some(it)))? {
        writeln!(text, "termination-grace-period = {grace:?}").unwrap();
    }
    if let Some(deadline) = given("activeDeadlineSeconds")? {
        writeln!(text, "active-deadline = {deadline:?}").unwrap();
    }
    text.push_str(&shape.pod_lines);
    let none = Vec::new();
    let list = |key: &str| pod.get(key).and_then(Value::as_array).unwrap_or(&none);
    for init in list("initContainers") {
        text.push_str("\n[[init-containers]]\n");
        container(&mut text, init, shape)?;
    }
    for main in list("containers") {
        text.push_str("\n[[containers]]\n");
        container(&mut text, main, shape)?;
    }
    for name in &shape.more_mains {
        let name = our_name(name);
        write!(text, "\n[[containers]]\nname = {name:?}\nrootfs = \"/image\"\ncommand = [\"run\"]\n")
            .unwrap();
    }
    Ok(text)
}

fn policy_word(policy: &Value) -> Result<&'static str, String> {
    match policy.as_str() {
        Some("Always") => Ok("always"),
        Some("OnFailure") => Ok("on-failure"),
        Some("Never") => Ok("never"),
        _ => Err(format!("not understood: restartPolicy {policy}")),
    }
}

fn duration(value: &Value) -> Result<String, String> {
    json_seconds(value).map(write_duration).ok_or(format!("not understood: {value} seconds"))
}

fn container(text: &mut String, container: &Value, shape: &Shape) -> Result<(), String> {
    let name = container.get("name").and_then(Value::as_str).ok_or("a container has no name")?;
    writeln!(text, "name = {:?}\nrootfs = \"/image\"\ncommand = [\"run\"]", our_name(name)).unwrap();
    if let Some(policy) = container.get("restartPolicy") {
        writeln!(text, "restart-policy = {:?}", policy_word(policy)?).unwrap();
    }
    if let Some(env) = container.get("env").and_then(Value::as_object) {
        let pairs: Vec<String> = env.iter().map(|(name, value)| format!("{name} = {value}")).collect();
        writeln!(text, "env = {{ {} }}", pairs.join(", ")).unwrap();
    }
    if let Some(rules) = container.get("restartPolicyRules").and_then(Value::as_array) {
        let rules: Result<Vec<String>, String> = rules.iter().map(rule).collect();
        writeln!(text, "restart-policy-rules = [{}]", rules?.join(", ")).unwrap();
    }
    for (key, ours) in [("postStart", "post-start"), ("preStop", "pre-stop")] {
        if let Some(it) = container.get(key) {
            writeln!(text, "{ours} = {}", hook(it, shape)?).unwrap();
        }
    }
    match container.get("terminationMessagePolicy").and_then(Value::as_str) {
        None => {}
        Some("File") => text.push_str("termination-message-policy = \"file\"\n"),
        Some("FallbackToLogsOnError") => {
            text.push_str("termination-message-policy = \"fallback-to-logs-on-error\"\n");
        }
        Some(other) => return Err(format!("not understood: terminationMessagePolicy {other}")),
    }
    if let Some(signal) = container.get("stopSignal") {
        writeln!(text, "stop-signal = {signal}").unwrap();
    }
    for kind in ProbeKind::ALL {
        let ours = format!("{}-probe", kind.name());
        let given = shape.probes.iter().any(|(container, it)| container == name && *it == kind);
        match container.get(format!("{}Probe", kind.name())) {
            Some(it) => probe(text, &ours, it, shape)?,
            None if given => probe(text, &ours, &serde_json::json!({}), shape)?,
            None => {}
        }
    }
    Ok(())
}

fn probe(text: &mut String, ours: &str, probe: &Value, shape: &Shape) -> Result<(), String> {
    // What is asked is the evaluator's to play; how and how often is ours.
    let kept = Some(probe).filter(|_| shape.keeps_commands);
    let asked = match kept.map(|it| (it.get("exec"), it.get("tcpSocket"), it.get("noHandler"))) {
        Some((Some(words), _, _)) => format!("exec = {{ command = {words} }}"),
        Some((None, Some(socket), _)) => format!("tcp-socket = {{ port = {} }}", socket["port"]),
        Some((None, None, Some(_))) => "period = \"1s\"".to_owned(),
        Some((None, None, None)) | None => "exec = { command = [\"probe\"] }".to_owned(),
    };
    write!(text, "{ours} = {{ {asked}").unwrap();
    for (key, ours) in [
        ("initialDelaySeconds", "initial-delay"),
        ("periodSeconds", "period"),
        ("timeoutSeconds", "timeout"),
        ("terminationGracePeriodSeconds", "termination-grace-period"),
    ] {
        if let Some(value) = probe.get(key) {
            write!(text, ", {ours} = {:?}", duration(value)?).unwrap();
        }
    }
    for (key, ours) in [("successThreshold", "success-threshold"), ("failureThreshold", "failure-threshold")]
    {
        if let Some(value) = probe.get(key) {
            write!(text, ", {ours} = {value}").unwrap();
        }
    }
    text.push_str(" }\n");
    Ok(())
}

fn rule(rule: &Value) -> Result<String, String> {
    let not_understood = || format!("not understood: the rule {rule}");
    let action = match rule.get("action").and_then(Value::as_str) {
        Some("Restart") => "restart",
        Some("RestartAllContainers") => "restart-all-containers",
        _ => return Err(not_understood()),
    };
    let codes = rule.get("exitCodes").ok_or_else(not_understood)?;
    let operator = match codes.get("operator").and_then(Value::as_str) {
        Some("In") => "in",
        Some("NotIn") => "not-in",
        _ => return Err(not_understood()),
    };
    let values = codes.get("values").ok_or_else(not_understood)?;
    Ok(format!("{{ action = {action:?}, exit-codes = {{ operator = {operator:?}, values = {values} }} }}"))
}

/// What a hook does is the evaluator's to play; a sleep is the supervisor's own.
fn hook(hook: &Value, shape: &Shape) -> Result<String, String> {
    if let Some(sleep) = hook.get("sleep") {
        let sleep = json_seconds(sleep).ok_or(format!("not understood: the hook {hook}"))?;
        // The API has refused a longer one by the grace period of the pod's own.
        let sleep = shape.grace.map_or(sleep, |grace| sleep.min(grace));
        return Ok(format!("{{ sleep = {:?} }}", write_duration(sleep)));
    }
    let words = hook.as_str().unwrap_or_default();
    if words.starts_with("http action") || hook.get("httpGet").is_some() {
        return Ok("{ http-get = { port = 80 } }".to_owned());
    }
    if words.starts_with("exec action") || hook.get("exec").is_some() {
        return Ok("{ exec = { command = [\"hook\"] } }".to_owned());
    }
    Err(format!("not understood: the hook {hook}"))
}
