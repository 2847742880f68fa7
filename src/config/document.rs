//! From the bytes of a file to a tree of TOML values.

use core::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, Error};

use super::Source;
use super::problem::{ProblemList, quote};
use crate::limits::FILE_BYTES_MAX;

/// The tree of a file. Where it is not TOML, what can still be read; `None` if nothing can.
pub(super) fn parse<'s>(source: &'s Source, problems: &mut ProblemList<'_>) -> Option<Spanned<DeTable<'s>>> {
    if source.bytes.len() > FILE_BYTES_MAX {
        let message = format!("{} has {} bytes", quote(&source.name), source.bytes.len());
        let help = format!("a configuration file has at most {FILE_BYTES_MAX} bytes; is it the right one?");
        problems.add_to_file(message, &help);
        return None;
    }
    let text = match core::str::from_utf8(&source.bytes) {
        Ok(text) => text,
        Err(error) => {
            let position = error.valid_up_to();
            let byte = source.bytes.get(position).copied().unwrap_or_default();
            let message = format!("not UTF-8: byte 0x{byte:02x} at position {position} of the file");
            let end = position + error.error_len().unwrap_or(1);
            problems.add(&(position..end), message, "not a character", "save the file as UTF-8");
            return None;
        }
    };
    if text.len() > RECOVERY_BYTES_MAX {
        return DeTable::parse(text).map_err(|error| add_errors(text, &[error], problems)).ok();
    }
    let (table, errors) = DeTable::parse_recoverable(text);
    add_errors(text, &errors, problems);
    Some(table)
}

/// Larger files are read up to their first mistake of syntax only: the parser may have a complaint
/// for each byte, and each takes some hundred bytes of memory.
const RECOVERY_BYTES_MAX: usize = 64 * 1024;

/// One mistake can make the parser complain about everything behind it. Told are: one complaint a
/// line; only the first of those that run up to the end of a list or table which was never
/// closed; and no key that stands twice only because a header or quote before it was lost.
fn add_errors(text: &str, errors: &[Error], problems: &mut ProblemList<'_>) {
    let mut errors: Vec<(Range<usize>, &str)> = errors
        .iter()
        .map(|error| (error.span().unwrap_or(text.len()..text.len()), error.message()))
        .collect();
    errors.sort_by_key(|(at, _)| at.start);
    let lines = line_numbers(text, &errors);
    let line = |error: usize| lines.get(error).copied().unwrap_or_default();
    let is_unclosed = |message: &str| {
        message.starts_with("unclosed array,") || message.starts_with("unclosed inline table")
    };

    let mut begin = 0;
    let mut told_line = None;
    while begin < errors.len() {
        let mut end = begin + 1;
        while end < errors.len() && line(end) - line(end - 1) <= 1 {
            end += 1;
        }
        let run = errors.get(begin..end).unwrap_or_default();
        let unclosed = run.iter().rev().find(|(_, message)| is_unclosed(message));
        for (place, (at, message)) in run.iter().enumerate() {
            let on_told_line = told_line == Some(line(begin + place));
            let follows = message.starts_with("duplicate key") && problems.is_damaged();
            match unclosed {
                Some((_, message)) if place == 0 => add_error(text, at, message, problems),
                None if !on_told_line && !follows => {
                    told_line = Some(line(begin + place));
                    add_error(text, at, message, problems);
                }
                Some(_) | None => problems.mark_damage(at.clone()),
            }
        }
        begin = end;
    }
}

/// The line of each error. They are sorted, so the text is gone through once.
fn line_numbers(text: &str, errors: &[(Range<usize>, &str)]) -> Vec<usize> {
    let (mut line, mut counted) = (0, 0);
    let mut numbers = Vec::with_capacity(errors.len());
    for (at, _) in errors {
        let start = at.start.min(text.len());
        let between = text.as_bytes().get(counted..start).unwrap_or_default();
        line += between.iter().filter(|&&byte| byte == b'\n').count();
        counted = start;
        numbers.push(line);
    }
    numbers
}

/// Adds one of the parser's complaints, in clearer words where it has none.
fn add_error(text: &str, at: &Range<usize>, message: &str, problems: &mut ProblemList<'_>) {
    const MISSING_VALUE: &str = "missing value";
    let message = match message.strip_suffix(", expected literal string").unwrap_or(message) {
        // The parser takes nothing for a text without quotes.
        "string values must be quoted" if text.get(at.clone()).is_none_or(str::is_empty) => MISSING_VALUE,
        message => message,
    };
    let known = HELP.iter().find(|(beginning, _)| message.starts_with(beginning));
    let help = known.map_or("https://toml.io/en/v1.0.0 says how TOML is written", |(_, help)| *help);
    problems.add_syntax(at.clone(), format!("not TOML: {message}"), help);
}

/// How to mend what the parser complains about most often, by the beginning of its message.
const HELP: [(&str, &str); 12] = [
    ("duplicate key", "a key can stand only once in a table: remove one of the two"),
    ("string values must be quoted", "write it in quotes"),
    ("missing value", "write a value behind the `=`"),
    ("key with no value", "write key = value"),
    ("unclosed array table", "the header of a list ends with `]]`"),
    ("unclosed table", "a header ends with `]`"),
    ("unclosed array", "a list ends with `]`: here at the latest"),
    ("unclosed inline table", "a table ends with `}`: here at the latest"),
    ("missing comma", "write a comma between the entries"),
    ("invalid basic string", "a string ends with the quotes that it begins with"),
    ("invalid literal string", "a string ends with the quotes that it begins with"),
    ("cannot recurse further", "no configuration is nested so deeply: look for a bracket too many"),
];
