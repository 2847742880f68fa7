//! What a container of a case answers to its probes.

use std::time::Duration;

use outrigger::simulator::script::{Answer, Answers, HookScript};
use outrigger::supervisor::probe::Outcome;
use serde_json::Value;

use super::behaviour::{Behaviour, Server};
use super::shell;
use super::text::{json_seconds, not_understood};

/// Redirects that are followed.
const REDIRECTS_MAX: usize = 10;

/// A process beside the container's own that writes down what it does.
pub(crate) struct Logged {
    pub name: String,
    /// Until it says that it has started.
    pub start_delay: Duration,
    /// Until it ends; `None`: never.
    pub lasts: Option<Duration>,
}

/// What a probe or hook writes down, if it has a name for that.
pub(crate) fn logged(asked: &Value) -> Option<Logged> {
    let name = asked.get("logsAs")?.as_str()?.to_owned();
    let exec = asked.get("exec")?;
    let seconds = |key: &str| exec.get(key).and_then(json_seconds).unwrap_or_default();
    let loops = exec.get("loopForever") == Some(&Value::Bool(true));
    let start_delay = seconds("startDelay");
    Some(Logged { name, start_delay, lasts: (!loops).then(|| start_delay + seconds("duration")) })
}

/// How a hook of a container goes; `None` for a sleep, which is the supervisor's own.
pub(crate) fn hook(hook: &Value, behaviour: &Behaviour) -> Result<Option<HookScript>, String> {
    let not_understood = || not_understood(&format!("the hook {hook}"));
    let at_once = HookScript { takes: Some(Duration::from_millis(1)), fails: false };
    if hook.get("sleep").is_some() {
        return Ok(None);
    }
    if hook.as_str().is_some_and(|words| words.ends_with("reports to an observer")) {
        return Ok(Some(at_once));
    }
    match hook.get("exec") {
        Some(Value::Array(words)) => {
            let words: Option<Vec<&str>> = words.iter().map(Value::as_str).collect();
            let program = shell::program(&words.ok_or_else(not_understood)?)?;
            Ok(Some(HookScript { takes: program.lasts, fails: program.exit != 0 }))
        }
        Some(exec @ Value::Object(_)) => {
            let seconds = |key: &str| exec.get(key).and_then(json_seconds).unwrap_or_default();
            let loops = exec.get("loopForever") == Some(&Value::Bool(true));
            let takes = (!loops).then(|| seconds("startDelay") + seconds("duration"));
            let fails = exec.get("exitCode").and_then(Value::as_u64).unwrap_or(0) != 0;
            Ok(Some(HookScript { takes: takes.map(|it| it.max(Duration::from_millis(1))), fails }))
        }
        // `poll every 0.1s until the file "started" exists in the container (...)`.
        Some(Value::String(words)) => {
            let rest = words.strip_prefix("poll every ").ok_or_else(not_understood)?;
            let (every, rest) = rest.split_once(" until the file \"").ok_or_else(not_understood)?;
            let (file, _) = rest.split_once('"').ok_or_else(not_understood)?;
            let every = super::text::duration(every).ok_or_else(not_understood)?;
            let made = behaviour.run(0).files.iter().find(|(_, name, there)| *there && name == file);
            Ok(Some(HookScript { takes: made.map(|(at, ..)| *at + every), fails: false }))
        }
        _ => Err(not_understood()),
    }
}

/// For each run: from which age on which answer. `stopping`: after SIGTERM.
pub(crate) fn answers(probe: &Value, behaviour: &Behaviour, stopping: bool) -> Result<Answers, String> {
    if probe.is_null() {
        return Ok(Vec::new());
    }
    let timeout = probe.get("timeoutSeconds").and_then(json_seconds).unwrap_or(Duration::from_secs(1));
    let mut all = Vec::new();
    for nth in 0..behaviour.runs.len() {
        let mut ages = behaviour.changes(nth);
        if let Some(at) = exec_program(probe)?.and_then(|program| program.passes_from) {
            ages.push(at);
        }
        let mut run = Vec::new();
        for age in ages {
            let (takes, well) = ask(probe, behaviour, nth, age, stopping)?;
            // A redirect that is not followed.
            let well_with_remark = well && get_status(probe, behaviour, age) == Some(302);
            let answer = match takes {
                Some(takes) if takes < timeout => Answer::Is(match (well, well_with_remark) {
                    (true, true) => Outcome::Warning,
                    (true, false) => Outcome::Success,
                    (false, _) => Outcome::Failure,
                }),
                Some(_) | None => Answer::Never,
            };
            run.push((age, answer));
        }
        all.push(run);
    }
    Ok(all)
}

