//! What has happened in a world, entry by entry, and the log that is made of it.

use core::fmt::{self, Write as _};
use core::time::Duration;

use super::path;
use super::script::Answer;
use crate::config::plan::{ContainerId, Plan, PodId};
use crate::supervisor::hook::HookKind;
use crate::supervisor::probe::{Outcome, ProbeKind};
use crate::supervisor::record::{Exit, Instance};
use crate::supervisor::report::Report;
use crate::time::Instant;

/// Something that has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When.
    pub at: Instant,
    /// To what.
    pub of: Subject,
    /// What.
    pub what: What,
}

/// What something happens to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// All of it.
    World,
    /// A pod.
    Pod(PodId),
    /// A container.
    Container(ContainerId),
}

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The user is told.
    Reported {
        /// What.
        report: Report,
        /// In which words.
        text: String,
    },
    /// The supervisor has this pod set up.
    SetsUp,
    /// The supervisor has this pod torn down.
    TearsDown,
    /// The supervisor has this instance created.
    Creates(Instance),
    /// The supervisor has it started.
    Starts,
    /// The supervisor has the stop signal sent to it.
    SendsStop,
    /// The supervisor has it killed.
    Kills,
    /// The supervisor has removed what is left of it.
    Removes,
    /// The supervisor has it probed; it answers so.
    Probes(ProbeKind, Answer),
    /// The supervisor has this hook begun.
    BeginsHook(HookKind),
    /// The supervisor has this hook ended.
    CancelsHook(HookKind),
    /// This hook has ended by itself; whether well.
    HookEnded(HookKind, bool),
    /// This hook was killed: it was cancelled, or its container is gone.
    HookKilled(HookKind),
    /// Its own command begins.
    Starting,
    /// Its own command has been at it for the script's `start-delay`.
    Started,
    /// Its own command ends by itself or after the stop signal, not by SIGKILL.
    Exiting,
    /// Its first process is gone.
    Exited(Exit),
    /// Nothing of it is left.
    Removed,
    /// An event of this name has reached the supervisor on a detour, so much later.
    Arrives(&'static str, Duration),
    /// The service manager is told something.
    Told {
        /// What; lines are separated by blanks.
        text: String,
        /// Whether it did not get there.
        lost: bool,
    },
}

/// The entries as the scenarios keep them: reports, and indented what is done. What the
/// containers do is not in it.
pub fn log(plan: &Plan, entries: &[Entry], shows_probes: bool) -> String {
    let mut log = String::new();
    for entry in entries {
        let shown = match entry.what {
            What::Reported { .. }
            | What::Creates(_)
            | What::SendsStop
            | What::Kills
            | What::BeginsHook(_)
            | What::CancelsHook(_)
            | What::Arrives(..)
            | What::Told { .. } => true,
            What::Probes(..) => shows_probes,
            What::SetsUp
            | What::TearsDown
            | What::Starts
            | What::Removes
            | What::HookEnded(..)
            | What::HookKilled(_)
            | What::Starting
            | What::Started
            | What::Exiting
            | What::Exited(_)
            | What::Removed => false,
        };
        if shown {
            // Writing into a String cannot fail.
            let _ = writeln!(log, "{}", Line { plan, entry });
        }
    }
    log
}

/// An entry as a line of a log.
pub struct Line<'a> {
    /// The plan of the world.
    pub plan: &'a Plan,
    /// The entry.
    pub entry: &'a Entry,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Entry { at, of, what } = self.entry;
        let name = name(self.plan, *of);
        write!(f, "{}  ", Clock(*at))?;
        match what {
            What::Reported { text, .. } => f.write_str(text),
            What::SetsUp => write!(f, "    set up {name}"),
            What::TearsDown => write!(f, "    tear down {name}"),
            What::Creates(_) => write!(f, "    create {name}"),
            What::Starts => write!(f, "    start {name}"),
            What::SendsStop => write!(f, "    {} to {name}", stop_signal(self.plan, *of)),
            What::Kills => write!(f, "    SIGKILL to {name}"),
            What::Removes => write!(f, "    remove {name}"),
            What::Probes(kind, answer) => {
                write!(f, "    {} probe of {name}: {}", kind.name(), words(*answer))
            }
            What::BeginsHook(kind) => write!(f, "    {} hook of {name}", kind.name()),
            What::CancelsHook(kind) => write!(f, "    cancel {} hook of {name}", kind.name()),
            What::HookEnded(kind, true) => write!(f, "... {} hook of {name} is done", kind.name()),
            What::HookEnded(kind, false) => write!(f, "... {} hook of {name} has failed", kind.name()),
            What::HookKilled(kind) => write!(f, "... {} hook of {name} was killed", kind.name()),
            What::Starting => write!(f, "... {name} is starting"),
            What::Started => write!(f, "... {name} has started"),
            What::Exiting => write!(f, "... {name} is exiting"),
            What::Exited(exit) => {
                let oom_killed = if exit.oom_killed { ", OOM-killed" } else { "" };
                write!(f, "... {name} has exited with {}{oom_killed}", exit.status.code())
            }
            What::Removed => write!(f, "... {name} is removed"),
            What::Arrives(event, late) if late.is_zero() => write!(f, "... `{event}` of {name} arrives"),
            What::Arrives(event, late) => {
                write!(f, "... `{event}` of {name} arrives, {} ms late", late.as_millis())
            }
            What::Told { text, lost } => write!(f, "    > {text}{}", if *lost { " (lost)" } else { "" }),
        }
    }
}

fn words(answer: Answer) -> &'static str {
    match answer {
        Answer::Is(Outcome::Success) => "yes",
        Answer::Is(Outcome::Failure) => "no",
        Answer::Is(Outcome::Error) => "it cannot be asked",
        Answer::Is(Outcome::Warning) => "yes, with a warning",
        Answer::Never => "(silence)",
    }
}

fn stop_signal(plan: &Plan, of: Subject) -> &'static str {
    let container = match of {
        Subject::Container(id) => plan.containers.get(id.index()),
        Subject::World | Subject::Pod(_) => None,
    };
    container.map(|container| container.stop_signal).unwrap_or_default().name()
}

/// The name of a pod (`demo`) or container (`demo/app`).
pub fn name(plan: &Plan, of: Subject) -> String {
    match of {
        Subject::World => String::new(),
        Subject::Pod(id) => plan.pods.get(id.index()).map(|pod| pod.name.clone()).unwrap_or_default(),
        Subject::Container(id) => path(plan, id),
    }
}

/// The time of a line of the log.
pub(super) struct Clock(pub(super) Instant);

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = self.0.since(Instant::ZERO);
        write!(f, "{:>5}.{:03}s", time.as_secs(), time.subsec_millis())
    }
}
