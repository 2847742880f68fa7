//! How the process of a container behaves, as a case says: by the numbers of the container model, by a
//! command, or by words.

use std::time::Duration;

use serde_json::Value;

use super::shell::{self, Program};
use super::text::{duration, json_seconds, not_understood};

/// All that a container does.
#[derive(Clone, Debug, Default)]
pub(crate) struct Behaviour {
    /// One for each run, the last for all further ones.
    pub runs: Vec<Run>,
    /// What SIGTERM does; `None`: nothing.
    pub on_sigterm: Option<Handler>,
    pub server: Server,
}

/// One run from beginning to end, undisturbed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Run {
    /// Until it says that it has started.
    pub start_delay: Duration,
    /// Until it ends; `None`: never.
    pub lasts: Option<Duration>,
    pub exit: u8,
    pub oom_killed: bool,
    /// From when on which file is there, or is not.
    pub files: Vec<(Duration, String, bool)>,
    /// What is in its termination message file at its end.
    pub message: String,
    /// What it has printed.
    pub output: String,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Handler {
    pub takes: Duration,
    pub exit: u8,
    /// Files that it removes at once.
    pub removes: Vec<String>,
}

/// A path, its status, and which that has from an age on.
pub(crate) type Page = (String, u16, Option<(Duration, u16)>);

/// What it answers on the network while it runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Server {
    pub http_port: Option<u64>,
    pub pages: Vec<Page>,
    /// `/redirect?loc=X` answers 302 to X.
    pub redirects: bool,
    /// Port, and whether it is serving.
    pub grpc: Option<(u64, bool)>,
}

/// The behaviour of a container of a case.
pub(crate) fn behaviour(container: &Value) -> Result<Behaviour, String> {
    let number = |key: &str| container.get(key).and_then(json_seconds);
    let exit = match container.get("exitCode") {
        None | Some(Value::Null) => None,
        Some(code) => Some(
            code.as_u64()
                .and_then(|code| u8::try_from(code).ok())
                .ok_or(not_understood(&format!("exitCode {code}")))?,
        ),
    };
    let mut behaviour = match (container.get("behaviour"), container.get("command")) {
        (Some(Value::String(words)), _) => worded(words)?,
        (None, Some(Value::String(words))) => worded(words)?,
        (None, Some(Value::Array(words))) => command(words)?,
        (None, None) => {
            let modelled = ["startDelay", "duration", "exitCode", "sigtermSeconds"];
            let model = modelled.iter().any(|key| container.get(key).is_some());
            let start_delay = number("startDelay").unwrap_or_default();
            let loops = container.get("loopForever") == Some(&Value::Bool(true)) || !model;
            let lasts = start_delay + number("duration").unwrap_or_default();
            let files = vec![(start_delay, "started".to_owned(), true)];
            let run = Run { start_delay, lasts: (!loops).then_some(lasts), files, ..Run::default() };
            Behaviour { runs: vec![run], on_sigterm: Some(Handler::default()), ..Behaviour::default() }
        }
        (Some(other), _) | (_, Some(other)) => return Err(not_understood(&other.to_string())),
    };
    if let Some(exit) = exit {
        behaviour.runs.iter_mut().for_each(|run| run.exit = exit);
        behaviour.on_sigterm.iter_mut().for_each(|handler| handler.exit = exit);
    }
    if let Some(takes) = number("sigtermSeconds") {
        behaviour.on_sigterm.get_or_insert_default().takes = takes;
    }
    if container.get("ignoresSigterm") == Some(&Value::Bool(true)) {
        behaviour.on_sigterm = None;
    }
    // What a description in words leaves out is what the container's probes need.
    if container.get("behaviour").is_some() && behaviour.runs.iter().all(|run| run.files.is_empty()) {
        for file in asked_files(container) {
            behaviour.runs.iter_mut().for_each(|run| run.files.push((Duration::ZERO, file.clone(), true)));
        }
    }
    Ok(behaviour)
}

/// The files for which the probes of a container look.
fn asked_files(container: &Value) -> Vec<String> {
    let probes = ["startupProbe", "livenessProbe", "readinessProbe"].map(|key| &container[key]["exec"]);
    let words = probes.into_iter().filter_map(Value::as_array);
    let words = words.filter_map(|words| words.iter().map(Value::as_str).collect::<Option<Vec<&str>>>());
    words.filter_map(|words| shell::program(&words).ok()?.asks).collect()
}

/// A process that runs for ever and that only SIGKILL ends: what PID 1 is without a handler.
fn endless() -> Behaviour {
    Behaviour { runs: vec![Run::default()], ..Behaviour::default() }
}

fn command(words: &[Value]) -> Result<Behaviour, String> {
    let words: Option<Vec<&str>> = words.iter().map(Value::as_str).collect();
    let words = words.ok_or(not_understood("a command that is no list of texts"))?;
    Ok(from_program(&shell::program(&words)?))
}

