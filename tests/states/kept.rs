//! A supervisor that is killed, and the next one: what is kept of a pod, and what follows.

use super::drive::Drive;
use super::statuses::{ONE, RULE, THREE, describe};

/// What has happened before; whether the volumes survive; what the next supervisor does when they
/// are there, and the statuses then.
struct Case {
    title: &'static str,
    pod: &'static str,
    policy: &'static str,
    before: &'static str,
    survives: bool,
    actions: &'static [&'static str],
    statuses: &'static [&'static str],
}

const UP: &str = "set-up; init created; init started; init exited 0; init removed; side created; side started; \
                  side startup succeeds; app created; app started; app readiness succeeds";

#[rustfmt::skip]
const CASES: &[Case] = &[
    Case {
        title: "an init container that has succeeded is not run again; the sidecar comes first",
        pod: THREE, policy: "always", before: UP, survives: true,
        actions: &["create side"],
        statuses: &[
            "pod: Pending, PodReadyToStartContainers, Initialized",
            "init: terminated Completed 0; ready",
            "side: waiting CrashLoopBackOff; last ContainerStatusUnknown 137; restarts 1",
            "app: waiting CrashLoopBackOff; last ContainerStatusUnknown 137; restarts 1",
        ],
    },
    Case {
        title: "without its volumes the pod begins anew, and restarts go on",
        pod: THREE, policy: "always", before: UP, survives: false,
        actions: &["create init"],
        statuses: &[
            "pod: Pending, PodReadyToStartContainers, Initialized",
            "init: waiting CrashLoopBackOff; last Completed 0; restarts 1",
            "side: waiting CrashLoopBackOff; last ContainerStatusUnknown 137; restarts 1",
            "app: waiting CrashLoopBackOff; last ContainerStatusUnknown 137; restarts 1",
        ],
    },
    Case {
        title: "an init container that was running is run again, whatever the policy",
        pod: THREE, policy: "never", before: "set-up; init created; init started", survives: true,
        actions: &["create init"],
        statuses: &[
            "pod: Pending, PodReadyToStartContainers",
            "init: waiting CrashLoopBackOff; last ContainerStatusUnknown 137; restarts 1",
            "side: waiting PodInitializing",
            "app: waiting PodInitializing",
        ],
    },
    Case {
        title: "an init container that had failed for good still has",
        pod: THREE, policy: "never", before: "set-up; init created; init started; init exited 3", survives: true,
        actions: &["tear down demo"],
        statuses: &[
            "pod: Failed",
            "init: terminated Error 3",
            "side: waiting PodInitializing",
            "app: waiting PodInitializing",
        ],
    },
    Case {
        title: "a main container that was running is started again, whatever the policy",
        pod: ONE, policy: "never", before: "set-up; app created; app started", survives: true,
        actions: &["create app"],
        statuses: &[
            "pod: Running, PodReadyToStartContainers, Initialized",
            "app: waiting CrashLoopBackOff; last ContainerStatusUnknown 137; restarts 1",
        ],
    },
    Case {
        title: "one that was in a pause is started again without one",
        pod: ONE, policy: "always", survives: true,
        before: "set-up; app created; app started; app exited 1; app removed; app created; app started; app exited 2; \
                 app removed",
        actions: &["create app"],
        statuses: &[
            "pod: Running, PodReadyToStartContainers, Initialized",
            "app: waiting CrashLoopBackOff; last Error 2; restarts 2",
        ],
    },
    Case {
        title: "one that has succeeded stays so",
        pod: ONE, policy: "on-failure", before: "set-up; app created; app started; app exited 0", survives: true,
        actions: &["tear down demo"],
        statuses: &["pod: Succeeded, Initialized", "app: terminated Completed 0"],
    },
    Case {
        title: "also when the volumes are gone",
        pod: ONE, policy: "on-failure", before: "set-up; app created; app started; app exited 0", survives: false,
        actions: &[],
        statuses: &["pod: Succeeded, Initialized", "app: terminated Completed 0"],
    },
    Case {
        title: "but under never it runs again then",
        pod: ONE, policy: "never", before: "set-up; app created; app started; app exited 0", survives: false,
        actions: &["create app"],
        statuses: &[
            "pod: Running, PodReadyToStartContainers, Initialized",
            "app: waiting CrashLoopBackOff; last Completed 0; restarts 1",
        ],
    },
    Case {
        title: "a restart of all containers goes on",
        pod: RULE, policy: "never", survives: true,
        before: "set-up; init created; init started; init exited 0; init removed; app created; app started; helper created; \
                 helper started; app exited 42; app removed; helper killed-by 9; helper removed",
        actions: &["create init"],
        statuses: &[
            "pod: Pending, PodReadyToStartContainers, Initialized",
            "init: waiting CrashLoopBackOff; last ContainerStatusUnknown 137; restarts 2",
            "app: waiting CrashLoopBackOff; last ContainerStatusUnknown 137; restarts 1",
            "helper: waiting CrashLoopBackOff; last ContainerStatusUnknown 137; restarts 1",
        ],
    },
    Case {
        title: "a start that had failed is no restart",
        pod: ONE, policy: "always", before: "set-up; app create-failed; app removed", survives: true,
        actions: &["create app"],
        statuses: &[
            "pod: Pending, PodReadyToStartContainers, Initialized",
            "app: waiting ContainerCreating",
        ],
    },
];

