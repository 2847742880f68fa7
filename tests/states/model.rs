//! Every state of a container and of a pod, with every event in it, through the real supervisor:
//! the tables and diagrams of docs/states.md.
//!
//! `UPDATE_EXPECTED=1 cargo test --test states` writes them anew; read the difference before you
//! commit it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::Path;

use outrigger::supervisor::event::{ContainerEvent, Event};
use outrigger::supervisor::pod::{PodState, PodStopReason};
use outrigger::supervisor::record::State;

use super::drive::Drive;

/// The pod whose main container is looked at. The probes fail at the first failed try, so that
/// one event is enough.
const DEMO: &str = r#"
name = "demo"
restart-policy = "always"

[[init-containers]]
name = "init"
rootfs = "/srv/init"
command = ["/bin/init"]

[[init-containers]]
name = "side"
rootfs = "/srv/side"
command = ["/bin/side"]
restart-policy = "always"

[[containers]]
name = "app"
rootfs = "/srv/app"
command = ["/bin/app"]
startup-probe = { tcp-socket = { port = 80 }, failure-threshold = 1 }
liveness-probe = { tcp-socket = { port = 80 }, failure-threshold = 1 }
readiness-probe = { tcp-socket = { port = 80 }, failure-threshold = 1 }
"#;

/// The same, and the main container has hooks.
const HOOKED: &str = r#"
name = "demo"
restart-policy = "always"

[[init-containers]]
name = "init"
rootfs = "/srv/init"
command = ["/bin/init"]

[[init-containers]]
name = "side"
rootfs = "/srv/side"
command = ["/bin/side"]
restart-policy = "always"

[[containers]]
name = "app"
rootfs = "/srv/app"
command = ["/bin/app"]
liveness-probe = { tcp-socket = { port = 80 }, failure-threshold = 1 }
post-start = { exec = { command = ["/bin/begin"] } }
pre-stop = { exec = { command = ["/bin/end"] } }
"#;

/// A pod that starts when another is ready, and ends by itself.
const LATER: &str = r#"
name = "demo"
restart-policy = "never"
after = ["base"]
active-deadline = "5m"

[[init-containers]]
name = "init"
rootfs = "/srv/init"
command = ["/bin/init"]

[[containers]]
name = "app"
rootfs = "/srv/app"
command = ["/bin/app"]
restart-policy = "never"
restart-policy-rules = [{ action = "restart-all-containers", exit-codes = { operator = "in", values = [42] } }]
"#;

/// The other.
const BASE: &str = r#"
name = "base"
restart-policy = "never"

[[containers]]
name = "base-app"
rootfs = "/srv/app"
command = ["/bin/app"]
"#;

/// A state, or one of the situations in it.
struct Case {
    /// What it is called in the tables.
    name: &'static str,
    /// The events that lead there.
    script: &'static str,
}

/// Something that happens.
struct Happening {
    /// What it is called in the tables.
    name: &'static str,
    /// As events; empty for the passing of time.
    script: &'static str,
}

const fn case(name: &'static str, script: &'static str) -> Case {
    Case { name, script }
}

const fn happening(name: &'static str, script: &'static str) -> Happening {
    Happening { name, script }
}

/// The main container, in a pod that is active.
const CONTAINER: &[Case] = &[
    case("Absent", "set-up; init created; init started"),
    case("Creating", "UP"),
    case("Created, in the same turn", "UP; app created!"),
    case("Starting", "UP; app created"),
    case("Starting, its first process gone", "UP; app created; app exited 1"),
    case("PostStart, its hook runs", "HOOKS; UP; app created; app started"),
    case("Running, startup probe open", "UP; app created; app started"),
    case("Running, started", "UP; app created; app started; app startup succeeds"),
    case("Running, ready", "UP; app created; app started; app startup succeeds; app readiness succeeds"),
    case("Stopping", "UP; app created; app started; app startup fails"),
    case(
        "Stopping, its pre-stop hook runs",
        "HOOKS; UP; app created; app started; app post-start succeeds; app liveness fails",
    ),
    case("Killing", "UP; app created; app started; app startup fails; wait 31000"),
    case("Killing, before its command ran", "UP; wait 31000"),
    case("Exited, to be removed again", "UP; app created; app started; app exited 1; app remove-failed"),
    case("Removing", "UP; app created; app started; app exited 1"),
    case("Ended, pausing", "UP; RUN; app created; app started; app exited 1; app removed"),
];

