//! The supervisor's side (`output.rs`) and the log writer together, over real pipes and sockets.

use std::io::{Read, Write};
use std::path::Path;
use std::thread::{self, JoinHandle};

use nix::fcntl::OFlag;
use nix::sys::socket::{setsockopt, sockopt};
use nix::unistd::pipe2;

use super::super::output::{Output, Writers};
use super::*;
use crate::supervisor::report::Severity;

const NAMES: Names = Names { width: 9, with_pod: false };
const PLAIN: Style = Style { terminal: false, colour: false, journal: false };
const DEADLINE_MS: u16 = 20_000;

fn pipe() -> (File, File) {
    let (read_end, write_end) = pipe2(OFlag::O_CLOEXEC).unwrap();
    (read_end.into(), write_end.into())
}

/// Whether `fd` becomes readable in time.
fn readable(fd: impl AsFd, timeout_ms: u16) -> bool {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
    epoll.add(fd, EpollEvent::new(EpollFlags::EPOLLIN, 0)).unwrap();
    epoll.wait(&mut [EpollEvent::empty()], timeout_ms).unwrap() > 0
}

/// A log writer in a thread, and what it writes.
struct Running {
    thread: JoinHandle<io::Result<()>>,
    stdout: File,
    stderr: File,
}

impl Running {
    fn new(socket: OwnedFd) -> Running {
        let (stdout, stdout_write) = pipe();
        let (stderr, stderr_write) = pipe();
        let file = |file| StandardFile { file, style: PLAIN };
        let settings = Settings { stdout: file(stdout_write), stderr: file(stderr_write) };
        let thread = thread::spawn(move || run(socket, settings));
        Running { thread, stdout, stderr }
    }

    fn attached_to(output: &mut Output) -> Running {
        let (ours, theirs) = log_socket::pair().unwrap();
        output.attach(ours).unwrap();
        Running::new(theirs)
    }

    /// Everything that it writes until it ends, without the times: standard output, error.
    fn finish(mut self) -> (String, String) {
        let stderr = thread::spawn(move || rest(&mut self.stderr));
        let stdout = rest(&mut self.stdout);
        self.thread.join().unwrap().unwrap();
        (without_times(&stdout), without_times(&stderr.join().unwrap()))
    }
}

fn rest(pipe: &mut File) -> Vec<u8> {
    let mut bytes = Vec::new();
    pipe.read_to_end(&mut bytes).unwrap();
    bytes
}

fn without_times(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.lines().map(|line| format!("{}\n", &line["00:00:00.000 ".len()..])).collect()
}

/// Reads until there is a line with `wanted`.
fn read_until(pipe: &mut File, wanted: &str) -> String {
    let mut text = String::new();
    let mut buffer = [0; 4096];
    while !text.contains(wanted) {
        assert!(readable(&*pipe, DEADLINE_MS), "no {wanted:?} in {text:?}");
        let length = pipe.read(&mut buffer).unwrap();
        assert_ne!(length, 0, "no {wanted:?} in {text:?}");
        text.push_str(core::str::from_utf8(&buffer[..length]).unwrap());
    }
    text
}

fn wait_until_drained(output: &mut Output) {
    while output.open_streams() > 0 {
        assert!(readable(&*output, DEADLINE_MS), "{output:?}");
        output.handle_events();
    }
}

fn labels(container: &str, instance: u32) -> Labels<'_> {
    Labels { pod: "web", container, instance, position: 0, last_lines: false }
}

fn open(output: &mut Output, container: &str) -> (File, File) {
    let Writers { stdout, stderr } = output.open(labels(container, 0)).unwrap();
    (stdout.into(), stderr.into())
}

#[test]
fn signals_for_the_whole_group_are_left_to_the_supervisor() {
    let blocked = thread::spawn(|| {
        block_signals().unwrap();
        SigSet::thread_get_mask().unwrap()
    });
    let blocked = blocked.join().unwrap();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGPIPE] {
        assert!(blocked.contains(signal), "{signal}");
    }
}

