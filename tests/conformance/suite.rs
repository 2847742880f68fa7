//! All cases through their evaluators, and what came of it.

use std::collections::BTreeMap;

use super::case::Case;
use super::deviation::{self, Reading};
use super::{backoff, formula, pass, play, statuses, unit};

/// How a case went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Passed,
    NotApplicable(&'static str),
    Failed(String),
}

/// A case, how it went, and which deviations it was read with.
#[derive(Clone, Debug)]
pub(crate) struct Tried {
    pub case: Case,
    pub verdict: Verdict,
    pub deviations: Vec<&'static str>,
}

/// How the cases of each kind are executed. In the error: which expectation does not hold, and why.
type Evaluator = fn(&Case, &[String]) -> Result<(), String>;

fn evaluator(kind: &str) -> Option<Evaluator> {
    Some(match kind {
        "deadline" => pass::deadline,
        "decision" => pass::decision,
        "init-failed" => pass::init_failed,
        "backoff" => backoff::entry,
        "backoff-config" => backoff::config,
        "condition" => statuses::condition,
        "phase" => statuses::phase,
        "probe-unit" => unit::probe_unit,
        "grace" => formula::grace,
        "restart-rule" => formula::restart_rule,
        "sync-sequence" => pass::sequence,
        "termination-order" => formula::termination_order,
        "resource" => formula::resource,
        "restart-count" => formula::restart_count,
        "restart-decision" => pass::restart_decision,
        "scenario" | "derived" => play::scenario,
        _ => return None,
    })
}

pub(crate) fn run(cases: &[Case]) -> Vec<Tried> {
    let mut seen = BTreeMap::new();
    for case in cases {
        *seen.entry(case.id.as_str()).or_insert(0) += 1;
    }
    cases.iter().map(|case| try_case(case, seen[case.id.as_str()])).collect()
}

fn try_case(case: &Case, of_this_id: usize) -> Tried {
    let tried = |verdict, deviations| Tried { case: case.clone(), verdict, deviations };
    let failed = |why: String| tried(Verdict::Failed(why), Vec::new());
    if let Some(broken) = &case.broken {
        return failed(broken.clone());
    }
    if of_this_id > 1 {
        return failed(format!("{of_this_id} cases have this id"));
    }
    let Some(evaluate) = evaluator(&case.kind) else {
        return failed(format!("not understood: the kind `{}`", case.kind));
    };
    if let Some(reason) = deviation::not_applicable(case) {
        return tried(Verdict::NotApplicable(reason), Vec::new());
    }
    let (mut expected, mut deviations) = (Vec::new(), Vec::new());
    for text in &case.expected {
        match deviation::reading(case, text) {
            None => expected.push(text.clone()),
            Some((name, reading)) => {
                if !deviations.contains(&name) {
                    deviations.push(name);
                }
                if let Reading::Instead(text) = reading {
                    expected.push(text);
                }
            }
        }
    }
    if expected.is_empty() {
        return failed("nothing of it is left to be checked".to_owned());
    }
    match evaluate(case, &expected) {
        Ok(()) => tried(Verdict::Passed, deviations),
        Err(why) => tried(Verdict::Failed(why), deviations),
    }
}

/// One text for each case that failed.
pub(crate) fn failures(tried: &[Tried]) -> Vec<String> {
    let failure = |it: &Tried| match &it.verdict {
        Verdict::Failed(why) => Some(format!(
            "{} ({}): {}\n    {why}\n    source: {}",
            it.case.id, it.case.kind, it.case.title, it.case.source
        )),
        Verdict::Passed | Verdict::NotApplicable(_) => None,
    };
    tried.iter().filter_map(failure).collect()
}

/// How many of each kind passed, in one line each.
pub(crate) fn totals(tried: &[Tried]) -> String {
    let mut kinds: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
    for it in tried {
        let counts = kinds.entry(&it.case.kind).or_default();
        let column = match it.verdict {
            Verdict::Passed => 0,
            Verdict::NotApplicable(_) => 1,
            Verdict::Failed(_) => 2,
        };
        counts[column] += 1;
    }
    let mut sum = [0; 3];
    let mut text = String::new();
    for (kind, counts) in kinds {
        (0..3).for_each(|column| sum[column] += counts[column]);
        text.push_str(&format!(
            "{kind}: {} passed, {} not applicable, {} failed\n",
            counts[0], counts[1], counts[2]
        ));
    }
    text.push_str(&format!("all: {} passed, {} not applicable, {} failed", sum[0], sum[1], sum[2]));
    text
}
