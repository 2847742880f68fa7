//! What the supervisor and the log writer tell each other: one message a packet, at most
//! [`MESSAGE_BYTES_MAX`] bytes. Both ends are the same binary, so there is no version; what does
//! not decode is a fault, not an older format.

use core::fmt;
use std::path::Path;

use super::stream::{Labels, Source, Standard, StreamId};
use super::terminal::Names;
use crate::limits::{LAST_LINES_BYTES_MAX, STREAMS_MAX};

/// Longest path of the log directory, in bytes (`PATH_MAX` without its NUL).
pub const PATH_BYTES_MAX: usize = 4095;

/// Longest message, in bytes: a greeting with the longest path.
pub const MESSAGE_BYTES_MAX: usize = 4 + PATH_BYTES_MAX;

const GREETING: u8 = 1;
const OPEN: u8 = 2;
const DRAINED: u8 = 3;
const LAST_LINES: u8 = 4;

/// From the supervisor to the log writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToLogWriter<'a> {
    /// The first message.
    Greeting {
        /// Where the containers' lines go.
        destination: Destination<'a>,
        /// How containers are named on a terminal.
        names: Names,
    },
    /// A stream to read from now on. Its read end comes with the message.
    Open {
        /// How the stream will be named in reports.
        stream: StreamId,
        /// Where it comes from.
        source: Source<'a>,
    },
}

/// Where the containers' lines go. The supervisor's own lines go to standard error in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination<'a> {
    /// To standard output and standard error, with the container's name before each line.
    Terminal,
    /// To files in the CRI log format below this directory: an absolute path in UTF-8 (as
    /// configuration files are), of at most [`PATH_BYTES_MAX`] bytes.
    Files(&'a Path),
}

/// From the log writer to the supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FromLogWriter<'a> {
    /// Nobody can write to this stream any more, and what it held is written.
    Drained(StreamId),
    /// How the output of an instance has ended, where that was asked for: at most
    /// `LAST_LINES_BYTES_MAX` bytes of any value. Comes before the second of its streams is
    /// reported as drained.
    LastLines(Ending, &'a [u8]),
}

/// Whose output has ended: see [`Labels`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Position of the container in the plan.
    pub position: u16,
    /// How often it was restarted before.
    pub instance: u32,
}

/// Bytes that are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(&'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "malformed message: {}", self.0)
    }
}

impl std::error::Error for Malformed {}

impl<'a> ToLogWriter<'a> {
    /// The message as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match *self {
            ToLogWriter::Greeting { destination, names } => {
                bytes.extend_from_slice(&[GREETING, names.width, u8::from(names.with_pod)]);
                match destination {
                    Destination::Terminal => bytes.push(0),
                    Destination::Files(directory) => {
                        bytes.push(1);
                        bytes.extend_from_slice(directory.as_os_str().as_encoded_bytes());
                    }
                }
            }
            ToLogWriter::Open { stream, source } => {
                bytes.push(OPEN);
                bytes.extend_from_slice(&stream.0.to_le_bytes());
                match source {
                    Source::Supervisor => bytes.push(0),
                    Source::Container { labels, standard } => {
                        bytes.push(match standard {
                            Standard::Output => 1,
                            Standard::Error => 2,
                        });
                        bytes.extend_from_slice(&labels.instance.to_le_bytes());
                        bytes.extend_from_slice(&labels.position.to_le_bytes());
                        bytes.push(u8::from(labels.last_lines));
                        bytes.extend_from_slice(labels.pod.as_bytes());
                        bytes.push(b'/');
                        bytes.extend_from_slice(labels.container.as_bytes());
                    }
                }
            }
        }
        bytes
    }

    /// The message that these bytes are.
    pub fn decode(bytes: &'a [u8]) -> Result<ToLogWriter<'a>, Malformed> {
        let mut fields = Fields(bytes);
        match fields.byte()? {
            GREETING => {
                let width = fields.byte()?;
                let with_pod = match fields.byte()? {
                    0 => false,
                    1 => true,
                    _ => return Err(Malformed("form of names")),
                };
                let destination = match fields.byte()? {
                    0 => fields.end().map(|()| Destination::Terminal)?,
                    1 => Destination::Files(directory(fields.0)?),
                    _ => return Err(Malformed("destination")),
                };
                Ok(ToLogWriter::Greeting { destination, names: Names { width, with_pod } })
            }
            OPEN => {
                let stream = fields.stream()?;
                let source = match fields.byte()? {
                    0 => fields.end().map(|()| Source::Supervisor)?,
                    1 => Source::Container { labels: fields.labels()?, standard: Standard::Output },
                    2 => Source::Container { labels: fields.labels()?, standard: Standard::Error },
                    _ => return Err(Malformed("source")),
                };
                Ok(ToLogWriter::Open { stream, source })
            }
            _ => Err(Malformed("kind")),
        }
    }
}

