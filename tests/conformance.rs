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

mod conformance {
    pub(crate) mod answer;
    pub(crate) mod backoff;
    pub(crate) mod behaviour;
    pub(crate) mod case;
    pub(crate) mod condition;
    pub(crate) mod deviation;
    pub(crate) mod expectation;
    pub(crate) mod formula;
    pub(crate) mod history;
    pub(crate) mod pass;
    pub(crate) mod play;
    pub(crate) mod pod;
    pub(crate) mod setting;
    pub(crate) mod shell;
    pub(crate) mod span;
    pub(crate) mod statuses;
    pub(crate) mod suite;
    pub(crate) mod text;
    pub(crate) mod unit;
    pub(crate) mod worker;
}

use std::path::Path;

use conformance::case::read_folder;
use conformance::suite::{self};

fn own_folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/conformance/cases"))
}

#[test]
fn every_case_of_kubernetes_holds() {
    let results = suite::run(&read_folder(own_folder()));
    let wrong = suite::failures(&results);
    assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), suite::totals(&results));
    println!("{}", suite::totals(&results));
}