/// What the next supervisor does: it sets the pod up first, unless nothing of it is to be started.
fn go_on(drive: &mut Drive, case: &Case) -> Vec<String> {
    let first = drive.restart(case.survives);
    if first == ["set up demo"] { drive.feed("set-up") } else { first }
}

#[test]
fn the_next_supervisor_goes_on() {
    for case in CASES {
        let mut drive = Drive::new(&[&case.pod.replace("POLICY", case.policy)]);
        drive.feed(case.before);
        assert_eq!(go_on(&mut drive, case), case.actions, "{}", case.title);
        assert_eq!(describe(&drive), case.statuses, "{}", case.title);
    }
}

#[test]
fn a_supervisor_that_is_killed_again_and_again_counts_what_was_started() {
    for case in CASES {
        let mut drive = Drive::new(&[&case.pod.replace("POLICY", case.policy)]);
        drive.feed(case.before);
        drive.restart(case.survives);
        let restarts = drive.record("app").restarts;
        if drive.has_ended("demo") {
            continue;
        }
        for _ in 0..3 {
            drive.restart(case.survives);
            assert_eq!(drive.record("app").restarts, restarts, "{}: nothing was started", case.title);
        }
        assert_eq!(go_on(&mut drive, case), case.actions, "{}", case.title);
    }
}

#[test]
fn a_stop_before_the_pod_is_set_up_again_removes_what_is_there() {
    let mut drive = Drive::new(&[&ONE.replace("POLICY", "always")]);
    drive.feed("set-up; app created; app started");
    drive.restart(true);
    assert_eq!(drive.feed("set-up-failed; stop"), ["tear down demo"]);
    let after = "name = \"later\"\nafter = [\"demo\"]\n[[containers]]\nname = \"other\"\nrootfs = \"/srv\"\n\
                 command = [\"/bin/other\"]\n";
    let mut drive = Drive::new(&[&ONE.replace("POLICY", "always"), after]);
    drive.feed("set-up; app created; app started; set-up later; other created; other started");
    assert_eq!(drive.restart(true), ["set up demo"]);
    assert_eq!(drive.feed("stop"), ["tear down later"], "it waits for the other, and its volumes are there");
}

#[test]
fn nothing_is_kept_of_a_pod_that_has_ended() {
    let mut drive = Drive::new(&[&ONE.replace("POLICY", "never")]);
    drive.feed("set-up; app created; app started; app exited 0; app removed; torn-down");
    assert_eq!(drive.restart(true), ["set up demo"]);
    assert_eq!(drive.feed("set-up"), ["create app"]);
    assert_eq!(drive.record("app").restarts, 0);
}
