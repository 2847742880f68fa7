//! Kinds that ask for one value: `resource`, `grace`, `restart-rule`, `termination-order`.

use std::time::Duration;

use outrigger::config::effective::{Amounts, effective};
use outrigger::config::plan::{Operator, RestartAction, RestartPolicy, RestartRule, Role};
use outrigger::log::cri;
use outrigger::supervisor::grace::{self, GracePeriods};
use outrigger::supervisor::policy::{Decision, Policy};
use outrigger::supervisor::record::StopReason;
use serde_json::{Map, Value};

use super::case::Case;
use super::history::What;
use super::pass::compare;
use super::play;
use super::pod::containers_of;
use super::text::{duration, flag, json_seconds, not_understood};

/// The effective requests or limits of a pod, all resources of it.
pub(crate) fn resource(case: &Case, expected: &[String]) -> Result<(), String> {
    let pod = case.part("pod");
    for text in expected {
        let (kind, rest) = text.split_once(": ").ok_or_else(|| not_understood(text))?;
        let limits = match kind {
            "pod requests" => false,
            "pod limits" => true,
            _ => return Err(not_understood(text)),
        };
        let mut wanted: Vec<(String, u64)> = Vec::new();
        for part in rest.split(", ").filter(|part| *part != "empty") {
            let (name, amount) = part.split_once('=').ok_or_else(|| not_understood(text))?;
            wanted.push((name.to_owned(), quantity(name, amount).ok_or_else(|| not_understood(text))?));
        }
        wanted.sort();
        let actual = of_pod(pod, case.part("options"), limits)?;
        compare(text, &wanted, &actual)?;
    }
    Ok(())
}

fn of_pod(pod: &Value, options: &Value, limits: bool) -> Result<Vec<(String, u64)>, String> {
    let option = |name: &str| options.get(name).and_then(Value::as_bool).unwrap_or(false);
    for name in options.as_object().into_iter().flat_map(Map::keys) {
        if name != "ExcludeOverhead" && name != "SkipPodLevelResources" {
            return Err(not_understood(&format!("the option {name}")));
        }
    }
    let sidecars = pod.get("initContainers").and_then(Value::as_array).map_or(0, Vec::len);
    let containers = containers_of(pod);
    let role = |(position, container): (usize, &Value)| match position < sidecars {
        true if container.get("restartPolicy") == Some(&"Always".into()) => Role::Sidecar,
        true => Role::Init,
        false => Role::Main,
    };
    let roles: Vec<Role> = containers.iter().enumerate().map(role).collect();
    let own = pod.get("resources").filter(|_| !option("SkipPodLevelResources"));
    let overhead = pod.get("overhead").filter(|_| !option("ExcludeOverhead"));
    let mut names: Vec<String> = Vec::new();
    let tables = containers.iter().map(|it| it.get("resources")).chain([own]);
    for table in
        tables.flatten().flat_map(|it| [it.get("requests"), it.get("limits")]).chain([overhead]).flatten()
    {
        names.extend(table.as_object().into_iter().flat_map(Map::keys).cloned());
    }
    names.sort();
    names.dedup();
    let mut all = Vec::new();
    for name in names {
        let amounts = |resources: Option<&Value>| -> Result<Amounts, String> {
            let amount = |key: &str| amount(resources.and_then(|it| it.get(key)), &name);
            Ok(Amounts { request: amount("requests")?, limit: amount("limits")? })
        };
        // As they stand: the cases ask for the formula, without the defaults of the API.
        let each: Result<Vec<Amounts>, String> =
            containers.iter().map(|it| amounts(it.get("resources"))).collect();
        let each: Vec<(Role, Amounts)> = roles.iter().copied().zip(each?).collect();
        let result = effective(&name, &each, amounts(own)?, amount(overhead, &name)?);
        if let Some(value) = if limits { result.limit } else { result.request } {
            all.push((name, value));
        }
    }
    Ok(all)
}

