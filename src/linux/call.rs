//! One short-lived process with what it says kept: a call of the OCI runtime, or the command of a
//! host process' exec probe.

use std::ffi::CString;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, pipe2};

use super::cgroup::Entrance;
use super::spawn::{self, Spawned, Spawner};
use crate::config::plan::User;
use crate::limits::CALL_OUTPUT_BYTES_MAX;
use crate::supervisor::record::ExitStatus;

/// Where runtimes find their own helpers (newuidmap, criu); nothing else of our environment is
/// theirs: they act on `NOTIFY_SOCKET` and `LISTEN_FDS`, which would be ours.
const ENVIRONMENT: &std::ffi::CStr = c"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A child of ours that is not reaped yet.
#[derive(Debug)]
pub struct Process {
    /// Its number.
    pub pid: Pid,
    /// Its descriptor, where the kernel has such.
    pub pidfd: Option<OwnedFd>,
}

impl Process {
    /// Sends a signal. That it has ended already is not an error: it is about to be reaped.
    pub fn signal(&self, signal: Signal) {
        // Without a descriptor the number is as good: nobody else can get it before we reap it.
        let _ = match &self.pidfd {
            Some(pidfd) => super::pidfd::send_signal(pidfd.as_fd(), signal as i32),
            None => kill(self.pid, signal),
        };
    }

    /// Sends the signal with this number, which may be a real-time signal.
    pub fn send(&self, number: u8) {
        match (&self.pidfd, Signal::try_from(i32::from(number))) {
            (_, Ok(signal)) => self.signal(signal),
            (Some(pidfd), Err(_)) => drop(super::pidfd::send_signal(pidfd.as_fd(), i32::from(number))),
            (None, Err(_)) => drop(super::pidfd::send_real_time_signal(self.pid, i32::from(number))),
        }
    }
}

impl From<Spawned> for Process {
    fn from(spawned: Spawned) -> Process {
        Process { pid: spawned.pid, pidfd: spawned.pidfd }
    }
}

/// What is to be run: a runtime, or a program of the host.
#[derive(Debug)]
pub struct Program {
    /// Where it is; PATH is not searched.
    pub path: CString,
    /// Its arguments, its own name first.
    pub args: Vec<CString>,
    /// Its environment, `NAME=value`.
    pub env: Vec<CString>,
    /// Who it becomes. `None`: it stays who we are.
    pub user: Option<User>,
    /// Where it starts. `None`: where we are.
    pub working_directory: Option<CString>,
    /// See [`spawn::Command::unified_view`].
    pub unified_view: bool,
    /// See [`spawn::Command::oom_score_adj`].
    pub oom_score_adj: i32,
}

impl Program {
    /// A call of the runtime: `words`, its absolute path first. What is told of it to the OOM killer
    /// is inherited by the container that it makes, and by what it executes in one.
    pub fn of_runtime(words: &[String], unified_view: bool, oom_score_adj: i32) -> Result<Program, String> {
        let name = words.first().map_or("", String::as_str);
        let args = c_strings(words).ok_or_else(|| cannot_run(name, "an argument has a NUL byte"))?;
        let path = args.first().cloned().ok_or_else(|| cannot_run(name, "no program is named"))?;
        let env = vec![ENVIRONMENT.to_owned()];
        Ok(Program { path, args, env, user: None, working_directory: None, unified_view, oom_score_adj })
    }

