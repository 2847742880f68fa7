//! Probes by a connection, made by the loop itself: a non-blocking socket, no fork, nothing waited
//! for. What is said over it is in `protocol/`. How long a try may take is the core's to say
//! (`Action::CancelProbe`).

use core::net::SocketAddr;
use core::time::Duration;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, UnixAddr, connect, getpeername, getsockopt,
    setsockopt, socket, sockopt,
};
use nix::unistd::Pid;

use super::network_namespace::socket_inside;
use super::reactor::Interest;
use super::{clock, container_path};
use crate::config::plan::Check;
use crate::protocol::url::Target;
use crate::protocol::{Ending, grpc, http};
use crate::supervisor::probe::Outcome;
use crate::time::Instant;

/// Redirects that are followed (Kubernetes: the same).
const REDIRECTS_MAX: u8 = 10;

/// Pause before a connection that was refused is tried again, where that is to be done.
const AGAIN: Duration = Duration::from_millis(100);

/// Reads of one turn of the loop. More is read in the next turn.
const READS_MAX: usize = 16;

/// Where a container is, for a connection to it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Whereabouts {
    /// A process in whose network namespace it is, if that is not ours.
    pub network: Option<Pid>,
    /// A process whose root directory its paths begin at, if that is not ours.
    pub root: Option<Pid>,
}

/// What a connection is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A probe: a status of 200 to 399 is a success.
    Probe,
    /// A hook: any status says that it was heard.
    Hook,
}

/// One try of a probe by a connection.
#[derive(Debug)]
pub struct NetworkProbe {
    whereabouts: Whereabouts,
    purpose: Purpose,
    peer: Peer,
    conversation: Conversation,
    /// `None` while it waits to connect again.
    socket: Option<File>,
    connected: bool,
    /// What is still to be sent.
    outgoing: Vec<u8>,
    /// When it connects again.
    again_at: Option<Instant>,
    /// See [`NetworkProbe::start`].
    until: Option<Instant>,
}

#[derive(Clone, Debug)]
enum Peer {
    Address(SocketAddr),
    Path(String),
}

#[derive(Debug)]
enum Conversation {
    /// None: that there is a connection is enough.
    Connection,
    Http {
        answer: http::Answer,
        headers: Vec<(String, String)>,
        redirects: u8,
    },
    Grpc(grpc::Answer),
}

/// How far a try has come.
#[derive(Debug)]
pub enum Progress {
    /// It waits for this.
    Waits(Interest),
    /// It waits for this, with another socket than before.
    Moved(Interest),
    /// It connects again at [`NetworkProbe::again_at`].
    Pauses,
    /// It has ended; in words why, or what the container said.
    Done(Outcome, String),
}

impl NetworkProbe {
    /// Begins to connect. `until`: when its time is over, if that is known; it does not pause beyond
    /// that, so that the last refusal is told. `None`: `check` needs no connection. In the error: why
    /// it could not be tried.
    pub fn start(
        check: &Check,
        purpose: Purpose,
        whereabouts: Whereabouts,
        until: Option<Instant>,
    ) -> Option<Result<(NetworkProbe, Progress), String>> {
        let (peer, conversation, outgoing) = match check {
            Check::Exec { .. } => return None,
            Check::HttpGet { host, port, path, headers } => {
                let target = Target { host: *host, port: *port, path: path.clone() };
                let request = http::request(&http::authority(&target), path, headers);
                let conversation = Conversation::Http {
                    answer: http::Answer::new(Some(target)),
                    headers: headers.clone(),
                    redirects: 0,
                };
                (Peer::Address(SocketAddr::new(*host, *port)), conversation, request)
            }
            Check::TcpSocket { host, port } => {
                (Peer::Address(SocketAddr::new(*host, *port)), Conversation::Connection, Vec::new())
            }
            Check::Grpc { port, service } => {
                let address = SocketAddr::from(([127, 0, 0, 1], *port));
                let request = grpc::request(&address.to_string(), service);
                (Peer::Address(address), Conversation::Grpc(grpc::Answer::default()), request)
            }
            Check::Unix { path, http_path: None } => {
                (Peer::Path(path.clone()), Conversation::Connection, Vec::new())
            }
            Check::Unix { path, http_path: Some(http_path) } => {
                let request = http::request("localhost", http_path, &[]);
                let answer = http::Answer::new(None);
                let conversation = Conversation::Http { answer, headers: Vec::new(), redirects: 0 };
                (Peer::Path(path.clone()), conversation, request)
            }
        };
        let mut probe = NetworkProbe {
            whereabouts,
            purpose,
            peer,
            conversation,
            socket: None,
            connected: false,
            outgoing,
            again_at: None,
            until,
        };
        Some(probe.connect().map(|progress| (probe, progress)))
    }

