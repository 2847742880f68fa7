//! Where the log writer writes lines: standard output and error, and files in the CRI log format.
//!
//! A sink never fails as seen from outside. While its file cannot be written (full disk, closed
//! pipe, missing permission) lines are dropped and counted; each batch is a new attempt, and the
//! first one that succeeds begins with a line about the loss.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::unistd::write;

use crate::log::cri;
use crate::log::line::Piece;
use crate::log::stream::{Labels, Source, Standard};
use crate::log::terminal::{self, Column, Names, Style};
use crate::log::wall_time::WallTime;

/// A log file that would grow beyond this is renamed to `<restart>.log.1`, in bytes. Ten
/// mebibytes is the kubelet's `containerLogMaxSize`.
pub(super) const FILE_BYTES_MAX: u64 = 10 << 20;

/// Lines waiting for one write, in bytes; the last line may stand above. Large enough that the
/// price of a write does not matter any more, small enough that a batch for each of the streams
/// of one turn is no burden.
const BATCH_BYTES_MAX: usize = 32 * 1024;

/// What stays allocated for the next batch, in bytes.
const IDLE_BYTES_MAX: usize = 1024;

/// One place where lines are written.
#[derive(Debug)]
pub(super) struct Sink {
    place: Place,
    batch: Vec<u8>,
    failing: Option<Failing>,
    /// Whether the last write ended inside a line.
    torn: bool,
}

#[derive(Debug)]
enum Place {
    /// Standard output or error, and how a line about a loss begins there.
    Standard {
        file: File,
        style: Style,
        notes: Column,
    },
    Log(LogFile),
}

/// Lines that could not be written since the last success.
#[derive(Debug)]
struct Failing {
    lines_lost: u64,
    cause: io::Error,
}

impl Sink {
    /// Standard output or error.
    pub(super) fn standard(file: File, style: Style, names: Names) -> Sink {
        Sink::new(Place::Standard { file, style, notes: Column::new(names, Source::Supervisor) })
    }

    /// The log file of one instance. It is opened with its first lines; log files that are no
    /// longer kept are removed now.
    pub(super) fn log_file(logs: &Path, labels: Labels<'_>) -> Sink {
        let directory = logs.join(labels.pod).join(labels.container);
        remove_old(&directory, labels.instance);
        let path = directory.join(cri::file_name(labels.instance));
        Sink::new(Place::Log(LogFile { path, open: None }))
    }

    fn new(place: Place) -> Sink {
        Sink { place, batch: Vec::new(), failing: None, torn: false }
    }

    /// How containers are named from now on, so that notes stand in the same columns.
    pub(super) fn set_names(&mut self, names: Names) {
        match &mut self.place {
            Place::Standard { notes, .. } => *notes = Column::new(names, Source::Supervisor),
            Place::Log(_) => {}
        }
    }

    /// Whether this is the log file with this path.
    pub(super) fn is_log_file(&self, path: &Path) -> bool {
        match &self.place {
            Place::Standard { .. } => false,
            Place::Log(log_file) => log_file.path == path,
        }
    }

    /// What a log file that ends will never say itself: lines lost since its last success.
    pub(super) fn last_loss(&self) -> Option<String> {
        match (&self.place, &self.failing) {
            (Place::Log(log_file), Some(Failing { lines_lost, cause })) => {
                Some(format!("warning: lines lost of `{}`: {lines_lost}: {cause}", log_file.path.display()))
            }
            (Place::Log(_), None) | (Place::Standard { .. }, _) => None,
        }
    }

    /// Takes a line for the next write. `column` names its source on standard output and error;
    /// in a log file the path does.
    pub(super) fn push(&mut self, column: &Column, standard: Standard, time: WallTime, piece: Piece<'_>) {
        match &self.place {
            Place::Standard { style, .. } => {
                terminal::push_line(&mut self.batch, *style, column, time, piece);
            }
            Place::Log(_) => cri::push_entry(&mut self.batch, time, standard, piece),
        }
        if self.batch.len() >= BATCH_BYTES_MAX {
            self.flush(time);
        }
    }

    /// Writes what was taken. Waits as long as the file makes a writer wait.
    pub(super) fn flush(&mut self, time: WallTime) {
        if self.batch.is_empty() {
            return;
        }
        let mut batch = core::mem::take(&mut self.batch);
        if let Some(failing) = self.failing.take() {
            let note = self.loss_note(&failing, time);
            match self.write(&note) {
                Ok(()) => self.write_lines(&batch),
                Err((_, cause)) => {
                    let lines_lost = failing.lines_lost.saturating_add(count_lines(&batch));
                    self.failing = Some(Failing { lines_lost, cause });
                }
            }
        } else {
            self.write_lines(&batch);
        }
        batch.clear();
        batch.shrink_to(IDLE_BYTES_MAX);
        self.batch = batch;
    }