    /// Makes the process. Its standard input has nothing to say.
    pub fn spawn(
        self,
        [stdout, stderr]: [BorrowedFd<'_>; 2],
        exec_error: BorrowedFd<'_>,
        entrance: Option<&Entrance>,
        spawner: &mut Spawner,
    ) -> nix::Result<Spawned> {
        // Not `/dev/null`: crun would give the host's node to the container's user. Not one pipe
        // for all: containers could write into it.
        let (stdin, _) = pipe2(OFlag::O_CLOEXEC)?;
        let further_procs = entrance.map(Entrance::further_procs).unwrap_or_default();
        let command = spawn::Command {
            program: self.path,
            args: self.args,
            env: self.env,
            stdio: [stdin.as_fd(), stdout, stderr],
            exec_error,
            user: self.user,
            working_directory: self.working_directory,
            cgroup: entrance.and_then(Entrance::cgroup),
            further_procs: &further_procs,
            unified_view: self.unified_view,
            terminal: false,
            oom_score_adj: Some(self.oom_score_adj),
        };
        spawn::spawn(&command, spawner)
    }
}

/// Words as the system takes them; `None` if one of them has a NUL byte.
pub fn c_strings(words: &[String]) -> Option<Vec<CString>> {
    words.iter().map(|word| CString::new(word.as_str()).ok()).collect()
}

/// Why no process could be made of a program.
pub fn cannot_run(program: &str, reason: &str) -> String {
    format!("cannot run `{program}`: {reason}")
}

/// What the process gets as its standard output and error.
pub enum Voice<'a> {
    /// Both are kept by us.
    Kept,
    /// They are those of a container.
    Container([BorrowedFd<'a>; 2]),
}

/// A call that is under way.
#[derive(Debug)]
pub struct Call {
    /// Its process.
    pub process: Process,
    output: Option<std::fs::File>,
    said: Vec<u8>,
}

impl Call {
    /// Starts `program` in the cgroup behind `entrance`.
    ///
    /// In the error: the system's reason why no process could be made.
    pub fn start(
        program: Program,
        voice: Voice<'_>,
        entrance: Option<&Entrance>,
        spawner: &mut Spawner,
    ) -> Result<Call, String> {
        let path = program.path.clone();
        let failed = |errno: Errno| cannot_run(&path.to_string_lossy(), errno.desc());
        let (read, write) = pipe2(OFlag::O_CLOEXEC).map_err(failed)?;
        let [stdout, stderr] = match voice {
            Voice::Kept => [write.as_fd(), write.as_fd()],
            Voice::Container(streams) => streams,
        };
        let spawned = program.spawn([stdout, stderr], write.as_fd(), entrance, spawner).map_err(failed)?;
        // Only our end: the program's blocks when it says more than we take, as pipes do.
        let nonblocking = nix::fcntl::fcntl(&read, nix::fcntl::FcntlArg::F_SETFL(OFlag::O_NONBLOCK));
        let output = nonblocking.is_ok().then(|| read.into());
        Ok(Call { process: spawned.into(), output, said: Vec::new() })
    }

    /// What is to be watched for something to read; `None` when everything was said.
    pub fn output(&self) -> Option<BorrowedFd<'_>> {
        self.output.as_ref().map(AsFd::as_fd)
    }

    /// Reads what was said. The first [`CALL_OUTPUT_BYTES_MAX`] bytes are kept, so that it is not
    /// held up the rest is read as well, at most a pipe full in one turn.
    pub fn read_output(&mut self) {
        let mut buffer = [0; 4096];
        for _ in 0..16 {
            let Some(output) = &mut self.output else { return };
            match output.read(&mut buffer) {
                Ok(0) => self.output = None,
                Ok(count) => {
                    let room = CALL_OUTPUT_BYTES_MAX.saturating_sub(self.said.len());
                    let kept = buffer.get(..count.min(room)).unwrap_or_default();
                    self.said.extend_from_slice(kept);
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                Err(_) => self.output = None,
            }
        }
    }

    /// All that was said, after its process has ended.
    pub fn into_said(mut self) -> Vec<u8> {
        self.read_output();
        self.said
    }
}

/// How a call ended, for an error text.
pub fn describe_status(status: ExitStatus) -> String {
    match status {
        ExitStatus::Code(code) => format!("it exited with {code}"),
        ExitStatus::Signal(signal) if i32::from(signal) == libc::SIGKILL => {
            "it was killed by SIGKILL".to_owned()
        }
        ExitStatus::Signal(signal) => format!("it was killed by signal {signal}"),
        ExitStatus::Unknown => "it is gone".to_owned(),
    }
}
