//! The demo pod: documented order, and a sidecar that is killed.

use std::fs;
use std::path::Path;

use super::machine::{Machine, RUNTIMES, free_port};
use super::mount_namespace::layouts;
use super::process;
use super::run::Ended;

/// A machine with configs/demo.toml, at a port of its own.
pub(super) fn machine(runtime: &str) -> Machine {
    let machine = Machine::new(runtime);
    let port = free_port().to_string();
    for script in ["network-proxy", "app"] {
        let path = machine.path("rootfs/demo").join(script);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains("18021"), "{script} has another port now");
        fs::write(&path, text.replace("18021", &port)).unwrap();
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/demo.toml");
    let text = fs::read_to_string(file).unwrap();
    let text = text.replace("/run/outrigger-demo/rootfs", "ROOTFS").replace("18021", &port);
    machine.pod("demo", &text);
    machine
}

/// The order that configs/demo.toml describes, for a run that nothing disturbs.
const ORDER: [&str; 13] = [
    "* pod demo: starting",
    "* demo/secret-fetch: started (init container)",
    "* demo/secret-fetch: completed",
    "* demo/network-proxy: started (sidecar; the next waits for its startup probe)",
    "* demo/network-proxy: startup probe succeeded",
    "* demo/log-collector: started (sidecar)",
    "* pod demo: Running",
    "* pod demo: stopping, its main containers are done",
    "* demo/log-collector: stopping with SIGTERM",
    "* demo/log-collector: completed",
    "* demo/network-proxy: stopping with SIGTERM",
    "* demo/network-proxy: completed",
    "* pod demo: Succeeded",
];

fn assert_documented_order(ended: &Ended) {
    ended.assert_order(&ORDER);
    for main in ["app", "worker"] {
        let (started, done) = (format!("* demo/{main}: started"), format!("* demo/{main}: completed"));
        ended.assert_order(&["* demo/log-collector: started", &started, &done, "* pod demo: stopping"]);
    }
    assert_eq!(ended.count("cannot"), 0, "{}", ended.text());
    ended.assert_status(0);
}

#[test]
fn the_demo_pod_starts_and_stops_in_its_documented_order() {
    for (layout, wrapper) in layouts() {
        for runtime in RUNTIMES {
            println!("{runtime}, {layout}");
            let mut machine = machine(runtime);
            machine.wrap(wrapper);
            let ended = machine.run().end();
            assert_documented_order(&ended);
            ended.assert_has(&format!("* using {runtime} "));
            ended.assert_has("| app: the token is s3cr3t");
            ended.assert_has("| app: round 1: hello from behind the proxy");
        }
    }
}

#[test]
fn a_sidecar_whose_first_process_is_killed_comes_back_while_the_mains_run() {
    for runtime in RUNTIMES {
        let machine = machine(runtime);
        let run = machine.run();
        let running = run.wait_for("* pod demo: Running");
        let first = machine.first_process("demo", "network-proxy");
        process::kill(first);
        let killed = run.wait_for_after(running, "demo/network-proxy: killed by SIGKILL; restarting");
        let back = run.wait_for_after(killed, "* demo/network-proxy: started");
        assert!(run.line(back).text.contains("restart"), "{}", run.line(back).text);
        let took = run.line(back).at - run.line(killed).at;
        println!("{runtime}: killed sidecar runs again after {took:?}");
        assert_ne!(machine.first_process("demo", "network-proxy"), first);
        let ended = run.end();
        ended.assert_order(&[
            "* demo/network-proxy: started (sidecar; the next waits for its startup probe), first restart",
            "* demo/app: completed",
            "* pod demo: stopping, its main containers are done",
            "* demo/log-collector: completed",
            "* demo/network-proxy: stopping with SIGTERM",
            "* demo/network-proxy: completed",
            "* pod demo: Succeeded",
        ]);
        ended.assert_status(0);
    }
}