    fn write_lines(&mut self, batch: &[u8]) {
        if let Err((written, cause)) = self.write(batch) {
            let lines_lost = count_lines(batch.get(written..).unwrap_or_default());
            self.failing = Some(Failing { lines_lost, cause });
        }
    }

    /// Writes whole lines. Where that fails it says how many bytes are written, which is always
    /// the end of a line.
    fn write(&mut self, lines: &[u8]) -> Result<(), (usize, io::Error)> {
        let (written, outcome) = match &mut self.place {
            Place::Standard { file, .. } => write_all(file, lines),
            Place::Log(log_file) => log_file.write(lines),
        };
        let whole = match outcome {
            Ok(()) => lines.len(),
            Err(_) => {
                let begun = lines.get(..written).unwrap_or_default();
                begun.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1)
            }
        };
        if written > 0 {
            self.torn = match &mut self.place {
                Place::Standard { .. } => whole < written,
                Place::Log(log_file) => whole < written && !log_file.cut_back(written - whole),
            };
        }
        outcome.map_err(|cause| (whole, cause))
    }

    /// The line about what was lost, on a line of its own whatever stands before it.
    fn loss_note(&self, failing: &Failing, time: WallTime) -> Vec<u8> {
        let text = format!("warning: lines lost here: {}: {}", failing.lines_lost, failing.cause);
        let mut note = Vec::new();
        if self.torn {
            note.push(b'\n');
        }
        match &self.place {
            Place::Standard { style, notes, .. } => {
                let piece = Piece { text: text.as_bytes(), continued: false, last: true };
                terminal::push_line(&mut note, *style, notes, time, piece);
            }
            Place::Log(_) => {
                let text = format!("outrigger: {text}");
                let piece = Piece { text: text.as_bytes(), continued: false, last: true };
                cri::push_entry(&mut note, time, Standard::Error, piece);
            }
        }
        note
    }
}

/// The log file of one instance of a container.
#[derive(Debug)]
struct LogFile {
    path: PathBuf,
    open: Option<OpenFile>,
}

#[derive(Debug)]
struct OpenFile {
    file: File,
    bytes: u64,
}

impl LogFile {
    fn write(&mut self, lines: &[u8]) -> (usize, io::Result<()>) {
        let length = u64::try_from(lines.len()).unwrap_or(u64::MAX);
        let open = match self.with_room_for(length) {
            Ok(open) => open,
            Err(error) => return (0, Err(error)),
        };
        let (written, outcome) = write_all(&open.file, lines);
        open.bytes = open.bytes.saturating_add(u64::try_from(written).unwrap_or(u64::MAX));
        (written, outcome)
    }

    /// The file that the next `length` bytes go to.
    fn with_room_for(&mut self, length: u64) -> io::Result<&mut OpenFile> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => open_file(&self.path)?,
        };
        if open.bytes > 0 && open.bytes.saturating_add(length) > FILE_BYTES_MAX {
            match fs::rename(&self.path, self.rotated_path()) {
                Ok(()) => {}
                // Somebody has removed it: as good as renamed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    self.open = Some(open);
                    return Err(error);
                }
            }
            open = open_file(&self.path)?;
        }
        Ok(self.open.insert(open))
    }

    /// Takes the last `length` bytes back. False if that fails too.
    fn cut_back(&mut self, length: usize) -> bool {
        let Some(open) = &mut self.open else { return false };
        let bytes = open.bytes.saturating_sub(u64::try_from(length).unwrap_or(u64::MAX));
        let cut = open.file.set_len(bytes).is_ok();
        if cut {
            open.bytes = bytes;
        }
        cut
    }

    fn rotated_path(&self) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(".1");
        path.into()
    }
}

fn open_file(path: &Path) -> io::Result<OpenFile> {
    let open = || OpenOptions::new().append(true).create(true).mode(0o640).open(path);
    let file = match (open(), path.parent()) {
        (Err(error), Some(directory)) if error.kind() == io::ErrorKind::NotFound => {
            DirBuilder::new().recursive(true).mode(0o755).create(directory)?;
            open()?
        }
        (outcome, _) => outcome?,
    };
    let bytes = file.metadata()?.len();
    Ok(OpenFile { file, bytes })
}

/// Removes the log files of instances that are no longer kept when `instance` begins: all but
/// its own, those of the one before and those of the latest one of an earlier supervisor, whose
/// count went further. A file that cannot be removed is left: it only costs its space.
fn remove_old(directory: &Path, instance: u32) {
    let instances = || {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        entries.filter_map(|entry| {
            let found = entry.file_name().to_str().and_then(cri::instance_of)?;
            Some((found, entry.path()))
        })
    };
    let latest = instances().map(|(found, _)| found).max();
    for (found, path) in instances() {
        if found != instance && found.checked_add(1) != Some(instance) && Some(found) != latest {
            let _ = fs::remove_file(path);
        }
    }
}

