//! Some of Kubernetes' scenarios on a real runtime: the same cases, predicates and times as on the virtual
//! clock (tests/conformance/), with all durations a tenth of what they are there.
//!
//! The containers write down what the container model says; their lines and ours are the history on which
//! the expectations are judged, in the time of the case.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use super::machine::Machine;
use super::run::{Line, Run, pause};
use crate::conformance::answer::logged;
use crate::conformance::behaviour::{Behaviour, behaviour};
use crate::conformance::case::{Case, read_folder};
use crate::conformance::condition::condition;
use crate::conformance::expectation::check;
use crate::conformance::history::{ContainerStatus, End, History, PodStatus, State, What};
use crate::conformance::pod::{containers_of, names_of};
use crate::conformance::text::{json_seconds, split_remark};

/// Cases in which everything shows in what the containers and we write. In none of them does the least
/// time between stop signal and SIGKILL matter, which is two seconds on any clock.
const CASES: [&str; 30] = [
    "CL-INIT-SERIAL",
    "CL-INIT-FAIL-NEVER",
    "CL-INIT-NOT-RERUN-ON-MAIN-RESTART",
    "CL-POSTSTART-AFTER-INIT",
    "CL-POSTSTART-BLOCKS-NEXT",
    "CL-GRACE-SIGKILL",
    "CL-STARTUP-FAIL-PRESTOP",
    "CL-LIVENESS-FAIL-PRESTOP",
    "CL-SIDECAR-MIXED-NEVER",
    "CL-SIDECAR-CONT-NEVER",
    "CL-SIDECAR-EXIT0-NEVER",
    "CL-SIDECAR-EXIT1-NEVER",
    "CL-INIT-FAILS-BEFORE-SIDECAR-NEVER",
    "CL-INIT-FAILS-AFTER-SIDECAR-NEVER",
    "CL-SIDECAR-CONT-ONFAILURE",
    "CL-SIDECAR-EXIT0-ONFAILURE",
    "CL-INIT-FAILS-BEFORE-SIDECAR-ONFAILURE",
    "CL-INIT-FAILS-AFTER-SIDECAR-ONFAILURE",
    "CL-SIDECAR-CONT-ALWAYS",
    "CL-SIDECAR-EXIT0-ALWAYS",
    "CL-SIDECAR-EXIT1-ALWAYS",
    "CL-INIT-FAILS-BEFORE-SIDECAR-ALWAYS",
    "CL-INIT-FAILS-AFTER-SIDECAR-ALWAYS",
    "CL-SIDECAR-STARTUP-SERIAL",
    "CL-TERM-SIDECAR-NONZERO",
    "CL-TERM-DURING-INIT",
    "RR-RULE-MATCH",
    "RR-RULE-MISMATCH",
    "RR-CONTAINER-NEVER",
    "RR-POD-ALWAYS",
];

/// How much faster time passes here than in a case.
const FASTER: u32 = 10;

/// How long a case may take, in real time.
const PATIENCE: Duration = Duration::from_secs(90);

/// Cases that run at the same time: what they wait for is mostly time.
const AT_ONCE: usize = 6;

