//! What can be said of a pod at one moment, read from the text of an expectation.

use std::time::Duration;

use super::history::{ContainerStatus, History, PodStatus, State, What};
use super::text::{call, flag};

/// A statement about one moment: about the status then, or about what was written down up to then.
#[derive(Clone, Debug)]
pub(crate) enum Condition {
    All(Vec<Condition>),
    Not(Box<Condition>),
    /// Of what is written down.
    Starts(String),
    DoesntStart(String),
    Exits(String),
    HasRestarted(String),
    HasNotRestarted(String),
    StartsBefore(String, String),
    ExitsBefore(String, String),
    RunTogetherLhsFirst(String, String),
    RunTogether(String, String),
    HookSeen(What),
    ProbeWarning,
    StartsAgain(String),
    /// Of the status.
    Phase(String),
    PhaseIsFinal,
    /// Of the pod.
    Reason(String),
    PodReady(bool),
    Holds {
        name: String,
        holds: bool,
        reason: Option<String>,
    },
    /// Something of one container, of some, or of all.
    Containers(Vec<String>, Container),
    NoInitWithCode0Restarted,
}

/// What can be said of one container's status.
#[derive(Clone, Debug)]
pub(crate) enum Container {
    Restarts(Compare, u32),
    Running,
    NotRunning,
    Waiting,
    State(String),
    WaitingReason(String),
    TerminatedReason(String),
    TerminatedMessage(String),
    ExitCode(u8),
    Ready(bool),
    Started(bool),
    LastStateSet,
    IsNew(bool),
    NotOomKilled,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Compare {
    Equal,
    AtLeast,
    AtMost,
    More,
    Less,
}

impl Compare {
    pub(crate) fn holds<T: PartialOrd>(self, left: &T, right: &T) -> bool {
        match self {
            Compare::Equal => left == right,
            Compare::AtLeast => left >= right,
            Compare::AtMost => left <= right,
            Compare::More => left > right,
            Compare::Less => left < right,
        }
    }
}

/// `left`, the sign, `right`.
pub(crate) fn split_comparison(text: &str) -> Option<(&str, Compare, &str)> {
    let signs = [
        (">=", Compare::AtLeast),
        ("<=", Compare::AtMost),
        ("=", Compare::Equal),
        (">", Compare::More),
        ("<", Compare::Less),
    ];
    let found = signs.iter().filter_map(|(sign, compare)| Some((text.find(sign)?, *sign, *compare)));
    let (at, sign, compare) = found.min_by_key(|(at, sign, _)| (*at, 2 - sign.len()))?;
    Some((text[..at].trim(), compare, text[at + sign.len()..].trim()))
}

/// Reads a condition; `names` are the containers of the pod.
pub(crate) fn condition(text: &str, names: &[String]) -> Option<Condition> {
    let text = text.trim();
    let parts: Option<Vec<Condition>> = text.split(" and ").map(|part| single(part.trim(), names)).collect();
    match parts {
        Some(parts) if parts.len() > 1 => Some(Condition::All(parts)),
        Some(_) | None => single(text, names),
    }
}

fn single(text: &str, names: &[String]) -> Option<Condition> {
    if let Some(rest) = text.strip_prefix("not ") {
        return Some(Condition::Not(Box::new(single(rest, names)?)));
    }
    match text {
        "observer sees the preStop call" => return Some(Condition::HookSeen(What::PreStop)),
        "observer sees the postStart call" => return Some(Condition::HookSeen(What::PostStart)),
        "warning event ProbeWarning emitted" => return Some(Condition::ProbeWarning),
        "no init container with exitCode 0 has restartCount>0" => {
            return Some(Condition::NoInitWithCode0Restarted);
        }
        "pod leaves Running" | "pod leaves Pending" | "pod leaves Running/Pending" => {
            return Some(Condition::PhaseIsFinal);
        }
        _ => {}
    }
    if let Some(rest) = text.strip_prefix("condition ") {
        return pod_condition(rest);
    }
    if let Some((name, arguments)) = call(text) {
        return called(name, &arguments, names);
    }
    if let Some((left, compare, right)) = split_comparison(text) {
        if let Some(compared) = compared(left, compare, right, names) {
            return Some(compared);
        }
    }
    worded(text, names)
}

/// `Initialized=False reason ContainersNotInitialized`.
fn pod_condition(text: &str) -> Option<Condition> {
    let (name, value) = text.split_once('=')?;
    let (value, reason) = match value.split_once(" reason ") {
        Some((value, reason)) => (value, Some(reason.to_owned())),
        None => (value, None),
    };
    Some(Condition::Holds { name: name.to_owned(), holds: flag(value)?, reason })
}

/// `StartsBefore(a, b)`, `running(a)`.
fn called(name: &str, arguments: &[&str], names: &[String]) -> Option<Condition> {
    let of = |position: usize| arguments.get(position).map(|it| (*it).to_owned());
    let pair = |make: fn(String, String) -> Condition| Some(make(of(0)?, of(1)?));
    let one = |make: fn(String) -> Condition| Some(make(of(0)?));
    let status = |what: Container| {
        let known = names.iter().any(|it| Some(it.as_str()) == arguments.first().copied());
        known.then(|| Condition::Containers(vec![arguments[0].to_owned()], what))
    };
    match (name, arguments.len()) {
        ("StartsBefore", 2) => pair(Condition::StartsBefore),
        ("ExitsBefore", 2) => pair(Condition::ExitsBefore),
        ("RunTogether", 2) => pair(Condition::RunTogether),
        ("RunTogetherLhsFirst", 2) => pair(Condition::RunTogetherLhsFirst),
        ("Starts", 1) => one(Condition::Starts),
        ("DoesntStart", 1) => one(Condition::DoesntStart),
        ("Exits", 1) => one(Condition::Exits),
        ("HasRestarted", 1) => one(Condition::HasRestarted),
        ("HasNotRestarted", 1) => one(Condition::HasNotRestarted),
        ("running", 1) => status(Container::Running),
        ("notRunning", 1) => status(Container::NotRunning),
        ("waiting", 1) => status(Container::Waiting),
        ("exited" | "terminated", 1) => status(Container::State("terminated".to_owned())),
        _ => None,
    }
}

/// `exitCode(a)=0`, `phase=Running`, `restartCount=0` of all.
fn compared(left: &str, compare: Compare, right: &str, names: &[String]) -> Option<Condition> {
    let equal = matches!(compare, Compare::Equal);
    let (key, who) = match call(left) {
        Some((key, arguments)) if arguments.len() == 1 => (key, Some(arguments[0])),
        Some(_) => return None,
        None => (left, None),
    };
    if let ("phase", None, true) = (key, who, equal) {
        let phases = ["Pending", "Running", "Succeeded", "Failed"];
        return phases.contains(&right).then(|| Condition::Phase(right.to_owned()));
    }
    if let ("reason", None | Some("pod"), true) = (key, who, equal) {
        return Some(Condition::Reason(right.to_owned()));
    }
    if let ("ready", Some("pod"), true) = (key, who, equal) {
        return Some(Condition::PodReady(flag(right)?));
    }
    let (right, whom) = match right.split_once(" for ") {
        Some((value, whom)) if who.is_none() => (value, group(whom, names)?),
        Some(_) => return None,
        None => match who {
            Some(name) if names.iter().any(|it| it == name) => (right, vec![name.to_owned()]),
            Some(_) => return None,
            None => (right, names.to_vec()),
        },
    };
    let what = match (key, equal) {
        ("restartCount", _) => Container::Restarts(compare, right.parse().ok()?),
        ("exitCode", true) => Container::ExitCode(right.parse().ok()?),
        ("waitingReason", true) => Container::WaitingReason(right.to_owned()),
        ("terminatedReason", true) => Container::TerminatedReason(right.to_owned()),
        ("terminatedMessage", true) => {
            Container::TerminatedMessage(right.strip_prefix('"')?.strip_suffix('"')?.to_owned())
        }
        ("ready", true) => Container::Ready(flag(right)?),
        ("started", true) => Container::Started(flag(right)?),
        ("state", true) => Container::State(right.to_owned()),
        ("image", true) => match right {
            "new image" => Container::IsNew(true),
            "original" => Container::IsNew(false),
            _ => return None,
        },
        _ => return None,
    };
    Some(Condition::Containers(whom, what))
}

/// `all`, `all 11 containers`, `all four`, `a, b, c`.
fn group(text: &str, names: &[String]) -> Option<Vec<String>> {
    let mut words = text.split(' ');
    if words.next() == Some("all") {
        let count = words.next();
        let numbers = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"];
        let fits = count.is_none_or(|word| {
            let number = numbers.iter().position(|it| *it == word).map(|at| at + 1).or(word.parse().ok());
            number == Some(names.len()) || word == "containers"
        });
        return fits.then(|| names.to_vec());
    }
    let listed: Vec<String> = text.split(',').map(|name| name.trim().to_owned()).collect();
    listed.iter().all(|name| names.contains(name)).then_some(listed)
}

/// What is said in words.
fn worded(text: &str, names: &[String]) -> Option<Condition> {
    let whom = |text: &str| group(text, names);
    if let Some(rest) = text.strip_suffix(" with new image") {
        let (name, arguments) = call(rest)?;
        let both = [called(name, &arguments, names)?, of(&arguments, Container::IsNew(true), names)?];
        return Some(Condition::All(both.to_vec()));
    }
    if let Some(rest) = text.strip_suffix(" running") {
        return Some(Condition::Containers(
            whom(rest.strip_suffix(" containers").unwrap_or(rest))?,
            Container::Running,
        ));
    }
    if let Some(rest) = text.strip_prefix("no OOMKilled for ") {
        return Some(Condition::Containers(whom(rest)?, Container::NotOomKilled));
    }
    if let Some(rest) = text.strip_prefix("lastState.terminated set for ") {
        return Some(Condition::Containers(whom(rest)?, Container::LastStateSet));
    }
    if let Some(rest) = text.strip_suffix(".terminated set") {
        let (name, arguments) = call(rest)?;
        return if name == "lastState" { of(&arguments, Container::LastStateSet, names) } else { None };
    }
    if let Some(name) = text.strip_suffix(" runs a second time") {
        return Some(Condition::StartsAgain(whom(name)?.pop()?));
    }
    if let Some(name) = text.strip_prefix("DoesntStart again: ") {
        return Some(Condition::Not(Box::new(Condition::StartsAgain(whom(name)?.pop()?))));
    }
    None
}

fn of(arguments: &[&str], what: Container, names: &[String]) -> Option<Condition> {
    let listed: Vec<String> = arguments.iter().map(|it| (*it).to_owned()).collect();
    let known = listed.iter().all(|name| names.contains(name));
    known.then_some(Condition::Containers(listed, what))
}

impl Condition {
    /// Whether it holds at a moment.
    pub(crate) fn holds(&self, history: &History, at: Duration) -> bool {
        let log = Log { history, at };
        match self {
            Condition::All(all) => all.iter().all(|it| it.holds(history, at)),
            Condition::Not(other) => !other.holds(history, at),
            Condition::Starts(a) => log.has(a, What::Started),
            Condition::DoesntStart(a) => !log.has(a, What::Started),
            Condition::Exits(a) => log.has(a, What::Exiting),
            Condition::HasRestarted(a) => log.count(a, What::Starting) >= 2,
            Condition::HasNotRestarted(a) => log.count(a, What::Starting) == 1,
            Condition::StartsBefore(a, b) => log
                .first(a, What::Started, 0)
                .is_some_and(|at| log.first(b, What::Starting, at + 1).is_some()),
            Condition::ExitsBefore(a, b) => {
                log.first(a, What::Exiting, 0).is_some_and(|at| log.first(b, What::Exiting, at + 1).is_some())
            }
            Condition::RunTogetherLhsFirst(a, b) => log.run_together(a, b),
            Condition::RunTogether(a, b) => log.run_together(a, b) || log.run_together(b, a),
            Condition::HookSeen(what) => log.marks().any(|(_, mark)| mark.what == *what),
            Condition::ProbeWarning => log.marks().any(|(_, mark)| mark.what == What::ProbeWarning),
            Condition::StartsAgain(a) => log.count(a, What::Starting) >= 2,
            of_status => history.status(at).is_some_and(|status| of_status.holds_of(status)),
        }
    }

