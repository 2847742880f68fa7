//! What Kubernetes would say, rule by rule: events, and the status of each container after them.

use std::fmt::Write;

use outrigger::supervisor::condition::conditions;
use outrigger::supervisor::status::{ContainerState, Terminated, pod_status, views};

use super::drive::Drive;

/// An init container, a sidecar with a startup probe, a main container with a readiness probe.
pub(crate) const THREE: &str = r#"
name = "demo"
restart-policy = "POLICY"

[[init-containers]]
name = "init"
rootfs = "/srv/init"
command = ["/bin/init"]

[[init-containers]]
name = "side"
rootfs = "/srv/side"
command = ["/bin/side"]
restart-policy = "always"
startup-probe = { tcp-socket = { port = 80 }, period = "1s", failure-threshold = 1 }

[[containers]]
name = "app"
rootfs = "/srv/app"
command = ["/bin/app"]
readiness-probe = { tcp-socket = { port = 81 }, period = "1s", failure-threshold = 1 }
"#;

/// One main container.
pub(crate) const ONE: &str = r#"
name = "demo"
restart-policy = "POLICY"

[[containers]]
name = "app"
rootfs = "/srv/app"
command = ["/bin/app"]
"#;

/// One whose last lines can be its message.
const FALLBACK: &str = r#"
name = "demo"
restart-policy = "POLICY"

[[containers]]
name = "app"
rootfs = "/srv/app"
command = ["/bin/app"]
termination-message-policy = "fallback-to-logs-on-error"
"#;

/// One with a post-start hook.
const HOOKED: &str = r#"
name = "demo"
restart-policy = "POLICY"

[[containers]]
name = "app"
rootfs = "/srv/app"
command = ["/bin/app"]
post-start = { exec = { command = ["/bin/begin"] } }
"#;

/// One that is not to run for longer than a minute.
const DEADLINE: &str = r#"
name = "demo"
restart-policy = "POLICY"
active-deadline = "1m"

[[containers]]
name = "app"
rootfs = "/srv/app"
command = ["/bin/app"]
"#;

/// An init container, and two main containers, of which one can have all restarted.
pub(crate) const RULE: &str = r#"
name = "demo"
restart-policy = "POLICY"

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

[[containers]]
name = "helper"
rootfs = "/srv/app"
command = ["/bin/helper"]
"#;

fn terminated(end: &Terminated<'_>) -> String {
    let mut text = format!("{} {}", end.reason.name(), end.exit_code);
    if let Some(signal) = end.signal {
        let _ = write!(text, " (signal {signal})");
    }
    if let (Some(started), Some(finished)) = (end.started_at, end.finished_at) {
        let _ = write!(text, " after {} ms", finished.since(started).as_millis());
    }
    if !end.message.is_empty() {
        let _ = write!(text, ": {}", end.message);
    }
    text
}

/// One line for the pod with its conditions, one for each container.
pub(crate) fn describe(drive: &Drive) -> Vec<String> {
    let view = drive.view("demo");
    let status = pod_status(&view);
    let mut pod = format!("pod: {}", status.phase.name());
    if let Some(reason) = status.reason {
        let _ = write!(pod, " {}", reason.name());
    }
    for condition in conditions(&view) {
        if condition.holds {
            let _ = write!(pod, ", {}", condition.kind.name());
        }
    }
    let mut lines = vec![pod];
    for view in views(&view) {
        let status = view.status.unwrap();
        let mut line = format!("{}: ", view.name);
        match status.state {
            ContainerState::Waiting { reason, message: "" } => {
                let _ = write!(line, "waiting {}", reason.name());
            }
            ContainerState::Waiting { reason, message } => {
                let _ = write!(line, "waiting {}: {message}", reason.name());
            }
            ContainerState::Running { started_at } => {
                let _ = write!(line, "running for {} ms", drive.now.since(started_at).as_millis());
            }
            ContainerState::Terminated(end) => {
                let _ = write!(line, "terminated {}", terminated(&end));
            }
        }
        if let Some(last) = &status.last_state {
            let _ = write!(line, "; last {}", terminated(last));
        }
        if status.restart_count > 0 {
            let _ = write!(line, "; restarts {}", status.restart_count);
        }
        for (word, holds) in [("started", status.started), ("ready", status.ready)] {
            if holds {
                let _ = write!(line, "; {word}");
            }
        }
        lines.push(line);
    }
    lines
}

