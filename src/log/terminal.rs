//! A line as `outrigger run` shows it: time of day (UTC), name, mark, text.
//!
//! ```text
//! 03:44:31.001 outrigger * app: started
//! 03:44:31.123 app       | listening on port 8080     standard output
//! 03:44:31.124 proxy     ! no upstream answers        standard error
//! 03:44:31.125 app       | {"users":[{"name":...      longer than 16 KiB:
//! 03:44:31.125 app       |+"ada"}]}                   goes on here
//! ```

use super::line::Piece;
use super::stream::{Source, Standard};
use super::wall_time::WallTime;

/// Widest name column, in characters. A longer name is shown whole and moves its own line only.
pub const NAME_WIDTH_MAX: u8 = 40;

/// The name before the supervisor's own lines.
const SUPERVISOR_NAME: &str = "outrigger";

const BOLD: &[u8] = b"\x1b[1m";
const BOLD_RED: &[u8] = b"\x1b[1;31m";
const RESET: &[u8] = b"\x1b[0m";

/// Cyan, yellow, green, magenta, blue, bright cyan, bright yellow, bright magenta. Not red, which
/// means an error here, nor black and white, one of which is the background.
const COLOURS: [&[u8]; 8] =
    [b"\x1b[36m", b"\x1b[33m", b"\x1b[32m", b"\x1b[35m", b"\x1b[34m", b"\x1b[96m", b"\x1b[93m", b"\x1b[95m"];

/// How containers are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Names {
    /// Width of the name column, in characters.
    pub width: u8,
    /// Whether `pod/container` or only `container` is shown.
    pub with_pod: bool,
}

impl Names {
    /// The names of all containers that there will be, as (pod, container). The pod is only
    /// named where there are several.
    pub fn new<'a>(containers: impl Iterator<Item = (&'a str, &'a str)> + Clone) -> Names {
        let first_pod = containers.clone().next().map(|(pod, _)| pod);
        let with_pod = containers.clone().any(|(pod, _)| Some(pod) != first_pod);
        let longest = containers
            .map(|(pod, container)| if with_pod { pod.len() + 1 + container.len() } else { container.len() })
            .fold(SUPERVISOR_NAME.len(), usize::max);
        Names { width: u8::try_from(longest).unwrap_or(u8::MAX).min(NAME_WIDTH_MAX), with_pod }
    }
}

/// What the file behind standard output or error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// A terminal: what could steer it is shown instead of sent. Anything else gets the
    /// container's bytes as they are.
    pub terminal: bool,
    /// Whether we colour names.
    pub colour: bool,
    /// The journal, which takes the priority of a line from its beginning (sd-daemon(3)).
    pub journal: bool,
}

/// What stands between time and text in every line of one stream.
#[derive(Debug)]
pub struct Column {
    name: Box<str>,
    colour: &'static [u8],
    mark: u8,
    mark_colour: &'static [u8],
}

impl Column {
    /// The column of lines from `source`.
    pub fn new(names: Names, source: Source<'_>) -> Column {
        let width = usize::from(names.width);
        let padded = |name: &str| format!("{name:width$}").into_boxed_str();
        match source {
            Source::Supervisor => {
                Column { name: padded(SUPERVISOR_NAME), colour: BOLD, mark: b'*', mark_colour: BOLD }
            }
            Source::Container { labels, standard } => {
                let name = if names.with_pod {
                    padded(&format!("{}/{}", labels.pod, labels.container))
                } else {
                    padded(labels.container)
                };
                let choice = usize::from(labels.position) % COLOURS.len();
                let colour = COLOURS.get(choice).copied().unwrap_or(BOLD);
                match standard {
                    Standard::Output => Column { name, colour, mark: b'|', mark_colour: colour },
                    Standard::Error => Column { name, colour, mark: b'!', mark_colour: BOLD_RED },
                }
            }
        }
    }
}

impl Column {
    /// What the journal is to read before a line. Those of containers have none: how bad they are
    /// is for the containers to know, and all get what the unit says (`SyslogLevel=`).
    fn priority(&self, text: &[u8]) -> &'static [u8] {
        match (self.mark, text) {
            (b'*', text) if text.starts_with(b"error: ") => b"<3>",
            (b'*', text) if text.starts_with(b"warning: ") => b"<4>",
            (b'*', _) => b"<6>",
            (_, _) => b"",
        }
    }
}

