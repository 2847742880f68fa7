//! What probes and containers say to each other, as bytes. Pure: the sockets are in
//! `linux/network_probe.rs` and `linux/notify_socket.rs`.
//!
//! A conversation takes what came in, in pieces of any size, and says what is to be sent or how it
//! has ended. It keeps a bounded part of what came, and no bytes, however wrong, make it panic.

pub mod grpc;
pub mod hpack;
pub mod http;
pub mod sd_notify;
pub mod url;

use crate::supervisor::probe::Outcome;

/// How a conversation has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With this, and in words why, or what the container said.
    Judged(Outcome, String),
    /// It is to be had anew with somebody else.
    Redirected(url::Target),
}

impl Ending {
    /// The container is not well.
    pub(crate) fn failure(why: impl Into<String>) -> Ending {
        Ending::Judged(Outcome::Failure, why.into())
    }
}

/// The first line of a text that is not empty, without blanks around it.
pub(crate) fn first_line(bytes: &[u8]) -> String {
    let lines = bytes.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
    let first = lines.into_iter().find(|line| !line.is_empty()).unwrap_or_default();
    String::from_utf8_lossy(first).into_owned()
}
