//! Messages and descriptors between the supervisor and the log writer: a pair of connected
//! `SOCK_SEQPACKET` Unix sockets (unix(7)), which keep the bounds of messages and report the end
//! of the other side.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, sendmsg,
    socketpair,
};

use crate::log::message::MESSAGE_BYTES_MAX;

/// What a message is received into. One byte more than a message may have, so that a longer one
/// is noticed instead of cut.
pub(super) type Buffer = [u8; MESSAGE_BYTES_MAX + 1];

/// What waited in the socket.
#[derive(Debug)]
pub(super) enum Received {
    /// Nothing.
    Nothing,
    /// The end: the other side is closed.
    End,
    /// A message of this many bytes, and the descriptor that came with it.
    Message(usize, Option<OwnedFd>),
}

/// `socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC)`. Both ends are alike.
pub fn pair() -> nix::Result<(OwnedFd, OwnedFd)> {
    socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
}

/// `sendmsg`, with `descriptor` as `SCM_RIGHTS`. The message goes whole or not at all.
///
/// `flags` is `MSG_DONTWAIT` or empty. Fails with `EAGAIN` where `MSG_DONTWAIT` would have
/// waited, with `EPIPE` or `ECONNRESET` when the other side is closed.
pub(super) fn send(
    socket: BorrowedFd<'_>,
    message: &[u8],
    descriptor: Option<BorrowedFd<'_>>,
    flags: MsgFlags,
) -> nix::Result<()> {
    let raw = descriptor.map(|descriptor| [descriptor.as_raw_fd()]);
    let rights = raw.as_ref().map(|raw| [ControlMessage::ScmRights(raw)]);
    let rights = rights.as_ref().map_or(&[][..], |rights| &rights[..]);
    loop {
        let parts = [IoSlice::new(message)];
        match sendmsg::<()>(socket.as_raw_fd(), &parts, rights, flags | MsgFlags::MSG_NOSIGNAL, None) {
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error),
        }
    }
}

/// `recvmsg`, without waiting.
///
/// Fails with `ENOBUFS` when a descriptor came but could not be opened here (`RLIMIT_NOFILE`),
/// with `EMSGSIZE` when the message is longer than `buffer`.
pub(super) fn receive(socket: BorrowedFd<'_>, buffer: &mut Buffer) -> nix::Result<Received> {
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
    loop {
        let mut control = nix::cmsg_space!(RawFd);
        let mut parts = [IoSliceMut::new(buffer)];
        let message = match recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags) {
            Ok(message) => message,
            Err(Errno::EINTR) => continue,
            Err(Errno::EAGAIN) => return Ok(Received::Nothing),
            // The other side was closed with messages unread.
            Err(Errno::ECONNRESET) => return Ok(Received::End),
            Err(error) => return Err(error),
        };
        let mut descriptor = None;
        for control in message.cmsgs()? {
            if let ControlMessageOwned::ScmRights(raw) = control {
                // There is room for one only; more would have been a truncated message.
                descriptor = raw.into_iter().next().map(own);
            }
        }
        if message.flags.contains(MsgFlags::MSG_TRUNC) {
            return Err(Errno::EMSGSIZE);
        }
        return Ok(match message.bytes {
            0 => Received::End,
            bytes => Received::Message(bytes, descriptor),
        });
    }
}

#[allow(unsafe_code, reason = "nix hands received descriptors over as numbers")]
fn own(received: RawFd) -> OwnedFd {
    // SAFETY: the kernel has just opened this descriptor for us (SCM_RIGHTS) and its number was
    // taken from the control message once, so it is open and nobody else owns it.
    unsafe { OwnedFd::from_raw_fd(received) }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::fd::AsFd;

    use nix::fcntl::OFlag;
    use nix::unistd::pipe2;

    use super::*;

    #[test]
    fn a_descriptor_travels_with_its_message() {
        let (ours, theirs) = pair().unwrap();
        let mut buffer = [0; MESSAGE_BYTES_MAX + 1];
        assert!(matches!(receive(theirs.as_fd(), &mut buffer), Ok(Received::Nothing)));
        let (read_end, write_end) = pipe2(OFlag::O_CLOEXEC).unwrap();
        send(ours.as_fd(), b"first", Some(read_end.as_fd()), MsgFlags::MSG_DONTWAIT).unwrap();
        send(ours.as_fd(), b"second", None, MsgFlags::MSG_DONTWAIT).unwrap();
        drop(read_end);

        let Ok(Received::Message(5, Some(descriptor))) = receive(theirs.as_fd(), &mut buffer) else {
            panic!("no message with a descriptor");
        };
        assert_eq!(&buffer[..5], b"first");
        File::from(write_end).write_all(b"through the pipe").unwrap();
        let mut text = String::new();
        File::from(descriptor).read_to_string(&mut text).unwrap();
        assert_eq!(text, "through the pipe");

        assert!(matches!(receive(theirs.as_fd(), &mut buffer), Ok(Received::Message(6, None))));
        drop(ours);
        assert!(matches!(receive(theirs.as_fd(), &mut buffer), Ok(Received::End)));
    }

    #[test]
    fn a_message_that_is_too_long_is_refused() {
        let (ours, theirs) = pair().unwrap();
        let mut buffer = [0; MESSAGE_BYTES_MAX + 1];
        send(ours.as_fd(), &[1; MESSAGE_BYTES_MAX + 2], None, MsgFlags::MSG_DONTWAIT).unwrap();
        assert!(matches!(receive(theirs.as_fd(), &mut buffer), Err(Errno::EMSGSIZE)));
    }

    #[test]
    fn a_full_socket_does_not_wait_and_a_closed_one_raises_no_signal() {
        let (ours, theirs) = pair().unwrap();
        let error = loop {
            if let Err(error) = send(ours.as_fd(), b"message", None, MsgFlags::MSG_DONTWAIT) {
                break error;
            }
        };
        assert_eq!(error, Errno::EAGAIN);
        drop(theirs);
        let error = send(ours.as_fd(), b"message", None, MsgFlags::MSG_DONTWAIT).unwrap_err();
        assert!(matches!(error, Errno::EPIPE | Errno::ECONNRESET), "{error}");
    }
}
