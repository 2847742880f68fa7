//! One mistake in a configuration file, and the report about all of them.
//!
//! A report is read by somebody beside a device, perhaps over a serial line: every mistake shows
//! its file, line and column, the text itself with a mark under it, and how to mend it.

use core::fmt;
use core::fmt::Write as _;
use core::ops::Range;

use super::Source;

/// Everything that is wrong with the files given to [`load`](super::load), ready to be printed.
///
/// Holds the finished text and not the mistakes: the files' bytes are needed to show them, and
/// nobody does anything with a mistake but read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    report: String,
    count: usize,
}

impl Problems {
    /// Number of mistakes, including those that the report only counts. Never 0.
    pub fn count(&self) -> usize {
        self.count
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.report)
    }
}

impl std::error::Error for Problems {}

/// Mistakes shown in full; further ones are only counted. A file in the wrong format would
/// otherwise fill the console with one mistake a line.
const SHOWN_MAX: usize = 100;

/// Damaged pieces remembered of one file. Past it nothing is believed but what is not TOML.
const DAMAGE_MAX: usize = 100;

/// Gathers mistakes while the files are read one after another.
pub(super) struct ProblemList<'s> {
    sources: Vec<&'s Source>,
    /// The file that is being read: a position in `sources`.
    file: usize,
    /// Where the file that is being read is not TOML.
    damage: Vec<Range<usize>>,
    problems: Vec<Problem>,
    count: usize,
}

struct Problem {
    message: String,
    at: Option<Place>,
    also: Option<Place>,
    /// Lines that show it where no place does.
    table: Vec<String>,
    help: String,
}

/// A piece of a file and what is said beside it.
pub(super) struct Place {
    pub(super) file: usize,
    pub(super) at: Range<usize>,
    pub(super) label: String,
}

