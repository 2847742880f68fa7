//! Outrigger runs pods of OCI containers on one device, with the pod lifecycle of Kubernetes:
//! init containers in order, sidecars, startup probes that gate, ordered shutdown.
//!
//! Facts in, decisions out: `supervisor/` decides and touches nothing, `linux/` does and decides
//! nothing, `run.rs` is the loop between them. docs/architecture.md shows the way of one event
//! through the code.
//!
//! The layering is a test (tests/tidy.rs): modules marked pure make no system call.
//!
//! | module | | |
//! |---|---|---|
//! | [`config`] | pure | text to checked plan |
//! | [`supervisor`] | pure | events to actions |
//! | [`oci`] | pure | command lines and `config.json` for the OCI runtime |
//! | [`log`] | pure | bytes of containers to lines of logs |
//! | [`protocol`] | pure | HTTP, gRPC and sd_notify, as probes speak them |
//! | [`outline`] | pure | a plan as `outrigger check` prints it |
//! | [`time`], [`limits`] | pure | points in time; every bound |
//! | [`cli`] | pure | arguments, help, exit statuses |
//! | [`simulator`] | pure | a world without a machine in which the decisions are watched |
//! | [`linux`] | effects | every system call |
//! | [`run`] | | the loop |
//! | [`boot`] | | the first process of a machine, around the loop |
//! | [`simulate`] | | pods under assumptions, on paper |
//! | [`service`] | | between the service manager and the loop |

pub mod boot;
pub mod cli;
pub mod config;
pub mod limits;
pub mod linux;
pub mod log;
pub mod oci;
pub mod outline;
pub mod protocol;
pub mod run;
pub mod service;
pub mod simulate;
pub mod simulator;
pub mod supervisor;
pub mod time;
