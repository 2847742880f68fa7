//! The machine's side of one container: its processes, its cgroup, its bundle.
//!
//! A start is a chain of runtime calls, a removal one of waiting and calls. Each link ends with a
//! child that is reaped or a cgroup that is empty, and the next follows from there; nothing here
//! has a deadline of its own, the core kills what takes too long.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::PathBuf;
use std::rc::Rc;

use nix::unistd::Pid;

use super::call::{Call, Process, Program, Voice, describe_status};
use super::cgroup::Entrance;
use super::host_process::Execution;
use super::notify_socket::NotifySocket;
use super::output::Writers;
use super::prober::Try;
use super::reactor::{CallSlot, Interest, Token};
use super::state_directory::{make_directory, remove_directory, write_file};
use super::{Host, regular_file, runtime, spawn, termination_message, text, volumes};
use crate::config::plan::{Container, ContainerId, Image, Pod, Resources, Rootfs, TerminationMessagePolicy};
use crate::config::qos;
use crate::limits::FILE_BYTES_MAX;
use crate::log::stream::Labels;
use crate::oci::bundle;
use crate::oci::command::{self, Runtime, container_id};
use crate::oci::notify::Notify;
use crate::oci::spec::{self, DeviceKind, DeviceNumber, Facts};
use crate::supervisor::action::ContainerAction;
use crate::supervisor::event::{ContainerEvent, Event};
use crate::supervisor::hook::HookKind;
use crate::supervisor::probe::ProbeKind;
use crate::supervisor::record::{Exit, ExitStatus, Instance, failure};
use crate::supervisor::report::Severity;

/// What this machine has of a container.
#[derive(Debug, Default)]
pub struct Body {
    instance: Instance,
    restarts: u32,
    pub(super) entrance: Option<Entrance>,
    pub(super) first: Option<Process>,
    /// `--version`, `create`, `start` or `delete`.
    pub(super) lifecycle: Option<(Step, Call)>,
    /// The streams of a host process that was created and not started.
    pub(super) writers: Option<Writers>,
    /// A host process that was started and is not its program yet.
    pub(super) execution: Option<Execution>,
    pub(super) tries: [Option<Try>; 3],
    /// Where it says that it is ready and well, if it is to.
    pub(super) notify: Option<NotifySocket>,
    pub(super) hook: Option<(HookKind, Try)>,
    /// It is being removed; the instance's events are answered with that.
    pub(super) removing: bool,
    /// Instance and restarts before: its output may end when the next one is there already.
    former: (Instance, u32),
}

/// A number of at most ten digits and a newline; more is no pid file.
const PID_FILE_BYTES_MAX: usize = 64;

/// A runtime call in the life of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The runtime is asked who it is, before the first `create` that cannot do without.
    Identify,
    /// The container is made, its first process waits.
    Create,
    /// Its own command begins.
    Start,
    /// The runtime forgets it.
    Delete,
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Step::Identify => "--version",
            Step::Create => "create",
            Step::Start => "start",
            Step::Delete => "delete",
        }
    }
}

/// A container's place in plan and file system.
pub struct Place<'a> {
    /// Which container.
    pub id: ContainerId,
    /// Its pod.
    pub pod: &'a Pod,
    /// What it should be.
    pub container: &'a Container,
    /// Its name for the runtime.
    pub runtime_id: String,
    /// The directory of its bundle.
    pub bundle: PathBuf,
}

impl Host {
    pub(super) fn perform_on_container(
        &mut self,
        id: ContainerId,
        instance: Instance,
        action: ContainerAction,
    ) {
        self.at_place(id, |host, place| host.perform_at(place, instance, action));
    }

