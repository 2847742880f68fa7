//! Handlers of probes, asked through the supervisor's own prober: on real sockets, with real processes.

use std::ffi::CString;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::wait::{WaitStatus, waitpid};
use outrigger::config::plan::Check;
use outrigger::linux::call::{Call, Program, Voice};
use outrigger::linux::clock;
use outrigger::linux::network_probe::{NetworkProbe, Progress, Purpose, Whereabouts};
use outrigger::linux::prober;
use outrigger::linux::reactor::Interest;
use outrigger::linux::spawn::{self, Spawner};
use outrigger::supervisor::probe::Outcome;
use outrigger::supervisor::record::ExitStatus;
use serde_json::Value;

use super::case::Case;
use super::pass::compare;
use super::text::{duration, json_seconds, not_understood, split_remark};

/// How a server answers one path.
#[derive(Clone, Debug)]
struct Page {
    path: String,
    status: u16,
    location: Option<String>,
    body: String,
    after: Duration,
    /// It closes the connection instead.
    silent: bool,
}

impl Page {
    fn new(path: &str, status: u16) -> Page {
        let (path, location, body) = (path.to_owned(), None, String::new());
        Page { path, status, location, body, after: Duration::ZERO, silent: false }
    }

    fn to(self, location: String) -> Page {
        Page { location: Some(location), ..self }
    }
}

/// A server on a real socket; its requests, as they came.
struct Server {
    port: u16,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(pages: impl FnOnce(u16) -> Option<Vec<Page>>) -> Option<Server> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
        let port = listener.local_addr().ok()?.port();
        let pages = pages(port)?;
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        // Serves as long as the test's process lives.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                serve(stream, &pages, &seen);
            }
        });
        Some(Server { port, requests })
    }
}

fn serve(mut stream: TcpStream, pages: &[Page], seen: &Mutex<Vec<String>>) {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => request.push(byte[0]),
            Ok(_) | Err(_) => return,
        }
    }
    let request = String::from_utf8_lossy(&request).into_owned();
    let path = request.split(' ').nth(1).unwrap_or("/").to_owned();
    seen.lock().unwrap().push(request);
    let found = pages.iter().find(|page| page.path == path || page.path == "*");
    let page = found.cloned().unwrap_or_else(|| Page::new(&path, 404));
    pause(page.after);
    if page.silent {
        return;
    }
    let location = page.location.map(|it| format!("Location: {it}\r\n")).unwrap_or_default();
    let (status, length, body) = (page.status, page.body.len(), page.body);
    let answer = format!("HTTP/1.1 {status} Said\r\n{location}Content-Length: {length}\r\n\r\n{body}");
    // Who asked may have gone.
    let _ = stream.write_all(answer.as_bytes());
}

/// Without descriptors `poll` waits out the time.
fn pause(duration: Duration) {
    let _ = poll(&mut [], PollTimeout::try_from(duration).unwrap_or(PollTimeout::ZERO));
}

/// Asks as the loop does, within a timeout: past it the try is cancelled and counts as a failure.
fn ask(check: &Check, timeout: Duration) -> Result<(Outcome, String), String> {
    let until = Instant::now() + timeout;
    let over_at = Some(clock::now().after(timeout));
    let (mut probe, mut progress) =
        NetworkProbe::start(check, Purpose::Probe, Whereabouts::default(), over_at)
            .ok_or("it needs no connection")??;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        progress = match progress {
            Progress::Done(outcome, said) => return Ok((outcome, said)),
            _ if left.is_zero() => return Ok((Outcome::Failure, "no answer in time".to_owned())),
            Progress::Pauses => {
                pause(Duration::from_millis(20));
                probe.connect_again()
            }
            Progress::Waits(interest) | Progress::Moved(interest) => {
                let flags = match interest {
                    Interest::Readable => PollFlags::POLLIN,
                    Interest::Writable => PollFlags::POLLOUT,
                };
                let mut fds = [PollFd::new(probe.socket().ok_or("it has no socket")?, flags)];
                let millis = u16::try_from(left.as_millis() + 1).unwrap_or(u16::MAX);
                if poll(&mut fds, PollTimeout::from(millis)).map_err(|errno| errno.desc())? == 0 {
                    continue_after_timeout(interest)
                } else {
                    probe.advance()
                }
            }
        };
    }
}

/// Nothing came: the loop above sees that the time is over.
fn continue_after_timeout(interest: Interest) -> Progress {
    Progress::Waits(interest)
}

fn get(port: u16, input: &Value) -> Result<Check, String> {
    let mut headers = Vec::new();
    for pair in input.get("headers").and_then(Value::as_array).into_iter().flatten() {
        let (name, value) = (pair[0].as_str(), pair[1].as_str());
        let (name, value) = name.zip(value).ok_or_else(|| not_understood(&pair.to_string()))?;
        headers.push((name.to_owned(), value.to_owned()));
    }
    Ok(Check::HttpGet { host: IpAddr::V4(Ipv4Addr::LOCALHOST), port, path: "/".to_owned(), headers })
}