#[test]
fn lines_of_all_streams_arrive_and_their_ends_are_reported() {
    let mut output = Output::new(Destination::Terminal, NAMES).unwrap();
    let log_writer = Running::attached_to(&mut output);
    let (mut app_stdout, mut app_stderr) = open(&mut output, "app");
    let (mut proxy_stdout, proxy_stderr) = open(&mut output, "proxy");
    assert_eq!(output.open_streams(), 4);
    app_stdout.write_all(b"one\ntwo\n").unwrap();
    app_stderr.write_all(b"bad\nunfinished").unwrap();
    proxy_stdout.write_all(b"\n").unwrap();
    output.write_line(Severity::Error, "cannot start `app`: reason\nsecond line");
    drop((app_stdout, app_stderr, proxy_stdout, proxy_stderr));
    wait_until_drained(&mut output);
    output.detach();
    let (stdout, stderr) = log_writer.finish();
    let sorted = |text: &str| {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&stdout), ["app       | one", "app       | two", "proxy     | "]);
    assert_eq!(
        sorted(&stderr),
        [
            "app       ! bad",
            "app       ! unfinished",
            "outrigger * error: cannot start `app`: reason",
            "outrigger * second line",
        ]
    );
}

#[test]
fn drained_streams_make_room_for_others() {
    let mut output = Output::new(Destination::Terminal, NAMES).unwrap();
    let log_writer = Running::attached_to(&mut output);
    for instance in 0..50 {
        let writers = output.open(labels("app", instance)).unwrap();
        let mut stdout = File::from(writers.stdout);
        writeln!(stdout, "instance {instance}").unwrap();
        drop((stdout, writers.stderr));
        wait_until_drained(&mut output);
    }
    output.detach();
    let (stdout, _) = log_writer.finish();
    let expected: String = (0..50).map(|instance| format!("app       | instance {instance}\n")).collect();
    assert_eq!(stdout, expected);
}

#[test]
fn a_log_writer_that_dies_loses_nothing_that_is_still_in_a_pipe() {
    let mut output = Output::new(Destination::Terminal, NAMES).unwrap();
    let (mut stdout, stderr) = open(&mut output, "app");
    let (ours, theirs) = log_socket::pair().unwrap();
    output.attach(ours).unwrap();
    stdout.write_all(b"read by the first\nread by the second\n").unwrap();
    // The first one takes all its descriptors, reads one line, and is killed.
    let mut buffer: Buffer = [0; MESSAGE_BYTES_MAX + 1];
    let mut read_ends = Vec::new();
    while let Received::Message(_, descriptor) = log_socket::receive(theirs.as_fd(), &mut buffer).unwrap() {
        read_ends.extend(descriptor);
    }
    assert_eq!(read_ends.len(), 3);
    let mut line = [0; b"read by the first\n".len()];
    assert_eq!(read(&read_ends[1], &mut line), Ok(line.len()));
    drop((read_ends, theirs));

    assert!(readable(&output, DEADLINE_MS));
    output.handle_events();
    assert!(!output.is_attached());
    // Nobody reads now, and still it is no broken pipe.
    stdout.write_all(b"written meanwhile\n").unwrap();
    output.write_line(Severity::Info, "starting the log writer again");
    let log_writer = Running::attached_to(&mut output);
    drop((stdout, stderr));
    wait_until_drained(&mut output);
    output.detach();
    let (stdout, stderr) = log_writer.finish();
    assert_eq!(stdout, "app       | read by the second\napp       | written meanwhile\n");
    assert_eq!(stderr, "outrigger * starting the log writer again\n");
}

#[test]
fn log_files_hold_every_byte() {
    let logs = tempfile::tempdir().unwrap();
    let mut output = Output::new(Destination::Files(logs.path()), NAMES).unwrap();
    let log_writer = Running::attached_to(&mut output);
    // All values, among them newline, NUL and what is no UTF-8; then lines beyond the bound.
    let mut sent: Vec<u8> = (0..=255).cycle().take(5000).collect();
    sent.extend(vec![b'x'; 100_000]);
    sent.extend(b"\nshort\n");
    sent.extend(vec![0; 40_000]);
    let (mut stdout, mut stderr) = open(&mut output, "app");
    stdout.write_all(&sent).unwrap();
    stderr.write_all(b"on standard error").unwrap();
    output.write_line(Severity::Info, "not in the files of containers");
    drop((stdout, stderr));
    wait_until_drained(&mut output);
    output.detach();
    let (stdout, stderr) = log_writer.finish();
    assert_eq!((stdout.as_str(), stderr.as_str()), ("", "outrigger * not in the files of containers\n"));

    let (log, errors) = parse(&logs.path().join("web/app/0.log"));
    assert_eq!(errors, b"on standard error\n");
    assert_eq!(log, [sent, b"\n".to_vec()].concat());
}

