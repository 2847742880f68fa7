//! Probes of containers: tries that are under way, from the question to its answer.

use std::fs;
use std::path::PathBuf;

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::call::{Call, Voice, describe_status};
use super::container::{Place, read_log};
use super::descendants::kill_with_descendants;
use super::network_probe::{NetworkProbe, Progress, Purpose, Whereabouts};
use super::reactor::{CallSlot, Token};
use super::state_directory::{describe, replace_file};
use super::{Host, host_process, spawn, text};
use crate::config::plan::{Check, Container, ContainerId, Image, Network};
use crate::oci::{bundle, command, spec};
use crate::protocol;
use crate::supervisor::event::ContainerEvent;
use crate::supervisor::probe::{Outcome, ProbeKind};
use crate::supervisor::record::{ExitStatus, failure};

/// One try of a probe.
#[derive(Debug)]
pub enum Try {
    /// A command inside the container.
    Exec(Call),
    /// A connection to it.
    Network(Box<NetworkProbe>),
}

impl Host {
    pub(super) fn probe(&mut self, place: &Place<'_>, kind: ProbeKind) {
        let Some(probe) = kind.of(&place.container.probes) else { return };
        let begun = match &probe.check {
            Check::Exec { command } => {
                self.exec(place, CallSlot::Exec(kind), command).map(|call| (Try::Exec(call), None))
            }
            Check::HttpGet { .. } | Check::TcpSocket { .. } | Check::Grpc { .. } | Check::Unix { .. } => {
                let until = self.now().after(probe.timeout);
                match NetworkProbe::start(&probe.check, Purpose::Probe, self.whereabouts(place), Some(until))
                {
                    Some(Ok((probe, progress))) => Ok((Try::Network(Box::new(probe)), Some(progress))),
                    Some(Err(error)) => Err(error),
                    None => return,
                }
            }
        };
        match begun {
            Ok((begun, progress)) => {
                if let Some(slot) = self.body_mut(place.id).and_then(|body| body.tries.get_mut(kind.index()))
                {
                    *slot = Some(begun);
                }
                if let Some(progress) = progress {
                    self.follow_probe(place.id, kind, progress);
                }
            }
            Err(error) => self.tell_probed(place.id, kind, Outcome::Error, &error),
        }
    }

    pub(super) fn advance_probe(&mut self, id: ContainerId, kind: ProbeKind) {
        let Some(body) = self.body_mut(id) else { return };
        let Some(Some(Try::Network(probe))) = body.tries.get_mut(kind.index()) else { return };
        let progress = probe.advance();
        self.follow_probe(id, kind, progress);
    }

    fn follow_probe(&mut self, id: ContainerId, kind: ProbeKind, progress: Progress) {
        let Some(slot) = self.bodies.get_mut(id.index()).and_then(|body| body.tries.get_mut(kind.index()))
        else {
            return;
        };
        let Some(Try::Network(probe)) = slot else { return };
        let token = Token::Probe(id, kind);
        let watched = match (progress, probe.socket()) {
            (Progress::Waits(interest), Some(socket)) => self.reactor.modify(socket, token, interest),
            (Progress::Moved(interest), Some(socket)) => self.reactor.add(socket, token, interest),
            (Progress::Waits(_) | Progress::Moved(_) | Progress::Pauses, _) => {
                self.probes_again_at = self.probes_again_at.into_iter().chain(probe.again_at()).min();
                Ok(())
            }
            (Progress::Done(outcome, said), _) => {
                *slot = None;
                return self.tell_probed(id, kind, outcome, &said);
            }
        };
        if let Err(errno) = watched {
            *slot = None;
            self.tell_probed(id, kind, Outcome::Error, errno.desc());
        }
    }

    /// Lets those connect again that wait for that, when it is time for one of them.
    pub(super) fn connect_probes_again(&mut self) {
        let now = self.now();
        if self.probes_again_at.is_none_or(|at| at > now) {
            return;
        }
        self.probes_again_at = None;
        for index in 0..self.bodies.len() {
            let id = ContainerId(u16::try_from(index).unwrap_or(u16::MAX));
            self.connect_hook_again(id, now);
            for kind in ProbeKind::ALL {
                let Some(body) = self.body_mut(id) else { continue };
                let Some(Some(Try::Network(probe))) = body.tries.get_mut(kind.index()) else { continue };
                let progress = match probe.again_at() {
                    Some(at) if at <= now => probe.connect_again(),
                    Some(_) => Progress::Pauses,
                    None => continue,
                };
                self.follow_probe(id, kind, progress);
            }
        }
    }

