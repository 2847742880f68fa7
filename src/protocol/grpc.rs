//! One call of gRPC's health service over plain HTTP/2 (RFC 9113): `grpc.health.v1.Health/Check`.
//!
//! The least that a client has to know: one stream, whose request is sent with the connection's
//! first bytes, and whose answer is small. What keeps the connection well is answered (SETTINGS,
//! PING), what is about flow is passed over, since neither side sends enough to need it.

use super::Ending;
use super::hpack;
use crate::supervisor::probe::Outcome;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Payload of one frame, as long as nobody agrees to more (`SETTINGS_MAX_FRAME_SIZE`).
const FRAME_BYTES_MAX: usize = 16 * 1024;

/// Bytes of one block of headers, in one frame or several.
const HEADERS_BYTES_MAX: usize = 16 * 1024;

/// Bytes of all that is taken of an answer that needs less than a hundred.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Bytes of the message. The one that is expected has two, behind a head of five.
const MESSAGE_BYTES_MAX: usize = 256;

const OUR_STREAM: u32 = 1;

/// Kinds of frames, RFC 9113 section 6; others are passed over.
mod kind {
    pub(super) const DATA: u8 = 0;
    pub(super) const HEADERS: u8 = 1;
    pub(super) const RST_STREAM: u8 = 3;
    pub(super) const SETTINGS: u8 = 4;
    pub(super) const PUSH_PROMISE: u8 = 5;
    pub(super) const PING: u8 = 6;
    pub(super) const GOAWAY: u8 = 7;
    pub(super) const CONTINUATION: u8 = 9;
}

mod flag {
    pub(super) const ACK: u8 = 0x1;
    pub(super) const END_STREAM: u8 = 0x1;
    pub(super) const END_HEADERS: u8 = 0x4;
    pub(super) const PADDED: u8 = 0x8;
    pub(super) const PRIORITY: u8 = 0x20;
}

/// Our settings: no dynamic table for headers (1), no pushes (2).
const SETTINGS: &[u8] = &[0, 1, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0];

/// The bytes that begin the connection and make the call. `service` is whose health is asked for,
/// at most what a frame holds.
pub fn request(authority: &str, service: &str) -> Vec<u8> {
    let mut headers = Vec::new();
    for (name, value) in [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/grpc.health.v1.Health/Check"),
        (":authority", authority),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("user-agent", super::http::USER_AGENT),
    ] {
        hpack::encode(&mut headers, name, value);
    }
    // HealthCheckRequest { string service = 1; }
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(1 << 3 | 2);
        put_varint(&mut message, service.len());
        message.extend_from_slice(service.as_bytes());
    }
    // Not compressed, and how long it is.
    let mut data = vec![0];
    data.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    data.extend_from_slice(&message);
    let mut bytes = PREFACE.to_vec();
    put_frame(&mut bytes, kind::SETTINGS, 0, 0, SETTINGS);
    put_frame(&mut bytes, kind::HEADERS, flag::END_HEADERS, OUR_STREAM, &headers);
    put_frame(&mut bytes, kind::DATA, flag::END_STREAM, OUR_STREAM, &data);
    bytes
}

fn put_frame(bytes: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let [_, length @ ..] = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    bytes.extend_from_slice(&length);
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
}

/// A number in protobuf's form.
fn put_varint(bytes: &mut Vec<u8>, mut number: usize) {
    while number >= 128 {
        bytes.push((number % 128).to_le_bytes()[0] | 0x80);
        number /= 128;
    }
    bytes.push(number.to_le_bytes()[0]);
}

/// What has come of an answer.
#[derive(Debug, Default)]
pub struct Answer {
    pending: Vec<u8>,
    taken: usize,
    /// The peer's first frame has come.
    begun: bool,
    /// A block of headers that goes on in the next frame, and whether the stream ends with it.
    headers: Option<(Vec<u8>, bool)>,
    message: Vec<u8>,
    http_status: Option<Vec<u8>>,
    grpc_status: Option<Vec<u8>>,
    grpc_message: Vec<u8>,
}

struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Frame {
    fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// What is between the padding, and behind the priority (RFC 9113, sections 6.1 and 6.2).
    fn content(&self) -> Option<&[u8]> {
        let mut content = self.payload.as_slice();
        if self.has(flag::PADDED) {
            let (&padding, rest) = content.split_first()?;
            content = rest.get(..rest.len().checked_sub(usize::from(padding))?)?;
        }
        if self.kind == kind::HEADERS && self.has(flag::PRIORITY) {
            content = content.get(5..)?;
        }
        Some(content)
    }
}

impl Answer {
    /// Takes what has come, and adds to `reply` what is to be sent. `None`: more is needed.
    pub fn receive(&mut self, bytes: &[u8], reply: &mut Vec<u8>) -> Option<Ending> {
        self.pending.extend_from_slice(bytes);
        self.taken = self.taken.saturating_add(bytes.len());
        loop {
            let frame = match self.take_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) if self.taken > ANSWER_BYTES_MAX => {
                    return Some(Ending::failure("the answer is too long"));
                }
                Ok(None) => return None,
                Err(why) => return Some(Ending::failure(why)),
            };
            match self.take(&frame, reply) {
                Ok(false) => {}
                Ok(true) => return Some(self.judge()),
                Err(why) => return Some(Ending::failure(why)),
            }
        }
    }

    /// The connection has ended.
    pub fn end(&self) -> Ending {
        Ending::failure("the connection was closed without an answer")
    }

    fn take_frame(&mut self) -> Result<Option<Frame>, &'static str> {
        let Some(&[a, b, c, kind, flags, d, e, f, g]) = self.pending.first_chunk() else { return Ok(None) };
        let length = u32::from_be_bytes([0, a, b, c]);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > FRAME_BYTES_MAX || (!self.begun && kind != kind::SETTINGS) {
            return Err("the answer is not HTTP/2");
        }
        let Some(payload) = self.pending.get(9..9 + length) else { return Ok(None) };
        let payload = payload.to_vec();
        self.pending.drain(..9 + length);
        self.begun = true;
        let stream = u32::from_be_bytes([d, e, f, g]) & 0x7fff_ffff;
        Ok(Some(Frame { kind, flags, stream, payload }))
    }

    /// Whether the answer is complete.
    fn take(&mut self, frame: &Frame, reply: &mut Vec<u8>) -> Result<bool, String> {
        let broken = || "the answer is not HTTP/2".to_owned();
        if self.headers.is_some() && (frame.kind != kind::CONTINUATION || frame.stream != OUR_STREAM) {
            return Err(broken());
        }
        match frame.kind {
            kind::SETTINGS if !frame.has(flag::ACK) => {
                put_frame(reply, kind::SETTINGS, flag::ACK, 0, &[]);
                Ok(false)
            }
            kind::PING if !frame.has(flag::ACK) => {
                put_frame(reply, kind::PING, flag::ACK, 0, &frame.payload);
                Ok(false)
            }
            kind::GOAWAY => {
                let (last, code) = frame.payload.split_at_checked(4).ok_or_else(broken)?;
                let last = number(last).ok_or_else(broken)? & 0x7fff_ffff;
                let code = number(code).ok_or_else(broken)?;
                // A server that is about to end finishes what it has taken on.
                if last >= OUR_STREAM {
                    Ok(false)
                } else {
                    Err(format!("the server refused the call: HTTP/2 error {code}"))
                }
            }
            kind::RST_STREAM if frame.stream == OUR_STREAM => {
                let code = number(&frame.payload).ok_or_else(broken)?;
                Err(format!("the server reset the call: HTTP/2 error {code}"))
            }
            kind::PUSH_PROMISE => Err(broken()),
            kind::HEADERS if frame.stream == OUR_STREAM => {
                let content = frame.content().ok_or_else(broken)?;
                self.headers = Some((content.to_vec(), frame.has(flag::END_STREAM)));
                self.take_headers(frame.has(flag::END_HEADERS))
            }
            kind::CONTINUATION => {
                let (block, _) = self.headers.as_mut().ok_or_else(broken)?;
                block.extend_from_slice(&frame.payload);
                if block.len() > HEADERS_BYTES_MAX {
                    return Err("the header of the answer is too long".to_owned());
                }
                self.take_headers(frame.has(flag::END_HEADERS))
            }
            kind::DATA if frame.stream == OUR_STREAM => {
                self.message.extend_from_slice(frame.content().ok_or_else(broken)?);
                if self.message.len() > MESSAGE_BYTES_MAX {
                    return Err("the answer is too long for one about health".to_owned());
                }
                Ok(frame.has(flag::END_STREAM))
            }
            _ => Ok(false),
        }
    }

    fn take_headers(&mut self, complete: bool) -> Result<bool, String> {
        if !complete {
            return Ok(false);
        }
        let Some((block, ends)) = self.headers.take() else { return Ok(false) };
        let decoded = hpack::decode(&block, |name, value| match name {
            b":status" => self.http_status = Some(value.to_vec()),
            b"grpc-status" => self.grpc_status = Some(value.to_vec()),
            b"grpc-message" => self.grpc_message = value.to_vec(),
            _ => {}
        });
        decoded.map_err(|hpack::Malformed| "the header of the answer cannot be read".to_owned())?;
        match self.http_status.as_deref() {
            // Interim answers have no end yet.
            Some([b'1', _, _]) if !ends => Ok(false),
            Some(b"200") | None => Ok(ends),
            Some(_) if self.grpc_status.is_some() => Ok(ends),
            Some(status) => Err(format!("HTTP status {}, no gRPC", String::from_utf8_lossy(status))),
        }
    }

    fn judge(&self) -> Ending {
        let Some(status) = &self.grpc_status else { return Ending::failure("the answer has no gRPC status") };
        if status != b"0" {
            let code = String::from_utf8_lossy(status);
            let mut text = format!("gRPC status {code}");
            if let Some(name) = code.parse().ok().and_then(|code: usize| STATUS_NAMES.get(code)) {
                text.push_str(&format!(" ({name})"));
            }
            if code == "12" {
                text.push_str(", the server has no health service");
            }
            if !self.grpc_message.is_empty() {
                text.push_str(": ");
                text.push_str(&super::first_line(&self.grpc_message));
            }
            return Ending::failure(text);
        }
        match self.serving_status() {
            Some(1) => Ending::Judged(Outcome::Success, "SERVING".to_owned()),
            Some(0) => Ending::failure("the service is UNKNOWN"),
            Some(2) => Ending::failure("the service is NOT_SERVING"),
            Some(3) => Ending::failure("the service is SERVICE_UNKNOWN"),
            Some(other) => Ending::failure(format!("the service has health {other}")),
            None => Ending::failure("the answer is none about health"),
        }
    }

    /// `HealthCheckResponse { ServingStatus status = 1; }`; a field that is 0 is not sent.
    fn serving_status(&self) -> Option<u64> {
        let (head, mut message) = self.message.split_at_checked(5)?;
        let (&compressed, length) = head.split_first()?;
        if compressed != 0 || usize::try_from(number(length)?).ok()? != message.len() {
            return None;
        }
        let mut status = 0;
        while !message.is_empty() {
            let key = take_varint(&mut message)?;
            match key & 7 {
                0 => {
                    let value = take_varint(&mut message)?;
                    if key >> 3 == 1 {
                        status = value;
                    }
                }
                2 => {
                    let length = usize::try_from(take_varint(&mut message)?).ok()?;
                    message = message.get(length..)?;
                }
                1 => message = message.get(8..)?,
                5 => message = message.get(4..)?,
                _ => return None,
            }
        }
        Some(status)
    }
}

