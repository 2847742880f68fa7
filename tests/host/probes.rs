//! Probes of real containers.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use super::machine::{Machine, RUNTIMES, free_port};
use super::mount_namespace::layouts;
use super::process;
use super::run::{PATIENCE, Run, pause, poll_until};

const SLEEPER: &str = "trap 'exit 0' TERM\necho 'app runs'\nwhile true; do sleep 0.1; done";

const NO_PAUSES: &str = "restart-backoff = { initial = \"0s\", max = \"0s\" }";

fn machine(runtime: &str, container: &str) -> Machine {
    let mut machine = Machine::new(runtime);
    machine.set(NO_PAUSES);
    machine.script("app", SLEEPER);
    fs::create_dir(machine.path("shared")).unwrap();
    machine.pod(
        "test",
        &format!(
            r#"
                name = "test"
                termination-grace-period = "2s"
                volumes = [{{ name = "shared", host-path = "DIRECTORY/shared" }}]
                [[containers]]
                name = "app"
                rootfs = "ROOTFS"
                command = ["/demo/app"]
                mounts = [{{ volume = "shared", path = "/data" }}]
                {container}
            "#
        ),
    );
    machine
}

/// Owner and mode of the host's /dev/null, which runtimes are known to give away.
fn null_device() -> (u32, u32, u32) {
    let meta = fs::metadata("/dev/null").unwrap();
    (meta.uid(), meta.gid(), meta.mode() & 0o7777)
}

#[test]
fn an_exec_probe_succeeds_for_another_user_and_leaves_the_null_device_alone() {
    for (layout, wrapper) in layouts() {
        for runtime in RUNTIMES {
            let mut machine = machine(
                runtime,
                "user = \"1000\"\nenv = { WORD = \"open\" }\nworking-directory = \"/data\"\n\
                 startup-probe = { exec = { command = [\"/demo/check\", \"$(WORD)\"] }, period = \"50ms\", \
                 failure-threshold = 100 }\n\
                 readiness-probe = { exec = { command = [\"/demo/check\", \"open\"] }, period = \"50ms\", \
                 failure-threshold = 1 }",
            );
            machine.wrap(wrapper);
            machine.script(
                "check",
                "[ $(id -u) = 1000 ] && [ $(pwd) = /data ] && [ \"$1\" = \"$WORD\" ] && \
                 grep -q 'NoNewPrivs:.*1' /proc/self/status && echo x > /dev/null && [ ! -e /data/closed ]",
            );
            let before = null_device();
            assert_eq!(before, (0, 0, 0o666), "/dev/null was given away before this test");
            let run = machine.run();
            run.wait_for("test/app: startup probe succeeded");
            let ready = run.wait_for("test/app: ready");
            fs::write(machine.path("shared/closed"), "").unwrap();
            let closed = run.wait_for_after(ready, "test/app: not ready");
            fs::remove_file(machine.path("shared/closed")).unwrap();
            run.wait_for_after(closed, "test/app: ready");
            let ended = run.stop();
            ended.assert_status(0);
            assert_eq!(ended.count("restart"), 0, "{}", ended.text());
            assert_eq!(null_device(), before, "{runtime}, {layout}: /dev/null was given away");
        }
    }
}

#[test]
fn a_failed_liveness_probe_says_what_the_command_said_and_restarts() {
    for runtime in RUNTIMES {
        let machine = machine(
            runtime,
            "liveness-probe = { exec = { command = [\"/demo/check\"] }, period = \"100ms\", \
                failure-threshold = 2 }",
        );
        machine.script(
            "check",
            "[ -e /data/well ] && exit 0\necho 'first words' >&2; echo 'no heart beat' >&2; exit 3",
        );
        let run = machine.run();
        let failed = run.wait_for("test/app: liveness probe failed");
        let text = run.line(failed).text;
        assert!(text.ends_with("liveness probe failed: it exited with 3: no heart beat"), "{text}");
        fs::write(machine.path("shared/well"), "").unwrap();
        run.wait_for_after(failed, "test/app: stopping with SIGTERM, its liveness probe failed");
        run.wait_for_after(failed, "test/app: started, first restart");
        run.stop().assert_status(0);
    }
}

