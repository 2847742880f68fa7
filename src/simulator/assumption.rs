//! What a user assumes of the containers, one option of `outrigger simulate` each: from text, and
//! back into a sentence.

use core::fmt;
use core::time::Duration;

use crate::config::signal::{StopSignal, signal_name};
use crate::config::{nearest, parse_duration, write_duration};
use crate::limits::DURATION_MAX;
use crate::supervisor::probe::ProbeKind;
use crate::supervisor::record::ExitStatus;

/// Highest number of a run that can be named: each run up to it is kept apart.
pub const RUN_MAX: usize = 100;

/// One assumption. All durations that are not said to be others count from the start of the
/// container's command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Assumption {
    /// Its command ends by itself.
    Exit {
        /// Whose.
        of: Whose,
        /// When and how; `None`: never.
        end: Option<(ExitStatus, Duration)>,
    },
    /// Its startup and readiness probes succeed from then on, and fail before.
    Ready {
        /// Whose.
        of: Whose,
        /// From when on.
        from: Duration,
    },
    /// One of its probes fails.
    FailProbe {
        /// Whose.
        of: Whose,
        /// Which.
        kind: ProbeKind,
        /// From when on.
        from: Duration,
        /// Until when; `None`: for as long as that run lasts.
        until: Option<Duration>,
    },
    /// Only SIGKILL ends it.
    IgnoreSigterm {
        /// Whose.
        of: Whose,
    },
    /// How long it takes from the stop signal to its end.
    StopTakes {
        /// Whose.
        of: Whose,
        /// How long.
        takes: Duration,
    },
    /// The OOM killer ends it.
    Oom {
        /// Whose.
        of: Whose,
        /// When.
        after: Duration,
    },
    /// All pods are stopped, so long after the beginning.
    Stop {
        /// When.
        at: Duration,
    },
}

/// A container as it was named, and which of its runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whose {
    /// `app` or `pod/app`.
    pub container: String,
    /// Which run, from 1; `None`: every run for which nothing else is said.
    pub run: Option<usize>,
}

/// An option that takes an assumption, with the form of its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// Its name, without the dashes.
    pub option: &'static str,
    /// The form of its value.
    pub value: &'static str,
}

/// All of them.
pub const FORMS: [Form; 7] = [
    Form { option: "exit", value: "CONTAINER=CODE@TIME or CONTAINER=never" },
    Form { option: "ready", value: "CONTAINER@TIME" },
    Form { option: "fail-probe", value: "CONTAINER:KIND@TIME or CONTAINER:KIND@TIME..TIME" },
    Form { option: "ignore-sigterm", value: "CONTAINER" },
    Form { option: "stop-takes", value: "CONTAINER=TIME" },
    Form { option: "oom", value: "CONTAINER@TIME" },
    Form { option: "stop", value: "@TIME" },
];

/// Reads the value of an option of [`FORMS`].
///
/// # Errors
///
/// What is wrong with it, in words that stand behind the option.
pub fn parse(form: Form, value: &str) -> Result<Assumption, String> {
    read(form, value).map_err(|error| match error {
        Mistake::Form => format!("`--{} {value}`: write {}", form.option, form.value),
        Mistake::In(error) => format!("`--{} {value}`: {error}", form.option),
    })
}

enum Mistake {
    /// Not of the form at all.
    Form,
    In(String),
}

fn read(form: Form, value: &str) -> Result<Assumption, Mistake> {
    let split = |text, by| str::split_once(text, by).ok_or(Mistake::Form);
    Ok(match form.option {
        "exit" => {
            let (of, end) = split(value, '=')?;
            let of = whose(of)?;
            if end == "never" {
                return Ok(Assumption::Exit { of, end: None });
            }
            let (how, after) = split(end, '@')?;
            Assumption::Exit { of, end: Some((status(how)?, duration(after)?)) }
        }
        "ready" => {
            let (of, from) = split(value, '@')?;
            Assumption::Ready { of: whose(of)?, from: duration(from)? }
        }
        "fail-probe" => {
            let (probe, span) = split(value, '@')?;
            let (of, kind) = split(probe, ':')?;
            let (from, until) = match span.split_once("..") {
                None => (duration(span)?, None),
                Some((from, until)) => (duration(from)?, Some(duration(until)?)),
            };
            if until.is_some_and(|until| until <= from) {
                return Err(Mistake::In("the span ends before it begins".to_owned()));
            }
            Assumption::FailProbe { of: whose(of)?, kind: probe_kind(kind)?, from, until }
        }
        "ignore-sigterm" => Assumption::IgnoreSigterm { of: every_run(value)? },
        "stop-takes" => {
            let (of, takes) = split(value, '=')?;
            Assumption::StopTakes { of: every_run(of)?, takes: duration(takes)? }
        }
        "oom" => {
            let (of, after) = split(value, '@')?;
            Assumption::Oom { of: whose(of)?, after: duration(after)? }
        }
        _ => Assumption::Stop { at: duration(value.strip_prefix('@').ok_or(Mistake::Form)?)? },
    })
}

fn whose(text: &str) -> Result<Whose, Mistake> {
    let (container, run) = match text.split_once('#') {
        None => (text, None),
        Some((container, run)) => {
            let number = run.parse().ok().filter(|number| (1..=RUN_MAX).contains(number));
            let wrong = || Mistake::In(format!("`#{run}` is not the number of a run, #1 to #{RUN_MAX}"));
            (container, Some(number.ok_or_else(wrong)?))
        }
    };
    if container.is_empty() {
        return Err(Mistake::Form);
    }
    Ok(Whose { container: container.to_owned(), run })
}