    fn holds_of(&self, status: &PodStatus) -> bool {
        match self {
            Condition::Phase(phase) => status.phase == *phase,
            Condition::PhaseIsFinal => status.phase == "Succeeded" || status.phase == "Failed",
            Condition::Reason(reason) => status.reason == *reason,
            Condition::PodReady(ready) => status.is_ready() == *ready,
            Condition::Holds { name, holds, reason } => match status.conditions.get(name) {
                Some((is, why)) => is == holds && reason.as_ref().is_none_or(|reason| reason == why),
                None => false,
            },
            Condition::Containers(whom, what) => {
                whom.iter().all(|name| status.container(name).is_some_and(|it| what.holds(it)))
            }
            Condition::NoInitWithCode0Restarted => status
                .containers
                .iter()
                .all(|it| !(it.is_init && it.restarts > 0 && it.end().is_some_and(|end| end.code == 0))),
            _ => false,
        }
    }
}

impl Container {
    fn holds(&self, it: &ContainerStatus) -> bool {
        match self {
            Container::Restarts(compare, count) => compare.holds(&it.restarts, count),
            Container::Running => it.state == State::Running,
            Container::NotRunning => it.state != State::Running,
            Container::Waiting => matches!(it.state, State::Waiting(_)),
            Container::State(word) => {
                let is = match it.state {
                    State::Waiting(_) => "waiting",
                    State::Running => "running",
                    State::Terminated(_) => "terminated",
                };
                is == word
            }
            Container::WaitingReason(reason) => matches!(&it.state, State::Waiting(is) if is == reason),
            Container::TerminatedReason(reason) => it.end().is_some_and(|end| end.reason == *reason),
            Container::TerminatedMessage(text) => it.end().is_some_and(|end| end.message.trim_end() == text),
            Container::ExitCode(code) => it.end().is_some_and(|end| end.code == *code),
            Container::Ready(ready) => it.ready == *ready,
            Container::Started(started) => it.started == *started,
            Container::LastStateSet => it.last.is_some(),
            Container::IsNew(new) => it.is_new == *new,
            Container::NotOomKilled => it.end().is_none_or(|end| end.reason != "OOMKilled"),
        }
    }
}

/// What was written down up to a moment.
struct Log<'a> {
    history: &'a History,
    at: Duration,
}

impl Log<'_> {
    fn marks(&self) -> impl Iterator<Item = (usize, &super::history::Mark)> {
        self.history.marks.iter().enumerate().filter(|(_, mark)| mark.at <= self.at)
    }

    /// The position of the first such mark, from a position on.
    fn first(&self, who: &str, what: What, from: usize) -> Option<usize> {
        self.marks().find(|(at, mark)| *at >= from && mark.who == who && mark.what == what).map(|(at, _)| at)
    }

    fn has(&self, who: &str, what: What) -> bool {
        self.first(who, what, 0).is_some()
    }

    fn count(&self, who: &str, what: What) -> usize {
        self.marks().filter(|(_, mark)| mark.who == who && mark.what == what).count()
    }

    /// `a` starts, then `b` does while `a` runs, and both end afterwards.
    fn run_together(&self, a: &str, b: &str) -> bool {
        let together = || {
            let a_started = self.first(a, What::Started, 0)?;
            let b_started = self.first(b, What::Started, a_started + 1)?;
            let a_exits = self.first(a, What::Exiting, a_started + 1)?;
            let b_exits = self.first(b, What::Exiting, b_started + 1)?;
            Some(a_exits > b_started && b_exits > b_started)
        };
        together().unwrap_or(false)
    }
}
