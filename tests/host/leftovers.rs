//! What a supervisor that was killed leaves, and the one after it.

use std::time::Duration;

use nix::sys::signal::Signal;

use super::demo;
use super::machine::{Machine, RUNTIMES};
use super::process;
use super::run::{PATIENCE, poll_until};

#[test]
fn containers_outlive_a_killed_supervisor_until_the_next_one_begins() {
    for runtime in RUNTIMES {
        let machine = demo::machine(runtime);
        let run = machine.run();
        run.wait_for("pod demo: Running");
        let survivors: Vec<i32> = ["network-proxy", "log-collector", "app"]
            .iter()
            .map(|name| machine.first_process("demo", name))
            .collect();
        run.signal(Signal::SIGKILL);
        // They hold the output's write ends, not ours: the log writer ends all the same.
        let killed = run.end_leaving();
        assert_eq!(killed.status, None, "{}", killed.text());
        assert!(survivors.iter().all(|&pid| process::is_alive(pid)), "containers died with their supervisor");

        let run = machine.run();
        run.wait_for("demo/network-proxy: started");
        let gone = || survivors.iter().all(|&pid| !process::is_alive(pid));
        assert!(gone(), "the next supervisor has started something beside what was left");
        let ended = run.end();
        ended.assert_order(&["pod demo: starting", "pod demo: Running", "pod demo: Succeeded"]);
        ended.assert_status(0);
    }
}

#[test]
fn a_second_supervisor_with_the_same_directory_is_refused() {
    let machine = demo::machine("crun");
    let first = machine.run();
    first.wait_for("pod demo: Running");
    let second = machine.command("run").output().unwrap();
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(3), "{said}");
    assert!(said.starts_with("outrigger: error: cannot use state directory `"), "{said}");
    assert!(said.contains(&format!("another outrigger (process {}) uses it", first.pid())), "{said}");
    // The first one has noticed nothing of it.
    let ended = first.end();
    ended.assert_order(&["pod demo: Running", "pod demo: Succeeded"]);
    assert_eq!(ended.count("killed by"), 0, "{}", ended.text());
    ended.assert_status(0);
}

#[test]
fn a_supervisor_that_is_killed_again_and_again_never_runs_anything_twice() {
    let machine = Machine::new("crun");
    machine.script("app", "trap 'exit 0' TERM\necho 'app runs'\nwhile true; do sleep 0.1; done");
    machine.pod(
        "test",
        r#"
            name = "test"
            [[volumes]]
            name = "data"
            memory = "1Mi"
            [[containers]]
            name = "app"
            rootfs = "ROOTFS"
            command = ["/demo/app"]
            mounts = [{ volume = "data", path = "/data" }]
        "#,
    );
    for delay in [0, 5, 10, 20, 30, 40, 60, 80, 120, 200] {
        let run = machine.run();
        super::run::pause(Duration::from_millis(delay));
        run.signal(Signal::SIGKILL);
        run.end_leaving();
    }
    let run = machine.run();
    run.wait_for("| app runs");
    let alone = || {
        machine.payload("test", "app").iter().filter(|&&pid| process::number_inside(pid) == Some(1)).count()
            == 1
    };
    assert!(poll_until(PATIENCE, alone), "{:?}", machine.payload("test", "app"));
    run.stop().assert_status(0);
}