/// The main container in a pod that is being stopped.
const STOPPING_CONTAINER: &[Case] = &[
    case("Absent", "set-up; init created; init started; stop"),
    case("Starting", "UP; app created; stop"),
    case("Starting, its first process gone", "UP; app created; app exited 1; stop"),
    case("Stopping", "UP; app created; app started; stop"),
    case(
        "Stopping, its pre-stop hook runs",
        "HOOKS; UP; app created; app started; app post-start succeeds; stop",
    ),
    case(
        "Stopping, its hook runs over the grace period",
        "HOOKS; UP; app created; app started; app post-start succeeds; stop; wait 30000",
    ),
    case("Killing", "UP; app created; app started; stop; wait 31000"),
    case("Killing, before its command ran", "UP; stop"),
    case(
        "Exited, to be removed again",
        "UP; app created; app started; stop; app exited 0; app remove-failed",
    ),
    case("Removing", "UP; app created; app started; stop; app exited 0"),
    case("Ended", "UP; app created; app started; stop; app exited 0; app removed"),
];

const CONTAINER_EVENTS: &[Happening] = &[
    happening("created", "app created"),
    happening("create failed", "app create-failed"),
    happening("started", "app started"),
    happening("start failed", "app start-failed"),
    happening("exited with 0", "app exited 0"),
    happening("exited with 1", "app exited 1"),
    happening("removed", "app removed"),
    happening("remove failed", "app remove-failed"),
    happening("startup probe succeeds", "app startup succeeds"),
    happening("startup probe fails", "app startup fails"),
    happening("liveness probe fails", "app liveness fails"),
    happening("readiness probe succeeds", "app readiness succeeds"),
    happening("readiness probe fails", "app readiness fails"),
    happening("post-start hook succeeds", "app post-start succeeds"),
    happening("post-start hook fails", "app post-start fails"),
    happening("pre-stop hook succeeds", "app pre-stop succeeds"),
    happening("pre-stop hook fails", "app pre-stop fails"),
    happening("its configuration changes", "app changed"),
    happening("termination message", "app message it was the disk"),
    happening("end of its log", "app last-lines it was the disk"),
    happening("time passes", ""),
    happening("a stop is requested", "stop"),
];

/// The pod `demo`, which is after `base`.
const POD: &[Case] = &[
    case("Waiting", ""),
    case("Waiting, to try again", "BASE; set-up-failed"),
    case("SettingUp", "BASE"),
    case("Active, its init container runs", "BASE; set-up; init created; init started"),
    case("Active, its main container runs", "BASE; UP; app created; app started"),
    case("RestartingAll", "BASE; UP; app created; app started; app exited 42"),
    case("Stopping", "BASE; UP; app created; app started; stop"),
    case("TearingDown", "BASE; UP; app created; app started; stop; app exited 0; app removed"),
    case(
        "TearingDown, to try again",
        "BASE; UP; app created; app started; stop; app exited 0; app removed; tear-down-failed",
    ),
    case("Ended", "BASE; UP; app created; app started; app exited 0; app removed; torn-down"),
];

const POD_EVENTS: &[Happening] = &[
    happening("the pod it is after is ready", "set-up base; base-app created; base-app started"),
    happening(
        "the pod it is after fails",
        "set-up base; base-app created; base-app exited 1; base-app started; base-app exited 1; base-app removed; \
         torn-down base",
    ),
    happening("set up", "set-up"),
    happening("set-up failed", "set-up-failed"),
    happening("init container fails", "init exited 1"),
    happening("main container asks to restart all", "app exited 42"),
    happening("main container ends, is removed", "app exited 0; app removed"),
    happening("torn down", "torn-down"),
    happening("tear-down failed", "tear-down-failed"),
    happening("time passes", ""),
    happening("a stop is requested", "stop"),
];

