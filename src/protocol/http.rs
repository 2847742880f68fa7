//! One HTTP/1.1 GET (RFC 9112) and what its answer says about a container.

use core::fmt::Write as _;
use core::net::SocketAddr;

use super::url::{Elsewhere, Target};
use super::{Ending, first_line};
use crate::limits::CALL_OUTPUT_BYTES_MAX;
use crate::supervisor::probe::Outcome;

/// Bytes of an answer before its body. Larger ones are refused by most servers and proxies, too.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Header lines of an answer.
const HEADERS_MAX: usize = 100;

/// Bytes of one line between the pieces of a chunked body.
const CHUNK_LINE_BYTES_MAX: usize = 1024;

/// How probes call themselves. Many servers know the kubelet's by this name, leave them out of
/// their logs or answer them differently; they are to do the same here.
pub(super) const USER_AGENT: &str = "kube-probe/1.36";

/// The text of a GET. Headers are sent in the order given, after those that every request has.
///
/// `User-Agent` and `Accept` have defaults; one that is given replaces the default, and given
/// empty removes it (Kubernetes: the same). The first `Host` that is given is the one that is
/// sent; `authority` else.
pub fn request(authority: &str, path: &str, headers: &[(String, String)]) -> Vec<u8> {
    let given = |name: &str| headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
    let host = given("Host").map(|(_, value)| value.as_str()).filter(|value| !value.is_empty());
    // Writing to a String cannot fail.
    let mut text = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n", host.unwrap_or(authority));
    for (name, value) in [("User-Agent", USER_AGENT), ("Accept", "*/*")] {
        if given(name).is_none() {
            let _ = write!(text, "{name}: {value}\r\n");
        }
    }
    for (name, value) in headers {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        if is("Host") || (value.is_empty() && (is("User-Agent") || is("Accept"))) {
            continue;
        }
        let _ = write!(text, "{name}: {value}\r\n");
    }
    text.push_str("Connection: close\r\n\r\n");
    text.into_bytes()
}

/// How a server at an address is called in a request.
pub fn authority(target: &Target) -> String {
    match target.port {
        80 if target.host.is_ipv4() => target.host.to_string(),
        port => SocketAddr::new(target.host, port).to_string(),
    }
}

/// What has come of an answer.
#[derive(Debug)]
pub struct Answer {
    /// Who was asked for what; `None` if nobody could be redirected to (a Unix socket).
    asked: Option<Target>,
    /// Bytes that are not understood yet.
    pending: Vec<u8>,
    body: Vec<u8>,
    stage: Stage,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    Head,
    Body { status: u16, remark: &'static str, framing: Framing },
}

/// Where a body ends (RFC 9112, section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// After so many more bytes.
    Length(u64),
    /// After the last chunk; so many bytes of the present one are still to come.
    Chunks { left: u64, first: bool },
    /// With the connection.
    Close,
}

impl Answer {
    /// Nothing has come yet.
    pub fn new(asked: Option<Target>) -> Answer {
        Answer { asked, pending: Vec::new(), body: Vec::new(), stage: Stage::Head }
    }

    /// Takes what has come. `None`: more is needed.
    pub fn receive(&mut self, bytes: &[u8]) -> Option<Ending> {
        self.pending.extend_from_slice(bytes);
        while self.stage == Stage::Head {
            if let Some(ending) = self.read_head()? {
                return Some(ending);
            }
        }
        self.read_body().then(|| self.judge())
    }

    /// The connection has ended. A status that was understood counts, whatever became of the body.
    pub fn end(&self) -> Ending {
        match self.stage {
            Stage::Head if self.pending.is_empty() => {
                Ending::failure("the connection was closed without an answer")
            }
            Stage::Head => Ending::failure("the connection was closed within the header of the answer"),
            Stage::Body { .. } => self.judge(),
        }
    }

    /// Whether a status has come: then the end of the connection is no failure by itself.
    pub fn has_status(&self) -> bool {
        self.stage != Stage::Head
    }

