//! Standard output and error of the containers, and the supervisor's own lines: the supervisor's
//! side. Bytes go from the containers through pipes to the log writer; the supervisor only makes
//! the pipes and hands their read ends on.
//!
//! It keeps a duplicate of every read end until the log writer reports the stream as drained.
//! So a log writer that dies loses nothing that is still in a pipe, no container gets SIGPIPE,
//! and the next log writer gets all open streams again. Nothing here ever waits.

use core::fmt;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::socket::MsgFlags;
use nix::sys::uio::writev;
use nix::unistd::pipe2;

use super::log_socket::{self, Buffer, Received};
use crate::limits::STREAMS_MAX;
use crate::log::message::{Destination, Ending, FromLogWriter, MESSAGE_BYTES_MAX, ToLogWriter};
use crate::log::stream::{Labels, Source, Standard, StreamId};
use crate::log::terminal::Names;
use crate::supervisor::report::Severity;

/// Longest line of the supervisor with its newline, in bytes. Up to `PIPE_BUF` a write to a pipe
/// goes whole or not at all (pipe(7)), so a full pipe costs whole lines, never parts of them.
const LINE_BYTES_MAX: usize = 4096;

/// Messages taken from the log writer in one turn; there are not more streams that could end.
const MESSAGES_PER_TURN: usize = STREAMS_MAX;

/// What stands before a line of the supervisor.
pub(super) fn prefix(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "",
        Severity::Warning => "warning: ",
        Severity::Error => "error: ",
    }
}

/// What a new instance of a container gets as its descriptors 1 and 2. Both are `CLOEXEC` and
/// block when their pipe is full.
#[derive(Debug)]
pub struct Writers {
    /// Standard output.
    pub stdout: OwnedFd,
    /// Standard error.
    pub stderr: OwnedFd,
}

/// All open streams, and the log writer if there is one.
///
/// Its descriptor ([`AsFd`]) is an epoll of its own and stays the same over any number of log
/// writers: register it once, readable, and call [`Output::handle_events`] when it is.
pub struct Output {
    epoll: Epoll,
    greeting: Box<[u8]>,
    log_writer: Option<LogWriter>,
    /// By [`StreamId`].
    streams: Vec<Option<Stream>>,
    /// Write end of the supervisor's own stream.
    lines: OwnedFd,
    lines_lost: u64,
    /// Whether `epoll` reports room for lines.
    lines_awaited: bool,
    /// What was told and not taken yet: at most what one turn receives.
    endings: Vec<(Ending, Box<[u8]>)>,
}

/// The log writer's side that we hold.
struct LogWriter {
    socket: OwnedFd,
    greeted: bool,
    /// Whether `epoll` reports room in the socket.
    room_awaited: bool,
}

struct Stream {
    read_end: OwnedFd,
    /// The encoded [`ToLogWriter::Open`].
    announcement: Box<[u8]>,
    /// Whether the present log writer has it.
    announced: bool,
}

/// What an event of `Output::epoll` is about.
const SOCKET: u64 = 0;
const LINES: u64 = 1;

impl Output {
    /// Output without a log writer: lines wait in their pipes. Fails with `EMFILE` or `ENFILE`,
    /// and for a log directory that [`Destination::Files`] does not allow.
    pub fn new(destination: Destination<'_>, names: Names) -> io::Result<Output> {
        let greeting = ToLogWriter::Greeting { destination, names }.encode();
        // What the log writer would refuse is better refused before there is one.
        ToLogWriter::decode(&greeting).map_err(|_| {
            io::Error::new(io::ErrorKind::InvalidInput, "the log directory is no absolute path")
        })?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let (read_end, lines) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        epoll.add(&lines, EpollEvent::new(EpollFlags::empty(), LINES))?;
        let message = ToLogWriter::Open { stream: StreamId::SUPERVISOR, source: Source::Supervisor };
        Ok(Output {
            epoll,
            greeting: greeting.into(),
            log_writer: None,
            streams: vec![Some(Stream { read_end, announcement: message.encode().into(), announced: false })],
            lines,
            lines_lost: 0,
            lines_awaited: false,
            endings: Vec::new(),
        })
    }

