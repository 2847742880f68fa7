//! Reading probes.

use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;

use super::plan::{Check, Probe};
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
        "initial-delay",
        "period",
        "timeout",
        "success-threshold",
        "failure-threshold",
        "termination-grace-period",
    ],
};
pub(super) const EXEC: TableKind = TableKind { name: "`exec`", keys: &["command"] };
pub(super) const HTTP_GET: TableKind = TableKind { name: "`http-get`", keys: &["port", "path", "host"] };
pub(super) const TCP_SOCKET: TableKind = TableKind { name: "`tcp-socket`", keys: &["port", "host"] };

/// Thresholds are `int32` in Kubernetes.
const THRESHOLD_MAX: u32 = i32::MAX.unsigned_abs();

/// Reads a probe with Kubernetes' defaults. The command of an `exec` is as it is written.
pub(super) fn read_probe(field: Field<'_>, problems: &mut ProblemList<'_>) -> Option<Probe> {
    let mut table = field.table(PROBE, problems)?;
    let check = table
        .take_one_of(&["exec", "http-get", "tcp-socket"], problems)
        .and_then(|field| read_check(field, problems));
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

/// Reads what is asked; the key of `field` says which kind it is.
pub(super) fn read_check(field: Field<'_>, problems: &mut ProblemList<'_>) -> Option<Check> {
    match field.key {
        "exec" => {
            let mut table = field.table(EXEC, problems)?;
            let command = table.take_required("command", problems, "add command = [\"/bin/true\"]");
            table.finish(problems);
            Some(Check::Exec { command: command?.command(problems) })
        }
        "http-get" => {
            let mut table = field.table(HTTP_GET, problems)?;
            let port = table.take_required("port", problems, PORT_HELP);
            let path = table.take("path").and_then(|field| read_http_path(field, problems));
            let host = table.take("host").and_then(|field| field.host(problems));
            table.finish(problems);
            Some(Check::HttpGet {
                host: host.unwrap_or(LOOPBACK),
                port: read_port(port?, problems)?,
                path: path.unwrap_or_else(|| "/".to_owned()),
            })
        }
        _ => {
            let mut table = field.table(TCP_SOCKET, problems)?;
            let port = table.take_required("port", problems, PORT_HELP);
            let host = table.take("host").and_then(|field| field.host(problems));
            table.finish(problems);
            Some(Check::TcpSocket { host: host.unwrap_or(LOOPBACK), port: read_port(port?, problems)? })
        }
    }
}

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

const PORT_HELP: &str = "add the number of the port: port = 8080";

fn read_port(field: Field<'_>, problems: &mut ProblemList<'_>) -> Option<u16> {
    field.integer(1, u32::from(u16::MAX), problems).and_then(|port| u16::try_from(port).ok())
}

/// Only what may stand in the first line of a request as it is (RFC 9112, section 3): a space
/// or line break would end the path and begin something else.
fn read_http_path(field: Field<'_>, problems: &mut ProblemList<'_>) -> Option<String> {
    const HELP: &str = "write it as in a URL, \"/healthz?full=1\"; other characters as %20, %C3%A4";
    let path = field.string(problems, HELP)?;
    let label = if !path.starts_with('/') {
        "does not begin with `/`"
    } else if !path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        "has a character that no URL has here"
    } else {
        return Some(path.to_owned());
    };
    field.refuse(problems, "is not the path of a URL", label, HELP);
    None
}