    /// `None`: more is needed. `Some(None)`: the stage has changed, or an interim answer is over.
    fn read_head(&mut self) -> Option<Option<Ending>> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        let length = match response.parse(&self.pending) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if self.pending.len() < HEAD_BYTES_MAX => return None,
            Ok(httparse::Status::Partial) => {
                let why = format!("the header of the answer has more than {} KiB", HEAD_BYTES_MAX / 1024);
                return Some(Some(Ending::failure(why)));
            }
            Err(httparse::Error::TooManyHeaders) => {
                let why = format!("the answer has more than {HEADERS_MAX} header lines");
                return Some(Some(Ending::failure(why)));
            }
            Err(_) => return Some(Some(Ending::failure("the answer is not HTTP"))),
        };
        let status = response.code.unwrap_or_default();
        let find = |name: &str| {
            let found = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
            found.map(|header| String::from_utf8_lossy(header.value).trim().to_owned())
        };
        let framing =
            framing(status, find("Transfer-Encoding").as_deref(), find("Content-Length").as_deref());
        let location = find("Location");
        self.pending.drain(..length);
        if (100..200).contains(&status) && status != 101 {
            // Interim: the answer proper is still to come.
            return Some(None);
        }
        let Some(framing) = framing else {
            return Some(Some(Ending::failure("the answer does not say how long it is")));
        };
        let remark = match (status, &self.asked, location) {
            (301 | 302 | 303 | 307 | 308, Some(asked), Some(location)) => match asked.resolve(&location) {
                Ok(target) => return Some(Some(Ending::Redirected(target))),
                Err(Elsewhere::Host) => ", a redirect to another host, which is not followed",
                Err(Elsewhere::Scheme) => ", a redirect to another scheme, which is not followed",
                Err(Elsewhere::Invalid) => {
                    return Some(Some(Ending::failure(format!(
                        "HTTP status {status}, a redirect to what is no URL"
                    ))));
                }
            },
            (300..=399, None, Some(_)) => ", a redirect, which is not followed",
            (300..=399, _, None) => ", a redirect that says not where to",
            _ => "",
        };
        self.stage = Stage::Body { status, remark, framing };
        Some(None)
    }

    /// Whether all of the body has come that is wanted.
    fn read_body(&mut self) -> bool {
        let Stage::Body { framing, .. } = &mut self.stage else { return false };
        loop {
            let room = CALL_OUTPUT_BYTES_MAX.saturating_sub(self.body.len());
            if room == 0 {
                return true;
            }
            let take = |pending: &mut Vec<u8>, body: &mut Vec<u8>, most: u64| {
                let count = usize::try_from(most).unwrap_or(usize::MAX).min(pending.len());
                body.extend(pending.drain(..count).take(room));
                count as u64
            };
            match framing {
                Framing::Length(left) => {
                    *left -= take(&mut self.pending, &mut self.body, *left);
                    return *left == 0;
                }
                Framing::Close => {
                    take(&mut self.pending, &mut self.body, u64::MAX);
                    return self.body.len() >= CALL_OUTPUT_BYTES_MAX;
                }
                Framing::Chunks { left, first } if *left == 0 => {
                    // The line break behind the chunk before.
                    let skipped = if *first { 0 } else { 2 };
                    let Some(line) = self.pending.get(skipped..) else { return false };
                    match httparse::parse_chunk_size(line) {
                        Ok(httparse::Status::Complete((length, size))) if size > 0 => {
                            self.pending.drain(..skipped + length);
                            *framing = Framing::Chunks { left: size, first: false };
                        }
                        Ok(httparse::Status::Partial) => return self.pending.len() > CHUNK_LINE_BYTES_MAX,
                        // The last one; or nonsense, and then what came before counts.
                        Ok(httparse::Status::Complete(_)) | Err(_) => return true,
                    }
                }
                Framing::Chunks { left, .. } => {
                    let count = take(&mut self.pending, &mut self.body, *left);
                    *left -= count;
                    if count == 0 {
                        return false;
                    }
                }
            }
        }
    }

    fn judge(&self) -> Ending {
        let Stage::Body { status, remark, .. } = self.stage else { return self.end() };
        let said = first_line(&self.body);
        match status {
            200..=299 => Ending::Judged(Outcome::Success, said),
            300..=399 => {
                Ending::Judged(Outcome::Warning, with_said(format!("HTTP status {status}{remark}"), &said))
            }
            _ => Ending::failure(with_said(format!("HTTP status {status}"), &said)),
        }
    }
}

