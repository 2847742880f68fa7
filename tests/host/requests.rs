//! What is requested, as the kernel hears of it.

use std::fs;
use std::path::PathBuf;

use serde_json::json;

use super::bundle::make_bundle;
use super::machine::{Machine, RUNTIMES};
use super::mount_namespace::{is_unified_controller, legacy, unified};

/// The file of a controller in a cgroup below our root: its name in v2 or in v1, and what is in it.
fn controlled(
    machine: &Machine,
    cgroup: &str,
    controller: &str,
    files: [&'static str; 2],
) -> (&'static str, String) {
    let (mount, file): (PathBuf, _) = match legacy(controller) {
        Some(mount) if !is_unified_controller(controller) => (mount, files[1]),
        Some(_) | None => (unified(), files[0]),
    };
    let path = mount.join(&machine.cgroup_root()[1..]).join(cgroup).join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    (file, text.trim().to_owned())
}

fn oom_score_adj(pid: i32) -> i32 {
    fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap().trim().parse().unwrap()
}

#[test]
fn requests_become_weights_and_protection_and_decide_who_is_killed_first() {
    for runtime in RUNTIMES {
        let mut machine = Machine::new(runtime);
        machine.set("capacity = { memory = \"1000Mi\" }");
        machine.script("app", "trap 'exit 0' TERM\necho \"app runs\"\nwhile true; do sleep 0.1; done");
        make_bundle(&machine, runtime, |config| {
            config["process"]["args"] = json!(["/demo/app"]);
            config["process"]["oomScoreAdj"] = json!(321);
        });
        machine.pod(
            "test",
            r#"
                name = "test"
                restart-policy = "never"
                termination-grace-period = "2s"
                [[containers]]
                name = "app"
                rootfs = "ROOTFS"
                command = ["/demo/app"]
                resources = { requests = { memory = "100Mi", cpu = "500m" } }
                readiness-probe = { exec = { command = ["sh", "-c", "test $(cat /proc/self/oom_score_adj) = 900"] }, period = "100ms", timeout = "10s" }
                [[containers]]
                name = "host"
                host-process = true
                command = ["busybox", "sh", "-c", "read adj < /proc/self/oom_score_adj; echo host has $adj; exec sleep 1000"]
                resources = { requests = { memory = "40Mi" } }
                [[containers]]
                name = "own"
                bundle = "DIRECTORY/bundle"
            "#,
        );
        machine.pod(
            "zero",
            "name = \"zero\"\n[[containers]]\nname = \"app\"\nrootfs = \"ROOTFS\"\ncommand = [\"/demo/app\"]\n",
        );
        let run = machine.run();
        run.wait_for("zero/app: started");
        run.wait_for("test/own: started");
        run.wait_for("| host has 960");
        run.wait_for("test/app: ready");

        for (cgroup, in_v2, in_v1) in
            [("test/app", "59", "512"), ("test", "59", "512"), ("test/host", "1", "2"), ("zero", "1", "2")]
        {
            let (file, found) = controlled(&machine, cgroup, "cpu", ["cpu.weight", "cpu.shares"]);
            let expected = if file == "cpu.weight" { in_v2 } else { in_v1 };
            assert_eq!(found, expected, "{runtime}: {file} of {cgroup}");
        }
        for (cgroup, expected) in [("test/app", 100), ("test/host", 40), ("test", 140)] {
            let (file, found) =
                controlled(&machine, cgroup, "memory", ["memory.low", "memory.soft_limit_in_bytes"]);
            assert_eq!(found, (expected << 20).to_string(), "{runtime}: {file} of {cgroup}");
        }
        if is_unified_controller("memory") {
            let (_, found) = controlled(&machine, "", "memory", ["memory.low", ""]);
            assert_eq!(found, (140_u64 << 20).to_string(), "{runtime}: memory.low above all pods");
        }

        let first = |pod, container| oom_score_adj(machine.first_process(pod, container));
        assert_eq!(first("test", "app"), 900, "{runtime}");
        assert_eq!(first("zero", "app"), 1000, "{runtime}");
        assert_eq!(first("test", "own"), 321, "{runtime}: the bundle's own value");
        let own = oom_score_adj(run.pid());
        let as_given = oom_score_adj(std::process::id().try_into().unwrap());
        assert!(own == -999 || own == as_given, "{runtime}: {own}");
        let refused =
            run.lines().iter().any(|line| line.text.contains("is not told to spare the supervisor"));
        assert!(refused != (own == -999), "{runtime}: {own}, and that it was refused: {refused}");
        let ended = run.stop();
        assert_eq!(ended.count("| host has 960"), 1);
    }
}

#[test]
fn what_no_machine_has_is_refused_before_anything_starts() {
    let machine = Machine::new("/nonexistent/runtime");
    machine.pod(
        "test",
        "name = \"test\"\n[[containers]]\nname = \"app\"\nhost-process = true\ncommand = [\"true\"]\n\
         resources = { requests = { memory = \"7Ti\" } }\n",
    );
    for subcommand in ["check", "run"] {
        let output = machine.command(subcommand).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{subcommand}: {said}");
        for part in [
            "the pods request more memory than this machine has",
            "pods/test.toml",
            "7Ti",
            "found on this machine",
        ] {
            assert!(said.contains(part), "{subcommand}: {said}");
        }
    }
    machine.assert_nothing_left();
}

#[test]
fn the_oom_killer_takes_all_of_a_container_or_one_process() {
    if !is_unified_controller("memory") {
        eprintln!("this host's cgroup v2 does not limit memory, so it cannot show who is killed together");
        return;
    }
    for (settings, expected) in [("", "1"), ("single-process-oom-kill = true", "0")] {
        let mut machine = Machine::new("/nonexistent/runtime");
        machine.set(settings);
        machine.pod(
            "test",
            "name = \"test\"\n[[containers]]\nname = \"app\"\nhost-process = true\ncommand = [\"sleep\", \"1000\"]\n",
        );
        let run = machine.run();
        run.wait_for("test/app: started");
        let (file, found) = controlled(&machine, "test/app", "memory", ["memory.oom.group", ""]);
        assert_eq!(found, expected, "{file} with `{settings}`");
        run.stop();
    }
}
