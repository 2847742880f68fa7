//! Runtimes that fail, hang, lie or are not there. The user is told which container, what, and
//! when it is tried again; a stop ends it all the same; what fails once does no lasting harm.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::machine::{Machine, RUNTIMES};
use super::process;
use super::run::{Run, pause};
use super::wrapper;

const SETTINGS: &str = "runtime-timeout = \"1s\"\nrestart-backoff = { initial = \"200ms\", max = \"200ms\" }";

const POD: &str = r#"
name = "test"
termination-grace-period = "2s"
[[containers]]
name = "app"
rootfs = "ROOTFS"
command = ["/demo/app"]
"#;

const APP: &str = "trap 'exit 0' TERM\necho 'app runs'\nwhile true; do sleep 0.1; done";

/// A way to fail.
struct Fault {
    title: &'static str,
    /// What the runtime does, as shell.
    behaviour: &'static str,
    /// What one line says, in this order.
    said: &'static [&'static str],
}

const AGAIN: &str = "trying again";

const FAULTS: [Fault; 12] = [
    Fault {
        title: "create is killed in the middle",
        behaviour: "if [ $operation = create ]; then \"$real\" \"$@\" & while [ ! -e \"$root/$id\" ] && kill \
            -0 $!; do :; done; kill -9 $! $$; fi",
        said: &["error: test/app: cannot start: the runtime's `create` failed: ", AGAIN],
    },
    Fault {
        title: "create sleeps",
        behaviour: "if [ $operation = create ]; then exec sleep 1000; fi",
        said: &["error: test/app: cannot start: the runtime's `create` was not done after 1 s", AGAIN],
    },
    Fault {
        title: "create makes the container and sleeps",
        behaviour: "if [ $operation = create ]; then \"$real\" \"$@\"; sleep 1000; fi",
        said: &["error: test/app: cannot start: the runtime's `create` was not done after 1 s", AGAIN],
    },
    Fault {
        title: "start sleeps",
        behaviour: "if [ $operation = start ]; then sleep 1000; fi",
        said: &["error: test/app: cannot start: the runtime's `start` was not done after 1 s", AGAIN],
    },
    Fault {
        title: "--version sleeps",
        behaviour: "if [ $operation = version ]; then sleep 1000; fi",
        said: &["error: test/app: cannot start: the runtime's `", "not done after 1 s", AGAIN],
    },
    Fault {
        title: "--version fails",
        behaviour: "if [ $operation = version ]; then echo 'no library'; exit 3; fi",
        said: &["error: test/app: cannot start: `", "--version` failed: it exited with 3: no library", AGAIN],
    },
    Fault {
        title: "--version names another program",
        behaviour: "if [ $operation = version ]; then echo 'youki version 1'; exit 0; fi",
        said: &["error: test/app: cannot start: cannot use runtime `", "only crun and runc are known", AGAIN],
    },
    Fault {
        title: "create leaves no pid file",
        behaviour: "if [ $operation = create ]; then exit 0; fi",
        said: &[
            "error: test/app: cannot start: the runtime's `create` exited with 0 but left no pid file",
            AGAIN,
        ],
    },
    Fault {
        title: "create writes nonsense into the pid file",
        behaviour: "if [ $operation = create ]; then \"$real\" \"$@\"; echo nonsense > $pid_file; exit 0; fi",
        said: &[
            "error: test/app: cannot start: the runtime's `create` wrote `nonsense` into its pid file",
            AGAIN,
        ],
    },
    Fault {
        title: "create prints megabytes and fails",
        behaviour: "if [ $operation = create ]; then head -c 3000000 /dev/zero | tr '\\0' x >&2; exit 7; fi",
        said: &["error: test/app: cannot start: the runtime's `create` failed: it exited with 7", AGAIN],
    },
    Fault {
        title: "start prints megabytes and fails",
        behaviour: "if [ $operation = start ]; then head -c 3000000 /dev/zero | tr '\\0' x >&2; exit 7; fi",
        said: &["error: test/app: cannot start: the runtime's `start` failed: ", AGAIN],
    },
    Fault {
        title: "start fails with a line in its log",
        behaviour: "if [ $operation = start ]; then for word; do case $word in --log=*) echo \
            '{\"level\":\"error\",\"msg\":\"a broken exec.fifo\",\"time\":\"\"}' > ${word#*=};; esac; done; \
            exit 1; fi",
        said: &["error: test/app: cannot start: the runtime's `start` failed: a broken exec.fifo", AGAIN],
    },
];

