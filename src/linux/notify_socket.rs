//! The socket of a container that speaks for itself (sd_notify(3)): `$NOTIFY_SOCKET`.
//!
//! Everybody who can reach it can write to it, so each message is taken only from who is one of
//! the container's processes: the kernel says which process sent it (`SCM_CREDENTIALS`, unix(7)),
//! and its cgroup says whose that is. A sender that has ended before its message is read is
//! nobody's; systemd-notify(1) waits for that.

use std::fs;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, UnixCredentials, bind, recvmsg, setsockopt,
    socket, sockopt,
};
use nix::unistd::{Gid, Pid, chown};

use super::container::Place;
use super::reactor::{Interest, Token};
use super::state_directory::{describe, make_passable, remove_directory};
use super::{Host, container_path, text};
use crate::config::plan::{ContainerId, Image};
use crate::protocol::sd_notify;
use crate::supervisor::event::ContainerEvent;
use crate::supervisor::notice::Notice;
use crate::supervisor::report::Severity;

/// Messages that are read in one turn of the loop. The queue of a datagram socket holds about as
/// many (`net.unix.max_dgram_qlen`); who writes more waits for us, not we for it.
const MESSAGES_MAX: usize = 16;

/// Bytes of one message; what is beyond is cut off. systemd takes no more, either.
const MESSAGE_BYTES_MAX: usize = 4096;

/// Bytes of the address of a Unix socket, without the NUL at its end (unix(7)).
const ADDRESS_BYTES_MAX: usize = 107;

/// The socket, in a directory of its own.
#[derive(Debug)]
pub struct NotifySocket {
    socket: OwnedFd,
    directory: PathBuf,
    /// A message of somebody else was told of.
    told: bool,
}

impl NotifySocket {
    /// Makes `directory` anew, with a socket in it that `group` can reach, and whoever is shown it.
    ///
    /// The directory stays ours: who owns it could put a link there that leads us to any file.
    fn bind(directory: &Path, group: Option<Gid>) -> Result<NotifySocket, String> {
        let path = directory.join("socket");
        let failed = |error: io::Error| describe("make", directory, &error);
        remove_directory(directory)?;
        if let Some(parent) = directory.parent() {
            make_passable(parent).map_err(|error| describe("make", parent, &error))?;
        }
        // What is there nevertheless is not ours.
        fs::DirBuilder::new().mode(0o700).create(directory).map_err(failed)?;
        let made = || -> io::Result<OwnedFd> {
            let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
            let socket = socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
            setsockopt(&socket, sockopt::PassCred, &true)?;
            // By the directory's descriptor: the path may be longer than an address can be.
            let place = container_path::open(directory)?;
            let address = format!("{}/socket", container_path::path_of(&place));
            bind(socket.as_raw_fd(), &UnixAddr::new(address.as_str())?)?;
            // A user of the container's own is somebody else to the socket's owner. The mode is set
            // by a name, and so before anybody else can come to it.
            fs::set_permissions(&address, fs::Permissions::from_mode(0o666))?;
            Ok(socket)
        };
        let socket = made().map_err(|error| describe("make", &path, &error))?;
        let socket = NotifySocket { socket, directory: directory.to_owned(), told: false };
        if group.is_some() {
            chown(directory, None, group).map_err(|errno| failed(errno.into()))?;
            fs::set_permissions(directory, fs::Permissions::from_mode(0o710)).map_err(failed)?;
        }
        Ok(socket)
    }

    /// Where it is.
    pub fn path(&self) -> PathBuf {
        self.directory.join("socket")
    }

    /// The next message, and who sent it. `None`: there is none now.
    fn receive(&self) -> Option<(Option<Pid>, Vec<u8>)> {
        let mut buffer = [0; MESSAGE_BYTES_MAX];
        let mut slices = [IoSliceMut::new(&mut buffer)];
        // No room for descriptors: what somebody passes along is closed by the kernel. That is
        // also what a sender with `BARRIER=1` waits for.
        let mut control = cmsg_space!(UnixCredentials);
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
        let length = loop {
            match recvmsg::<UnixAddr>(self.socket.as_raw_fd(), &mut slices, Some(&mut control), flags) {
                Err(Errno::EINTR) => {}
                Err(_) => return None,
                Ok(message) => break message.bytes,
            }
        };
        let sender = sender_of(&control);
        Some((sender, buffer.get(..length).unwrap_or_default().to_vec()))
    }
}

