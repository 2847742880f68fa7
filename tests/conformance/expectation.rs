//! Expectations about a history: when something is to hold, and how the times of things relate.

use std::time::Duration;

use super::condition::{Condition, condition};
use super::history::{History, What};
use super::span::{Claim, claim};
use super::text::{duration, not_understood, split_remark};

/// How long what has no time of its own has to stay true, all of it together, to count: what is true
/// for a moment on the way to somewhere else is no result.
const SETTLED: Duration = Duration::from_secs(5);

/// How long is waited for that: as long as Kubernetes' own tests wait.
const PATIENCE: Duration = Duration::from_secs(300);

/// From when on a time counts.
#[derive(Clone, Copy, Debug)]
enum From {
    /// The last action of the case, or the beginning.
    LastAction,
    Delete,
    /// The first start of a container.
    Start,
    /// When the expectation before was met.
    That,
}

/// When a condition is to hold.
#[derive(Clone, Debug)]
enum When {
    /// In the end: all of these together.
    InTheEnd,
    Within(Duration, From),
    For(Duration),
    /// From the first action that changes something (else the beginning) to the end.
    Throughout,
    /// At some time between deletion and the end of the pod, and from then on.
    WhileTerminating,
    /// At some time after the deletion at which some container runs.
    WhileRunning,
    /// At some time within this at which the other condition holds.
    While(Condition, Duration),
    /// At some time after this container has ended so.
    AfterExit(String, u8),
}

#[derive(Clone, Debug)]
enum Expectation {
    Holds(When, Condition),
    Claims(Claim),
}

/// Whether all expectations hold. In the error: which does not.
pub(crate) fn check(expected: &[String], names: &[String], history: &History) -> Result<(), String> {
    let mut read: Vec<(String, Expectation)> = Vec::new();
    for text in expected {
        read_one(text, names, &mut read)?;
    }
    // When the last expectation with a time of its own was met.
    let mut met = history.actions_ended;
    for (text, expectation) in &read {
        let wrong = |why: String| Err(format!("{text}: {why}"));
        match expectation {
            Expectation::Claims(claim) => match claim.check(history, names, met) {
                Ok(()) => {}
                Err(why) => return wrong(why),
            },
            Expectation::Holds(When::InTheEnd | When::Throughout, _) => {}
            Expectation::Holds(when, condition) => match meet(when, condition, history, met) {
                Ok(at) => met = met.max(at.unwrap_or(met)),
                Err(why) => return wrong(why),
            },
        }
    }
    let end = in_the_end(&read, history, met)?;
    for (text, expectation) in &read {
        if let Expectation::Holds(When::Throughout, condition) = expectation {
            let since = history.acted_at;
            let until = end.max(history.actions_ended + SETTLED);
            always(condition, history, since, until).map_err(|why| format!("{text}: {why}"))?;
        }
    }
    Ok(())
}

/// The first moment at which all that is to hold in the end does, and stays so for a while.
fn in_the_end(read: &[(String, Expectation)], history: &History, from: Duration) -> Result<Duration, String> {
    let plain: Vec<(&String, &Condition)> = read
        .iter()
        .filter_map(|(text, expectation)| match expectation {
            Expectation::Holds(When::InTheEnd, condition) => Some((text, condition)),
            _ => None,
        })
        .collect();
    let moments = history.moments();
    let holds = |at: Duration| plain.iter().all(|(_, condition)| condition.holds(history, at));
    let mut since = None;
    for at in moments.into_iter().filter(|at| *at >= from) {
        if since.is_none() && at > from + PATIENCE {
            break;
        }
        if !holds(at) {
            match since.take() {
                // Nothing changed up to now.
                Some(began) if at >= began + SETTLED => return Ok(began),
                Some(_) | None => continue,
            }
        }
        let began = *since.get_or_insert(at);
        if at >= began + SETTLED || (at >= history.end && history.gone.is_some()) {
            return Ok(began);
        }
    }
    // What does not even hold when looking ends is told; else they never hold together.
    let never = plain.iter().find(|(_, condition)| !condition.holds(history, history.end));
    match never {
        Some((text, _)) => Err(format!("{text}: not so at the end of {}", describe(history))),
        None if plain.is_empty() => Ok(history.end),
        None => Err(format!(
            "these never hold together for {SETTLED:?}: {:?}",
            plain.iter().map(|it| it.0).collect::<Vec<_>>()
        )),
    }
}