impl<'s> ProblemList<'s> {
    pub(super) fn new(sources: Vec<&'s Source>) -> ProblemList<'s> {
        ProblemList { sources, file: 0, damage: Vec::new(), problems: Vec::new(), count: 0 }
    }

    /// What is added from now on is about the file at this position.
    pub(super) fn begin_file(&mut self, file: usize) {
        self.file = file;
        self.damage.clear();
    }

    /// A piece of text that is not TOML. What was to be read there is lost, so from now on
    /// mistakes that may only be consequences are not added.
    pub(super) fn add_syntax(&mut self, at: Range<usize>, message: String, help: &str) {
        self.push(message, Some(self.place(&at, "")), None, help);
        self.mark_damage(at);
    }

    /// The same without a message, where another one says enough.
    pub(super) fn mark_damage(&mut self, at: Range<usize>) {
        if self.damage.len() < DAMAGE_MAX {
            self.damage.push(at);
        }
    }

    /// A mistake in the value at `at`.
    pub(super) fn add(&mut self, at: &Range<usize>, message: String, label: &str, help: &str) {
        if self.is_credible(at) {
            self.push(message, Some(self.place(at, label)), None, help);
        }
    }

    /// A mistake about what is there and what is missing, so not credible in a damaged file.
    pub(super) fn add_structural(&mut self, at: &Range<usize>, message: String, label: &str, help: &str) {
        if self.damage.is_empty() {
            self.push(message, Some(self.place(at, label)), None, help);
        }
    }

    /// A mistake that is made by two pieces together.
    pub(super) fn add_pair(
        &mut self,
        at: &Range<usize>,
        message: String,
        label: &str,
        also: Place,
        help: &str,
    ) {
        if self.is_credible(at) {
            self.push(message, Some(self.place(at, label)), Some(also), help);
        }
    }

    /// A mistake of a whole file that cannot even be shown.
    pub(super) fn add_to_file(&mut self, message: String, help: &str) {
        self.push(message, None, None, help);
    }

    /// A mistake of all files together, shown by the lines of a table.
    pub(super) fn add_table(&mut self, message: String, table: Vec<String>, help: &str) {
        self.push(message, None, None, help);
        if let Some(problem) = self.problems.last_mut().filter(|_| self.count <= SHOWN_MAX) {
            problem.table = table;
        }
    }

    /// The name of a file as the user wrote it.
    pub(super) fn file_name(&self, file: usize) -> &str {
        self.sources.get(file).map_or("", |source| source.name.as_str())
    }

    /// A place in the file that is being read.
    pub(super) fn place(&self, at: &Range<usize>, label: &str) -> Place {
        Place { file: self.file, at: at.clone(), label: label.to_owned() }
    }

    /// The number of mistakes so far.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Whether the file that is being read has pieces that are not TOML.
    pub(super) fn is_damaged(&self) -> bool {
        !self.damage.is_empty()
    }

    /// The report, or nothing if there was no mistake.
    pub(super) fn into_problems(mut self) -> Option<Problems> {
        if self.count == 0 {
            return None;
        }
        self.problems
            .sort_by_key(|problem| problem.at.as_ref().map_or((usize::MAX, 0), |at| (at.file, at.at.start)));
        let mut report = String::new();
        for problem in &self.problems {
            write_problem(&mut report, &self.sources, problem);
            report.push('\n');
        }
        let hidden = self.count - self.problems.len();
        if hidden > 0 {
            // Writing to a String cannot fail, here and below.
            let _ = writeln!(report, "... and {hidden} more\n");
        }
        let noun = if self.count == 1 { "mistake" } else { "mistakes" };
        let _ = writeln!(report, "error: cannot use this configuration: {} {noun}", self.count);
        Some(Problems { report, count: self.count })
    }

    fn push(&mut self, message: String, at: Option<Place>, also: Option<Place>, help: &str) {
        self.count += 1;
        if self.problems.len() < SHOWN_MAX {
            self.problems.push(Problem { message, at, also, table: Vec::new(), help: help.to_owned() });
        }
    }

    /// In a damaged file, values on a damaged line may be what the parser put in for the lost
    /// ones, and so may values without a text.
    fn is_credible(&self, at: &Range<usize>) -> bool {
        if self.damage.is_empty() {
            return true;
        }
        let Some(source) = self.sources.get(self.file) else { return true };
        let line = line_around(&source.bytes, at.start);
        self.damage.len() < DAMAGE_MAX
            && !at.is_empty()
            && !self.damage.iter().any(|damage| damage.start <= line.end && damage.end >= line.start)
    }
}

/// Where something is missing in a file as a whole: the place that the parser gives to the table
/// around everything.
const WHOLE_FILE: Range<usize> = 0..0;

/// A piece of the user's text for use in a message: in backticks, printable, and not endless.
pub(super) fn quote(text: &str) -> String {
    let mut quoted = String::from("`");
    push_shown(&mut quoted, text);
    quoted.push('`');
    quoted
}

fn push_shown(out: &mut String, text: &str) {
    const CHARACTERS_MAX: usize = 80;
    for (count, character) in text.chars().enumerate() {
        if count == CHARACTERS_MAX {
            out.push('…');
            break;
        }
        out.push(printable(character));
    }
}

fn write_problem(out: &mut String, sources: &[&Source], problem: &Problem) {
    let _ = writeln!(out, "error: {}", problem.message);
    let excerpts = [(&problem.at, "-->", '^'), (&problem.also, ":::", '-')].map(|(place, arrow, mark)| {
        let place = place.as_ref()?;
        let source = sources.get(place.file)?;
        Some((source, Excerpt::cut(&source.bytes, &place.at), place, arrow, mark))
    });
    let digits =
        excerpts.iter().flatten().map(|(_, excerpt, ..)| excerpt.line.to_string().len()).max().unwrap_or(1);
    for (source, excerpt, place, arrow, mark) in excerpts.iter().flatten() {
        let mut name = String::new();
        push_shown(&mut name, &source.name);
        let Excerpt { line, column, text, indent, width } = excerpt;
        if place.at == WHOLE_FILE {
            let _ = writeln!(out, "{:digits$}{arrow} {name}", "");
            continue;
        }
        let _ = writeln!(out, "{:digits$}{arrow} {name}:{line}:{column}", "");
        let _ = writeln!(out, "{:digits$} |", "");
        let _ = writeln!(out, "{}", format!("{line:digits$} | {text}").trim_end());
        let marks: String = core::iter::repeat_n(*mark, *width).collect();
        let underlined = format!("{:digits$} | {:indent$}{marks} {}", "", "", place.label);
        let _ = writeln!(out, "{}", underlined.trim_end());
    }
    if !problem.table.is_empty() {
        let _ = writeln!(out, "{:digits$} |", "");
    }
    for line in &problem.table {
        let _ = writeln!(out, "{}", format!("{:digits$} | {line}", "").trim_end());
    }
    let _ = writeln!(out, "{:digits$} = help: {}", "", problem.help);
}

/// One line of a file with a marked piece, cut to what fits a screen.
struct Excerpt {
    /// From 1.
    line: usize,
    /// From 1, in characters, as editors count.
    column: usize,
    text: String,
    /// Columns of the screen before the mark.
    indent: usize,
    /// Columns of the screen under the mark; at least 1.
    width: usize,
}

impl Excerpt {
    /// Columns shown before, under and after the mark. Together with the line number they fit
    /// 120 columns.
    const BEFORE_MAX: usize = 50;
    const MARKED_MAX: usize = 50;
    const AFTER_MAX: usize = 12;

