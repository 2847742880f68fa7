//! HTTP and TCP probes, made by the loop itself: a non-blocking socket, no fork, nothing waited
//! for. How long a try may take is the core's to say (`Action::CancelProbe`).

use core::net::{IpAddr, SocketAddr};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, connect, getsockopt, setsockopt, socket, sockopt,
};
use nix::unistd::Pid;

use super::network_namespace::socket_inside;
use super::reactor::Interest;
use crate::config::plan::Check;
use crate::supervisor::probe::Outcome;

/// How much of an answer is looked at for its status line.
const ANSWER_BYTES_MAX: usize = 1024;

/// One try of a network probe.
#[derive(Debug)]
pub struct NetworkProbe {
    socket: File,
    stage: Stage,
    purpose: Purpose,
    /// What is still to be sent.
    request: Vec<u8>,
    answer: Vec<u8>,
}

/// What a request is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A probe: a status of 200 to 399 is a success.
    Probe,
    /// A hook: any status says that it was heard.
    Hook,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Connecting,
    Sending,
    Receiving,
}

/// How far a try has come.
#[derive(Debug)]
pub enum Progress {
    /// It waits for this.
    Waits(Interest),
    /// It has ended; in words why, where it did not succeed.
    Done(Outcome, String),
}

impl NetworkProbe {
    /// Begins to connect; `inside` is a process in whose network namespace that happens, if it is
    /// not ours. `None`: `check` is no network probe. In the error: why it could not be tried.
    pub fn start(
        check: &Check,
        purpose: Purpose,
        inside: Option<Pid>,
    ) -> Option<Result<(NetworkProbe, Progress), String>> {
        let (host, port, request) = match check {
            Check::Exec { .. } => return None,
            Check::HttpGet { host, port, path } => (*host, *port, http_request(*host, *port, path)),
            Check::TcpSocket { host, port } => (*host, *port, Vec::new()),
        };
        Some(NetworkProbe::connect(SocketAddr::new(host, port), purpose, request, inside))
    }

    fn connect(
        address: SocketAddr,
        purpose: Purpose,
        request: Vec<u8>,
        inside: Option<Pid>,
    ) -> Result<(NetworkProbe, Progress), String> {
        let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let make = || socket(family, SockType::Stream, flags, None);
        let socket: OwnedFd = match inside {
            Some(pid) => socket_inside(pid, make)?,
            None => make().map_err(|errno| format!("cannot make a socket: {}", errno.desc()))?,
        };
        // Probes must not leave thousands of ports in TIME_WAIT: the connection is reset when we
        // close it. The kubelet does so, too.
        let linger = libc::linger { l_onoff: 1, l_linger: 0 };
        let _ = setsockopt(&socket, sockopt::Linger, &linger);
        let result = connect(socket.as_raw_fd(), &SockaddrStorage::from(address));
        let mut probe = NetworkProbe {
            socket: socket.into(),
            stage: Stage::Connecting,
            purpose,
            request,
            answer: Vec::new(),
        };
        let progress = match result {
            Ok(()) => probe.connected(),
            Err(Errno::EINPROGRESS) => Progress::Waits(Interest::Writable),
            Err(errno) => refused(errno),
        };
        Ok((probe, progress))
    }

    /// Goes on after what it waited for.
    pub fn advance(&mut self) -> Progress {
        match self.stage {
            Stage::Connecting => match getsockopt(&self.socket, sockopt::SocketError) {
                Ok(0) => self.connected(),
                Ok(number) => refused(Errno::from_raw(number)),
                Err(errno) => refused(errno),
            },
            Stage::Sending => self.send(),
            Stage::Receiving => self.receive(),
        }
    }

    fn connected(&mut self) -> Progress {
        if self.request.is_empty() {
            return Progress::Done(Outcome::Success, String::new());
        }
        self.stage = Stage::Sending;
        self.send()
    }

    fn send(&mut self) -> Progress {
        while !self.request.is_empty() {
            match self.socket.write(&self.request) {
                Ok(count) => drop(self.request.drain(..count.min(self.request.len()))),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Progress::Waits(Interest::Writable);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return failed(format!("cannot send the request: {}", super::reason(&error))),
            }
        }
        self.stage = Stage::Receiving;
        Progress::Waits(Interest::Readable)
    }

