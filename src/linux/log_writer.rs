//! The helper process `outrigger log-writer`: reads the streams of all containers and of the
//! supervisor, and writes their lines to standard output and error or to log files.
//!
//! It is a process of its own so that a terminal stopped with Ctrl-S, a slow flash chip or a
//! flood of output can stop only itself (and, once their pipes are full, the containers that
//! write), never the supervisor. It decides nothing: it ends when the supervisor closes the
//! socket, and not by a signal.

use std::fs::{File, Metadata};
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::socket::MsgFlags;
use nix::unistd::read;

use super::clock::wall_time;
use super::log_sink::Sink;
use super::log_socket::{self, Buffer, Received};
use crate::log::cri;
use crate::log::last_lines::LastLines;
use crate::log::line::{Lines, Piece};
use crate::log::message::{Destination, Ending, FromLogWriter, MESSAGE_BYTES_MAX, ToLogWriter};
use crate::log::stream::{Labels, Source, Standard, StreamId};
use crate::log::terminal::{Column, Names, Style};
use crate::log::wall_time::WallTime;

/// Read from one stream in one turn, in bytes: what a pipe holds unless somebody has resized it
/// (pipe(7)). A stream that has more waits until all others had their turn.
const READ_BYTES_MAX: usize = 64 * 1024;

/// Read from one stream at the end, in bytes: the largest pipe that an unprivileged process can
/// make (`/proc/sys/fs/pipe-max-size`). A forgotten process may write faster than we read.
const DRAIN_BYTES_MAX: usize = 1 << 20;

/// Streams served in one turn; with the batch of each sink it bounds what a turn holds.
const EVENTS_MAX: usize = 16;

/// What an event is about if not about a stream.
const SOCKET: u64 = u64::MAX;

/// Standard output and error of the process.
#[derive(Debug)]
pub struct Settings {
    /// What containers say on their standard output goes here.
    pub stdout: StandardFile,
    /// What they say on their standard error, and what the supervisor says, goes here.
    pub stderr: StandardFile,
}

/// An open file and how to write to it.
#[derive(Debug)]
pub struct StandardFile {
    /// The open file.
    pub file: File,
    /// What it is.
    pub style: Style,
}

impl Settings {
    /// Descriptors 1 and 2. Terminals get colours, unless `NO_COLOR` is set to something
    /// (<https://no-color.org>) or `TERM` is `dumb`. The journal is known by `JOURNAL_STREAM`, which
    /// names the device and inode of its socket (systemd.exec(5)). Fails with `EMFILE`, or `EBADF` if closed.
    pub fn of_this_process() -> io::Result<Settings> {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let colour = !no_color && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let journal = std::env::var("JOURNAL_STREAM").unwrap_or_default();
        let standard_file = |file: OwnedFd| {
            let (terminal, file) = (file.is_terminal(), File::from(file));
            let place = |meta: Metadata| format!("{}:{}", meta.dev(), meta.ino());
            let journal = file.metadata().is_ok_and(|meta| place(meta) == journal);
            StandardFile { file, style: Style { terminal, colour: terminal && colour, journal } }
        };
        Ok(Settings {
            stdout: standard_file(io::stdout().as_fd().try_clone_to_owned()?),
            stderr: standard_file(io::stderr().as_fd().try_clone_to_owned()?),
        })
    }
}

