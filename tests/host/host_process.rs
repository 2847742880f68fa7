//! Programs of the host as containers: no runtime, a cgroup, the same lifecycle.

use std::fs;
use std::time::{Duration, Instant};

use super::machine::{Machine, RUNTIMES, free_port, write_program};
use super::mount_namespace::layouts;
use super::process;
use super::run::{PATIENCE, pause, poll_until};

/// This host's layouts of cgroups, and a kernel that cannot make a process straight in a cgroup.
fn hosts() -> Vec<(&'static str, &'static [&'static str])> {
    const OLD_KERNEL: [&str; 8] =
        ["strace", "-DDD", "-f", "-qq", "-o", "/dev/null", "--trace=clone3", "--inject=clone3:error=ENOSYS"];
    let mut hosts = layouts();
    hosts.push(("without clone3", &OLD_KERNEL));
    hosts
}

/// A machine that has no runtime: whoever asks for one fails.
fn machine(wrapper: &[&str], containers: &str) -> Machine {
    let mut machine = Machine::new("/nonexistent/runtime");
    machine.wrap(wrapper);
    machine.set("restart-backoff = { initial = \"0s\", max = \"0s\" }");
    machine.pod(
        "test",
        &format!(
            "name = \"test\"\nrestart-policy = \"never\"\ntermination-grace-period = \"2s\"\n\
             network = \"none\"\n{containers}"
        ),
    );
    machine
}

#[test]
fn it_is_what_was_configured_and_needs_no_runtime() {
    const SCRIPT: &str = r#"
echo user $(id -u):$(id -g) $(id -G) $(grep -c '^CapEff:.0*$' /proc/self/status)
echo directory $(pwd)
echo stdin $(cat | wc -c)
echo session $(cut -d ' ' -f 6 /proc/$$/stat) group $(cut -d ' ' -f 5 /proc/$$/stat) own $$$$
echo network $(readlink /proc/self/ns/net) $(readlink /proc/self/ns/pid) $(readlink /proc/self/root)
echo descriptors $(ls /proc/self/fd)
echo mask $(umask) of $(ulimit -n)
sed 's/^/cgroup /' /proc/self/cgroup
echo 'to standard error' >&2
"#;
    for (host, wrapper) in hosts() {
        let mut containers = String::new();
        for (name, more) in [("root", ""), ("other", "user = \"1234:5678\"\nworking-directory = \"/proc\"\n")]
        {
            containers += &format!(
                "[[init-containers]]\nname = \"{name}\"\nhost-process = true\n\
                 command = [\"sh\", \"-c\", '''{SCRIPT}''']\n{more}"
            );
        }
        containers += "[[containers]]\nname = \"app\"\nhost-process = true\ncommand = [\"env\"]\n\
                       env = { GREETING = \"good morning\", PATH = \"/nonexistent:/usr/bin:/bin\" }\n";
        let ended = machine(wrapper, &containers).run().end();
        ended.assert_status(0);
        ended.assert_order(&[
            "test/root: started (init container)",
            "test/root: completed",
            "test/other: started",
            "test/other: completed",
            "test/app: started",
            "test/app: completed",
            "pod test: Succeeded",
        ]);
        let said = |name: &str| -> Vec<String> {
            let lines = ended.lines.iter().filter_map(|line| line.text.split_once(&format!(" {name} ")));
            lines.filter_map(|(_, said)| Some(said.split_once(['|', '!'])?.1.trim().to_owned())).collect()
        };
        let link = |name: &str| fs::read_link(format!("/proc/self/ns/{name}")).unwrap().display().to_string();
        let surroundings = format!("network {} {} /", link("net"), link("pid"));
        for (name, user, directory) in
            [("root", "user 0:0 0 0", "directory /"), ("other", "user 1234:5678 5678 1", "directory /proc")]
        {
            let said = said(name);
            let has =
                |line: &str| assert!(said.iter().any(|said| said == line), "{host}: {line} in {said:#?}");
            has(user);
            has(directory);
            has("stdin 0");
            has(&surroundings);
            has("descriptors 0 1 2 3");
            has("to standard error");
            let session = said.iter().find_map(|said| said.strip_prefix("session ")).unwrap();
            let [session, _, group, _, own] = session.split(' ').collect::<Vec<_>>()[..] else {
                panic!("{session}")
            };
            assert_eq!((session, group), (own, own), "{host}");
            let cgroup = format!("/test/{name}");
            let cgroups: Vec<&String> = said.iter().filter(|said| said.contains(&cgroup)).collect();
            assert!(!cgroups.is_empty(), "{host}: {said:#?}");
            for line in cgroups {
                let payload = line.starts_with("cgroup 0::");
                assert_eq!(line.ends_with(&format!("{cgroup}/payload")), payload, "{host}: {line}");
            }
        }
        assert_eq!(said("app").len(), 2, "{host}: {:?}", said("app"));
        assert!(said("app").contains(&"GREETING=good morning".to_owned()), "{host}");
        assert!(said("app").contains(&"PATH=/nonexistent:/usr/bin:/bin".to_owned()), "{host}");
    }
}

#[test]
fn what_cannot_be_executed_is_told_and_tried_again() {
    for (host, wrapper) in hosts() {
        let cases = [
            (
                "command = [\"DIRECTORY/program\"]",
                "cannot execute `DIRECTORY/program`: No such file or directory",
            ),
            (
                "command = [\"program\"]\nenv = { PATH = \"/nonexistent:DIRECTORY\" }",
                "cannot find program `program` in PATH `/nonexistent:DIRECTORY`: install it, or write its \
                 absolute path",
            ),
            (
                "command = [\"/bin/true\"]\nworking-directory = \"DIRECTORY/program\"",
                "cannot enter working directory `DIRECTORY/program`: No such file or directory",
            ),
            ("command = [\"/proc\"]", "cannot execute `/proc`: Permission denied"),
        ];
        for (container, expected) in cases {
            let machine = machine(
                wrapper,
                &format!("[[containers]]\nname = \"app\"\nhost-process = true\n{container}\n"),
            );
            let run = machine.run();
            let told = run.wait_for("test/app: cannot start: ");
            let expected =
                expected.replace("DIRECTORY", machine.path("").to_str().unwrap().trim_end_matches('/'));
            let expected = format!("test/app: cannot start: {expected}; trying again in 1 s");
            assert!(run.line(told).text.ends_with(&expected), "{host}: {}", run.line(told).text);
            if container.contains("/proc\"]") {
                let ended = run.stop();
                assert_eq!(ended.count("test/app: started"), 0, "{}", ended.text());
                continue;
            }
            if container.contains("working-directory") {
                fs::create_dir(machine.path("program")).unwrap();
            } else {
                write_program(&machine.path("program"), "#!/bin/sh\necho 'it runs'\n");
            }
            let ended = run.end();
            ended.assert_order(&[&expected, "test/app: started", "test/app: completed"]);
            ended.assert_status(0);
        }
    }
}

const TOLD: &str = "trap 'echo told; exit 0' TERM\necho 'app runs'\nwhile true; do sleep 0.1; done";

/// Makes a process that is nobody's child, leads its own session and hears no signal.
const ORPHAN: &str = "(setsid sh -c 'trap \"\" TERM HUP; echo orphan $$$$; exec sleep 4324' &)\n";

fn orphan(lines: &[super::run::Line]) -> i32 {
    lines
        .iter()
        .find_map(|line| line.text.split_once("| orphan ")?.1.parse().ok())
        .expect("no orphan was told")
}

#[test]
fn a_stop_is_told_to_its_first_process_and_ends_all_of_them() {
    for (host, wrapper) in hosts() {
        let containers = format!(
            "[[init-containers]]\nname = \"sidecar\"\nrestart-policy = \"always\"\nhost-process = true\n\
             command = [\"/bin/sh\", \"-c\", '''{TOLD}''']\n\
             [[containers]]\nname = \"app\"\nhost-process = true\n\
             command = [\"/bin/sh\", \"-c\", '''{ORPHAN}{TOLD}''']\n"
        );
        let machine = machine(wrapper, &containers);
        let run = machine.run();
        run.wait_for("app       | app runs");
        run.wait_for("| orphan ");
        let orphan = orphan(&run.lines());
        assert!(process::is_alive(orphan), "{host}");
        let ended = run.stop();
        ended.assert_order(&[
            "test/app: stopping with SIGTERM",
            "app       | told",
            "test/app: completed",
            "test/sidecar: stopping with SIGTERM",
            "sidecar   | told",
            "test/sidecar: completed",
            "pod test: Succeeded",
        ]);
        assert!(!process::is_alive(orphan), "{host}");
        ended.assert_status(0);
    }
}

#[test]
fn one_that_hears_nothing_is_killed_when_its_grace_period_is_over() {
    for (host, wrapper) in hosts() {
        let containers = "[[containers]]\nname = \"app\"\nhost-process = true\n\
             command = [\"sh\", \"-c\", \"trap '' TERM; echo 'app runs'; while true; do sleep 1; done\"]\n";
        let machine = machine(wrapper, containers);
        let run = machine.run();
        run.wait_for("| app runs");
        let before = Instant::now();
        let ended = run.stop();
        assert!(before.elapsed() >= Duration::from_secs(2), "{host}");
        ended.assert_order(&["test/app: killing all its processes", "test/app: killed by SIGKILL"]);
        ended.assert_status(0);
    }
}

#[test]
fn what_it_has_started_ends_with_it() {
    for (host, wrapper) in hosts() {
        let containers = format!(
            "[[containers]]\nname = \"app\"\nhost-process = true\n\
             command = [\"sh\", \"-c\", '''{ORPHAN}sleep 0.3; exit 7''']\n"
        );
        let ended = machine(wrapper, &containers).run().end();
        assert!(!process::is_alive(orphan(&ended.lines)), "{host}");
        ended.assert_order(&["test/app: started", "test/app: exited with 7", "pod test: Failed"]);
        ended.assert_status(4);
    }
}

#[test]
fn it_is_probed_beside_itself_as_what_it_is() {
    for (host, wrapper) in hosts() {
        let check = "echo x >> DIRECTORY/tries; [ $(id -u):$(id -G) = 1234:5678 ] && [ $(pwd) = /proc ] && \
                     [ \"$WORD $0\" = \"open open\" ] || exit 3; [ -e DIRECTORY/cgroup ] || cat /proc/self/cgroup > DIRECTORY/cgroup; \
                     [ -e DIRECTORY/well ] && exit 0; echo 'no heart beat'; exit 4";
        let containers = format!(
            "[[containers]]\nname = \"app\"\nhost-process = true\nuser = \"1234:5678\"\n\
             working-directory = \"/proc\"\nenv = {{ WORD = \"open\" }}\n\
             command = [\"sh\", \"-c\", \"{}\"]\n\
             readiness-probe = {{ exec = {{ command = [\"sh\", \"-c\", '''{check}''', \"$(WORD)\"] }}, \
             period = \"50ms\" }}\n\
             liveness-probe = {{ exec = {{ command = [\"sh\", \"-c\", '''[ ! -e DIRECTORY/ill ] || \
             {{ echo ill; exit 5; }}'''] }}, period = \"50ms\", failure-threshold = 1 }}\n",
            TOLD.replace('\n', "; ")
        );
        let machine = machine(wrapper, &containers);
        // The probe writes there as another user.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        fs::set_permissions(machine.path(""), open).unwrap();
        let run = machine.run();
        run.wait_for("| app runs");
        let tries = || fs::read_to_string(machine.path("tries")).unwrap_or_default().lines().count();
        assert!(poll_until(PATIENCE, || tries() >= 3), "{host}: {:?}", run.lines());
        let cgroup = fs::read_to_string(machine.path("cgroup")).unwrap();
        let unified = cgroup.lines().find_map(|line| line.strip_prefix("0::")).unwrap();
        let expected = format!("{}/test/app/runtime", machine.cgroup_root());
        let legacy =
            cgroup.lines().any(|line| line.ends_with(&format!("{}/test/app", machine.cgroup_root())));
        assert!(unified == expected || (host == "cgroup v1 alone" && legacy), "{host}: {cgroup}");
        assert!(!run.lines().iter().any(|line| line.text.contains("test/app: ready")), "{host}");
        fs::write(machine.path("well"), "").unwrap();
        run.wait_for("test/app: ready");
        fs::write(machine.path("ill"), "").unwrap();
        let failed = run.wait_for("test/app: liveness probe failed");
        assert!(run.line(failed).text.ends_with("it exited with 5: ill"), "{}", run.line(failed).text);
        let ended = run.end();
        ended.assert_order(&["liveness probe failed", "test/app: stopping with SIGTERM", "| told"]);
    }
}

#[test]
fn a_probe_that_takes_too_long_is_killed_with_what_it_has_started() {
    for (host, wrapper) in hosts() {
        let containers = "[[containers]]\nname = \"app\"\nhost-process = true\ncommand = [\"sleep\", \"4000\"]\n\
             readiness-probe = { exec = { command = [\"sh\", \"-c\", \"echo x >> DIRECTORY/tries; sleep 4325; \
             true\"] }, period = \"200ms\", timeout = \"100ms\" }\n";
        let machine = machine(wrapper, containers);
        let run = machine.run();
        let tries = || fs::read_to_string(machine.path("tries")).unwrap_or_default().lines().count();
        assert!(poll_until(PATIENCE, || tries() >= 4), "{host}: {:?}", run.lines());
        let sleepers = || {
            let slept = |pid: &i32| process::command_line(*pid).contains("sleep 4325");
            machine.processes("test", "app").into_iter().filter(slept).count()
        };
        assert!(poll_until(PATIENCE, || sleepers() == 0), "{host}: {} are left", sleepers());
        let ended = run.stop();
        ended.assert_has("test/app: killed by SIGTERM");
    }
}

#[test]
fn a_probe_command_that_is_not_there_counts_neither_way() {
    let containers = "[[containers]]\nname = \"app\"\nhost-process = true\ncommand = [\"sleep\", \"4000\"]\n\
         liveness-probe = { exec = { command = [\"no-such-check\"] }, period = \"50ms\", failure-threshold = 1 }\n\
         readiness-probe = { exec = { command = [\"/no/such/check\"] }, period = \"50ms\" }\n";
    let machine = machine(&[], containers);
    let run = machine.run();
    run.wait_for("cannot make its liveness probe: cannot find program `no-such-check` in PATH");
    run.wait_for("cannot make its readiness probe: cannot execute its command: No such file or directory");
    pause(Duration::from_secs(1));
    let ended = run.stop();
    assert_eq!(ended.count("liveness probe failed"), 0, "{}", ended.text());
    ended.assert_has("test/app: killed by SIGTERM");
}

#[test]
fn its_network_is_probed_and_it_stands_beside_containers_in_one_pod() {
    for runtime in RUNTIMES {
        let port = free_port();
        let mut machine = Machine::new(runtime);
        machine.set("restart-backoff = { initial = \"0s\", max = \"0s\" }");
        machine.script("ask", "ip -o link | cut -d : -f 2 | tr -d '\\n' | sed 's/^/links/'; echo");
        machine.pod(
            "test",
            &format!(
                r#"
                    name = "test"
                    restart-policy = "never"
                    termination-grace-period = "2s"
                    network = "none"
                    [[init-containers]]
                    name = "server"
                    restart-policy = "always"
                    host-process = true
                    command = ["busybox", "httpd", "-f", "-p", "127.0.0.1:{port}", "-h", "ROOTFS"]
                    startup-probe = {{ http-get = {{ port = {port} , path = "/demo/ask" }}, period = "50ms" , failure-threshold = 100 }}
                    [[containers]]
                    name = "app"
                    rootfs = "ROOTFS"
                    command = ["/demo/ask"]
                "#
            ),
        );
        let ended = machine.run().end();
        ended.assert_order(&[
            "test/server: started (sidecar",
            "test/server: startup probe succeeded",
            "test/app: started",
            "test/app: completed",
            "test/server: killed by SIGTERM",
            "pod test: Succeeded",
        ]);
        // The server is reached on the host's loopback, the container has one of its own.
        ended.assert_has("| links lo");
        ended.assert_status(0);
    }
}

#[test]
fn one_that_crashes_is_started_again_with_the_next_log() {
    let mut machine = machine(&[], "");
    machine.set("log-destination = \"files\"");
    machine.pod(
        "test",
        "name = \"test\"\ntermination-grace-period = \"2s\"\n[[containers]]\nname = \"app\"\nhost-process = true\n\
         command = [\"sh\", \"-c\", \"if [ -e DIRECTORY/second ]; then echo there; exec sleep 4000; fi; touch \
         DIRECTORY/second; echo here; exit 7\"]\n",
    );
    let run = machine.run();
    let log = |restarts: u32| {
        fs::read_to_string(machine.state().join(format!("logs/test/app/{restarts}.log"))).unwrap_or_default()
    };
    assert!(poll_until(PATIENCE, || log(1).ends_with(" stdout F there\n")), "{} {}", log(0), log(1));
    assert!(log(0).ends_with(" stdout F here\n") && log(0).lines().count() == 1, "{}", log(0));
    run.stop().assert_status(0);
}

#[test]
fn a_stop_at_any_moment_leaves_nothing() {
    let containers = format!(
        "[[init-containers]]\nname = \"first\"\nhost-process = true\ncommand = [\"true\"]\n\
         [[init-containers]]\nname = \"sidecar\"\nrestart-policy = \"always\"\nhost-process = true\n\
         command = [\"sh\", \"-c\", '''{ORPHAN}{TOLD}''']\n\
         [[containers]]\nname = \"app\"\nhost-process = true\ncommand = [\"sh\", \"-c\", '''{TOLD}''']\n"
    );
    let machine = machine(&[], &containers);
    for moment in 0..40 {
        let run = machine.run();
        run.wait_for("pod test: starting");
        pause(Duration::from_millis(moment / 2));
        let ended = run.stop();
        assert!([Some(0), Some(4)].contains(&ended.status), "{:?}: {}", ended.status, ended.text());
        assert_eq!(ended.count("error: "), 0, "{}", ended.text());
    }
}

#[test]
fn its_limits_hold() {
    let containers = "[[containers]]\nname = \"app\"\nhost-process = true\n\
         command = [\"busybox\", \"sh\", \"-c\", \"for child in $(seq 100); do sleep 5 & done; echo 'all at once'\"]\n\
         resources = { limits = { pids = 20 } }\n";
    let ended = machine(&[], containers).run().end();
    ended.assert_has("test/app: exited with 2");
    assert_eq!(ended.count("all at once"), 0, "{}", ended.text());
}

/// An ordinary process says so where the first one of a machine would reboot it.
#[test]
fn the_failure_of_an_essential_pod_ends_all_pods_and_not_the_machine() {
    let machine = machine(
        &[],
        "essential = true\non-failure = \"reboot\"\n[[containers]]\nname = \"app\"\nhost-process = true\n\
         command = [\"sh\", \"-c\", \"exit 3\"]\n",
    );
    machine.pod(
        "other",
        "name = \"other\"\ntermination-grace-period = \"2s\"\n[[containers]]\nname = \"app\"\n\
         host-process = true\ncommand = [\"sleep\", \"1000\"]\n",
    );
    let ended = machine.run().end();
    ended.assert_status(4);
    for line in [
        "pod test: it is essential and has failed; stopping all pods in order, then reboot",
        "pod other: stopping, as requested",
        "error: cannot go on to the reboot: this is not the first process of a machine; ending",
    ] {
        assert_eq!(ended.count(line), 1, "{line}:\n{}", ended.text());
    }
}
