//! The phase and the conditions of a pod from statuses alone, as Kubernetes' own tests ask for
//! them: also from statuses that this supervisor never comes to.

use outrigger::config::plan::Role;
use outrigger::supervisor::condition::{self, Kind};
use outrigger::supervisor::phase::{Phase, of_statuses};
use outrigger::supervisor::status::{
    ContainerState, ContainerStatus, StatusView, Terminated, TerminatedReason, WaitingReason,
};
use outrigger::time::Instant;

/// A container in words: its role, its state, and what else is to be said.
///
/// `none` is no status; `new` waits and has never run; `again 3` waits and has exited with 3;
/// `exited 3`. `over`: it is not started again. `started`, `ready`.
fn view(words: &'static str) -> StatusView<'static> {
    let mut words_left = words.split(' ');
    let name = words_left.next().unwrap();
    let role = match name.trim_end_matches(char::is_numeric) {
        "init" => Role::Init,
        "side" => Role::Sidecar,
        "main" => Role::Main,
        _ => panic!("`{words}` has no role"),
    };
    let mut view = StatusView { name, role, status: None, restartable: true };
    let waiting = ContainerState::Waiting { reason: WaitingReason::CrashLoopBackOff, message: "" };
    let mut status =
        ContainerStatus { state: waiting, last_state: None, restart_count: 0, started: false, ready: false };
    while let Some(word) = words_left.next() {
        let mut ended = || Terminated {
            exit_code: words_left.next().unwrap().parse().unwrap(),
            signal: None,
            reason: TerminatedReason::Error,
            message: "",
            started_at: None,
            finished_at: None,
        };
        match word {
            "none" => return view,
            "new" => {}
            "running" => status.state = ContainerState::Running { started_at: Instant::ZERO },
            "again" => status.last_state = Some(ended()),
            "exited" => status.state = ContainerState::Terminated(ended()),
            "over" => view.restartable = false,
            "started" => status.started = true,
            "ready" => status.ready = true,
            _ => panic!("`{words}` has `{word}`"),
        }
    }
    view.status = Some(status);
    view
}

fn views(words: &'static str) -> impl Iterator<Item = StatusView<'static>> + Clone {
    words.split(", ").filter(|words| !words.is_empty()).map(view)
}

#[test]
fn phases_are_those_of_kubernetes() {
    use Phase::{Failed, Pending, Running, Succeeded};
    // Statuses; then the phase of a pod that is: not initialized, initialized, initialized and at
    // its end.
    for (words, expected) in [
        ("main none", [Pending, Pending, Pending]),
        ("main new", [Pending, Pending, Pending]),
        ("main running", [Running, Running, Running]),
        ("main running, main none", [Pending, Pending, Pending]),
        ("main running, main new", [Pending, Pending, Pending]),
        ("main running, main again 1", [Running, Running, Running]),
        ("main running, main exited 1 over", [Running, Running, Running]),
        ("main exited 0", [Running, Running, Succeeded]),
        ("main exited 0 over", [Succeeded, Succeeded, Succeeded]),
        ("main exited 1 over", [Failed, Failed, Failed]),
        ("main exited 1", [Running, Running, Failed]),
        ("main exited 0 over, main exited 1 over", [Failed, Failed, Failed]),
        ("main exited 0 over, main exited 1", [Running, Running, Failed]),
        ("main exited 0 over, main none", [Pending, Pending, Pending]),
        ("main again 1", [Running, Running, Failed]),
        ("main again 0 over", [Failed, Failed, Failed]),
        ("init none, main running", [Pending, Pending, Pending]),
        ("init new, main new", [Pending, Pending, Pending]),
        ("init running, main new", [Pending, Pending, Pending]),
        ("init running, main again 0", [Pending, Pending, Pending]),
        ("init again 1, main new", [Pending, Pending, Pending]),
        ("init exited 1 over, main new", [Failed, Failed, Failed]),
        ("init again 1 over, main new", [Failed, Failed, Failed]),
        ("init exited 1, main again 0", [Running, Running, Failed]),
        ("init exited 0, main running", [Running, Running, Running]),
        ("init exited 0, main new", [Pending, Pending, Pending]),
        ("side none, main running", [Pending, Pending, Pending]),
        ("side new, main new", [Pending, Pending, Pending]),
        ("side running, main again 1", [Pending, Running, Running]),
        ("side running started, main new", [Pending, Pending, Pending]),
        ("side running started, main running", [Running, Running, Running]),
        ("side running, main running", [Pending, Running, Running]),
        ("side again 1, main running", [Running, Running, Running]),
        ("side running started, main exited 0 over", [Running, Running, Running]),
        ("side exited 137, main exited 0 over", [Succeeded, Succeeded, Succeeded]),
        ("side exited 0, main exited 1 over", [Failed, Failed, Failed]),
        ("side again 1, main exited 0 over", [Succeeded, Succeeded, Succeeded]),
    ] {
        let phase = |terminal, initialized| of_statuses(views(words), terminal, initialized);
        assert_eq!([phase(false, false), phase(false, true), phase(true, true)], expected, "{words}");
    }
}

/// A condition in words.
fn words(condition: &condition::Condition, statuses: &'static str) -> String {
    let mut text = condition.holds.to_string();
    if let Some(reason) = condition.reason {
        text = format!("{text} {}", reason.name());
    }
    let mut message = String::new();
    condition.write_message(views(statuses), &mut message).unwrap();
    if message.is_empty() { text } else { format!("{text}: {message}") }
}

#[test]
fn initialized_is_as_in_kubernetes() {
    use Phase::{Failed, Pending, Running, Succeeded};
    for (statuses, phase, expected) in [
        ("main new", Pending, "true"),
        ("init1 exited 0 ready, init2 exited 0 ready, main new", Pending, "true"),
        (
            "init1 exited 0 ready, init2 running, main new",
            Pending,
            "false ContainersNotInitialized: containers with incomplete status: [init2]",
        ),
        (
            "init1 none, init2 new, main new",
            Pending,
            "false ContainersNotInitialized: containers with unknown status: [init1], containers with incomplete \
             status: [init2]",
        ),
        (
            "init1 again 1, init2 new, main new",
            Failed,
            "false ContainersNotInitialized: containers with incomplete status: [init1 init2]",
        ),
        ("init1 exited 0 ready, main exited 0 over", Succeeded, "true PodCompleted"),
        (
            "side running, main new",
            Pending,
            "false ContainersNotInitialized: containers with incomplete status: [side]",
        ),
        ("side running started, main new", Pending, "true"),
        ("side running, main running", Running, "true"),
        ("side running, main again 1", Running, "true"),
        ("side running, main exited 1", Running, "true"),
    ] {
        let condition = condition::initialized(views(statuses), true, phase);
        assert_eq!(words(&condition, statuses), expected, "{statuses}");
    }
    let unknown = condition::initialized(views("init1 none, init2 none, main none"), false, Pending);
    assert_eq!(words(&unknown, ""), "false UnknownContainerStatuses");
    let unknown = condition::initialized(views("main none"), false, Pending);
    assert_eq!(words(&unknown, ""), "true");
}

#[test]
fn readiness_is_as_in_kubernetes() {
    use Phase::{Failed, Pending, Running, Succeeded};
    for (statuses, phase, expected) in [
        ("main1 running ready, main2 running ready", Running, "true"),
        (
            "main1 running ready, main2 none",
            Pending,
            "false ContainersNotReady: containers with unknown status: [main2]",
        ),
        (
            "main1 running ready, main2 running",
            Running,
            "false ContainersNotReady: containers with unready status: [main2]",
        ),
        ("side1 running ready, side2 running ready, main running ready", Running, "true"),
        (
            "side none, main running ready",
            Pending,
            "false ContainersNotReady: containers with unknown status: [side]",
        ),
        (
            "side1 running ready, side2 running, main running ready",
            Running,
            "false ContainersNotReady: containers with unready status: [side2]",
        ),
        ("init exited 0, main running ready", Running, "true"),
        ("main exited 0 over", Succeeded, "false PodCompleted"),
        ("main exited 1 over", Failed, "false PodFailed"),
    ] {
        for kind in [Kind::ContainersReady, Kind::Ready] {
            let condition = condition::ready(kind, views(statuses), true, phase);
            assert_eq!(words(&condition, statuses), expected, "{statuses}");
        }
    }
    let unknown = condition::ready(Kind::Ready, views("main none"), false, Pending);
    assert_eq!(words(&unknown, ""), "false UnknownContainerStatuses");
}