/// Scripts that are used again and again.
const WORDS: [(&str, &str); 4] = [
    // Which pod it is; see `Subject::drive`.
    ("HOOKS", ""),
    ("BASE", "set-up base; base-app created; base-app started"),
    ("UP", "set-up; init created; init started; init exited 0; init removed; side created; side started"),
    ("RUN", "app created; app started; app exited 1; app removed"),
];

fn script(text: &str, has_sidecar: bool) -> String {
    let mut text = text.to_owned();
    for (word, meaning) in WORDS {
        let meaning =
            if has_sidecar { meaning } else { meaning.trim_end_matches("; side created; side started") };
        text = text.replace(word, meaning);
    }
    text
}

/// The name of a container's state.
fn container_state(state: State) -> &'static str {
    match state {
        State::Absent => "Absent",
        State::Creating { .. } => "Creating",
        State::Created => "Created",
        State::Starting { .. } => "Starting",
        State::PostStart { .. } => "PostStart",
        State::Running { .. } => "Running",
        State::Stopping { .. } => "Stopping",
        State::Killing { .. } => "Killing",
        State::Exited { .. } => "Exited",
        State::Removing { .. } => "Removing",
        State::Ended { .. } => "Ended",
    }
}

const CONTAINER_STATES: [&str; 11] = [
    "Absent",
    "Creating",
    "Created",
    "Starting",
    "PostStart",
    "Running",
    "Stopping",
    "Killing",
    "Exited",
    "Removing",
    "Ended",
];

/// The name of a pod's state.
fn pod_state(state: PodState) -> &'static str {
    match state {
        PodState::Waiting { .. } => "Waiting",
        PodState::SettingUp => "SettingUp",
        PodState::Active => "Active",
        PodState::RestartingAll { .. } => "RestartingAll",
        PodState::Stopping { .. } => "Stopping",
        PodState::TearingDown { .. } => "TearingDown",
        PodState::Ended { .. } => "Ended",
    }
}

const POD_STATES: [&str; 7] =
    ["Waiting", "SettingUp", "Active", "RestartingAll", "Stopping", "TearingDown", "Ended"];

/// What is looked at.
#[derive(Clone, Copy, PartialEq)]
enum Subject {
    Container,
    Pod,
}

impl Subject {
    fn drive(self, script_of_case: &str) -> Drive {
        let (mut drive, has_sidecar) = match self {
            Subject::Container if script_of_case.starts_with("HOOKS") => (Drive::new(&[HOOKED]), true),
            Subject::Container => (Drive::new(&[DEMO]), true),
            Subject::Pod => (Drive::new(&[BASE, LATER]), false),
        };
        drive.feed(&script(script_of_case, has_sidecar));
        drive
    }

    fn state(self, drive: &Drive) -> &'static str {
        match self {
            Subject::Container => container_state(drive.record("app").state),
            Subject::Pod => pod_state(drive.view("demo").record.state),
        }
    }

    /// All that is known, to see whether an event has changed anything.
    fn knowledge(self, drive: &Drive) -> String {
        match self {
            Subject::Container => format!("{:?} {:?}", drive.record("app"), drive.view("demo").record.state),
            Subject::Pod => format!("{:?}", drive.view("demo").record),
        }
    }
}

/// Transitions between states, with what leads to them.
type Edges = BTreeMap<(&'static str, &'static str), BTreeSet<&'static str>>;

