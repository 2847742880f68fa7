//! Containers that are programs of the host: no runtime, no namespaces, a cgroup of their own.
//!
//! `create` has nothing to make but the cgroup and the log streams; the first process comes with
//! `start`, straight in `payload`. Whether it could become its program comes through a pipe that
//! is closed by becoming it, so nothing waits for it.

use std::ffi::CString;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::signal::Signal;
use nix::unistd::pipe2;

use super::call::{Call, Program, Voice, c_strings, cannot_run};
use super::container::Place;
use super::reactor::{Interest, Token};
use super::spawn::{ExecError, Stage, exec_error};
use super::{Host, runtime, text};
use crate::config::plan::{ContainerId, HostProcess, Image};
use crate::oci::notify;
use crate::supervisor::event::ContainerEvent;
use crate::supervisor::record::{ExitStatus, failure};

/// A process on its way to become its program.
#[derive(Debug)]
pub struct Execution {
    /// Closed by becoming it; else four bytes come.
    pipe: File,
    /// The program, for the error.
    program: String,
}

impl Host {
    pub(super) fn create_host_process(&mut self, place: &Place<'_>) -> Result<(), String> {
        self.make_entrance(place, &place.container.resources)?;
        let writers = self.open_streams(place)?;
        if let Some(body) = self.body_mut(place.id) {
            body.writers = Some(writers);
        }
        self.tell(place.id, ContainerEvent::Created);
        Ok(())
    }

    /// `Started` or `StartFailed` follows when the process has become its program, or cannot.
    pub(super) fn start_host_process(
        &mut self,
        place: &Place<'_>,
        process: &HostProcess,
    ) -> Result<(), String> {
        let writers = self.body_mut(place.id).and_then(|body| body.writers.take());
        let writers = writers.ok_or("it was killed before it was started")?;
        let mut program = find_program(process, &process.args, self.oom_score_adj(place))?;
        if let Some((notify, socket)) = place.container.probes.notify.zip(self.notify_path(place)) {
            let variables = notify::variables(&socket, notify.watchdog_timeout);
            program.env.extend(c_strings(&variables).unwrap_or_default());
        }
        let path = program.path.to_string_lossy().into_owned();
        let failed = |errno: Errno| cannot_run(&path, errno.desc());
        let entrance = self.cgroups.open_payload(&place.pod.name, &place.container.name)?;
        // Four bytes into an empty pipe never wait, so both ends may be told not to.
        let (read, write) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).map_err(failed)?;
        let streams = [writers.stdout.as_fd(), writers.stderr.as_fd()];
        let spawned =
            program.spawn(streams, write.as_fd(), Some(&entrance), &mut self.spawner).map_err(failed)?;
        self.watch_first_process(place.id, spawned.into());
        let watched = self.reactor.add(&read, Token::Execution(place.id), Interest::Readable);
        if let Some(body) = self.body_mut(place.id) {
            body.execution = Some(Execution { pipe: read.into(), program: path.clone() });
        }
        if watched.is_err() {
            // Nothing would ever tell that it has started.
            self.kill_host_process(place.id);
        }
        watched.map_err(failed)
    }

    /// Looks what has come through the pipe of a host process that was started. Nothing, as long
    /// as it lives and is not its program.
    pub(super) fn note_execution(&mut self, id: ContainerId) {
        let Some(execution) = self.body_mut(id).and_then(|body| body.execution.as_mut()) else { return };
        let mut message = [0; 4];
        let said = match execution.pipe.read(&mut message) {
            Ok(count) => message.get(..count).unwrap_or_default(),
            // It is looked at again: in the next turn, or when the process has ended.
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return,
            Err(_) => &[],
        };
        let error = exec_error(said);
        let Some(execution) = self.body_mut(id).and_then(|body| body.execution.take()) else { return };
        self.at_place(id, |host, place| {
            let event = match (error, &place.container.image) {
                (Some(error), Image::HostProcess(process)) => {
                    let program = format!("`{}`", execution.program);
                    ContainerEvent::StartFailed(failure(&describe(error, process, &program)))
                }
                (Some(_), Image::Bundle(_) | Image::Rootfs(_)) | (None, _) => ContainerEvent::Started,
            };
            host.tell(id, event);
        });
    }

    /// What killing its cgroup does not do.
    pub(super) fn kill_host_process(&mut self, id: ContainerId) {
        let Some(body) = self.body_mut(id) else { return };
        if let (Some(_), Some(first)) = (&body.execution, &body.first) {
            // Made beside its cgroup (an old kernel) it may not have got there yet.
            first.signal(Signal::SIGKILL);
        }
        // Created and not started: there is no process whose end would be noticed.
        if body.writers.take().is_some() {
            let sigkill = ExitStatus::Signal(Signal::SIGKILL as u8);
            self.tell(id, ContainerEvent::Exited(sigkill.into()));
        }
    }

    /// Runs the command of an exec probe with what the host process has: environment, directory,
    /// user; in the part of its cgroup that is for such.
    pub(super) fn exec_beside(
        &mut self,
        place: &Place<'_>,
        process: &HostProcess,
        command: &[String],
    ) -> Result<Call, String> {
        let program = find_program(process, command, self.oom_score_adj(place))?;
        let entrance = self.bodies.get(place.id.index()).and_then(|body| body.entrance.as_ref());
        Call::start(program, Voice::Kept, entrance, &mut self.spawner)
    }
}