/// Appends one line.
pub fn push_line(out: &mut Vec<u8>, style: Style, column: &Column, time: WallTime, piece: Piece<'_>) {
    if style.journal {
        out.extend_from_slice(column.priority(piece.text));
    }
    time.push_time_of_day(out);
    out.push(b' ');
    push_coloured(out, style, column.colour, column.name.as_bytes());
    out.push(b' ');
    push_coloured(out, style, column.mark_colour, &[column.mark]);
    out.push(if piece.continued { b'+' } else { b' ' });
    if style.terminal {
        push_harmless(out, piece.text);
    } else {
        out.extend_from_slice(piece.text);
    }
    out.push(b'\n');
}

fn push_coloured(out: &mut Vec<u8>, style: Style, colour: &[u8], text: &[u8]) {
    if style.colour {
        out.extend_from_slice(colour);
    }
    out.extend_from_slice(text);
    if style.colour {
        out.extend_from_slice(RESET);
    }
}

/// Appends text so that it can colour itself but neither move the cursor, nor rename the window,
/// nor type into the terminal: control characters (C0 without tab, DEL, C1) and bytes that are no
/// UTF-8 are shown as `\xNN`. The carriage return of a line that ended with CR LF is left out.
fn push_harmless(out: &mut Vec<u8>, text: &[u8]) {
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    let mut coloured = false;
    for chunk in text.utf8_chunks() {
        let mut rest = chunk.valid();
        while let Some(first) = rest.chars().next() {
            let length = if first.is_control() && first != '\t' {
                match colour_sequence(rest.as_bytes()) {
                    Some(length) => {
                        coloured = true;
                        length
                    }
                    None => {
                        // C1 ends at U+009F, so every control character fits a byte.
                        push_escape(out, u8::try_from(u32::from(first)).unwrap_or(u8::MAX));
                        rest = rest.get(first.len_utf8()..).unwrap_or_default();
                        continue;
                    }
                }
            } else {
                rest.find(|next: char| next.is_control() && next != '\t').unwrap_or(rest.len())
            };
            let (plain, behind) = rest.split_at_checked(length).unwrap_or((rest, ""));
            out.extend_from_slice(plain.as_bytes());
            rest = behind;
        }
        for byte in chunk.invalid() {
            push_escape(out, *byte);
        }
    }
    if coloured {
        out.extend_from_slice(RESET);
    }
}

/// The length of the SGR sequence (ECMA-48: `ESC [ parameters m`) that `text` begins with.
fn colour_sequence(text: &[u8]) -> Option<usize> {
    let parameters = text.strip_prefix(b"\x1b[")?;
    let end = parameters.iter().position(|byte| !matches!(byte, b'0'..=b'9' | b';' | b':'))?;
    (parameters.get(end) == Some(&b'm')).then_some(2 + end + 1)
}

fn push_escape(out: &mut Vec<u8>, byte: u8) {
    let digit = |value: u8| if value < 10 { b'0' + value } else { b'a' + (value - 10) };
    out.extend_from_slice(&[b'\\', b'x', digit(byte >> 4), digit(byte & 0xf)]);
}

#[cfg(test)]
mod tests {
    use super::super::stream::Labels;
    use super::*;

    const PLAIN: Style = Style { terminal: false, colour: false, journal: false };

    fn container<'a>(pod: &'a str, container: &'a str, standard: Standard) -> Source<'a> {
        Source::Container {
            labels: Labels { pod, container, instance: 0, position: 1, last_lines: false },
            standard,
        }
    }

