//! Effects: every system call of the supervisor.
//!
//! [`Host`] performs actions and reports events. It decides nothing, keeps only what is needed to
//! perform, and waits nowhere but in [`Host::wait`].

pub mod call;
pub mod capacity;
pub mod cgroup;
pub mod cgroup_layout;
pub mod cgroup_limits;
pub mod chance;
pub mod clock;
pub mod console;
pub mod container;
pub mod container_path;
pub mod crash;
pub mod delegation;
pub mod descendants;
pub mod file_systems;
pub mod hooks;
pub mod host_process;
pub mod initramfs;
pub mod job;
pub mod kept_state;
pub mod kernel_modules;
pub mod kmsg;
pub mod log_sink;
pub mod log_socket;
pub mod log_writer;
pub mod machine_settings;
pub mod mount_options;
pub mod mount_table;
pub mod mounts;
pub mod network_namespace;
pub mod network_probe;
pub mod notify;
pub mod notify_socket;
pub mod oom_score;
pub mod output;
pub mod pid1;
pub mod pidfd;
pub mod power;
pub mod prober;
pub mod reactor;
pub mod reap;
pub mod regular_file;
pub mod removal;
pub mod rescue;
pub mod runtime;
pub mod signals;
pub mod sources;
pub mod spawn;
pub mod standard_streams;
pub mod state_directory;
pub mod termination_message;
pub mod unmount;
pub mod volumes;
pub mod watchdog;

use std::collections::VecDeque;
use std::ffi::CString;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::rc::Rc;

use heapless::HistoryBuffer;
use nix::errno::Errno;
use nix::sys::prctl;
use nix::unistd::{Pid, pipe2};

use self::call::Process;
use self::cgroup::Tree;
use self::clock::Timer;
use self::container::Body;
use self::kept_state::KeptState;
use self::network_namespace::NetworkNamespace;
use self::oom_score::OomScore;
use self::output::Output;
use self::pid1::FirstProcess;
use self::reactor::{BATCH, Interest, Reactor, Token};
use self::signals::{Request, Signals};
use self::spawn::Spawner;
use self::state_directory::StateDirectory;
use crate::config::admission;
use crate::config::plan::{CgroupPolicy, Image, LogDestination, Network, Plan, PodId, Resources};
use crate::log::message::Destination;
use crate::log::terminal::Names;
use crate::oci::command::Runtime;
use crate::supervisor::action::Action;
use crate::supervisor::event::Event;
use crate::supervisor::record::{ExitStatus, failure};
use crate::supervisor::report::Severity;
use crate::time::Instant;

use core::time::Duration;

/// Pause before a log writer that ended by itself is started again.
const LOG_WRITER_RETRY: Duration = Duration::from_secs(1);

/// How long the end waits for the log writer to write what is left.
const LOG_WRITER_END: Duration = Duration::from_secs(5);

/// Ended children that are remembered although nobody knew them: one of them may turn out to be
/// the first process of a container whose `create` has not returned yet. Only filled while one
/// is under way.
const STRANGERS_MAX: usize = 256;

/// This machine, as far as a supervisor needs it.
pub struct Host {
    plan: Rc<Plan>,
    reactor: Reactor,
    signals: Signals,
    timer: Timer,
    state: StateDirectory,
    kept: KeptState,
    cgroups: Tree,
    runtime: Option<Runtime>,
    spawner: Spawner,
    oom_score: OomScore,
    /// Linux 5.12: a bind mount can be made read-only with all that is mounted below it.
    has_mount_setattr: bool,
    output: Output,
    log_writer: Option<Process>,
    log_writer_retry_at: Option<Instant>,
    /// When the next of the probes connects again whose connection was refused.
    probes_again_at: Option<Instant>,
    /// One for each container of the plan.
    bodies: Box<[Body]>,
    /// One for each pod of the plan.
    networks: Box<[Option<NetworkNamespace>]>,
    strangers: HistoryBuffer<(Pid, ExitStatus), STRANGERS_MAX>,
    /// What has happened and was not taken yet: what one turn can bring.
    events: VecDeque<Event>,
    /// More children may have ended than one turn reaps.
    reap_again: bool,
    /// SIGHUP has come, and was not taken yet.
    reload_requested: bool,
    /// The log writer is meant to end.
    closing: bool,
    /// What we have as the first process of the machine.
    first: Option<FirstProcess>,
}