    fn perform_at(&mut self, place: &Place<'_>, instance: Instance, action: ContainerAction) {
        match action {
            ContainerAction::Create { restarts } => {
                if let Some(body) = self.body_mut(place.id) {
                    // What came before is gone, by the core's order.
                    let former = (body.instance, body.restarts);
                    *body = Body { instance, restarts, former, ..Body::default() };
                }
                let begun = self.open_notify_socket(place).and_then(|()| match &place.container.image {
                    Image::HostProcess(_) => self.create_host_process(place),
                    Image::Bundle(_) => self.create_once_identified(place, false),
                    Image::Rootfs(rootfs) => {
                        let has_read_only_mount = rootfs.mounts.iter().any(|mount| mount.read_only);
                        self.create_once_identified(place, has_read_only_mount && self.has_mount_setattr)
                    }
                });
                if let Err(error) = begun {
                    self.tell(place.id, ContainerEvent::CreateFailed(failure(&error)));
                }
            }
            ContainerAction::Start => {
                let begun = match &place.container.image {
                    Image::HostProcess(process) => self.start_host_process(place, process),
                    Image::Bundle(_) | Image::Rootfs(_) => {
                        self.call(place, Step::Start, Voice::Kept, |call| call.start())
                    }
                };
                if let Err(error) = begun {
                    self.tell(place.id, ContainerEvent::StartFailed(failure(&error)));
                }
            }
            ContainerAction::Stop => {
                if let Some(first) = self.body(place.id).and_then(|body| body.first.as_ref()) {
                    first.send(place.container.stop_signal.number());
                }
            }
            ContainerAction::Kill => self.kill(place),
            ContainerAction::Remove => {
                if let Some(body) = self.body_mut(place.id) {
                    body.removing = true;
                    body.tries = [None, None, None];
                    body.notify = None;
                    body.hook = None;
                }
                self.go_on_removing(place);
            }
            ContainerAction::Probe(kind) => self.probe(place, kind),
            ContainerAction::CancelProbe(kind) => self.cancel_probe(place, kind),
            ContainerAction::Hook(kind) => self.begin_hook(place, kind),
            ContainerAction::CancelHook(kind) => self.cancel_hook(place, kind),
        }
    }

    pub(super) fn body(&self, id: ContainerId) -> Option<&Body> {
        self.bodies.get(id.index())
    }

    pub(super) fn body_mut(&mut self, id: ContainerId) -> Option<&mut Body> {
        self.bodies.get_mut(id.index())
    }

    /// Reports about the newest instance.
    pub(super) fn tell(&mut self, id: ContainerId, event: ContainerEvent) {
        let instance = self.body(id).map(|body| body.instance).unwrap_or_default();
        self.events.push_back(Event::Container(id, instance, event));
    }

    /// Tells how the output of instances has ended.
    pub(super) fn tell_last_lines(&mut self) {
        for (ending, lines) in self.output.take_endings() {
            let id = ContainerId(ending.position);
            let Some(body) = self.body(id) else { continue };
            let known = [(body.instance, body.restarts), body.former];
            // What is older than that is in no status any more.
            if let Some((instance, _)) = known.into_iter().find(|(_, restarts)| *restarts == ending.instance)
            {
                self.at_place(id, |host, place| {
                    let lines = ContainerEvent::LastLines(termination_message::last_lines(&lines, place.pod));
                    host.events.push_back(Event::Container(id, instance, lines));
                });
            }
        }
    }

    /// Does `go_on` for a container, with its place.
    pub(super) fn at_place(&mut self, id: ContainerId, go_on: impl FnOnce(&mut Host, &Place<'_>)) {
        let plan = Rc::clone(&self.plan);
        let Some(container) = plan.containers.get(id.index()) else { return };
        let Some(pod) = plan.pods.get(container.pod.index()) else { return };
        let runtime_id = container_id(&pod.name, &container.name);
        let bundle = self.state.container(&runtime_id);
        go_on(self, &Place { id, pod, container, runtime_id, bundle });
    }
}

// Starting.
impl Host {
    /// Makes the container, or first asks the runtime who it is: where its name does not tell, or
    /// its version decides something (`needs_version`).
    fn create_once_identified(&mut self, place: &Place<'_>, needs_version: bool) -> Result<(), String> {
        if self.runtime.as_ref().is_some_and(|known| known.version().is_some() || !needs_version) {
            return self.create(place);
        }
        let path = runtime::find(self.plan.machine.runtime.as_deref())?;
        match runtime::by_name(&path) {
            Some(runtime) if !needs_version => {
                let runtime = runtime::fit_to_host(runtime, self.cgroups.is_unified())?;
                self.note_runtime(runtime);
                self.create(place)
            }
            _ => self.identify(place, &path),
        }
    }

