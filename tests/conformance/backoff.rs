//! The pauses between restarts: the kinds `backoff` and `backoff-config`.

use std::time::Duration;

use outrigger::config::plan::Backoff;
use outrigger::supervisor::restart::Entry;
use outrigger::time::Instant;
use serde_json::Value;

use super::case::Case;
use super::pass::compare;
use super::pod::{Shape, plan};
use super::setting::Setting;
use super::text::{duration, flag, json_seconds, not_understood, seconds, write_duration};

/// What the configuration comes to.
pub(crate) fn config(case: &Case, expected: &[String]) -> Result<(), String> {
    let input = case.part("input");
    let mut keys = Vec::new();
    // The kubelet's switch for shorter defaults; ours are written down.
    if input.get("reducedDefault") == Some(&Value::Bool(true)) {
        keys.push("initial = \"1s\"".to_owned());
    }
    match input.get("maxContainerRestartPeriod").and_then(json_seconds) {
        Some(max) => keys.push(format!("max = {:?}", write_duration(max))),
        None if input.get("reducedDefault") == Some(&Value::Bool(true)) => {
            keys.push("max = \"60s\"".to_owned())
        }
        None => {}
    }
    let lines = format!("restart-backoff = {{ {} }}\n", keys.join(", "));
    let pod = serde_json::json!({"containers": [{"name": "main"}]});
    let backoff = plan(&pod, &Shape { pod_lines: lines, ..Shape::default() })?.pods[0].restart_backoff;
    for text in expected {
        let (key, value) = text.split_once('=').ok_or_else(|| not_understood(text))?;
        let value = duration(value).ok_or_else(|| not_understood(text))?;
        match key {
            "initial" => compare(text, &value, &backoff.initial)?,
            "max" => compare(text, &value, &backoff.max)?,
            _ => return Err(not_understood(text)),
        }
    }
    Ok(())
}

fn at(seconds: u64) -> Instant {
    Instant::ZERO.after(Duration::from_secs(1000 + seconds))
}

/// The entry of one container.
pub(crate) fn entry(case: &Case, expected: &[String]) -> Result<(), String> {
    let input = case.part("input");
    let known = |key: &str| input.get(key).and_then(json_seconds);
    let Some((initial, max)) = known("initial").zip(known("max")) else {
        return asked_once(input, expected);
    };
    // Where nothing else is said, an entry is forgotten after twice the longest pause.
    let reset = match input.get("expiry").and_then(Value::as_str) {
        None | Some("2*max since last update") => max * 2,
        Some(other) => return Err(not_understood(&format!("expiry {other:?}"))),
    };
    let backoff = Backoff { initial, max, reset, ..default_backoff()? };
    let (idle, in_backoff): (Vec<&String>, Vec<&String>) = (
        expected.iter().filter(|text| text.starts_with("notInBackoff at ticks ")).collect(),
        expected.iter().filter(|text| text.starts_with("inBackoff at ticks ")).collect(),
    );
    if !idle.is_empty() && idle.len() + in_backoff.len() == expected.len() {
        return ticks(&idle, &in_backoff, &backoff);
    }
    expected.iter().try_for_each(|text| statement(text, &backoff))
}

fn default_backoff() -> Result<Backoff, String> {
    let pod = serde_json::json!({"containers": [{"name": "main"}]});
    Ok(plan(&pod, &Shape::default())?.pods[0].restart_backoff)
}

/// An entry that has come to its longest pause, last used at 0.
fn highest(backoff: &Backoff) -> Entry {
    let mut entry = Entry::default();
    for _ in 0..20 {
        entry.advance(at(0), at(0), backoff);
    }
    entry
}

/// The pause before a restart after an exit at `exited` seconds.
fn pause(entry: &Entry, exited: u64, backoff: &Backoff) -> Duration {
    entry.restart_at(at(exited), backoff).since(at(exited))
}