pub(crate) fn http(case: &Case, expected: &[String]) -> Result<(), String> {
    let input = case.part("input");
    let words = input.get("server").and_then(Value::as_str).unwrap_or("200");
    // A second server of the same host, for redirects to another port.
    let other = Server::start(|_| Some(vec![Page::new("/success", 200), Page::new("/fail", 500)]));
    let other = other.ok_or("no second server")?;
    let server = Server::start(|_| pages(words, other.port)).ok_or_else(|| not_understood(words))?;
    let timeout = input.get("timeoutSeconds").and_then(json_seconds).unwrap_or(Duration::from_secs(1));
    let (outcome, said) = ask(&get(server.port, input)?, timeout)?;
    let requests = server.requests.lock().unwrap().clone();
    let request = requests.first().cloned().unwrap_or_default();
    expected.iter().try_for_each(|text| {
        check(text, outcome, &said, &request, words)
            .map_err(|why| format!("{text}: {why} ({said}, {requests:?})"))
    })
}

/// What the server does, see README.md.
fn pages(words: &str, other: u16) -> Option<Vec<Page>> {
    let (main, body) = match words.split_once(", body \"") {
        Some((main, body)) => (main, body.strip_suffix('"')?.to_owned()),
        None => (words, String::new()),
    };
    if let Some(after) = main.strip_prefix("answers after ") {
        return Some(vec![Page { after: duration(after)?, ..Page::new("*", 200) }]);
    }
    if main == "closes the connection without a response" {
        return Some(vec![Page { silent: true, ..Page::new("*", 200) }]);
    }
    if let Ok(status) = main.parse() {
        return Some(vec![Page { body, ..Page::new("*", status) }]);
    }
    if let Some(rest) = main.strip_prefix("302 to ") {
        return redirect(rest, other);
    }
    // `/ -> 301 Location /new; /new -> 308 without Location`.
    let mut pages: Vec<Page> = Vec::new();
    for part in main.split("; ") {
        let (path, answer) = part.split_once(" -> ")?;
        let mut answer = answer.split(' ');
        let page = Page::new(path, answer.next()?.parse().ok()?);
        pages.push(match answer.collect::<Vec<_>>().as_slice() {
            [] | ["without", "Location"] => page,
            ["Location", target] => page.to((*target).to_owned()),
            _ => return None,
        });
    }
    pages.last_mut()?.body = body;
    Some(pages)
}

/// `/success (200)`, `same host name, other port, /fail (500)`, `host 0.0.0.0 (...)`, `/loop -> 302 to itself`.
fn redirect(rest: &str, other: u16) -> Option<Vec<Page>> {
    let start = Page::new("/", 302);
    if let Some((path, "302 to itself")) = rest.split_once(" -> ") {
        return Some(vec![start.to(path.to_owned()), Page::new(path, 302).to(path.to_owned())]);
    }
    if let Some(rest) = rest.strip_prefix("host ") {
        let host = rest.split(' ').next()?;
        // Nothing listens at port 1.
        return Some(vec![start.to(format!("http://{host}:1/"))]);
    }
    if let Some(rest) = rest.strip_prefix("same host name, other port, ") {
        let (path, _) = rest.split_once(' ')?;
        return Some(vec![start.to(format!("http://127.0.0.1:{other}{path}"))]);
    }
    let (path, status) = rest.split_once(" (")?;
    let status = status.strip_suffix(')')?.parse().ok()?;
    Some(vec![start.to(path.to_owned()), Page::new(path, status)])
}