    /// Keeps what is known of the runtime and says so, once.
    fn note_runtime(&mut self, runtime: Runtime) {
        // Several containers may have asked at the same time.
        if self.runtime.is_none() {
            let version = runtime.version().map(|version| format!(" {version}")).unwrap_or_default();
            self.write_line(
                Severity::Info,
                &format!("using {}{version} at {}", runtime.kind(), runtime.path()),
            );
        }
        self.runtime = Some(runtime);
    }

    /// Asks the runtime who it is; `create` follows when it has answered.
    fn identify(&mut self, place: &Place<'_>, path: &std::path::Path) -> Result<(), String> {
        // The container's limits are not for this question.
        self.make_entrance(place, &Resources::default())?;
        let words = command::version_command(&text(path));
        self.start_call(place, Step::Identify, &words, Voice::Kept)
    }

    fn note_identified(&mut self, place: &Place<'_>, status: ExitStatus, said: &[u8]) {
        let identified = || {
            let path = runtime::find(self.plan.machine.runtime.as_deref())?;
            if let Some(error) = spawn::exec_error(said) {
                return Err(format!("cannot execute `{}`: {}", path.display(), error.errno.desc()));
            }
            let said = String::from_utf8_lossy(said);
            if status != ExitStatus::Code(0) {
                let how = describe_status(status);
                let said = said.lines().next().map(|line| format!(": {line}")).unwrap_or_default();
                let oom = self.oom_remark(place);
                return Err(format!("`{} --version` failed: {how}{said}{oom}", path.display()));
            }
            let runtime = Runtime::identify(&text(&path), &said).map_err(|error| error.to_string())?;
            runtime::fit_to_host(runtime, self.cgroups.is_unified())
        };
        let created = match identified() {
            Ok(runtime) => {
                self.note_runtime(runtime);
                self.create(place)
            }
            Err(error) => Err(error),
        };
        if let Err(error) = created {
            self.tell(place.id, ContainerEvent::CreateFailed(failure(&error)));
        }
    }

    pub(super) fn make_entrance(&mut self, place: &Place<'_>, resources: &Resources) -> Result<(), String> {
        let entrance = self.cgroups.make_container(&place.pod.name, &place.container.name, resources)?;
        if let Some(body) = self.body_mut(place.id) {
            body.entrance = Some(entrance);
        }
        Ok(())
    }

    fn create(&mut self, place: &Place<'_>) -> Result<(), String> {
        self.make_entrance(place, &place.container.resources)?;
        remove_directory(&place.bundle)?;
        make_directory(&place.bundle)?;
        make_directory(&self.state.runtime())?;
        let config = self.config_json(place)?;
        write_file(&place.bundle.join("config.json"), &config)?;
        let writers = self.open_streams(place)?;
        let pid_file = text(&place.bundle.join("pid"));
        let bundle = text(&place.bundle);
        let voice = Voice::Container([writers.stdout.as_fd(), writers.stderr.as_fd()]);
        self.call(place, Step::Create, voice, |call| call.create(&bundle, &pid_file))
    }

    /// The log streams of the newest instance.
    pub(super) fn open_streams(&mut self, place: &Place<'_>) -> Result<Writers, String> {
        let labels = Labels {
            pod: &place.pod.name,
            container: &place.container.name,
            instance: self.body(place.id).map_or(0, |body| body.restarts),
            position: place.id.0,
            last_lines: match place.container.termination_message.policy {
                TerminationMessagePolicy::File => false,
                TerminationMessagePolicy::FallbackToLogsOnError => true,
            },
        };
        let writers = self.output.open(labels);
        writers.map_err(|error| format!("cannot make the log pipes: {}", super::reason(&error)))
    }