    /// When it wants to connect again, if it does.
    pub fn again_at(&self) -> Option<Instant> {
        self.again_at
    }

    /// Connects again, when that is due.
    pub fn connect_again(&mut self) -> Progress {
        self.again_at = None;
        self.connect().unwrap_or_else(|error| Progress::Done(Outcome::Error, error))
    }

    fn connect(&mut self) -> Result<Progress, String> {
        let (socket, result) = match &self.peer {
            Peer::Address(address) => {
                let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
                let make = || make_socket(family);
                let socket = match self.whereabouts.network {
                    Some(pid) => socket_inside(pid, make)?,
                    None => make().map_err(|errno| format!("cannot make a socket: {}", errno.desc()))?,
                };
                // Probes must not leave thousands of ports in TIME_WAIT: the connection is reset
                // when we close it. The kubelet does so, too.
                let linger = libc::linger { l_onoff: 1, l_linger: 0 };
                let _ = setsockopt(&socket, sockopt::Linger, &linger);
                let result = connect(socket.as_raw_fd(), &SockaddrStorage::from(*address));
                (socket, result)
            }
            Peer::Path(path) => {
                let file = match container_path::find(self.whereabouts.root, path) {
                    Ok(file) => file,
                    Err(why) => return Ok(failed(format!("cannot connect to `{path}`: {why}"))),
                };
                let socket = make_socket(AddressFamily::Unix)
                    .map_err(|errno| format!("cannot make a socket: {}", errno.desc()))?;
                // By the descriptor: its path may be longer than an address can be (unix(7)).
                let address = UnixAddr::new(container_path::path_of(&file).as_str());
                let result = address.and_then(|address| connect(socket.as_raw_fd(), &address));
                (socket, result)
            }
        };
        self.socket = Some(socket.into());
        self.connected = false;
        Ok(match result {
            Ok(()) => match self.begin() {
                Progress::Waits(interest) | Progress::Moved(interest) => Progress::Moved(interest),
                Progress::Pauses => Progress::Pauses,
                Progress::Done(outcome, said) => Progress::Done(outcome, said),
            },
            Err(Errno::EINPROGRESS) => Progress::Moved(Interest::Writable),
            Err(errno) => self.refused(errno),
        })
    }

    /// Goes on after what it waited for.
    pub fn advance(&mut self) -> Progress {
        let Some(socket) = &self.socket else { return Progress::Pauses };
        if !self.connected {
            return match getsockopt(socket, sockopt::SocketError) {
                // Woken for nothing, it has no error either: only a peer tells that it is connected.
                Ok(0) => match getpeername::<SockaddrStorage>(socket.as_raw_fd()) {
                    Err(Errno::ENOTCONN) => Progress::Waits(Interest::Writable),
                    Ok(_) | Err(_) => self.begin(),
                },
                Ok(number) => self.refused(Errno::from_raw(number)),
                Err(errno) => self.refused(errno),
            };
        }
        if self.outgoing.is_empty() { self.receive() } else { self.send() }
    }

    fn begin(&mut self) -> Progress {
        self.connected = true;
        match self.conversation {
            Conversation::Connection => Progress::Done(Outcome::Success, String::new()),
            Conversation::Http { .. } | Conversation::Grpc(_) => self.send(),
        }
    }

