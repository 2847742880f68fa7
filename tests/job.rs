//! Children with a deadline, as PID 1 has them before its loop runs, and what outrigger runs itself
//! as in such children. All of it in one test, as it reaps whatever child ends.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed, and this says so"
)]

use std::process::Command;
use std::time::{Duration, Instant};

use outrigger::linux::job::{self, JobError};
use outrigger::supervisor::record::ExitStatus;

const LONG: Duration = Duration::from_secs(60);

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn jobs_have_an_end_and_say_why() {
    jobs_end_by_themselves_or_at_their_deadline();
    waiting_jobs_tick();
    errors_are_told_in_words();
    what_outrigger_runs_itself_as_says_its_error_and_nothing_else();
}

fn jobs_end_by_themselves_or_at_their_deadline() {
    for (command, patience, expected) in [
        (&["sh", "-c", "exit 0"][..], LONG, Ok(ExitStatus::Code(0))),
        (&["/bin/sh", "-c", "exit 127"], LONG, Ok(ExitStatus::Code(127))),
        (&["sh", "-c", "kill -TERM $$"], LONG, Ok(ExitStatus::Signal(15))),
        // An orphan that outlives it, and one that ends while it runs, are none of its business.
        (&["sh", "-c", "sleep 300 & (true &) ; sleep 0.2"], LONG, Ok(ExitStatus::Code(0))),
        (
            &["sh", "-c", "trap '' TERM; sleep 300; true"],
            Duration::from_millis(200),
            Err(JobError::TimedOut(Duration::from_millis(200))),
        ),
        (
            &["no-such-program"],
            LONG,
            Err(JobError::NotStarted("there is no program `no-such-program`".to_owned())),
        ),
        (&["/nonexistent/program"], LONG, Err(JobError::NotStarted("No such file or directory".to_owned()))),
        (&[], LONG, Err(JobError::NotStarted("no program is named".to_owned()))),
    ] {
        let begin = Instant::now();
        assert_eq!(job::run(&words(command), patience, &mut || {}), expected, "{command:?}");
        assert!(begin.elapsed() < LONG / 2, "{command:?}");
    }
}

fn waiting_jobs_tick() {
    let mut ticks = 0;
    let slow = words(&["sleep", "1.3"]);
    assert_eq!(job::run(&slow, LONG, &mut || ticks += 1), Ok(ExitStatus::Code(0)));
    assert!((3..=5).contains(&ticks), "{ticks} ticks in 1.3 s");
}

fn errors_are_told_in_words() {
    let errors = [JobError::TimedOut(LONG), JobError::Stuck(LONG), JobError::NotStarted("x".to_owned())];
    let texts = errors.map(|error| error.to_string());
    assert_eq!(
        texts,
        [
            "it took longer than 1m and was killed",
            "it took longer than 1m and cannot be killed: it waits for a device",
            "it cannot be started: x",
        ]
    );
}

fn what_outrigger_runs_itself_as_says_its_error_and_nothing_else() {
    for (arguments, error) in [
        (
            &["mount", "/dev/nonexistent", "/nonexistent", "no-such-kind", "ro"][..],
            &["No such file or directory\n", "Operation not permitted\n"][..],
        ),
        (&["load-module", "/nonexistent.ko"], &["`/nonexistent.ko`: No such file or directory\n"]),
    ] {
        let run = Command::new(env!("CARGO_BIN_EXE_outrigger")).args(arguments).output().unwrap();
        let said = String::from_utf8(run.stderr).unwrap();
        assert!(error.contains(&said.as_str()), "{arguments:?}: {said}");
        assert_eq!(run.status.code(), Some(3), "{arguments:?}");
        assert!(run.stdout.is_empty(), "{arguments:?}");
    }
}