    fn config_json(&self, place: &Place<'_>) -> Result<Vec<u8>, String> {
        let cgroups_path = self.cgroups.payload_path(&place.pod.name, &place.container.name);
        let socket = self.notify_path(place);
        let notify = place.container.probes.notify.zip(socket.as_deref());
        let notify =
            notify.map(|(notify, socket)| Notify { socket, watchdog_timeout: notify.watchdog_timeout });
        let rootfs = match &place.container.image {
            Image::Rootfs(rootfs) => rootfs,
            Image::Bundle(path) => {
                let file = path.join("config.json");
                let config = regular_file::read(&file, FILE_BYTES_MAX)?;
                let path = text(path);
                let adapted = bundle::adapt(&config, &path, &cgroups_path, self.oom_score_adj(place), notify);
                let config = adapted.map_err(|error| error.to_string())?;
                return match (self.make_message_file(place)?, &place.container.termination_message.path) {
                    (Some(file), Some(at)) => bundle::mount_file(&config, &path, &text(&file), at)
                        .map_err(|error| error.to_string()),
                    (None, _) | (Some(_), None) => Ok(config),
                };
            }
            Image::HostProcess(_) => return Err("a host process has no config.json".to_owned()),
        };
        if !rootfs.path.is_dir() {
            return Err(format!("rootfs `{}` is not there or no directory", rootfs.path.display()));
        }
        let devices = devices(rootfs)?;
        let volumes = volumes::paths(place.pod, &self.state.pod(&place.pod.name))?;
        let network = self.networks.get(place.container.pod.index()).and_then(Option::as_ref);
        let network = network.map(super::NetworkNamespace::path);
        let message_file = self.make_message_file(place)?;
        let facts = Facts {
            cgroups_path: &cgroups_path,
            devices: &devices,
            volumes: &volumes,
            network_namespace: network.as_deref(),
            // A namespace whose root is not the container's own cgroup would hide nothing.
            cgroup_namespace: self.cgroups.is_unified() && !self.is_placed_by_us(),
            recursive_read_only: self.runtime.as_ref().is_some_and(Runtime::has_recursive_mount_options)
                && self.has_mount_setattr,
            termination_message: message_file
                .as_deref()
                .zip(place.container.termination_message.path.as_deref()),
            oom_score_adj: self.oom_score_adj(place),
            notify,
        };
        spec::generate(place.container, rootfs, &facts).map_err(|error| error.to_string())
    }

    /// What the OOM killer is told about the processes of a container.
    pub(super) fn oom_score_adj(&self, place: &Place<'_>) -> i32 {
        self.oom_score.possible(qos::oom_score_adj(&self.plan, place.container))
    }

    /// Whether the runtime leaves the container in the cgroup that it was started in.
    fn is_placed_by_us(&self) -> bool {
        self.runtime
            .as_ref()
            .is_some_and(|runtime| runtime.cgroup_manager() == command::CgroupManager::Disabled)
    }

    fn note_created(&mut self, place: &Place<'_>, status: ExitStatus, said: &[u8]) {
        let first = if status == ExitStatus::Code(0) {
            self.adopt_first_process(place)
        } else {
            Err(self.why_call_failed(place, Step::Create, status, said))
        };
        match first {
            Ok(None) => self.tell(place.id, ContainerEvent::Created),
            Ok(Some(status)) => {
                self.tell(place.id, ContainerEvent::Created);
                self.tell_exited(place, status);
            }
            Err(error) => self.tell(place.id, ContainerEvent::CreateFailed(failure(&error))),
        }
    }