    /// A server that is just about to listen refuses for a moment: gRPC's clients try again until
    /// their time is up (Kubernetes: the same), and so is done where a queue is full (connect(2)).
    fn refused(&mut self, errno: Errno) -> Progress {
        let again = match self.conversation {
            Conversation::Grpc(_) => errno == Errno::ECONNREFUSED,
            Conversation::Connection | Conversation::Http { .. } => errno == Errno::EAGAIN,
        };
        let at = clock::now().after(AGAIN);
        if again && self.until.is_none_or(|until| at < until) {
            self.socket = None;
            self.again_at = Some(at);
            return Progress::Pauses;
        }
        failed(match (&self.peer, errno) {
            (Peer::Path(path), Errno::EPROTOTYPE) => {
                format!("cannot connect to `{path}`: it is a Unix socket of another kind than SOCK_STREAM")
            }
            (Peer::Path(path), _) => format!("cannot connect to `{path}`: {}", errno.desc()),
            (Peer::Address(_), _) => format!("cannot connect: {}", errno.desc()),
        })
    }

    fn send(&mut self) -> Progress {
        let Some(socket) = &mut self.socket else { return Progress::Pauses };
        while !self.outgoing.is_empty() {
            match socket.write(&self.outgoing) {
                Ok(count) => drop(self.outgoing.drain(..count.min(self.outgoing.len()))),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Progress::Waits(Interest::Writable);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return failed(format!("cannot send the request: {}", super::reason(&error))),
            }
        }
        Progress::Waits(Interest::Readable)
    }

    fn receive(&mut self) -> Progress {
        let mut buffer = [0; 4096];
        for _ in 0..READS_MAX {
            let Some(socket) = &mut self.socket else { return Progress::Pauses };
            let ending = match (socket.read(&mut buffer), &mut self.conversation) {
                (Err(error), _) if error.kind() == io::ErrorKind::WouldBlock => break,
                (Err(error), _) if error.kind() == io::ErrorKind::Interrupted => continue,
                (Err(_), Conversation::Http { answer, .. }) if answer.has_status() => Some(answer.end()),
                (Err(error), _) => return failed(format!("no answer: {}", super::reason(&error))),
                (Ok(0), Conversation::Http { answer, .. }) => Some(answer.end()),
                (Ok(0), Conversation::Grpc(answer)) => Some(answer.end()),
                (Ok(count), Conversation::Http { answer, .. }) => {
                    answer.receive(buffer.get(..count).unwrap_or_default())
                }
                (Ok(count), Conversation::Grpc(answer)) => {
                    answer.receive(buffer.get(..count).unwrap_or_default(), &mut self.outgoing)
                }
                (Ok(_), Conversation::Connection) => None,
            };
            if self.purpose == Purpose::Hook && self.was_heard(ending.as_ref()) {
                return Progress::Done(Outcome::Success, String::new());
            }
            match ending {
                None => {}
                Some(Ending::Judged(outcome, said)) => return Progress::Done(outcome, said),
                Some(Ending::Redirected(target)) => return self.follow(target),
            }
        }
        self.send()
    }

    /// Whether a status has come, of whatever kind.
    fn was_heard(&self, ending: Option<&Ending>) -> bool {
        match &self.conversation {
            Conversation::Http { answer, .. } => {
                answer.has_status() || matches!(ending, Some(Ending::Redirected(_)))
            }
            Conversation::Connection | Conversation::Grpc(_) => false,
        }
    }

    fn follow(&mut self, target: Target) -> Progress {
        let Conversation::Http { answer, headers, redirects } = &mut self.conversation else {
            return failed("redirected, which nobody asked for".to_owned());
        };
        if *redirects == REDIRECTS_MAX {
            return failed(format!("redirected more than {REDIRECTS_MAX} times"));
        }
        *redirects += 1;
        self.outgoing = http::request(&http::authority(&target), &target.path, headers);
        self.peer = Peer::Address(SocketAddr::new(target.host, target.port));
        *answer = http::Answer::new(Some(target));
        self.connect().unwrap_or_else(|error| Progress::Done(Outcome::Error, error))
    }