    /// A log writer listens at the other end of `socket` (from [`log_socket::pair`]): it gets the
    /// greeting and all open streams. One before it must have ended, or both would read.
    pub fn attach(&mut self, socket: OwnedFd) -> io::Result<()> {
        self.detach();
        self.epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, SOCKET))?;
        self.log_writer = Some(LogWriter { socket, greeted: false, room_awaited: false });
        self.announce();
        Ok(())
    }

    /// Closes the socket. The log writer then writes what is in the pipes, and ends.
    pub fn detach(&mut self) {
        if let Some(log_writer) = self.log_writer.take() {
            // Not left to the closing: that would miss a duplicate in a child being spawned.
            let _ = self.epoll.delete(&log_writer.socket);
        }
        for stream in self.streams.iter_mut().flatten() {
            stream.announced = false;
        }
    }

    /// Whether there is a log writer. It is detached when it hangs up.
    pub fn is_attached(&self) -> bool {
        self.log_writer.is_some()
    }

    /// Makes the streams of a new instance of a container.
    ///
    /// Fails with `EMFILE` or `ENFILE`, and when as many streams as there may be
    /// ([`STREAMS_MAX`]) wait for the log writer; both pass when it catches up.
    pub fn open(&mut self, labels: Labels<'_>) -> io::Result<Writers> {
        if !labels.are_valid() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a name is no RFC 1123 label"));
        }
        let (stdout_id, stderr_id) = self.free_ids().ok_or_else(|| {
            let text = format!("{STREAMS_MAX} log streams are open; the log writer does not keep up");
            io::Error::new(io::ErrorKind::QuotaExceeded, text)
        })?;
        let (stdout_read_end, stdout) = container_pipe()?;
        let (stderr_read_end, stderr) = container_pipe()?;
        self.insert(stdout_id, stdout_read_end, Source::Container { labels, standard: Standard::Output });
        self.insert(stderr_id, stderr_read_end, Source::Container { labels, standard: Standard::Error });
        self.announce();
        Ok(Writers { stdout, stderr })
    }

    /// Says something in the supervisor's own name, one line for each line of `text`. What does
    /// not fit into the pipe is lost, and counted in a later line; what is longer than
    /// 4095 bytes is cut.
    pub fn write_line(&mut self, severity: Severity, text: &str) {
        let mut prefix = prefix(severity);
        for line in text.lines() {
            if self.lines_lost > 0 {
                self.write_loss();
            }
            // While earlier lines are lost without a word, a later one would tell a false story.
            if self.lines_lost > 0 || try_write(&self.lines, prefix, line).is_err() {
                self.lines_lost = self.lines_lost.saturating_add(1);
                self.await_lines(true);
            }
            prefix = "";
        }
    }

    /// Handles what [`AsFd`] reported: drained streams, the log writer's hang-up, room for what
    /// could not be sent.
    pub fn handle_events(&mut self) {
        // Two registered descriptors; what is left over is reported again (level-triggered).
        let mut events = [EpollEvent::empty(); 2];
        let count = self.epoll.wait(&mut events, 0_u8).unwrap_or(0);
        for event in events.iter().take(count) {
            if event.data() == LINES {
                if self.lines_lost > 0 {
                    self.write_loss();
                }
            } else {
                self.receive();
                self.announce();
            }
        }
    }

    /// How the output of instances has ended, as far as that was asked for and told since the
    /// last call.
    pub fn take_endings(&mut self) -> Vec<(Ending, Box<[u8]>)> {
        core::mem::take(&mut self.endings)
    }

    /// Streams of containers that are not drained yet.
    pub fn open_streams(&self) -> usize {
        self.streams.iter().skip(1).flatten().count()
    }

    fn free_ids(&self) -> Option<(StreamId, StreamId)> {
        let occupied = |id: &StreamId| self.streams.get(id.index()).is_some_and(Option::is_some);
        let mut free = (0..STREAMS_MAX).filter_map(|id| u16::try_from(id).ok()).map(StreamId);
        let mut next = || free.by_ref().find(|id| !occupied(id));
        Some((next()?, next()?))
    }

    fn insert(&mut self, stream: StreamId, read_end: OwnedFd, source: Source<'_>) {
        if self.streams.len() <= stream.index() {
            self.streams.resize_with(stream.index() + 1, || None);
        }
        if let Some(place) = self.streams.get_mut(stream.index()) {
            let announcement = ToLogWriter::Open { stream, source }.encode().into();
            *place = Some(Stream { read_end, announcement, announced: false });
        }
    }

    /// Sends what the log writer does not know yet. What does not fit into the socket stays for
    /// the next turn: the table is the queue.
    fn announce(&mut self) {
        let Some(log_writer) = &mut self.log_writer else { return };
        let mut outcome = Ok(());
        if !log_writer.greeted {
            outcome = log_writer.send(&self.greeting, None);
            log_writer.greeted = outcome.is_ok();
        }
        for stream in self.streams.iter_mut().flatten().filter(|stream| !stream.announced) {
            outcome =
                outcome.and_then(|()| log_writer.send(&stream.announcement, Some(stream.read_end.as_fd())));
            stream.announced = outcome.is_ok();
        }
        match outcome {
            Ok(()) => log_writer.await_room(&self.epoll, false),
            Err(Errno::EAGAIN) => log_writer.await_room(&self.epoll, true),
            // It is gone, or cannot be told about streams: either way the next one will do.
            Err(_) => self.detach(),
        }
    }

    fn receive(&mut self) {
        let mut buffer: Buffer = [0; MESSAGE_BYTES_MAX + 1];
        for _ in 0..MESSAGES_PER_TURN {
            let Some(log_writer) = &self.log_writer else { return };
            match log_socket::receive(log_writer.socket.as_fd(), &mut buffer) {
                Ok(Received::Nothing) => return,
                Ok(Received::Message(length, _)) => {
                    match FromLogWriter::decode(buffer.get(..length).unwrap_or_default()) {
                        Ok(FromLogWriter::Drained(stream)) => self.close(stream),
                        Ok(FromLogWriter::LastLines(ending, lines)) => {
                            self.endings.push((ending, lines.into()));
                        }
                        Err(_) => self.detach(),
                    }
                }
                Ok(Received::End) | Err(_) => self.detach(),
            }
        }
    }

    fn close(&mut self, stream: StreamId) {
        // We hold a write end of the supervisor's stream, so its end cannot have been seen.
        if stream == StreamId::SUPERVISOR {
            return;
        }
        if let Some(place) = self.streams.get_mut(stream.index()) {
            *place = None;
        }
    }

    /// Writes how many lines were lost, if there is room.
    fn write_loss(&mut self) {
        let text = format!("lines of outrigger lost: {}; the log writer did not keep up", self.lines_lost);
        if try_write(&self.lines, prefix(Severity::Warning), &text).is_ok() {
            self.lines_lost = 0;
            self.await_lines(false);
        }
    }

    fn await_lines(&mut self, awaited: bool) {
        if self.lines_awaited != awaited {
            let flags = if awaited { EpollFlags::EPOLLOUT } else { EpollFlags::empty() };
            if self.epoll.modify(&self.lines, &mut EpollEvent::new(flags, LINES)).is_ok() {
                self.lines_awaited = awaited;
            }
        }
    }
}

