//! What the statuses that a case gives mean together: the kinds `phase` and `condition`.

use outrigger::config::plan::Role;
use outrigger::supervisor::phase::of_statuses;
use outrigger::supervisor::record::ExitStatus;
use outrigger::supervisor::status::{
    self, ContainerState, ContainerStatus, StatusView, Terminated, TerminatedReason, WaitingReason,
};
use outrigger::time::Instant;
use serde_json::Value;

use super::case::Case;
use super::pass::compare;
use super::pod::Shape;
use super::setting::{POD, Setting, exit_code};
use super::text::not_understood;

fn flag_of(value: &Value, key: &str) -> bool {
    value.get(key).and_then(Value::as_bool).unwrap_or(false)
}

pub(crate) fn phase(case: &Case, expected: &[String]) -> Result<(), String> {
    let (pod, state) = (case.part("pod"), case.part("state"));
    let mut shape = Shape::default();
    let mut names = super::pod::names_of(pod);
    let mut known: Vec<(String, Value)> = Vec::new();
    for key in ["initContainerStatuses", "containerStatuses", "statuses"] {
        for status in state.get(key).and_then(Value::as_array).into_iter().flatten() {
            let name = status.get("name").and_then(Value::as_str).ok_or("a status has no name")?;
            let taken = |name: &str| known.iter().any(|(it, _)| it == name);
            let name = if taken(name) {
                // A name that stands twice is that of the next container without a status.
                names.iter().find(|it| !taken(it)).cloned().ok_or("a status too many")?
            } else {
                name.to_owned()
            };
            if !names.contains(&name) {
                // A pod of ours has at least one main container.
                names.push(name.clone());
                shape.more_mains.push(name.clone());
            }
            known.push((name, status.clone()));
        }
    }
    let mut setting = Setting::new(pod, shape)?;
    for (name, status) in &known {
        if status.get("state") != Some(&"running".into()) {
            setting.set(name, status)?;
        }
    }
    let supervisor = setting.supervisor();
    let view = supervisor.view(POD).unwrap();
    let mut statuses = Vec::new();
    // Whether a container would be started again is for our policies to say.
    for (ours, name) in status::views(&view).zip(&setting.names) {
        let given = known.iter().find(|(it, _)| it == name);
        let status = given.map(|(_, status)| container_status(status)).transpose()?;
        statuses.push(StatusView { status, ..ours });
    }
    let actual =
        of_statuses(statuses, flag_of(state, "podIsTerminal"), flag_of(state, "podHasInitialized")).name();
    for text in expected {
        let wanted = text.strip_prefix("phase=").ok_or_else(|| not_understood(text))?;
        compare(text, &wanted, &actual)?;
    }
    Ok(())
}

fn container_status(status: &Value) -> Result<ContainerStatus<'static>, String> {
    let word = |key: &str| status.get(key).and_then(Value::as_str);
    let ended = |key: &str| -> Result<Terminated<'static>, String> {
        let code = exit_code(status.get(key)).ok_or_else(|| not_understood(&status.to_string()))?;
        Ok(terminated(code))
    };
    let last = status.get("lastExitCode").is_some_and(|it| !it.is_null());
    let state = match word("state") {
        Some("running") => ContainerState::Running { started_at: Instant::ZERO },
        Some("terminated") => ContainerState::Terminated(ended("exitCode")?),
        Some("waiting") => ContainerState::Waiting { reason: WaitingReason::ContainerCreating, message: "" },
        _ => return Err(not_understood(&status.to_string())),
    };
    Ok(ContainerStatus {
        state,
        last_state: if last {
            let end = ended("lastExitCode")?;
            Some(match word("lastReason") {
                Some("RestartingAllContainers") => {
                    Terminated { reason: TerminatedReason::RestartingAllContainers, ..end }
                }
                Some(_) | None => end,
            })
        } else {
            None
        },
        restart_count: 0,
        started: flag_of(status, "started"),
        ready: flag_of(status, "ready"),
    })
}

fn terminated(code: u8) -> Terminated<'static> {
    Terminated {
        exit_code: ExitStatus::Code(code).code(),
        signal: None,
        reason: if code == 0 { TerminatedReason::Completed } else { TerminatedReason::Error },
        message: "",
        started_at: None,
        finished_at: None,
    }
}

use outrigger::supervisor::condition::{self, Condition, Kind, Reason};
use outrigger::supervisor::phase::Phase;

/// A container as a case of the kind `condition` describes it.
struct Described {
    role: Role,
    /// Whether anything is known of it.
    known: bool,
    well: bool,
    runs: bool,
}