#[test]
fn kubernetes_scenarios_hold_on_a_real_runtime() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/cases");
    let all = read_folder(&folder);
    let find =
        |id: &str| all.iter().find(|case| case.id == id).unwrap_or_else(|| panic!("there is no case {id}"));
    let open: Mutex<Vec<&Case>> = Mutex::new(CASES.iter().rev().map(|id| find(id)).collect());
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(case) = { open.lock().unwrap().pop() } {
                    if let Err(why) = execute(case) {
                        wrong.lock().unwrap().push(format!("{}: {why}", case.id));
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

fn execute(case: &Case) -> Result<(), String> {
    let mut machine = Machine::new("crun");
    machine.set("restart-backoff = { initial = \"1s\", max = \"30s\" }");
    let pod = case.part("pod");
    let text = pod_file(&machine, pod)?;
    machine.pod("pod", &text);
    let begin = Instant::now();
    let run = machine.run();
    let mut seen = Seen { names: names_of(pod), pod, begin, acted_at: None, deleted_at: None };
    for action in &case.actions {
        if let Err(why) = seen.act(&run, split_remark(action).0) {
            return Err(format!("{action}: {why}\n{}", run.stop().text()));
        }
    }
    let acted = Instant::now();
    let result = loop {
        let history = seen.history(&run.lines(), acted);
        let result = check(&case.expected, &seen.names, &history);
        if result.is_ok() || history.gone.is_some() || acted.elapsed() > PATIENCE {
            break result;
        }
        pause(Duration::from_millis(200));
    };
    let ended = run.stop();
    result.map_err(|why| format!("{why}\n{}", ended.text()))
}

/// What is looked at.
struct Seen<'c> {
    names: Vec<String>,
    pod: &'c Value,
    begin: Instant,
    acted_at: Option<Instant>,
    deleted_at: Option<Instant>,
}

impl Seen<'_> {
    fn act(&mut self, run: &Run<'_>, action: &str) -> Result<(), String> {
        if let Some(what) = action.strip_prefix("wait ") {
            let condition = condition(what, &self.names).ok_or("not understood")?;
            let limit = Instant::now() + PATIENCE;
            loop {
                let history = self.history(&run.lines(), Instant::now());
                if condition.holds(&history, history.end) {
                    return Ok(());
                }
                if Instant::now() > limit {
                    return Err("it does not come".to_owned());
                }
                pause(Duration::from_millis(50));
            }
        }
        if !action.starts_with("delete pod") {
            return Err("not understood".to_owned());
        }
        self.acted_at = Some(Instant::now());
        self.deleted_at = self.acted_at;
        run.signal(Signal::SIGTERM);
        Ok(())
    }

    /// A time of the case.
    fn time(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.begin) * FASTER
    }

    fn history(&self, lines: &[Line], acted: Instant) -> History {
        let actions_ended = self.acted_at.map_or(Duration::ZERO, |_| self.time(acted));
        let mut history = History {
            acted_at: self.acted_at.map_or(Duration::ZERO, |at| self.time(at)),
            actions_ended,
            end: self.time(Instant::now()),
            grace: grace(self.pod) * FASTER,
            ..History::default()
        };
        if let Some(at) = self.deleted_at {
            history.note(self.time(at), "pod", What::Delete);
        }
        let inits = self.pod["initContainers"].as_array().map_or(0, Vec::len);
        let mut status = PodStatus {
            phase: "Pending".to_owned(),
            reason: String::new(),
            conditions: BTreeMap::new(),
            containers: (self.names.iter().enumerate())
                .map(|(position, name)| ContainerStatus {
                    name: name.clone(),
                    is_init: position < inits,
                    state: State::Waiting(String::new()),
                    last: None,
                    restarts: 0,
                    started: false,
                    ready: false,
                    is_new: false,
                })
                .collect(),
        };
        history.note_status(Duration::ZERO, status.clone());
        for line in lines {
            let at = self.time(line.at);
            note_line(&line.text, at, &mut status, &mut history);
            history.note_status(at, status.clone());
        }
        history
    }
}

/// One line: of a container, of a hook that writes to its container's output, or of ours.
fn note_line(line: &str, at: Duration, status: &mut PodStatus, history: &mut History) {
    let mut words = line.split_whitespace().skip(1);
    let (Some(name), Some(mark)) = (words.next(), words.next()) else { return };
    let text = words.collect::<Vec<_>>().join(" ");
    let text = text.trim_start_matches("warning: ").trim_start_matches("error: ").to_owned();
    if mark == "|" {
        // A hook's line begins with its own name.
        let (who, word) = text.split_once(": ").unwrap_or((name, &text));
        match word {
            "Starting" => history.note(at, who, What::Starting),
            "Started" => history.note(at, who, What::Started),
            "Exiting" => history.note(at, who, What::Exiting),
            _ => {}
        }
        return;
    }
    if name != "outrigger" {
        return;
    }
    if let Some(rest) = text.strip_prefix("pod pod: ") {
        let word = rest.split(',').next().unwrap_or_default();
        if ["Pending", "Running", "Succeeded", "Failed"].contains(&word) {
            word.clone_into(&mut status.phase);
            if word == "Succeeded" || word == "Failed" {
                history.gone = Some(at);
            }
        }
        return;
    }
    let Some((name, what)) = text.strip_prefix("pod/").and_then(|rest| rest.split_once(": ")) else { return };
    let Some(container) = status.containers.iter_mut().find(|it| it.name == name) else { return };
    if what.starts_with("started") {
        if let State::Terminated(end) = std::mem::replace(&mut container.state, State::Running) {
            container.restarts += 1;
            container.last = Some(end);
        }
    } else if what.starts_with("stopping with ") {
        history.note(at, name, What::Sigterm);
    } else if what.starts_with("killing all its processes") {
        history.note(at, name, What::Sigkill);
    } else if let Some(code) = exit_code(what) {
        history.note(at, name, What::Exited(code));
        let reason = if code == 0 { "Completed" } else { "Error" };
        let end = End { code, reason: reason.to_owned(), message: String::new(), finished_at: Some(at) };
        container.state = State::Terminated(end);
    }
}

fn exit_code(what: &str) -> Option<u8> {
    if what.starts_with("completed") {
        return Some(0);
    }
    if what.starts_with("killed by SIGKILL") {
        return Some(137);
    }
    let rest = what.strip_prefix("exited with ")?;
    let rest = rest.strip_prefix("code ").unwrap_or(rest);
    rest.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
}

fn grace(pod: &Value) -> Duration {
    let own = pod.get("terminationGracePeriodSeconds").and_then(json_seconds);
    own.unwrap_or(Duration::from_secs(30)) / FASTER
}

