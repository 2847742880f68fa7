//! Limits that are enforced, and limits that this host cannot enforce.

use std::process::Stdio;

use super::machine::{Machine, RUNTIMES};
use super::mount_namespace::{LEGACY, UNIFIED, is_unified_controller, legacy};

/// Whether this host has the controller in either kind of hierarchy.
fn is_limited_here(controller: &str) -> bool {
    is_unified_controller(controller) || legacy(controller).is_some()
}

/// The layouts in which this host has a memory or pids controller.
fn layouts(controller: &str) -> Vec<(&'static str, &'static [&'static str])> {
    let mut layouts: Vec<(&str, &[&str])> = vec![("this host", &[])];
    assert!(is_limited_here(controller), "this host has no cgroup controller `{controller}`");
    if legacy(controller).is_some() {
        layouts.push(("cgroup v1 alone", &LEGACY));
    }
    layouts
}

#[test]
fn a_container_beyond_its_memory_limit_is_killed_and_its_neighbour_lives() {
    for (layout, wrapper) in layouts("memory") {
        for runtime in RUNTIMES {
            let mut machine = Machine::new(runtime);
            machine.wrap(wrapper);
            // A shell variable that doubles.
            machine.script("hungry", "text=0123456789abcdef\nwhile true; do text=$text$text; done");
            machine.script(
                "neighbour",
                "trap 'exit 0' TERM\necho 'neighbour runs'\nwhile true; do sleep 0.1; done",
            );
            machine.pod(
                "test",
                r#"
                    name = "test"
                    restart-policy = "never"
                    termination-grace-period = "2s"
                    [[containers]]
                    name = "neighbour"
                    rootfs = "ROOTFS"
                    command = ["/demo/neighbour"]
                    [[containers]]
                    name = "hungry"
                    rootfs = "ROOTFS"
                    command = ["/demo/hungry"]
                    resources = { limits = { memory = "24Mi" } }
                "#,
            );
            let run = machine.run();
            run.wait_for("| neighbour runs");
            run.wait_for("warning: test/hungry: OOMKilled: killed by SIGKILL, its memory limit is 24Mi");
            assert!(!machine.processes("test", "neighbour").is_empty(), "{layout}, {runtime}");
            let ended = run.stop();
            assert_eq!(ended.count("test/neighbour: killed"), 0, "{}", ended.text());
            assert_eq!(ended.count("test/neighbour: OOMKilled"), 0, "{}", ended.text());
        }
    }
}

/// A shell variable that doubles, and a shell that does not mind.
const SURVIVOR: &str =
    "busybox sh -c 'text=0123456789abcdef; while true; do text=$text$text; done' || true; exit 0";

#[test]
fn a_host_process_of_which_something_was_oom_killed_has_failed_as_an_init_container() {
    for (layout, wrapper) in layouts("memory") {
        let mut machine = Machine::new("/nonexistent/runtime");
        machine.wrap(wrapper);
        machine.set("restart-backoff = { initial = \"0s\", max = \"0s\" }");
        machine.pod(
            "test",
            &format!(
                r#"
                    name = "test"
                    restart-policy = "on-failure"
                    [[init-containers]]
                    name = "init"
                    host-process = true
                    command = ["busybox", "sh", "-c", """if [ -e DIRECTORY/second ]; then exit 0; fi
                        touch DIRECTORY/second; {SURVIVOR}"""]
                    resources = {{ limits = {{ memory = "16Mi" }} }}
                    [[containers]]
                    name = "app"
                    host-process = true
                    command = ["true"]
                "#
            ),
        );
        let ended = machine.run().end();
        // Of cgroup v2 the OOM killer takes all of them together.
        let how = if is_unified_controller("memory") { "killed by SIGKILL" } else { "exited with 0" };
        ended.assert_order(&[
            &format!("test/init: OOMKilled: {how}, its memory limit is 16Mi; restarting at once"),
            // The next instance begins with a clean record.
            "test/init: completed",
            "test/app: completed",
            "pod test: Succeeded",
        ]);
        assert_eq!(ended.count("OOMKilled"), 1, "{layout}: {}", ended.text());
        ended.assert_status(0);
    }
}

#[test]
fn a_runtime_that_does_not_fit_into_the_limit_is_told_as_that() {
    for (layout, wrapper) in layouts("memory") {
        for runtime in RUNTIMES {
            let mut machine = Machine::new(runtime);
            machine.wrap(wrapper);
            // With a read-only mount the limit is met when the runtime is asked for its version.
            let mount = format!(
                "{LIMITED}mounts = [{{ volume = \"data\", path = \"/data\", read-only = true }}]\n\
                 [[volumes]]\nname = \"data\"\nempty = true\n"
            );
            for (pod, failed) in
                [(LIMITED, "the runtime's `create` failed: "), (mount.as_str(), " --version` failed: ")]
            {
                machine.pod("test", &pod.replace("16Mi", "256Ki"));
                let run = machine.run();
                let text = run.line(run.wait_for("test/app: cannot start: ")).text;
                assert!(text.contains(failed), "{layout}: {text}");
                assert!(
                    text.contains("; OOMKilled: memory limits hold for the runtime, too"),
                    "{layout}: {text}"
                );
                run.stop();
            }
        }
    }
}

#[test]
fn a_container_at_its_limit_of_processes_cannot_fork() {
    for (layout, wrapper) in layouts("pids") {
        for runtime in RUNTIMES {
            let mut machine = Machine::new(runtime);
            machine.wrap(wrapper);
            machine.script(
                "app",
                "echo 'under way'\nfor child in $(seq 100); do sleep 5 & done\necho 'all at once'",
            );
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
                    resources = { limits = { pids = 40 } }
                "#,
            );
            let ended = machine.run().end();
            // busybox' shell ends when it cannot fork.
            ended.assert_has("test/app: exited with 2");
            ended.assert_has("| under way");
            assert_eq!(ended.count("all at once"), 0, "{}", ended.text());
            println!("{runtime}, {layout}: a shell that may have 40 processes ended when it wanted more");
        }
    }
}