fn from_program(program: &Program) -> Behaviour {
    let run =
        Run { lasts: program.lasts, exit: program.exit, files: program.files.clone(), ..Run::default() };
    let handler = program.on_sigterm.map(|exit| Handler { exit, ..Handler::default() });
    Behaviour { runs: vec![run], on_sigterm: handler, ..Behaviour::default() }
}

/// `first run: exit 42 at once; after the pod-wide restart: sleep 10000`, `run 1: exit 1; run 2: exit 0`,
/// or one run in [clauses](clause) that are separated by `;` and `,`.
fn worded(words: &str) -> Result<Behaviour, String> {
    let is_head = |head: &str| {
        ["first run", "later runs", "after the pod-wide restart"].contains(&head)
            || head.strip_prefix("run ").is_some_and(|nth| nth.parse::<u32>().is_ok())
    };
    let parts: Vec<Option<(&str, &str)>> =
        words.split(';').map(|part| part.trim().split_once(": ").filter(|(head, _)| is_head(head))).collect();
    if parts.iter().all(Option::is_some) {
        let mut all = Behaviour::default();
        for (_, run) in parts.into_iter().flatten() {
            let one = worded(run)?;
            all.runs.extend(one.runs);
            all.on_sigterm = one.on_sigterm.or(all.on_sigterm);
        }
        return Ok(all);
    }
    let mut all = endless();
    let mut handling = false;
    let (main, port) = server_port(words);
    all.server.http_port = port;
    for part in main.split([';', ',']).map(str::trim).filter(|part| !part.is_empty()) {
        clause(part, &mut all, &mut handling).ok_or(not_understood(&format!("{part} in {words:?}")))?;
    }
    Ok(all)
}

/// Takes `HTTP server on [port ]N [answering C on P]` away.
fn server_port(words: &str) -> (&str, Option<u64>) {
    let Some(rest) = words.strip_prefix("HTTP server on ") else { return (words, None) };
    let rest = rest.strip_prefix("port ").unwrap_or(rest);
    let end = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
    (rest[end..].trim_start(), rest[..end].parse().ok())
}

/// One thing that a process does. After `on SIGTERM ...` what follows is what it does then.
fn clause(text: &str, all: &mut Behaviour, handling: &mut bool) -> Option<()> {
    let run = all.runs.first_mut()?;
    let text = text.strip_prefix("then ").unwrap_or(text);
    let text = text.strip_suffix(" on every start").unwrap_or(text);
    let exits = |rest: &str| -> Option<(u8, Duration)> {
        let (code, rest) = rest.split_once(' ').unwrap_or((rest, "at once"));
        let code = if code == "non-zero" { 1 } else { code.parse().ok()? };
        let after = match rest.strip_prefix("after ") {
            Some(after) => duration(after)?,
            None if rest == "at once" => Duration::ZERO,
            None => return None,
        };
        Some((code, after))
    };
    let exit = text.strip_prefix("exits ").or(text.strip_prefix("exit ")).map(exits);
    let sleep = text
        .strip_prefix("sleeps ")
        .or(text.strip_prefix("sleep "))
        .or(Some(text).filter(|it| duration(it).is_some()));
    let sleep = sleep.and_then(super::text::seconds);
    if *handling {
        let handler = all.on_sigterm.get_or_insert_default();
        match (exit, sleep) {
            (Some(exit), _) => {
                let (code, after) = exit?;
                handler.exit = code;
                handler.takes += after;
            }
            (None, Some(sleep)) => handler.takes += sleep,
            (None, None) => return None,
        }
        return Some(());
    }
    if let Some(exit) = exit {
        let (code, after) = exit?;
        run.exit = code;
        run.lasts = Some(run.lasts.unwrap_or_default() + after);
        return Some(());
    }
    if let Some(sleep) = sleep {
        run.lasts = Some(run.lasts.unwrap_or_default() + sleep);
        return Some(());
    }
    match text {
        "run for ever" | "runs for ever" | "long-running" | "PID 1 sleeps" => run.lasts = None,
        "runs until SIGTERM" => *handling = true,
        "fails at once" => (run.exit, run.lasts) = (1, Some(Duration::ZERO)),
        "pause (exits on SIGTERM)" => all.on_sigterm = Some(Handler::default()),
        "traps and ignores SIGTERM" | "traps and ignores SIGTERM and SIGINT" => all.on_sigterm = None,
        "the socket stays open" | "as non-root" => {}
        "memory.oom.group=0" => {}
        // All of the container goes with the child.
        "memory.oom.group=1" => (run.lasts, run.exit, run.oom_killed) = (Some(Duration::ZERO), 137, true),
        _ => return words(text, all, handling),
    }
    Some(())
}

