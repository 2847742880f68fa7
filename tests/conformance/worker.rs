//! From the tries of a probe to what it says: the cases of the kind `probe-unit` about workers.

use std::time::Duration;

use outrigger::config::plan::{Check, Probe};
use outrigger::supervisor::alarm::Alarm;
use outrigger::supervisor::probe::{Outcome, ProbeKind, Verdict, Workers};
use outrigger::time::Instant;
use serde_json::{Value, json};

use super::case::Case;
use super::pass::compare;
use super::pod::{Shape, plan};
use super::text::{duration, not_understood};

/// One probe of one container, asked again and again.
struct Asked {
    kind: ProbeKind,
    probes: outrigger::config::plan::Probes,
    workers: Workers,
    now: Instant,
}

impl Asked {
    /// `input` has the thresholds.
    fn new(kind: ProbeKind, input: &Value) -> Result<Asked, String> {
        let mut probe = json!({});
        for key in
            ["initialDelaySeconds", "periodSeconds", "timeoutSeconds", "successThreshold", "failureThreshold"]
        {
            if let Some(value) = input.get(key) {
                // Only a readiness probe may have another one than 1.
                if key != "successThreshold" || kind == ProbeKind::Readiness {
                    probe[key] = value.clone();
                }
            }
        }
        let mut container = json!({"name": "asked"});
        container[format!("{}Probe", kind.name())] = probe;
        let pod = json!({"containers": [container]});
        let probes = plan(&pod, &Shape::default())?.containers[0].probes.clone();
        let now = Instant::ZERO.after(Duration::from_secs(1000));
        Ok(Asked { kind, workers: Workers::begin_instance(&probes, now), probes, now })
    }

    fn probe(&self) -> &Probe {
        self.kind.of(&self.probes).expect("it was made with this probe")
    }

    /// One more period; whether a try is made.
    fn try_once(&mut self, outcome: Outcome) -> bool {
        self.now = self.now.after(self.probe().period.max(self.probe().initial_delay));
        let (kind, now, probe) = (self.kind, self.now, self.probe().clone());
        let worker = self.workers.worker_mut(kind);
        if worker.want(&mut Alarm::new(now)).is_none() {
            return false;
        }
        worker.begin(&probe, now);
        worker.observe(kind, &probe, outcome);
        true
    }

    fn verdict(&self) -> Verdict {
        self.workers.worker(self.kind).verdict()
    }

    /// How many failures in a row there are, seen by how many more it takes.
    fn failures_in_a_row(&self) -> u32 {
        let mut other = Asked { probes: self.probes.clone(), ..*self };
        let threshold = self.probe().failure_threshold;
        for more in 1..=threshold {
            other.try_once(Outcome::Failure);
            if other.verdict() == Verdict::Failure {
                return threshold - more;
            }
        }
        0
    }

    fn new_instance(&mut self) {
        self.workers = Workers::begin_instance(&self.probes, self.now);
    }
}

/// The probe that a case speaks of first.
fn kind_of(case: &Case) -> Option<ProbeKind> {
    let text = format!("{} {}", case.title, case.id).to_lowercase();
    let first = |kind: &ProbeKind| text.find(kind.name()).unwrap_or(usize::MAX);
    ProbeKind::ALL.into_iter().filter(|kind| text.contains(kind.name())).min_by_key(first)
}

fn outcome(word: &str) -> Option<Outcome> {
    match word {
        "S" => Some(Outcome::Success),
        "F" => Some(Outcome::Failure),
        _ => None,
    }
}

fn verdict(word: &str) -> Option<Verdict> {
    match word {
        "Success" | "S" => Some(Verdict::Success),
        "Failure" | "F" => Some(Verdict::Failure),
        "Unknown" | "U" => Some(Verdict::Unknown),
        _ => None,
    }
}

