//! The supervisor event by event: each state is made by the events that lead to it, and what it
//! says of itself then is written down.
//!
//! | file | |
//! |---|---|
//! | `states/drive.rs` | events from words, actions to words |
//! | `states/model.rs` | every state with every event: the tables of docs/states.md |
//! | `states/kept.rs` | a supervisor that is killed, and the next one |
//! | `states/statuses.rs` | what Kubernetes would say after events |
//! | `states/phases.rs` | what it would say of statuses |

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "clippy exempts test functions, but not what they call"
)]

#[path = "states/drive.rs"]
mod drive;
#[path = "states/kept.rs"]
mod kept;
#[path = "states/model.rs"]
mod model;
#[path = "states/phases.rs"]
mod phases;
#[path = "states/statuses.rs"]
mod statuses;