    fn receive(&mut self) -> Progress {
        let mut buffer = [0; ANSWER_BYTES_MAX];
        loop {
            match self.socket.read(&mut buffer) {
                Ok(0) => return failed("the connection was closed before an HTTP status came".to_owned()),
                Ok(count) => self.answer.extend_from_slice(buffer.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Progress::Waits(Interest::Readable);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return failed(format!("no answer: {}", super::reason(&error))),
            }
            if let Some(progress) = judge(&self.answer, self.purpose) {
                return progress;
            }
        }
    }
}

impl AsFd for NetworkProbe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// What an answer, as far as it has come, says. `None`: more is needed.
fn judge(answer: &[u8], purpose: Purpose) -> Option<Progress> {
    // No room for headers: the status line is all that counts, and is kept when they follow.
    let mut response = httparse::Response::new(&mut []);
    let parsed = response.parse(answer);
    match (response.code, parsed) {
        (Some(_), _) if purpose == Purpose::Hook => Some(Progress::Done(Outcome::Success, String::new())),
        (Some(200..=399), _) => Some(Progress::Done(Outcome::Success, String::new())),
        (Some(code), _) => Some(failed(format!("HTTP status {code}"))),
        (None, Ok(httparse::Status::Partial)) if answer.len() < ANSWER_BYTES_MAX => None,
        (None, _) => Some(failed("the answer is not HTTP".to_owned())),
    }
}

fn failed(why: String) -> Progress {
    Progress::Done(Outcome::Failure, why)
}

fn refused(errno: Errno) -> Progress {
    failed(format!("cannot connect: {}", errno.desc()))
}

fn http_request(host: IpAddr, port: u16, path: &str) -> Vec<u8> {
    let host = SocketAddr::new(host, port);
    let agent = concat!("outrigger/", env!("CARGO_PKG_VERSION"));
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {agent}\r\nAccept: */*\r\nConnection: close\r\n\r\n")
        .into_bytes()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;

    /// Runs a try to its end, as the loop would.
    fn run(check: &Check) -> (Outcome, String) {
        run_for(check, Purpose::Probe)
    }

    fn run_for(check: &Check, purpose: Purpose) -> (Outcome, String) {
        let (mut probe, mut progress) = NetworkProbe::start(check, purpose, None).unwrap().unwrap();
        loop {
            match progress {
                Progress::Done(outcome, why) => return (outcome, why),
                Progress::Waits(interest) => {
                    let flags = match interest {
                        Interest::Readable => PollFlags::POLLIN,
                        Interest::Writable => PollFlags::POLLOUT,
                    };
                    let mut fds = [PollFd::new(probe.as_fd(), flags)];
                    assert_eq!(poll(&mut fds, PollTimeout::from(20_000_u16)), Ok(1), "no answer");
                    progress = probe.advance();
                }
            }
        }
    }

    fn localhost() -> IpAddr {
        "127.0.0.1".parse().unwrap()
    }

    /// A server that answers one connection with `parts`, one write each.
    fn serve(parts: &'static [&'static str]) -> (u16, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            let mut byte = [0];
            while !request.ends_with(b"\r\n\r\n") {
                stream.read_exact(&mut byte).unwrap();
                request.push(byte[0]);
            }
            for part in parts {
                if stream.write_all(part.as_bytes()).is_err() {
                    break;
                }
            }
            String::from_utf8(request).unwrap()
        });
        (port, server)
    }

    #[test]
    fn an_http_status_below_400_is_a_success() {
        for (parts, expected) in [
            (&["HTTP/1.1 200 OK\r\n\r\n"][..], Ok(())),
            (&["HTTP/1.0 204\r\n\r\n"], Ok(())),
            (&["HTTP/1.1 200 OK\r\nA: b\r\nC: d\r\nContent-Length: 3\r\n\r\nabc"], Ok(())),
            (&["HT", "TP/1.1 30", "1 Moved\r\nLocation: /\r\n", "\r\n"], Ok(())),
            (&["HTTP/1.1 404 Not Found\r\n\r\n"], Err("HTTP status 404")),
            (&["HTTP/1.1 503 Busy\r\nRetry-After: 1\r\n\r\n"], Err("HTTP status 503")),
            (&["220 smtp ready\r\n"], Err("the answer is not HTTP")),
            (&[], Err("the connection was closed before an HTTP status came")),
        ] {
            let (port, server) = serve(parts);
            let check = Check::HttpGet { host: localhost(), port, path: "/ready?full=1".to_owned() };
            let (outcome, why) = run(&check);
            match expected {
                Ok(()) => assert_eq!(outcome, Outcome::Success, "{parts:?}: {why}"),
                Err(text) => assert_eq!((outcome, why.as_str()), (Outcome::Failure, text), "{parts:?}"),
            }
            let request = server.join().unwrap();
            assert!(request.starts_with("GET /ready?full=1 HTTP/1.1\r\nHost: 127.0.0.1:"), "{request}");
        }
    }

    #[test]
    fn a_hook_is_heard_with_any_http_status() {
        for (parts, expected) in [
            (&["HTTP/1.1 204 No Content\r\n\r\n"][..], Ok(())),
            (&["HTTP/1.1 404 Not Found\r\n\r\n"], Ok(())),
            (&["HTTP/1.1 503 Busy\r\n\r\n"], Ok(())),
            (&["220 smtp ready\r\n"], Err("the answer is not HTTP")),
            (&[], Err("the connection was closed before an HTTP status came")),
        ] {
            let (port, server) = serve(parts);
            let check = Check::HttpGet { host: localhost(), port, path: "/".to_owned() };
            let (outcome, why) = run_for(&check, Purpose::Hook);
            match expected {
                Ok(()) => assert_eq!(outcome, Outcome::Success, "{parts:?}: {why}"),
                Err(text) => assert_eq!((outcome, why.as_str()), (Outcome::Failure, text), "{parts:?}"),
            }
            server.join().unwrap();
        }
    }

    #[test]
    fn an_endless_answer_that_is_not_http_is_given_up() {
        let long: &'static str = Box::leak("HTTP/1.1 ".repeat(500).into_boxed_str());
        let parts: &'static [&'static str] = Box::leak(Box::new([long]));
        let (port, server) = serve(parts);
        let check = Check::HttpGet { host: localhost(), port, path: "/".to_owned() };
        assert_eq!(run(&check), (Outcome::Failure, "the answer is not HTTP".to_owned()));
        server.join().unwrap();
    }

    #[test]
    fn an_accepted_connection_is_a_success_and_a_refused_one_is_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let check = Check::TcpSocket { host: localhost(), port };
        assert_eq!(run(&check), (Outcome::Success, String::new()));
        drop(listener);
        assert_eq!(run(&check), (Outcome::Failure, "cannot connect: Connection refused".to_owned()));
    }
}
