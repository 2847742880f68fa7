//! Claims about times and sequences in a history.

use std::time::Duration;

use super::condition::{Compare, split_comparison};
use super::history::{History, State, What};
use super::text::{call, duration, seconds};

/// How exactly a time that is given as one number is to be met: the kubelet counts whole seconds.
const EXACT: Duration = Duration::from_secs(1);

/// When a count of restarts is looked at if nobody says: five minutes, as upstream, less what passes
/// there before the first start.
const COUNTED_AT: Duration = Duration::from_secs(290);

/// A point in time that has a name.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Point {
    Delete,
    SecondDelete,
    /// When the expectation before was met.
    That,
    /// Deletion and grace period.
    Deadline,
    Gone,
    AllStopped,
    PodReady,
    StartedTrue(String),
    Mark(String, What),
    Finished(String),
}

/// What is claimed.
#[derive(Clone, Debug)]
pub(crate) enum Claim {
    /// `to` is so far behind `from`: not less, not more.
    Distance {
        from: Point,
        to: Point,
        at_least: Duration,
        at_most: Duration,
        strictly: bool,
    },
    /// Starts of the one container (or of this one), from its first one on.
    StartOffsets(Option<String>, Vec<Duration>),
    /// The restarts of the only container are between these at this time.
    RestartsBetween(u32, u32, Duration),
    /// So often in a row the pause between an end and the next start is between these.
    RestartDelay(Duration, Duration, usize),
    NeverDecreases(String),
    NoLivenessKill(Duration),
    /// Start number n of each is behind that of the one before.
    Order(usize, Vec<String>),
    /// Each ends after the one before.
    ExitOrder(Vec<String>),
    PhaseSequence(Vec<String>),
    WaitsBetweenRuns(String, String),
    StartsAgainAfter {
        who: String,
        gate: String,
    },
    HooksTogether {
        starts: bool,
        whose: Vec<String>,
        within: Duration,
    },
    HookRuns(Duration, Duration),
}

/// Reads a claim; `names` are the containers of the pod.
pub(crate) fn claim(text: &str, names: &[String]) -> Option<Claim> {
    distance(text).or_else(|| sequence(text, names)).or_else(|| hooks(text))
}

fn sequence(text: &str, names: &[String]) -> Option<Claim> {
    if let Some(rest) = text.strip_prefix("cumulative start offsets: ") {
        return Some(Claim::StartOffsets(None, offsets(rest)?));
    }
    if let Some(rest) = text.strip_prefix("start offsets about: ") {
        return Some(Claim::StartOffsets(None, offsets(rest)?));
    }
    if let Some(rest) = text.strip_prefix("restartCount between ") {
        let (bounds, at) = match rest.split_once(" after ") {
            Some((bounds, range)) => {
                (bounds, duration(range.rsplit_once("..").map_or(range, |(_, end)| end))?)
            }
            None => (rest, COUNTED_AT),
        };
        let (least, most) = bounds.split_once(" and ")?;
        return Some(Claim::RestartsBetween(least.parse().ok()?, most.parse().ok()?, at));
    }
    if let Some(rest) = text.strip_suffix(" never decreases") {
        return match call(rest) {
            Some(("restartCount", arguments)) => Some(Claim::NeverDecreases(arguments[0].to_owned())),
            _ => None,
        };
    }
    if let Some(rest) = text.strip_suffix(": no kill caused by liveness") {
        return Some(Claim::NoLivenessKill(duration(rest.strip_prefix("for ")?)?));
    }
    if let Some((nth, order)) = text.split_once(" run: ") {
        let digits = nth.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
        let started = |term: &str| match call(term.trim()) {
            Some(("started", arguments)) => Some(arguments[0].to_owned()),
            _ => None,
        };
        let order: Option<Vec<String>> = order.split('<').map(started).collect();
        return Some(Claim::Order(digits.parse().ok()?, order?));
    }
    if let Some(rest) = text.strip_prefix("order: ") {
        let name = |item: &str| {
            let first = item.trim().split(' ').next()?;
            names.iter().find(|name| *name == first).cloned()
        };
        let order: Option<Vec<String>> = rest.split(", ").map(name).collect();
        return Some(Claim::ExitOrder(order?));
    }
    if let Some(rest) = text.strip_prefix("phase: ") {
        return Some(Claim::PhaseSequence(rest.split(" -> ").map(str::to_owned).collect()));
    }
    if let Some(rest) = text.strip_suffix(" between runs") {
        let (left, compare, reason) = split_comparison(rest)?;
        return match (call(left), compare) {
            (Some(("waitingReason", arguments)), Compare::Equal) => {
                Some(Claim::WaitsBetweenRuns(arguments[0].to_owned(), reason.to_owned()))
            }
            _ => None,
        };
    }
    let text = text.strip_prefix("both die at the same moment: ").unwrap_or(text);
    let (who, rest) = text.split_once(" is started again only after ")?;
    let gate = rest.strip_suffix(" was restarted and its startup probe has succeeded")?;
    Some(Claim::StartsAgainAfter { who: who.to_owned(), gate: gate.to_owned() })
}

