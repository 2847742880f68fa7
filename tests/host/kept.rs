//! A supervisor that is killed in the midst of its pods, and the one after it, which goes on.

use std::fs;

use nix::sys::signal::Signal;

use super::machine::{Machine, RUNTIMES};

fn machine(runtime: &str) -> Machine {
    let machine = Machine::new(runtime);
    machine.script("fetch", "echo 'fetch runs'; echo secret > /data/secret");
    machine.script("side", "trap 'exit 0' TERM; echo 'side runs'; while true; do sleep 0.1; done");
    machine.script(
        "app",
        "trap 'exit 0' TERM; echo \"app has $(cat /data/secret)\"; while true; do sleep 0.1; done",
    );
    machine
}

const POD: &str = r#"
name = "test"
volumes = [{ name = "data", memory = "1Mi" }]

[[init-containers]]
name = "fetch"
rootfs = "ROOTFS"
command = ["/demo/fetch"]
mounts = [{ volume = "data", path = "/data" }]

[[init-containers]]
name = "side"
rootfs = "ROOTFS"
command = ["/demo/side"]
restart-policy = "always"

[[containers]]
name = "app"
rootfs = "ROOTFS"
command = ["/demo/app"]
mounts = [{ volume = "data", path = "/data" }]
"#;

#[test]
fn the_next_supervisor_goes_on_with_the_volumes_and_without_finished_inits() {
    for runtime in RUNTIMES {
        let machine = machine(runtime);
        machine.pod("test", POD);
        let run = machine.run();
        run.wait_for("| app has secret");
        run.signal(Signal::SIGKILL);
        run.end_leaving();
        for restarts in ["first restart", "restart 2"] {
            let run = machine.run();
            run.wait_for(
                "pod test: the supervisor before has left it running; its containers are started again",
            );
            run.wait_for(&format!("test/side: started (sidecar), {restarts}"));
            run.wait_for(&format!("test/app: started, {restarts}"));
            run.wait_for("| app has secret");
            assert!(!run.lines().iter().any(|line| line.text.contains("fetch")), "it was run again");
            run.signal(Signal::SIGKILL);
            run.end_leaving();
        }
        let run = machine.run();
        run.wait_for("| app has secret");
        run.stop().assert_status(0);
        // In order, so the one after it begins anew.
        let run = machine.run();
        run.wait_for("| fetch runs");
        run.wait_for("| app has secret");
        let ended = run.stop();
        assert!(!ended.text().contains("restart"), "{}", ended.text());
    }
}

#[test]
fn a_pod_begins_anew_when_its_volume_or_configuration_is_not_the_same() {
    let machine = machine("crun");
    machine.pod("test", POD);
    let start = |expected: &[&str]| {
        let run = machine.run();
        for text in expected {
            run.wait_for(text);
        }
        run.wait_for("| app has secret");
        run.signal(Signal::SIGKILL);
        run.end_leaving();
    };
    start(&["| fetch runs"]);
    nix::mount::umount2(&machine.state().join("pods/test/volumes/data"), nix::mount::MntFlags::MNT_DETACH)
        .unwrap();
    start(&[
        "it begins anew, with its restarts counted on",
        "test/fetch: started (init container), first restart",
    ]);
    machine.pod("test", &POD.replace("1Mi", "2Mi"));
    start(&[
        "pod test: cannot go on where the supervisor before has left it: its configuration has changed",
        "| fetch runs",
    ]);
    let file = machine.state().join("kept/test");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, &text[..text.len() / 2]).unwrap();
    start(&["it is damaged, or was written by another version; beginning anew", "| fetch runs"]);
    let run = machine.run();
    run.wait_for("| app has secret");
    run.stop().assert_status(0);
}
