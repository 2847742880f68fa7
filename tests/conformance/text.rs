//! The small things that expectations and actions are written with.

use std::time::Duration;

/// Why an expectation or action could not be read.
pub(crate) fn not_understood(text: &str) -> String {
    format!("not understood: {text}")
}

/// `key=value`, with the value behind the first sign of equality.
pub(crate) fn key_value(text: &str) -> Option<(&str, &str)> {
    let (key, value) = text.split_once('=')?;
    Some((key.trim(), value.trim()))
}

/// `name(a, b)`.
pub(crate) fn call(text: &str) -> Option<(&str, Vec<&str>)> {
    let (name, rest) = text.split_once('(')?;
    let inner = rest.strip_suffix(')')?;
    if name.contains(' ') || inner.contains(['(', ')']) {
        return None;
    }
    Some((name, inner.split(',').map(str::trim).collect()))
}

/// `[a, b]`; `[]` is empty.
pub(crate) fn list(text: &str) -> Option<Vec<&str>> {
    let inner = text.strip_prefix('[')?.strip_suffix(']')?.trim();
    Some(if inner.is_empty() { Vec::new() } else { inner.split(',').map(str::trim).collect() })
}

/// `true`, `false`, also `True` and `False`.
pub(crate) fn flag(text: &str) -> Option<bool> {
    match text {
        "true" | "True" => Some(true),
        "false" | "False" => Some(false),
        _ => None,
    }
}

/// `30s`, `1.25s`, `1000ms`, `10m`.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "ms" => 0.001,
        "s" => 1.0,
        "m" | "min" => 60.0,
        _ => return None,
    };
    let number: f64 = digits.parse().ok()?;
    // Whole milliseconds: a product with 0.001 is not exact.
    let rounded = Duration::try_from_secs_f64(number * unit).ok()? + Duration::from_micros(500);
    Some(Duration::from_millis(u64::try_from(rounded.as_millis()).ok()?))
}

/// `10`, or with a unit as in [`duration`].
pub(crate) fn seconds(text: &str) -> Option<Duration> {
    duration(text).or_else(|| duration(&format!("{text}s")))
}

/// A number of JSON as seconds.
pub(crate) fn json_seconds(value: &serde_json::Value) -> Option<Duration> {
    Duration::try_from_secs_f64(value.as_f64()?).ok()
}

/// As the configuration writes it.
pub(crate) fn write_duration(duration: Duration) -> String {
    format!("{}ms", duration.as_millis())
}

/// A remark at the end: `text (remark)`. A `name(argument)` is none, since no blank stands before it.
pub(crate) fn split_remark(text: &str) -> (&str, Option<&str>) {
    let text = text.trim();
    let Some(open) = text.strip_suffix(')') else { return (text, None) };
    let mut depth = 1;
    for (at, letter) in open.char_indices().rev() {
        match letter {
            ')' => depth += 1,
            '(' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            let before = &open[..at];
            return match before.ends_with(' ') {
                true => (before.trim_end(), Some(&open[at + 1..])),
                false => (text, None),
            };
        }
    }
    (text, None)
}
