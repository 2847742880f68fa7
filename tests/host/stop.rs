//! Containers that do not want to end.

use std::time::Duration;

use nix::sys::signal::Signal;

use super::machine::{Machine, RUNTIMES};
use super::mount_namespace::{LEGACY, legacy};
use super::process;
use super::run::{PATIENCE, poll_until};

const DEAF: &str = "trap '' TERM\necho 'deaf'\nwhile true; do sleep 1; done";

fn pod(grace: &str) -> String {
    format!(
        r#"
            name = "test"
            termination-grace-period = "{grace}"
            [[containers]]
            name = "app"
            rootfs = "ROOTFS"
            command = ["/demo/app"]
        "#
    )
}

#[test]
fn a_second_stop_request_shortens_the_grace_period() {
    for runtime in RUNTIMES {
        let machine = Machine::new(runtime);
        machine.script("app", DEAF);
        machine.pod("test", &pod("30s"));
        let run = machine.run();
        run.wait_for("| deaf");
        run.signal(Signal::SIGTERM);
        run.wait_for("test/app: stopping with SIGTERM");
        run.signal(Signal::SIGTERM);
        let second = run.line(run.wait_for("with a grace period of 2 s")).at;
        let ended = run.end();
        let took = ended.at - second;
        println!("{runtime}: ended {took:?} after the second request");
        ended.assert_order(&["test/app: killing all its processes", "test/app: killed by SIGKILL"]);
        ended.assert_status(0);
        assert!(took > Duration::from_millis(1500), "no 2 s were left to it: {took:?}");
        assert!(took < Duration::from_secs(6), "{took:?}");
    }
}

/// A tree of processes, none of which minds SIGTERM.
const FORKER: &str = "trap '' TERM\n\
    for child in $(seq 50); do (while true; do sleep 100; done) & done\n\
    echo 'forked'\nwhile true; do sleep 1; done";

fn assert_all_children_are_killed(machine: &Machine, title: &str) {
    machine.script("app", FORKER);
    machine.pod("test", &pod("1s"));
    let run = machine.run();
    run.wait_for("| forked");
    let pids = || machine.processes("test", "app");
    assert!(poll_until(PATIENCE, || pids().len() > 50), "{:?}", pids());
    let pids = pids();
    run.signal(Signal::SIGTERM);
    let asked = run.line(run.wait_for("stopping all pods in order")).at;
    let ended = run.end();
    let took = ended.at - asked;
    println!("{title}: {} processes gone and their cgroup removed after {took:?}", pids.len());
    assert!(pids.iter().all(|&pid| !process::is_alive(pid)), "some are alive");
    // Two seconds are the least between SIGTERM and SIGKILL; the rest is for a busy host.
    assert!(took < Duration::from_secs(8), "{took:?}");
    ended.assert_status(0);
}

#[test]
fn children_that_ignore_the_stop_signal_are_all_killed() {
    for runtime in RUNTIMES {
        assert_all_children_are_killed(&Machine::new(runtime), runtime);
    }
}

#[test]
fn children_that_ignore_the_stop_signal_are_all_killed_without_cgroup_v2() {
    if legacy("pids").is_none() {
        eprintln!("this host has cgroup v2 alone, so there is no such layout to show");
        return;
    }
    for runtime in RUNTIMES {
        let mut machine = Machine::new(runtime);
        machine.wrap(&LEGACY);
        assert_all_children_are_killed(&machine, &format!("{runtime}, cgroup v1"));
    }
}