/// Waits for a line that has all texts in this order.
fn wait_for_all(run: &Run<'_>, title: &str, texts: &[&str]) -> usize {
    let position = run.wait_for(texts[0]);
    let text = run.line(position).text;
    let mut rest = text.as_str();
    for part in texts {
        let at = rest.find(part).unwrap_or_else(|| panic!("{title}: no {part:?} in its place in: {text}"));
        rest = &rest[at + part.len()..];
    }
    position
}

fn stop_in_time(run: Run<'_>, title: &str, status: i32) {
    let asked = std::time::Instant::now();
    let ended = run.stop();
    let took = ended.at - asked;
    assert!(took < Duration::from_secs(15), "{title}: {took:?}:\n{}", ended.text());
    assert_eq!(ended.status, Some(status), "{title}:\n{}", ended.text());
    println!("{title}: ended {took:?} after the stop request");
}

fn faulty(runtime: &str, behaviour: &str) -> Machine {
    let mut machine = wrapper::machine(runtime, behaviour);
    machine.set(SETTINGS);
    machine.script("app", APP);
    machine.pod("test", POD);
    machine
}

#[test]
fn a_lasting_fault_is_told_and_does_not_hold_up_the_stop() {
    for runtime in RUNTIMES {
        for fault in &FAULTS {
            let machine = faulty(runtime, fault.behaviour);
            let run = machine.run();
            let first = wait_for_all(&run, fault.title, fault.said);
            // It is really tried again.
            run.wait_for_after(first + 1, fault.said[0]);
            stop_in_time(run, &format!("{runtime}: {}", fault.title), 0);
        }
    }
}

#[test]
fn after_a_fault_that_passes_the_pod_comes_up() {
    for runtime in RUNTIMES {
        for fault in &FAULTS {
            let behaviour = fault.behaviour.replacen("; then ", " && first_time; then ", 1);
            let machine = faulty(runtime, &behaviour);
            let run = machine.run();
            let failed = wait_for_all(&run, fault.title, fault.said);
            run.wait_for_after(failed, "pod test: Running");
            run.wait_for("| app runs");
            let ended = run.stop();
            assert_eq!(ended.status, Some(0), "{}:\n{}", fault.title, ended.text());
        }
    }
}

#[test]
fn a_delete_that_sleeps_is_ended_and_told() {
    for runtime in RUNTIMES {
        let machine = faulty(runtime, "if [ $operation = delete ]; then sleep 1000; fi");
        let run = machine.run();
        run.wait_for("| app runs");
        run.signal(nix::sys::signal::Signal::SIGTERM);
        wait_for_all(
            &run,
            "delete sleeps",
            &["error: test/app: cannot remove what is left of it: not done after 1 s", AGAIN],
        );
        let ended = run.end();
        println!("{runtime}: delete sleeps: exit status {:?}", ended.status);
        ended.assert_status(0);
    }
}

#[test]
fn a_foreign_process_in_the_pid_file_is_not_touched() {
    // Neither a child of outrigger nor of the runtime.
    let mut foreign = Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap();
    let pid = i32::try_from(foreign.id()).unwrap();
    for runtime in RUNTIMES {
        for (named, said) in [(pid, "which is not our child"), (1, "which is no process")] {
            let behaviour = format!(
                "if [ $operation = create ]; then \"$real\" \"$@\"; echo {named} > $pid_file; exit 0; fi"
            );
            let machine = faulty(runtime, &behaviour);
            let run = machine.run();
            wait_for_all(&run, "foreign pid", &["error: test/app: cannot start: ", said, AGAIN]);
            stop_in_time(run, &format!("{runtime}: pid file with {named}"), 0);
            assert!(process::is_alive(pid), "a process of somebody else was killed");
        }
    }
    foreign.kill().unwrap();
    foreign.wait().unwrap();
}

#[test]
fn a_runtime_that_is_not_there_is_told_and_waited_for() {
    let mut machine = faulty("crun", "");
    let there = machine.path("runtime");
    let away = machine.path("runtime-away");
    fs::rename(&there, &away).unwrap();
    machine.set_runtime(there.to_str().unwrap());
    let run = machine.run();
    let said = [
        "error: test/app: cannot start: cannot use runtime `",
        "it is not there or cannot be executed",
        AGAIN,
    ];
    wait_for_all(&run, "not there", &said);
    fs::rename(&away, &there).unwrap();
    run.wait_for("| app runs");
    stop_in_time(run, "a runtime that was installed late", 0);

    let mut machine = faulty("crun", "");
    machine.set_runtime("no-such-runtime");
    let run = machine.run();
    let said = ["error: test/app: cannot start: cannot find runtime `no-such-runtime` in PATH", AGAIN];
    wait_for_all(&run, "unknown name", &said);
    stop_in_time(run, "unknown name", 0);
}