fn exec_program(probe: &Value) -> Result<Option<shell::Program>, String> {
    let Some(Value::Array(words)) = probe.get("exec") else { return Ok(None) };
    let words: Option<Vec<&str>> = words.iter().map(Value::as_str).collect();
    shell::program(&words.ok_or_else(|| not_understood(&probe.to_string()))?).map(Some)
}

/// How long the answer takes (`None`: for ever), and whether it is a good one.
fn ask(
    probe: &Value,
    behaviour: &Behaviour,
    nth: usize,
    age: Duration,
    stopping: bool,
) -> Result<(Option<Duration>, bool), String> {
    let not_understood = || not_understood(&format!("the probe {probe}"));
    let at_once = |well| Ok((Some(Duration::ZERO), well));
    let port = |of: &Value| of.get("port").and_then(Value::as_u64).ok_or_else(not_understood);
    if let Some(program) = exec_program(probe)? {
        let well = match (&program.asks, program.passes_from) {
            (Some(file), _) => behaviour.has_file(nth, file, age, stopping),
            (None, Some(from)) => age >= from,
            (None, None) => program.exit == 0,
        };
        return Ok((program.lasts, well));
    }
    if let Some(exec @ Value::Object(_)) = probe.get("exec") {
        let takes = exec.get("duration").and_then(json_seconds).unwrap_or_default();
        return Ok((Some(takes), exec.get("exitCode").and_then(Value::as_u64).unwrap_or(0) == 0));
    }
    if probe.get("httpGet").is_some() {
        let status = get_status(probe, behaviour, age);
        return at_once(status.is_some_and(|status| (200..400).contains(&status)));
    }
    if let Some(socket) = probe.get("tcpSocket") {
        return at_once(behaviour.server.http_port == Some(port(socket)?));
    }
    if let Some(grpc) = probe.get("grpc") {
        let port = port(grpc)?;
        return at_once(behaviour.server.grpc == Some((port, true)));
    }
    // Nothing is said about what is asked: it is well.
    if probe.as_object().is_some_and(|it| it.is_empty()) { at_once(true) } else { Err(not_understood()) }
}

/// The status that an HTTP probe comes to in the end, if it gets one.
fn get_status(probe: &Value, behaviour: &Behaviour, age: Duration) -> Option<u16> {
    let get = probe.get("httpGet")?;
    let path = get.get("path").and_then(Value::as_str).unwrap_or("/");
    let there = behaviour.server.http_port == get.get("port").and_then(Value::as_u64);
    if there { get_page(&behaviour.server, path, age) } else { None }
}

/// The status of what a GET comes to in the end. A redirect to another host is not followed.
fn get_page(server: &Server, path: &str, age: Duration) -> Option<u16> {
    let mut path = path.to_owned();
    for _ in 0..=REDIRECTS_MAX {
        if let Some(target) = path.strip_prefix("/redirect?loc=").filter(|_| server.redirects) {
            let target = unescape(target);
            if target.contains("://") {
                return Some(302);
            }
            path = target;
            continue;
        }
        let page = server.pages.iter().find(|(at, ..)| *at == path);
        return Some(match page {
            Some((_, _, Some((from, later)))) if age >= *from => *later,
            Some((_, status, _)) => *status,
            None => 404,
        });
    }
    None
}

/// `%2F` and its like.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        let digits = more.get(..2).and_then(|it| std::str::from_utf8(it).ok());
        match digits.and_then(|it| u8::from_str_radix(it, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = &more[2..];
            }
            Some(_) | None => {
                bytes.push(*first);
                rest = more;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