/// `0, 0, 10, 30, ... s`.
fn offsets(text: &str) -> Option<Vec<Duration>> {
    let list = text.strip_suffix(" s")?;
    list.split(',').map(str::trim).filter(|it| *it != "...").map(seconds).collect()
}

fn hooks(text: &str) -> Option<Claim> {
    if let Some(rest) = text.strip_prefix("each preStop runs ") {
        let (length, tolerance) = rest.split_once(" +-")?;
        return Some(Claim::HookRuns(duration(length)?, duration(tolerance)?));
    }
    let rest = text.strip_suffix(" of each other")?;
    let (subject, within) = rest.split_once(" within ")?;
    let within = duration(within)?;
    if let Some(listed) = subject.strip_suffix(" end") {
        let hook = |term: &str| match call(term) {
            Some(("preStop", arguments)) => Some(arguments[0].to_owned()),
            _ => None,
        };
        let whose: Option<Vec<String>> = listed.split(", ").map(hook).collect();
        return Some(Claim::HooksTogether { starts: false, whose: whose?, within });
    }
    (subject.starts_with("starts of the ") && subject.ends_with(" preStop hooks lie"))
        .then_some(Claim::HooksTogether { starts: true, whose: Vec::new(), within })
}

/// `pod gone <= 110s after delete`, `50s <= finishedAt(a) - deleteTime <= 100s`, `SIGTERM(a) at t=10..12`.
fn distance(text: &str) -> Option<Claim> {
    let any = (Duration::ZERO, Duration::MAX);
    if let Some((subject, rest)) =
        text.split_once(" restart delay <= ").filter(|(left, _)| left.ends_with(" <="))
    {
        let (most, often) = rest.split_once(", ")?;
        let often = match often {
            "twice in a row" => 2,
            "three times in a row" => 3,
            _ => return None,
        };
        return Some(Claim::RestartDelay(duration(subject.strip_suffix(" <=")?)?, duration(most)?, often));
    }
    for (start, to) in [("pod gone ", Point::Gone), ("all containers stopped ", Point::AllStopped)] {
        if let Some(rest) = text.strip_prefix(start) {
            return gone(rest, to);
        }
    }
    if let Some((subject, time)) = text.split_once(" at t=") {
        let (least, most) = match time.split_once("..") {
            Some((least, most)) => (seconds(least)?, seconds(most)?),
            None => (seconds(time)?.saturating_sub(EXACT), seconds(time)? + EXACT),
        };
        let to = point(subject)?;
        return Some(Claim::Distance {
            from: Point::Delete,
            to,
            at_least: least,
            at_most: most,
            strictly: false,
        });
    }
    // A chain of comparisons around one difference.
    let mut parts: Vec<&str> = Vec::new();
    let mut signs = Vec::new();
    let mut rest = text;
    while let Some((left, sign, right)) = split_comparison(rest) {
        parts.push(left);
        signs.push(sign);
        rest = right;
    }
    parts.push(rest);
    let position = parts.iter().position(|part| part.contains(" - "))?;
    let (to, from) = parts[position].split_once(" - ")?;
    let (to, from) = (point(to.trim())?, point(from.trim())?);
    let (mut at_least, mut at_most) = any;
    for (at, part) in parts.iter().enumerate().filter(|(at, _)| *at != position) {
        let limit = duration(part)?;
        // The sign between the two, as seen from the difference.
        let sign = signs[at.min(position)];
        match (sign, at < position) {
            (Compare::Equal, _) => (at_least, at_most) = (limit.saturating_sub(EXACT), limit + EXACT),
            (Compare::AtMost | Compare::Less, true) | (Compare::AtLeast | Compare::More, false) => {
                at_least = limit
            }
            (Compare::AtLeast | Compare::More, true) | (Compare::AtMost | Compare::Less, false) => {
                at_most = limit
            }
        }
    }
    (parts.len() > 1).then_some(Claim::Distance { from, to, at_least, at_most, strictly: false })
}

