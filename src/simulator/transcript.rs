//! A recording as text: what was assumed, what was told, what became of everybody.

use core::fmt::{self, Write as _};

use super::casting::Cast;
use super::recording::{ContainerSummary, Ending, PodSummary, Recording, Stage, Tries};
use super::timeline::{Subject, name};
use super::{path, recording};
use crate::config::plan::{ContainerId, PodId, Role};
use crate::config::write_duration;
use crate::supervisor::report::Severity;
use crate::supervisor::wording::Ended;
use crate::time::Instant;

/// Widest column of names.
const NAME_WIDTH_MAX: usize = 40;

/// Writes the text. Ends with a line break.
pub fn transcript(cast: &Cast, recording: &Recording) -> String {
    // Writing into a String cannot fail, here and below.
    let mut out = String::from("assumed\n");
    for sentence in cast.defaults() {
        let _ = writeln!(out, "  {sentence}");
    }
    for assumption in &cast.assumptions {
        let _ = writeln!(out, "  {assumption}");
    }
    out.push('\n');
    write_lines(&mut out, recording);
    let _ = writeln!(out, "{}  {}", Seconds(recording.end), how_it_ends(recording));
    out.push('\n');
    write_summary(&mut out, recording);
    out
}

/// Why the recording ends there, in words.
pub(super) fn how_it_ends(recording: &Recording) -> String {
    let end = write_duration(recording.end.since(Instant::ZERO));
    match recording.ending {
        Ending::Ended(end) => {
            let left = if end.left_behind { "; something is left behind" } else { "" };
            let failed = if end.failed == 0 { "none".to_owned() } else { end.failed.to_string() };
            format!("all pods have ended, {failed} of them failed by itself{left}")
        }
        Ending::AtRest => {
            "nothing else happens: what runs goes on, and probes are answered as before".to_owned()
        }
        Ending::Until => format!("here `--until {end}` ends it"),
        Ending::TooLong => format!("cut here: it goes on, and `--until TIME` shows more than {end}"),
        Ending::TooMuch => {
            "cut here: too much has happened; fewer pods, or probes with longer periods, get further \
                            than this"
                .to_owned()
        }
    }
}

struct Line<'a> {
    at: Instant,
    of: Subject,
    severity: Severity,
    text: String,
    recording: &'a Recording,
}

fn write_lines(out: &mut String, recording: &Recording) {
    let mut lines: Vec<Line<'_>> = Vec::with_capacity(recording.events.len());
    lines.extend(recording.events.iter().map(|event| Line {
        at: event.at,
        of: event.of,
        severity: event.severity,
        text: event.text.clone(),
        recording,
    }));
    lines.extend(recording.tries.iter().filter_map(|tries| describe_tries(recording, tries)));
    // Stable: what was told at one time stays in its order.
    lines.sort_by_key(|line| line.at);
    let names = lines.iter().map(|line| line.name().len());
    let width = names.max().unwrap_or(0).min(NAME_WIDTH_MAX);
    for line in &lines {
        let severity = match line.severity {
            Severity::Info => "",
            Severity::Warning => "warning: ",
            Severity::Error => "error: ",
        };
        let _ = writeln!(out, "{}  {:width$}  {severity}{}", Seconds(line.at), line.name(), line.text);
    }
}

impl Line<'_> {
    fn name(&self) -> String {
        match self.of {
            Subject::World => "all pods".to_owned(),
            Subject::Pod(_) => format!("pod {}", name(&self.recording.plan, self.of)),
            Subject::Container(_) => name(&self.recording.plan, self.of),
        }
    }
}

/// Answers are only worth a line if they are bad, or good again.
fn describe_tries<'a>(recording: &'a Recording, tries: &Tries) -> Option<Line<'a>> {
    if tries.success && !tries.is_change {
        return None;
    }
    let count = match tries.at.len() {
        1 => "1 time".to_owned(),
        count => format!("{count} times"),
    };
    let text = if tries.success { "succeeds".to_owned() } else { format!("fails, {count}") };
    Some(Line {
        at: *tries.at.first()?,
        of: Subject::Container(tries.container),
        severity: Severity::Info,
        text: format!("{} probe {text}", tries.kind.name()),
        recording,
    })
}

fn write_summary(out: &mut String, recording: &Recording) {
    let plan = &recording.plan;
    for (index, pod) in recording.pods.iter().enumerate() {
        let id = PodId(u8::try_from(index).unwrap_or(u8::MAX));
        let _ = writeln!(out, "pod {}: {}", name(plan, Subject::Pod(id)), describe_pod(pod));
    }
    let mut rows =
        vec![["", "", "starts", "restarts", "ready after", "in the end", "last end"].map(str::to_owned)];
    for (index, summary) in recording.containers.iter().enumerate() {
        let id = ContainerId(u16::try_from(index).unwrap_or(u16::MAX));
        let role = plan.containers.get(index).map_or("", |container| role_name(container.role));
        rows.push([
            path(plan, id),
            role.to_owned(),
            summary.starts.to_string(),
            summary.restarts.to_string(),
            summary.ready_at.map_or_else(|| "-".to_owned(), short),
            describe_stage(summary).to_owned(),
            describe_end(summary),
        ]);
    }
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..7).map(width).collect();
    for row in &rows {
        let mut line = String::from("  ");
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            // Numbers stand at the right.
            if (2..=4).contains(&column) {
                let _ = write!(line, "{cell:>width$}  ");
            } else {
                let _ = write!(line, "{cell:width$}  ");
            }
        }
        let _ = writeln!(out, "{}", line.trim_end());
    }
}

pub(super) fn role_name(role: Role) -> &'static str {
    match role {
        Role::Init => "init",
        Role::Sidecar => "sidecar",
        Role::Main => "main",
    }
}

/// "Running, ready, the first time after 1.200s".
pub(super) fn describe_pod(pod: &PodSummary) -> String {
    let ready = match (pod.ready, pod.ready_at) {
        (true, Some(at)) => format!(", ready after {}", short(at)),
        (false, Some(at)) => format!(", was ready after {}", short(at)),
        (_, None) => ", never ready".to_owned(),
    };
    format!("{}{ready}", pod.phase.name())
}

fn describe_stage(summary: &ContainerSummary) -> &'static str {
    match summary.stage {
        None if summary.starts == 0 => "never started",
        None => "ended",
        Some(Stage::Creating) => "being started",
        Some(Stage::Running) => "runs",
        Some(Stage::Ready) => "ready",
        Some(Stage::Stopping) => "being stopped",
        Some(Stage::Removing) => "being removed",
        Some(Stage::BackOff) => "waits for its restart",
    }
}

fn describe_end(summary: &ContainerSummary) -> String {
    match summary.last_end {
        None => "-".to_owned(),
        Some((exit, at)) => format!("{} after {}", Ended(exit), short(at)),
    }
}

/// "1.200s".
pub(super) fn short(at: Instant) -> String {
    Seconds(at).to_string().trim_start().to_owned()
}

/// Seconds from the beginning, with milliseconds, padded.
pub(super) struct Seconds(pub(super) Instant);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = recording::millis(self.0);
        write!(f, "{:>5}.{:03}s", millis / 1000, millis % 1000)
    }
}
