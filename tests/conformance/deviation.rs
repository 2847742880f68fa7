//! Where Outrigger is not the kubelet: what cannot apply at all, and what is read in another way.
//! Every entry has its reason, and docs/conformance.md lists each case that it concerns.

use super::case::Case;

/// A case that cannot apply, and how it is recognised.
struct Limit {
    concerns: fn(&Case) -> bool,
    reason: &'static str,
}

const LIMITS: [Limit; 0] = [];

/// Why a case cannot apply, if it cannot.
pub(crate) fn not_applicable(case: &Case) -> Option<&'static str> {
    LIMITS.iter().find(|limit| (limit.concerns)(case)).map(|limit| limit.reason)
}

/// What is checked where an expectation is read in another way.
pub(crate) enum Reading {
    /// Nothing.
    LeftOut,
    /// This.
    Instead(String),
}

/// An expectation that is read in another way.
pub(crate) struct Deviation {
    pub name: &'static str,
    pub reason: &'static str,
    reads: fn(&Case, &str) -> Option<Reading>,
}

pub(crate) const DEVIATIONS: [Deviation; 1] = [Deviation {
    name: "no-sandbox-attempts",
    reason: "A pod has no sandbox that is counted: `sandboxAttempt` is left out. That the pod is to be set up is \
             checked (`createSandbox`).",
    reads: |case, text| {
        (case.kind == "decision" && text.starts_with("sandboxAttempt=")).then_some(Reading::LeftOut)
    },
}];

/// How an expectation is read, unless as it stands.
pub(crate) fn reading(case: &Case, text: &str) -> Option<(&'static str, Reading)> {
    DEVIATIONS.iter().find_map(|it| Some((it.name, (it.reads)(case, text)?)))
}