/// When a condition with a time of its own is met first; `None` if that is no one moment.
fn meet(
    when: &When,
    condition: &Condition,
    history: &History,
    that: Duration,
) -> Result<Option<Duration>, String> {
    let first = |from: Duration, until: Duration, also: &dyn Fn(Duration) -> bool| {
        let moments = std::iter::once(from).chain(history.moments());
        let at = moments
            .filter(|at| (from..=until).contains(at))
            .find(|at| condition.holds(history, *at) && also(*at));
        at.ok_or(format!("not between {from:?} and {until:?} of {}", describe(history)))
    };
    match when {
        When::InTheEnd | When::Throughout => Ok(None),
        When::Within(limit, from) => {
            let from = match from {
                From::LastAction => history.actions_ended,
                From::Delete => history.deleted_at().ok_or("the pod was not deleted")?,
                From::Start => history
                    .marks
                    .iter()
                    .find(|it| it.what == What::Starting)
                    .map(|it| it.at)
                    .ok_or("nothing started")?,
                From::That => that,
            };
            first(from, from + *limit, &|_| true).map(Some)
        }
        When::For(limit) => {
            let from = history.actions_ended;
            always(condition, history, from, from + *limit).map(|()| None)
        }
        When::WhileTerminating => {
            let from = history.deleted_at().ok_or("the pod was not deleted")?;
            let gone = history.gone.unwrap_or(history.end);
            // The last status before the pod is gone, too.
            let last = gone.saturating_sub(Duration::from_nanos(1));
            if !condition.holds(history, last) {
                return Err(format!("not so when the pod has ended in {}", describe(history)));
            }
            first(from, last, &|_| true).map(Some)
        }
        When::WhileRunning => {
            let from = history.deleted_at().ok_or("the pod was not deleted")?;
            let runs = |at: Duration| {
                history.status(at).is_some_and(|it| {
                    it.containers.iter().any(|it| it.state == super::history::State::Running)
                })
            };
            first(from, history.end, &runs).map(Some)
        }
        When::While(other, limit) => {
            let from = history.actions_ended;
            first(from, from + *limit, &|at| other.holds(history, at)).map(Some)
        }
        When::AfterExit(name, code) => {
            let from = history
                .times(name, What::Exited(*code))
                .next()
                .ok_or(format!("{name} has not exited with {code}"))?;
            first(from, history.end, &|_| true).map(Some)
        }
    }
}

fn always(condition: &Condition, history: &History, from: Duration, until: Duration) -> Result<(), String> {
    if history.gone.is_none() && history.end < until {
        return Err(format!("it was looked at until {:?} only", history.end));
    }
    let begin = history.statuses.first().map_or(from, |(at, _)| from.max(*at));
    let moments = std::iter::once(begin).chain(history.moments());
    let broken = moments.filter(|at| (begin..=until).contains(at)).find(|at| !condition.holds(history, *at));
    match broken {
        Some(at) => Err(format!("not so at {at:?} of {}", describe(history))),
        None => Ok(()),
    }
}

/// Reads one expectation, which may only be a time for the one before.
fn read_one(text: &str, names: &[String], read: &mut Vec<(String, Expectation)>) -> Result<(), String> {
    let (stated, remark) = split_remark(text);
    if let Some(when) = bare_time(stated) {
        match read.last_mut() {
            Some((whole, Expectation::Holds(before @ When::InTheEnd, _))) => {
                *before = when;
                whole.push_str(", ");
                whole.push_str(stated);
                return Ok(());
            }
            _ => return Err(format!("{} (a time, and nothing before it)", not_understood(text))),
        }
    }
    let expectation = expectation(stated, names).ok_or_else(|| not_understood(text))?;
    read.push((text.to_owned(), expectation));
    // A remark that can be read is meant.
    if let Some(Expectation::Holds(when, condition)) =
        remark.and_then(|remark| remark_condition(remark, names))
    {
        read.push((text.to_owned(), Expectation::Holds(when, condition)));
    }
    Ok(())
}

