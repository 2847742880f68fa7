//! The OCI runtime's side, pure: its command lines and what it says (`command.rs`), the
//! `config.json` of a container described in a pod file (`spec.rs`) and of a ready bundle
//! (`bundle.rs`). Processes and files are `linux/`'s.

pub mod bundle;
pub mod command;
mod devices;
mod mounts;
pub mod notify;
mod schema;
pub mod spec;
