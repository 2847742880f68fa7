//! The checked configuration: what will be run. It can only be built from files without a
//! mistake (`check.rs`), so nothing here needs to be checked again.
//!
//! Containers of all pods stand in one table. A pod's containers are one run of it: init
//! containers first, in the order of the file, then the main containers. Ids are positions in
//! these tables; they are only made here, for the plan that they belong to.

use core::net::IpAddr;
use core::ops::Range;
use core::time::Duration;
use std::path::PathBuf;

use super::signal::StopSignal;

/// Position of a pod in [`Plan::pods`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodId(pub u8);

impl PodId {
    /// The position as a number that slices take.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// Position of a container in [`Plan::containers`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerId(pub u16);

impl ContainerId {
    /// The position as a number that slices take.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// Everything that is to be run on this machine.
#[derive(Clone, Debug, PartialEq, Hash)]
pub struct Plan {
    /// What holds for all pods.
    pub machine: Machine,
    /// What the machine has: as the machine file says, else as it was found.
    pub capacity: Capacity,
    /// At most `PODS_MAX`, in an order in which each pod stands behind those it is `after`.
    pub pods: Vec<Pod>,
    /// At most `CONTAINERS_MAX`, pod by pod.
    pub containers: Vec<Container>,
}

/// What the machine file says.
#[derive(Clone, Debug, PartialEq, Hash)]
pub struct Machine {
    /// The OCI runtime: a name to look up in PATH or an absolute path. `None`: the first of
    /// `crun`, `runc` that PATH has.
    pub runtime: Option<String>,
    /// How long one call of the runtime may take.
    pub runtime_timeout: Duration,
    /// Our cgroup in every hierarchy, absolute from the hierarchy's root, without a closing slash.
    /// `None`: the one that a service manager has delegated to us, else `/outrigger`.
    pub cgroup_root: Option<String>,
    /// What to do about limits that this host's cgroups cannot enforce.
    pub cgroups: CgroupPolicy,
    /// Where everything lives that a running pod needs and a reboot may forget.
    pub state_directory: PathBuf,
    /// Where the containers' output goes.
    pub log_destination: LogDestination,
    /// Pod files, and directories of such, that are run where none is named.
    pub pods: Vec<PathBuf>,
    /// How long all pods together may take to stop when the machine is to go down.
    pub shutdown_timeout: Duration,
    /// What the first process of the machine prepares before any pod.
    pub boot: Boot,
    /// How many containers may be being created or started at one time. `None`: any number.
    pub start_spread: Option<usize>,
    /// What it mounts, in this order.
    pub file_systems: Vec<FileSystem>,
    /// The hardware watchdog, if it is to be used.
    pub watchdog: Option<Watchdog>,
    /// The command of the rescue shell. `None`: this machine has no such thing.
    pub rescue: Option<Vec<String>>,
    /// What it has, where the file says so.
    pub capacity: Capacity,
    /// What of it is not for pods: the kernel's, the supervisor's, that of other services.
    pub reserved: Capacity,
    /// Whether the OOM killer takes one process of a container, not all of them together.
    pub single_process_oom_kill: bool,
}

/// Amounts of what a machine has; `None` where nothing is known or said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Capacity {
    /// Bytes.
    pub memory: Option<u64>,
    /// Thousandths of a CPU.
    pub cpu_millis: Option<u64>,
}

/// What the first process of the machine prepares before any pod.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Boot {
    /// The machine's host name; `None`: as the kernel has it.
    pub hostname: Option<String>,
    /// Kernel modules in the order in which they are loaded: a name or an absolute path, then
    /// options, separated by blanks.
    pub modules: Vec<String>,
    /// Kernel settings by name (`net.ipv4.ip_forward`), in the order of the file.
    pub sysctls: Vec<(String, String)>,
    /// What to do when the pods cannot be run at all.
    pub on_failure: BootFailure,
    /// How long the message about that stands on the console before the machine is rebooted.
    pub failure_delay: Duration,
}

/// What to do when the pods cannot be run at all: a broken configuration, a file system that is
/// needed and cannot be mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BootFailure {
    /// Reboot.
    Reboot,
    /// A rescue shell on the console, and reboot when it ends.
    Rescue,
}