/// The pod in our words; its containers execute scripts that the machine has.
fn pod_file(machine: &Machine, pod: &Value) -> Result<String, String> {
    let policy = |it: &Value| match it.as_str() {
        Some("Always") => "always",
        Some("OnFailure") => "on-failure",
        _ => "never",
    };
    let mut text = format!(
        "name = \"pod\"\nrestart-policy = {:?}\ntermination-grace-period = \"{}ms\"\n",
        policy(pod.get("restartPolicy").unwrap_or(&"Always".into())),
        grace(pod).as_millis()
    );
    let containers = containers_of(pod);
    for container in &containers {
        let name = container["name"].as_str().ok_or("a container has no name")?;
        write!(text, "[[volumes]]\nname = {name:?}\nempty = true\n").unwrap();
    }
    let inits = pod["initContainers"].as_array().map_or(0, Vec::len);
    for (position, container) in containers.iter().enumerate() {
        let name = container["name"].as_str().ok_or("a container has no name")?;
        let section = if position < inits { "init-containers" } else { "containers" };
        machine.script(name, &script(&behaviour(container)?));
        write!(
            text,
            "[[{section}]]\nname = {name:?}\nrootfs = \"ROOTFS\"\ncommand = [\"/demo/{name}\"]\n\
             working-directory = \"/data\"\nmounts = [{{ volume = {name:?}, path = \"/data\" }}]\n"
        )
        .unwrap();
        if let Some(own) = container.get("restartPolicy") {
            writeln!(text, "restart-policy = {:?}", policy(own)).unwrap();
        }
        for rule in container.get("restartPolicyRules").and_then(Value::as_array).into_iter().flatten() {
            let values = &rule["exitCodes"]["values"];
            writeln!(
                text,
                "restart-policy-rules = [{{ action = \"restart\", exit-codes = {{ operator = \"in\", values = {values} }} }}]"
            )
            .unwrap();
        }
        for kind in ["startup", "liveness", "readiness"] {
            if let Some(probe) = container.get(format!("{kind}Probe")) {
                write_probe(&mut text, kind, probe)?;
            }
        }
        for (key, ours) in [("postStart", "post-start"), ("preStop", "pre-stop")] {
            if let Some(hook) = container.get(key) {
                let file = format!("{name}-{ours}");
                machine.script(&file, &hook_script(hook)?);
                writeln!(text, "{ours} = {{ exec = {{ command = [\"/demo/{file}\"] }} }}").unwrap();
            }
        }
    }
    Ok(text)
}

fn write_probe(text: &mut String, kind: &str, probe: &Value) -> Result<(), String> {
    let command = probe.get("exec").filter(|it| it.is_array()).ok_or("only commands can be asked here")?;
    // A try takes as long as it takes: its timeout is not shortened.
    write!(text, "{kind}-probe = {{ exec = {{ command = {command} }}, timeout = \"5s\"").unwrap();
    let seconds = |key: &str, default: u64| {
        probe.get(key).and_then(json_seconds).unwrap_or(Duration::from_secs(default)) / FASTER
    };
    write!(text, ", initial-delay = \"{}ms\"", seconds("initialDelaySeconds", 0).as_millis()).unwrap();
    write!(text, ", period = \"{}ms\"", seconds("periodSeconds", 10).as_millis()).unwrap();
    if let Some(threshold) = probe.get("failureThreshold") {
        write!(text, ", failure-threshold = {threshold}").unwrap();
    }
    text.push_str(" }\n");
    Ok(())
}

fn short(duration: Duration) -> String {
    format!("{:.3}", (duration / FASTER).as_secs_f64())
}

/// The container model as a shell script. `wait` is what a trap interrupts.
fn script(behaviour: &Behaviour) -> String {
    let run = behaviour.run(0);
    let mut text = String::new();
    if let Some(handler) = &behaviour.on_sigterm {
        let (takes, exit) = (short(handler.takes), handler.exit);
        writeln!(text, "term() {{ sleep {takes}; echo Exiting; exit {exit}; }}\ntrap term TERM").unwrap();
    }
    writeln!(text, "echo Starting").unwrap();
    if !run.start_delay.is_zero() {
        writeln!(text, "sleep {} & wait $!", short(run.start_delay)).unwrap();
    }
    writeln!(text, "touch started\necho Started").unwrap();
    match run.lasts {
        Some(lasts) => writeln!(
            text,
            "sleep {} & wait $!\necho Exiting\nexit {}",
            short(lasts.saturating_sub(run.start_delay)),
            run.exit
        ),
        None => writeln!(text, "while true; do sleep 1 & wait $!; done"),
    }
    .unwrap();
    text
}

/// A hook that writes down what it does among the lines of its container.
fn hook_script(hook: &Value) -> Result<String, String> {
    let it = logged(hook).ok_or("only hooks that write down what they do can be made here")?;
    let exit = hook["exec"]["exitCode"].as_u64().unwrap_or(0);
    let lasts = it.lasts.ok_or("only hooks that end can be made here")?;
    let name = it.name;
    Ok(format!(
        "exec > /proc/1/fd/1\necho '{name}: Starting'\nsleep {}\necho '{name}: Started'\nsleep {}\n\
         echo '{name}: Exiting'\nexit {exit}",
        short(it.start_delay),
        short(lasts.saturating_sub(it.start_delay))
    ))
}
