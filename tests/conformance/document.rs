//! docs/conformance.md, made of what came of the cases.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::deviation::{DEVIATIONS, LIMITS};
use super::suite::{Tried, Verdict};

const HEAD: &str = "\
# Conformance

What Kubernetes v1.36.2 expects of its own kubelet, executed against Outrigger: unit tests and end-to-end tests of its
source, as data in [tests/conformance/cases](../tests/conformance/cases), where each case has its source. How they are
executed, and how to write one: [tests/conformance/README.md](../tests/conformance/README.md).

This file is generated: `UPDATE_EXPECTED=1 cargo test --test conformance`.

";

pub(crate) fn document(tried: &[Tried]) -> String {
    let mut text = HEAD.to_owned();
    write_totals(&mut text, tried).expect("writing into a String cannot fail");
    write_limits(&mut text, tried).expect("writing into a String cannot fail");
    write_deviations(&mut text, tried).expect("writing into a String cannot fail");
    write_cases(&mut text, tried).expect("writing into a String cannot fail");
    text
}

fn write_totals(text: &mut String, tried: &[Tried]) -> std::fmt::Result {
    let mut kinds: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
    for it in tried {
        let column = match it.verdict {
            Verdict::Passed => 0,
            Verdict::NotApplicable(_) => 1,
            Verdict::Failed(_) => 2,
        };
        kinds.entry(&it.case.kind).or_default()[column] += 1;
        kinds.entry("**all**").or_default()[column] += 1;
    }
    writeln!(text, "| kind | passed | not applicable | failed |\n|---|---|---|---|")?;
    for (kind, [passed, not_applicable, failed]) in kinds.iter().skip(1).chain(kinds.iter().take(1)) {
        writeln!(text, "| {kind} | {passed} | {not_applicable} | {failed} |")?;
    }
    Ok(())
}

fn write_limits(text: &mut String, tried: &[Tried]) -> std::fmt::Result {
    writeln!(text, "\n## Not applicable\n\n| why | cases |\n|---|---|")?;
    for limit in &LIMITS {
        let of = |it: &&Tried| it.verdict == Verdict::NotApplicable(limit.name);
        let ids: Vec<&str> = tried.iter().filter(of).map(|it| it.case.id.as_str()).collect();
        writeln!(text, "| {}: {} | {} |", limit.name, limit.reason, ids.join(", "))?;
    }
    Ok(())
}

fn write_deviations(text: &mut String, tried: &[Tried]) -> std::fmt::Result {
    writeln!(text, "\n## Read in another way\n\n| how, and why | cases |\n|---|---|")?;
    for deviation in &DEVIATIONS {
        let of = |it: &&Tried| it.deviations.contains(&deviation.name);
        let ids: Vec<&str> = tried.iter().filter(of).map(|it| it.case.id.as_str()).collect();
        writeln!(text, "| {}: {} | {} |", deviation.name, deviation.reason, ids.join(", "))?;
    }
    Ok(())
}

fn write_cases(text: &mut String, tried: &[Tried]) -> std::fmt::Result {
    let mut kinds: Vec<&str> = tried.iter().map(|it| it.case.kind.as_str()).collect();
    kinds.dedup();
    for kind in kinds {
        writeln!(text, "\n## {kind}\n\n| case | | result |\n|---|---|---|")?;
        for it in tried.iter().filter(|it| it.case.kind == kind) {
            let result = match &it.verdict {
                Verdict::Passed if it.deviations.is_empty() => "passed".to_owned(),
                Verdict::Passed => format!("passed ({})", it.deviations.join(", ")),
                Verdict::NotApplicable(name) => format!("not applicable: {name}"),
                Verdict::Failed(_) => "**failed**".to_owned(),
            };
            let title = it.case.title.replace('|', "\\|");
            writeln!(text, "| {} | {title} | {result} |", it.case.id)?;
        }
    }
    Ok(())
}