impl Host {
    /// Prepares everything that does not belong to a pod. In the error: what is wrong with this
    /// machine, and what to do. Nothing of it is left behind then.
    pub fn open(plan: Rc<Plan>, signals: Signals) -> Result<Host, String> {
        let simple = |what: &str| {
            let what = what.to_owned();
            move |errno: Errno| format!("cannot {what}: {}", errno.desc())
        };
        prctl::set_child_subreaper(true).map_err(simple("become a child subreaper"))?;
        let reactor = Reactor::new().map_err(simple("make an epoll set"))?;
        let timer = Timer::new().map_err(simple("make a timer"))?;
        let mut state = StateDirectory::lock(&plan.machine.state_directory)?;
        let logs = state.logs();
        let destination = match plan.machine.log_destination {
            LogDestination::Terminal => Destination::Terminal,
            LogDestination::Files => Destination::Files(&logs),
        };
        let containers = plan.containers.iter().filter_map(|container| {
            Some((plan.pods.get(container.pod.index())?.name.as_str(), container.name.as_str()))
        });
        let output = Output::new(destination, Names::new(containers));
        let machine = &plan.machine;
        let tree = Tree::open(machine.cgroup_root.as_deref(), !machine.single_process_oom_kill);
        let opened = tree.and_then(|tree| {
            let (kept, said) = KeptState::read(&state, &plan);
            state.remove_leftovers(&kept.survivors(&plan))?;
            let output = output.map_err(|error| format!("cannot make the log pipes: {}", reason(&error)))?;
            Ok((tree, output, kept, said))
        });
        let (cgroups, output, kept, said) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                state.release();
                return Err(error);
            }
        };
        let (oom_score, unprotected) = OomScore::protect();
        let mut host = Host {
            reactor,
            signals,
            timer,
            cgroups,
            state,
            kept,
            runtime: None,
            spawner: Spawner::prepare(),
            oom_score,
            has_mount_setattr: kernel_version() >= (5, 12),
            output,
            log_writer: None,
            log_writer_retry_at: None,
            probes_again_at: None,
            bodies: plan.containers.iter().map(|_| Body::default()).collect(),
            networks: plan.pods.iter().map(|_| None).collect(),
            strangers: HistoryBuffer::new(),
            events: VecDeque::new(),
            reap_again: false,
            reload_requested: false,
            closing: false,
            first: None,
            plan,
        };
        match host.prepare() {
            Ok(()) => {
                if let Some(why) = unprotected {
                    host.write_line(Severity::Info, &why);
                }
                said.iter().for_each(|text| host.write_line(Severity::Warning, text));
                Ok(host)
            }
            Err(error) => {
                host.close();
                Err(error)
            }
        }
    }

    fn prepare(&mut self) -> Result<(), String> {
        let watch = |errno: Errno| format!("cannot watch for events: {}", errno.desc());
        self.reactor.add(&self.signals, Token::Signals, Interest::Readable).map_err(watch)?;
        self.reactor.add(&self.timer, Token::Timer, Interest::Readable).map_err(watch)?;
        self.reactor.add(self.cgroups.events(), Token::Cgroups, Interest::Readable).map_err(watch)?;
        self.reactor.add(&self.output, Token::LogWriter, Interest::Readable).map_err(watch)?;
        self.start_log_writer()?;
        self.check_limits()?;
        self.cgroups.protect(admission::requested(&self.plan))
    }

    /// The time now, for decisions.
    pub fn now(&self) -> Instant {
        clock::now()
    }

    /// Does what is wanted. What is known at once to have happened is the next event.
    pub fn perform(&mut self, action: &Action) {
        match *action {
            Action::SetUpPod(id) => {
                let event = match self.set_up_pod(id) {
                    Ok(()) => Event::PodSetUp(id),
                    Err(error) => {
                        // Half of it may be there; what cannot be removed now is found by the
                        // next try, or by the next supervisor. Volumes that were there before
                        // stay: what is in them is counted on.
                        if !self.kept.survives(id) {
                            let _ = self.tear_down_pod(id);
                        }
                        Event::PodSetUpFailed(id, failure(&error))
                    }
                };
                self.events.push_back(event);
            }
            Action::TearDownPod(id) => {
                let event = match self.tear_down_pod(id) {
                    Ok(()) => Event::PodTornDown(id),
                    Err(error) => Event::PodTearDownFailed(id, failure(&error)),
                };
                self.events.push_back(event);
            }
            Action::Container(id, instance, action) => self.perform_on_container(id, instance, action),
            // Worded by who has the records: see `run.rs`.
            Action::Report(_) => {}
        }
    }

    /// From now on this is the first process of the machine: the watchdog is fed here, and what is
    /// said goes to the kernel's log as well.
    pub fn become_first_process(&mut self, first: FirstProcess) {
        self.first = Some(first);
    }

    /// Says a line in the supervisor's name. Never waits: see `output.rs`.
    pub fn write_line(&mut self, severity: Severity, text: &str) {
        self.output.write_line(severity, text);
        if let Some(first) = &self.first {
            first.note(severity, text);
        }
    }

    /// Whether something has happened that was not taken yet.
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// Whether a reload was asked for since the last call.
    pub fn take_reload_request(&mut self) -> bool {
        core::mem::take(&mut self.reload_requested)
    }

    /// What has happened. `None`: nothing more.
    pub fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Waits until something happens or `deadline` comes. The only place that waits.
    ///
    /// Here the watchdog is fed, as long as `well`: the loop has come round, and the pods that
    /// matter are what they should be.
    pub fn wait(&mut self, deadline: Option<Instant>, well: bool) {
        let mut feed_at = None;
        if let Some(first) = self.first.as_mut().filter(|_| well) {
            first.tick();
            feed_at = first.next_tick();
        }
        if !self.events.is_empty() {
            return;
        }
        let deadline =
            [deadline, self.log_writer_retry_at, self.probes_again_at, feed_at].into_iter().flatten().min();
        let deadline = if self.reap_again { Some(Instant::ZERO) } else { deadline };
        if let Err(errno) = self.timer.arm(deadline) {
            // Cannot happen with a time that is valid; without a timer, waiting could be for ever.
            self.write_line(Severity::Error, &format!("cannot arm the timer: {}; going on", errno.desc()));
            return;
        }
        let mut tokens = heapless::Vec::<Token, BATCH>::new();
        self.reactor.wait(|token| {
            // As many as one wait returns fit; one that did not would be reported again.
            let _ = tokens.push(token);
        });
        self.reap_again = false;
        for token in tokens {
            match token {
                Token::Signals => self.take_signals(),
                Token::Timer => self.timer.acknowledge(),
                Token::Cgroups => self.look_for_empty_cgroups(),
                Token::LogWriter => {
                    self.output.handle_events();
                    self.tell_last_lines();
                }
                Token::FirstProcess(id) => {
                    // Ended, and to be reaped below; its descriptor stays readable until then.
                    self.unwatch_first_process(id);
                }
                Token::Execution(id) => self.note_execution(id),
                Token::Probe(id, kind) => self.advance_probe(id, kind),
                Token::Notices(id) => self.read_notices(id),
                Token::Hook(id) => self.advance_hook(id),
                Token::CallOutput(id, slot) => self.read_call_output(id, slot),
            }
        }
        // In every turn, not only after SIGCHLD: that may be seen one turn later than the end, and
        // a deadline must not overtake it.
        self.reap();
        self.connect_probes_again();
        self.restart_log_writer();
    }

    /// Ends: writes what is left to write, removes what we made for ourselves. In the error: what
    /// is left behind. What the first process of a machine has is given back.
    pub fn close(mut self) -> (Vec<String>, Option<FirstProcess>) {
        let mut left = Vec::new();
        self.closing = true;
        self.output.detach();
        self.log_writer_retry_at = None;
        self.wait_for_log_writer(LOG_WRITER_END);
        if let Some(log_writer) = &self.log_writer {
            log_writer.signal(nix::sys::signal::Signal::SIGKILL);
            left.push("log lines that nobody read: the log writer was killed after 5 s".to_owned());
            // It must be out of our cgroup before that can be removed.
            self.wait_for_log_writer(LOG_WRITER_END);
        }
        left.extend(self.cgroups.close().err());
        // A rescue shell is not to have it.
        self.oom_score.give_back();
        self.state.release();
        (left, self.first)
    }
}