    /// Works on bytes, because a file that is not UTF-8 is shown too.
    fn cut(bytes: &[u8], at: &Range<usize>) -> Excerpt {
        let line_range = line_around(bytes, at.start);
        let start = at.start.clamp(line_range.start, line_range.end);
        let end = at.end.clamp(start, line_range.end);
        let piece = |range: Range<usize>| String::from_utf8_lossy(bytes.get(range).unwrap_or_default());
        let (before, marked, after) =
            (piece(line_range.start..start), piece(start..end), piece(end..line_range.end));
        let line_breaks = bytes.iter().take(line_range.start).filter(|&&byte| byte == b'\n').count();

        let mut text = String::new();
        let mut indent = 0;
        let shown_from = tail_start(&before, Excerpt::BEFORE_MAX);
        if shown_from > 0 {
            text.push('…');
            indent += 1;
        }
        indent += push_columns(&mut text, before.get(shown_from..).unwrap_or_default(), usize::MAX).0;
        let (mut width, whole) = push_columns(&mut text, &marked, Excerpt::MARKED_MAX);
        // A little more than the mark where the mark is short, so that the line is recognised.
        let rest = Excerpt::AFTER_MAX + (Excerpt::MARKED_MAX - width.min(Excerpt::MARKED_MAX));
        if !whole {
            text.push('…');
            width += 1;
        } else if !push_columns(&mut text, &after, rest).1 {
            text.push('…');
        }
        text.truncate(text.trim_end().len());
        Excerpt {
            line: line_breaks + 1,
            column: before.chars().count() + 1,
            text,
            indent,
            width: width.max(1),
        }
    }
}

/// The line that holds `position`, without its line break.
fn line_around(bytes: &[u8], position: usize) -> Range<usize> {
    let position = position.min(bytes.len());
    let (before, after) = bytes.split_at_checked(position).unwrap_or((bytes, &[]));
    let start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |newline| newline + 1);
    let mut end = position + after.iter().position(|&byte| byte == b'\n').unwrap_or(after.len());
    if end > start && bytes.get(end - 1) == Some(&b'\r') {
        end -= 1;
    }
    start..end
}

/// Where the last `columns_max` columns of `text` begin.
fn tail_start(text: &str, columns_max: usize) -> usize {
    let mut columns = 0;
    let mut start = text.len();
    for (position, character) in text.char_indices().rev() {
        columns += columns_of(character);
        if columns > columns_max {
            break;
        }
        start = position;
    }
    start
}

/// Appends at most `columns_max` columns of `text`; gives how many, and whether that was all.
fn push_columns(out: &mut String, text: &str, columns_max: usize) -> (usize, bool) {
    let mut columns: usize = 0;
    for character in text.chars() {
        let more = columns_of(character);
        if columns.saturating_add(more) > columns_max {
            return (columns, false);
        }
        columns += more;
        if character == '\t' {
            out.push_str("    ");
        } else {
            out.push(printable(character));
        }
    }
    (columns, true)
}

