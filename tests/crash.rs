//! What a crash of PID 1 leads to, with processes that really crash: this test starts itself as
//! such a process, and the one that has crashed starts itself anew. It has a `main` of its own,
//! since the crash must be that of the whole process and not of a test in it.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed, and this says so"
)]

use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use outrigger::linux::crash;

/// How it crashes, and how that reads.
const CASES: [(&str, &str); 5] = [
    ("panic", "panic at tests/crash.rs:"),
    ("segmentation-fault", "SIGSEGV at address 0x8; "),
    ("abort", "SIGABRT; "),
    ("stack-overflow", "SIGSEGV at address 0x"),
    ("kill", "SIGBUS from process "),
];

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.get(1).is_some_and(|word| word == "crash") {
        return crash_by(&arguments[2]);
    }
    for (kind, message) in CASES {
        starts_anew_twice_and_then_gives_up(kind, message);
        println!("test {kind} starts anew twice and then gives up ... ok");
    }
    a_fork_of_ours_does_not_start_anew();
    println!("test a fork of ours does not start anew ... ok");
}

fn starts_anew_twice_and_then_gives_up(kind: &str, message: &str) {
    let program = std::env::current_exe().unwrap();
    let run = Command::new(program).args(["crash", kind]).env_remove("OUTRIGGER_CRASHES").output().unwrap();
    let (output, errors) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    let instances: Vec<&str> = output.lines().collect();
    assert_eq!(instances.len(), 3, "{kind}: {output}{errors}");
    for (line, count) in instances.iter().zip(["none", "1", "2"]) {
        // The same arguments, and no signal is left blocked.
        let expected = format!("crash {kind}, after {count}, blocked 0000000000000000");
        assert_eq!(**line, expected, "{kind}: {output}{errors}");
    }
    let crashes: Vec<&str> = errors.lines().filter(|line| line.starts_with("outrigger: ")).collect();
    assert_eq!(crashes.len(), 3, "{kind}: {errors}");
    for (crash, count) in crashes.iter().zip(1..) {
        let next = if count < 3 { "starting anew" } else { "resetting the machine" };
        let end = format!("; crash {count} of 3 in 600 s, {next}");
        assert!(crash.starts_with(&format!("outrigger: error: {message}")), "{kind}: {crash}");
        assert!(crash.ends_with(&end), "{kind}: {crash}");
    }
    // PID 1 would reset the machine; this is not PID 1.
    assert_eq!((run.status.code(), run.status.signal()), (Some(134), None), "{kind}: {errors}");
}

fn a_fork_of_ours_does_not_start_anew() {
    let program = std::env::current_exe().unwrap();
    let run = Command::new(program).args(["crash", "fork"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&run.stdout).lines().count(), 1);
    assert_eq!(run.status.code(), Some(0), "{}", String::from_utf8_lossy(&run.stderr));
}

#[allow(unsafe_code, reason = "only unsafe code crashes by itself")]
fn crash_by(kind: &str) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:\t")).unwrap();
    let before = std::env::var("OUTRIGGER_CRASHES").unwrap_or_else(|_| "none:".to_owned());
    let arguments = std::env::args().skip(1).collect::<Vec<_>>().join(" ");
    println!("{arguments}, after {}, blocked {blocked}", before.split(':').next().unwrap());
    crash::install();
    match kind {
        "panic" => panic!("on purpose,\nin two lines"),
        // SAFETY: not at all.
        "segmentation-fault" => unsafe { (8 as *mut u8).write_volatile(1) },
        "abort" => std::process::abort(),
        "stack-overflow" => assert_eq!(descend(1), 0),
        "kill" => {
            let kill = format!("kill -BUS {}", std::process::id());
            assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        }
        "fork" => {
            // SAFETY: this process has one thread.
            let child = unsafe { libc::fork() };
            assert!(child != 0, "on purpose, in the child");
            let mut status = 0;
            // SAFETY: `status` outlives the call.
            assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
            assert_eq!(libc::WEXITSTATUS(status), 134);
            return;
        }
        other => panic!("there is no crash `{other}`"),
    }
    println!("still here");
}

/// Uses up the stack: each frame holds what the next one is made from.
fn descend(depth: u64) -> u64 {
    if depth == u64::MAX {
        return 0;
    }
    let frame = std::hint::black_box([depth; 64]);
    let below = descend(frame[63] + 1);
    below + std::hint::black_box(frame)[0]
}