fn with_said(mut text: String, said: &str) -> String {
    if !said.is_empty() {
        text.push_str(": ");
        text.push_str(said);
    }
    text
}

/// `None`: what the headers say makes no sense.
fn framing(status: u16, encoding: Option<&str>, length: Option<&str>) -> Option<Framing> {
    match (status, encoding, length) {
        (..=199 | 204 | 304, _, _) => Some(Framing::Length(0)),
        (_, Some(encoding), _) => {
            let last = encoding.rsplit(',').next().unwrap_or_default().trim();
            let chunked = last.eq_ignore_ascii_case("chunked");
            Some(if chunked { Framing::Chunks { left: 0, first: true } } else { Framing::Close })
        }
        (_, None, Some(length)) => length.parse().ok().map(Framing::Length),
        (_, None, None) => Some(Framing::Close),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> Target {
        Target { host: "127.0.0.1".parse().unwrap(), port: 8080, path: "/".to_owned() }
    }

    /// What comes of an answer that comes in pieces of `size`, and then ends.
    fn answer(bytes: &[u8], size: usize) -> Ending {
        let mut answer = Answer::new(Some(asked()));
        for piece in bytes.chunks(size) {
            if let Some(ending) = answer.receive(piece) {
                return ending;
            }
        }
        answer.end()
    }

    fn success(said: &str) -> Ending {
        Ending::Judged(Outcome::Success, said.to_owned())
    }

    fn warning(said: &str) -> Ending {
        Ending::Judged(Outcome::Warning, said.to_owned())
    }

    #[test]
    fn an_answer_is_judged_by_its_status_in_whatever_pieces_it_comes() {
        for (text, expected) in [
            ("HTTP/1.1 200 OK\r\n\r\n", success("")),
            ("HTTP/1.0 204\r\n\r\n", success("")),
            ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfine\nmoreover", success("fine")),
            ("HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\ncut sh", success("cut sh")),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nwel\r\n1;x=y\r\nl\r\n0\r\n\r\nno",
                success("well"),
            ),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n2\r\nokzz", success("ok")),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense", success("")),
            (
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\n\r\nx",
                success("x"),
            ),
            ("HTTP/1.1 404 Not Found\r\n\r\n", Ending::failure("HTTP status 404")),
            ("HTTP/1.1 500 No\r\n\r\n\r\n  fail body\r\n", Ending::failure("HTTP status 500: fail body")),
            ("HTTP/1.1 101 Switching\r\n\r\n", Ending::failure("HTTP status 101")),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
                Ending::failure("the answer does not say how long it is"),
            ),
            ("220 smtp ready\r\n", Ending::failure("the answer is not HTTP")),
            (
                "HTTP/1.1 200 OK\r\nA: b\r\n",
                Ending::failure("the connection was closed within the header of the answer"),
            ),
            ("", Ending::failure("the connection was closed without an answer")),
        ] {
            for size in [1, 2, 3, 7, 1000] {
                assert_eq!(answer(text.as_bytes(), size), expected, "{text:?} in pieces of {size}");
            }
        }
    }

    #[test]
    fn a_redirect_is_followed_or_counts_itself() {
        let redirect = |status: u16, location: &str| {
            answer(format!("HTTP/1.1 {status} X\r\n{location}Content-Length: 2\r\n\r\nok").as_bytes(), 5)
        };
        for status in [301, 302, 303, 307, 308] {
            let new = Target { path: "/new".to_owned(), ..asked() };
            assert_eq!(redirect(status, "Location: /new\r\n"), Ending::Redirected(new));
        }
        for (status, location, expected) in [
            (
                302,
                "Location: http://0.0.0.0:8080/\r\n",
                warning("HTTP status 302, a redirect to another host, which is not followed: ok"),
            ),
            (
                302,
                "Location: https://127.0.0.1/\r\n",
                warning("HTTP status 302, a redirect to another scheme, which is not followed: ok"),
            ),
            (308, "", warning("HTTP status 308, a redirect that says not where to: ok")),
            (304, "", warning("HTTP status 304, a redirect that says not where to")),
            (300, "Location: /x\r\n", warning("HTTP status 300: ok")),
            (302, "Location: /a b\r\n", Ending::failure("HTTP status 302, a redirect to what is no URL")),
        ] {
            assert_eq!(redirect(status, location), expected);
        }
    }

    #[test]
    fn endless_answers_are_bounded() {
        let mut answer = Answer::new(None);
        assert_eq!(answer.receive(b"HTTP/1.1 200 OK\r\n"), None);
        let ending = (0..=HEADERS_MAX).find_map(|_| answer.receive(b"X-Padding: more\r\n"));
        let expected = Ending::failure("the answer has more than 100 header lines");
        assert_eq!(ending, Some(expected));
        let mut answer = Answer::new(None);
        assert_eq!(answer.receive(b"HTTP/1.1 200 OK\r\nA: "), None);
        let ending = (0..100).find_map(|_| answer.receive(&[b'a'; 1000]));
        assert_eq!(ending, Some(Ending::failure("the header of the answer has more than 16 KiB")));
        for head in ["Content-Length: 99999999999", "Transfer-Encoding: chunked\r\n\r\nffffffff", "A: b"] {
            let mut answer = Answer::new(None);
            assert_eq!(answer.receive(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n").as_bytes()), None);
            let ending = (0..100).find_map(|_| answer.receive(&[b'a'; 1000]));
            let Some(Ending::Judged(Outcome::Success, said)) = ending else { panic!("{head}: no success") };
            assert!(said.len() > CALL_OUTPUT_BYTES_MAX - 10 && said.len() <= CALL_OUTPUT_BYTES_MAX, "{head}");
            assert!(answer.pending.len() <= 1000, "{head}");
        }
    }

    #[test]
    fn a_request_has_its_defaults_and_the_headers_of_the_configuration() {
        let lines = |headers: &[(&str, &str)]| {
            let headers: Vec<_> =
                headers.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
            let text = String::from_utf8(request("10.0.0.7:80", "/x?y", &headers)).unwrap();
            let text = text.strip_prefix("GET /x?y HTTP/1.1\r\n").unwrap().strip_suffix("\r\n\r\n").unwrap();
            text.split("\r\n").map(str::to_owned).collect::<Vec<_>>()
        };
        let (host, agent) = ("Host: 10.0.0.7:80", "User-Agent: kube-probe/1.36");
        let (accept, close) = ("Accept: */*", "Connection: close");
        for (headers, expected) in [
            (&[][..], &[host, agent, accept, close][..]),
            (&[("user-agent", "")], &[host, accept, close]),
            (&[("User-Agent", "foo/1.0"), ("accept", "")], &[host, "User-Agent: foo/1.0", close]),
            (&[("Accept", "text/html")], &[host, agent, "Accept: text/html", close]),
            (&[("Accept-Encoding", "")], &[host, agent, accept, "Accept-Encoding: ", close]),
            (&[("A", "1"), ("A", "2")], &[host, agent, accept, "A: 1", "A: 2", close]),
            (&[("host", "app.example"), ("Host", "b")], &["Host: app.example", agent, accept, close]),
            (&[("Host", "")], &[host, agent, accept, close]),
        ] {
            assert_eq!(lines(headers), expected, "{headers:?}");
        }
    }

    #[test]
    fn random_bytes_are_survived() {
        let mut seed = 1_u64;
        for _ in 0..2000 {
            let mut bytes =
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n".to_vec();
            for _ in 0..4 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let at = usize::try_from(seed >> 40).unwrap() % bytes.len();
                bytes[at] = seed.to_le_bytes()[4];
            }
            let expected = answer(&bytes, bytes.len());
            assert_eq!(answer(&bytes, 3), expected, "{bytes:?}");
        }
    }
}
