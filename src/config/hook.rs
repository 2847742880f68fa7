//! Reading hooks.

use core::time::Duration;

use super::plan::Hook;
use super::port::Ports;
use super::probe_check::read_check;
use super::problem::ProblemList;
use super::quantity::write_duration;
use super::reader::{Field, TableKind};

pub(super) const HOOK: TableKind = TableKind { name: "a hook", keys: &["exec", "http-get", "sleep"] };

/// Reads a hook of a pod with this grace period. The command of an `exec` is as it is written.
pub(super) fn read_hook(
    field: Field<'_>,
    pod_grace: Duration,
    ports: &Ports,
    problems: &mut ProblemList<'_>,
) -> Option<Hook> {
    let mut table = field.table(HOOK, problems)?;
    let action = table.take_one_of(HOOK.keys, problems);
    table.finish(problems);
    let action = action?;
    if action.key == "sleep" {
        return read_sleep(action, pod_grace, problems).map(Hook::Sleep);
    }
    read_check(action, ports, problems).map(Hook::Ask)
}

/// Not longer than the pod's grace period, as in Kubernetes: it would be cut short at each stop.
fn read_sleep(field: Field<'_>, pod_grace: Duration, problems: &mut ProblemList<'_>) -> Option<Duration> {
    let sleep = field.duration(Duration::ZERO, problems)?;
    if sleep > pod_grace {
        let label = format!("longer than the pod's {}", write_duration(pod_grace));
        let help = "write less, or a longer `termination-grace-period` at the top of the file";
        field.refuse(problems, "must not be longer than the pod's grace period", &label, help);
    }
    Some(sleep)
}