/// A rule, a pod, its policy, the events, and what is said then.
type Row = (&'static str, &'static str, &'static str, &'static str, &'static [&'static str]);

#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("before anything was done", ONE, "always", "", &[
        "pod: Pending, Initialized",
        "app: waiting ContainerCreating",
    ]),
    ("a container that is being made", ONE, "always", "set-up", &[
        "pod: Pending, PodReadyToStartContainers, Initialized",
        "app: waiting ContainerCreating",
    ]),
    ("a container that runs without probes is started and ready", ONE, "always",
     "set-up; app created; app started; wait 1500", &[
        "pod: Running, PodReadyToStartContainers, Initialized, ContainersReady, Ready",
        "app: running for 1500 ms; started; ready",
    ]),
    ("a restart without a pause: the end is shown until the next start", ONE, "always",
     "set-up; app created; app started; wait 1500; app exited 3", &[
        "pod: Running, PodReadyToStartContainers, Initialized",
        "app: terminated Error 3 after 1500 ms",
    ]),
    ("a restart is under way: what was before is the last state", ONE, "always",
     "set-up; app created; app started; wait 1500; app exited 3; app removed", &[
        "pod: Running, PodReadyToStartContainers, Initialized",
        "app: waiting CrashLoopBackOff; last Error 3 after 1500 ms; restarts 1",
    ]),
    ("restarted", ONE, "always",
     "set-up; app created; app started; wait 1500; app exited 3; app removed; app created; app started", &[
        "pod: Running, PodReadyToStartContainers, Initialized, ContainersReady, Ready",
        "app: running for 0 ms; last Error 3 after 1500 ms; restarts 1; started; ready",
    ]),
    ("a pause before the next restart: it waits, and the end is the last state", ONE, "always",
     "set-up; app created; app started; app exited 3; app removed; app created; app started; wait 20; app killed-by 11", &[
        "pod: Running, PodReadyToStartContainers, Initialized",
        "app: waiting CrashLoopBackOff; last Error 139 (signal 11) after 20 ms; restarts 1",
    ]),
    ("a main container that completes under always pauses as well", ONE, "always",
     "set-up; app created; app started; app exited 0; app removed; app created; app started; wait 5; app exited 0; app removed", &[
        "pod: Running, PodReadyToStartContainers, Initialized",
        "app: waiting CrashLoopBackOff; last Completed 0 after 5 ms; restarts 1",
    ]),
    ("the last state is that of the instance before the one that is shown", ONE, "on-failure",
     "set-up; app created; app started; wait 7; app exited 3; app removed; app created; app started; wait 8; app exited 0", &[
        "pod: Running, PodReadyToStartContainers, Initialized",
        "app: terminated Completed 0 after 8 ms; last Error 3 after 7 ms; restarts 1",
    ]),
    ("a container that cannot be made", ONE, "never", "set-up; app create-failed", &[
        "pod: Pending, PodReadyToStartContainers, Initialized",
        "app: waiting CreateContainerError: no such file",
    ]),
    ("the reason stays while it is tried again", ONE, "never",
     "set-up; app create-failed; app removed; wait 20000", &[
        "pod: Pending, PodReadyToStartContainers, Initialized",
        "app: waiting CreateContainerError: no such file",
    ]),
    ("a container whose command cannot be started", ONE, "never", "set-up; app created; app start-failed", &[
        "pod: Pending, PodReadyToStartContainers, Initialized",
        "app: waiting RunContainerError: exec format error",
    ]),
    ("a start that fails after a run keeps the run as last state, and the pod Running", ONE, "always",
     "set-up; app created; app started; wait 9; app exited 1; app removed; app create-failed", &[
        "pod: Running, PodReadyToStartContainers, Initialized",
        "app: waiting CreateContainerError: no such file; last Error 1 after 9 ms; restarts 1",
    ]),
    ("once it runs, the failed start is forgotten", ONE, "never",
     "set-up; app create-failed; app removed; wait 20000; app created; app started", &[
        "pod: Running, PodReadyToStartContainers, Initialized, ContainersReady, Ready",
        "app: running for 0 ms; started; ready",
    ]),
    ("a runtime that is too slow has failed", ONE, "never",
     "set-up; wait 40000; app create-failed", &[
        "pod: Pending, PodReadyToStartContainers, Initialized",
        "app: waiting CreateContainerError: the runtime's `create` was not done after 30 s",
    ]),
    ("killed by the memory limit", ONE, "never",
     "set-up; app created; app started; wait 5; app oom-killed", &[
        "pod: Running, PodReadyToStartContainers, Initialized",
        "app: terminated OOMKilled 137 (signal 9) after 5 ms",
    ]),
    ("killed for good after its grace period: 137, Error", ONE, "never",
     "set-up; app created; app started; stop; wait 31000; app killed-by 9; app removed; torn-down", &[
        "pod: Failed, Initialized",
        "app: terminated Error 137 (signal 9) after 31000 ms",
    ]),
    ("nobody knows how it ended", ONE, "never",
     "set-up; app created; app started; wait 5; app gone", &[
        "pod: Running, PodReadyToStartContainers, Initialized",
        "app: terminated ContainerStatusUnknown 137 after 5 ms",
    ]),
    ("what the pod ends as is held back until nothing of it runs", ONE, "on-failure",
     "set-up; app created; app started; wait 5; app exited 0", &[
        "pod: Running, PodReadyToStartContainers, Initialized",
        "app: terminated Completed 0 after 5 ms",
    ]),
    ("and is then said with its conditions", ONE, "on-failure",
     "set-up; app created; app started; wait 5; app exited 0; app removed; torn-down", &[
        "pod: Succeeded, Initialized",
        "app: terminated Completed 0 after 5 ms",
    ]),
    ("a stop in a back-off: it does not wait any more", ONE, "always",
     "set-up; app created; app started; wait 5; app exited 1; app removed; app created; app started; wait 6; app exited 2; app removed; stop; torn-down", &[
        "pod: Failed, Initialized",
        "app: terminated Error 2 after 6 ms; last Error 1 after 5 ms; restarts 1",
    ]),
    ("a stop before anything has run", ONE, "always", "set-up; stop; app created; app killed-by 9; app removed; torn-down", &[
        "pod: Failed, Initialized",
        "app: terminated ContainerStatusUnknown 137: the pod has ended before the container was started",
    ]),
    ("a stop after a start that failed", ONE, "always", "set-up; app created; app start-failed; app removed; stop; torn-down", &[
        "pod: Failed, Initialized",
        "app: terminated StartError 128: exec format error",
    ]),
    ("a container runs when its post-start hook has ended", HOOKED, "always",
     "set-up; app created; app started; wait 5", &[
        "pod: Pending, PodReadyToStartContainers, Initialized",
        "app: waiting ContainerCreating",
    ]),
    ("and counts from its start", HOOKED, "always",
     "set-up; app created; app started; wait 5; app post-start succeeds", &[
        "pod: Running, PodReadyToStartContainers, Initialized, ContainersReady, Ready",
        "app: running for 5 ms; started; ready",
    ]),
    ("a post-start hook that fails", HOOKED, "always",
     "set-up; app created; app started; app post-start fails", &[
        "pod: Pending, PodReadyToStartContainers, Initialized",
        "app: waiting PostStartHookError: exited with 1",
    ]),
    ("and what follows", HOOKED, "always",
     "set-up; app created; app started; app post-start fails; wait 5; app exited 0; app removed; app created", &[
        "pod: Running, PodReadyToStartContainers, Initialized",
        "app: waiting PostStartHookError; last Completed 0 after 5 ms; restarts 1",
    ]),
    ("a rule restarts all containers: they are stopped", RULE, "never",
     "set-up; init created; init started; init exited 0; init removed; app created; app started; helper created; helper started;
      wait 5; app exited 42", &[
        "pod: Running, PodReadyToStartContainers, AllContainersRestarting, Initialized",
        "init: terminated Completed 0 after 0 ms; ready",
        "app: terminated Error 42 after 5 ms",
        "helper: running for 5 ms; started; ready",
    ]),
    ("and start from the first one on", RULE, "never",
     "set-up; init created; init started; init exited 0; init removed; app created; app started; helper created; helper started;
      wait 5; app exited 42; app removed; helper killed-by 9; helper removed", &[
        "pod: Pending, PodReadyToStartContainers, Initialized",
        "init: waiting RestartingAllContainers; last Completed 0 after 0 ms; restarts 1",
        "app: waiting RestartingAllContainers; last Error 42 after 5 ms",
        "helper: waiting RestartingAllContainers; last RestartingAllContainers 137 (signal 9) after 5 ms",
    ]),
    ("the pod is Pending while its init containers run again", RULE, "never",
     "set-up; init created; init started; init exited 0; init removed; app created; app started; helper created; helper started;
      wait 5; app exited 42; app removed; helper killed-by 9; helper removed; init created; init started", &[
        "pod: Pending, PodReadyToStartContainers, Initialized",
        "init: running for 0 ms; last Completed 0 after 0 ms; restarts 1; started",
        "app: waiting RestartingAllContainers; last Error 42 after 5 ms",
        "helper: waiting RestartingAllContainers; last RestartingAllContainers 137 (signal 9) after 5 ms",
    ]),
    ("a pod whose active deadline is over", DEADLINE, "never",
     "set-up; app created; app started; wait 60000; app killed-by 15; app removed; torn-down", &[
        "pod: Failed DeadlineExceeded, Initialized",
        "app: terminated Error 143 (signal 15) after 60000 ms",
    ]),
    ("a termination message is told with the end", ONE, "never",
     "set-up; app created; app started; app message no disk; wait 5; app exited 1; app last-lines other", &[
        "pod: Running, PodReadyToStartContainers, Initialized",
        "app: terminated Error 1 after 5 ms: no disk",
    ]),
    ("the end of the log is not its message, whatever it was", ONE, "never",
     "set-up; app created; app started; app exited 1; app last-lines no disk", &[
        "pod: Running, PodReadyToStartContainers, Initialized",
        "app: terminated Error 1 after 0 ms",
    ]),
    ("unless the policy says so", FALLBACK, "never",
     "set-up; app created; app started; app exited 1; app last-lines no disk", &[
        "pod: Running, PodReadyToStartContainers, Initialized",
        "app: terminated Error 1 after 0 ms: no disk",
    ]),
    ("and only after a failure", FALLBACK, "never",
     "set-up; app created; app started; app exited 0; app last-lines all well", &[
        "pod: Running, PodReadyToStartContainers, Initialized",
        "app: terminated Completed 0 after 0 ms",
    ]),
    ("what the container itself has left goes before it", FALLBACK, "never",
     "set-up; app created; app started; app message no disk; app exited 1; app last-lines other", &[
        "pod: Running, PodReadyToStartContainers, Initialized",
        "app: terminated Error 1 after 0 ms: no disk",
    ]),
    ("a message is that of one instance", ONE, "always",
     "set-up; app created; app started; app message no disk; app exited 1; app removed; app created; app started", &[
        "pod: Running, PodReadyToStartContainers, Initialized, ContainersReady, Ready",
        "app: running for 0 ms; last Error 1 after 0 ms: no disk; restarts 1; started; ready",
    ]),
    ("main containers wait for init containers", THREE, "always", "set-up; init created; init started; wait 5", &[
        "pod: Pending, PodReadyToStartContainers",
        "init: running for 5 ms; started",
        "side: waiting PodInitializing",
        "app: waiting PodInitializing",
    ]),
    ("an init container that has succeeded is ready, and not started", THREE, "always",
     "set-up; init created; init started; wait 5; init exited 0; init removed; side created; side started", &[
        "pod: Pending, PodReadyToStartContainers",
        "init: terminated Completed 0 after 5 ms; ready",
        "side: running for 0 ms",
        "app: waiting PodInitializing",
    ]),
    ("a sidecar has started when its startup probe has succeeded; then the pod is initialized", THREE, "always",
     "set-up; init created; init started; wait 5; init exited 0; init removed; side created; side started; side startup succeeds", &[
        "pod: Pending, PodReadyToStartContainers, Initialized",
        "init: terminated Completed 0 after 5 ms; ready",
        "side: running for 0 ms; started; ready",
        "app: waiting PodInitializing",
    ]),
    ("a pod is ready when all sidecars and main containers are", THREE, "always",
     "set-up; init created; init started; wait 5; init exited 0; init removed; side created; side started; side startup succeeds;
      app created; app started", &[
        "pod: Running, PodReadyToStartContainers, Initialized",
        "init: terminated Completed 0 after 5 ms; ready",
        "side: running for 0 ms; started; ready",
        "app: running for 0 ms; started",
    ]),
    ("a sidecar that restarts does not bring the pod back", THREE, "always",
     "set-up; init created; init started; wait 5; init exited 0; init removed; side created; side started; side startup succeeds;
      app created; app started; app readiness succeeds; side exited 1; side removed; side created; side started", &[
        "pod: Running, PodReadyToStartContainers, Initialized",
        "init: terminated Completed 0 after 5 ms; ready",
        "side: running for 0 ms; last Error 1 after 0 ms; restarts 1",
        "app: running for 0 ms; started; ready",
    ]),
    ("a sidecar that has completed never waits, as in Kubernetes", THREE, "always",
     "set-up; init created; init started; wait 5; init exited 0; init removed; side created; side started; side startup succeeds;
      app created; app started; side exited 0; side removed; side created; side started; side exited 0; side removed", &[
        "pod: Running, PodReadyToStartContainers, Initialized",
        "init: terminated Completed 0 after 5 ms; ready",
        "side: terminated Completed 0 after 0 ms; last Completed 0 after 0 ms; restarts 1",
        "app: running for 0 ms; started",
    ]),
    ("a sidecar that has failed does", THREE, "always",
     "set-up; init created; init started; wait 5; init exited 0; init removed; side created; side started; side startup succeeds;
      app created; app started; side exited 0; side removed; side created; side started; side exited 4; side removed", &[
        "pod: Running, PodReadyToStartContainers, Initialized",
        "init: terminated Completed 0 after 5 ms; ready",
        "side: waiting CrashLoopBackOff; last Error 4 after 0 ms; restarts 1",
        "app: running for 0 ms; started",
    ]),
    ("an init container that fails and is tried again keeps the pod Pending", THREE, "on-failure",
     "set-up; init created; init started; init exited 1; init removed; init created; init started; init exited 1; init removed", &[
        "pod: Pending, PodReadyToStartContainers",
        "init: waiting CrashLoopBackOff; last Error 1 after 0 ms; restarts 1",
        "side: waiting PodInitializing",
        "app: waiting PodInitializing",
    ]),
    ("an init container that fails for good fails the pod; what has not run keeps waiting", THREE, "never",
     "set-up; init created; init started; wait 5; init exited 1; init removed; torn-down", &[
        "pod: Failed",
        "init: terminated Error 1 after 5 ms",
        "side: waiting PodInitializing",
        "app: waiting PodInitializing",
    ]),
    ("the same with code 0 after the memory limit, in the words of the kill", THREE, "never",
     "set-up; init created; init started; wait 5; init oom-killed 0; init removed; torn-down", &[
        "pod: Failed",
        "init: terminated OOMKilled 0 after 5 ms; ready",
        "side: waiting PodInitializing",
        "app: waiting PodInitializing",
    ]),
];

#[test]
fn the_end_of_a_log_comes_when_the_next_instance_runs() {
    let mut drive = Drive::new(&[&FALLBACK.replace("POLICY", "always")]);
    drive.feed("set-up; app created; app started; app exited 1");
    let late = drive.event("app last-lines no disk");
    drive.feed("app removed; app created; app started");
    drive.supervisor.handle(late.clone(), drive.now);
    let last = "app: running for 0 ms; last Error 1 after 0 ms: no disk; restarts 1; started; ready";
    assert_eq!(describe(&drive).last().map(String::as_str), Some(last));
    drive.feed("app exited 2; app removed; wait 10000; app created; app started");
    drive.supervisor.handle(late, drive.now);
    let last = "app: running for 0 ms; last Error 2 after 0 ms; restarts 2; started; ready";
    assert_eq!(describe(&drive).last().map(String::as_str), Some(last), "it was about an instance before");
}

#[test]
fn statuses_are_those_of_kubernetes() {
    for &(title, pod, policy, script, expected) in ROWS {
        let mut drive = Drive::new(&[&pod.replace("POLICY", policy)]);
        drive.feed(script);
        assert_eq!(describe(&drive), expected, "{title}");
    }
}
