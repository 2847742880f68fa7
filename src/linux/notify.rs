//! The service manager's socket, and what it says of us in the environment (sd_notify(3),
//! sd_watchdog_enabled(3)). What is sent, and when, is decided in `supervisor/announcer.rs`.

use core::time::Duration;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use super::reason;

/// What a service manager has put into the environment. Our children get an environment of their
/// own, so it is not theirs.
#[derive(Debug)]
pub struct Manager {
    socket: UnixDatagram,
    address: SocketAddr,
    watchdog: Option<Duration>,
    /// Whether the last message was lost.
    failing: bool,
}

impl Manager {
    /// The one that has started this process. `None`: it was not started by one, or by one that
    /// does not want to be told. In the error: what is wrong with the variables.
    pub fn from_environment() -> Result<Option<Manager>, String> {
        let Some(named) = std::env::var_os("NOTIFY_SOCKET").filter(|named| !named.is_empty()) else {
            return Ok(None);
        };
        let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
        let ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|micros| ours && *micros > 0);
        Manager::new(&named, watchdog.map(Duration::from_micros)).map(Some)
    }

    /// One that listens at `named`, an absolute path or an abstract address behind an `@`.
    pub fn new(named: &OsStr, watchdog: Option<Duration>) -> Result<Manager, String> {
        let failed = |why: &str| {
            let named = named.to_string_lossy();
            format!("cannot tell the service manager at `{named}` (NOTIFY_SOCKET): {why}")
        };
        let address = match named.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
            [b'/', ..] => SocketAddr::from_pathname(named),
            _ => return Err(failed("it is neither an absolute path nor begins with `@`")),
        };
        let address = address.map_err(|error| failed(&reason(&error)))?;
        // Both are CLOEXEC in the standard library.
        let socket = UnixDatagram::unbound().map_err(|error| failed(&reason(&error)))?;
        socket.set_nonblocking(true).map_err(|error| failed(&reason(&error)))?;
        Ok(Manager { socket, address, watchdog, failing: false })
    }

    /// After which silence it takes us for hung, if it watches at all.
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// Sends one message. Never waits: a manager whose queue is full, or that is just not there,
    /// loses it. In the error: why, to be told the user; `None` if the one before was lost too.
    pub fn send(&mut self, message: &str) -> Result<(), Option<String>> {
        let sent = loop {
            match self.socket.send_to_addr(message.as_bytes(), &self.address) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                sent => break sent,
            }
        };
        match sent {
            Ok(_) => {
                self.failing = false;
                Ok(())
            }
            Err(error) => {
                let first = !core::mem::replace(&mut self.failing, true);
                let why = reason(&error);
                Err(first.then(|| format!("cannot tell the service manager: {why}; trying again in 1 s")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receive(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 1000];
        let length = socket.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    #[test]
    fn a_message_arrives_at_a_path_and_at_an_abstract_address() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let name = format!("outrigger-test-{}", std::process::id());
        let at_path = UnixDatagram::bind(&path).unwrap();
        let at_name = SocketAddr::from_abstract_name(&name).unwrap();
        let at_name = UnixDatagram::bind_addr(&at_name).unwrap();
        for (named, socket) in [(path.into_os_string(), at_path), (format!("@{name}").into(), at_name)] {
            let mut manager = Manager::new(&named, None).unwrap();
            manager.send("READY=1\n").unwrap();
            assert_eq!(receive(&socket), "READY=1\n");
        }
    }

    #[test]
    fn an_address_that_is_none_is_refused() {
        for named in ["notify", "vsock:2:1", "./notify"] {
            let error = Manager::new(OsStr::new(named), None).unwrap_err();
            let expected = format!(
                "cannot tell the service manager at `{named}` (NOTIFY_SOCKET): it is neither an absolute path \
                 nor begins with `@`"
            );
            assert_eq!(error, expected);
        }
    }

    #[test]
    fn a_manager_that_does_not_read_holds_nobody_up_and_is_complained_of_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let listener = UnixDatagram::bind(&path).unwrap();
        let mut manager = Manager::new(path.as_os_str(), None).unwrap();
        // The queue of a datagram socket is short (net.unix.max_dgram_qlen), its buffer bounded.
        let lost = (0..100_000).find_map(|_| manager.send("STATUS=the same again\n").err());
        let why = lost.expect("it never fills").expect("the first loss is told");
        assert!(why.ends_with("; trying again in 1 s"), "{why}");
        assert_eq!(manager.send("STATUS=more\n"), Err(None));
        while listener.set_nonblocking(true).is_ok() && listener.recv(&mut [0; 100]).is_ok() {}
        assert_eq!(manager.send("READY=1\n"), Ok(()));
        drop(listener);
        let gone = manager.send("READY=1\n").unwrap_err().expect("a new loss is told");
        assert_eq!(gone, "cannot tell the service manager: Connection refused; trying again in 1 s");
    }
}