#[test]
fn what_a_log_file_never_could_say_is_said_on_standard_error() {
    let logs = tempfile::tempdir().unwrap();
    std::fs::write(logs.path().join("web"), "a file where a directory should be").unwrap();
    let mut output = Output::new(Destination::Files(logs.path()), NAMES).unwrap();
    let log_writer = Running::attached_to(&mut output);
    let (mut drained, drained_stderr) = open(&mut output, "app");
    drained.write_all(b"one\ntwo\n").unwrap();
    drop((drained, drained_stderr));
    wait_until_drained(&mut output);
    let (mut forgotten, _stderr) = open(&mut output, "proxy");
    forgotten.write_all(b"three\n").unwrap();
    output.detach();
    let (_, stderr) = log_writer.finish();
    let begins = |container: &str, lines: u32| {
        let path = logs.path().join("web").join(container).join("0.log");
        format!("outrigger * warning: lines lost of `{}`: {lines}: ", path.display())
    };
    let lines: Vec<_> = stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{stderr}");
    assert!(lines[0].starts_with(&begins("app", 2)), "{stderr}");
    assert!(lines[1].starts_with(&begins("proxy", 1)), "{stderr}");
}

/// What a log shipper makes of a file: the text of the two streams, partial lines joined.
fn parse(path: &Path) -> (Vec<u8>, Vec<u8>) {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    for entry in std::fs::read(path).unwrap().split_inclusive(|byte| *byte == b'\n') {
        let entry = entry.strip_suffix(b"\n").unwrap();
        let mut fields = entry.splitn(4, |byte| *byte == b' ').skip(1);
        let text = match fields.next().unwrap() {
            b"stdout" => &mut stdout,
            b"stderr" => &mut stderr,
            other => panic!("{other:?}"),
        };
        let tag = fields.next().unwrap();
        text.extend_from_slice(fields.next().unwrap());
        match tag {
            b"F" => text.push(b'\n'),
            b"P" => {}
            other => panic!("{other:?}"),
        }
    }
    (stdout, stderr)
}

#[test]
fn a_forgotten_writer_does_not_keep_the_log_writer() {
    let mut output = Output::new(Destination::Terminal, NAMES).unwrap();
    let (mut stdout, _stderr) = open(&mut output, "app");
    stdout.write_all(b"line\nunfinished").unwrap();
    output.write_line(Severity::Info, "last word");
    let log_writer = Running::attached_to(&mut output);
    drop(output);
    let (text, errors) = log_writer.finish();
    assert_eq!(text, "app       | line\napp       | unfinished\n");
    assert_eq!(errors, "outrigger * last word\n");
}

#[test]
fn a_flood_does_not_silence_others() {
    let mut output = Output::new(Destination::Terminal, NAMES).unwrap();
    let mut log_writer = Running::attached_to(&mut output);
    let (mut flood, _flood_stderr) = open(&mut output, "flood");
    let (_stdout, mut quiet_stderr) = open(&mut output, "quiet");
    // It ends when its pipe has no reader any more.
    let flooding = thread::spawn(move || while flood.write_all(&[b'x'; 4096]).is_ok() {});
    read_until(&mut log_writer.stdout, "xxxx");
    let mut flooded = log_writer.stdout.try_clone().unwrap();
    let reading = thread::spawn(move || rest(&mut flooded));
    for _ in 0..20 {
        quiet_stderr.write_all(b"still heard\n").unwrap();
        read_until(&mut log_writer.stderr, "still heard\n");
    }
    drop(output);
    log_writer.thread.join().unwrap().unwrap();
    flooding.join().unwrap();
    reading.join().unwrap();
}

#[test]
fn closed_standard_output_does_not_stop_containers() {
    let mut output = Output::new(Destination::Terminal, NAMES).unwrap();
    let log_writer = Running::attached_to(&mut output);
    drop(log_writer.stdout);
    let (mut stdout, mut stderr) = open(&mut output, "app");
    let mut errors = log_writer.stderr;
    // Much more than all pipes hold together.
    for _ in 0..100 {
        stdout.write_all("0123456789abcde\n".repeat(1000).as_bytes()).unwrap();
    }
    stderr.write_all(b"still here\n").unwrap();
    read_until(&mut errors, "still here\n");
    drop((stdout, stderr));
    wait_until_drained(&mut output);
    drop(output);
    log_writer.thread.join().unwrap().unwrap();
}