impl Host {
    /// Only at the end, when there is nothing else to wait for.
    fn wait_for_log_writer(&mut self, patience: Duration) {
        let deadline = self.now().after(patience);
        while self.log_writer.is_some() && self.now() < deadline {
            // Requests to stop have come true already; what is asked now changes nothing.
            self.wait(Some(deadline), true);
            self.events.clear();
        }
    }
}

// Pods.
impl Host {
    fn set_up_pod(&mut self, id: PodId) -> Result<(), String> {
        let plan = Rc::clone(&self.plan);
        let Some(pod) = plan.pods.get(id.index()) else { return Ok(()) };
        self.cgroups.make_pod(&pod.name, &pod.resources)?;
        if !self.kept.survives(id) {
            volumes::make(pod, &self.state.pod(&pod.name))?;
        }
        let containers = plan.containers.get(pod.containers()).unwrap_or_default();
        termination_message::make(containers, &self.state.pod(&pod.name))?;
        let isolated = containers.iter().any(
            |container| matches!(&container.image, Image::Rootfs(rootfs) if rootfs.network == Network::None),
        );
        if let Some(network) = self.networks.get_mut(id.index()) {
            if isolated && network.is_none() {
                *network = Some(NetworkNamespace::make()?);
            }
        }
        self.kept.forget_survivor(id);
        Ok(())
    }