/// Writes a last line to standard error when there is no log writer any more, unless nobody reads
/// there: nothing may hold up the end.
pub fn write_at_end(line: &str) {
    use std::io::Write;

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    let stderr = io::stderr();
    let mut watched = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
    if poll(&mut watched, PollTimeout::ZERO).is_ok_and(|count| count > 0) {
        // A pipe that is writable has room for PIPE_BUF bytes (pipe(7)).
        let _ = stderr.lock().write_all(line.get(..LINE_BYTES_MAX).unwrap_or(line).as_bytes());
    }
}

impl AsFd for Output {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.0.as_fd()
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Output")
            .field("attached", &self.is_attached())
            .field("open_streams", &self.open_streams())
            .field("lines_lost", &self.lines_lost)
            .finish_non_exhaustive()
    }
}

impl LogWriter {
    fn send(&self, message: &[u8], descriptor: Option<BorrowedFd<'_>>) -> nix::Result<()> {
        log_socket::send(self.socket.as_fd(), message, descriptor, MsgFlags::MSG_DONTWAIT)
    }

    fn await_room(&mut self, epoll: &Epoll, awaited: bool) {
        if self.room_awaited != awaited {
            let room = if awaited { EpollFlags::EPOLLOUT } else { EpollFlags::empty() };
            let mut event = EpollEvent::new(EpollFlags::EPOLLIN | room, SOCKET);
            if epoll.modify(&self.socket, &mut event).is_ok() {
                self.room_awaited = awaited;
            }
        }
    }
}

