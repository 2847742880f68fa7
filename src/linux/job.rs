//! One child with a deadline, where no loop runs: before it (checking and mounting file systems,
//! modules), after it (unmounting), and for the rescue shell. What may block in the kernel is done
//! in such a child too, by this program itself under another command: PID 1 only waits, and keeps
//! its watchdog fed.
//!
//! All these reap every child that ends meanwhile, as PID 1 must. So they are not for a process
//! that waits for children of its own elsewhere.

use core::fmt;
use core::time::Duration;
use std::ffi::CString;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, pipe2};

use super::call::describe_status;
use super::spawn::{self, Spawner};
use super::{clock, reap, runtime};
use crate::config::write_duration;
use crate::limits::CALL_OUTPUT_BYTES_MAX;
use crate::supervisor::record::ExitStatus;
use crate::time::Instant;

/// How often `tick` is called while waiting, and more often.
const TICK_PERIOD: Duration = Duration::from_millis(500);

/// How often [`wait_until`] looks. What it waits for appears within seconds or not at all.
const LOOK_PERIOD: Duration = Duration::from_millis(50);

/// How long a killed child is waited for. One that waits for a device in the kernel (state D) does
/// not end before that answers.
const KILL_PATIENCE: Duration = Duration::from_secs(1);

/// Where programs are found, and what a terminal needs to be told.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Why a job has no exit status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobError {
    /// It could not be started: the reason.
    NotStarted(String),
    /// It took longer than this and was killed.
    TimedOut(Duration),
    /// The same, but it is still there: it waits in the kernel.
    Stuck(Duration),
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JobError::NotStarted(reason) => write!(f, "it cannot be started: {reason}"),
            JobError::TimedOut(patience) => {
                write!(f, "it took longer than {} and was killed", write_duration(*patience))
            }
            JobError::Stuck(patience) => write!(
                f,
                "it took longer than {} and cannot be killed: it waits for a device",
                write_duration(*patience)
            ),
        }
    }
}

/// Runs `words` (the program first: a path, or a name to be found in the usual directories) on the
/// console, in a session of its own, for at most `patience`. Then it and its process group are
/// killed. Calls `tick` at least every second.
pub fn run(words: &[String], patience: Duration, tick: &mut dyn FnMut()) -> Result<ExitStatus, JobError> {
    let mut job = Job::start(words, Voice::Console).map_err(JobError::NotStarted)?;
    job.end_within(Some(patience), tick)
}

/// As [`run`], with the console as controlling terminal, so that Ctrl-C and job control work, and
/// without end.
pub(super) fn run_on_terminal(words: &[String], tick: &mut dyn FnMut()) -> Result<ExitStatus, JobError> {
    let mut job = Job::start(words, Voice::Terminal).map_err(JobError::NotStarted)?;
    job.end_within(None, tick)
}

/// Runs this program with `words` as its arguments. In the error: what it has said on its standard
/// error, or why it has said nothing.
pub(super) fn run_ourselves(
    words: &[&str],
    patience: Duration,
    tick: &mut dyn FnMut(),
) -> Result<(), String> {
    listen_to_ourselves(words, patience, tick).unwrap_or_else(|error| Err(error.to_string()))
}

/// The same, with what it has said told apart from why it has said nothing.
pub(super) fn listen_to_ourselves(
    words: &[&str],
    patience: Duration,
    tick: &mut dyn FnMut(),
) -> Result<Result<(), String>, JobError> {
    let all: Vec<String> =
        core::iter::once(&"/proc/self/exe").chain(words).map(|word| (*word).to_owned()).collect();
    let mut job = Job::start(&all, Voice::Kept).map_err(JobError::NotStarted)?;
    let status = job.end_within(Some(patience), tick)?;
    if status == ExitStatus::Code(0) {
        return Ok(Ok(()));
    }
    let said = job.read_said();
    Ok(Err(if said.is_empty() { describe_status(status) } else { said }))
}

/// Waits until `condition` holds, at most until `deadline`. Returns whether it does.
pub(super) fn wait_until(
    mut condition: impl FnMut() -> bool,
    deadline: Instant,
    tick: &mut dyn FnMut(),
) -> bool {
    let mut tick_at = Instant::ZERO;
    loop {
        while reap::next().is_some() {}
        if condition() {
            return true;
        }
        let now = clock::now();
        if now >= deadline {
            return false;
        }
        call_when_due(tick, &mut tick_at, now);
        reap::wait(LOOK_PERIOD.min(deadline.since(now)));
    }
}