/// A command as it is to be run: execve(2) does not look into PATH.
fn find_program(process: &HostProcess, command: &[String], oom_score_adj: i32) -> Result<Program, String> {
    let name = command.first().map_or("", String::as_str);
    let path = if name.contains('/') {
        name.to_owned()
    } else {
        // The plan always has one.
        let path = process.env.iter().find(|(name, _)| name == "PATH");
        let path = path.map_or("", |(_, path)| path.as_str());
        text(&runtime::search_in(path, name).ok_or_else(|| {
            format!("cannot find program `{name}` in PATH `{path}`: install it, or write its absolute path")
        })?)
    };
    let with_nul = || cannot_run(name, "its text has a NUL byte");
    let c_string = |text: &str| CString::new(text).map_err(|_| with_nul());
    let env: Vec<String> = process.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    Ok(Program {
        path: c_string(&path)?,
        args: c_strings(command).ok_or_else(with_nul)?,
        env: c_strings(&env).ok_or_else(with_nul)?,
        user: Some(process.user.clone()),
        working_directory: Some(c_string(&process.working_directory)?),
        unified_view: false,
        oom_score_adj,
    })
}

/// Why `program` (how it is to be called in the text) did not come about.
pub(super) fn describe(error: ExecError, process: &HostProcess, program: &str) -> String {
    let reason = error.errno.desc();
    match error.stage {
        Stage::Execute => format!("cannot execute {program}: {reason}"),
        Stage::TakeUser => format!("cannot become user {}:{}: {reason}", process.user.uid, process.user.gid),
        Stage::EnterDirectory => {
            format!("cannot enter working directory `{}`: {reason}", process.working_directory)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::plan::User;

    fn process(path: &str) -> HostProcess {
        HostProcess {
            args: Vec::new(),
            env: vec![("PATH".to_owned(), path.to_owned()), ("A".to_owned(), "b=c".to_owned())],
            working_directory: "/proc".to_owned(),
            user: User { uid: 7, gid: 8 },
        }
    }

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn a_name_is_looked_up_and_a_path_is_not() {
        let found = find_program(&process("relative:/nonexistent:/bin"), &words(&["sh", "-c"]), 0).unwrap();
        assert_eq!(found.path.as_c_str(), c"/bin/sh");
        assert_eq!(found.args, [c"sh", c"-c"].map(CString::from), "its own name stays as it was written");
        assert_eq!(found.env, [c"PATH=relative:/nonexistent:/bin", c"A=b=c"].map(CString::from));
        let found = find_program(&process("/bin"), &words(&["/nonexistent/sh"]), 0).unwrap();
        assert_eq!(found.path.as_c_str(), c"/nonexistent/sh");
    }

    #[test]
    fn a_name_that_is_nowhere_is_told_with_its_path() {
        for (path, name) in [("/bin", "no-such-program"), ("", "sh"), ("/bin", "")] {
            let error = find_program(&process(path), &words(&[name]), 0).unwrap_err();
            let expected = format!("cannot find program `{name}` in PATH `{path}`: ");
            assert!(error.starts_with(&expected), "{error}");
        }
    }

    #[test]
    fn each_stage_has_its_own_words() {
        for (stage, expected) in [
            (Stage::Execute, "cannot execute `/bin/x`: No such file or directory"),
            (Stage::TakeUser, "cannot become user 7:8: No such file or directory"),
            (Stage::EnterDirectory, "cannot enter working directory `/proc`: No such file or directory"),
        ] {
            let error = ExecError { stage, errno: Errno::ENOENT };
            assert_eq!(describe(error, &process("/bin"), "`/bin/x`"), expected);
        }
    }
}