impl<'a> FromLogWriter<'a> {
    /// The message as bytes.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            FromLogWriter::Drained(stream) => {
                let [low, high] = stream.0.to_le_bytes();
                vec![DRAINED, low, high]
            }
            FromLogWriter::LastLines(Ending { position, instance }, lines) => {
                let mut bytes = vec![LAST_LINES];
                bytes.extend_from_slice(&position.to_le_bytes());
                bytes.extend_from_slice(&instance.to_le_bytes());
                bytes.extend_from_slice(lines);
                bytes
            }
        }
    }

    /// The message that these bytes are.
    pub fn decode(bytes: &'a [u8]) -> Result<FromLogWriter<'a>, Malformed> {
        let mut fields = Fields(bytes);
        match fields.byte()? {
            DRAINED => {
                let stream = fields.stream()?;
                fields.end()?;
                Ok(FromLogWriter::Drained(stream))
            }
            LAST_LINES => {
                let position = u16::from_le_bytes(fields.array()?);
                let instance = u32::from_le_bytes(fields.array()?);
                if fields.0.len() > LAST_LINES_BYTES_MAX {
                    return Err(Malformed("too long"));
                }
                Ok(FromLogWriter::LastLines(Ending { position, instance }, fields.0))
            }
            _ => Err(Malformed("kind")),
        }
    }
}

fn directory(bytes: &[u8]) -> Result<&Path, Malformed> {
    if bytes.len() > PATH_BYTES_MAX || bytes.contains(&0) || !bytes.starts_with(b"/") {
        return Err(Malformed("log directory"));
    }
    core::str::from_utf8(bytes).map(Path::new).map_err(|_| Malformed("log directory"))
}

