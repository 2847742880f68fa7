//! Reading what a probe asks.

use core::net::{IpAddr, Ipv4Addr};

use super::plan::Check;
use super::port::{Ports, read_number};
use super::problem::{ProblemList, quote};
use super::reader::{Field, TableKind};
use crate::limits::LIST_MAX;

pub(super) const EXEC: TableKind = TableKind { name: "`exec`", keys: &["command"] };
pub(super) const HTTP_GET: TableKind =
    TableKind { name: "`http-get`", keys: &["port", "path", "host", "scheme", "headers"] };
pub(super) const HEADER: TableKind = TableKind { name: "a header", keys: &["name", "value"] };
pub(super) const TCP_SOCKET: TableKind = TableKind { name: "`tcp-socket`", keys: &["port", "host"] };
pub(super) const GRPC: TableKind = TableKind { name: "`grpc`", keys: &["port", "service"] };
pub(super) const UNIX: TableKind = TableKind { name: "`unix`", keys: &["path", "http-path"] };

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Bytes of a service's name. What is sent must fit one frame, and no name is that long.
const SERVICE_BYTES_MAX: usize = 1024;

/// Reads the one table that says what is asked, named as its key. Ports can be names, of `ports`.
pub(super) fn read_check(field: Field<'_>, ports: &Ports, problems: &mut ProblemList<'_>) -> Option<Check> {
    match field.key {
        "exec" => {
            let mut table = field.table(EXEC, problems)?;
            let command = table.take_required("command", problems, "add command = [\"/bin/true\"]");
            table.finish(problems);
            Some(Check::Exec { command: command?.command(problems) })
        }
        "http-get" => {
            let mut table = field.table(HTTP_GET, problems)?;
            let port = ports.required(&mut table, problems);
            let path = table.take("path").and_then(|field| read_http_path(field, problems));
            let host = table.take("host").and_then(|field| field.host(problems));
            if let Some(field) = table.take("scheme") {
                check_scheme(field, problems);
            }
            let headers = table.take("headers").map(|field| read_headers(field, problems));
            table.finish(problems);
            Some(Check::HttpGet {
                host: host.unwrap_or(LOOPBACK),
                port: port?,
                path: path.unwrap_or_else(|| "/".to_owned()),
                headers: headers.unwrap_or_default(),
            })
        }
        "grpc" => {
            let mut table = field.table(GRPC, problems)?;
            let help = "add the number of the port: port = 9090";
            let port = table.take_required("port", problems, help);
            let service = table.take("service").and_then(|field| read_service(field, problems));
            table.finish(problems);
            let port = port.and_then(|field| read_number(field, problems));
            Some(Check::Grpc { port: port?, service: service.unwrap_or_default() })
        }
        "unix" => {
            let mut table = field.table(UNIX, problems)?;
            let path = table.take_required("path", problems, "add path = \"/run/app.sock\"");
            let http_path = table.take("http-path").and_then(|field| read_http_path(field, problems));
            table.finish(problems);
            Some(Check::Unix { path: path?.host_path(problems)?.to_owned(), http_path })
        }
        _ => {
            let mut table = field.table(TCP_SOCKET, problems)?;
            let port = ports.required(&mut table, problems);
            let host = table.take("host").and_then(|field| field.host(problems));
            table.finish(problems);
            Some(Check::TcpSocket { host: host.unwrap_or(LOOPBACK), port: port? })
        }
    }
}

fn check_scheme(field: Field<'_>, problems: &mut ProblemList<'_>) {
    let text = field.value.get_ref().as_str().unwrap_or_default();
    if text.eq_ignore_ascii_case("https") {
        let help = "TLS alone would be larger than the rest of this program; use `tcp-socket`, `exec` with a \
                    program that speaks TLS, or a port without it";
        field.refuse(problems, "cannot be \"https\"", "there is no TLS here", help);
    } else if text != "HTTP" {
        field.choice(&[("http", ())], problems);
    }
}

/// Headers that the request has anyway, or that would make another request of it.
const RESERVED_HEADERS: [&str; 5] =
    ["Connection", "Content-Length", "Expect", "Transfer-Encoding", "Upgrade"];

fn read_headers(field: Field<'_>, problems: &mut ProblemList<'_>) -> Vec<(String, String)> {
    const HELP: &str = "write [{ name = \"X-Probe\", value = \"1\" }]";
    let mut headers = Vec::new();
    for entry in field.list(LIST_MAX, problems, HELP) {
        let Some(mut table) = entry.table(HEADER, problems) else { continue };
        let name = table.take_required("name", problems, "add name = \"X-Probe\"");
        let help = "add value = \"1\"; an empty one removes `User-Agent` or `Accept`";
        let value = table.take_required("value", problems, help);
        table.finish(problems);
        let name = name.and_then(|field| read_header_name(field, problems));
        let value = value.and_then(|field| read_header_value(field, problems));
        headers.extend(name.zip(value));
    }
    headers
}

fn read_header_name(field: Field<'_>, problems: &mut ProblemList<'_>) -> Option<String> {
    const RULE: &str = "use letters, digits and !#$%&'*+-.^_`|~ (RFC 9110)";
    let name = field.string(problems, RULE)?;
    let possible = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(possible) {
        field.refuse(problems, "is not the name of a header", "not possible as a name", RULE);
        return None;
    }
    if RESERVED_HEADERS.iter().any(|reserved| reserved.eq_ignore_ascii_case(name)) {
        let says = format!("cannot be {}", quote(name));
        let help = "the probe itself says how its request and connection end: remove it here";
        field.refuse(problems, &says, "not yours to set", help);
        return None;
    }
    Some(name.to_owned())
}

fn read_header_value(field: Field<'_>, problems: &mut ProblemList<'_>) -> Option<String> {
    const RULE: &str = "a value is one line, without control characters";
    let value = field.string(problems, RULE)?;
    if value.chars().any(|letter| letter.is_control() && letter != '\t') {
        field.refuse(problems, "is not the value of a header", "has a control character", RULE);
        return None;
    }
    Some(value.trim().to_owned())
}

fn read_service(field: Field<'_>, problems: &mut ProblemList<'_>) -> Option<String> {
    let service = field.string(problems, "write the name of the service: \"my.package.Service\"")?;
    if service.len() > SERVICE_BYTES_MAX {
        let help = format!("at most {SERVICE_BYTES_MAX} bytes are possible");
        field.refuse(problems, "is too long", &format!("{} bytes", service.len()), &help);
        return None;
    }
    Some(service.to_owned())
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