/// The tables of all cases, and the transitions that were seen.
fn tables(subject: Subject, cases: &[Case], happenings: &[Happening], edges: &mut Edges) -> String {
    let names: Vec<&str> = happenings.iter().map(|happening| happening.name).collect();
    let mut text =
        format!("What happens: {}. What a table does not have changes nothing.\n\n", names.join("; "));
    for case in cases {
        let from = subject.state(&subject.drive(case.script));
        assert!(case.name.starts_with(from), "the script of `{}` leads to {from}", case.name);
        let mut rows = String::new();
        // What follows by itself where nothing was decided yet.
        let undecided = case.script.ends_with('!').then(|| {
            let mut drive = subject.drive(case.script);
            let actions = drive.feed("wait 0");
            let to = subject.state(&drive);
            let _ = writeln!(rows, "| nothing more | {to} | {} |", actions.join(", "));
            edges.entry((from, to)).or_default();
            (subject.knowledge(&drive), actions)
        });
        for happening in happenings {
            let mut drive = subject.drive(case.script);
            let before = subject.knowledge(&drive);
            let pod = pod_state(drive.view("demo").record.state);
            let mut actions = match happening.script {
                "" => drive.wait_for_action(),
                script => drive.feed(script),
            };
            actions.retain(|action| !action.contains("base"));
            let after = (subject.knowledge(&drive), actions);
            let nothing = undecided.as_ref().map_or(after == (before, Vec::new()), |alone| after == *alone);
            let (_, actions) = after;
            if nothing {
                continue;
            }
            let to = subject.state(&drive);
            if to != from {
                edges.entry((from, to)).or_default().insert(happening.name);
            }
            let mut becomes = if to == from { "stays".to_owned() } else { to.to_owned() };
            let pod_now = pod_state(drive.view("demo").record.state);
            if subject == Subject::Container && pod_now != pod {
                let _ = write!(becomes, "; the pod {pod_now}");
            }
            let _ = writeln!(rows, "| {} | {becomes} | {} |", happening.name, actions.join(", "));
        }
        let _ = writeln!(
            text,
            "### {}\n\n| What happens | Becomes | Asked for |\n|---|---|---|\n{rows}",
            case.name
        );
    }
    text
}

fn diagram(edges: &Edges) -> String {
    let mut text = "```mermaid\nstateDiagram-v2\n".to_owned();
    for ((from, to), labels) in edges {
        let labels: Vec<&str> = labels.iter().copied().collect();
        let labels = if labels.is_empty() { "at once".to_owned() } else { labels.join(", ") };
        let _ = writeln!(text, "    {from} --> {to}: {labels}");
    }
    text + "```\n"
}

/// What becomes of a container that has ended: by role, policy and end.
fn ends() -> String {
    let mut text =
        "| Container | Its end | `always` | `on-failure` | `never` |\n|---|---|---|---|---|\n".to_owned();
    for (name, title, before) in [
        ("init", "init container", "set-up; init created; init started"),
        ("side", "sidecar", "UP; app created; app started"),
        ("app", "main container", "UP; app created; app started; app startup succeeds"),
    ] {
        for (end, title_of_end) in [
            ("exited 0", "exit code 0"),
            ("exited 1", "another exit code"),
            ("killed-by 11", "a signal"),
            ("oom-killed 0", "exit code 0, something was OOM-killed"),
            ("gone", "nobody knows how"),
        ] {
            let _ = write!(text, "| {title} | {title_of_end} |");
            for policy in ["always", "on-failure", "never"] {
                let pod = DEMO.replacen(
                    "restart-policy = \"always\"",
                    &format!("restart-policy = \"{policy}\""),
                    1,
                );
                let mut drive = Drive::new(&[&pod]);
                drive.feed(&script(before, true));
                let actions = drive.feed(&format!("{name} {end}; {name} removed"));
                let again = actions.contains(&format!("create {name}"));
                let stops = pod_state(drive.view("demo").record.state) != "Active";
                let next = match name {
                    "init" => "create side".to_owned(),
                    _ => String::new(),
                };
                let word = match (again, stops) {
                    (true, false) => "again",
                    (false, true) if drive.view("demo").record.stop_reason().is_some_and(is_failure) => {
                        "the pod fails"
                    }
                    (false, true) => "the pod is done",
                    (false, false) if actions.contains(&next) => "the next one starts",
                    (false, false) => "stays",
                    (true, true) => panic!("{name} {end} {policy}: again in a pod that stops"),
                };
                let _ = write!(text, " {word} |");
            }
            text.push('\n');
        }
    }
    text
}

fn is_failure(reason: PodStopReason) -> bool {
    match reason {
        PodStopReason::InitFailed(_)
        | PodStopReason::DependencyFailed(_)
        | PodStopReason::DeadlineExceeded
        | PodStopReason::RestartedTooOften => true,
        PodStopReason::Completed | PodStopReason::Requested => false,
    }
}

