//! How Kubernetes' cases are executed and judged; for tests/conformance.rs and, on real runtimes,
//! tests/host/kubernetes.rs.

pub(crate) mod answer;
pub(crate) mod backoff;
pub(crate) mod behaviour;
pub(crate) mod case;
pub(crate) mod condition;
pub(crate) mod deviation;
pub(crate) mod document;
pub(crate) mod expectation;
pub(crate) mod formula;
pub(crate) mod handler;
pub(crate) mod history;
pub(crate) mod pass;
pub(crate) mod play;
pub(crate) mod pod;
pub(crate) mod setting;
pub(crate) mod shell;
pub(crate) mod span;
pub(crate) mod staging;
pub(crate) mod statuses;
pub(crate) mod suite;
pub(crate) mod text;
pub(crate) mod unit;
pub(crate) mod worker;