    /// What is to be watched; `None` while it pauses.
    pub fn socket(&self) -> Option<BorrowedFd<'_>> {
        self.socket.as_ref().map(AsFd::as_fd)
    }
}

fn make_socket(family: AddressFamily) -> nix::Result<OwnedFd> {
    socket(family, SockType::Stream, SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC, None)
}

fn failed(why: String) -> Progress {
    Progress::Done(Outcome::Failure, why)
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, TcpListener};
    use std::os::unix::net::UnixListener;

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;

    /// Runs a try to its end, as the loop would.
    fn run(check: &Check) -> (Outcome, String) {
        run_for(check, Purpose::Probe)
    }

    fn run_for(check: &Check, purpose: Purpose) -> (Outcome, String) {
        let (probe, progress) =
            NetworkProbe::start(check, purpose, Whereabouts::default(), None).unwrap().unwrap();
        go_on(probe, progress)
    }

    fn go_on(mut probe: NetworkProbe, mut progress: Progress) -> (Outcome, String) {
        loop {
            progress = match progress {
                Progress::Done(outcome, why) => return (outcome, why),
                Progress::Pauses => probe.connect_again(),
                Progress::Waits(interest) | Progress::Moved(interest) => {
                    let flags = match interest {
                        Interest::Readable => PollFlags::POLLIN,
                        Interest::Writable => PollFlags::POLLOUT,
                    };
                    let mut fds = [PollFd::new(probe.socket().unwrap(), flags)];
                    assert_eq!(poll(&mut fds, PollTimeout::from(20_000_u16)), Ok(1), "no answer");
                    probe.advance()
                }
            };
        }
    }

    fn localhost() -> IpAddr {
        "127.0.0.1".parse().unwrap()
    }

    fn get(port: u16) -> Check {
        Check::HttpGet { host: localhost(), port, path: "/ready?full=1".to_owned(), headers: Vec::new() }
    }

    /// The head of one request.
    fn take_request(stream: &mut impl Read) -> String {
        let mut request = Vec::new();
        let mut byte = [0];
        while !request.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).unwrap();
            request.push(byte[0]);
        }
        String::from_utf8(request).unwrap()
    }

    /// A server that answers one connection after another, each with the parts of one answer, one
    /// write each. Gives the requests.
    fn serve(answers: Vec<Vec<String>>) -> (u16, std::thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            let answer = |parts: Vec<String>| {
                let (mut stream, _) = listener.accept().unwrap();
                let request = take_request(&mut stream);
                for part in parts {
                    if stream.write_all(part.replace("PORT", &port.to_string()).as_bytes()).is_err() {
                        break;
                    }
                }
                request
            };
            answers.into_iter().map(answer).collect()
        });
        (port, server)
    }

    fn parts(parts: &[&str]) -> Vec<String> {
        parts.iter().map(|part| (*part).to_owned()).collect()
    }

    #[test]
    fn an_http_status_decides() {
        for (answer, outcome, why) in [
            (&["HTTP/1.1 200 OK\r\n\r\n"][..], Outcome::Success, ""),
            (
                &["HT", "TP/1.1 200 OK\r\nA: b\r\nContent-Length: 3\r\n", "\r\na", "bc"],
                Outcome::Success,
                "abc",
            ),
            (&["HTTP/1.1 503 Busy\r\nRetry-After: 1\r\n\r\n"], Outcome::Failure, "HTTP status 503"),
            (
                &["HTTP/1.1 304 Same\r\n\r\n"],
                Outcome::Warning,
                "HTTP status 304, a redirect that says not where to",
            ),
            (&[], Outcome::Failure, "the connection was closed without an answer"),
        ] {
            let (port, server) = serve(vec![parts(answer)]);
            assert_eq!(run(&get(port)), (outcome, why.to_owned()), "{answer:?}");
            let request = server.join().unwrap().remove(0);
            assert!(request.starts_with("GET /ready?full=1 HTTP/1.1\r\nHost: 127.0.0.1:"), "{request}");
        }
    }

    #[test]
    fn redirects_are_followed_with_the_same_headers_and_not_for_ever() {
        let redirect =
            "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:PORT/next\r\nContent-Length: 0\r\n\r\n";
        let good = "HTTP/1.1 200 OK\r\n\r\nfine";
        for (count, outcome, why) in [
            (1, Outcome::Success, "fine"),
            (10, Outcome::Success, "fine"),
            (11, Outcome::Failure, "redirected more than 10 times"),
        ] {
            let mut answers = vec![parts(&[redirect]); count];
            if count <= 10 {
                answers.push(parts(&[good]));
            }
            let (port, server) = serve(answers);
            let headers =
                vec![("Host".to_owned(), "app.example".to_owned()), ("X".to_owned(), "y".to_owned())];
            let check = Check::HttpGet { host: localhost(), port, path: "/".to_owned(), headers };
            assert_eq!(run(&check), (outcome, why.to_owned()));
            for (number, request) in server.join().unwrap().iter().enumerate() {
                let path = if number == 0 { "/" } else { "/next" };
                assert!(
                    request.starts_with(&format!("GET {path} HTTP/1.1\r\nHost: app.example\r\n")),
                    "{request}"
                );
                assert!(request.contains("\r\nX: y\r\n"), "{request}");
            }
        }
    }

    #[test]
    fn a_hook_is_heard_with_any_http_status() {
        for (answer, outcome, why) in [
            (&["HTTP/1.1 204 No Content\r\n\r\n"][..], Outcome::Success, ""),
            (&["HTTP/1.1 404 Not Found\r\n\r\n"], Outcome::Success, ""),
            (&["HTTP/1.1 503 Busy\r\nContent-Length: 9\r\n\r\n"], Outcome::Success, ""),
            (&["HTTP/1.1 301 Moved\r\nLocation: /\r\n\r\n"], Outcome::Success, ""),
            (&["220 smtp ready\r\n"], Outcome::Failure, "the answer is not HTTP"),
            (&[], Outcome::Failure, "the connection was closed without an answer"),
        ] {
            let (port, server) = serve(vec![parts(answer)]);
            assert_eq!(run_for(&get(port), Purpose::Hook), (outcome, why.to_owned()), "{answer:?}");
            server.join().unwrap();
        }
    }

    #[test]
    fn an_endless_answer_that_is_not_http_is_given_up() {
        let (port, server) = serve(vec![parts(&["HTTP/1.1 ".repeat(500).as_str()])]);
        assert_eq!(run(&get(port)), (Outcome::Failure, "the answer is not HTTP".to_owned()));
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

    #[test]
    fn a_connection_that_is_still_being_made_is_waited_for() {
        use nix::sys::socket::{Backlog, SockaddrIn, bind, getsockname, listen};
        let listener = make_socket(AddressFamily::Inet).unwrap();
        bind(listener.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0)).unwrap();
        listen(&listener, Backlog::new(0).unwrap()).unwrap();
        let address: SockaddrIn = getsockname(listener.as_raw_fd()).unwrap();
        // Its queue is full: who comes next gets no answer.
        let others: Vec<OwnedFd> = (0..4).map(|_| make_socket(AddressFamily::Inet).unwrap()).collect();
        for other in &others {
            let _ = connect(other.as_raw_fd(), &address);
        }
        let check = Check::TcpSocket { host: localhost(), port: address.port() };
        let (mut probe, progress) =
            NetworkProbe::start(&check, Purpose::Probe, Whereabouts::default(), None).unwrap().unwrap();
        assert!(matches!(progress, Progress::Moved(Interest::Writable)), "{progress:?}");
        let progress = probe.advance();
        assert!(matches!(progress, Progress::Waits(Interest::Writable)), "{progress:?}");
    }

    #[test]
    fn a_grpc_server_that_begins_to_listen_a_little_later_is_found() {
        let port = {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap().port()
        };
        let check = Check::Grpc { port, service: "app".to_owned() };
        let (mut probe, mut progress) =
            NetworkProbe::start(&check, Purpose::Probe, Whereabouts::default(), None).unwrap().unwrap();
        if let Progress::Moved(Interest::Writable) = progress {
            progress = probe.advance();
        }
        assert!(matches!(progress, Progress::Pauses), "{progress:?}");
        assert!(probe.again_at().is_some_and(|at| at > clock::now()));
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut preface = [0; 24];
            stream.read_exact(&mut preface).unwrap();
            // Settings; headers with `:status 200`; one message, SERVING; `grpc-status: 0`.
            let answer: [&[u8]; 4] = [
                b"\0\0\0\x04\0\0\0\0\0",
                b"\0\0\x01\x01\x04\0\0\0\x01\x88",
                b"\0\0\x07\0\0\0\0\0\x01\0\0\0\0\x02\x08\x01",
                b"\0\0\x0f\x01\x05\0\0\0\x01\0\x0bgrpc-status\x010",
            ];
            for part in answer {
                stream.write_all(part).unwrap();
            }
            // Until the probe has gone.
            let _ = stream.read_to_end(&mut Vec::new());
            preface
        });
        assert_eq!(go_on(probe, progress), (Outcome::Success, "SERVING".to_owned()));
        assert_eq!(&server.join().unwrap(), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    }

    #[test]
    fn a_grpc_server_that_refuses_to_the_end_is_told_so() {
        let port = {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap().port()
        };
        let check = Check::Grpc { port, service: String::new() };
        let begin = clock::now();
        let until = Some(begin.after(AGAIN * 2));
        let (mut probe, mut progress) =
            NetworkProbe::start(&check, Purpose::Probe, Whereabouts::default(), until).unwrap().unwrap();
        let mut pauses = 0;
        while let Progress::Moved(_) | Progress::Pauses = progress {
            assert!(clock::now().since(begin) < AGAIN * 20, "it goes on");
            progress = if probe.again_at().is_some() {
                pauses += 1;
                probe.connect_again()
            } else {
                probe.advance()
            };
        }
        assert!(pauses > 0);
        let Progress::Done(outcome, why) = progress else { panic!("{progress:?}") };
        assert_eq!((outcome, why.as_str()), (Outcome::Failure, "cannot connect: Connection refused"));
    }

    #[test]
    fn a_unix_socket_is_connected_to_or_asked() {
        let directory = tempfile::tempdir().unwrap();
        let deep = directory.path().join("d".repeat(120));
        std::fs::create_dir(&deep).unwrap();
        let path = deep.join("socket").to_str().unwrap().to_owned();
        let check = |http_path: Option<&str>| Check::Unix {
            path: path.clone(),
            http_path: http_path.map(str::to_owned),
        };
        let missing = format!("cannot connect to `{path}`: No such file or directory");
        assert_eq!(run(&check(None)), (Outcome::Failure, missing));
        std::fs::write(&path, "").unwrap();
        let no_socket = format!("cannot connect to `{path}`: Connection refused");
        assert_eq!(run(&check(None)), (Outcome::Failure, no_socket));
        std::fs::remove_file(&path).unwrap();
        // An address cannot be this long; from within the directory it is short.
        let bound = container_path::find(None, deep.to_str().unwrap()).unwrap();
        let listener = UnixListener::bind(format!("{}/socket", container_path::path_of(&bound))).unwrap();
        assert_eq!(run(&check(None)), (Outcome::Success, String::new()));
        let server = std::thread::spawn(move || {
            let _ = listener.accept().unwrap();
            let (mut stream, _) = listener.accept().unwrap();
            let request = take_request(&mut stream);
            stream.write_all(b"HTTP/1.1 500 No\r\n\r\nbroken").unwrap();
            request
        });
        assert_eq!(run(&check(Some("/health"))), (Outcome::Failure, "HTTP status 500: broken".to_owned()));
        let request = server.join().unwrap();
        assert!(request.starts_with("GET /health HTTP/1.1\r\nHost: localhost\r\n"), "{request}");
    }
}