/// A file system that is mounted at boot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FileSystem {
    /// The device, or what else its type takes for a source (`tmpfs`, `ubi0:data`).
    pub source: String,
    /// Where it is mounted; absolute and not the root.
    pub path: String,
    /// Its type, `ext4`.
    pub kind: String,
    /// Options of mount(8), flags and the type's own.
    pub options: Vec<String>,
    /// The command that checks it before; the source is its last argument.
    pub fsck: Option<Vec<String>>,
    /// Whether the machine can do without.
    pub optional: bool,
    /// For waiting until its device is there, the check and the mount together.
    pub timeout: Duration,
}

/// The hardware watchdog.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Watchdog {
    /// Its device node.
    pub device: PathBuf,
    /// After so long without being fed it resets the machine. At least 2 s.
    pub timeout: Duration,
    /// It is fed no longer when an essential pod has not been ready for so long. `None`: pods do
    /// not matter to it.
    pub unready_limit: Option<Duration>,
}

/// What to do about limits that this host's cgroups cannot enforce.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CgroupPolicy {
    /// Nothing is started; the error names container and controller.
    Required,
    /// All is started; a warning names them.
    BestEffort,
}

/// Where the containers' output goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LogDestination {
    /// To our own standard output and error, each line with the container's name before it.
    Terminal,
    /// To files in the CRI log format, `<state-directory>/logs/<pod>/<container>/<restart>.log`.
    Files,
}

/// A group of containers that start, live and stop together.
#[derive(Clone, Debug, PartialEq, Hash)]
pub struct Pod {
    /// RFC 1123 label, unique in the plan.
    pub name: String,
    /// What happens to a main or init container that ended and has no policy of its own.
    pub restart_policy: RestartPolicy,
    /// Time from the first stop signal of the pod to the last SIGKILL; shared by its containers.
    pub termination_grace_period: Duration,
    /// How long to wait between restarts.
    pub restart_backoff: Backoff,
    /// Whether a sidecar that ends by itself while the pod stops is started again.
    pub restart_sidecars_during_termination: bool,
    /// How long it may be up in all; `None`: for ever. Counts from its first set-up.
    pub active_deadline: Option<Duration>,
    /// Pods that must be ready or have succeeded before this one starts. All of them stand
    /// before this one in the plan.
    pub after: Vec<PodId>,
    /// Directories that containers of the pod can share. Names are unique in the pod.
    pub volumes: Vec<Volume>,
    /// Init containers (regular and sidecars) in the order of the file.
    pub init_containers: Range<u16>,
    /// Main containers in the order of the file; never empty.
    pub main_containers: Range<u16>,
    /// What the whole pod may use: its own `resources` where given, else the sidecar formula
    /// over its containers (Kubernetes, effective pod requests and limits), and its overhead. A
    /// limit is only here where it can be enforced: the pod's own, or one of every container.
    pub resources: Resources,
    /// What it needs beside its containers; contained in `resources`.
    pub overhead: Requests,
    /// How well it is protected when memory runs out.
    pub qos_class: QosClass,
    /// Whether the machine is not what it should be without this pod.
    pub essential: bool,
    /// What follows when it has failed for good. `Nothing` unless it is essential.
    pub on_failure: OnFailure,
    /// How often something is tried before. `None` unless it is essential.
    pub escalation: Option<Escalation>,
}

/// How well a pod is protected when memory runs out (Kubernetes `qosClass`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QosClass {
    /// It has requested all that it may use.
    Guaranteed,
    /// It may use more than it has requested.
    Burstable,
    /// It has requested nothing and has no limit.
    BestEffort,
}

/// How often an essential pod helps itself, within a window of time that ends now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Escalation {
    /// More restarts of its containers, all of them together, fail the pod: 0 to
    /// `ESCALATION_RESTARTS_MAX`. `None`: no number of them does.
    pub container_restarts: Option<usize>,
    /// So often it is started anew when it has failed; then `on_failure` follows. 1 to
    /// `ESCALATION_RESTARTS_MAX`. `None`: that follows at once.
    pub pod_restarts: Option<usize>,
    /// How far back both are counted.
    pub window: Duration,
}