/// `<= 110s after delete`, `within 60s of delete`, `0..30s after delete`, `<= original deadline + 10s`.
fn gone(text: &str, to: Point) -> Option<Claim> {
    let claim = |from, at_least, at_most, strictly| {
        Some(Claim::Distance { from, to: to.clone(), at_least, at_most, strictly })
    };
    if let Some(rest) = text.strip_prefix("<= original deadline + ") {
        return claim(Point::Deadline, Duration::ZERO, duration(rest)?, false);
    }
    if let Some(rest) = text.strip_prefix("within ") {
        let (limit, from) = rest.split_once(" of ")?;
        return claim(origin(from)?, Duration::ZERO, duration(limit)?, false);
    }
    let (limit, from) = text.split_once(" after ")?;
    let from = origin(from)?;
    if let Some(limit) = limit.strip_prefix("<= ") {
        return claim(from, Duration::ZERO, duration(limit)?, false);
    }
    if let Some(limit) = limit.strip_prefix("< ") {
        return claim(from, Duration::ZERO, duration(limit)?, true);
    }
    let (least, most) = limit.split_once("..")?;
    claim(from, seconds(least)?, duration(most)?, false)
}

fn origin(text: &str) -> Option<Point> {
    match text {
        "delete" => Some(Point::Delete),
        "the second delete" => Some(Point::SecondDelete),
        "that" => Some(Point::That),
        _ => None,
    }
}

fn point(text: &str) -> Option<Point> {
    match text {
        "deleteTime" => return Some(Point::Delete),
        "readyAt(pod)" => return Some(Point::PodReady),
        _ => {}
    }
    let (name, arguments) = call(text)?;
    let who = (*arguments.first()?).to_owned();
    Some(match name {
        "finishedAt" => Point::Finished(who),
        "startedAt" => Point::Mark(who, What::Starting),
        "startedTrueAt" => Point::StartedTrue(who),
        "SIGTERM" => Point::Mark(who, What::Sigterm),
        "SIGKILL" => Point::Mark(who, What::Sigkill),
        _ => return None,
    })
}