    /// Takes the first process of a container that was just created as our child. Returns how it
    /// ended, if it has already.
    fn adopt_first_process(&mut self, place: &Place<'_>) -> Result<Option<ExitStatus>, String> {
        let file = place.bundle.join("pid");
        let number = regular_file::read(&file, PID_FILE_BYTES_MAX)
            .map_err(|error| format!("the runtime's `create` exited with 0 but left no pid file: {error}"))?;
        let number = String::from_utf8_lossy(&number);
        let number = number.trim();
        let pid = number.parse().ok().filter(|&pid: &i32| pid > 1).map(Pid::from_raw);
        let Some(pid) = pid else {
            return Err(format!(
                "the runtime's `create` wrote `{number}` into its pid file, which is no process"
            ));
        };
        if !is_our_child(pid) {
            // Gone, and reaped before anybody knew whose it was; or never ours.
            let stranger = self.strangers.oldest_ordered().find(|(stranger, _)| *stranger == pid);
            return match stranger {
                Some(&(_, status)) => Ok(Some(status)),
                None => Err(format!("the runtime's `create` named process {pid}, which is not our child")),
            };
        }
        let pidfd = self.spawner.open_pidfd(pid);
        self.watch_first_process(place.id, Process { pid, pidfd });
        let placed = if self.is_placed_by_us() {
            self.cgroups.move_to_payload(&place.pod.name, &place.container.name, pid)
        } else {
            Ok(())
        };
        placed.map(|()| None)
    }

    pub(super) fn watch_first_process(&mut self, id: ContainerId, first: Process) {
        if let Some(pidfd) = &first.pidfd {
            // Without this watch SIGCHLD tells of the end.
            let _ = self.reactor.add(pidfd, Token::FirstProcess(id), Interest::Readable);
        }
        if let Some(body) = self.body_mut(id) {
            body.first = Some(first);
        }
    }