/// Runs until the supervisor closes its end of `socket`, then writes what the streams still hold.
///
/// SIGINT, SIGTERM, SIGHUP, SIGQUIT and SIGPIPE are blocked from now on in the calling thread:
/// Ctrl-C reaches the whole foreground process group, but only the supervisor decides what
/// happens then. Fails when the supervisor sends what is no message, or a stream for which there
/// is no descriptor left (`RLIMIT_NOFILE`); what the streams hold is written even then.
pub fn run(socket: OwnedFd, settings: Settings) -> io::Result<()> {
    block_signals()?;
    // Executed as /proc/self/exe, whose name nobody would look for. Fails for no name.
    let _ = nix::sys::prctl::set_name(c"outrigger");
    let mut log_writer = LogWriter::new(socket, settings)?;
    let outcome = loop {
        match log_writer.turn() {
            Ok(true) => {}
            Ok(false) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    log_writer.drain();
    outcome
}

/// Blocked and not ignored: that needs no unsafe call, and no handler is ever wanted.
fn block_signals() -> nix::Result<()> {
    let signals = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGPIPE];
    signals.into_iter().collect::<SigSet>().thread_block()
}

struct LogWriter {
    epoll: Epoll,
    socket: OwnedFd,
    sinks: Sinks,
    /// By [`StreamId`].
    streams: Vec<Option<Stream>>,
    /// Streams that ended in this turn.
    ended: Vec<(StreamId, Outlet)>,
    buffer: Box<[u8]>,
}

struct Stream {
    read_end: OwnedFd,
    lines: Lines,
    outlet: Outlet,
}

/// How a stream's lines look, and which sink they go to.
struct Outlet {
    column: Column,
    standard: Standard,
    /// Position in [`Sinks::logs`]; `None` is standard output or error.
    log: Option<usize>,
    /// Whose last lines are kept, if they are.
    ending: Option<Ending>,
}

/// What one read of a stream gave.
enum Progress {
    Bytes(usize),
    Nothing,
    End,
}

impl LogWriter {
    fn new(socket: OwnedFd, settings: Settings) -> io::Result<LogWriter> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, SOCKET))?;
        Ok(LogWriter {
            epoll,
            socket,
            sinks: Sinks::new(settings)?,
            streams: Vec::new(),
            ended: Vec::new(),
            buffer: vec![0; READ_BYTES_MAX].into(),
        })
    }

    /// Waits for something to do and does it. False when the supervisor has closed the socket.
    fn turn(&mut self) -> io::Result<bool> {
        let mut events = [EpollEvent::empty(); EVENTS_MAX];
        let count = match self.epoll.wait(&mut events, EpollTimeout::NONE) {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(error) => return Err(error.into()),
        };
        let mut open = true;
        for event in events.iter().take(count) {
            match u16::try_from(event.data()) {
                Ok(id) => self.serve(StreamId(id)),
                Err(_) => open = self.receive()?,
            }
        }
        self.sinks.flush();
        self.report_ended();
        Ok(open)
    }

    /// Takes all messages. False at the end of them.
    fn receive(&mut self) -> io::Result<bool> {
        let mut buffer: Buffer = [0; MESSAGE_BYTES_MAX + 1];
        loop {
            match log_socket::receive(self.socket.as_fd(), &mut buffer)? {
                Received::Nothing => return Ok(true),
                Received::End => return Ok(false),
                Received::Message(length, descriptor) => {
                    let bytes = buffer.get(..length).unwrap_or_default();
                    let message = ToLogWriter::decode(bytes).map_err(invalid)?;
                    match (message, descriptor) {
                        (ToLogWriter::Greeting { destination, names }, None) => {
                            self.sinks.set_destination(destination, names);
                        }
                        (ToLogWriter::Open { stream, source }, Some(read_end)) => {
                            self.open(stream, source, read_end)?;
                        }
                        (ToLogWriter::Greeting { .. }, Some(_)) => {
                            return Err(invalid("a greeting came with a descriptor"));
                        }
                        (ToLogWriter::Open { .. }, None) => {
                            return Err(invalid("a stream came without its descriptor"));
                        }
                    }
                }
            }
        }
    }

    fn open(&mut self, stream: StreamId, source: Source<'_>, read_end: OwnedFd) -> io::Result<()> {
        // Its range is checked by `decode`.
        if self.streams.len() <= stream.index() {
            self.streams.resize_with(stream.index() + 1, || None);
        }
        match self.streams.get_mut(stream.index()) {
            Some(place @ None) => {
                self.epoll.add(&read_end, EpollEvent::new(EpollFlags::EPOLLIN, u64::from(stream.0)))?;
                let outlet = self.sinks.outlet(source);
                *place = Some(Stream { read_end, lines: Lines::default(), outlet });
                Ok(())
            }
            Some(Some(_)) | None => Err(invalid("a stream was opened twice")),
        }
    }

    /// Reads once from a stream that is readable or at its end.
    fn serve(&mut self, id: StreamId) {
        match self.read(id) {
            Progress::Bytes(_) | Progress::Nothing => {}
            Progress::End => {
                if let Some(stream) = self.streams.get_mut(id.index()).and_then(Option::take) {
                    // Closing would not do: the supervisor has the same open file (epoll(7)).
                    let _ = self.epoll.delete(&stream.read_end);
                    self.ended.push((id, stream.outlet));
                }
            }
        }
    }

    fn read(&mut self, id: StreamId) -> Progress {
        let Some(Some(stream)) = self.streams.get_mut(id.index()) else { return Progress::Nothing };
        match read(&stream.read_end, &mut self.buffer) {
            Err(Errno::EAGAIN | Errno::EINTR) => Progress::Nothing,
            // Reading from a pipe has no other errors that could pass.
            Ok(0) | Err(_) => {
                self.sinks.finish(stream);
                Progress::End
            }
            Ok(length) => {
                self.sinks.push(stream, self.buffer.get(..length).unwrap_or_default());
                Progress::Bytes(length)
            }
        }
    }

    /// Reports streams that ended, now that their last lines are written.
    fn report_ended(&mut self) {
        for (id, outlet) in self.ended.drain(..) {
            self.sinks.release(&outlet);
            if let Some((ending, lines)) = outlet.ending.and_then(|ending| self.sinks.end(ending)) {
                let message = FromLogWriter::LastLines(ending, &lines).encode();
                let _ = log_socket::send(self.socket.as_fd(), &message, None, MsgFlags::empty());
            }
            let message = FromLogWriter::Drained(id).encode();
            // It only fails if the supervisor is gone, which the next turn finds out.
            let _ = log_socket::send(self.socket.as_fd(), &message, None, MsgFlags::empty());
        }
        self.sinks.flush();
    }

    /// Writes what the streams hold, without waiting for their ends: a process that nobody
    /// remembers may keep a pipe open for ever. The supervisor's stream has the lowest id and
    /// comes last, so that its last word does.
    fn drain(&mut self) {
        for id in (0..self.streams.len()).rev().filter_map(|id| u16::try_from(id).ok()).map(StreamId) {
            let mut left = DRAIN_BYTES_MAX;
            while let Progress::Bytes(length) = self.read(id) {
                left = left.saturating_sub(length);
                if left == 0 {
                    break;
                }
            }
            if let Some(Some(stream)) = self.streams.get_mut(id.index()) {
                self.sinks.finish(stream);
            }
        }
        self.sinks.flush();
        self.sinks.release_all();
        self.sinks.flush();
    }
}

