//! The end of what an instance has written, kept in case that it becomes its termination message.

use std::collections::VecDeque;

use super::line::Piece;
use crate::limits::{LAST_LINES_BYTES_MAX, LAST_LINES_MAX};

/// The last lines of both streams of one instance, in the order in which they came.
#[derive(Clone, Debug, Default)]
pub struct LastLines {
    bytes: VecDeque<u8>,
}

impl LastLines {
    /// Takes the next piece of a line.
    pub fn push(&mut self, piece: Piece<'_>) {
        // What is longer than all that is kept would only push itself out.
        let from = piece.text.len().saturating_sub(LAST_LINES_BYTES_MAX);
        self.bytes.extend(piece.text.get(from..).unwrap_or_default());
        if piece.last {
            self.bytes.push_back(b'\n');
        }
        let too_many = self.bytes.len().saturating_sub(LAST_LINES_BYTES_MAX);
        self.bytes.drain(..too_many);
    }

    /// The last [`LAST_LINES_MAX`] of them, without the last newline.
    pub fn into_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::from(self.bytes);
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
        }
        let newlines = bytes.iter().enumerate().rev().filter(|&(_, &byte)| byte == b'\n');
        if let Some((at, _)) = newlines.map(|(at, byte)| (at, *byte)).nth(LAST_LINES_MAX - 1) {
            bytes.drain(..=at);
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last_of(lines: &[&[u8]]) -> Vec<u8> {
        let mut last = LastLines::default();
        for text in lines {
            last.push(Piece { text, continued: false, last: true });
        }
        last.into_bytes()
    }

    #[test]
    fn the_last_lines_are_kept() {
        assert_eq!(last_of(&[]), b"");
        assert_eq!(last_of(&[b"DONE"]), b"DONE");
        assert_eq!(last_of(&[b"one", b"", b"two"]), b"one\n\ntwo");
        let many: Vec<String> = (0..100).map(|number| number.to_string()).collect();
        let lines: Vec<&[u8]> = many.iter().map(|line| line.as_bytes()).collect();
        let kept = many[20..].join("\n");
        assert_eq!(last_of(&lines), kept.as_bytes());
    }

    #[test]
    fn of_long_lines_the_end_is_kept() {
        let long = [b'x'; 3000];
        assert_eq!(last_of(&[b"before", &long]).len(), LAST_LINES_BYTES_MAX - 1);
        assert!(last_of(&[&long, b"behind"]).ends_with(b"x\nbehind"));
        let mut last = LastLines::default();
        last.push(Piece { text: b"not ", continued: false, last: false });
        last.push(Piece { text: b"ended", continued: true, last: false });
        assert_eq!(last.into_bytes(), b"not ended");
    }
}