fn amount(table: Option<&Value>, name: &str) -> Result<Option<u64>, String> {
    let Some(text) = table.and_then(|it| it.get(name)) else { return Ok(None) };
    let text = text.as_str().map_or_else(|| text.to_string(), str::to_owned);
    quantity(name, &text).map(Some).ok_or_else(|| not_understood(&format!("{name}={text}")))
}

/// An amount in the smallest unit: thousandths of a CPU, else pieces.
fn quantity(name: &str, text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let number: f64 = digits.parse().ok()?;
    let (scale, parts) = if name == "cpu" { (1000.0, true) } else { (1.0, false) };
    let unit = match &text[digits.len()..] {
        "" => scale,
        "m" if parts => 1.0,
        "k" => scale * 1e3,
        "M" => scale * 1e6,
        "G" => scale * 1e9,
        "Ki" => scale * 1024.0,
        "Mi" => scale * 1_048_576.0,
        "Gi" => scale * 1_073_741_824.0,
        _ => return None,
    };
    Some((number * unit).round() as u64)
}

/// What the grace period of one stop is.
pub(crate) fn grace(case: &Case, expected: &[String]) -> Result<(), String> {
    let input = case.part("input");
    let known = |key: &str| input.get(key).and_then(json_seconds);
    for text in expected {
        let (key, value) = text.split_once('=').ok_or_else(|| not_understood(text))?;
        let wanted = duration(value).ok_or_else(|| not_understood(text))?;
        let actual = match key {
            "gracePeriod" => {
                let reason = match input.get("killReason").and_then(Value::as_str) {
                    Some("StartupProbe") => StopReason::StartupProbe,
                    Some("LivenessProbe") => StopReason::LivenessProbe,
                    // Neither probe.
                    Some("Unknown" | "Other" | "None") | None => StopReason::PostStartHook,
                    Some(other) => return Err(not_understood(other)),
                };
                let periods = GracePeriods {
                    pod: known("podGrace").unwrap_or_default(),
                    container: None,
                    startup_probe: known("startupProbeGrace"),
                    liveness_probe: known("livenessProbeGrace"),
                };
                grace::grace(&periods, reason)
            }
            "effectiveGracePeriod" => {
                let own = known("specGrace").unwrap_or(Duration::from_secs(30));
                grace::effective_grace(own, known("deleteRequestGrace"), known("override"))
            }
            _ => return Err(not_understood(text)),
        };
        compare(text, &wanted, &actual)?;
    }
    Ok(())
}

/// What follows an exit.
pub(crate) fn restart_rule(case: &Case, expected: &[String]) -> Result<(), String> {
    let input = case.part("input");
    let policy = |key: &str| -> Result<Option<RestartPolicy>, String> {
        match input.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(word) => match word.as_str() {
                Some("Always") => Ok(Some(RestartPolicy::Always)),
                Some("OnFailure") => Ok(Some(RestartPolicy::OnFailure)),
                Some("Never") => Ok(Some(RestartPolicy::Never)),
                _ => Err(not_understood(&format!("{key}={word}"))),
            },
        }
    };
    let code = input.get("exitCode").and_then(Value::as_u64).and_then(|code| u8::try_from(code).ok());
    let code = code.ok_or(not_understood("exitCode"))?;
    let none = Vec::new();
    let rules = input.get("restartPolicyRules").and_then(Value::as_array).unwrap_or(&none);
    let rules: Result<Vec<RestartRule>, String> = rules.iter().map(rule).collect();
    let rules = rules?;
    let policy = Policy {
        role: Role::Main,
        own: policy("containerRestartPolicy")?,
        rules: &rules,
        of_pod: policy("podRestartPolicy")?.unwrap_or(RestartPolicy::Always),
    };
    for text in expected {
        if let Some(wanted) = text.strip_prefix("restart=") {
            let wanted = flag(wanted).ok_or_else(|| not_understood(text))?;
            compare(text, &wanted, &(policy.after_exit(code) != Decision::Stay))?;
        } else if let Some(index) = text.strip_prefix("matched rule index ") {
            let wanted: usize = index.parse().map_err(|_| not_understood(text))?;
            compare(text, &Some(wanted), &policy.matching_rule(code))?;
        } else if text == "no rule matches" {
            compare(text, &None, &policy.matching_rule(code))?;
        } else {
            return Err(not_understood(text));
        }
    }
    Ok(())
}