/// All sinks.
struct Sinks {
    stdout: Sink,
    /// `None` if standard output and error are the same file (`2>&1`, or one terminal): one batch
    /// for both keeps their lines in order.
    stderr: Option<Sink>,
    logs: Vec<Option<Log>>,
    /// The last lines of instances, and how many of their streams are open.
    endings: Vec<(Ending, LastLines, u8)>,
    names: Names,
    /// `None`: containers' lines go to standard output and error.
    directory: Option<PathBuf>,
}

/// The log file of one instance of a container.
struct Log {
    sink: Sink,
    /// Streams that write to it: 1 or 2.
    streams: u8,
}

impl Sinks {
    fn new(Settings { stdout, stderr }: Settings) -> io::Result<Sinks> {
        let identity = |file: &File| file.metadata().map(|metadata| (metadata.dev(), metadata.ino()));
        let same = identity(&stdout.file)? == identity(&stderr.file)?;
        let names = Names::new([].into_iter());
        Ok(Sinks {
            stdout: Sink::standard(stdout.file, stdout.style, names),
            stderr: (!same).then(|| Sink::standard(stderr.file, stderr.style, names)),
            logs: Vec::new(),
            endings: Vec::new(),
            names,
            directory: None,
        })
    }

    fn set_destination(&mut self, destination: Destination<'_>, names: Names) {
        self.names = names;
        for sink in [Some(&mut self.stdout), self.stderr.as_mut()].into_iter().flatten() {
            sink.set_names(names);
        }
        self.directory = match destination {
            Destination::Terminal => None,
            Destination::Files(directory) => Some(directory.into()),
        };
    }

    fn outlet(&mut self, source: Source<'_>) -> Outlet {
        let column = Column::new(self.names, source);
        match source {
            Source::Supervisor => Outlet { column, standard: Standard::Error, log: None, ending: None },
            Source::Container { labels, standard } => {
                let (log, ending) = (self.open_log(labels), self.keep_last_lines(labels));
                Outlet { column, standard, log, ending }
            }
        }
    }

