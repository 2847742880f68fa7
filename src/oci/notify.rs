//! What a container is given to speak for itself (sd_notify(3)).

use core::time::Duration;

/// Where it finds the socket. Below `/dev`, which is a tmpfs that the runtime makes: anywhere else
/// a read-only root file system would need a mount point.
pub const SOCKET: &str = "/dev/notify-socket";

/// How the socket of the host is mounted there.
pub(super) const OPTIONS: &[&str] = &["bind", "rprivate", "rw", "nosuid", "noexec", "nodev"];

/// The socket on the host, and how often the container must say that it is well.
#[derive(Clone, Copy, Debug)]
pub struct Notify<'a> {
    /// Absolute.
    pub socket: &'a str,
    /// After which silence it is taken for hung; `None`: never.
    pub watchdog_timeout: Option<Duration>,
}

/// The variables that tell a program of a socket at `path`, `NAME=value`.
pub fn variables(path: &str, watchdog_timeout: Option<Duration>) -> Vec<String> {
    let mut variables = vec![format!("NOTIFY_SOCKET={path}")];
    variables.extend(watchdog_timeout.map(|timeout| format!("WATCHDOG_USEC={}", timeout.as_micros())));
    variables
}
