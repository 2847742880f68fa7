//! Probes of containers: tries that are under way, from the question to its answer.

use std::fs;
use std::path::PathBuf;

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::call::{Call, Voice, describe_status};
use super::container::{Place, read_log};
use super::network_probe::{NetworkProbe, Progress, Purpose};
use super::reactor::{CallSlot, Token};
use super::state_directory::{describe, write_file};
use super::{Host, host_process, spawn, text};
use crate::config::plan::{Check, Container, ContainerId, Image, Network};
use crate::oci::{bundle, command, spec};
use crate::supervisor::event::ContainerEvent;
use crate::supervisor::probe::{Outcome, ProbeKind};
use crate::supervisor::record::{ExitStatus, failure};

/// One try of a probe.
#[derive(Debug)]
pub enum Try {
    /// A command inside the container.
    Exec(Call),
    /// A connection to it.
    Network(NetworkProbe),
}

impl Host {
    pub(super) fn probe(&mut self, place: &Place<'_>, kind: ProbeKind) {
        let Some(probe) = kind.of(&place.container.probes) else { return };
        let begun = match &probe.check {
            Check::Exec { command } => {
                self.exec(place, CallSlot::Exec(kind), command).map(|call| (Try::Exec(call), None))
            }
            network @ (Check::HttpGet { .. } | Check::TcpSocket { .. }) => {
                let first = self.body(place.id).and_then(|body| body.first.as_ref()).map(|first| first.pid);
                let inside = first.filter(|_| !shares_our_network(place.container));
                match NetworkProbe::start(network, Purpose::Probe, inside) {
                    Some(Ok((probe, progress))) => Ok((Try::Network(probe), Some(progress))),
                    Some(Err(error)) => Err(error),
                    None => return,
                }
            }
        };
        match begun {
            Ok((begun, progress)) => {
                if let Some(slot) =
                    self.body_mut(place.id).and_then(|body| body.tries.get_mut(position(kind)))
                {
                    *slot = Some(begun);
                }
                if let Some(progress) = progress {
                    self.follow_probe(place.id, kind, progress, true);
                }
            }
            Err(error) => self.tell_probed(place.id, kind, Outcome::Error, &error),
        }
    }

    pub(super) fn advance_probe(&mut self, id: ContainerId, kind: ProbeKind) {
        let Some(body) = self.body_mut(id) else { return };
        let Some(Some(Try::Network(probe))) = body.tries.get_mut(position(kind)) else { return };
        let progress = probe.advance();
        self.follow_probe(id, kind, progress, false);
    }

    fn follow_probe(&mut self, id: ContainerId, kind: ProbeKind, progress: Progress, new: bool) {
        let Some(slot) = self.bodies.get_mut(id.index()).and_then(|body| body.tries.get_mut(position(kind)))
        else {
            return;
        };
        match (progress, &slot) {
            (Progress::Waits(interest), Some(Try::Network(probe))) => {
                let token = Token::Probe(id, kind);
                let watched = match new {
                    true => self.reactor.add(probe, token, interest),
                    false => self.reactor.modify(probe, token, interest),
                };
                if let Err(errno) = watched {
                    *slot = None;
                    self.tell_probed(id, kind, Outcome::Error, errno.desc());
                }
            }
            (Progress::Waits(_), Some(Try::Exec(_)) | None) => {}
            (Progress::Done(outcome, why), _) => {
                *slot = None;
                self.tell_probed(id, kind, outcome, &why);
            }
        }
    }

    fn tell_probed(&mut self, id: ContainerId, kind: ProbeKind, outcome: Outcome, why: &str) {
        self.tell(id, ContainerEvent::Probed(kind, outcome, failure(why)));
    }

    /// Runs a command in the container, or beside the host process. `slot` says for what.
    pub(super) fn exec(
        &mut self,
        place: &Place<'_>,
        slot: CallSlot,
        command: &[String],
    ) -> Result<Call, String> {
        let call = match &place.container.image {
            Image::HostProcess(process) => self.exec_beside(place, process, command)?,
            Image::Rootfs(rootfs) => self.exec_inside(place, slot, || {
                spec::generate_process(place.container, rootfs, command).map_err(|error| error.to_string())
            })?,
            Image::Bundle(path) => self.exec_inside(place, slot, || {
                let config = place.bundle.join("config.json");
                let config = fs::read(&config).map_err(|error| describe("read", &config, &error))?;
                bundle::generate_process(&config, &text(path), command).map_err(|error| error.to_string())
            })?,
        };
        self.watch_output(&call, Token::CallOutput(place.id, slot));
        Ok(call)
    }