/// Several tries one after another, and what they lead to.
pub(crate) fn sequence(case: &Case, expected: &[String]) -> Result<(), String> {
    let input = case.part("input");
    let mut asked = Asked::new(kind_of(case).ok_or_else(|| not_understood(&expected.join("; ")))?, input)?;
    let mut last = None;
    for text in expected {
        if let Some(rest) = text.strip_prefix("during delay: ") {
            during_delay(input, rest)?;
        } else if let Some(rest) = text.strip_prefix("container started ") {
            after_delay(input, rest)?;
        } else if text.starts_with("results after ") {
            results(text, &mut asked)?;
            last = Some(text);
        } else if text == "same again on a second round" {
            results(last.ok_or_else(|| not_understood(text))?, &mut asked)?;
        } else {
            steps(text, &mut asked).map_err(|why| format!("{text}: {why}"))?;
        }
    }
    Ok(())
}

/// `results after S,S,F: S,S,S`.
fn results(text: &str, asked: &mut Asked) -> Result<(), String> {
    let not = || not_understood(text);
    let (tries, wanted) =
        text.strip_prefix("results after ").and_then(|it| it.split_once(": ")).ok_or_else(not)?;
    let tries: Option<Vec<Outcome>> = tries.split(',').map(|it| outcome(it.trim())).collect();
    let wanted: Option<Vec<Verdict>> = wanted.split(',').map(|it| verdict(it.trim())).collect();
    let mut actual = Vec::new();
    for outcome in tries.ok_or_else(not)? {
        asked.try_once(outcome);
        actual.push(asked.verdict());
    }
    compare(text, &wanted.ok_or_else(not)?, &actual)
}

/// `liveness=Success, readiness=Failure, startup=Unknown`: what holds while nothing is asked yet.
fn during_delay(input: &Value, list: &str) -> Result<(), String> {
    for part in list.split(", ") {
        let (kind, wanted) = part.split_once('=').ok_or_else(|| not_understood(part))?;
        let kind =
            ProbeKind::ALL.into_iter().find(|it| it.name() == kind).ok_or_else(|| not_understood(part))?;
        let mut asked = Asked::new(kind, input)?;
        let early = asked.now.after(asked.probe().initial_delay / 2);
        let wants = asked.workers.worker_mut(kind).want(&mut Alarm::new(early)).is_some();
        compare("nothing asked during the delay", &false, &wants)?;
        compare(part, &verdict(wanted).ok_or_else(|| not_understood(part))?, &asked.verdict())?;
    }
    Ok(())
}

/// `100s ago: one passing probe -> Success for all three`.
fn after_delay(input: &Value, text: &str) -> Result<(), String> {
    let ago = text.strip_suffix(" ago: one passing probe -> Success for all three").and_then(duration);
    let ago = ago.ok_or_else(|| not_understood(text))?;
    for kind in ProbeKind::ALL {
        let mut asked = Asked::new(kind, input)?;
        compare("the delay is over", &true, &(asked.probe().initial_delay <= ago))?;
        compare("a try is made", &true, &asked.try_once(Outcome::Success))?;
        compare(text, &Verdict::Success, &asked.verdict())?;
    }
    Ok(())
}

/// `F -> Unknown, F -> Failure (run reset to 0)`, `S (run 1), F (run 1)`, and what is said in words.
fn steps(text: &str, asked: &mut Asked) -> Result<(), String> {
    match text {
        "now passing but on hold -> still Failure, no probe executed" => {
            compare("no try", &false, &asked.try_once(Outcome::Success))?;
            return compare(text, &Verdict::Failure, &asked.verdict());
        }
        "new container id -> hold lifted, next pass -> Success" => {
            asked.new_instance();
            compare("a try", &true, &asked.try_once(Outcome::Success))?;
            return compare(text, &Verdict::Success, &asked.verdict());
        }
        "started=true, probe would fail -> Success" => {
            compare("no try", &false, &asked.try_once(Outcome::Failure))?;
            return compare(text, &Verdict::Success, &asked.verdict());
        }
        _ => {}
    }
    for step in text.split(", ") {
        if step == "on hold" {
            compare(
                "no try",
                &false,
                &Asked { probes: asked.probes.clone(), ..*asked }.try_once(Outcome::Success),
            )?;
            continue;
        }
        one_step(step, asked).ok_or_else(|| not_understood(step))??;
    }
    Ok(())
}