/// Writes everything, and says how much of it was written.
fn write_all(file: &File, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match write(file, rest) {
            Ok(0) => return (written, Err(io::ErrorKind::WriteZero.into())),
            Ok(count) => written += count,
            Err(Errno::EINTR) => {}
            // Whoever we share standard output with has made it non-blocking.
            Err(Errno::EAGAIN) => {
                if let Err(error) = wait_for_room(file) {
                    return (written, Err(error.into()));
                }
            }
            Err(error) => return (written, Err(error.into())),
        }
    }
    (written, Ok(()))
}

fn wait_for_room(file: &File) -> nix::Result<()> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(file, EpollEvent::new(EpollFlags::EPOLLOUT, 0))?;
    match epoll.wait(&mut [EpollEvent::empty()], EpollTimeout::NONE) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(error) => Err(error),
    }
}

fn count_lines(lines: &[u8]) -> u64 {
    let count = lines.iter().filter(|byte| **byte == b'\n').count();
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::fs::{read_dir, read_to_string, remove_file};
    use std::io::Read;
    use std::os::unix::fs::PermissionsExt;
    use std::thread;

    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    use nix::sys::stat::Mode;
    use nix::unistd::{mkfifo, pipe2};

    use super::*;

    const TIME: &str = "1970-01-01T00:00:31.000000000Z";
    const NAMES: Names = Names { width: 9, with_pod: false };
    const PLAIN: Style = Style { terminal: false, colour: false, journal: false };

    fn labels(instance: u32) -> Labels<'static> {
        Labels { pod: "web", container: "app", instance, position: 0, last_lines: false }
    }

    fn push(sink: &mut Sink, text: &str) {
        let source = Source::Container { labels: labels(0), standard: Standard::Output };
        let piece = Piece { text: text.as_bytes(), continued: false, last: true };
        sink.push(&Column::new(NAMES, source), Standard::Output, WallTime::new(31, 0), piece);
    }

    fn flush(sink: &mut Sink) {
        sink.flush(WallTime::new(31, 0));
    }

    #[test]
    fn a_log_file_appears_with_its_first_line() {
        let logs = tempfile::tempdir().unwrap();
        let path = logs.path().join("web/app/3.log");
        let mut sink = Sink::log_file(logs.path(), labels(3));
        flush(&mut sink);
        assert!(!path.exists());
        push(&mut sink, "one");
        push(&mut sink, "two");
        flush(&mut sink);
        assert_eq!(read_to_string(&path).unwrap(), format!("{TIME} stdout F one\n{TIME} stdout F two\n"));
        // The umask may take bits away, but nobody outside owner and group may read.
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o137, 0);

        // The next log writer goes on behind the lines of the one before.
        let mut sink = Sink::log_file(logs.path(), labels(3));
        push(&mut sink, "three");
        flush(&mut sink);
        assert_eq!(read_to_string(&path).unwrap().lines().count(), 3);
    }

    #[test]
    fn a_full_log_file_is_renamed_and_begun_anew() {
        let logs = tempfile::tempdir().unwrap();
        let path = logs.path().join("web/app/0.log");
        let rotated = logs.path().join("web/app/0.log.1");
        let mut sink = Sink::log_file(logs.path(), labels(0));
        let text = "x".repeat(16 * 1024);
        let lines_per_file = FILE_BYTES_MAX / (16 * 1024);
        for _ in 0..lines_per_file * 5 / 2 {
            push(&mut sink, &text);
        }
        push(&mut sink, "the last line");
        flush(&mut sink);
        let (new, old) = (path.metadata().unwrap().len(), rotated.metadata().unwrap().len());
        assert!(old <= FILE_BYTES_MAX && old > FILE_BYTES_MAX - 64 * 1024, "{old}");
        assert!(new <= FILE_BYTES_MAX && new > FILE_BYTES_MAX / 3, "{new}");
        assert!(read_to_string(&path).unwrap().ends_with("the last line\n"));
        assert_eq!(read_dir(logs.path().join("web/app")).unwrap().count(), 2);
    }

    #[test]
    fn only_recent_instances_keep_their_files() {
        let cases: [(u32, &[&str]); 5] = [
            (0, &["0.log", "9.log", "9.log.1"]),
            (1, &["0.log", "1.log", "9.log", "9.log.1"]),
            (4, &["3.log", "3.log.1", "4.log", "9.log", "9.log.1"]),
            (9, &["8.log", "9.log", "9.log.1"]),
            (10, &["10.log", "9.log", "9.log.1"]),
        ];
        for (instance, expected) in cases {
            let logs = tempfile::tempdir().unwrap();
            let directory = logs.path().join("web/app");
            fs::create_dir_all(&directory).unwrap();
            for name in ["0.log", "1.log", "3.log", "3.log.1", "8.log", "9.log", "9.log.1", "notes"] {
                fs::write(directory.join(name), "").unwrap();
            }
            let mut sink = Sink::log_file(logs.path(), labels(instance));
            push(&mut sink, "text");
            flush(&mut sink);
            let names = read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name());
            let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
            names.sort();
            let expected: Vec<_> = expected.iter().copied().chain(["notes"]).collect();
            assert_eq!(names, expected, "{instance}");
        }
    }

    #[test]
    fn lines_that_could_not_be_written_are_counted_in_the_log() {
        let logs = tempfile::tempdir().unwrap();
        let obstacle = logs.path().join("web");
        fs::write(&obstacle, "a file where a directory should be").unwrap();
        let mut sink = Sink::log_file(logs.path(), labels(0));
        for text in ["one", "two", "three"] {
            push(&mut sink, text);
            push(&mut sink, text);
            flush(&mut sink);
        }
        remove_file(&obstacle).unwrap();
        push(&mut sink, "four");
        flush(&mut sink);
        push(&mut sink, "five");
        flush(&mut sink);
        let log = read_to_string(logs.path().join("web/app/0.log")).unwrap();
        let lines: Vec<_> = log.lines().collect();
        assert!(
            lines[0].starts_with(&format!("{TIME} stderr F outrigger: warning: lines lost here: 6: ")),
            "{log}"
        );
        assert_eq!(lines[1..], [format!("{TIME} stdout F four"), format!("{TIME} stdout F five")]);
    }

    #[test]
    fn a_full_disk_does_not_stop_anything() {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut sink = Sink::standard(full, PLAIN, NAMES);
        for _ in 0..10_000 {
            push(&mut sink, "text");
        }
        flush(&mut sink);
        let failing = sink.failing.unwrap();
        assert_eq!(failing.lines_lost, 10_000);
        assert_eq!(failing.cause.raw_os_error(), Some(Errno::ENOSPC as i32));
    }

    #[test]
    fn a_torn_line_is_ended_and_counted() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("fifo");
        mkfifo(&path, Mode::S_IRWXU).unwrap();
        // Reading and writing: opening one end of a FIFO waits for the other (fifo(7)).
        let opener = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let capacity = fcntl(&opener, FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
        let mut reader = File::open(&path).unwrap();
        let writer = OpenOptions::new().write(true).open(&path).unwrap();
        drop(opener);

        let mut sink = Sink::standard(writer, PLAIN, NAMES);
        let line_length = "00:00:31.000 app       | 0123456789\n".len();
        let lines = usize::try_from(capacity).unwrap() / line_length + 100;
        for _ in 0..lines {
            push(&mut sink, "0123456789");
        }
        let writing = thread::spawn(move || {
            flush(&mut sink);
            sink
        });
        // Once something can be read the pipe is full and the sink waits inside a line.
        let mut first = [0; 1];
        reader.read_exact(&mut first).unwrap();
        drop(reader);
        let mut sink = writing.join().unwrap();

        let reading = thread::spawn(move || read_to_string(path).unwrap());
        // Tried until the new reader is there.
        while sink.failing.is_some() {
            push(&mut sink, "again");
            flush(&mut sink);
        }
        drop(sink);
        let text = reading.join().unwrap();
        let mut lines = text.lines().rev();
        assert_eq!(lines.next(), Some("00:00:31.000 app       | again"));
        let note = lines.next().unwrap();
        assert!(note.starts_with("00:00:31.000 outrigger * warning: lines lost here: "), "{note}");
        assert!(note.ends_with(": Broken pipe (os error 32)"), "{note}");
        let torn = lines.next().unwrap();
        assert!(torn.len() < line_length - 1, "{torn}");
    }

    #[test]
    fn a_file_that_somebody_made_non_blocking_is_waited_for() {
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC).unwrap();
        fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        let mut sink = Sink::standard(writer.into(), PLAIN, NAMES);
        let writing = thread::spawn(move || {
            for _ in 0..100 {
                push(&mut sink, &"x".repeat(10_000));
            }
            flush(&mut sink);
            assert!(sink.failing.is_none());
        });
        let mut text = String::new();
        File::from(reader).read_to_string(&mut text).unwrap();
        writing.join().unwrap();
        assert_eq!(text.lines().count(), 100);
    }
}