    /// By the runtime. `process` is what it runs and with which rights.
    fn exec_inside(
        &mut self,
        place: &Place<'_>,
        slot: CallSlot,
        process: impl FnOnce() -> Result<Vec<u8>, String>,
    ) -> Result<Call, String> {
        let pid_file = pid_file(place, slot);
        let log = exec_log(place, slot);
        let _ = fs::remove_file(&pid_file);
        // Written once an instance.
        let process_file = place.bundle.join(format!("exec-{}.json", slot.name()));
        if !process_file.exists() {
            write_file(&process_file, &process()?)?;
        }
        let (process_file, pid_file) = (text(&process_file), text(&pid_file));
        let words = self.words(place, &log, |call| call.exec(&process_file, &pid_file))?;
        self.spawn_call(place, &words, Voice::Kept)
    }

    pub(super) fn note_exec_ended(&mut self, id: ContainerId, kind: ProbeKind, status: ExitStatus) {
        let slot = self.body_mut(id).and_then(|body| body.tries.get_mut(position(kind)));
        let Some(Try::Exec(call)) = slot.and_then(Option::take) else { return };
        let said = call.into_said();
        self.at_place(id, |host, place| {
            let (outcome, why) = host.judge_exec(place, CallSlot::Exec(kind), status, &said);
            host.tell_probed(id, kind, outcome, &why);
        });
    }

    /// What the end of a command means, and in words why, where that is no success.
    pub(super) fn judge_exec(
        &self,
        place: &Place<'_>,
        slot: CallSlot,
        status: ExitStatus,
        said: &[u8],
    ) -> (Outcome, String) {
        if status == ExitStatus::Code(0) {
            return (Outcome::Success, String::new());
        }
        if let Some(error) = spawn::exec_error(said) {
            let text = match &place.container.image {
                Image::HostProcess(process) => host_process::describe(error, process, "its command"),
                Image::Bundle(_) | Image::Rootfs(_) => {
                    format!("cannot execute the runtime: {}", error.errno.desc())
                }
            };
            return (Outcome::Error, text);
        }
        // Only a command that could not be run leaves an error in the runtime's log.
        if let Some(error) = command::last_error(&read_log(&exec_log(place, slot))) {
            return (Outcome::Error, error);
        }
        let said = String::from_utf8_lossy(said);
        let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
        let how = describe_status(status);
        let why = if last.is_empty() { how } else { format!("{how}: {last}") };
        (Outcome::Failure, why)
    }

    pub(super) fn cancel_probe(&mut self, place: &Place<'_>, kind: ProbeKind) {
        let slot = self.body_mut(place.id).and_then(|body| body.tries.get_mut(position(kind)));
        let Some(Try::Exec(call)) = slot.and_then(Option::take) else { return };
        self.kill_exec(place, CallSlot::Exec(kind), &call);
    }

    /// Kills a command that was run by [`Host::exec`].
    pub(super) fn kill_exec(&self, place: &Place<'_>, slot: CallSlot, call: &Call) {
        if matches!(place.container.image, Image::HostProcess(_)) {
            // Ours, and first of a session (`spawn.rs`): what it has started goes with it.
            let _ = nix::sys::signal::killpg(call.process.pid, Signal::SIGKILL);
        }
        // The command is the runtime's child, not ours: its number is its own only as long as it
        // is in the container's cgroup.
        let pid = fs::read_to_string(pid_file(place, slot)).ok().and_then(|pid| pid.trim().parse().ok());
        let pid = pid.filter(|&pid: &i32| pid > 1).map(Pid::from_raw);
        if let Some(pid) =
            pid.filter(|&pid| self.cgroups.has_process(&place.pod.name, &place.container.name, pid))
        {
            let _ = nix::sys::signal::kill(pid, Signal::SIGKILL);
        }
        call.process.signal(Signal::SIGKILL);
    }
}

/// Where a probe's try stands among those of its container.
pub(super) fn position(kind: ProbeKind) -> usize {
    match kind {
        ProbeKind::Startup => 0,
        ProbeKind::Liveness => 1,
        ProbeKind::Readiness => 2,
    }
}

fn pid_file(place: &Place<'_>, slot: CallSlot) -> PathBuf {
    place.bundle.join(format!("exec-{}.pid", slot.name()))
}

fn exec_log(place: &Place<'_>, slot: CallSlot) -> PathBuf {
    place.bundle.join(format!("exec-{}.log", slot.name()))
}

/// A bundle's network is its own affair: it is probed where its first process is.
pub(super) fn shares_our_network(container: &Container) -> bool {
    match &container.image {
        Image::Rootfs(rootfs) => rootfs.network == Network::Host,
        Image::HostProcess(_) => true,
        Image::Bundle(_) => false,
    }
}