/// Text must not steer the terminal: control characters and those that change the direction of
/// writing or are invisible become U+FFFD.
pub(super) fn printable(character: char) -> char {
    let hidden = matches!(character,
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
    if character.is_control() || hidden { char::REPLACEMENT_CHARACTER } else { character }
}

/// Columns that a terminal gives to a character: the blocks of wide East Asian characters and
/// of pictures take two, combining marks none (Unicode Standard Annex 11, without its rare cases).
fn columns_of(character: char) -> usize {
    match character {
        '\t' => 4,
        '\u{300}'..='\u{36f}' | '\u{fe00}'..='\u{fe0f}' => 0,
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{a4cf}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff01}'..='\u{ff60}'
        | '\u{ffe0}'..='\u{ffe6}'
        | '\u{1f300}'..='\u{1f64f}'
        | '\u{1f680}'..='\u{1f6ff}'
        | '\u{1f900}'..='\u{1f9ff}'
        | '\u{20000}'..='\u{3fffd}' => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The two lines that show `marked` inside `line`.
    fn shown(line: &str, marked: &str) -> String {
        let start = line.find(marked).unwrap();
        let excerpt = Excerpt::cut(line.as_bytes(), &(start..start + marked.len()));
        format!("{}\n{}{}", excerpt.text, " ".repeat(excerpt.indent), "^".repeat(excerpt.width))
    }

    #[test]
    fn the_mark_stands_under_its_text() {
        let cases = [
            ("a = 1", "1", "a = 1\n    ^"),
            ("\ta = 1", "a", "    a = 1\n    ^"),
            ("a = \"ä\" # b", "b", "a = \"ä\" # b\n          ^"),
            ("日本 = 1", "1", "日本 = 1\n       ^"),
            ("a = \"日本\"", "\"日本\"", "a = \"日本\"\n    ^^^^^^"),
            ("a\u{301} = 1", "1", "a\u{301} = 1\n    ^"),
            ("a = 1\r\nb = 2", "1", "a = 1\n    ^"),
            ("a = \u{1b}[31m1", "1m1", "a = \u{fffd}[31m1\n       ^^^"),
        ];
        for (line, marked, expected) in cases {
            assert_eq!(shown(line, marked), expected, "{line}");
        }
    }

    #[test]
    fn columns_count_characters_from_one() {
        let excerpt = Excerpt::cut("x\n\tä = 1".as_bytes(), &(8..9));
        assert_eq!((excerpt.line, excerpt.column), (2, 6));
    }

    #[test]
    fn a_long_line_is_cut_around_the_mark() {
        let line = format!("{}MARK{}", "a".repeat(500), "b".repeat(500));
        let text = shown(&line, "MARK");
        let first = text.lines().next().unwrap();
        assert!(first.starts_with("…aaa") && first.ends_with("bbb…"), "{first}");
        assert!(first.chars().count() < 120, "{first}");
        assert_eq!(first.find("MARK").map(|at| first[..at].chars().count()), Some(51));
        assert_eq!(text.lines().nth(1).unwrap(), format!("{}^^^^", " ".repeat(51)));
    }

    #[test]
    fn a_long_mark_is_cut_at_its_end() {
        let line = "m".repeat(500);
        let text = shown(&line, &line);
        assert_eq!(text, format!("{}…\n{}", "m".repeat(50), "^".repeat(51)));
    }

    #[test]
    fn a_mark_of_several_lines_ends_with_the_first() {
        let excerpt = Excerpt::cut(b"a = [\n1,\n2]", &(4..11));
        assert_eq!((excerpt.text.as_str(), excerpt.indent, excerpt.width), ("a = [", 4, 1));
    }

    #[test]
    fn any_range_can_be_shown() {
        for bytes in [&b""[..], b"\n", b"\xff\xfe", b"a\r\n\r\n", "日".as_bytes()] {
            for start in 0..6 {
                for end in 0..6 {
                    let excerpt = Excerpt::cut(bytes, &(start..end));
                    assert!(excerpt.width >= 1 && excerpt.line >= 1 && excerpt.column >= 1);
                }
            }
        }
    }
}
