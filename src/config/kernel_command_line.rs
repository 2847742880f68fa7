//! What the kernel's command line says to us (`/proc/cmdline`; kernel documentation,
//! "The kernel's command-line parameters").
//!
//! Only words that begin with `outrigger.` are ours. The kernel takes a word with a dot for a
//! parameter of a module that is not there yet, and gives it neither to the first process' arguments
//! nor to its environment.

use core::time::Duration;
use std::path::PathBuf;

use super::plan::LogDestination;
use super::quantity::parse_duration;

/// What the kernel's command line asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelCommandLine {
    /// `outrigger.config=PATH`: the machine file.
    pub config: Option<PathBuf>,
    /// `outrigger.log=terminal|files`: goes before the machine file's `log-destination`.
    pub log: Option<LogDestination>,
    /// `outrigger.rescue`: a rescue shell before the pods are started.
    pub rescue: bool,
    /// `outrigger.panic=DURATION`: panic on purpose, once, so long after the start. For those who
    /// want to see what their device does then.
    pub panic: Option<Duration>,
    /// What cannot be used, in words; the rest is used all the same, as the kernel does.
    pub mistakes: Vec<String>,
}

impl KernelCommandLine {
    /// Reads the command line. Of a word that stands there twice the last one holds.
    pub fn parse(text: &str) -> KernelCommandLine {
        let mut line = KernelCommandLine::default();
        for word in words(text) {
            let Some(ours) = word.strip_prefix("outrigger.") else { continue };
            let (name, value) = match ours.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (ours, None),
            };
            let wrong = match (name, value) {
                ("config", Some(path)) if path.starts_with('/') => {
                    line.config = Some(PathBuf::from(path));
                    None
                }
                ("config", _) => Some("write outrigger.config= with an absolute path"),
                ("log", Some("terminal")) => {
                    line.log = Some(LogDestination::Terminal);
                    None
                }
                ("log", Some("files")) => {
                    line.log = Some(LogDestination::Files);
                    None
                }
                ("log", _) => Some("write outrigger.log=terminal or outrigger.log=files"),
                ("rescue", None | Some("1")) => {
                    line.rescue = true;
                    None
                }
                ("rescue", Some("0")) => {
                    line.rescue = false;
                    None
                }
                ("rescue", Some(_)) => Some("write outrigger.rescue without a value"),
                ("panic", value) => match value.map(parse_duration) {
                    Some(Ok(after)) => {
                        line.panic = Some(after);
                        None
                    }
                    Some(Err(_)) | None => Some("write a duration with its unit, outrigger.panic=10s"),
                },
                _ => {
                    Some("there are outrigger.config=, outrigger.log=, outrigger.rescue and outrigger.panic=")
                }
            };
            if let Some(help) = wrong {
                line.mistakes.push(format!(
                    "cannot use `{word}` of the kernel command line: {help}; going on without"
                ));
            }
        }
        line
    }
}

/// Words are separated by spaces, except in double quotes, which are dropped (kernel,
/// `next_arg`). What follows `--` is for the first process alone, and not ours either.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quoted = false;
    for letter in text.chars().chain([' ']) {
        match letter {
            '"' => quoted = !quoted,
            letter if letter.is_whitespace() && !quoted => {
                if word == "--" {
                    return words;
                }
                if !word.is_empty() {
                    words.push(core::mem::take(&mut word));
                }
            }
            letter => word.push(letter),
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_ours_are_found_among_those_of_the_kernel() {
        let text = "console=ttyS0 quiet outrigger.config=/etc/other.toml outrigger.log=files outrigger.rescue \
                    outrigger.panic=1.5s rdinit=/sbin/outrigger\n";
        let line = KernelCommandLine::parse(text);
        assert_eq!(line.config, Some(PathBuf::from("/etc/other.toml")));
        assert_eq!(line.log, Some(LogDestination::Files));
        assert!(line.rescue);
        assert_eq!(line.panic, Some(Duration::from_millis(1500)));
        assert!(line.mistakes.is_empty());
        assert_eq!(KernelCommandLine::parse("quiet"), KernelCommandLine::default());
    }

    #[test]
    fn quotes_hold_a_word_together_and_the_last_word_wins() {
        let line = KernelCommandLine::parse(
            "outrigger.config=/a \"outrigger.config=/b c\" outrigger.rescue=1 outrigger.rescue=0",
        );
        assert_eq!(line.config, Some(PathBuf::from("/b c")));
        assert!(!line.rescue);
        let line = KernelCommandLine::parse("a -- outrigger.rescue");
        assert!(!line.rescue);
    }

    #[test]
    fn a_word_that_cannot_be_used_is_told_and_passed_over() {
        for (word, help) in [
            ("outrigger.config=relative.toml", "absolute path"),
            ("outrigger.config", "absolute path"),
            ("outrigger.log=syslog", "outrigger.log=files"),
            ("outrigger.rescue=maybe", "without a value"),
            ("outrigger.panic=10", "its unit"),
            ("outrigger.debug", "there are outrigger.config="),
        ] {
            let line = KernelCommandLine::parse(word);
            assert_eq!(line.mistakes.len(), 1, "{word}");
            let mistake = &line.mistakes[0];
            assert!(mistake.contains(word) && mistake.contains(help), "{mistake}");
            assert_eq!(KernelCommandLine { mistakes: Vec::new(), ..line }, KernelCommandLine::default());
        }
    }
}