/// Names of gRPC's codes, from 0.
const STATUS_NAMES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

fn number(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_frame(&mut bytes, kind, flags, stream, payload);
        bytes
    }

    fn headers(pairs: &[(&str, &str)]) -> Vec<u8> {
        let mut block = vec![0x20];
        pairs.iter().for_each(|(name, value)| hpack::encode(&mut block, name, value));
        block
    }

    /// The way servers begin: settings, windows, acknowledgement of ours, a ping.
    fn beginning() -> Vec<u8> {
        let mut bytes = frame(kind::SETTINGS, 0, 0, &[0, 4, 0, 0x40, 0, 0]);
        bytes.extend(frame(8, 0, 0, &[0, 0x3f, 0, 1]));
        bytes.extend(frame(kind::SETTINGS, flag::ACK, 0, &[]));
        bytes.extend(frame(kind::PING, 0, 0, b"12345678"));
        bytes
    }

    fn trailers(pairs: &[(&str, &str)]) -> Vec<u8> {
        frame(kind::HEADERS, flag::END_HEADERS | flag::END_STREAM, OUR_STREAM, &headers(pairs))
    }

    fn whole(message: &[u8], status: &str) -> Vec<u8> {
        let mut bytes = beginning();
        // `:status 200`, of the table.
        bytes.extend(frame(kind::HEADERS, flag::END_HEADERS, OUR_STREAM, &[0x20, 0x88]));
        let mut data = vec![0, 0, 0, 0, message.len().to_le_bytes()[0]];
        data.extend_from_slice(message);
        bytes.extend(frame(kind::DATA, 0, OUR_STREAM, &data));
        bytes.extend(trailers(&[("grpc-status", status), ("grpc-message", "")]));
        bytes
    }

    /// What comes of bytes that come in pieces of `size`, and what was replied.
    fn answer(bytes: &[u8], size: usize) -> (Ending, Vec<u8>) {
        let mut answer = Answer::default();
        let mut reply = Vec::new();
        for piece in bytes.chunks(size) {
            if let Some(ending) = answer.receive(piece, &mut reply) {
                return (ending, reply);
            }
        }
        (answer.end(), reply)
    }

    fn success() -> Ending {
        Ending::Judged(Outcome::Success, "SERVING".to_owned())
    }

    #[test]
    fn only_serving_is_a_success_in_whatever_pieces_it_comes() {
        for (message, status, expected) in [
            (&[8, 1][..], "0", success()),
            (&[0x12, 1, b'x', 8, 1], "0", success()),
            (&[], "0", Ending::failure("the service is UNKNOWN")),
            (&[8, 2], "0", Ending::failure("the service is NOT_SERVING")),
            (&[8, 3], "0", Ending::failure("the service is SERVICE_UNKNOWN")),
            (&[8, 0x80, 1], "0", Ending::failure("the service has health 128")),
            (&[8], "0", Ending::failure("the answer is none about health")),
            (&[8, 1], "5", Ending::failure("gRPC status 5 (NOT_FOUND)")),
            (
                &[8, 1],
                "12",
                Ending::failure("gRPC status 12 (UNIMPLEMENTED), the server has no health service"),
            ),
            (&[8, 1], "99", Ending::failure("gRPC status 99")),
        ] {
            let bytes = whole(message, status);
            for size in [1, 2, 5, 9, 1000] {
                let (ending, reply) = answer(&bytes, size);
                assert_eq!(ending, expected, "{message:?} {status} in pieces of {size}");
                let mut acknowledged = frame(kind::SETTINGS, flag::ACK, 0, &[]);
                acknowledged.extend(frame(kind::PING, flag::ACK, 0, b"12345678"));
                assert_eq!(reply, acknowledged);
            }
        }
    }

    #[test]
    fn headers_may_be_padded_continued_and_alone() {
        let block = headers(&[(":status", "200"), ("grpc-status", "7"), ("grpc-message", "who are you?")]);
        let (first, second) = block.split_at(10);
        let mut padded = vec![3, 0, 0, 0, 0, 9];
        padded.extend_from_slice(first);
        padded.extend_from_slice(&[0; 3]);
        let flags = flag::PADDED | flag::PRIORITY | flag::END_STREAM;
        let mut bytes = beginning();
        bytes.extend(frame(kind::HEADERS, flags, OUR_STREAM, &padded));
        bytes.extend(frame(kind::CONTINUATION, flag::END_HEADERS, OUR_STREAM, second));
        let expected = Ending::failure("gRPC status 7 (PERMISSION_DENIED): who are you?");
        assert_eq!(answer(&bytes, 4).0, expected);
    }

    #[test]
    fn what_is_no_answer_is_a_failure() {
        let with = |more: Vec<u8>| [beginning(), more].concat();
        for (bytes, expected) in [
            (b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), "the answer is not HTTP/2"),
            (frame(kind::PING, 0, 0, &[0; 8]), "the answer is not HTTP/2"),
            (with(frame(kind::PUSH_PROMISE, 4, 1, &[0; 4])), "the answer is not HTTP/2"),
            (with(frame(kind::CONTINUATION, 4, 1, &[])), "the answer is not HTTP/2"),
            (with(frame(kind::HEADERS, flag::PADDED, 1, &[9])), "the answer is not HTTP/2"),
            (with(frame(kind::RST_STREAM, 0, 1, &[0, 0, 0, 8])), "the server reset the call: HTTP/2 error 8"),
            (
                with(frame(kind::GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 11])),
                "the server refused the call: HTTP/2 error 11",
            ),
            (with(trailers(&[(":status", "404")])), "HTTP status 404, no gRPC"),
            (with(trailers(&[(":status", "200")])), "the answer has no gRPC status"),
            (with(frame(kind::HEADERS, 5, 1, &[0xff])), "the header of the answer cannot be read"),
            (with(frame(kind::DATA, 0, 1, &[0; 300])), "the answer is too long for one about health"),
            (
                with(frame(kind::GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0])),
                "the connection was closed without an answer",
            ),
            (beginning(), "the connection was closed without an answer"),
            (
                [beginning(), frame(kind::HEADERS, 0, 1, &[0; 9000]), frame(9, 0, 1, &[0; 9000])].concat(),
                "the header of the answer is too long",
            ),
            (with(frame(8, 0, 0, &[0; 4]).repeat(6000)), "the answer is too long"),
        ] {
            assert_eq!(answer(&bytes, 1000).0, Ending::failure(expected));
        }
    }

    #[test]
    fn a_request_says_whose_health_is_asked_for() {
        let long = "s".repeat(300);
        for (service, expected) in [
            ("", b"\0\0\0\0\0".to_vec()),
            ("app", b"\0\0\0\0\x05\x0a\x03app".to_vec()),
            (long.as_str(), [b"\0\0\0\x01\x2f\x0a\xac\x02", long.as_bytes()].concat()),
        ] {
            let bytes = request("127.0.0.1:9090", service);
            let mut frames =
                Answer { pending: bytes.strip_prefix(PREFACE).unwrap().to_vec(), ..Answer::default() };
            let kinds: Vec<Frame> = core::iter::from_fn(|| frames.take_frame().unwrap()).collect();
            let [settings, headers, data] = kinds.as_slice() else { panic!("not three frames") };
            assert_eq!((settings.kind, headers.kind, data.kind), (kind::SETTINGS, kind::HEADERS, kind::DATA));
            assert_eq!((headers.stream, data.stream, data.flags), (1, 1, flag::END_STREAM));
            assert_eq!(data.payload, expected);
        }
    }

    #[test]
    fn random_bytes_are_survived() {
        let good = whole(&[8, 1], "0");
        let mut seed = 7_u64;
        for _ in 0..20_000 {
            let mut bytes = good.clone();
            for _ in 0..3 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let at = usize::try_from(seed >> 40).unwrap() % bytes.len();
                bytes[at] = seed.to_le_bytes()[4];
            }
            assert_eq!(answer(&bytes, 3).0, answer(&bytes, bytes.len()).0, "{bytes:?}");
        }
    }
}
