//! Where the containers' output goes, and the log writer's end.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::machine::{Machine, RUNTIMES};
use super::process;
use super::run::Run;

fn log_writer(run: &Run<'_>) -> i32 {
    let is_log_writer = |pid: &i32| process::command_line(*pid).contains("log-writer");
    process::children(run.pid()).into_iter().find(is_log_writer).expect("no log writer")
}

/// Says a numbered line every 10 ms: 1, 2, 3, ... until it is asked to stop.
const COUNTER: &str = "trap 'echo \"last $number\"; exit 0' TERM\nnumber=0\n\
    while true; do number=$((number + 1)); echo \"number $number\"; usleep 10000; done";

const POD: &str = r#"
    name = "test"
    [[containers]]
    name = "app"
    rootfs = "ROOTFS"
    command = ["/demo/app"]
"#;

#[test]
fn a_killed_log_writer_is_replaced_and_costs_no_line() {
    for runtime in RUNTIMES {
        let machine = Machine::new(runtime);
        machine.script("app", COUNTER);
        machine.pod("test", POD);
        let run = machine.run();
        run.wait_for("| number 10");
        let first = log_writer(&run);
        // Stopped first: then what is in the pipes is surely not read yet, and none of it is in
        // its memory either.
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(first), Signal::SIGSTOP).unwrap();
        super::run::pause(Duration::from_millis(300));
        let before = run.lines().len();
        process::kill(first);
        let told = run.wait_for_after(before, "error: the log writer ended: it was killed by SIGKILL");
        assert!(run.line(told).text.contains("starting another"), "{}", run.line(told).text);
        run.wait_for_after(told, "| number ");
        let (second, app) = (log_writer(&run), machine.first_process("test", "app"));
        assert_ne!(first, second);
        assert!(process::is_alive(app), "the container has noticed");
        let ended = run.stop();
        ended.assert_status(0);
        let numbers: Vec<u32> =
            ended.lines.iter().filter_map(|line| line.text.split_once("| number ")?.1.parse().ok()).collect();
        let expected: Vec<u32> = (1..).take(numbers.len()).collect();
        assert_eq!(numbers, expected, "lines are missing, doubled or out of order");
        ended.assert_has(&format!("| last {}", numbers.len()));
        assert_eq!(ended.count("restart"), 0, "{}", ended.text());
    }
}

/// The parts of a line in the CRI log format: time, stream, tag, text.
fn parse_cri(line: &str) -> (&str, &str, &str, &str) {
    let mut parts = line.splitn(4, ' ');
    let mut next = || parts.next().unwrap_or_else(|| panic!("no CRI log line: {line:?}"));
    (next(), next(), next(), next())
}

fn assert_rfc_3339(time: &str) {
    let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    let (seconds, rest) = shape.split_at(19.min(shape.len()));
    assert_eq!(seconds, "0000-00-00T00:00:00", "{time}");
    let fraction = rest.trim_end_matches('Z').trim_start_matches('.');
    assert!(rest.ends_with('Z') && fraction.chars().all(|c| c == '0'), "{time}");
}

#[test]
fn log_files_are_in_the_cri_format_and_the_previous_instance_is_kept() {
    for runtime in RUNTIMES {
        let mut machine = Machine::new(runtime);
        machine.set("log-destination = \"files\"\nrestart-backoff = { initial = \"0s\", max = \"0s\" }");
        machine.script(
            "app",
            "if [ -e /data/second ]; then trap 'exit 0' TERM; echo second; touch /data/ready\n\
             while true; do sleep 0.1; done; fi\n\
             touch /data/second; echo 'first line'; echo 'to stderr' >&2; printf 'no newline'; exit 3",
        );
        machine.pod(
            "test",
            r#"
                name = "test"
                [[volumes]]
                name = "data"
                host-path = "DIRECTORY/rootfs/other"
                [[containers]]
                name = "app"
                rootfs = "ROOTFS"
                command = ["/demo/app"]
                mounts = [{ volume = "data", path = "/data" }]
            "#,
        );
        let run = machine.run();
        run.wait_for("test/app: exited with 3");
        let ready = machine.path("rootfs/other/ready");
        assert!(super::run::poll_until(super::run::PATIENCE, || ready.exists()));
        let ended = run.stop();
        ended.assert_status(0);
        assert_eq!(ended.count("first line") + ended.count("to stderr"), 0, "{}", ended.text());

        let directory = machine.state().join("logs/test/app");
        let first = fs::read_to_string(directory.join("0.log")).unwrap();
        let lines: Vec<_> = first.lines().map(parse_cri).collect();
        for (time, ..) in &lines {
            assert_rfc_3339(time);
        }
        let mut found: Vec<_> = lines.iter().map(|&(_, stream, tag, text)| (stream, tag, text)).collect();
        // Two pipes: which of them is read first is nobody's promise.
        found.sort_unstable();
        let (stdout, stderr) = ("stdout", "stderr");
        let mut expected = vec![(stdout, "F", "first line"), (stderr, "F", "to stderr")];
        let unended =
            found.iter().find(|(.., text)| *text == "no newline").copied().expect("the text is lost");
        assert_eq!(unended.0, stdout);
        expected.push(unended);
        expected.sort_unstable();
        assert_eq!(found, expected, "{first}");
        let second = fs::read_to_string(directory.join("1.log")).unwrap();
        assert_eq!(parse_cri(second.trim_end()).3, "second", "{second}");
    }
}

#[test]
fn each_stream_goes_to_its_own() {
    let machine = Machine::new("crun");
    machine.script("app", "echo out; echo err >&2");
    machine.pod("test", &format!("restart-policy = \"never\"\n{POD}"));
    let output = machine.command("run").stdin(Stdio::null()).output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stderr}");
    assert!(stdout.ends_with(" app       | out\n") && stdout.lines().count() == 1, "{stdout}");
    assert!(stderr.contains(" app       ! err\n"), "{stderr}");
    assert!(stderr.contains(" outrigger * pod test: Succeeded\n"), "{stderr}");
}

#[test]
fn nobody_who_reads_does_not_hold_up_a_stop() {
    // A terminal on which somebody has pressed Ctrl-S.
    let machine = Machine::new("crun");
    machine.script(
        "app",
        "trap 'exit 0' TERM\ntouch /data/runs\nwhile true; do echo 0123456789012345678901234567890; done",
    );
    machine.pod(
        "test",
        r#"
            name = "test"
            termination-grace-period = "1s"
            [[volumes]]
            name = "data"
            host-path = "DIRECTORY/rootfs/other"
            [[containers]]
            name = "app"
            rootfs = "ROOTFS"
            command = ["/demo/app"]
            mounts = [{ volume = "data", path = "/data" }]
        "#,
    );
    let (_held, write) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).unwrap();
    let mut command = machine.command("run");
    command.stdin(Stdio::null()).stdout(write.try_clone().unwrap()).stderr(write);
    let mut child = command.spawn().unwrap();
    drop(command);
    let runs = machine.path("rootfs/other/runs");
    assert!(super::run::poll_until(super::run::PATIENCE, || runs.exists()));
    super::run::pause(Duration::from_millis(500));
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, Signal::SIGTERM).unwrap();
    let asked = std::time::Instant::now();
    let mut status = None;
    let ended = super::run::poll_until(super::run::PATIENCE, || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    if !ended {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    println!("nobody reads: ended {:?} after the stop request with {status:?}", asked.elapsed());
    assert!(ended, "it waits for a reader");
    // What could not be written is the one thing that is left.
    assert_eq!(status.and_then(|status| status.code()), Some(5));
    assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
}