pub(crate) fn condition(case: &Case, expected: &[String]) -> Result<(), String> {
    let input = case.part("input");
    let words = input.get("case").and_then(Value::as_str).ok_or(not_understood("input without `case`"))?;
    let (containers, known, phase) = describe(words).ok_or_else(|| not_understood(words))?;
    let view = |it: &Described| StatusView {
        name: "container",
        role: it.role,
        status: it.known.then_some(ContainerStatus {
            // Init containers are looked at before any main container has run, unless it is said.
            state: match it.runs {
                true => ContainerState::Running { started_at: Instant::ZERO },
                false => ContainerState::Waiting { reason: WaitingReason::PodInitializing, message: "" },
            },
            last_state: None,
            restart_count: 0,
            started: it.well,
            ready: it.well,
        }),
        restartable: true,
    };
    for text in expected {
        let (stated, remark) = super::text::split_remark(text);
        let (name, rest) = stated.split_once('=').ok_or_else(|| not_understood(text))?;
        let (value, reason) =
            rest.split_once(' ').map_or((rest, None), |(value, reason)| (value, Some(reason)));
        let value = super::text::flag(value).ok_or_else(|| not_understood(text))?;
        let statuses = containers.iter().map(view);
        let actual = match name {
            "Initialized" => condition::initialized(statuses, known, phase),
            "ContainersReady" => condition::ready(Kind::ContainersReady, statuses, known, phase),
            "Ready" => condition::ready(Kind::Ready, statuses, known, phase),
            _ => return Err(not_understood(text)),
        };
        compare(text, &(value, reason), &(actual.holds, actual.reason.map(Reason::name)))?;
        if let Some(remark) = remark {
            check_named(remark, &containers, &actual).map_err(|why| format!("{text}: {why}"))?;
        }
    }
    Ok(())
}

/// `unknown status: that one`, `unready status: the second`: which containers the condition names.
fn check_named(remark: &str, containers: &[Described], actual: &Condition) -> Result<(), String> {
    let (members, of) = match remark.split_once(" status: ") {
        Some(("unknown", of)) => (actual.unknown, of),
        Some(("unready" | "incomplete", of)) => (actual.lacking, of),
        _ => return Err(not_understood(remark)),
    };
    // The ones that are not as they should be; which one that is, is in the description.
    let wanted: Vec<bool> = containers.iter().map(|it| !it.known || !it.well).collect();
    let one = ["that one", "the sidecar", "the first", "the second"].contains(&of);
    if !one || wanted.iter().filter(|it| **it).count() != 1 {
        return Err(not_understood(remark));
    }
    let named: Vec<bool> = (0..containers.len()).map(|position| members.contains(position)).collect();
    compare(remark, &wanted, &named)
}

/// `two mains, one not ready`, `two sidecars and one main, all ready`, `statuses nil, two init containers`:
/// the containers, whether anything is known of them, and the pod's phase.
fn describe(words: &str) -> Option<(Vec<Described>, bool, Phase)> {
    let mut containers: Vec<Described> = Vec::new();
    let (mut known, mut phase) = (true, Phase::Running);
    for part in words.split([',']).map(str::trim) {
        if let Some(word) = part.strip_prefix("phase ") {
            let all = [Phase::Pending, Phase::Running, Phase::Succeeded, Phase::Failed];
            phase = all.into_iter().find(|phase| phase.name() == word)?;
            continue;
        }
        if part == "statuses nil" || part == "container statuses nil" {
            known = false;
            continue;
        }
        // How one of those that are there already is, or more of them.
        if let Some(state) = part.strip_prefix("all ").or(part.strip_prefix("both ")) {
            containers.iter_mut().try_for_each(|it| set(it, state))?;
            continue;
        }
        let ordinals = [("first ", 0), ("one ", 0), ("second ", 1), ("third ", 2)];
        let ordinal = ordinals.iter().find_map(|(word, nth)| Some((*nth, part.strip_prefix(word)?)));
        if let Some((nth, state)) =
            ordinal.filter(|(_, state)| kind(state.split(' ').next().unwrap_or("")).is_none())
        {
            if let Some(it) = containers.get_mut(nth) {
                if set(it, state).is_some() {
                    continue;
                }
            }
        }
        for group in part.split(" and ").flat_map(|group| group.split(" but ")) {
            add(group, &mut containers)?;
        }
    }
    Some((containers, known, phase))
}

fn kind(word: &str) -> Option<Role> {
    match word {
        "init" => Some(Role::Init),
        "sidecar" | "sidecars" => Some(Role::Sidecar),
        "main" | "mains" => Some(Role::Main),
        _ => None,
    }
}

fn set(it: &mut Described, state: &str) -> Option<()> {
    match state {
        "ready" | "started" => it.well = true,
        "not ready" | "not started" => it.well = false,
        "running" | "has started" => (it.well, it.runs) = (true, true),
        "without status" => it.known = false,
        _ => return None,
    }
    Some(())
}

/// `two init containers ready`, `sidecar not started`, `no init containers`, `main ready`.
fn add(group: &str, containers: &mut Vec<Described>) -> Option<()> {
    let mut words: Vec<&str> = group.split(' ').collect();
    let count = match words.first().copied()? {
        "no" => Some(0),
        "one" | "a" => Some(1),
        "two" => Some(2),
        "three" => Some(3),
        _ => None,
    };
    if count.is_some() {
        words.remove(0);
    }
    let role = kind(words.first().copied()?)?;
    words.remove(0);
    if role == Role::Init && words.first().is_some_and(|word| word.starts_with("container")) {
        words.remove(0);
    }
    for _ in 0..count.unwrap_or(1) {
        let mut it = Described { role, known: true, well: true, runs: false };
        if !words.is_empty() {
            set(&mut it, &words.join(" "))?;
        }
        containers.push(it);
    }
    Some(())
}
