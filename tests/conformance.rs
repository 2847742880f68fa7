//! Kubernetes' own expectations, executed: each case of `tests/conformance/cases/` is one, with the
//! id and the source that it has there. How a case is written: `tests/conformance/README.md`.
//!
//! Nothing here knows the answer of a case. There is one evaluator for each kind, which builds what
//! the case describes, lets the supervisor act on a virtual clock (or a probe on a real socket), and
//! reads the case's expectations as statements about what came of it. An expectation that cannot be
//! read fails its case.
//!
//! `CONFORMANCE_DIR=DIR cargo test --test conformance` executes the cases of another folder too.
//! `UPDATE_EXPECTED=1` writes docs/conformance.md anew; read the difference before you commit it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a test that cannot go on has failed, and this says so"
)]

#[path = "conformance/mod.rs"]
mod conformance;

use std::path::{Path, PathBuf};

use conformance::case::{Case, read_folder};
use conformance::document::document;
use conformance::suite::{self, Tried, Verdict};

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn own_cases() -> Vec<Case> {
    read_folder(&root("tests/conformance/cases"))
}

fn require_all(tried: &[Tried]) {
    let wrong = suite::failures(tried);
    assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), suite::totals(tried));
    println!("{}", suite::totals(tried));
}

#[test]
fn every_case_of_kubernetes_holds() {
    let tried = suite::run(&own_cases());
    let path = root("docs/conformance.md");
    let text = document(&tried);
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    require_all(&tried);
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == text, "{} differs: run with UPDATE_EXPECTED=1", path.display());
}

/// Cases that are not ours, in the same form: the folder is given by who runs it.
#[test]
fn further_cases_hold() {
    match std::env::var_os("CONFORMANCE_DIR") {
        Some(folder) => require_all(&suite::run(&read_folder(Path::new(&folder)))),
        None => eprintln!("CONFORMANCE_DIR names no further cases"),
    }
}

/// No case passes whatever it expects: what cannot be read fails it.
#[test]
fn an_expectation_that_nobody_understands_fails_its_case() {
    let with = |case: &Case, text: &str| Case { expected: vec![text.to_owned()], ..case.clone() };
    for case in own_cases() {
        let tried = suite::run(&[with(&case, "frobnicates(x) quickly")]);
        let failed = match &tried[0].verdict {
            Verdict::Failed(why) => why.contains("not understood") || why.contains("refused"),
            Verdict::NotApplicable(_) => true,
            Verdict::Passed => false,
        };
        assert!(failed || !tried[0].deviations.is_empty(), "{}: {:?}", case.id, tried[0].verdict);
    }
}

/// Nor does the opposite of what it expects hold.
#[test]
fn the_opposite_of_an_expectation_does_not_hold() {
    let mut turned = 0;
    for case in own_cases() {
        let opposite = |text: &String| {
            if let Some(head) = text.strip_suffix("=true") {
                return format!("{head}=false");
            }
            if let Some(head) = text.strip_suffix("=false") {
                return format!("{head}=true");
            }
            for (from, to) in [
                ("phase=Succeeded", "phase=Failed"),
                ("phase=Failed", "phase=Succeeded"),
                ("result: Success", "result: Failure"),
                ("result: Failure", "result: Success"),
                ("DoesntStart(", "Starts("),
                ("HasNotRestarted(", "HasRestarted("),
            ] {
                if text.starts_with(from) {
                    return text.replacen(from, to, 1);
                }
            }
            text.clone()
        };
        for position in 0..case.expected.len() {
            let mut expected = case.expected.clone();
            expected[position] = opposite(&expected[position]);
            if expected == case.expected {
                continue;
            }
            let tried = suite::run(&[Case { expected, ..case.clone() }]);
            let holds = tried[0].verdict == Verdict::Passed && tried[0].deviations.is_empty();
            assert!(!holds, "{}: the opposite of {:?} holds, too", case.id, case.expected[position]);
            turned += 1;
        }
    }
    assert!(turned > 150, "only {turned} expectations were turned");
}
