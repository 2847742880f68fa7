//! The kernel's log, `/dev/kmsg`: what PID 1 says there can be read with dmesg(1) when the console
//! is gone, and pstore keeps it over a crash of the kernel.

use core::fmt::Write;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;

use nix::fcntl::OFlag;

use crate::supervisor::report::Severity;

/// Longest record with its level, in bytes. The kernel takes 1024 less the longest prefix that it
/// puts before a line on the console, which is 48 (kernel/printk, `PRINTK_PREFIX_MAX`), and
/// refuses what is longer.
const RECORD_BYTES_MAX: usize = 976;

/// What stands at the end of a text that was cut.
const CUT: &str = "...";

/// syslog(3), `LOG_DAEMON`.
const FACILITY: u8 = 3;

/// The least severe level, syslog(3) `LOG_DEBUG`.
const LEVEL_MAX: u8 = 7;

/// The kernel's log, open for writing.
#[derive(Debug)]
pub struct Kmsg {
    file: Option<File>,
    /// Records of a lower level are shown on the console by the kernel.
    console_level: u8,
}

impl Kmsg {
    /// Opens it, and takes off the limit of 10 lines in 5 s beyond which the kernel drops what is
    /// written there (its documentation, sysctl `kernel.printk_devkmsg`; a `printk.devkmsg=` on
    /// the kernel's command line has the last word). Needs `/dev` and `/proc`.
    ///
    /// Without a kernel log (CONFIG_PRINTK) everything goes on, and nothing is written.
    pub fn open() -> Kmsg {
        let mut options = OpenOptions::new();
        let file = options.write(true).custom_flags(OFlag::O_NONBLOCK.bits()).open("/dev/kmsg").ok();
        // The kernel takes the word with its newline only.
        let _ = std::fs::write("/proc/sys/kernel/printk_devkmsg", "on\n");
        let printk = std::fs::read_to_string("/proc/sys/kernel/printk").unwrap_or_default();
        Kmsg { file, console_level: console_level(&printk) }
    }

    /// One that takes nothing.
    #[cfg(test)]
    pub(super) fn closed() -> Kmsg {
        Kmsg { file: None, console_level: LEVEL_MAX }
    }

    /// Writes a record for each line of `text`. The level is that of `severity`, or as much less
    /// severe as it needs for the kernel not to show it on the console, where it stands already.
    /// Only a kernel that was told to show everything (`debug`, `ignore_loglevel`) shows it twice.
    ///
    /// Never waits. What the kernel does not take is lost.
    pub fn write(&self, severity: Severity, text: &str) {
        use std::io::Write;
        let Some(mut file) = self.file.as_ref() else { return };
        let natural = match severity {
            Severity::Error => 3,
            Severity::Warning => 4,
            Severity::Info => 6,
        };
        for line in text.lines() {
            let _ = file.write(record(natural.max(self.console_level), line).as_bytes());
        }
    }
}

/// The level from which on the kernel shows nothing on the console: the first number of
/// `/proc/sys/kernel/printk`, bounded to those that there are.
pub(super) fn console_level(printk: &str) -> u8 {
    let first = printk.split_ascii_whitespace().next();
    first.and_then(|level| level.parse().ok()).unwrap_or(LEVEL_MAX).min(LEVEL_MAX)
}

/// One record as the kernel takes it: one line, without what could steer a terminal.
fn record(level: u8, line: &str) -> String {
    let mut record = format!("<{}>outrigger: ", FACILITY << 3 | level);
    for character in line.chars() {
        let before = record.len();
        if character.is_control() {
            // Control characters end at U+009F. Writing into a String does not fail.
            let _ = write!(record, "\\x{:02x}", u32::from(character));
        } else {
            record.push(character);
        }
        if record.len() > RECORD_BYTES_MAX {
            let mut end = before.min(RECORD_BYTES_MAX - CUT.len());
            while !record.is_char_boundary(end) {
                end -= 1;
            }
            record.truncate(end);
            record.push_str(CUT);
            break;
        }
    }
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_has_level_name_and_harmless_text() {
        for (level, line, expected) in [
            (3, "no `x`", "<27>outrigger: no `x`"),
            (6, "", "<30>outrigger: "),
            (7, "ü\x1b[2J\t\u{9b}", "<31>outrigger: ü\\x1b[2J\\x09\\x9b"),
        ] {
            assert_eq!(record(level, line), expected);
        }
    }

    #[test]
    fn a_long_record_is_cut_between_characters() {
        let fits = "x".repeat(RECORD_BYTES_MAX - "<30>outrigger: ".len());
        assert_eq!(record(6, &fits).len(), RECORD_BYTES_MAX);
        for long in
            ["x".repeat(2000), "ü".repeat(2000), format!("x{}", "漢".repeat(2000)), "\x01".repeat(2000)]
        {
            let record = record(6, &long);
            assert!(
                record.len() <= RECORD_BYTES_MAX && record.len() > RECORD_BYTES_MAX - 8,
                "{}",
                record.len()
            );
            assert!(record.ends_with(CUT), "{record}");
        }
    }

    #[test]
    fn the_level_of_the_console_is_the_first_number() {
        for (text, level) in [("4\t4\t1\t7\n", 4), ("7 4 1 7", 7), ("15\t4\t1\t7\n", 7), ("", 7), ("x", 7)] {
            assert_eq!(console_level(text), level, "{text:?}");
        }
    }
}