const LIMITED: &str = r#"
    name = "test"
    restart-policy = "never"
    [[containers]]
    name = "app"
    rootfs = "ROOTFS"
    command = ["/bin/echo", "app runs"]
    resources = { limits = { memory = "16Mi" } }
"#;

#[test]
fn limits_that_cannot_be_enforced_are_refused_by_name() {
    if is_unified_controller("memory") {
        eprintln!("this host's cgroup v2 limits memory, so it cannot show a missing controller");
        return;
    }
    for runtime in RUNTIMES {
        let mut machine = Machine::new(runtime);
        machine.wrap(&UNIFIED);
        machine.pod("test", LIMITED);
        let output = machine.command("run").stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(3), "{said}");
        for part in ["`test/app` needs the cgroup controller `memory`", "best-effort"] {
            assert!(said.contains(part), "{said}");
        }
        assert!(!said.contains("started"), "{said}");
        machine.assert_nothing_left();

        machine.set("cgroups = \"best-effort\"");
        let ended = machine.run().end();
        ended.assert_order(&["warning: ", "test/app: started", "pod test: Succeeded"]);
        ended.assert_has("`test/app` needs the cgroup controller `memory`");
        ended.assert_has("| app runs");
        ended.assert_status(0);
    }
}

#[test]
fn a_memory_limit_is_there_before_the_first_instruction() {
    for (layout, wrapper) in layouts("memory") {
        for runtime in RUNTIMES {
            let mut machine = Machine::new(runtime);
            machine.wrap(wrapper);
            machine.script("app", "trap 'exit 0' TERM\necho 'app runs'\nwhile true; do sleep 0.1; done");
            machine.pod(
                "test",
                &LIMITED.replace("[\"/bin/echo\", \"app runs\"]", "[\"/demo/app\"]").replace("16Mi", "32Mi"),
            );
            let run = machine.run();
            run.wait_for("| app runs");
            let (mount, file) = match legacy("memory") {
                Some(mount) if !is_unified_controller("memory") => (mount, "memory.limit_in_bytes"),
                Some(_) | None => (super::mount_namespace::unified(), "memory.max"),
            };
            let cgroup = mount.join(&machine.cgroup_root()[1..]).join("test/app");
            let limit = std::fs::read_to_string(cgroup.join(file)).unwrap();
            assert_eq!(limit.trim(), "33554432", "{layout}, {runtime}");
            // The script's `sleep` may be gone by now, or ended and out of its cgroups; the script
            // itself is not.
            let read = |pid| std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok();
            let here = |own: &String| own.contains("/test/app");
            let own = machine.processes("test", "app").into_iter().filter_map(read).find(here).unwrap();
            let in_limit = own
                .lines()
                .filter(|line| line.contains(":memory:") || line.starts_with("0::"))
                .any(|line| line.contains(&format!("{}/test/app", machine.cgroup_root())));
            assert!(in_limit, "{layout}, {runtime}: not in the limited cgroup:\n{own}");
            if legacy("memory").is_some() {
                let memory = own.lines().find(|line| line.split(':').nth(1) == Some("memory")).unwrap();
                assert!(memory.contains("/test/app"), "{layout}, {runtime}: {memory}");
            }
            let ended = run.stop();
            ended.assert_status(0);
        }
    }
}