fn check(text: &str, outcome: Outcome, said: &str, request: &str, words: &str) -> Result<(), String> {
    let (stated, _) = split_remark(text);
    let stated = stated.split("; ").next().unwrap_or(stated);
    let is = |word: &str| -> Result<(), String> {
        let wanted = match split_remark(word).0 {
            "Success" => Outcome::Success,
            "Failure" => Outcome::Failure,
            "Warning" => Outcome::Warning,
            _ => return Err(not_understood(text)),
        };
        compare(text, &wanted, &outcome)
    };
    if let Some(word) = stated.strip_prefix("result: ") {
        return is(word);
    }
    if let Some(word) =
        stated.strip_prefix("liveness/readiness/startup probes (followNonLocalRedirects=false): ")
    {
        return is(word);
    }
    if stated == "the output carries the body" {
        let body =
            words.split_once("body \"").and_then(|(_, body)| body.strip_suffix('"')).unwrap_or_default();
        return compare(text, &true, &said.contains(body));
    }
    let headers: Vec<(&str, &str)> = request
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name, value.trim()))
        .collect();
    let header =
        |name: &str| headers.iter().find(|(it, _)| it.eq_ignore_ascii_case(name)).map(|(_, value)| *value);
    if let Some(rest) = stated.strip_prefix("the server sees exactly ") {
        let (count, names) =
            rest.split_once(" headers besides Host: ").ok_or_else(|| not_understood(text))?;
        let mut seen: Vec<&str> =
            headers.iter().map(|(name, _)| *name).filter(|name| *name != "Host").collect();
        seen.sort_unstable();
        let names: Vec<&str> = names.split(", ").collect();
        compare(text, &Some(names.len()), &count.parse().ok())?;
        return compare(text, &names, &seen);
    }
    let rest = stated.strip_prefix("the ").unwrap_or(stated);
    let rest = rest.strip_prefix("server sees ").ok_or_else(|| not_understood(text))?;
    if let Some(name) = rest.strip_prefix("no ").and_then(|it| it.strip_suffix(" header")) {
        return compare(text, &None, &header(name));
    }
    if let Some(name) = rest.strip_suffix(" with an empty value") {
        return compare(text, &Some(""), &header(name));
    }
    if let Some((name, start)) = rest.split_once(" starting with ") {
        return compare(text, &true, &header(name).is_some_and(|value| value.starts_with(start)));
    }
    let (name, value) = rest.split_once(": ").ok_or_else(|| not_understood(text))?;
    compare(text, &Some(value), &header(name))
}

/// A port at which somebody listens, where the case says so, or nobody.
pub(crate) fn tcp(case: &Case, expected: &[String]) -> Result<(), String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| error.to_string())?;
    let port = listener.local_addr().map_err(|error| error.to_string())?.port();
    let words = format!("{} {}", case.title, case.part("input"));
    let listens = !words.contains("closed") && (words.contains("open") || words.contains("listen"));
    // Closed unless it is to listen.
    let _listener = listens.then_some(listener);
    let check = Check::TcpSocket { host: IpAddr::V4(Ipv4Addr::LOCALHOST), port };
    let (outcome, said) = ask(&check, Duration::from_secs(1))?;
    expected.iter().try_for_each(|text| self::check(text, outcome, &said, "", ""))
}

/// Runs a command as an exec probe beside a host process is run.
fn run(words: &[&str]) -> Result<(Outcome, String), String> {
    let c_string = |word: &&str| CString::new(*word).map_err(|error| error.to_string());
    let args: Result<Vec<CString>, String> = words.iter().map(c_string).collect();
    let program = Program {
        path: c_string(&words[0])?,
        args: args?,
        env: Vec::new(),
        user: None,
        working_directory: None,
        unified_view: false,
        oom_score_adj: 0,
    };
    let mut call = Call::start(program, Voice::Kept, None, &mut Spawner::take_note())?;
    let status = match waitpid(call.process.pid, None).map_err(|errno| errno.desc())? {
        WaitStatus::Exited(_, code) => ExitStatus::Code(u8::try_from(code).unwrap_or(255)),
        WaitStatus::Signaled(_, signal, _) => ExitStatus::Signal(u8::try_from(signal as i32).unwrap_or(0)),
        other => return Err(format!("it ended with {other:?}")),
    };
    call.read_output();
    let said = call.into_said();
    let refused = || spawn::exec_error(&said).map(|error| error.errno.desc().to_owned());
    Ok(prober::judge(status, &said, refused))
}

/// `exit 0`, `exit 3`, `start error`; `handler Success` and the like are brought about by such.
pub(crate) fn exec(words: &str, expected: &[String]) -> Result<(), String> {
    let exits = |code: &str| run(&["/bin/sh", "-c", &format!("exit {code}")]);
    let (outcome, said) = match words {
        "handler Success" => exits("0"),
        "handler Failure" => exits("1"),
        // It has ended, and with no exit code.
        "handler Unknown, no error" => run(&["/bin/sh", "-c", "kill -9 $$"]),
        "start error" => run(&["/nowhere/no-such-program"]),
        words if words.starts_with("handler ") && words.ends_with(" with error") => {
            run(&["/nowhere/no-such-program"])
        }
        _ => {
            let code = words.strip_prefix("exit ").ok_or_else(|| not_understood(words))?;
            exits(code.split(|letter: char| !letter.is_ascii_digit()).next().unwrap_or_default())
        }
    }?;
    for text in expected {
        let wanted = match split_remark(text).0 {
            "result: Success" => Outcome::Success,
            "result: Failure" => Outcome::Failure,
            // It says nothing about the container, so the worker drops it.
            "result: Unknown + error" | "result: Failure + error" => Outcome::Error,
            _ => return Err(not_understood(text)),
        };
        compare(text, &wanted, &outcome).map_err(|why| format!("{why} ({said})"))?;
        if wanted == Outcome::Error {
            super::worker::is_dropped(outcome)?;
        }
    }
    Ok(())
}
