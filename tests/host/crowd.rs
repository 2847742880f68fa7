//! Many containers at once, several pods, and a start under poor conditions.

use std::fmt::Write;

use super::machine::{Machine, RUNTIMES};

const APP: &str = "trap 'exit 0' TERM\necho 'app runs'\nwhile true; do sleep 0.5; done";

#[test]
fn forty_containers_start_and_stop_together() {
    for runtime in RUNTIMES {
        let machine = Machine::new(runtime);
        machine.script("app", APP);
        let mut pod = "name = \"test\"\ntermination-grace-period = \"20s\"\n".to_owned();
        for number in 0..40 {
            let container = r#"
                [[containers]]
                rootfs = "ROOTFS"
                command = ["/demo/app"]
            "#;
            writeln!(pod, "{container}name = \"app-{number}\"").unwrap();
        }
        machine.pod("test", &pod);
        let run = machine.run();
        let starting = run.line(run.wait_for("pod test: starting")).at;
        let running = run.line(run.wait_for("pod test: ready")).at;
        println!("{runtime}: 40 containers run after {:?}", running - starting);
        // Before a shell has set its trap, a stop signal is lost on it.
        let mut after = 0;
        for _ in 0..40 {
            after = run.wait_for_after(after, "| app runs") + 1;
        }
        let asked = std::time::Instant::now();
        let ended = run.stop();
        println!("{runtime}: and are gone after {:?}", ended.at - asked);
        assert_eq!(ended.count("completed"), 40, "{}", ended.text());
        ended.assert_status(0);
    }
}

#[test]
fn a_pod_waits_for_the_one_it_is_after_and_fails_with_it() {
    let machine = Machine::new("crun");
    machine.script("app", APP);
    machine.script("fails", "exit 3");
    let container = r#"
        [[containers]]
        name = "app"
        rootfs = "ROOTFS"
        command = ["/demo/app"]
    "#;
    machine.pod("b", &format!("name = \"second\"\nafter = [\"first\"]\n{container}"));
    machine.pod("a", &format!("name = \"first\"\n{container}"));
    let run = machine.run();
    run.wait_for("pod second: ready");
    let ended = run.stop();
    ended.assert_order(&["pod first: ready", "pod second: starting", "pod second: ready"]);
    ended.assert_status(0);

    // Fails before it was ever ready.
    let init = container.replace("[[containers]]", "[[init-containers]]").replace("app", "fails");
    machine.pod("a", &format!("name = \"first\"\nrestart-policy = \"never\"\n{init}{container}"));
    let ended = machine.run().end();
    ended.assert_order(&[
        "first/fails: exited with 3",
        "it is after pod first, which failed; it was not started",
    ]);
    ended.assert_has("pod first: Failed");
    assert_eq!(ended.count("pod second: starting"), 0, "{}", ended.text());
    ended.assert_status(4);
}

#[test]
fn a_supervisor_without_standard_streams_runs_all_the_same() {
    for runtime in RUNTIMES {
        let mut machine = Machine::new(runtime);
        machine.wrap(&["sh", "-c", "exec \"$@\" <&- >&- 2>&-", "sh"]);
        machine.script("app", "echo 'out'; echo 'err' >&2; echo x > /data/ran");
        machine.pod(
            "test",
            r#"
                name = "test"
                restart-policy = "never"
                volumes = [{ name = "data", host-path = "DIRECTORY/rootfs/other" }]
                [[containers]]
                name = "app"
                rootfs = "ROOTFS"
                command = ["/demo/app"]
                mounts = [{ volume = "data", path = "/data" }]
            "#,
        );
        let ended = machine.run().end();
        ended.assert_status(0);
        assert!(machine.path("rootfs/other/ran").exists());
    }
}

#[test]
fn few_descriptors_are_a_failure_that_is_told_and_passes() {
    let mut machine = Machine::new("crun");
    machine.set("restart-backoff = { initial = \"0s\", max = \"0s\" }");
    // As many as a supervisor with one container needs, and not as four need.
    machine.wrap(&["sh", "-c", "ulimit -n 40; exec \"$@\"", "sh"]);
    machine.script("app", "echo 'app runs'; exit 0");
    let mut pod = "name = \"test\"\nrestart-policy = \"on-failure\"\n".to_owned();
    for number in 0..12 {
        let container = r#"
            [[containers]]
            rootfs = "ROOTFS"
            command = ["/demo/app"]
        "#;
        writeln!(pod, "{container}name = \"app-{number}\"").unwrap();
    }
    machine.pod("test", &pod);
    let ended = machine.run().end();
    ended.assert_has("Too many open files");
    assert_eq!(ended.count("| app runs"), 12, "{}", ended.text());
    ended.assert_has("pod test: Succeeded");
    ended.assert_status(0);
}