fn one_step(step: &str, asked: &mut Asked) -> Option<Result<(), String>> {
    let (word, rest) = step.split_at_checked(1)?;
    let outcome = outcome(word)?;
    asked.try_once(outcome);
    for part in rest.split(" (").flat_map(|part| part.split(" -> ")).map(|it| it.trim_end_matches(')').trim())
    {
        let checked = match part {
            "" => Ok(()),
            "run reset to 0" => {
                // It counts from the beginning for the next instance.
                let mut next = Asked { probes: asked.probes.clone(), ..*asked };
                next.new_instance();
                compare(part, &0, &next.failures_in_a_row())
            }
            part => match (part.strip_prefix("run "), part.strip_prefix("threshold ")) {
                (Some(run), _) => {
                    let run: u32 = run.parse().ok()?;
                    match outcome {
                        Outcome::Failure => compare(step, &run, &asked.failures_in_a_row()),
                        // After successes the next failure is the first in a row.
                        _ => compare(step, &0, &asked.failures_in_a_row()),
                    }
                }
                (None, Some(threshold)) => {
                    let threshold: u32 = threshold.parse().ok()?;
                    compare(step, &threshold, &asked.probe().failure_threshold)
                }
                (None, None) => compare(step, &verdict(part)?, &asked.verdict()),
            },
        };
        if checked.is_err() {
            return Some(checked);
        }
    }
    Some(Ok(()))
}

/// A try that could not be made counts neither way, however often.
pub(crate) fn is_dropped(outcome: Outcome) -> Result<(), String> {
    let mut asked = Asked::new(ProbeKind::Readiness, &json!({"failureThreshold": 1}))?;
    asked.try_once(Outcome::Success);
    for _ in 0..10 {
        asked.try_once(outcome);
    }
    compare("it is dropped", &Verdict::Success, &asked.verdict())
}

/// A warning counts as a success.
pub(crate) fn warning(expected: &[String]) -> Result<(), String> {
    let mut asked = Asked::new(ProbeKind::Readiness, &json!({}))?;
    asked.try_once(Outcome::Warning);
    for text in expected {
        let wanted = text.strip_prefix("result: ").and_then(verdict).ok_or_else(|| not_understood(text))?;
        compare(text, &wanted, &asked.verdict())?;
    }
    Ok(())
}

/// `"some $(A) $(B)" with A=script -> "some script $(B)"`: the words of an exec probe.
pub(crate) fn expansion(case: &Case, expected: &[String]) -> Result<(), String> {
    let none = serde_json::Map::new();
    let env = case.part("input").get("env").and_then(Value::as_object).unwrap_or(&none);
    for text in expected {
        let not = || not_understood(text);
        let (before, after) = text.split_once(" -> ").ok_or_else(not)?;
        let before = before
            .split(" with ")
            .next()
            .and_then(|it| it.strip_prefix('"')?.strip_suffix('"'))
            .ok_or_else(not)?;
        let after = after.strip_prefix('"').and_then(|it| it.strip_suffix('"')).ok_or_else(not)?;
        let pod =
            json!({"containers": [{"name": "asked", "env": env, "readinessProbe": {"exec": [before]}}]});
        let plan = plan(&pod, &Shape { keeps_commands: true, ..Shape::default() })?;
        let probe = plan.containers[0].probes.readiness.as_ref().ok_or_else(not)?;
        match &probe.check {
            Check::Exec { command } => compare(text, &vec![after.to_owned()], command)?,
            other => return Err(format!("it became {other:?}")),
        }
    }
    Ok(())
}