    fn tear_down_pod(&mut self, id: PodId) -> Result<(), String> {
        let plan = Rc::clone(&self.plan);
        let Some(pod) = plan.pods.get(id.index()) else { return Ok(()) };
        if let Some(network) = self.networks.get_mut(id.index()) {
            *network = None;
        }
        self.kept.forget_survivor(id);
        termination_message::remove(&self.state.pod(&pod.name))?;
        volumes::remove(pod, &self.state.pod(&pod.name))?;
        self.cgroups.remove_pod(&pod.name)
    }

    /// Refuses, or warns of, limits that this host cannot enforce.
    fn check_limits(&mut self) -> Result<(), String> {
        let plan = Rc::clone(&self.plan);
        let mut missing = Vec::new();
        let mut look = |name: String, resources: &Resources| {
            for controller in self.cgroups.missing(resources) {
                missing.push(format!("`{name}` needs the cgroup controller `{}`", controller.name()));
            }
        };
        for pod in &plan.pods {
            look(pod.name.clone(), &pod.resources);
            for container in plan.containers.get(pod.containers()).unwrap_or_default() {
                look(format!("{}/{}", pod.name, container.name), &container.resources);
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let missing = missing.join(", ");
        match plan.machine.cgroups {
            CgroupPolicy::Required => Err(format!(
                "cannot enforce the configured resources: {missing}, which this host does not offer; enable it, \
                 or write `cgroups = \"best-effort\"` in the machine file to run without"
            )),
            CgroupPolicy::BestEffort => {
                let text = format!("{missing}, which this host does not offer; running without that");
                self.write_line(Severity::Warning, &text);
                Ok(())
            }
        }
    }
}

// Signals and children.
impl Host {
    fn take_signals(&mut self) {
        let mut stop = None;
        let mut at_once = false;
        for request in self.signals.take() {
            match request {
                Request::Stop(goal) => stop = Some(goal),
                Request::StopAtOnce(goal) => (stop, at_once) = (Some(goal), true),
                Request::Reload => self.reload_requested = true,
                Request::Reap | Request::Ignore => {}
            }
        }
        // Several at once (systemd sends SIGHUP beside SIGTERM) are one request, not a second.
        if let Some(goal) = stop {
            self.events.push_back(Event::StopRequested(goal));
            if at_once {
                self.events.push_back(Event::StopRequested(goal));
            }
        }
    }

    fn reap(&mut self) {
        for _ in 0..reap::REAPS_MAX {
            let Some((pid, status)) = reap::next() else { return };
            if self.log_writer.as_ref().is_some_and(|log_writer| log_writer.pid == pid) {
                self.note_log_writer_ended(status);
            } else if !self.note_container_process_ended(pid, status) && self.is_create_under_way() {
                self.strangers.write((pid, status));
            }
        }
        self.reap_again = true;
    }
}

// The log writer.
impl Host {
    fn start_log_writer(&mut self) -> Result<(), String> {
        let failed = |errno: Errno| format!("cannot start the log writer: {}", errno.desc());
        let (ours, theirs) = log_socket::pair().map_err(failed)?;
        let (_read, write) = pipe2(nix::fcntl::OFlag::O_CLOEXEC).map_err(failed)?;
        let (stdout, stderr) = (io::stdout(), io::stderr());
        let command = spawn::Command {
            program: CString::from(c"/proc/self/exe"),
            args: vec![c"outrigger".into(), c"log-writer".into()],
            env: output_environment(),
            stdio: [theirs.as_fd(), stdout.as_fd(), stderr.as_fd()],
            exec_error: write.as_fd(),
            user: None,
            working_directory: None,
            cgroup: None,
            further_procs: &[],
            unified_view: false,
            terminal: false,
            // As little as we: without it the pipes of all containers fill up.
            oom_score_adj: None,
        };
        let process = spawn::spawn(&command, &mut self.spawner).map_err(failed)?;
        self.log_writer = Some(process.into());
        self.output.attach(ours).map_err(|error| format!("cannot start the log writer: {}", reason(&error)))
    }

    fn note_log_writer_ended(&mut self, status: ExitStatus) {
        self.log_writer = None;
        if self.closing {
            return;
        }
        self.log_writer_retry_at = Some(self.now().after(LOG_WRITER_RETRY));
        let how = call::describe_status(status);
        self.output.detach();
        let text =
            format!("the log writer ended: {how}; starting another in 1 s, what is in the pipes is kept");
        self.write_line(Severity::Error, &text);
    }

    fn restart_log_writer(&mut self) {
        let Some(at) = self.log_writer_retry_at.filter(|&at| at <= self.now()) else { return };
        self.log_writer_retry_at = None;
        if self.start_log_writer().is_err() {
            self.log_writer_retry_at = Some(at.max(self.now()).after(LOG_WRITER_RETRY));
        }
    }
}

/// What the log writer needs to know of a terminal or the journal.
fn output_environment() -> Vec<CString> {
    let names = ["TERM", "NO_COLOR", "JOURNAL_STREAM"];
    let variables = names.iter().filter_map(|name| Some(format!("{name}={}", std::env::var(name).ok()?)));
    variables.filter_map(|variable| CString::new(variable).ok()).collect()
}

/// The reason of a failed system call in the system's words, without its number.
pub fn reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => Errno::from_raw(number).desc().to_owned(),
        None => error.to_string(),
    }
}

/// The first two numbers of the kernel's version (uname(2)).
fn kernel_version() -> (u32, u32) {
    let Ok(name) = nix::sys::utsname::uname() else { return (0, 0) };
    let release = name.release().to_string_lossy();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// A path as text for command lines. Ours are made of checked names below a configured one.
fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
