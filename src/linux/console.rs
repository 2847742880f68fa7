//! The console of the machine: standard input, output and error of PID 1 and of what it starts,
//! and a way of its own for PID 1's lines that never waits.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::termios::{
    ControlFlags, InputFlags, LocalFlags, OutputFlags, SetArg, SpecialCharacterIndices, Termios, tcgetattr,
    tcsetattr,
};
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout};

use super::clock;
use super::kmsg::Kmsg;
use super::output::prefix;
use super::reason;
use crate::log::line::Piece;
use crate::log::stream::Source;
use crate::log::terminal::{self, Column, Names, Style};
use crate::supervisor::report::Severity;

const CONSOLE: &str = "/dev/console";

/// Where PID 1 says what it does while no log writer runs.
#[derive(Debug)]
pub struct Console {
    /// A description of our own, so that not waiting for a stopped line is for us alone.
    own: Option<OwnedFd>,
    kmsg: Kmsg,
    style: Style,
    column: Column,
    lost: u32,
    /// The last line on the console has no end.
    cut: bool,
}

impl Console {
    /// Makes `/dev/console` standard input, output and error, with settings as after `stty sane`.
    /// Needs `/dev` and `/proc`; may be called again.
    ///
    /// A machine without a console gets `/dev/null` there, and what is said goes to the kernel's
    /// log alone, where the reason stands as well.
    pub fn open() -> Console {
        let kmsg = Kmsg::open();
        let connected = connect_standard_streams();
        // Not `O_NDELAY` on the streams themselves: others read and write there who know nothing
        // of it.
        let flags = (OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits();
        let own = OpenOptions::new().write(true).custom_flags(flags).open(CONSOLE);
        if let Some(error) = connected.err().or(own.as_ref().err().map(reason)) {
            let text = format!("cannot open `{CONSOLE}`: {error}; all is written to the kernel's log alone");
            kmsg.write(Severity::Warning, &text);
        }
        let own = own.ok().map(OwnedFd::from);
        let is_terminal = own.as_ref().is_some_and(|own| nix::unistd::isatty(own).unwrap_or(false));
        Console {
            own,
            kmsg,
            // What is on the other end of a serial line nobody knows: no colours.
            style: Style { terminal: is_terminal, colour: false, journal: false },
            column: Column::new(Names::new(core::iter::empty()), Source::Supervisor),
            lost: 0,
            cut: false,
        }
    }

    /// Says something: on the console as `outrigger run` would, and in the kernel's log. Never
    /// waits: what a stopped line does not take is in the kernel's log alone, and counted.
    pub fn write_line(&mut self, severity: Severity, text: &str) {
        self.kmsg.write(severity, text);
        let Some(own) = self.own.take() else { return };
        let mut prefix = prefix(severity);
        for line in text.lines() {
            self.push(own.as_fd(), &format!("{prefix}{line}"));
            prefix = "";
        }
        self.own = Some(own);
    }

    /// Writes into the kernel's log alone.
    pub fn note(&self, severity: Severity, text: &str) {
        self.kmsg.write(severity, text);
    }

    fn push(&mut self, own: BorrowedFd<'_>, text: &str) {
        let mut bytes = Vec::new();
        if self.cut {
            bytes.push(b'\n');
        }
        let mut add = |text: &str| {
            let piece = Piece { text: text.as_bytes(), continued: false, last: true };
            terminal::push_line(&mut bytes, self.style, &self.column, clock::wall_time(), piece);
        };
        if self.lost > 0 {
            add(&format!("warning: lines that are in the kernel's log alone: {}", self.lost));
        }
        add(text);
        match write_what_fits(own, &bytes) {
            0 => self.lost = self.lost.saturating_add(1),
            written => {
                self.cut = written < bytes.len();
                self.lost = u32::from(self.cut);
            }
        }
    }
}

/// How many bytes went out without waiting.
fn write_what_fits(fd: BorrowedFd<'_>, bytes: &[u8]) -> usize {
    let mut rest = bytes;
    while !rest.is_empty() {
        match nix::unistd::write(fd, rest) {
            Ok(0) => break,
            Ok(count) => rest = rest.get(count..).unwrap_or_default(),
            Err(Errno::EINTR) => {}
            // Full, or hung up: neither changes by trying again now.
            Err(_) => break,
        }
    }
    bytes.len() - rest.len()
}

/// Puts the console, or else `/dev/null`, in the place of descriptors 0, 1 and 2. In the error: why
/// there is no console.
fn connect_standard_streams() -> Result<(), String> {
    let open = |path| {
        // Not our controlling terminal: Ctrl-C and a line that hangs up would signal PID 1.
        OpenOptions::new().read(true).write(true).custom_flags(OFlag::O_NOCTTY.bits()).open(path)
    };
    let (file, result) = match open(CONSOLE) {
        Ok(file) => (file, Ok(())),
        // Without that, too, what was there stays there.
        Err(error) => match open("/dev/null") {
            Ok(null) => (null, Err(reason(&error))),
            Err(_) => return Err(reason(&error)),
        },
    };
    let put = dup2_stdin(&file).and_then(|()| dup2_stdout(&file)).and_then(|()| dup2_stderr(&file));
    put.map_err(|errno| errno.desc().to_owned())?;
    if result.is_ok() {
        reset_terminal();
    }
    result
}

/// Gives the console the settings of `stty sane`, but for two: it does not look at the carrier
/// (most serial lines of devices have none), and a received Ctrl-S does not stop it, as noise on an
/// open line would. Nothing is done where standard input is no terminal.
pub fn reset_terminal() {
    let stdin = io::stdin();
    if let Ok(mut settings) = tcgetattr(&stdin) {
        make_sane(&mut settings);
        // Now and not when all is written: a stopped line never has written all.
        let _ = tcsetattr(&stdin, SetArg::TCSANOW, &settings);
    }
}

/// Speed, character size and parity stay as the kernel's command line (`console=ttyS0,115200n8`)
/// has set them.
fn make_sane(settings: &mut Termios) {
    settings.input_flags = InputFlags::ICRNL | InputFlags::IMAXBEL | InputFlags::IUTF8;
    settings.output_flags = OutputFlags::OPOST | OutputFlags::ONLCR;
    settings.control_flags |= ControlFlags::CREAD | ControlFlags::CLOCAL | ControlFlags::HUPCL;
    settings.local_flags = LocalFlags::ISIG
        | LocalFlags::ICANON
        | LocalFlags::IEXTEN
        | LocalFlags::ECHO
        | LocalFlags::ECHOE
        | LocalFlags::ECHOK
        | LocalFlags::ECHOCTL
        | LocalFlags::ECHOKE;
    // As termios(3) names them; zero stands for none.
    for (index, value) in [
        (SpecialCharacterIndices::VINTR, 0o003),
        (SpecialCharacterIndices::VQUIT, 0o034),
        (SpecialCharacterIndices::VERASE, 0o177),
        (SpecialCharacterIndices::VKILL, 0o025),
        (SpecialCharacterIndices::VEOF, 0o004),
        (SpecialCharacterIndices::VMIN, 1),
        (SpecialCharacterIndices::VTIME, 0),
        (SpecialCharacterIndices::VSTART, 0o021),
        (SpecialCharacterIndices::VSTOP, 0o023),
        (SpecialCharacterIndices::VSUSP, 0o032),
        (SpecialCharacterIndices::VEOL, 0),
        (SpecialCharacterIndices::VREPRINT, 0o022),
        (SpecialCharacterIndices::VWERASE, 0o027),
        (SpecialCharacterIndices::VLNEXT, 0o026),
    ] {
        if let Some(character) = settings.control_chars.get_mut(index as usize) {
            *character = value;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;

    use nix::fcntl::{FcntlArg, fcntl};
    use nix::unistd::pipe2;

    use super::*;

    /// A console of one page that is read only when somebody asks.
    fn stopped() -> (File, Console) {
        let (read, write) = pipe2(OFlag::O_NONBLOCK | OFlag::O_CLOEXEC).unwrap();
        assert_eq!(fcntl(&write, FcntlArg::F_SETPIPE_SZ(4096)), Ok(4096));
        let console = Console {
            own: Some(write),
            kmsg: Kmsg::closed(),
            style: Style { terminal: true, colour: false, journal: false },
            column: Column::new(Names::new(core::iter::empty()), Source::Supervisor),
            lost: 0,
            cut: false,
        };
        (read.into(), console)
    }

    /// What stands on it, without the times.
    fn take(read: &mut File) -> Vec<String> {
        let mut bytes = vec![0; 8192];
        let count = read.read(&mut bytes).unwrap();
        let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
        text.lines().map(|line| line.get(13..).unwrap_or_default().to_owned()).collect()
    }

    #[test]
    fn a_stopped_console_holds_nobody_up_and_is_told_what_it_missed() {
        let (mut read, mut console) = stopped();
        // With time and name before it each line has 503 bytes: eight fit.
        let line = "x".repeat(477);
        for _ in 0..12 {
            console.write_line(Severity::Info, &line);
        }
        assert_eq!(take(&mut read), vec![format!("outrigger * {line}"); 8]);
        console.write_line(Severity::Error, "two\nlines\x1b[2J");
        let expected = [
            "outrigger * warning: lines that are in the kernel's log alone: 4",
            "outrigger * error: two",
            "outrigger * lines\\x1b[2J",
        ];
        assert_eq!(take(&mut read), expected);
    }

    #[test]
    fn a_line_that_went_out_in_part_is_ended_before_the_next() {
        let (mut read, mut console) = stopped();
        console.write_line(Severity::Info, &"x".repeat(9000));
        assert_eq!(take(&mut read).len(), 1);
        console.write_line(Severity::Info, "next");
        let expected =
            ["", "outrigger * warning: lines that are in the kernel's log alone: 1", "outrigger * next"];
        assert_eq!(take(&mut read), expected);
    }
}