fn rule(rule: &Value) -> Result<RestartRule, String> {
    let not = || not_understood(&format!("the rule {rule}"));
    let action = match rule.get("action").and_then(Value::as_str) {
        Some("Restart") => RestartAction::Restart,
        Some("RestartAllContainers") => RestartAction::RestartAllContainers,
        _ => return Err(not()),
    };
    let codes = rule.get("exitCodes").ok_or_else(not)?;
    let operator = match codes.get("operator").and_then(Value::as_str) {
        Some("In") => Operator::In,
        Some("NotIn") => Operator::NotIn,
        _ => return Err(not()),
    };
    let values = codes.get("values").and_then(Value::as_array).ok_or_else(not)?;
    let values: Option<Vec<u8>> = values.iter().map(|it| u8::try_from(it.as_u64()?).ok()).collect();
    Ok(RestartRule { action, operator, values: values.ok_or_else(not)? })
}

/// How long each container waits for its turn when its pod is stopped, in whole seconds.
pub(crate) fn termination_order(case: &Case, expected: &[String]) -> Result<(), String> {
    let input = case.part("input");
    let grace = match input.get("grace") {
        Some(Value::Object(each)) => each.values().filter_map(Value::as_u64).max(),
        Some(of_all) => of_all.as_u64(),
        None => None,
    };
    let mut pod = case.part("pod").clone();
    pod["terminationGracePeriodSeconds"] = grace.ok_or(not_understood("grace"))?.into();
    pod["restartPolicy"] = "Never".into();
    let takes = |name: &str| -> Result<f64, String> {
        if let Some(every) = input.get("everyContainerExits").and_then(Value::as_str) {
            let takes = every.strip_suffix(" after its turn").and_then(duration);
            return takes.map(|it| it.as_secs_f64()).ok_or_else(|| not_understood(every));
        }
        let own = input.get(format!("{name}ExitsAfter")).and_then(Value::as_f64);
        Ok(own.unwrap_or(0.0))
    };
    for key in ["initContainers", "containers"] {
        for container in pod[key].as_array_mut().into_iter().flatten() {
            let name = container["name"].as_str().unwrap_or_default().to_owned();
            container["duration"] = 100_000.into();
            container["sigtermSeconds"] = takes(&name)?.into();
        }
    }
    let mut body = case.body.clone();
    body["pod"] = pod;
    let actions = vec!["wait phase=Running".to_owned(), "delete pod".to_owned()];
    let history = play::history(&Case { actions, body, ..case.clone() })?;
    let deleted = history.deleted_at().ok_or("it was not deleted")?;
    for text in expected {
        let (left, value) = text.split_once('=').ok_or_else(|| not_understood(text))?;
        let (word, arguments) = super::text::call(left).ok_or_else(|| not_understood(text))?;
        let (true, Some(wanted)) = (word == "wait", duration(value)) else {
            return Err(not_understood(text));
        };
        let told =
            history.times(arguments[0], What::Sigterm).next().ok_or(format!("{left}: it got no signal"))?;
        compare(text, &wanted.as_secs(), &(told - deleted).as_secs())?;
    }
    Ok(())
}

/// The restart that comes behind the logs that are there.
pub(crate) fn restart_count(case: &Case, expected: &[String]) -> Result<(), String> {
    let files = case.part("input").get("files").and_then(Value::as_array).ok_or(not_understood("files"))?;
    let newest = files.iter().filter_map(Value::as_str).filter_map(cri::instance_of).max();
    for text in expected {
        let wanted: Option<u32> = text.strip_prefix("restartCount=").and_then(|count| count.parse().ok());
        let wanted = wanted.ok_or_else(|| not_understood(text))?;
        compare(text, &wanted, &newest.map_or(0, |newest| newest + 1))?;
    }
    Ok(())
}