/// The process in the first control message, if that has credentials. nix reads no control
/// messages at all when one of them, the descriptors, found no room.
fn sender_of(control: &[u8]) -> Option<Pid> {
    let (header, data) = control.split_at_checked(size_of::<libc::cmsghdr>())?;
    let number = |bytes: &[u8]| bytes.first_chunk().map(|bytes| i32::from_ne_bytes(*bytes));
    // Level and type are the last of the header; the process is the first of `ucred`.
    let level = number(header.get(header.len().checked_sub(8)?..)?)?;
    let kind = number(header.get(header.len().checked_sub(4)?..)?)?;
    let has_credentials = level == libc::SOL_SOCKET && kind == libc::SCM_CREDENTIALS;
    has_credentials.then(|| number(data).map(Pid::from_raw)).flatten()
}

/// What the container's own processes say, and one that is none of them. `own` is asked once for
/// all messages: a container can have thousands of processes, and write in every turn.
fn hear(messages: &[(Option<Pid>, Vec<u8>)], own: impl FnOnce() -> Vec<Pid>) -> (Notice, Option<Pid>) {
    let (mut all, mut stranger) = (Notice::default(), None);
    if messages.is_empty() {
        return (all, stranger);
    }
    let own = own();
    for (sender, message) in messages {
        // 0: of another pid namespace.
        let sender = sender.filter(|sender| sender.as_raw() > 0);
        if sender.is_some_and(|sender| own.contains(&sender)) {
            all.add(sd_notify::parse(message));
        } else {
            stranger = sender.or(stranger);
        }
    }
    (all, stranger)
}

impl AsFd for NotifySocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for NotifySocket {
    fn drop(&mut self) {
        // What cannot be removed is found by who makes it anew, or by the next supervisor.
        let _ = remove_directory(&self.directory);
    }
}

impl Host {
    /// Makes the socket of a container's newest instance, if it is to have one.
    pub(super) fn open_notify_socket(&mut self, place: &Place<'_>) -> Result<(), String> {
        if place.container.probes.notify.is_none() {
            return Ok(());
        }
        let directory = self.state.notify(place.id);
        let group = match &place.container.image {
            // The one group that it is started with.
            Image::HostProcess(process) => Some(Gid::from_raw(process.user.gid)),
            // It gets the socket itself, by a mount, and needs no way through the directory.
            Image::Bundle(_) | Image::Rootfs(_) => None,
        };
        let socket = NotifySocket::bind(&directory, group)?;
        let on_host = matches!(place.container.image, Image::HostProcess(_));
        if on_host && socket.path().as_os_str().len() > ADDRESS_BYTES_MAX {
            return Err(format!(
                "cannot give it a notify socket: `{}` is longer than the address of a socket can be ({} bytes); \
                 choose a shorter `state-directory`",
                socket.path().display(),
                ADDRESS_BYTES_MAX
            ));
        }
        self.reactor
            .add(&socket, Token::Notices(place.id), Interest::Readable)
            .map_err(|errno| format!("cannot watch its notify socket: {}", errno.desc()))?;
        if let Some(body) = self.body_mut(place.id) {
            body.notify = Some(socket);
        }
        Ok(())
    }

    /// Where a container's socket is, as a text.
    pub(super) fn notify_path(&self, place: &Place<'_>) -> Option<String> {
        self.body(place.id)?.notify.as_ref().map(|socket| text(&socket.path()))
    }

    /// Reads what a container says of itself. More than one turn takes is read in the next.
    pub(super) fn read_notices(&mut self, id: ContainerId) {
        let Some(socket) = self.body(id).and_then(|body| body.notify.as_ref()) else { return };
        let messages: Vec<_> = core::iter::from_fn(|| socket.receive()).take(MESSAGES_MAX).collect();
        let mut heard = (Notice::default(), None);
        self.at_place(id, |host, place| {
            heard = hear(&messages, || host.cgroups.processes_of(&place.pod.name, &place.container.name));
        });
        let (all, stranger) = heard;
        if let Some(sender) = stranger {
            self.tell_of_stranger(id, sender);
        }
        if !all.is_empty() {
            self.tell(id, ContainerEvent::Notified(all));
        }
    }

