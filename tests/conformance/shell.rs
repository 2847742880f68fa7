//! As much of a shell as the commands of the cases need.

use std::time::Duration;

use super::text::{not_understood, seconds};

/// What a command does.
#[derive(Clone, Debug, Default)]
pub(crate) struct Program {
    /// Until it ends; `None`: never.
    pub lasts: Option<Duration>,
    pub exit: u8,
    /// From when on which file is there, or is not.
    pub files: Vec<(Duration, String, bool)>,
    /// A file on which its exit code depends: it is 0 if that is there.
    pub asks: Option<String>,
    /// The exit code of its handler of SIGTERM.
    pub on_sigterm: Option<u8>,
    /// Without one: it is 0 from this age of the container on.
    pub passes_from: Option<Duration>,
}

/// What a command with its arguments does.
pub(crate) fn program(words: &[&str]) -> Result<Program, String> {
    match words {
        [one] if one.starts_with("passes ") && one.ends_with(" after start") => {
            let at = one.trim_start_matches("passes ").trim_end_matches(" after start");
            let at = super::text::duration(at).ok_or_else(|| not_understood(one))?;
            Ok(Program { lasts: Some(Duration::ZERO), exit: 1, passes_from: Some(at), ..Program::default() })
        }
        ["sh" | "/bin/sh", "-c", script] => run(script),
        words => {
            let mut program = Program { lasts: Some(Duration::ZERO), ..Program::default() };
            statement(&words.join(" "), &mut program)?;
            Ok(program)
        }
    }
}

fn run(script: &str) -> Result<Program, String> {
    if script.starts_with("while true; do") {
        return Ok(Program::default());
    }
    let mut program = Program { lasts: Some(Duration::ZERO), ..Program::default() };
    for part in script.split([';', '\n']).map(str::trim).filter(|part| !part.is_empty()) {
        let mut rest = part;
        // What is in the background takes no time, unless it is waited for.
        while let Some((background, foreground)) = rest.split_once(" & ") {
            rest = foreground.trim();
            if rest.starts_with("wait") {
                rest = background;
                break;
            }
        }
        if statement(rest, &mut program)? {
            break;
        }
    }
    Ok(program)
}

/// Whether it ends the script.
fn statement(text: &str, program: &mut Program) -> Result<bool, String> {
    let now = program.lasts.unwrap_or_default();
    let words: Vec<&str> = text.split_whitespace().collect();
    match words.as_slice() {
        ["sleep", time] => {
            let time = seconds(time).ok_or_else(|| not_understood(text))?;
            program.lasts = Some(now + time);
        }
        ["exit", code] => {
            program.exit = code.parse().map_err(|_| not_understood(text))?;
            return Ok(true);
        }
        ["true" | "/bin/true"] => program.exit = 0,
        ["false" | "/bin/false"] => program.exit = 1,
        ["cat" | "/bin/cat", file] | ["test", "-f" | "-e", file] => program.asks = Some((*file).to_owned()),
        ["rm", .., file] => program.files.push((now, (*file).to_owned(), false)),
        ["touch", file] => program.files.push((now, (*file).to_owned(), true)),
        ["trap", .., "TERM" | "SIGTERM"] => {
            let code = text.split_once("exit ").and_then(|(_, rest)| rest.split(['\'', '"', ' ']).next());
            program.on_sigterm =
                Some(code.and_then(|code| code.parse().ok()).ok_or_else(|| not_understood(text))?);
        }
        ["echo", ..] => {
            if let Some((_, file)) = text.split_once('>') {
                program.files.push((now, file.trim_start_matches('>').trim().to_owned(), true));
            }
        }
        _ => return Err(not_understood(text)),
    }
    Ok(false)
}