    /// Where a connection to a container begins.
    pub(super) fn whereabouts(&self, place: &Place<'_>) -> Whereabouts {
        let first = self.body(place.id).and_then(|body| body.first.as_ref()).map(|first| first.pid);
        let on_host = matches!(place.container.image, Image::HostProcess(_));
        Whereabouts {
            network: first.filter(|_| !shares_our_network(place.container)),
            root: first.filter(|_| !on_host),
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
        // runc writes it under this name first, and when that is there (it was killed just then),
        // kills the command that it has started and fails.
        let _ = fs::remove_file(place.bundle.join(format!(".exec-{}.pid", slot.name())));
        // Written once an instance, so it must be whole.
        let process_file = place.bundle.join(format!("exec-{}.json", slot.name()));
        if !process_file.exists() {
            replace_file(&process_file, &process()?)?;
        }
        let (process_file, pid_file) = (text(&process_file), text(&pid_file));
        let words = self.words(place, &log, |call| call.exec(&process_file, &pid_file))?;
        self.spawn_call(place, &words, Voice::Kept)
    }

    pub(super) fn note_exec_ended(&mut self, id: ContainerId, kind: ProbeKind, status: ExitStatus) {
        let slot = self.body_mut(id).and_then(|body| body.tries.get_mut(kind.index()));
        let Some(Try::Exec(call)) = slot.and_then(Option::take) else { return };
        let said = call.into_said();
        self.at_place(id, |host, place| {
            let (outcome, why) = host.judge_exec(place, CallSlot::Exec(kind), status, &said);
            host.tell_probed(id, kind, outcome, &why);
        });
    }

    /// What the end of a command means, and in words why, or what it said.
    pub(super) fn judge_exec(
        &self,
        place: &Place<'_>,
        slot: CallSlot,
        status: ExitStatus,
        said: &[u8],
    ) -> (Outcome, String) {
        let refused = || {
            if let Some(error) = spawn::exec_error(said) {
                return Some(match &place.container.image {
                    Image::HostProcess(process) => host_process::describe(error, process, "its command"),
                    Image::Bundle(_) | Image::Rootfs(_) => {
                        format!("cannot execute the runtime: {}", error.errno.desc())
                    }
                });
            }
            // Only a command that could not be run leaves an error in the runtime's log.
            command::last_error(&read_log(&exec_log(place, slot)))
        };
        judge(status, said, refused)
    }

    pub(super) fn cancel_probe(&mut self, place: &Place<'_>, kind: ProbeKind) {
        let slot = self.body_mut(place.id).and_then(|body| body.tries.get_mut(kind.index()));
        let Some(Try::Exec(call)) = slot.and_then(Option::take) else { return };
        self.kill_exec(place, CallSlot::Exec(kind), &call);
    }

    /// Kills a command that was run by [`Host::exec`], and what it has started.
    pub(super) fn kill_exec(&self, place: &Place<'_>, slot: CallSlot, call: &Call) {
        // The command of a container is the runtime's child, which can be gone before it. Its
        // number is its own as long as it is in the container's cgroup.
        let command = fs::read_to_string(pid_file(place, slot)).ok();
        let command = command.and_then(|pid| pid.trim().parse().ok()).filter(|&pid: &i32| pid > 1);
        let roots: Vec<Pid> = [call.process.pid].into_iter().chain(command.map(Pid::from_raw)).collect();
        let (pod, container) = (&place.pod.name, &place.container.name);
        kill_with_descendants(&roots, || self.cgroups.processes_of(pod, container));
        call.process.signal(Signal::SIGKILL);
    }
}

/// What the end of a probe's command means, and in words why, or what it said. `refused`: why it could
/// not be run at all, if that was so.
pub fn judge(status: ExitStatus, said: &[u8], refused: impl FnOnce() -> Option<String>) -> (Outcome, String) {
    if status == ExitStatus::Code(0) {
        return (Outcome::Success, protocol::first_line(said));
    }
    if let Some(error) = refused() {
        return (Outcome::Error, error);
    }
    let said = String::from_utf8_lossy(said);
    let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let how = describe_status(status);
    let why = if last.is_empty() { how } else { format!("{how}: {last}") };
    (Outcome::Failure, why)
}

fn pid_file(place: &Place<'_>, slot: CallSlot) -> PathBuf {
    place.bundle.join(format!("exec-{}.pid", slot.name()))
}

fn exec_log(place: &Place<'_>, slot: CallSlot) -> PathBuf {
    place.bundle.join(format!("exec-{}.log", slot.name()))
}

/// A bundle's network is its own affair: it is probed where its first process is.
fn shares_our_network(container: &Container) -> bool {
    match &container.image {
        Image::Rootfs(rootfs) => rootfs.network == Network::Host,
        Image::HostProcess(_) => true,
        Image::Bundle(_) => false,
    }
}
