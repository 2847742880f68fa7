//! The messages of sd_notify(3): assignments, one a line.

use super::first_line;
use crate::supervisor::notice::{KeepAlive, Notice};
use crate::supervisor::record;

/// What a message says. What is not known here is passed over, as the protocol wants it.
pub fn parse(message: &[u8]) -> Notice {
    let mut notice = Notice::default();
    for line in message.split(|&byte| byte == b'\n') {
        match line {
            b"READY=1" => notice.ready = true,
            b"STOPPING=1" => notice.stopping = true,
            b"WATCHDOG=1" => {
                notice.add(Notice { keep_alive: Some(KeepAlive::Alive), ..Notice::default() });
            }
            b"WATCHDOG=trigger" => notice.keep_alive = Some(KeepAlive::Failed),
            other => {
                if let Some(status) = other.strip_prefix(b"STATUS=") {
                    notice.status = Some(record::cut(&first_line(status)));
                }
            }
        }
    }
    notice
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_taken_and_the_rest_passed_over() {
        let said = |status: &str| Some(record::cut(status));
        let alive = Some(KeepAlive::Alive);
        let failed = Some(KeepAlive::Failed);
        for (message, expected) in [
            ("READY=1", Notice { ready: true, ..Notice::default() }),
            ("READY=1\n", Notice { ready: true, ..Notice::default() }),
            ("READY=0\nMAINPID=7\nnonsense\n\n=\nBARRIER=1", Notice::default()),
            ("", Notice::default()),
            (
                "STATUS=at first\nSTATUS= 7 of 9 \nWATCHDOG=1\nSTOPPING=1",
                Notice { stopping: true, status: said("7 of 9"), keep_alive: alive, ..Notice::default() },
            ),
            ("STATUS=", Notice { status: said(""), ..Notice::default() }),
            ("WATCHDOG=trigger\nWATCHDOG=1", Notice { keep_alive: failed, ..Notice::default() }),
        ] {
            assert_eq!(parse(message.as_bytes()), expected, "{message}");
        }
    }

    #[test]
    fn a_long_status_is_cut_and_bytes_that_are_no_text_are_survived() {
        let notice = parse(format!("STATUS={}", "ä".repeat(1000)).as_bytes());
        assert!(notice.status.is_some_and(|status| status.ends_with(" …")));
        let notice = parse(b"\xff\0\nSTATUS=\xff\xfe\nREADY=1");
        assert!(notice.ready && notice.status.is_some());
    }
}
