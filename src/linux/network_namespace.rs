//! The network of a pod that has one of its own: a namespace with nothing but loopback.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

/// A network namespace that lives as long as this, or a process is in it.
#[derive(Debug)]
pub struct NetworkNamespace {
    fd: File,
}

impl NetworkNamespace {
    /// Makes one, with its loopback interface up.
    ///
    /// We have one thread, so going there, and back by the descriptor, changes nothing for anybody.
    pub fn make() -> Result<NetworkNamespace, String> {
        let failed = |errno: Errno| format!("cannot make a network namespace: {}", errno.desc());
        let own = open_own()?;
        unshare(CloneFlags::CLONE_NEWNET).map_err(failed)?;
        let made = open_own().and_then(|fd| {
            bring_loopback_up().map_err(failed)?;
            Ok(NetworkNamespace { fd })
        });
        go_back(&own)?;
        made
    }

    /// A path to it that others can open as long as this exists.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.fd.as_raw_fd())
    }
}

/// A socket that was made in the network namespace of process `pid`. Where it was made decides
/// where it connects to.
pub fn socket_inside(
    pid: nix::unistd::Pid,
    make: impl FnOnce() -> nix::Result<OwnedFd>,
) -> Result<OwnedFd, String> {
    let failed = |errno: Errno| format!("cannot enter the container's network namespace: {}", errno.desc());
    let path = format!("/proc/{pid}/ns/net");
    let there =
        File::open(&path).map_err(|error| format!("cannot open `{path}`: {}", super::reason(&error)))?;
    let own = open_own()?;
    setns(there.as_fd(), CloneFlags::CLONE_NEWNET).map_err(failed)?;
    let made = make();
    go_back(&own)?;
    made.map_err(|errno| format!("cannot make a socket: {}", errno.desc()))
}

fn open_own() -> Result<File, String> {
    File::open("/proc/self/ns/net")
        .map_err(|error| format!("cannot open `/proc/self/ns/net`: {}", super::reason(&error)))
}

/// Back to where we came from. The descriptor was just opened and names a namespace that we were
/// in, so this does not fail (setns(2): only for lack of the privilege that got us away).
fn go_back(own: &File) -> Result<(), String> {
    setns(own.as_fd(), CloneFlags::CLONE_NEWNET)
        .map_err(|errno| format!("cannot go back to the host's network namespace: {}", errno.desc()))
}

/// `ioctl(SIOCSIFFLAGS)` — sets `IFF_UP` on `lo` of the network namespace that we are in,
/// netdevice(7).
#[allow(unsafe_code, reason = "nix has no wrapper for these requests")]
pub(super) fn bring_loopback_up() -> nix::Result<()> {
    let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    // SAFETY: the structure is plain bytes and a union of such; zero is a value of each.
    let mut request: libc::ifreq = unsafe { core::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(c"lo".to_bytes()) {
        *to = libc::c_char::try_from(*from).unwrap_or(0);
    }
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(libc::IFF_UP | libc::IFF_RUNNING).unwrap_or(0);
    // SAFETY: the request takes an ifreq, which outlives the call, with a name that ends in NUL.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &request) };
    Errno::result(result).map(drop)
}