fn statement(text: &str, backoff: &Backoff) -> Result<(), String> {
    let whole = |text: &str| seconds(text).map(|it| it.as_secs()).ok_or_else(|| not_understood(text));
    if let Some(list) = text.strip_prefix("delay before n-th Next call, in steps of initial: ") {
        let mut entry = Entry::default();
        let mut delays = Vec::new();
        for nth in 0..list.split(',').count() as u64 {
            // One call each second, long before anything is forgotten.
            delays.push(pause(&entry, nth, backoff).as_nanos() / backoff.initial.as_nanos().max(1));
            entry.advance(at(nth), at(nth), backoff);
        }
        let wanted: Result<Vec<u128>, _> = list.split(',').map(|it| it.trim().parse()).collect();
        return compare(text, &wanted.map_err(|_| not_understood(text))?, &delays);
    }
    if text == "Reset(key) -> delay 0" {
        // A new entry takes the place of the old one.
        return compare(text, &Duration::ZERO, &pause(&Entry::default(), 0, backoff));
    }
    if let Some(rest) = text.strip_prefix("after reaching ") {
        let (reached, rest) = rest.split_once(" and waiting ").ok_or_else(|| not_understood(text))?;
        let (waiting, kept) = rest.split_once(": Next keeps ").ok_or_else(|| not_understood(text))?;
        let mut entry = highest(backoff);
        let before = pause(&entry, 0, backoff);
        let later = whole(waiting)?;
        entry.advance(at(later), at(later), backoff);
        let wanted = (duration(reached), duration(kept));
        return compare(text, &wanted, &(Some(before), Some(pause(&entry, later, backoff))));
    }
    let is_kept = |later: u64, backoff: &Backoff| !pause(&highest(backoff), later, backoff).is_zero();
    if let Some(rest) = text.strip_prefix("entry ") {
        let (word, time) = rest.split_once(' ').ok_or_else(|| not_understood(text))?;
        let time = whole(time.strip_suffix(" after last update").ok_or_else(|| not_understood(text))?)?;
        return compare(text, &(word == "kept"), &is_kept(time, backoff));
    }
    // `default, max 50s: kept at 5s, removed at 106s`, `custom expiry 200s: kept at ...`.
    let (head, rest) = text.split_once(": kept at ").ok_or_else(|| not_understood(text))?;
    let (kept, removed) = rest.split_once(", removed at ").ok_or_else(|| not_understood(text))?;
    let backoff = match (head.strip_prefix("custom expiry "), head.strip_prefix("default, max ")) {
        (Some(expiry), _) => {
            Backoff { reset: duration(expiry).ok_or_else(|| not_understood(text))?, ..*backoff }
        }
        (None, Some(max)) => {
            let max = duration(max).ok_or_else(|| not_understood(text))?;
            Backoff { max, reset: max * 2, ..*backoff }
        }
        (None, None) => return Err(not_understood(text)),
    };
    compare(text, &(true, false), &(is_kept(whole(kept)?, &backoff), is_kept(whole(removed)?, &backoff)))
}

/// A container that ends as soon as it was started; at each tick somebody asks. At the ticks that are not
/// named nobody does: it runs then.
fn ticks(idle: &[&String], in_backoff: &[&String], backoff: &Backoff) -> Result<(), String> {
    let mut asked: Vec<(u64, Option<Duration>)> = Vec::new();
    for text in idle {
        let list = text.strip_prefix("notInBackoff at ticks ").unwrap_or_default();
        for tick in list.split(',') {
            asked.push((tick.trim().parse().map_err(|_| not_understood(text))?, None));
        }
    }
    for text in in_backoff {
        let list = text.strip_prefix("inBackoff at ticks ").unwrap_or_default();
        for part in list.split(", ") {
            let (range, delay) = part
                .strip_suffix(')')
                .and_then(|it| it.split_once(" ("))
                .ok_or_else(|| not_understood(text))?;
            let delay: u64 = delay.trim_start_matches("delay ").parse().map_err(|_| not_understood(text))?;
            let (from, to) = range.split_once('-').unwrap_or((range, range));
            let bounds: (Result<u64, _>, Result<u64, _>) = (from.parse(), to.parse());
            let (Ok(from), Ok(to)) = bounds else { return Err(not_understood(text)) };
            asked.extend((from..=to).map(|tick| (tick, Some(Duration::from_secs(delay)))));
        }
    }
    asked.sort();
    let mut entry = Entry::default();
    let (mut exited, mut before) = (0, None);
    for (tick, wanted) in asked {
        if before.is_some_and(|before| tick > before + 1) {
            exited = tick;
        }
        before = Some(tick);
        let delay = pause(&entry, exited, backoff);
        let waits = at(tick) < at(exited).after(delay);
        compare(&format!("tick {tick}"), &wanted, &waits.then_some(delay))?;
        if !waits {
            entry.advance(at(exited), at(tick), backoff);
            exited = tick;
        }
    }
    Ok(())
}

/// Whether a container in this state is started at once.
fn asked_once(input: &Value, expected: &[String]) -> Result<(), String> {
    let not = || not_understood(&input.to_string());
    let exited = match input.get("state").and_then(Value::as_str) {
        Some("running") => false,
        Some("exited just now") => true,
        _ => return Err(not()),
    };
    let delay = match input.get("entry") {
        None | Some(Value::Null) => None,
        Some(entry) => Some(entry.get("delay").and_then(json_seconds).ok_or_else(not)?),
    };
    let pod = serde_json::json!({"restartPolicy": "Always", "containers": [{"name": "asked"}]});
    let mut setting = Setting::new(&pod, Shape::default())?;
    let state = if exited { "exited" } else { "running" };
    setting.set("asked", &serde_json::json!({"state": state, "exitCode": 1}))?;
    let mut backoff = default_backoff()?;
    if let Some(delay) = delay {
        // It was started again just now, and is to wait so long.
        (backoff.initial, backoff.max) = (delay, delay);
        setting.records[0].backoff.advance(super::setting::NOW, super::setting::NOW, &backoff);
    }
    let at = outrigger::supervisor::restart::start_at(&setting.records[0], &backoff);
    for text in expected {
        let wanted = text.strip_prefix("inBackOff=").and_then(flag).ok_or_else(|| not_understood(text))?;
        compare(text, &wanted, &at.is_some_and(|at| at > super::setting::NOW))?;
    }
    Ok(())
}