    /// The log file of an instance, which its two streams share.
    fn open_log(&mut self, labels: Labels<'_>) -> Option<usize> {
        let directory = self.directory.as_deref()?;
        let path = directory.join(labels.pod).join(labels.container).join(cri::file_name(labels.instance));
        let same = |log: &Option<Log>| log.as_ref().is_some_and(|log| log.sink.is_log_file(&path));
        if let Some(position) = self.logs.iter().position(same) {
            if let Some(Some(log)) = self.logs.get_mut(position) {
                log.streams = log.streams.saturating_add(1);
            }
            return Some(position);
        }
        let log = Some(Log { sink: Sink::log_file(directory, labels), streams: 1 });
        match self.logs.iter().position(Option::is_none) {
            Some(position) => {
                if let Some(place) = self.logs.get_mut(position) {
                    *place = log;
                }
                Some(position)
            }
            None => {
                self.logs.push(log);
                Some(self.logs.len() - 1)
            }
        }
    }

    /// The last lines of an instance, which its two streams share.
    fn keep_last_lines(&mut self, labels: Labels<'_>) -> Option<Ending> {
        let ending = Ending { position: labels.position, instance: labels.instance };
        if !labels.last_lines {
            return None;
        }
        match self.endings.iter_mut().find(|(known, ..)| *known == ending) {
            Some((.., streams)) => *streams = streams.saturating_add(1),
            None => self.endings.push((ending, LastLines::default(), 1)),
        }
        Some(ending)
    }

    /// One of its streams does not write any more. The lines, if it was the last.
    fn end(&mut self, ending: Ending) -> Option<(Ending, Vec<u8>)> {
        let position = self.endings.iter().position(|(known, ..)| *known == ending)?;
        let (.., streams) = self.endings.get_mut(position)?;
        *streams = streams.saturating_sub(1);
        if *streams > 0 {
            return None;
        }
        let (ending, lines, _) = self.endings.swap_remove(position);
        Some((ending, lines.into_bytes()))
    }

    /// A stream does not write any more; its last lines are flushed.
    fn release(&mut self, outlet: &Outlet) {
        let Some(place) = outlet.log.and_then(|log| self.logs.get_mut(log)) else { return };
        if let Some(log) = place {
            log.streams = log.streams.saturating_sub(1);
            if log.streams == 0 {
                let loss = log.sink.last_loss();
                *place = None;
                self.report_loss(loss);
            }
        }
    }

    /// No stream writes any more.
    fn release_all(&mut self) {
        for log in core::mem::take(&mut self.logs).into_iter().flatten() {
            self.report_loss(log.sink.last_loss());
        }
    }

    /// Says on standard error what a log file could not say.
    fn report_loss(&mut self, loss: Option<String>) {
        if let Some(text) = loss {
            let outlet = self.outlet(Source::Supervisor);
            self.push_piece(
                &outlet,
                wall_time(),
                Piece { text: text.as_bytes(), continued: false, last: true },
            );
        }
    }

    fn push(&mut self, stream: &mut Stream, bytes: &[u8]) {
        let time = wall_time();
        let Stream { lines, outlet, .. } = stream;
        lines.push(bytes, &mut |piece| self.push_piece(outlet, time, piece));
    }

    fn finish(&mut self, stream: &mut Stream) {
        let time = wall_time();
        let Stream { lines, outlet, .. } = stream;
        lines.finish(&mut |piece| self.push_piece(outlet, time, piece));
    }

    fn push_piece(&mut self, outlet: &Outlet, time: WallTime, piece: Piece<'_>) {
        let log = outlet.log.and_then(|log| self.logs.get_mut(log)).and_then(Option::as_mut);
        let sink = match (log, outlet.standard, &mut self.stderr) {
            (Some(log), _, _) => &mut log.sink,
            (None, Standard::Error, Some(stderr)) => stderr,
            (None, Standard::Output | Standard::Error, _) => &mut self.stdout,
        };
        sink.push(&outlet.column, outlet.standard, time, piece);
        if let Some(ending) = outlet.ending {
            if let Some((_, lines, _)) = self.endings.iter_mut().find(|(known, ..)| *known == ending) {
                lines.push(piece);
            }
        }
    }

    fn flush(&mut self) {
        let time = wall_time();
        self.stdout.flush(time);
        if let Some(stderr) = &mut self.stderr {
            stderr.flush(time);
        }
        for log in self.logs.iter_mut().flatten() {
            log.sink.flush(time);
        }
    }
}

fn invalid(reason: impl ToString) -> io::Error {
    let text = format!("cannot understand the supervisor: {}", reason.to_string());
    io::Error::new(io::ErrorKind::InvalidData, text)
}

#[cfg(test)]
#[path = "log_writer_tests.rs"]
mod tests;