fn remark_condition(remark: &str, names: &[String]) -> Option<Expectation> {
    Some(Expectation::Holds(When::InTheEnd, condition(remark, names)?))
}

/// `within 30s of delete`.
fn bare_time(text: &str) -> Option<When> {
    let (limit, from) = text.strip_prefix("within ")?.split_once(" of ")?;
    Some(When::Within(duration(limit)?, origin(from)?))
}

fn origin(text: &str) -> Option<From> {
    match text {
        "delete" | "the delete" | "deletion" => Some(From::Delete),
        "start" => Some(From::Start),
        "that" => Some(From::That),
        "supervisor start" => Some(From::LastAction),
        _ => None,
    }
}

fn expectation(text: &str, names: &[String]) -> Option<Expectation> {
    if let Some(claim) = claim(text, names) {
        return Some(Expectation::Claims(claim));
    }
    let (when, condition_text) = time(text, names)?;
    Some(Expectation::Holds(when, condition(&condition_text, names)?))
}

/// The time of a statement, and the statement without it.
fn time(text: &str, names: &[String]) -> Option<(When, String)> {
    let plain = |when: When, rest: &str| Some((when, rest.trim().to_owned()));
    if let Some((head, rest)) = text.split_once(": ") {
        if let Some(limit) = head.strip_prefix("within ") {
            return plain(When::Within(duration(limit)?, From::LastAction), rest);
        }
        if let Some(limit) = head.strip_prefix("for ") {
            return plain(When::For(duration(limit)?), rest);
        }
        if head.starts_with("throughout and ") && head.ends_with(" after") {
            let limit = duration(head.strip_prefix("throughout and ")?.strip_suffix(" after")?)?;
            return (limit <= SETTLED).then(|| (When::Throughout, rest.to_owned()));
        }
        if let Some(other) = head.strip_prefix("while ") {
            let (rest, limit) = rest.rsplit_once(" within ")?;
            return plain(When::While(condition(other, names)?, duration(limit)?), rest);
        }
        if let Some(event) = head.strip_prefix("after ") {
            let (name, code) = event.split_once(" exits ")?;
            return plain(When::AfterExit(name.to_owned(), code.parse().ok()?), rest);
        }
    }
    if let Some((rest, limit)) = text.rsplit_once(" within ") {
        let (limit, from) = match limit.split_once(" of ") {
            Some((limit, from)) => (limit, origin(from)?),
            None => (limit, From::LastAction),
        };
        return plain(When::Within(duration(limit)?, from), rest);
    }
    if let Some((rest, limit)) = text.rsplit_once(" for ") {
        if let Some(limit) = duration(limit) {
            return plain(When::For(limit), rest);
        }
    }
    for (ending, when) in [
        (" throughout", When::Throughout),
        (" while terminating", When::WhileTerminating),
        (" while the container still runs", When::WhileRunning),
        (" finally", When::InTheEnd),
        (" eventually", When::InTheEnd),
        (" after restart", When::InTheEnd),
    ] {
        if let Some(rest) = text.strip_suffix(ending) {
            return plain(when, rest);
        }
    }
    plain(When::InTheEnd, text)
}

/// The history in a few lines, for whoever wants to know what went wrong.
pub(crate) fn describe(history: &History) -> String {
    const LINES_MAX: usize = 60;
    let mut text = String::from("\n");
    for mark in history.marks.iter().take(LINES_MAX) {
        text.push_str(&format!("      {:8.3} {} {:?}\n", mark.at.as_secs_f64(), mark.who, mark.what));
    }
    for (at, status) in history.statuses.iter().rev().take(4).rev() {
        let containers: Vec<String> = status
            .containers
            .iter()
            .map(|it| {
                format!(
                    "{}: {:?} last {:?} restarts {} ready {}",
                    it.name,
                    it.state,
                    it.last.as_ref().map(|it| it.code),
                    it.restarts,
                    it.ready
                )
            })
            .collect();
        text.push_str(&format!(
            "      {:8.3} {} ready {}: {}\n",
            at.as_secs_f64(),
            status.phase,
            status.is_ready(),
            containers.join("; ")
        ));
    }
    text
}
