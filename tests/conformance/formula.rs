//! Kinds that ask for one value: `resource`, `grace`, `backoff`, `backoff-config`, `deadline`,
//! `restart-rule`.

use outrigger::config::effective::{Amounts, effective};
use outrigger::config::plan::Role;
use serde_json::{Map, Value};

use super::case::Case;
use super::pass::compare;
use super::pod::containers_of;
use super::text::not_understood;

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
    for table in tables.flatten().flat_map(|it| [it.get("requests"), it.get("limits")]).chain([overhead]).flatten() {
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
        let each: Result<Vec<Amounts>, String> = containers.iter().map(|it| amounts(it.get("resources"))).collect();
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