/// What has not been decoded yet.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (field, rest) = self.0.split_first_chunk::<N>().ok_or(Malformed("too short"))?;
        self.0 = rest;
        Ok(*field)
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        self.array().map(|[byte]| byte)
    }

    fn stream(&mut self) -> Result<StreamId, Malformed> {
        let stream = StreamId(u16::from_le_bytes(self.array()?));
        if stream.index() < STREAMS_MAX { Ok(stream) } else { Err(Malformed("stream")) }
    }

    fn labels(&mut self) -> Result<Labels<'a>, Malformed> {
        let instance = u32::from_le_bytes(self.array()?);
        let position = u16::from_le_bytes(self.array()?);
        let last_lines = match self.byte()? {
            0 => false,
            1 => true,
            _ => return Err(Malformed("last lines")),
        };
        let names = core::str::from_utf8(self.0).ok().and_then(|names| names.split_once('/'));
        let (pod, container) = names.ok_or(Malformed("names"))?;
        let labels = Labels { pod, container, instance, position, last_lines };
        if labels.are_valid() { Ok(labels) } else { Err(Malformed("names")) }
    }

    fn end(&self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed("too long")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::NAME_MAX;

    #[test]
    fn messages_survive_the_way() {
        let longest = "a".repeat(NAME_MAX);
        let names = Names { width: 40, with_pod: true };
        let short = Names { width: 9, with_pod: false };
        let path = format!("/{}", "x".repeat(PATH_BYTES_MAX - 1));
        let labels = Labels {
            pod: &longest,
            container: &longest,
            instance: u32::MAX,
            position: u16::MAX,
            last_lines: true,
        };
        let source = |standard| Source::Container { labels, standard };
        let last = StreamId(u16::try_from(STREAMS_MAX - 1).unwrap());
        let messages = [
            ToLogWriter::Greeting { destination: Destination::Terminal, names },
            ToLogWriter::Greeting { destination: Destination::Files(Path::new("/")), names: short },
            ToLogWriter::Greeting { destination: Destination::Files(Path::new(&path)), names },
            ToLogWriter::Open { stream: StreamId::SUPERVISOR, source: Source::Supervisor },
            ToLogWriter::Open { stream: StreamId(259), source: source(Standard::Output) },
            ToLogWriter::Open { stream: last, source: source(Standard::Error) },
        ];
        for message in messages {
            let bytes = message.encode();
            assert!(bytes.len() <= MESSAGE_BYTES_MAX);
            assert_eq!(ToLogWriter::decode(&bytes), Ok(message));
        }
        for stream in [StreamId(0), StreamId(258), last] {
            let message = FromLogWriter::Drained(stream);
            assert_eq!(FromLogWriter::decode(&message.encode()), Ok(message));
        }
        for lines in [b"".as_slice(), b"\xff\n", &[b'x'; LAST_LINES_BYTES_MAX]] {
            let message = FromLogWriter::LastLines(Ending { position: u16::MAX, instance: u32::MAX }, lines);
            let bytes = message.encode();
            assert!(bytes.len() <= MESSAGE_BYTES_MAX);
            assert_eq!(FromLogWriter::decode(&bytes), Ok(message));
        }
    }

    #[test]
    fn garbage_is_refused() {
        let too_long_path = [b"\x01\x09\x00\x01/".to_vec(), vec![b'x'; PATH_BYTES_MAX]].concat();
        let cases: &[(&[u8], &str)] = &[
            (b"", "too short"),
            (b"\x00", "kind"),
            (b"\x03\x01\x00", "kind"),
            (b"\x01\x09\x00", "too short"),
            (b"\x01\x09\x02\x00", "form of names"),
            (b"\x01\x09\x00\x02", "destination"),
            (b"\x01\x09\x00\x00x", "too long"),
            (b"\x01\x09\x00\x01", "log directory"),
            (b"\x01\x09\x00\x01logs", "log directory"),
            (b"\x01\x09\x00\x01/lo\x00gs", "log directory"),
            (b"\x01\x09\x00\x01/\xff", "log directory"),
            (&too_long_path, "log directory"),
            (b"\x02\x01", "too short"),
            (b"\x02\xff\xff\x00", "stream"),
            (b"\x02\x00\x00\x03", "source"),
            (b"\x02\x00\x00\x00x", "too long"),
            (b"\x02\x01\x00\x01\x00\x00\x00", "too short"),
            (b"\x02\x01\x00\x01\x00\x00\x00\x00\x00\x00", "too short"),
            (b"\x02\x01\x00\x01\x00\x00\x00\x00\x00\x00\x02", "last lines"),
            (b"\x02\x01\x00\x01\x00\x00\x00\x00\x00\x00\x01", "names"),
            (b"\x02\x01\x00\x01\x00\x00\x00\x00\x00\x00\x00pod", "names"),
            (b"\x02\x01\x00\x01\x00\x00\x00\x00\x00\x00\x00pod/", "names"),
            (b"\x02\x01\x00\x01\x00\x00\x00\x00\x00\x00\x00../..", "names"),
            (b"\x02\x01\x00\x01\x00\x00\x00\x00\x00\x00\x00a/b/c", "names"),
            (b"\x02\x01\x00\x01\x00\x00\x00\x00\x00\x00\x00a/\xff", "names"),
        ];
        for (bytes, reason) in cases {
            assert_eq!(ToLogWriter::decode(bytes), Err(Malformed(reason)), "{bytes:?}");
        }
        let too_many_lines = [[4; 7].to_vec(), vec![b'x'; LAST_LINES_BYTES_MAX + 1]].concat();
        let cases: &[(&[u8], &str)] = &[
            (b"", "too short"),
            (b"\x02\x01\x00", "kind"),
            (b"\x03\x01", "too short"),
            (b"\x03\x01\x00\x00", "too long"),
            (b"\x03\xff\xff", "stream"),
            (b"\x04\x01\x00\x01\x00\x00", "too short"),
            (&too_many_lines, "too long"),
        ];
        for (bytes, reason) in cases {
            assert_eq!(FromLogWriter::decode(bytes), Err(Malformed(reason)), "{bytes:?}");
        }
        assert_eq!(Malformed("kind").to_string(), "malformed message: kind");
    }
}