/// A pipe whose write end blocks, since containers do not expect otherwise, and whose read end
/// does not. The flag belongs to the open file (open(2)), so it holds for all duplicates.
fn container_pipe() -> nix::Result<(OwnedFd, OwnedFd)> {
    let (read_end, write_end) = pipe2(OFlag::O_CLOEXEC)?;
    fcntl(&read_end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok((read_end, write_end))
}

/// Writes a whole line or nothing.
fn try_write(lines: &OwnedFd, prefix: &str, text: &str) -> nix::Result<()> {
    const CUT: &str = "...";
    let room = LINE_BYTES_MAX - 1 - prefix.len();
    let (text, cut) = if text.len() <= room {
        (text, "")
    } else {
        let mut length = room - CUT.len();
        while !text.is_char_boundary(length) {
            length -= 1;
        }
        (text.get(..length).unwrap_or_default(), CUT)
    };
    let parts = [prefix, text, cut, "\n"].map(|part| IoSlice::new(part.as_bytes()));
    loop {
        match writev(lines, &parts) {
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{ErrorKind, Read, Write};

    use nix::unistd::read;

    use super::*;

    const NAMES: Names = Names { width: 9, with_pod: false };

    fn labels(instance: u32) -> Labels<'static> {
        Labels { pod: "web", container: "app", instance, position: 0, last_lines: false }
    }

    fn ready(output: &Output) -> bool {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
        epoll.add(output, EpollEvent::new(EpollFlags::EPOLLIN, 0)).unwrap();
        epoll.wait(&mut [EpollEvent::empty()], 0_u8).unwrap() > 0
    }

    /// All that the supervisor's pipe holds.
    fn held_lines(output: &Output) -> String {
        let read_end = &output.streams[0].as_ref().unwrap().read_end;
        let mut text = Vec::new();
        let mut buffer = [0; 65_536];
        while let Ok(length) = read(read_end, &mut buffer) {
            text.extend_from_slice(&buffer[..length]);
        }
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn lines_that_nobody_reads_are_dropped_and_counted() {
        let mut output = Output::new(Destination::Terminal, NAMES).unwrap();
        let written = 10_000;
        for number in 0..written {
            output.write_line(Severity::Info, &format!("line {number} of many"));
        }
        assert!(!ready(&output), "a full pipe must not wake anybody");
        let text = held_lines(&output);
        let held = text.lines().count();
        assert!(text.ends_with(&format!("line {} of many\n", held - 1)));

        // There is room: the loss is written without another line.
        assert!(ready(&output));
        output.handle_events();
        let lost = written - held;
        let note = format!("warning: lines of outrigger lost: {lost}; the log writer did not keep up\n");
        assert_eq!(held_lines(&output), note);
        assert!(!ready(&output), "room must not wake anybody when nothing is lost");
        output.write_line(Severity::Warning, "next");
        assert_eq!(held_lines(&output), "warning: next\n");
    }

    #[test]
    fn lines_are_cut_where_a_write_would_not_be_whole() {
        let fits = "x".repeat(LINE_BYTES_MAX - 1);
        let cases = [
            (Severity::Info, fits.clone(), format!("{fits}\n")),
            (Severity::Info, format!("{fits}x"), format!("{}...\n", &fits[3..])),
            (Severity::Error, fits.clone(), format!("error: {}...\n", &fits[10..])),
            (Severity::Info, "ä".repeat(LINE_BYTES_MAX), format!("{}...\n", "ä".repeat(2046))),
            (Severity::Warning, "a\nb\n".to_owned(), "warning: a\nb\n".to_owned()),
            (Severity::Info, String::new(), String::new()),
        ];
        for (severity, text, expected) in cases {
            let mut output = Output::new(Destination::Terminal, NAMES).unwrap();
            output.write_line(severity, &text);
            assert_eq!(held_lines(&output), expected);
        }
    }

    #[test]
    fn what_containers_write_waits_for_a_log_writer() {
        let mut output = Output::new(Destination::Terminal, NAMES).unwrap();
        let Writers { stdout, stderr } = output.open(labels(0)).unwrap();
        File::from(stdout).write_all(b"early").unwrap();
        drop(stderr);
        assert_eq!(output.open_streams(), 2);
        assert!(!ready(&output));
        let mut read_end = File::from(output.streams[1].as_ref().unwrap().read_end.try_clone().unwrap());
        let mut text = String::new();
        read_end.read_to_string(&mut text).unwrap();
        assert_eq!(text, "early");
    }

    #[test]
    fn containers_get_blocking_pipes_that_are_closed_on_exec() {
        let mut output = Output::new(Destination::Terminal, NAMES).unwrap();
        let writers = output.open(labels(0)).unwrap();
        for writer in [&writers.stdout, &writers.stderr] {
            assert_eq!(fcntl(writer, FcntlArg::F_GETFL).unwrap() & OFlag::O_NONBLOCK.bits(), 0);
            assert_eq!(fcntl(writer, FcntlArg::F_GETFD).unwrap(), 1, "FD_CLOEXEC");
        }
        for stream in output.streams.iter().flatten() {
            assert_ne!(fcntl(&stream.read_end, FcntlArg::F_GETFL).unwrap() & OFlag::O_NONBLOCK.bits(), 0);
        }
    }

    #[test]
    fn the_table_of_streams_is_bounded() {
        let mut output = Output::new(Destination::Terminal, NAMES).unwrap();
        // Filled without descriptors for each: their number may be limited to 1024 here.
        let read_end = |output: &Output| output.lines.try_clone().unwrap();
        for index in 1..STREAMS_MAX {
            output.streams.push(None);
            if index + 1 < STREAMS_MAX / 2 {
                let stream = StreamId(u16::try_from(index).unwrap());
                output.insert(stream, read_end(&output), Source::Supervisor);
            }
        }
        let free = output.free_ids().unwrap();
        let first = u16::try_from(STREAMS_MAX / 2 - 1).unwrap();
        assert_eq!(free, (StreamId(first), StreamId(first + 1)));
        output.close(StreamId(7));
        output.close(StreamId::SUPERVISOR);
        assert_eq!(output.free_ids().unwrap(), (StreamId(7), StreamId(first)));
    }

    #[test]
    fn a_log_directory_must_be_absolute() {
        for directory in ["", "logs", "./logs"] {
            let output = Output::new(Destination::Files(directory.as_ref()), NAMES);
            assert_eq!(output.unwrap_err().kind(), ErrorKind::InvalidInput, "{directory:?}");
        }
    }

    #[test]
    fn names_that_are_no_labels_are_refused() {
        let mut output = Output::new(Destination::Terminal, NAMES).unwrap();
        let labels = Labels { pod: "..", container: "app", instance: 0, position: 0, last_lines: false };
        assert_eq!(output.open(labels).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(output.open_streams(), 0);
    }

    #[test]
    fn a_log_writer_that_sends_garbage_is_detached() {
        let mut output = Output::new(Destination::Terminal, NAMES).unwrap();
        let (ours, theirs) = log_socket::pair().unwrap();
        output.attach(ours).unwrap();
        assert!(output.is_attached());
        log_socket::send(theirs.as_fd(), b"garbage", None, MsgFlags::empty()).unwrap();
        assert!(ready(&output));
        output.handle_events();
        assert!(!output.is_attached());
        assert!(!ready(&output));
    }
}
