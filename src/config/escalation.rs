//! Reading what is done about an essential pod that fails.

use core::time::Duration;

use super::boot::refuse_rescue;
use super::machine::MachineFile;
use super::plan::{Escalation, OnFailure};
use super::problem::ProblemList;
use super::reader::{Field, Table, TableKind};
use super::value::INSTANT_MIN;
use crate::limits::ESCALATION_RESTARTS_MAX;

pub(super) const ESCALATION: TableKind =
    TableKind { name: "`escalation`", keys: &["container-restarts", "pod-restarts", "window"] };

/// How far back restarts are counted where nothing is said: as long as a container must have run
/// for its back-off to begin anew.
const WINDOW: Duration = Duration::from_secs(600);

/// What the table of a pod says about its failure.
pub(super) struct Failure {
    pub(super) essential: bool,
    pub(super) on_failure: OnFailure,
    pub(super) escalation: Option<Escalation>,
}

/// Takes `essential`, `on-failure` and `escalation` from the table of a pod.
pub(super) fn read_failure(
    table: &mut Table<'_>,
    machine: &MachineFile,
    problems: &mut ProblemList<'_>,
) -> Failure {
    let essential = table.take("essential").and_then(|field| field.boolean(problems)).unwrap_or(false);
    let on_failure =
        table.take("on-failure").map(|field| read_on_failure(field, essential, machine, problems));
    let on_failure = on_failure.unwrap_or(OnFailure::Nothing);
    let escalation =
        table.take("escalation").and_then(|field| read_escalation(field, essential, on_failure, problems));
    Failure { essential, on_failure, escalation }
}

fn read_on_failure(
    field: Field<'_>,
    essential: bool,
    machine: &MachineFile,
    problems: &mut ProblemList<'_>,
) -> OnFailure {
    let choices = [
        ("nothing", OnFailure::Nothing),
        ("restart", OnFailure::Restart),
        ("reboot", OnFailure::Reboot),
        ("rescue", OnFailure::Rescue),
    ];
    let chosen = field.choice(&choices, problems).unwrap_or(OnFailure::Nothing);
    refuse_unless_essential(&field, essential, problems);
    // Where the machine file could not be read, nobody knows.
    if chosen == OnFailure::Rescue && machine.is_complete && machine.machine.rescue.is_none() {
        refuse_rescue(&field, problems);
    }
    chosen
}

fn refuse_unless_essential(field: &Field<'_>, essential: bool, problems: &mut ProblemList<'_>) {
    if !essential {
        let help = "add essential = true: only such a pod may do something to the machine";
        field.refuse(problems, "is for essential pods", "this pod is not essential", help);
    }
}

fn read_escalation(
    field: Field<'_>,
    essential: bool,
    on_failure: OnFailure,
    problems: &mut ProblemList<'_>,
) -> Option<Escalation> {
    const HELP: &str = "write { container-restarts = 5, pod-restarts = 3, window = \"10m\" }; one of the two \
                        counts is enough";
    refuse_unless_essential(&field, essential, problems);
    let mut table = field.table(ESCALATION, problems)?;
    let most = u32::try_from(ESCALATION_RESTARTS_MAX).unwrap_or(u32::MAX);
    let container_restarts = table.take("container-restarts");
    let pod_restarts = table.take("pod-restarts");
    let window = table.take("window").and_then(|field| field.duration(INSTANT_MIN, problems));
    table.finish(problems);
    if container_restarts.is_none() && pod_restarts.is_none() {
        field.refuse(problems, "has no count", "leads to nothing", HELP);
    }
    if let (Some(count), OnFailure::Restart) = (&pod_restarts, on_failure) {
        let help = "remove it, or write what is to follow: on-failure = \"reboot\"";
        let says = "is not possible beside on-failure = \"restart\"";
        count.refuse(problems, says, "nothing would follow", help);
    }
    let mut count = |field: Option<Field<'_>>, least| {
        let count = field?.integer(least, most, problems)?;
        usize::try_from(count).ok()
    };
    Some(Escalation {
        container_restarts: count(container_restarts, 0),
        pod_restarts: count(pod_restarts, 1),
        window: window.unwrap_or(WINDOW),
    })
}