/// What follows when a pod has failed for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OnFailure {
    /// Nothing; it stays failed.
    Nothing,
    /// The pod is started anew, with the pauses of its restart back-off.
    Restart,
    /// All pods are stopped and the machine is rebooted.
    Reboot,
    /// All pods are stopped and the rescue shell is started.
    Rescue,
}

impl Pod {
    /// All its containers, in start order.
    pub fn containers(&self) -> Range<usize> {
        usize::from(self.init_containers.start)..usize::from(self.main_containers.end)
    }
}

/// What happens to a container that ended (Kubernetes `restartPolicy`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RestartPolicy {
    /// It is started again, whatever its exit code.
    Always,
    /// It is started again unless its exit code was 0.
    OnFailure,
    /// It stays as it ended.
    Never,
}

/// Growing pauses between restarts: none before the first, then `initial`, doubling up to `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Backoff {
    /// The pause before the second restart. Kubernetes: 10 s.
    pub initial: Duration,
    /// The longest pause. Kubernetes: 300 s.
    pub max: Duration,
    /// A container that ran longer than this begins anew without a pause. Kubernetes: 600 s.
    pub reset: Duration,
    /// By how much a pause may be longer by chance, in thousandths of it: 0 to 1000. Kubernetes: 0.
    pub jitter: u16,
}

/// A directory that lives as long as the pod, or comes from the host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Volume {
    /// RFC 1123 label, unique in the pod.
    pub name: String,
    /// Where its content lives.
    pub source: VolumeSource,
}

/// Where the content of a volume lives.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum VolumeSource {
    /// A tmpfs of at most this many bytes, empty when the pod starts.
    Memory {
        /// From 1.
        bytes: u64,
    },
    /// A tmpfs bounded only by the kernel (half of the memory), empty when the pod starts.
    Empty,
    /// An existing directory or file of the host (absolute path).
    HostPath(PathBuf),
}

/// One container.
#[derive(Clone, Debug, PartialEq, Hash)]
pub struct Container {
    /// RFC 1123 label, unique in the pod (init and main containers together).
    pub name: String,
    /// The pod that it belongs to.
    pub pod: PodId,
    /// Its part in the pod's lifecycle.
    pub role: Role,
    /// What it is made from.
    pub image: Image,
    /// What it may use; nothing where nothing was said.
    pub resources: Resources,
    /// How its health is found out. All `None` for regular init containers.
    pub probes: Probes,
    /// What it leaves as its last words.
    pub termination_message: TerminationMessage,
    /// What happens when it has ended; `None`: what its pod's policy says. `Always` for a sidecar.
    pub restart_policy: Option<RestartPolicy>,
    /// Rules that are asked before, in this order; the first that matches decides. Empty without a
    /// policy of its own. At most `RESTART_RULES_MAX`.
    pub restart_policy_rules: Vec<RestartRule>,
    /// What is done beside its own command. Both `None` for regular init containers.
    pub hooks: Hooks,
    /// What asks it to end.
    pub stop_signal: StopSignal,
    /// Its own time from being told to stop to SIGKILL, not counting what it waits for its turn.
    /// `None`: its pod's. When the pod is stopped, the pod's ends it if that is earlier.
    pub termination_grace_period: Option<Duration>,
}

/// Where the last words of a container come from (Kubernetes `terminationMessagePath`,
/// `terminationMessagePolicy`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TerminationMessage {
    /// Absolute path of the file inside the container that it writes them to. `None`: it has no
    /// such file; so it is with host processes, and with bundles that do not ask for one.
    pub path: Option<String>,
    /// What else may be taken.
    pub policy: TerminationMessagePolicy,
}

/// What is taken as termination message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TerminationMessagePolicy {
    /// What is in the file.
    #[default]
    File,
    /// If there is nothing in the file and the container has failed: the end of its log.
    FallbackToLogsOnError,
}

/// What happens to a container that ended by itself with certain exit codes (Kubernetes
/// `restartPolicyRules`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RestartRule {
    /// What happens.
    pub action: RestartAction,
    /// How the exit code is compared with `values`.
    pub operator: Operator,
    /// Exit codes, as a shell counts them: 128 + n for signal n. At most `EXIT_CODES_MAX`.
    pub values: Vec<u8>,
}