impl Point {
    fn time(&self, history: &History, that: Duration) -> Option<Duration> {
        let status = |holds: &dyn Fn(&super::history::PodStatus) -> bool| {
            history.statuses.iter().find(|(_, status)| holds(status)).map(|(at, _)| *at)
        };
        match self {
            Point::Delete => history.deleted_at(),
            Point::SecondDelete => history.times("pod", What::Delete).nth(1),
            Point::That => Some(that),
            Point::Deadline => history.deleted_at().map(|at| at + history.grace),
            Point::Gone => history.gone,
            Point::AllStopped => {
                let is_exit = |it: &&super::history::Mark| matches!(it.what, What::Exited(_));
                let last = history.marks.iter().rfind(is_exit).map(|it| it.at);
                let runs = history.statuses.last()?.1.containers.iter().any(|it| it.state == State::Running);
                last.filter(|_| !runs)
            }
            Point::PodReady => status(&|it| it.is_ready()),
            Point::StartedTrue(who) => status(&|it| it.container(who).is_some_and(|it| it.started)),
            Point::Mark(who, what) => history.times(who, *what).next(),
            Point::Finished(who) => history.statuses.last()?.1.container(who)?.end()?.finished_at,
        }
    }
}

impl Claim {
    /// Whether it is true. `that`: when the expectation before was met.
    pub(crate) fn check(&self, history: &History, names: &[String], that: Duration) -> Result<(), String> {
        let told = |it: String| format!("{it} in {}", super::expectation::describe(history));
        let require = |holds: bool, why: String| if holds { Ok(()) } else { Err(told(why)) };
        let starts = |name: &str| -> Vec<Duration> { history.times(name, What::Starting).collect() };
        let only = || names.last().cloned().unwrap_or_default();
        match self {
            Claim::Distance { from, to, at_least, at_most, strictly } => {
                let begin = from.time(history, that).ok_or(told(format!("{from:?} did not come")))?;
                let end = to.time(history, that).ok_or(told(format!("{to:?} did not come")))?;
                let distance = end.saturating_sub(begin);
                let short_enough = if *strictly { distance < *at_most } else { distance <= *at_most };
                require(end >= begin && distance >= *at_least && short_enough, format!("it is {distance:?}"))
            }
            Claim::StartOffsets(name, expected) => {
                let starts = starts(&name.clone().unwrap_or_else(only));
                let offsets: Vec<Duration> = starts.iter().map(|at| *at - starts[0]).collect();
                // Each start takes its time, so the distance to the exact curve grows with them.
                let near = |(nth, (is, should)): (usize, (&Duration, &Duration))| {
                    is.abs_diff(*should)
                        <= EXACT + Duration::from_millis(100) * u32::try_from(nth).unwrap_or(0)
                };
                let all_near = offsets.iter().zip(expected).enumerate().all(near);
                require(offsets.len() >= expected.len() && all_near, format!("they are {offsets:?}"))
            }
            Claim::RestartsBetween(least, most, at) => {
                let status = history.status(*at).and_then(|status| status.container(&only()).cloned());
                let count = status.ok_or("there is no status")?.restarts;
                require((*least..=*most).contains(&count), format!("there are {count} at {at:?}"))
            }
            Claim::RestartDelay(least, most, often) => {
                let ends: Vec<Duration> =
                    pauses(history, &only()).into_iter().map(|(from, to)| to - from).collect();
                let fits = |run: &[Duration]| run.iter().all(|it| (*least..=*most).contains(it));
                require(ends.windows(*often).any(fits), format!("they are {ends:?}"))
            }
            Claim::NeverDecreases(name) => {
                let counts: Vec<u32> = history
                    .statuses
                    .iter()
                    .filter_map(|(_, it)| Some(it.container(name)?.restarts))
                    .collect();
                require(counts.is_sorted() && !counts.is_empty(), format!("they are {counts:?}"))
            }
            Claim::NoLivenessKill(limit) => {
                let until = history.actions_ended + *limit;
                let killed = history.marks.iter().find(|it| {
                    it.what == What::LivenessFailed && it.at >= history.actions_ended && it.at <= until
                });
                require(killed.is_none(), format!("{killed:?}"))
            }
            Claim::Order(nth, order) => {
                let time = |name: &String| history.times(name, What::Started).nth(nth - 1);
                let times: Option<Vec<Duration>> = order.iter().map(time).collect();
                let times = times.ok_or(told("not all of them started so often".to_owned()))?;
                require(times.windows(2).all(|pair| pair[0] < pair[1]), format!("they are {times:?}"))
            }
            Claim::ExitOrder(order) => {
                let time = |name: &String| {
                    history
                        .marks
                        .iter()
                        .find(|it| it.who == *name && matches!(it.what, What::Exited(_)))
                        .map(|it| it.at)
                };
                let times: Option<Vec<Duration>> = order.iter().map(time).collect();
                let times = times.ok_or(told("not all of them ended".to_owned()))?;
                require(times.is_sorted(), format!("they are {times:?}"))
            }
            Claim::PhaseSequence(expected) => {
                let mut phases: Vec<&str> =
                    history.statuses.iter().map(|(_, it)| it.phase.as_str()).collect();
                phases.dedup();
                require(
                    phases.windows(expected.len()).any(|run| run == expected),
                    format!("they are {phases:?}"),
                )
            }
            Claim::WaitsBetweenRuns(name, reason) => {
                let long: Vec<(Duration, Duration)> =
                    pauses(history, name).into_iter().filter(|(from, to)| *to - *from > EXACT).collect();
                let waits = |(from, to): &(Duration, Duration)| {
                    let status =
                        history.status(*from + (*to - *from) / 2).and_then(|it| it.container(name).cloned());
                    matches!(status.map(|it| it.state), Some(State::Waiting(is)) if is == *reason)
                };
                require(!long.is_empty() && long.iter().all(waits), "not in every pause".to_owned())
            }
            Claim::StartsAgainAfter { who, gate } => {
                let again = starts(who).get(1).copied().ok_or(told(format!("{who} is not started again")))?;
                let open = history
                    .statuses
                    .iter()
                    .find(|(_, it)| it.container(gate).is_some_and(|it| it.restarts > 0 && it.started));
                let open = open.ok_or(told(format!("{gate} does not start again")))?.0;
                require(again >= open, format!("{again:?} is before {open:?}"))
            }
            Claim::HooksTogether { starts, whose, within } => {
                let what = if *starts { What::PreStop } else { What::PreStopOver };
                let of = |it: &&super::history::Mark| {
                    it.what == what && (whose.is_empty() || whose.contains(&it.who))
                };
                let times: Vec<Duration> = history.marks.iter().filter(of).map(|it| it.at).collect();
                let (first, last) = (times.iter().min(), times.iter().max());
                let (first, last) = first.zip(last).ok_or(told("there are none".to_owned()))?;
                require(
                    times.len() >= whose.len().max(2) && *last - *first <= *within,
                    format!("they are {times:?}"),
                )
            }
            Claim::HookRuns(length, tolerance) => {
                let begins: Vec<Duration> =
                    history.marks.iter().filter(|it| it.what == What::PreStop).map(|it| it.at).collect();
                let ends: Vec<Duration> =
                    history.marks.iter().filter(|it| it.what == What::PreStopOver).map(|it| it.at).collect();
                let fits =
                    |(begin, end): (&Duration, &Duration)| (*end - *begin).abs_diff(*length) <= *tolerance;
                let all =
                    !begins.is_empty() && begins.len() == ends.len() && begins.iter().zip(&ends).all(fits);
                require(all, format!("they begin at {begins:?} and end at {ends:?}"))
            }
        }
    }
}

/// From each end of a container to its next start.
fn pauses(history: &History, name: &str) -> Vec<(Duration, Duration)> {
    let own: Vec<_> = history.marks.iter().filter(|it| it.who == name).collect();
    let mut pauses = Vec::new();
    for (position, end) in own.iter().enumerate().filter(|(_, it)| matches!(it.what, What::Exited(_))) {
        if let Some(next) = own[position..].iter().find(|it| it.what == What::Starting) {
            pauses.push((end.at, next.at));
        }
    }
    pauses
}