    fn note_started(&mut self, place: &Place<'_>, status: ExitStatus, said: &[u8]) {
        let event = if status == ExitStatus::Code(0) {
            ContainerEvent::Started
        } else {
            let error = self.why_call_failed(place, Step::Start, status, said);
            ContainerEvent::StartFailed(failure(&error))
        };
        self.tell(place.id, event);
    }
}

// Runtime calls.
impl Host {
    /// Starts a call of the runtime about a container.
    pub(super) fn call(
        &mut self,
        place: &Place<'_>,
        step: Step,
        voice: Voice<'_>,
        words: impl FnOnce(&command::Container<'_>) -> Vec<String>,
    ) -> Result<(), String> {
        let log = place.bundle.join("runtime.log");
        let words = self.words(place, &log, words)?;
        self.start_call(place, step, &words, voice)
    }

    pub(super) fn words(
        &self,
        place: &Place<'_>,
        log: &std::path::Path,
        words: impl FnOnce(&command::Container<'_>) -> Vec<String>,
    ) -> Result<Vec<String>, String> {
        let runtime = self.runtime.as_ref().ok_or("no runtime was found yet")?;
        // What an earlier call has written is not about this one.
        let _ = fs::remove_file(log);
        let (state_root, log_file) = (text(&self.state.runtime()), text(log));
        Ok(words(&command::Container {
            runtime,
            state_root: &state_root,
            log_file: &log_file,
            id: &place.runtime_id,
        }))
    }

    fn start_call(
        &mut self,
        place: &Place<'_>,
        step: Step,
        words: &[String],
        voice: Voice<'_>,
    ) -> Result<(), String> {
        let call = self.spawn_call(place, words, voice)?;
        self.watch_output(&call, Token::CallOutput(place.id, CallSlot::Lifecycle));
        if let Some(body) = self.body_mut(place.id) {
            body.lifecycle = Some((step, call));
        }
        Ok(())
    }

    pub(super) fn spawn_call(
        &mut self,
        place: &Place<'_>,
        words: &[String],
        voice: Voice<'_>,
    ) -> Result<Call, String> {
        let unified_view = self.cgroups.is_hybrid() && self.is_placed_by_us();
        let entrance = self.bodies.get(place.id.index()).and_then(|body| body.entrance.as_ref());
        let program = Program::of_runtime(words, unified_view, self.oom_score_adj(place))?;
        Call::start(program, voice, entrance, &mut self.spawner)
    }

    pub(super) fn watch_output(&self, call: &Call, token: Token) {
        if let Some(output) = call.output() {
            // Not watched, it is still read when the call has ended.
            let _ = self.reactor.add(output, token, Interest::Readable);
        }
    }

    pub(super) fn read_call_output(&mut self, id: ContainerId, slot: CallSlot) {
        let Some(body) = self.body_mut(id) else { return };
        match slot {
            CallSlot::Lifecycle => {
                if let Some((_, call)) = &mut body.lifecycle {
                    call.read_output();
                }
            }
            CallSlot::Exec(kind) => {
                if let Some(Some(Try::Exec(call))) = body.tries.get_mut(kind.index()) {
                    call.read_output();
                }
            }
            CallSlot::Hook(_) => {
                if let Some((_, Try::Exec(call))) = &mut body.hook {
                    call.read_output();
                }
            }
        }
    }

    /// Why a call failed, best source first: the system (the program could not be executed), the
    /// runtime's log, what it printed, how it ended.
    pub(super) fn why_call_failed(
        &self,
        place: &Place<'_>,
        step: Step,
        status: ExitStatus,
        said: &[u8],
    ) -> String {
        let name = step.name();
        if let Some(error) = spawn::exec_error(said) {
            let path = self.runtime.as_ref().map_or("the runtime", Runtime::path);
            return format!("cannot execute `{path}`: {}", error.errno.desc());
        }
        let log = read_log(&place.bundle.join("runtime.log"));
        let said = String::from_utf8_lossy(said);
        let error = command::last_error(&log).or_else(|| command::last_error(&said));
        let how = describe_status(status);
        let mut text = match error {
            Some(error) => format!("the runtime's `{name}` failed: {error}"),
            None if step == Step::Create => {
                format!("the runtime's `{name}` failed: {how}; what it printed is in the container's log")
            }
            None => format!("the runtime's `{name}` failed: {how}"),
        };
        // Later steps would tell of what befell the container itself.
        if matches!(step, Step::Create | Step::Start) {
            text.push_str(self.oom_remark(place));
        }
        text
    }

    /// What is to be added to the reason of a start that failed.
    fn oom_remark(&self, place: &Place<'_>) -> &'static str {
        if self.cgroups.had_oom_kill(&place.pod.name, &place.container.name) {
            "; OOMKilled: memory limits hold for the runtime, too, and may be too small for it"
        } else {
            ""
        }
    }
}

// Ends.
impl Host {
    /// Returns whether `pid` was a process of a container that we know.
    pub(super) fn note_container_process_ended(&mut self, pid: Pid, status: ExitStatus) -> bool {
        let found = self.bodies.iter().enumerate().find_map(|(index, body)| {
            let id = ContainerId(u16::try_from(index).ok()?);
            if body.first.as_ref().is_some_and(|first| first.pid == pid) {
                return Some((id, Ended::First));
            }
            if body.lifecycle.as_ref().is_some_and(|(_, call)| call.process.pid == pid) {
                return Some((id, Ended::Lifecycle));
            }
            let exec = |kind: &ProbeKind| match body.tries.get(kind.index()) {
                Some(Some(Try::Exec(call))) => call.process.pid == pid,
                Some(Some(Try::Network(_)) | None) | None => false,
            };
            if matches!(&body.hook, Some((_, Try::Exec(call))) if call.process.pid == pid) {
                return Some((id, Ended::Hook));
            }
            ProbeKind::ALL.into_iter().find(exec).map(|kind| (id, Ended::Exec(kind)))
        });
        let Some((id, ended)) = found else { return false };
        match ended {
            Ended::First => {
                // Whether it ever was its program is to be known before its end.
                self.note_execution(id);
                if let Some(body) = self.body_mut(id) {
                    body.first = None;
                }
                self.at_place(id, |host, place| host.tell_exited(place, status));
            }
            Ended::Lifecycle => self.note_call_ended(id, status),
            Ended::Exec(kind) => self.note_exec_ended(id, kind, status),
            Ended::Hook => self.note_hook_ended(id, status),
        }
        true
    }

    /// Before its removal: the cgroup knows whether the OOM killer came.
    fn tell_exited(&mut self, place: &Place<'_>, status: ExitStatus) {
        let oom_killed = self.cgroups.had_oom_kill(&place.pod.name, &place.container.name);
        self.tell_message(place);
        self.tell(place.id, ContainerEvent::Exited(Exit { status, oom_killed }));
    }

    pub(super) fn is_create_under_way(&self) -> bool {
        self.bodies.iter().any(|body| matches!(body.lifecycle, Some((Step::Create, _))))
    }

    /// The first process has ended and will be reaped; until then its descriptor would wake us.
    pub(super) fn unwatch_first_process(&mut self, id: ContainerId) {
        if let Some(first) = self.body_mut(id).and_then(|body| body.first.as_mut()) {
            first.pidfd = None;
        }
    }

    fn note_call_ended(&mut self, id: ContainerId, status: ExitStatus) {
        let Some((step, call)) = self.body_mut(id).and_then(|body| body.lifecycle.take()) else { return };
        let said = call.into_said();
        self.at_place(id, |host, place| {
            if host.body(id).is_some_and(|body| body.removing) {
                return host.go_on_removing_after(place, step, status, &said);
            }
            match step {
                Step::Identify => host.note_identified(place, status, &said),
                Step::Create => host.note_created(place, status, &said),
                Step::Start => host.note_started(place, status, &said),
                Step::Delete => {}
            }
        });
        if !self.is_create_under_way() {
            self.strangers.clear();
        }
    }
}

enum Ended {
    First,
    Lifecycle,
    Exec(ProbeKind),
    Hook,
}

/// The end of a runtime's log.
pub(super) fn read_log(path: &std::path::Path) -> String {
    use std::io::{Read, Seek, SeekFrom};
    const BYTES_MAX: i64 = 4096;
    let Ok(mut file) = fs::File::open(path) else { return String::new() };
    if file.seek(SeekFrom::End(-BYTES_MAX)).is_err() {
        // It is shorter than that: from its beginning.
        let _ = file.seek(SeekFrom::Start(0));
    }
    let mut bytes = Vec::new();
    let _ = file.take(BYTES_MAX.unsigned_abs()).read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Kind and number of each device node, as it is at this moment.
fn devices(rootfs: &Rootfs) -> Result<Vec<DeviceNumber>, String> {
    let find = |device: &crate::config::plan::Device| {
        let failed = |reason: String| format!("cannot give device `{}`: {reason}", device.path.display());
        let meta = fs::metadata(&device.path).map_err(|error| failed(super::reason(&error)))?;
        let kind = meta.file_type();
        let kind = match (kind.is_char_device(), kind.is_block_device()) {
            (true, _) => DeviceKind::Character,
            (_, true) => DeviceKind::Block,
            (false, false) => return Err(failed("it is no device".to_owned())),
        };
        let number = |part: u64| u32::try_from(part).unwrap_or(u32::MAX);
        let (major, minor) = (nix::sys::stat::major(meta.rdev()), nix::sys::stat::minor(meta.rdev()));
        Ok(DeviceNumber { kind, major: number(major), minor: number(minor) })
    };
    rootfs.devices.iter().map(find).collect()
}

/// Whether `pid` is a child that we can wait for: as subreaper we are the parent of what the
/// runtime leaves behind.
fn is_our_child(pid: Pid) -> bool {
    use nix::sys::wait::{Id, WaitPidFlag, waitid};
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    !matches!(waitid(Id::Pid(pid), flags), Err(nix::errno::Errno::ECHILD))
}
