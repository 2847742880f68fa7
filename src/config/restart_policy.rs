//! Reading restart policies, and the rules of a container that go before them.

use super::container::Section;
use super::plan::{Operator, RestartAction, RestartPolicy, RestartRule, Role};
use super::problem::ProblemList;
use super::reader::{Field, Table, TableKind};
use crate::limits::{EXIT_CODES_MAX, RESTART_RULES_MAX};

pub(super) const RESTART_RULE: TableKind =
    TableKind { name: "a restart policy rule", keys: &["action", "exit-codes"] };
pub(super) const EXIT_CODES: TableKind = TableKind { name: "`exit-codes`", keys: &["operator", "values"] };

pub(super) fn read_restart_policy(field: Field<'_>, problems: &mut ProblemList<'_>) -> Option<RestartPolicy> {
    let policies = [
        ("always", RestartPolicy::Always),
        ("on-failure", RestartPolicy::OnFailure),
        ("never", RestartPolicy::Never),
    ];
    field.choice(&policies, problems)
}

/// The part of a container, and what it says of its restarts.
pub(super) struct Restarts {
    pub(super) role: Role,
    pub(super) policy: Option<RestartPolicy>,
    pub(super) rules: Vec<RestartRule>,
}

/// Takes `restart-policy` and `restart-policy-rules` from the table of a container.
///
/// An init container with a policy that nobody knows counts as the sidecar that it was probably
/// meant to be, so that a misspelt policy leads to one message only.
pub(super) fn read_restarts(
    table: &mut Table<'_>,
    section: Section,
    problems: &mut ProblemList<'_>,
) -> Restarts {
    let field = table.take("restart-policy");
    let has_policy = field.is_some();
    let policy = field.and_then(|field| read_restart_policy(field, problems));
    let role = match (section, policy) {
        (Section::Main, _) => Role::Main,
        (Section::Init, Some(RestartPolicy::OnFailure | RestartPolicy::Never)) => Role::Init,
        (Section::Init, Some(RestartPolicy::Always)) => Role::Sidecar,
        (Section::Init, None) if has_policy => Role::Sidecar,
        (Section::Init, None) => Role::Init,
    };
    let rules = match table.take("restart-policy-rules") {
        Some(field) => read_rules(field, role, has_policy, problems),
        None => Vec::new(),
    };
    Restarts { role, policy, rules }
}

fn read_rules(
    field: Field<'_>,
    role: Role,
    has_policy: bool,
    problems: &mut ProblemList<'_>,
) -> Vec<RestartRule> {
    const HELP: &str = "write [{ action = \"restart\", exit-codes = { operator = \"in\", values = [42] } }]";
    if !has_policy {
        let help = "add restart-policy = \"never\", or what is to happen where no rule matches";
        field.refuse(problems, "needs a `restart-policy` beside it", "without one", help);
    }
    field
        .list(RESTART_RULES_MAX, problems, HELP)
        .into_iter()
        .filter_map(|entry| read_rule(entry, role, problems))
        .collect()
}

fn read_rule(entry: Field<'_>, role: Role, problems: &mut ProblemList<'_>) -> Option<RestartRule> {
    let mut table = entry.table(RESTART_RULE, problems)?;
    let actions = [
        ("restart", RestartAction::Restart),
        ("restart-all-containers", RestartAction::RestartAllContainers),
    ];
    let action = table.take_required("action", problems, "add action = \"restart\"").and_then(|field| {
        let action = field.choice(&actions, problems)?;
        if (role, action) == (Role::Sidecar, RestartAction::Restart) {
            let help = "a sidecar is always started again; only \"restart-all-containers\" says more";
            field.refuse(problems, "cannot be `restart` in a sidecar", "would have no effect", help);
        }
        Some(action)
    });
    let help = "add exit-codes = { operator = \"in\", values = [42] }";
    let codes =
        table.take_required("exit-codes", problems, help).and_then(|field| read_exit_codes(field, problems));
    table.finish(problems);
    let (operator, values) = codes?;
    Some(RestartRule { action: action?, operator, values })
}

fn read_exit_codes(field: Field<'_>, problems: &mut ProblemList<'_>) -> Option<(Operator, Vec<u8>)> {
    const HELP: &str = "write a list of exit codes: [42, 137]";
    let mut table = field.table(EXIT_CODES, problems)?;
    let operators = [("in", Operator::In), ("not-in", Operator::NotIn)];
    let operator = table
        .take_required("operator", problems, "add operator = \"in\" or \"not-in\"")
        .and_then(|field| field.choice(&operators, problems));
    let values = table.take_required("values", problems, "add values = [42]").map(|field| {
        let codes = field.list(EXIT_CODES_MAX, problems, HELP);
        // A process has no other exit codes (wait(2)).
        let codes = codes.iter().filter_map(|code| code.integer(0, u8::MAX.into(), problems));
        codes.filter_map(|code| u8::try_from(code).ok()).collect()
    });
    table.finish(problems);
    Some((operator?, values?))
}