#[test]
fn a_probe_command_that_is_not_there_is_told_once() {
    for runtime in RUNTIMES {
        let machine = machine(
            runtime,
            "liveness-probe = { exec = { command = [\"/no/such/check\"] }, period = \"50ms\", \
                failure-threshold = 1 }",
        );
        let run = machine.run();
        let told = run.wait_for("/no/such/check");
        let text = run.line(told).text;
        assert!(text.contains("test/app: ") && text.contains("liveness probe"), "{text}");
        // Tried many times more by then, and neither told again nor taken for a failure.
        pause(Duration::from_secs(2));
        let ended = run.stop();
        ended.assert_status(0);
        assert_eq!(ended.count("/no/such/check"), 1, "{}", ended.text());
        assert_eq!(ended.count("restart"), 0, "{}", ended.text());
    }
}

#[test]
fn a_probe_that_takes_too_long_is_killed_with_what_its_command_has_started() {
    for (layout, wrapper) in layouts() {
        for runtime in RUNTIMES {
            let mut machine = machine(
                runtime,
                "readiness-probe = { exec = { command = [\"/demo/check\"] }, period = \"300ms\", timeout = \
                    \"150ms\", failure-threshold = 1 }",
            );
            machine.wrap(wrapper);
            // A child and its child, an orphan, and one in a session of its own.
            machine.script(
                "check",
                "trap '' TERM\necho tried >> /data/tries\nsh -c 'sleep 4321 & wait' &\n\
                 sh -c 'sleep 4321 &'\nsetsid sleep 4321 &\nexec sleep 4321",
            );
            let run = machine.run();
            run.wait_for("| app runs");
            let tries =
                || fs::read_to_string(machine.path("shared/tries")).unwrap_or_default().lines().count();
            assert!(poll_until(PATIENCE, || tries() >= 5), "{} tries:\n{:?}", tries(), run.lines());
            let first = machine.first_process("test", "app");
            let sleepers = || {
                let inside = fs::read_link(format!("/proc/{first}/ns/pid")).unwrap();
                let same =
                    |pid: &i32| fs::read_link(format!("/proc/{pid}/ns/pid")).is_ok_and(|link| link == inside);
                let slept = |pid: &i32| process::command_line(*pid).contains("sleep 4321");
                process::all().into_iter().filter(same).filter(slept).count()
            };
            // At most those of the present try.
            assert!(poll_until(PATIENCE, || sleepers() == 0), "{runtime}, {layout}: {} are left", sleepers());
            assert!(sleepers() <= 5);
            assert!(process::is_alive(first));
            run.stop().assert_status(0);
        }
    }
}

fn assert_restarts_when_the_server_ends(run: Run<'_>, probed: &str) {
    let ready = run.wait_for("test/app: ready");
    let failed = run.wait_for_after(ready, "test/app: liveness probe failed");
    let text = run.line(failed).text;
    assert!(text.contains(probed), "{text}");
    let again = run.wait_for_after(failed, "test/app: started, first restart");
    run.wait_for_after(again, "test/app: ready");
    run.stop().assert_status(0);
}

/// Serves on `$1`, in its first instance only until the first page was fetched a few times.
const SERVER: &str = "trap 'kill $server; exit 0' TERM\nmkdir -p /dev/shm/www\necho ok > \
    /dev/shm/www/index.html\n\
    httpd -f -p 127.0.0.1:$1 -h /dev/shm/www & server=$!\n\
    if [ ! -e /data/second ]; then touch /data/second; sleep 2; $2; fi\n\
    while true; do sleep 0.1; done";

#[test]
fn a_failed_http_or_tcp_liveness_probe_restarts_the_container() {
    let cases = [
        ("tcp-socket", "kill $server", "cannot connect: Connection refused"),
        ("http-get", "kill $server", "cannot connect: Connection refused"),
        ("http-get", "rm /dev/shm/www/index.html", "HTTP status 404"),
    ];
    for runtime in RUNTIMES {
        for network in ["host", "none"] {
            for (kind, fate, probed) in cases {
                let port = free_port();
                let machine = machine(
                    runtime,
                    &format!(
                        "args = [\"{port}\"]\nnetwork = \"{network}\"\n\
                         liveness-probe = {{ {kind} = {{ port = {port} }}, initial-delay = \"1s\", period = \
                         \"100ms\", failure-threshold = 2 }}\n\
                         readiness-probe = {{ {kind} = {{ port = {port} }}, period = \"50ms\" }}"
                    ),
                );
                machine.script("app", &SERVER.replace("$2", fate));
                assert_restarts_when_the_server_ends(machine.run(), probed);
            }
        }
    }
}