#[test]
fn one_file_for_output_and_errors_gets_both() {
    let (ours, theirs) = log_socket::pair().unwrap();
    let (mut reader, writer) = pipe();
    let file = |file| StandardFile { file, style: PLAIN };
    let settings = Settings { stdout: file(writer.try_clone().unwrap()), stderr: file(writer) };
    let thread = thread::spawn(move || run(theirs, settings));
    let mut output = Output::new(Destination::Terminal, NAMES).unwrap();
    output.attach(ours).unwrap();
    let (mut stdout, mut stderr) = open(&mut output, "app");
    for number in 0..20 {
        let stream = if number % 3 == 0 { &mut stderr } else { &mut stdout };
        writeln!(stream, "line {number}.").unwrap();
        read_until(&mut reader, &format!("line {number}.\n"));
    }
    drop((output, stdout, stderr));
    thread.join().unwrap().unwrap();
    assert!(rest(&mut reader).is_empty());
}

#[test]
fn streams_that_do_not_fit_into_the_socket_are_sent_later() {
    let mut output = Output::new(Destination::Terminal, NAMES).unwrap();
    let (ours, theirs) = log_socket::pair().unwrap();
    // The kernel raises it to its minimum, which is room for a few messages.
    setsockopt(&ours, sockopt::SndBuf, &1).unwrap();
    output.attach(ours).unwrap();
    let names: Vec<_> = (0..40).map(|number| format!("app-{number}")).collect();
    for name in &names {
        let (mut stdout, _stderr) = open(&mut output, name);
        writeln!(stdout, "hello from {name}").unwrap();
    }
    // Nothing to do before the log writer reads: no busy turns.
    assert!(!readable(&output, 0));
    let log_writer = Running::new(theirs);
    wait_until_drained(&mut output);
    output.detach();
    let (stdout, _) = log_writer.finish();
    assert_eq!(stdout.lines().count(), names.len());
    for name in &names {
        assert!(stdout.contains(&format!("hello from {name}\n")), "{name} in {stdout}");
    }
}

#[test]
fn garbage_ends_the_log_writer_with_an_error() {
    let cases: [(&[u8], &str); 3] = [
        (b"garbage", "cannot understand the supervisor: malformed message: kind"),
        (b"\x02\x00\x00\x00", "cannot understand the supervisor: a stream came without its descriptor"),
        (&[1; MESSAGE_BYTES_MAX], "cannot understand the supervisor: malformed message: log directory"),
    ];
    for (message, expected) in cases {
        let (ours, theirs) = log_socket::pair().unwrap();
        log_socket::send(ours.as_fd(), message, None, MsgFlags::empty()).unwrap();
        let error = Running::new(theirs).thread.join().unwrap().unwrap_err();
        assert!(error.to_string().starts_with(expected), "{error}");
    }
}

#[test]
fn the_end_of_an_output_is_told_where_it_is_wanted() {
    let mut output = Output::new(Destination::Terminal, NAMES).unwrap();
    let log_writer = Running::attached_to(&mut output);
    let wanted = Labels { last_lines: true, position: 7, ..labels("app", 3) };
    let Writers { stdout, stderr } = output.open(wanted).unwrap();
    let (mut stdout, mut stderr) = (File::from(stdout), File::from(stderr));
    stdout.write_all(b"one\n").unwrap();
    let (mut other, other_stderr) = open(&mut output, "other");
    other.write_all(b"not wanted\n").unwrap();
    drop((stdout, other, other_stderr));
    // The second line comes when the first stream has ended: what came first stands first.
    while output.open_streams() > 1 {
        assert!(readable(&output, DEADLINE_MS), "{output:?}");
        output.handle_events();
    }
    assert_eq!(output.take_endings(), [], "its standard error is still open");
    stderr.write_all(b"cannot open \xff").unwrap();
    drop(stderr);
    wait_until_drained(&mut output);
    let ending = Ending { position: 7, instance: 3 };
    assert_eq!(output.take_endings(), [(ending, b"one\ncannot open \xff".as_slice().into())]);
    assert_eq!(output.take_endings(), []);
    output.detach();
    log_writer.finish();
}