fn every_run(text: &str) -> Result<Whose, Mistake> {
    let of = whose(text)?;
    match of.run {
        None => Ok(of),
        Some(run) => Err(Mistake::In(format!("this holds for every run; leave out `#{run}`"))),
    }
}

fn duration(text: &str) -> Result<Duration, Mistake> {
    time(text).map_err(Mistake::In)
}

/// A point in time or a duration on the command line.
///
/// # Errors
///
/// Why it is none.
pub fn time(text: &str) -> Result<Duration, String> {
    match parse_duration(text) {
        Ok(duration) if duration <= DURATION_MAX => Ok(duration),
        Ok(_) => Err(format!("`{text}` is longer than 10 years")),
        Err(reason) => {
            Err(format!("`{text}` is not a time: {reason}; write \"1.5s\", \"200ms\" or \"1m30s\""))
        }
    }
}

fn status(text: &str) -> Result<ExitStatus, Mistake> {
    if let Ok(code) = text.parse() {
        return Ok(ExitStatus::Code(code));
    }
    let signal = StopSignal::by_name(text).map(|signal| ExitStatus::Signal(signal.number()));
    signal.ok_or_else(|| {
        let names: Vec<&str> = (1..=64).filter_map(signal_name).collect();
        let meant = hint(nearest(text, &names));
        Mistake::In(format!("`{text}` is neither an exit code (0 to 255) nor a signal (SIGKILL){meant}"))
    })
}

fn probe_kind(text: &str) -> Result<ProbeKind, Mistake> {
    ProbeKind::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| {
        let names = ProbeKind::ALL.map(ProbeKind::name);
        let meant = hint(nearest(text, &names));
        Mistake::In(format!("`{text}` is no probe; there are startup, liveness and readiness{meant}"))
    })
}

/// What is added to a message about a word that is nearly a known one.
pub(super) fn hint(meant: Option<&str>) -> String {
    meant.map(|meant| format!("; did you mean `{meant}`?")).unwrap_or_default()
}

impl Assumption {
    /// Whose; `None` for what is not about a container.
    pub fn whose(&self) -> Option<&Whose> {
        match self {
            Assumption::Exit { of, .. }
            | Assumption::Ready { of, .. }
            | Assumption::FailProbe { of, .. }
            | Assumption::IgnoreSigterm { of }
            | Assumption::StopTakes { of, .. }
            | Assumption::Oom { of, .. } => Some(of),
            Assumption::Stop { .. } => None,
        }
    }

    /// The latest time that it names.
    pub fn latest(&self) -> Duration {
        match self {
            Assumption::Exit { end: Some((_, time)), .. }
            | Assumption::Ready { from: time, .. }
            | Assumption::FailProbe { until: Some(time), .. }
            | Assumption::FailProbe { from: time, .. }
            | Assumption::StopTakes { takes: time, .. }
            | Assumption::Oom { after: time, .. }
            | Assumption::Stop { at: time } => *time,
            Assumption::Exit { end: None, .. } | Assumption::IgnoreSigterm { .. } => Duration::ZERO,
        }
    }
}

/// The option as it would be written.
impl fmt::Display for Assumption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = |time: &Duration| write_duration(*time);
        match self {
            Assumption::Exit { of, end: None } => write!(f, "--exit {of}=never"),
            Assumption::Exit { of, end: Some((status, after)) } => match status {
                ExitStatus::Code(code) => write!(f, "--exit {of}={code}@{}", time(after)),
                ExitStatus::Signal(signal) => {
                    write!(f, "--exit {of}={}@{}", signal_name(*signal).unwrap_or("?"), time(after))
                }
                ExitStatus::Unknown => write!(f, "--exit {of}=?@{}", time(after)),
            },
            Assumption::Ready { of, from } => write!(f, "--ready {of}@{}", time(from)),
            Assumption::FailProbe { of, kind, from, until } => {
                write!(f, "--fail-probe {of}:{}@{}", kind.name(), time(from))?;
                until.map_or(Ok(()), |until| write!(f, "..{}", time(&until)))
            }
            Assumption::IgnoreSigterm { of } => write!(f, "--ignore-sigterm {of}"),
            Assumption::StopTakes { of, takes } => write!(f, "--stop-takes {of}={}", time(takes)),
            Assumption::Oom { of, after } => write!(f, "--oom {of}@{}", time(after)),
            Assumption::Stop { at } => write!(f, "--stop @{}", time(at)),
        }
    }
}

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.container)?;
        self.run.map_or(Ok(()), |run| write!(f, "#{run}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(option: &str) -> Form {
        FORMS.into_iter().find(|form| form.option == option).unwrap()
    }

    #[test]
    fn what_is_written_reads_the_same() {
        for (option, value) in [
            ("exit", "app=1@5s"),
            ("exit", "web/app#2=SIGSEGV@1m30s"),
            ("exit", "app=never"),
            ("ready", "proxy@1s500ms"),
            ("fail-probe", "app:liveness@1m"),
            ("fail-probe", "web/app#1:readiness@1m..1m10s"),
            ("ignore-sigterm", "app"),
            ("stop-takes", "app=5s"),
            ("oom", "app#3@20ms"),
            ("stop", "@1m30s"),
        ] {
            let assumption = parse(form(option), value).unwrap();
            assert_eq!(assumption.to_string(), format!("--{option} {value}"));
        }
    }
}
