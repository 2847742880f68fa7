//! Processes that fall to the supervisor because it is everybody's reaper.

use serde_json::json;

use super::machine::{Machine, RUNTIMES};
use super::mount_namespace::layouts;
use super::process;
use super::run::{PATIENCE, Run, poll_until};

/// Makes 200 processes whose parents are gone, and which end one after another.
const ORPHANS: &str = "trap 'exit 0' TERM\nfor child in $(seq 200); do (sleep 1.$((child % 10)) &) & done\n\
    wait\n\
    sleep 2.5\necho 'all have ended'\nwhile true; do sleep 0.1; done";

fn zombies(run: &Run<'_>) -> Vec<i32> {
    process::children(run.pid()).into_iter().filter(|&pid| process::is_zombie(pid)).collect()
}

fn assert_all_are_reaped(machine: &Machine) {
    let run = machine.run();
    assert!(poll_until(PATIENCE, || process::children(run.pid()).len() > 100), "they do not fall to it");
    run.wait_for("| all have ended");
    assert!(poll_until(PATIENCE, || zombies(&run).is_empty()), "{:?}", zombies(&run));
    // Its own children are the log writer and the container.
    let children = process::children(run.pid());
    assert!(children.len() <= 2, "{children:?}");
    run.stop().assert_status(0);
}

#[test]
fn orphans_of_a_container_with_the_hosts_pids_are_reaped() {
    for runtime in RUNTIMES {
        let machine = Machine::new(runtime);
        machine.script("app", ORPHANS);
        super::bundle::make_bundle(&machine, runtime, |config| {
            config["process"]["args"] = json!(["/demo/app"]);
            config["process"]["env"] = json!(["PATH=/bin"]);
            let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
            namespaces.retain(|namespace| namespace["type"] != "pid");
        });
        machine.pod("test", super::bundle::POD);
        assert_all_are_reaped(&machine);
    }
}

#[test]
fn what_a_container_has_started_ends_with_its_first_process() {
    for (layout, wrapper) in layouts() {
        for runtime in RUNTIMES {
            let mut machine = Machine::new(runtime);
            machine.wrap(wrapper);
            machine.script("app", "trap '' TERM HUP\nsetsid sleep 4322 &\necho \"child $!\"");
            super::bundle::make_bundle(&machine, runtime, |config| {
                config["process"]["args"] = json!(["/demo/app"]);
                config["process"]["env"] = json!(["PATH=/bin"]);
                let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
                namespaces.retain(|namespace| namespace["type"] != "pid");
            });
            machine.pod("test", super::bundle::POD);
            // The guard finds the child if it lives; it shares the host's numbers.
            let ended = machine.run().end();
            let child = ended.lines.iter().find_map(|line| line.text.split_once("| child ")?.1.parse().ok());
            assert!(!process::is_alive(child.expect("no child was told")), "{runtime}, {layout}");
            ended.assert_order(&["test/app: completed", "pod test: Succeeded"]);
            ended.assert_status(0);
        }
    }
}

#[test]
fn orphans_of_exec_probes_are_reaped() {
    for runtime in RUNTIMES {
        let machine = Machine::new(runtime);
        machine.script(
            "app",
            "trap 'exit 0' TERM\nwhile [ ! -e /dev/shm/enough ]; do sleep 0.1; done\necho \
            'all have ended'\nwhile true; do sleep 0.1; done",
        );
        machine.script(
            "check",
            "echo x >> /dev/shm/tries; [ $(wc -l < /dev/shm/tries) -lt 20 ] || touch \
            /dev/shm/enough\n(sleep 0.2 &) & exit 0",
        );
        machine.pod(
            "test",
            r#"
                name = "test"
                [[containers]]
                name = "app"
                rootfs = "ROOTFS"
                command = ["/demo/app"]
                liveness-probe = { exec = { command = ["/demo/check"] }, period = "20ms", timeout = "5s" }
            "#,
        );
        let run = machine.run();
        run.wait_for("| all have ended");
        assert!(poll_until(PATIENCE, || zombies(&run).len() <= 1), "{:?}", zombies(&run));
        run.stop().assert_status(0);
    }
}
