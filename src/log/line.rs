//! From bytes to lines. Every byte of a stream stands in exactly one piece, except the newlines
//! that end them.

/// Longest piece of a line, in bytes. What the CRI allows before a line must be split
/// (containerd's default `max_container_log_line_size`); it bounds what one stream can hold.
pub const LINE_BYTES_MAX: usize = 16 * 1024;

/// What may stay allocated for a stream without an unfinished line, in bytes.
const IDLE_BYTES_MAX: usize = 256;

/// A line, or a part of a line that is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// At most [`LINE_BYTES_MAX`] bytes of any value but newline.
    pub text: &'a [u8],
    /// Whether the line began in an earlier piece.
    pub continued: bool,
    /// Whether the line ends with this piece.
    pub last: bool,
}

/// The unfinished line of one stream.
#[derive(Debug, Default)]
pub struct Lines {
    unfinished: Vec<u8>,
    continued: bool,
}

impl Lines {
    /// Takes the next bytes of the stream and hands on what is complete.
    ///
    /// A line is split only when a byte comes that does not fit, so a line of exactly
    /// [`LINE_BYTES_MAX`] bytes is one piece.
    pub fn push(&mut self, bytes: &[u8], take: &mut dyn FnMut(Piece<'_>)) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = LINE_BYTES_MAX.saturating_sub(self.unfinished.len());
            let end = rest.iter().take(room + 1).position(|byte| *byte == b'\n');
            if let Some((text, behind)) = end.and_then(|end| rest.split_at_checked(end)) {
                self.hand_on(text, true, take);
                rest = behind.get(1..).unwrap_or_default();
            } else if let (true, Some((text, behind))) = (rest.len() > room, rest.split_at_checked(room)) {
                self.hand_on(text, false, take);
                rest = behind;
            } else {
                self.unfinished.extend_from_slice(rest);
                rest = &[];
            }
        }
    }

    /// The stream has ended: hands on what no newline has ended.
    pub fn finish(&mut self, take: &mut dyn FnMut(Piece<'_>)) {
        if self.continued || !self.unfinished.is_empty() {
            self.hand_on(&[], true, take);
        }
    }

    fn hand_on(&mut self, text: &[u8], last: bool, take: &mut dyn FnMut(Piece<'_>)) {
        let continued = self.continued;
        if self.unfinished.is_empty() {
            take(Piece { text, continued, last });
        } else {
            self.unfinished.extend_from_slice(text);
            take(Piece { text: &self.unfinished, continued, last });
            self.unfinished.clear();
            self.unfinished.shrink_to(IDLE_BYTES_MAX);
        }
        self.continued = !last;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = LINE_BYTES_MAX;

    /// The pieces as `(text, tag)`, with `+` in front of the tag where a line goes on.
    fn split(chunks: &[&[u8]]) -> Vec<(Vec<u8>, &'static str)> {
        let mut pieces = Vec::new();
        let mut take = |piece: Piece<'_>| {
            assert!(piece.text.len() <= MAX);
            let tag = match (piece.continued, piece.last) {
                (false, true) => "F",
                (false, false) => "P",
                (true, true) => "+F",
                (true, false) => "+P",
            };
            pieces.push((piece.text.to_vec(), tag));
        };
        let mut lines = Lines::default();
        for chunk in chunks {
            lines.push(chunk, &mut take);
        }
        lines.finish(&mut take);
        assert!(lines.unfinished.capacity() <= IDLE_BYTES_MAX);
        pieces
    }

    #[test]
    fn lines_end_at_newlines_and_at_the_end_of_the_stream() {
        type Case = (&'static [&'static [u8]], &'static [&'static [u8]]);
        let cases: &[Case] = &[
            (&[], &[]),
            (&[b""], &[]),
            (&[b"\n"], &[b""]),
            (&[b"\n\n"], &[b"", b""]),
            (&[b"a\nb\n"], &[b"a", b"b"]),
            (&[b"a\nb"], &[b"a", b"b"]),
            (&[b"a", b"b", b"\n"], &[b"ab"]),
            (&[b"a", b"\nb", b"c\n\n"], &[b"a", b"bc", b""]),
            (&[b"a\r\n"], &[b"a\r"]),
            (&[b"10%\r20%\r", b"\n"], &[b"10%\r20%\r"]),
            (&[b"\0a\0\n\0"], &[b"\0a\0", b"\0"]),
            (&[b"\xff\xc3", b"\x28\n"], &[b"\xff\xc3\x28"]),
        ];
        for (chunks, lines) in cases {
            let expected: Vec<_> = lines.iter().map(|line| (line.to_vec(), "F")).collect();
            assert_eq!(split(chunks), expected, "{chunks:?}");
        }
    }

    #[test]
    fn long_lines_are_split_only_where_they_must_be() {
        let text = |length: usize| vec![b'x'; length];
        let cases = [
            (MAX - 1, vec![(MAX - 1, "F")]),
            (MAX, vec![(MAX, "F")]),
            (MAX + 1, vec![(MAX, "P"), (1, "+F")]),
            (2 * MAX, vec![(MAX, "P"), (MAX, "+F")]),
            (2 * MAX + 1, vec![(MAX, "P"), (MAX, "+P"), (1, "+F")]),
        ];
        for (length, expected) in cases {
            let expected: Vec<_> = expected.into_iter().map(|(length, tag)| (text(length), tag)).collect();
            let with_newline = [text(length), vec![b'\n']].concat();
            // The pieces must not depend on where the reads happened to end.
            for size in [1, 7, MAX - 1, MAX, MAX + 1, 4 * MAX] {
                let chunks: Vec<&[u8]> = with_newline.chunks(size).collect();
                assert_eq!(split(&chunks), expected, "{length} bytes by {size}");
                let chunks: Vec<&[u8]> = with_newline[..length].chunks(size).collect();
                assert_eq!(split(&chunks), expected, "{length} bytes by {size}, no newline");
            }
        }
    }

    #[test]
    fn the_line_after_a_long_one_begins_anew() {
        let long = [vec![b'x'; MAX + 1], b"\ny\n".to_vec()].concat();
        let pieces = split(&[&long]);
        assert_eq!(pieces[2], (b"y".to_vec(), "F"));
        assert_eq!(pieces.len(), 3);
    }
}