    /// Once an instance: it may go on for ever.
    fn tell_of_stranger(&mut self, id: ContainerId, sender: Pid) {
        let Some(socket) = self.body_mut(id).and_then(|body| body.notify.as_mut()) else { return };
        if core::mem::replace(&mut socket.told, true) {
            return;
        }
        self.at_place(id, |host, place| {
            let text = format!(
                "{}/{}: ignoring what process {sender} says on its notify socket: that is none of its processes, or \
                 has ended already",
                place.pod.name, place.container.name
            );
            host.write_line(Severity::Warning, &text);
        });
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;

    #[test]
    fn a_message_comes_with_its_sender_and_without_its_descriptors() {
        use nix::sys::socket::{ControlMessage, sendmsg};
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("n".repeat(120)).join("7");
        let socket = NotifySocket::bind(&directory, None).unwrap();
        assert_eq!(socket.receive(), None);
        let client = UnixDatagram::unbound().unwrap();
        let place = container_path::open(&directory).unwrap();
        client.connect(format!("{}/socket", container_path::path_of(&place))).unwrap();
        client.send(b"READY=1").unwrap();
        let (read, write) = nix::unistd::pipe().unwrap();
        let fds = [write.as_raw_fd()];
        let slices = [io::IoSlice::new(b"BARRIER=1")];
        let rights = [ControlMessage::ScmRights(&fds)];
        sendmsg::<()>(client.as_raw_fd(), &slices, &rights, MsgFlags::empty(), None).unwrap();
        drop(write);
        let own = Some(Pid::this());
        assert_eq!(socket.receive(), Some((own, b"READY=1".to_vec())));
        assert_eq!(socket.receive(), Some((own, b"BARRIER=1".to_vec())));
        // Nobody holds the other end any more: the barrier is passed.
        assert_eq!(nix::unistd::read(&read, &mut [0]), Ok(0));
        client.send(&[b'x'; 5000]).unwrap();
        assert_eq!(socket.receive(), Some((own, vec![b'x'; MESSAGE_BYTES_MAX])));
        drop(socket);
        assert!(!directory.exists());
    }
    #[test]
    fn whose_processes_they_are_is_asked_once_for_all_messages() {
        let says = |pid: i32, message: &str| (Some(Pid::from_raw(pid)), message.as_bytes().to_vec());
        let own = || vec![Pid::from_raw(7), Pid::from_raw(8)];
        let mut asked = 0;
        let count = || {
            asked += 1;
            own()
        };
        let messages = [says(7, "READY=1"), says(8, "WATCHDOG=1"), (None, b"STATUS=x".to_vec())];
        let (all, stranger) = hear(&messages, count);
        assert_eq!((asked, stranger), (1, None));
        assert_eq!(all, sd_notify::parse(b"READY=1\nWATCHDOG=1"));
        let (all, stranger) = hear(&[says(9, "READY=1"), says(0, "READY=1")], own);
        assert!(all.is_empty());
        assert_eq!(stranger, Some(Pid::from_raw(9)));
        let (all, _) = hear(&[], || unreachable!("there is nothing to be asked"));
        assert!(all.is_empty());
    }

    #[test]
    fn the_directory_stays_ours_and_a_leftover_leads_nowhere() {
        use std::os::unix::fs::{MetadataExt, symlink};
        let parent = tempfile::tempdir().unwrap();
        let path = |name: &str| parent.path().join(name);
        let victim = path("victim");
        fs::create_dir(path("elsewhere")).unwrap();
        fs::write(&victim, "").unwrap();
        fs::set_permissions(&victim, fs::Permissions::from_mode(0o600)).unwrap();
        let directory = path("notify/7");
        fs::create_dir_all(directory.join("junk")).unwrap();
        symlink(&victim, directory.join("socket")).unwrap();
        let ours = nix::unistd::geteuid();
        let group = if ours.is_root() { Gid::from_raw(5678) } else { nix::unistd::getegid() };
        let facts = |path: &Path| {
            let meta = fs::symlink_metadata(path).unwrap();
            (meta.uid(), meta.gid(), meta.mode() & 0o7777)
        };
        for _ in 0..2 {
            let socket = NotifySocket::bind(&directory, Some(group)).unwrap();
            assert_eq!(facts(&directory), (ours.as_raw(), group.as_raw(), 0o710));
            assert_eq!(facts(&socket.path()).2, 0o666);
            assert_eq!(facts(&victim).2, 0o600);
            assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
            drop(socket);
            symlink(path("elsewhere"), &directory).unwrap();
        }
        assert_eq!(fs::read_dir(path("elsewhere")).unwrap().count(), 0);
    }
}
