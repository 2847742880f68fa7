//! The supervisor as data: each folder of `tests/scenarios/` is one situation.
//!
//! | file | |
//! |---|---|
//! | `world.toml` | how the containers behave; its first lines say which rule is shown |
//! | `machine.toml` | the machine file, if the situation needs one |
//! | other `*.toml` | the pods, in the order of their names |
//! | `expected` | what is reported and done, with the time from the beginning; indented lines are actions |
//!
//! `UPDATE_EXPECTED=1 cargo test --test scenarios` writes the expected files anew; read the
//! difference before you commit it. The keys of `world.toml` are described in `src/simulator/mod.rs`.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "clippy exempts test functions, but not what they call"
)]

mod golden;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use outrigger::config::plan::Plan;
use outrigger::config::{self, Source};
use outrigger::limits::GRACE_MIN;
use outrigger::simulator::live;
use outrigger::simulator::script::Script;
use outrigger::supervisor::event::Goal;
use outrigger::time::Instant;

use self::golden::compare;

/// One situation: its pods and how they behave.
struct Situation {
    folder: PathBuf,
    plan: Rc<Plan>,
    script: Script,
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios").join(name)
}

/// What is in a folder, sorted by name.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

fn situation(folder: &Path) -> Situation {
    let mut machine = None;
    let mut pods = Vec::new();
    let mut script = None;
    for path in entries(folder) {
        let source = || Source { name: path.display().to_string(), bytes: fs::read(&path).unwrap() };
        match file_name(&path).as_str() {
            "expected" => {}
            "machine.toml" => machine = Some(source()),
            "world.toml" => {
                let text = fs::read_to_string(&path).unwrap();
                assert!(text.starts_with("# "), "{}: which rule does it show?", path.display());
                let read = Script::parse(&text);
                script = Some(read.unwrap_or_else(|error| panic!("{}: {error}", path.display())));
            }
            name if name.ends_with(".toml") => pods.push(source()),
            _ => panic!("{} does not belong to a situation", path.display()),
        }
    }
    let plan = config::load(machine.as_ref(), &pods).unwrap_or_else(|problems| panic!("{problems}"));
    Situation {
        folder: folder.to_owned(),
        plan: Rc::new(plan),
        script: script.unwrap_or_else(|| panic!("{} has no world.toml", folder.display())),
    }
}

fn situations() -> Vec<Situation> {
    entries(&folder("")).iter().map(|folder| situation(folder)).collect()
}

/// The log as it is kept: how it ended is its last line.
fn log(situation: &Situation) -> Result<String, String> {
    let life = live(&situation.plan, &situation.script)?;
    let end = match life.exit {
        None => "still running".to_owned(),
        Some(exit) => {
            let left = if exit.left_behind { ", something is left behind" } else { "" };
            let goal = exit.goal;
            let goal = if goal == Goal::Exit { String::new() } else { format!(", then {}", goal.name()) };
            format!("all ended: {} failed{left}{goal}", exit.failed)
        }
    };
    Ok(format!("{}{end}\n", life.log))
}

#[test]
fn every_situation_goes_as_expected() {
    let mut wrong = Vec::new();
    let situations = situations();
    assert!(situations.len() >= 40, "only {} situations were found", situations.len());
    for situation in &situations {
        match log(situation) {
            Ok(log) => wrong.extend(compare(&situation.folder.join("expected"), &log)),
            Err(broken) => wrong.push(format!("{}:\n{broken}", situation.folder.display())),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn the_same_events_at_the_same_times_give_the_same_log() {
    for situation in situations() {
        assert_eq!(log(&situation), log(&situation), "{}", situation.folder.display());
    }
}

/// Situations with everything that a stop can fall into.
const SWEPT: [&str; 4] = ["sweep-start-to-end", "sweep-two-pods", "sweep-crashes", "sweep-hooks"];

/// A stop at any time: it ends, in order (the world watches that), and in time.
#[test]
fn a_stop_at_any_moment_ends_in_order_and_in_time() {
    for name in SWEPT {
        let situation = situation(&folder(name));
        let mut lives = 0;
        for at in moments(&situation) {
            for again in [None, Some(0), Some(1), Some(500), Some(2500)] {
                let second = again.map(|later| at.after(Duration::from_millis(later)));
                check_stop(&situation, at, second);
                lives += 1;
            }
        }
        assert!(lives > 500, "{name}: only {lives} stops were tried");
    }
}

/// Every time at which something happens when nobody disturbs it, and a millisecond around it.
fn moments(situation: &Situation) -> BTreeSet<Instant> {
    let undisturbed = live(&situation.plan, &situation.script).unwrap_or_else(|broken| panic!("{broken}"));
    let near = |at: &Instant| {
        let nanos = at.as_nanos();
        [nanos.saturating_sub(1_000_000), nanos, nanos + 1_000_000].map(Instant::from_nanos)
    };
    let end = undisturbed.times.last().copied().unwrap_or_default();
    undisturbed.times.iter().flat_map(near).filter(|at| *at < end).collect()
}

fn check_stop(situation: &Situation, at: Instant, second: Option<Instant>) {
    let script = Script {
        until: None,
        stops: [Some(at), second].into_iter().flatten().collect(),
        ..situation.script.clone()
    };
    let told = format!("{}: stop at {at:?}, again {second:?}", situation.folder.display());
    let life = live(&situation.plan, &script).unwrap_or_else(|broken| panic!("{told}\n{broken}"));
    let exit = life.exit.unwrap_or_else(|| panic!("{told}: it does not end"));
    assert!(!exit.left_behind, "{told}: something is left behind\n{}", life.log);
    // Pods are stopped one after another at worst, each within its grace period and the two
    // seconds that a late stop signal is followed by; the rest is for removals.
    let rest = Duration::from_millis(500);
    let own: Duration =
        situation.plan.pods.iter().map(|pod| pod.termination_grace_period + GRACE_MIN + rest).sum();
    let shortened: Duration = situation.plan.pods.iter().map(|_| GRACE_MIN + GRACE_MIN + rest).sum();
    let end = life.times.last().copied().unwrap_or_default();
    let bound = second.map_or(at.after(own), |second| at.after(own).min(second.after(shortened)));
    assert!(end <= bound, "{told}: ended at {end:?}, not by {bound:?}\n{}", life.log);
}