    fn line(style: Style, names: Names, source: Source<'_>, text: &[u8], continued: bool) -> String {
        let mut out = Vec::new();
        let piece = Piece { text, continued, last: true };
        push_line(&mut out, style, &Column::new(names, source), WallTime::new(31, 123_000_000), piece);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn in_the_journal_lines_of_the_supervisor_have_their_priority() {
        let style = Style { journal: true, ..PLAIN };
        let names = Names::new([("web", "app")].into_iter());
        for (source, text, expected) in [
            (Source::Supervisor, "error: no", "<3>00:00:31.123 outrigger * error: no\n"),
            (Source::Supervisor, "warning: well", "<4>00:00:31.123 outrigger * warning: well\n"),
            (Source::Supervisor, "errors: none", "<6>00:00:31.123 outrigger * errors: none\n"),
            (container("web", "app", Standard::Error), "error: no", "00:00:31.123 app       ! error: no\n"),
        ] {
            assert_eq!(line(style, names, source, text.as_bytes(), false), expected);
        }
    }

    #[test]
    fn lines_say_when_and_from_whom() {
        let one = Names::new([("web", "app"), ("web", "network-proxy")].into_iter());
        let two = Names::new([("web", "app"), ("db", "db")].into_iter());
        let app = |standard| container("web", "app", standard);
        let cases = [
            (one, app(Standard::Output), false, "00:00:31.123 app           | text\n"),
            (one, app(Standard::Error), false, "00:00:31.123 app           ! text\n"),
            (one, app(Standard::Error), true, "00:00:31.123 app           !+text\n"),
            (one, Source::Supervisor, false, "00:00:31.123 outrigger     * text\n"),
            (two, app(Standard::Output), false, "00:00:31.123 web/app   | text\n"),
            (two, Source::Supervisor, false, "00:00:31.123 outrigger * text\n"),
        ];
        for (names, source, continued, expected) in cases {
            assert_eq!(line(PLAIN, names, source, b"text", continued), expected);
        }
    }

    #[test]
    fn colour_frames_name_and_mark_only() {
        let style = Style { terminal: true, colour: true, journal: false };
        let names = Names { width: 5, with_pod: false };
        let cases = [
            (
                container("web", "app", Standard::Output),
                "00:00:31.123 \x1b[33mapp  \x1b[0m \x1b[33m|\x1b[0m text\n",
            ),
            (
                container("web", "app", Standard::Error),
                "00:00:31.123 \x1b[33mapp  \x1b[0m \x1b[1;31m!\x1b[0m text\n",
            ),
            (Source::Supervisor, "00:00:31.123 \x1b[1moutrigger\x1b[0m \x1b[1m*\x1b[0m text\n"),
        ];
        for (source, expected) in cases {
            assert_eq!(line(style, names, source, b"text", false), expected);
        }
    }

    #[test]
    fn the_name_column_is_bounded() {
        let long = "x".repeat(63);
        type Case<'a> = (&'a [(&'a str, &'a str)], u8, bool);
        let cases: &[Case<'_>] = &[
            (&[], 9, false),
            (&[("web", "app")], 9, false),
            (&[("web", "twelve-chars")], 12, false),
            (&[("web", "app"), ("web", "proxy")], 9, false),
            (&[("web", "app"), ("gateway", "proxy")], 13, true),
            (&[(&long, &long), ("web", "app")], NAME_WIDTH_MAX, true),
        ];
        for (containers, width, with_pod) in cases {
            let names = Names::new(containers.iter().copied());
            assert_eq!(names, Names { width: *width, with_pod: *with_pod }, "{containers:?}");
        }
    }

    #[test]
    fn a_terminal_gets_nothing_that_steers_it() {
        let cases: &[(&[u8], &str)] = &[
            (b"", ""),
            ("plain, t\tab, ümläut, 漢字".as_bytes(), "plain, t\tab, ümläut, 漢字"),
            (b"crlf\r", "crlf"),
            (b"10%\r20%", "10%\\x0d20%"),
            (b"\0\x07\x08\x7f", "\\x00\\x07\\x08\\x7f"),
            (b"\xff\xc3(", "\\xff\\xc3("),
            (b"cut \xe6\xbc", "cut \\xe6\\xbc"),
            // Colours stay, and end with the line.
            (b"\x1b[31mred\x1b[m", "\x1b[31mred\x1b[m\x1b[0m"),
            (b"\x1b[38;2;1:2mx", "\x1b[38;2;1:2mx\x1b[0m"),
            // Clear the screen, move up, ask for the cursor, private mode, unfinished sequences.
            (b"\x1b[2J", "\\x1b[2J"),
            (b"\x1b[1A", "\\x1b[1A"),
            (b"\x1b[6n", "\\x1b[6n"),
            (b"\x1b[?25l", "\\x1b[?25l"),
            (b"\x1b[>4;1m", "\\x1b[>4;1m"),
            (b"\x1b[1", "\\x1b[1"),
            (b"\x1b", "\\x1b"),
            (b"\x1bc", "\\x1bc"),
            // Window title by OSC, and the one-character forms of OSC and CSI.
            (b"\x1b]0;title\x07", "\\x1b]0;title\\x07"),
            (b"\xc2\x9b2J", "\\x9b2J"),
            (b"\x9b2J", "\\x9b2J"),
        ];
        for (text, expected) in cases {
            let mut out = Vec::new();
            push_harmless(&mut out, text);
            assert_eq!(String::from_utf8(out).unwrap(), *expected, "{text:?}");
        }
    }

    #[test]
    fn a_file_gets_every_byte_as_it_is() {
        let mut out = Vec::new();
        let text = b"\x1b[2J\0\xff\r";
        let column =
            Column::new(Names { width: 3, with_pod: false }, container("p", "app", Standard::Output));
        push_line(
            &mut out,
            PLAIN,
            &column,
            WallTime::default(),
            Piece { text, continued: false, last: true },
        );
        assert_eq!(out, b"00:00:00.000 app | \x1b[2J\0\xff\r\n");
    }
}