impl RestartRule {
    /// Whether an exit code is one that the rule is for.
    pub fn matches(&self, code: u8) -> bool {
        match self.operator {
            Operator::In => self.values.contains(&code),
            Operator::NotIn => !self.values.contains(&code),
        }
    }
}

/// What a [`RestartRule`] leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RestartAction {
    /// The container is started again.
    Restart,
    /// All containers of its pod are stopped at once and started again, from the first init
    /// container on.
    RestartAllContainers,
}

/// How a [`RestartRule`] compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operator {
    /// The exit code is one of the values. An empty list matches nothing.
    In,
    /// The exit code is none of the values. An empty list matches everything.
    NotIn,
}

/// The part of a container in the pod's lifecycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// An init container that must end with 0 before anything later starts.
    Init,
    /// An init container with `restart-policy = "always"`: starts in its turn, then runs beside.
    Sidecar,
    /// An entry of `containers`.
    Main,
}

/// What a container is made from.
#[derive(Clone, Debug, PartialEq, Hash)]
pub enum Image {
    /// A ready OCI bundle directory; its `config.json` is used as it is, except for the cgroup.
    Bundle(PathBuf),
    /// A root file system; `config.json` is generated from the rest.
    Rootfs(Box<Rootfs>),
    /// A program of the host, run as it is: no runtime, no namespaces, the host's root file system
    /// and network.
    HostProcess(Box<HostProcess>),
}

/// A container described in the pod file.
#[derive(Clone, Debug, PartialEq, Hash)]
pub struct Rootfs {
    /// Absolute path of the root file system on the host.
    pub path: PathBuf,
    /// Whether the container may not write to it. True unless the file says otherwise.
    pub read_only: bool,
    /// The command and its arguments, `$(NAME)` already replaced; never empty.
    pub args: Vec<String>,
    /// The environment in the order of the file; has `PATH` unless the file sets it.
    pub env: Vec<(String, String)>,
    /// Absolute path inside the container.
    pub working_directory: String,
    /// Who the command runs as.
    pub user: User,
    /// Volumes inside the container.
    pub mounts: Vec<Mount>,
    /// The complete set of capabilities, with the prefix `CAP_`, sorted.
    pub capabilities: Vec<String>,
    /// Device nodes of the host that the container gets.
    pub devices: Vec<Device>,
    /// The container's host name.
    pub hostname: String,
    /// Which network it sees.
    pub network: Network,
}

/// A program of the host in a cgroup of its own.
#[derive(Clone, Debug, PartialEq, Hash)]
pub struct HostProcess {
    /// The command and its arguments, `$(NAME)` already replaced; never empty. The first is an
    /// absolute path, or a name to be looked up in the `PATH` of `env`.
    pub args: Vec<String>,
    /// The whole environment in the order of the file; has `PATH` unless the file sets it.
    pub env: Vec<(String, String)>,
    /// Absolute path on the host.
    pub working_directory: String,
    /// Who the command runs as, without supplementary groups.
    pub user: User,
}

/// User and groups, as numbers: names would need the container's own files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
}

/// A volume inside a container.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mount {
    /// Position in [`Pod::volumes`].
    pub volume: usize,
    /// Absolute path inside the container.
    pub path: String,
    /// Whether the container may only read it.
    pub read_only: bool,
}

/// A device node of the host, given to a container.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Device {
    /// Absolute path on the host; may be missing until the container starts.
    pub path: PathBuf,
    /// Absolute path inside the container.
    pub container_path: String,
    /// What the container may do: a non-empty subset of `rwm` (read, write, make the node).
    pub permissions: String,
}

/// Which network a container sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Network {
    /// The host's.
    Host,
    /// One of the pod's own, with nothing but a loopback interface.
    None,
}

/// Requests (what it should have) and limits (what it may not pass).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Resources {
    /// What the kernel should leave to it under pressure.
    pub requests: Requests,
    /// What the kernel refuses to give beyond.
    pub limits: Limits,
}

