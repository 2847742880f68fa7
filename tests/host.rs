//! The built binary on this machine, with real crun and runc.
//!
//! Needs root, the programs in `machine::NEEDED`, and a host with cgroups of either version. Each
//! test has its own directory and cgroup, so all run side by side; after each run a guard looks for
//! whatever was left behind (see `host::machine`).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "clippy exempts test functions, but not what they call"
)]

#[allow(
    dead_code,
    clippy::wildcard_enum_match_arm,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "tests/conformance.rs uses the rest"
)]
#[path = "conformance/mod.rs"]
mod conformance;

mod host {
    mod bundle;
    mod command_line;
    mod crowd;
    mod demo;
    mod demo_stop;
    mod hooks;
    mod host_process;
    mod idle;
    mod inside;
    mod kept;
    mod kubernetes;
    mod leftovers;
    mod limits;
    mod logs;
    mod machine;
    mod mount_namespace;
    mod neighbours;
    mod notify;
    mod orphans;
    mod probes;
    mod process;
    mod remains;
    mod requests;
    mod run;
    mod runtime_faults;
    mod service;
    mod stop;
    mod termination_message;
    mod wrapper;
}
