//! Reading probes.

use core::time::Duration;

use super::plan::Probe;
use super::port::Ports;
use super::probe_check::read_check;
use super::problem::ProblemList;
use super::reader::{Field, TableKind};
use super::value::INSTANT_MIN;
use crate::limits::PROBE_PERIOD_MIN;

pub(super) const PROBE: TableKind = TableKind {
    name: "a probe",
    keys: &[
        "exec",
        "http-get",
        "tcp-socket",
        "grpc",
        "unix",
        "initial-delay",
        "period",
        "timeout",
        "success-threshold",
        "failure-threshold",
        "termination-grace-period",
    ],
};

/// What a probe can ask; exactly one of these keys.
const CHECKS: [&str; 5] = ["exec", "http-get", "tcp-socket", "grpc", "unix"];

/// Thresholds are `int32` in Kubernetes.
const THRESHOLD_MAX: u32 = i32::MAX.unsigned_abs();

/// Reads a probe with Kubernetes' defaults. The command of an `exec` is as it is written.
/// Ports can be names, of `ports`.
pub(super) fn read_probe(field: Field<'_>, ports: &Ports, problems: &mut ProblemList<'_>) -> Option<Probe> {
    let mut table = field.table(PROBE, problems)?;
    let check = table.take_one_of(&CHECKS, problems).and_then(|field| read_check(field, ports, problems));
    let mut duration = |key, min, default| {
        table.take(key).and_then(|field| field.duration(min, problems)).unwrap_or(default)
    };
    let initial_delay = duration("initial-delay", Duration::ZERO, Duration::ZERO);
    let period = duration("period", PROBE_PERIOD_MIN, Duration::from_secs(10));
    let timeout = duration("timeout", INSTANT_MIN, Duration::from_secs(1));
    let success_threshold = table.take("success-threshold").and_then(|threshold| {
        if field.key == "readiness-probe" {
            return threshold.integer(1, THRESHOLD_MAX, problems);
        }
        let number = threshold.integer(0, THRESHOLD_MAX, problems)?;
        if number != 1 {
            let help = "leave it out: one success decides a startup or liveness probe, as in Kubernetes";
            threshold.refuse(problems, "must be 1 in this probe", "not 1", help);
        }
        Some(number)
    });
    let failure_threshold =
        table.take("failure-threshold").and_then(|field| field.integer(1, THRESHOLD_MAX, problems));
    let grace = table.take("termination-grace-period").and_then(|grace| {
        if field.key == "readiness-probe" {
            let help = "remove it: a readiness probe never stops the container";
            grace.refuse(problems, "is not possible in a readiness probe", "would never be used", help);
            return None;
        }
        grace.duration(INSTANT_MIN, problems)
    });
    table.finish(problems);
    Some(Probe {
        check: check?,
        initial_delay,
        period,
        timeout,
        success_threshold: success_threshold.unwrap_or(1),
        failure_threshold: failure_threshold.unwrap_or(3),
        termination_grace_period: grace,
    })
}