/// What the kernel should leave to a container or pod under pressure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Requests {
    /// Bytes of memory that are reclaimed last.
    pub memory: Option<u64>,
    /// Thousandths of a CPU; the share under contention.
    pub cpu_millis: Option<u64>,
}

/// What the kernel refuses to give beyond.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Limits {
    /// Bytes of memory; beyond it the OOM killer comes.
    pub memory: Option<u64>,
    /// Thousandths of a CPU.
    pub cpu_millis: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
}

/// The probes of one container, at most one of each kind.
#[derive(Clone, Debug, Default, PartialEq, Hash)]
pub struct Probes {
    /// Until it has succeeded once, nothing later starts and the other two do not run.
    pub startup: Option<Probe>,
    /// When it fails the container is restarted.
    pub liveness: Option<Probe>,
    /// Decides whether the container counts as ready; restarts nothing.
    pub readiness: Option<Probe>,
    /// Whether it says itself that it has started, and is well.
    pub notify: Option<Notify>,
}

/// A container that speaks for itself (sd_notify(3)): it has not started before it says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Notify {
    /// After which silence, once it has started, it is taken for hung. `None`: never.
    pub watchdog_timeout: Option<Duration>,
}

/// How, how often and how patiently a container is asked.
#[derive(Clone, Debug, PartialEq, Hash)]
pub struct Probe {
    /// What is asked.
    pub check: Check,
    /// Pause from the start of the process to the first try. Kubernetes: 0.
    pub initial_delay: Duration,
    /// From one try to the next. Kubernetes: 10 s.
    pub period: Duration,
    /// How long one try may take. Kubernetes: 1 s.
    pub timeout: Duration,
    /// Successes in a row that make it a success. Kubernetes: 1.
    pub success_threshold: u32,
    /// Failures in a row that make it a failure. Kubernetes: 3.
    pub failure_threshold: u32,
    /// The grace period of the stop that follows its failure, instead of the container's and pod's;
    /// may be longer than those. Never in a readiness probe.
    pub termination_grace_period: Option<Duration>,
}

/// What a probe asks.
#[derive(Clone, Debug, PartialEq, Hash)]
pub enum Check {
    /// A command inside the container; exit code 0 is success.
    Exec {
        /// The command and its arguments; never empty.
        command: Vec<String>,
    },
    /// An HTTP GET; a status of 200 to 399 is success.
    HttpGet {
        /// Where to connect. An address and not a name: looking up a name could block.
        host: IpAddr,
        /// 1 to 65535.
        port: u16,
        /// Path and query, beginning with a slash.
        path: String,
        /// Names and values, in the order of the file; replace the default of the same name.
        headers: Vec<(String, String)>,
    },
    /// A TCP connection that is accepted.
    TcpSocket {
        /// Where to connect.
        host: IpAddr,
        /// 1 to 65535.
        port: u16,
    },
    /// A call of `grpc.health.v1.Health/Check` on the loopback address, over plain HTTP/2; the
    /// answer `SERVING` is success.
    Grpc {
        /// 1 to 65535.
        port: u16,
        /// Whose health is asked for; empty for that of the whole server.
        service: String,
    },
    /// A connection to a Unix socket (unix(7), of the kind `SOCK_STREAM`) that is accepted.
    Unix {
        /// Absolute path inside the container; on the host for a host process.
        path: String,
        /// Path and query of an HTTP GET over that connection; a status of 200 to 399 is success.
        http_path: Option<String>,
    },
}

/// What is done beside a container's own command, when it begins and before it ends.
#[derive(Clone, Debug, Default, PartialEq, Hash)]
pub struct Hooks {
    /// Begins when the command runs; the container has started when it has ended well.
    pub post_start: Option<Hook>,
    /// Comes before the stop signal, within the grace period.
    pub pre_stop: Option<Hook>,
}

/// What a hook does.
#[derive(Clone, Debug, PartialEq, Hash)]
pub enum Hook {
    /// Runs a command ([`Check::Exec`]), which fails with another exit code than 0; or makes a
    /// request ([`Check::HttpGet`]), which is done with any HTTP status. No other check.
    Ask(Check),
    /// Nothing, for this time.
    Sleep(Duration),
}