#[test]
fn a_runtime_that_disappears_is_told_and_nothing_is_left() {
    for runtime in RUNTIMES {
        let mut machine = wrapper::machine(runtime, "");
        machine.set(SETTINGS);
        machine.script("app", APP);
        machine.script("first", "echo first runs; while [ ! -e /data/go ]; do sleep 0.05; done");
        fs::create_dir(machine.path("shared")).unwrap();
        machine.pod(
            "test",
            r#"
            name = "test"
            termination-grace-period = "2s"
            [[volumes]]
            name = "shared"
            host-path = "DIRECTORY/shared"
            [[init-containers]]
            name = "first"
            rootfs = "ROOTFS"
            command = ["/demo/first"]
            mounts = [{ volume = "shared", path = "/data" }]
            [[containers]]
            name = "app"
            rootfs = "ROOTFS"
            command = ["/demo/app"]
            "#,
        );
        let run = machine.run();
        run.wait_for("test/first: started");
        run.wait_for("| first runs");
        fs::rename(machine.path("runtime"), machine.path("runtime-away")).unwrap();
        fs::write(machine.path("shared/go"), "").unwrap();
        let said = ["error: test/app: cannot start: cannot execute `", "No such file or directory", AGAIN];
        wait_for_all(&run, "disappears", &said);
        // What the init container has left is removed without a runtime.
        run.wait_for("warning: test/first: cannot execute");
        stop_in_time(run, &format!("{runtime} disappears"), 0);
    }
}

/// A tiny file system in a test's directory.
struct SmallFileSystem<'m>(&'m Machine);

const SMALL: &str = "small";

impl SmallFileSystem<'_> {
    fn mount(machine: &Machine) -> SmallFileSystem<'_> {
        let place = machine.path(SMALL);
        fs::create_dir(&place).unwrap();
        mount(Some("tmpfs"), &place, Some("tmpfs"), MsFlags::empty(), Some("size=256k")).unwrap();
        SmallFileSystem(machine)
    }

    fn fill(&self) {
        // Until there is no room for a single byte more.
        let filler = fs::write(self.0.path(SMALL).join("filler"), vec![b'x'; 1 << 20]);
        assert!(filler.is_err(), "the file system is larger than it was made");
    }

    fn empty(&self) {
        fs::remove_file(self.0.path(SMALL).join("filler")).unwrap();
    }
}

impl Drop for SmallFileSystem<'_> {
    fn drop(&mut self) {
        let _ = umount2(&self.0.path(SMALL), MntFlags::MNT_DETACH);
    }
}

#[test]
fn a_full_state_directory_is_told_and_its_end_is_noticed() {
    for runtime in RUNTIMES {
        let mut machine = Machine::new(runtime);
        machine.set(SETTINGS);
        machine.set_state("small/state");
        machine.script("app", APP);
        machine.pod("test", POD);
        let small = SmallFileSystem::mount(&machine);
        small.fill();
        let run = machine.run();
        let said = ["error: test/app: cannot start: ", "o space left on device", AGAIN];
        let failed = wait_for_all(&run, "full", &said);
        small.empty();
        run.wait_for_after(failed, "| app runs");
        // Full again while the container runs: it must still be possible to stop.
        small.fill();
        stop_in_time(run, &format!("{runtime}: full state directory"), 0);

        let run = machine.run();
        wait_for_all(&run, "full", &said);
        stop_in_time(run, &format!("{runtime}: a stop while it is full"), 0);
        drop(small);
    }
}

#[test]
fn a_stop_while_the_runtime_hangs_needs_no_timeout() {
    for runtime in RUNTIMES {
        for operation in ["version", "create", "start"] {
            let behaviour = format!("if [ $operation = {operation} ]; then : > $here/hangs; sleep 1000; fi");
            let mut machine = faulty(runtime, &behaviour);
            // Later assignments would be an error: another machine file.
            machine.replace_settings("runtime-timeout = \"1h\"");
            let run = machine.run();
            let hangs = machine.path("hangs");
            assert!(super::run::poll_until(super::run::PATIENCE, || hangs.exists()), "{operation}");
            pause(Duration::from_millis(20));
            stop_in_time(run, &format!("{runtime}: {operation} hangs"), 0);
        }
    }
}