fn words(text: &str, all: &mut Behaviour, handling: &mut bool) -> Option<()> {
    let run = all.runs.first_mut()?;
    let ends_at_once = |run: &mut Run| run.lasts = Some(run.lasts.unwrap_or_default());
    if let Some(rest) = text.strip_prefix("creates ") {
        for file in rest.strip_suffix(" at start")?.split(" and ") {
            run.files.push((Duration::ZERO, file.to_owned(), true));
        }
        return Some(());
    }
    if let Some(rest) = text.strip_prefix("on SIGTERM ") {
        *handling = true;
        let handler = all.on_sigterm.get_or_insert_default();
        return match rest.strip_prefix("removes ") {
            Some("it" | "both" | "them") => {
                handler.removes = run.files.iter().map(|(_, file, _)| file.clone()).collect();
                Some(())
            }
            Some(file) => {
                handler.removes.push(file.to_owned());
                Some(())
            }
            None => clause(rest, all, handling),
        };
    }
    let text = text.strip_prefix("as non-root ").unwrap_or(text);
    if let Some(rest) = text.strip_prefix("writes ") {
        let (what, to) = rest.split_once(" to ")?;
        if !(to.contains("file") || to.contains("terminationMessagePath")) {
            return None;
        }
        what.clone_into(&mut run.message);
        ends_at_once(run);
        return Some(());
    }
    if let Some(rest) = text.strip_prefix("prints ") {
        rest.split(' ').next()?.clone_into(&mut run.output);
        ends_at_once(run);
        return Some(());
    }
    if let Some(rest) = text.strip_prefix("gRPC health service ") {
        let (word, port) = rest.split_once(" on port ")?;
        all.server.grpc = Some((port.parse().ok()?, word == "SERVING"));
        return Some(());
    }
    if let Some(rest) = text.strip_prefix("answering ") {
        let (status, path) = rest.split_once(" on ")?;
        all.server.pages.push((path.to_owned(), status.parse().ok()?, None));
        return Some(());
    }
    if text == "/redirect?loc=X answers 302 to X" {
        all.server.redirects = true;
        return Some(());
    }
    if text.starts_with('/') {
        let (path, answer) = text.split_once(" answers ")?;
        let (status, rest) = answer.split_once(' ').unwrap_or((answer, ""));
        let until = match rest.strip_prefix("for the first ") {
            Some(rest) => Some((duration(rest.split(' ').next()?)?, 200)),
            None if rest.is_empty() => None,
            None => return None,
        };
        all.server.pages.push((path.to_owned(), status.parse().ok()?, until));
        return Some(());
    }
    // `/p answers A for the first N after start, then B`: the part behind the comma.
    if let (Some(page), Ok(status)) = (all.server.pages.last_mut(), text.parse()) {
        page.2.as_mut()?.1 = status;
        return Some(());
    }
    memory(text, run)
}

/// `after 5s one process allocates 20M`, `limit 15Mi`, `background child allocates 20M`.
fn memory(text: &str, run: &mut Run) -> Option<()> {
    if text.starts_with("limit ") {
        return Some(());
    }
    if text.starts_with("background child allocates ") {
        // The kernel takes the child alone; the first process lives on.
        run.lasts = None;
        return Some(());
    }
    let (at, what) = match text.strip_prefix("after ") {
        Some(rest) => {
            let (at, what) = rest.split_once(' ')?;
            (duration(at)?, what)
        }
        None => (Duration::ZERO, text),
    };
    what.contains("process allocates ").then(|| {
        (run.lasts, run.exit, run.oom_killed) = (Some(at), 137, true);
    })
}

impl Behaviour {
    pub(crate) fn run(&self, nth: usize) -> &Run {
        self.runs.get(nth).or(self.runs.last()).expect("a behaviour has a run")
    }

    /// The ages at which a run begins to answer differently.
    pub(crate) fn changes(&self, nth: usize) -> Vec<Duration> {
        let run = self.run(nth);
        let files = run.files.iter().map(|(at, ..)| *at);
        let pages = self.server.pages.iter().filter_map(|page| page.2.map(|(at, _)| at));
        let mut changes: Vec<Duration> = [Duration::ZERO].into_iter().chain(files).chain(pages).collect();
        changes.sort();
        changes.dedup();
        changes
    }

    /// Whether a file is there at an age; `stopping`: after SIGTERM.
    pub(crate) fn has_file(&self, nth: usize, file: &str, age: Duration, stopping: bool) -> bool {
        let removed = || self.on_sigterm.as_ref().is_some_and(|it| it.removes.iter().any(|it| it == file));
        if stopping && removed() {
            return false;
        }
        let mut changes = self.run(nth).files.iter().filter(|(at, name, _)| *at <= age && name == file);
        changes.next_back().is_some_and(|(_, _, there)| *there)
    }
}