fn call_when_due(tick: &mut dyn FnMut(), tick_at: &mut Instant, now: Instant) {
    if now >= *tick_at {
        tick();
        *tick_at = now.after(TICK_PERIOD);
    }
}

/// Where it says what it says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Voice {
    Console,
    /// On the console, which it controls.
    Terminal,
    /// Its standard error comes to us.
    Kept,
}

/// A child that is not reaped yet.
struct Job {
    pid: Pid,
    said: std::fs::File,
}

impl Job {
    fn start(words: &[String], voice: Voice) -> Result<Job, String> {
        let args: Result<Vec<CString>, _> = words.iter().map(|word| CString::new(word.as_str())).collect();
        let args = args.map_err(|_| "an argument has a NUL byte".to_owned())?;
        let name = words.first().ok_or_else(|| "no program is named".to_owned())?;
        let program = match name.contains('/') {
            true => CString::new(name.as_str()).ok(),
            false => runtime::search(name).and_then(|path| CString::new(super::text(&path)).ok()),
        };
        let program = program.ok_or_else(|| format!("there is no program `{name}`"))?;
        let (read, write) = pipe2(OFlag::O_CLOEXEC).map_err(|errno| errno.desc().to_owned())?;
        // It is read when the child has ended; a grandchild that lives on must not hold us up.
        fcntl(&read, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(|errno| errno.desc().to_owned())?;
        let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
        let command = spawn::Command {
            program,
            args,
            env: environment(),
            stdio: [
                stdin.as_fd(),
                stdout.as_fd(),
                if voice == Voice::Kept { write.as_fd() } else { stderr.as_fd() },
            ],
            exec_error: write.as_fd(),
            user: None,
            working_directory: None,
            cgroup: None,
            further_procs: &[],
            unified_view: false,
            terminal: voice == Voice::Terminal,
            oom_score_adj: None,
        };
        let spawned = spawn::spawn(&command, &mut Spawner::take_note());
        let spawned = spawned.map_err(|errno| errno.desc().to_owned())?;
        Ok(Job { pid: spawned.pid, said: OwnedFd::into(read) })
    }

    fn end_within(
        &mut self,
        patience: Option<Duration>,
        tick: &mut dyn FnMut(),
    ) -> Result<ExitStatus, JobError> {
        let deadline = patience.map(|patience| clock::now().after(patience));
        let Some(status) = self.wait(deadline, tick) else {
            let patience = patience.unwrap_or_default();
            // It leads its process group: what it has started goes with it.
            let _ = kill(Pid::from_raw(-self.pid.as_raw()), Signal::SIGKILL);
            let _ = kill(self.pid, Signal::SIGKILL);
            return Err(match self.wait(Some(clock::now().after(KILL_PATIENCE)), tick) {
                Some(_) => JobError::TimedOut(patience),
                None => JobError::Stuck(patience),
            });
        };
        if status == ExitStatus::Code(127) {
            let mut bytes = [0; 4];
            let count = self.said.read(&mut bytes).unwrap_or(0);
            if let Some(error) = spawn::exec_error(bytes.get(..count).unwrap_or_default()) {
                return Err(JobError::NotStarted(error.errno.desc().to_owned()));
            }
        }
        Ok(status)
    }

    /// What it has said before it ended.
    fn read_said(&mut self) -> String {
        let mut bytes = Vec::new();
        let most = u64::try_from(CALL_OUTPUT_BYTES_MAX).unwrap_or(u64::MAX);
        // Ends with an error where somebody still holds the pipe: what was said is here even so.
        let _ = (&self.said).take(most).read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).trim_end().to_owned()
    }

    /// Its end; `None` if it has not ended by `deadline`.
    fn wait(&self, deadline: Option<Instant>, tick: &mut dyn FnMut()) -> Option<ExitStatus> {
        let mut tick_at = Instant::ZERO;
        loop {
            while let Some((pid, status)) = reap::next() {
                if pid == self.pid {
                    return Some(status);
                }
            }
            let now = clock::now();
            if deadline.is_some_and(|deadline| now >= deadline) {
                return None;
            }
            call_when_due(tick, &mut tick_at, now);
            reap::wait(deadline.map_or(TICK_PERIOD, |deadline| TICK_PERIOD.min(deadline.since(now))));
        }
    }
}

/// What a program on a console needs; nothing else of ours.
fn environment() -> Vec<CString> {
    let terminal = std::env::var("TERM").unwrap_or_else(|_| "linux".to_owned());
    let variables = [PATH.to_owned(), "HOME=/".to_owned(), format!("TERM={terminal}")];
    variables.into_iter().filter_map(|variable| CString::new(variable).ok()).collect()
}