/// The document with its generated parts anew.
fn renew(document: &str, parts: &[(&str, String)]) -> String {
    let mut document = document.to_owned();
    for (name, part) in parts {
        let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->"));
        let from = document.find(&begin).unwrap_or_else(|| panic!("docs/states.md has no `{begin}`"));
        let to = document.find(&end).unwrap_or_else(|| panic!("docs/states.md has no `{end}`"));
        document.replace_range(from + begin.len()..to, &format!("\n{}\n", part.trim_end().to_owned() + "\n"));
    }
    document
}

#[test]
fn the_documented_states_are_those_of_the_supervisor() {
    let (mut container, mut stopping, mut pod) = (Edges::new(), Edges::new(), Edges::new());
    let container_tables = tables(Subject::Container, CONTAINER, CONTAINER_EVENTS, &mut container);
    let stopping_tables = tables(Subject::Container, STOPPING_CONTAINER, CONTAINER_EVENTS, &mut stopping);
    let pod_tables = tables(Subject::Pod, POD, POD_EVENTS, &mut pod);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/states.md");
    let document = fs::read_to_string(&path).unwrap();
    let renewed = renew(
        &document,
        &[
            ("pod diagram", diagram(&pod)),
            ("container diagram", diagram(&container)),
            ("stopping container diagram", diagram(&stopping)),
            ("ends", ends()),
            ("pod tables", pod_tables),
            ("container tables", container_tables),
            ("stopping container tables", stopping_tables),
        ],
    );
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        fs::write(&path, renewed).unwrap();
    } else {
        let differs = document.lines().zip(renewed.lines()).find(|(documented, made)| documented != made);
        assert!(document == renewed, "docs/states.md is not what the supervisor does: {differs:?}");
    }
}

#[test]
fn every_state_is_looked_at() {
    let begin = |cases: &[Case]| {
        cases.iter().map(|case| case.name.split(',').next().unwrap()).collect::<BTreeSet<_>>()
    };
    assert_eq!(begin(CONTAINER), CONTAINER_STATES.into_iter().collect());
    assert_eq!(begin(POD), POD_STATES.into_iter().collect());
}

/// The kind of an event.
fn kind(event: &Event) -> &'static str {
    match event {
        Event::PodSetUp(_) => "PodSetUp",
        Event::PodSetUpFailed(..) => "PodSetUpFailed",
        Event::PodTornDown(_) => "PodTornDown",
        Event::PodTearDownFailed(..) => "PodTearDownFailed",
        Event::StopRequested(_) => "StopRequested",
        Event::ContainerChanged(_) => "ContainerChanged",
        Event::Container(_, _, event) => match event {
            ContainerEvent::Created => "Created",
            ContainerEvent::CreateFailed(_) => "CreateFailed",
            ContainerEvent::Started => "Started",
            ContainerEvent::StartFailed(_) => "StartFailed",
            ContainerEvent::Exited(_) => "Exited",
            ContainerEvent::Removed => "Removed",
            ContainerEvent::RemoveFailed(_) => "RemoveFailed",
            ContainerEvent::Probed(..) => "Probed",
            ContainerEvent::HookEnded(..) => "HookEnded",
            ContainerEvent::TerminationMessage(_) => "TerminationMessage",
            ContainerEvent::LastLines(_) => "LastLines",
            ContainerEvent::Notified(_) => "Notified",
        },
    }
}

const KINDS: [&str; 17] = [
    "PodSetUp",
    "PodSetUpFailed",
    "PodTornDown",
    "PodTearDownFailed",
    "StopRequested",
    "ContainerChanged",
    "Created",
    "CreateFailed",
    "Started",
    "StartFailed",
    "Exited",
    "Removed",
    "RemoveFailed",
    "Probed",
    "HookEnded",
    "TerminationMessage",
    "LastLines",
];

#[test]
fn every_event_happens() {
    let kinds = |drive: Drive, happenings: &[Happening]| {
        let events = happenings.iter().flat_map(|it| it.script.split("; ")).filter(|words| !words.is_empty());
        events.map(|words| kind(&drive.event(words))).collect::<BTreeSet<_>>()
    };
    let mut seen = kinds(Subject::Container.drive(""), CONTAINER_EVENTS);
    seen.extend(kinds(Subject::Pod.drive(""), POD_EVENTS));
    assert_eq!(seen, KINDS.into_iter().collect());
}
