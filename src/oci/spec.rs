//! The `config.json` of a container that the pod file describes: the OCI runtime specification
//! 1.0.2, of it only what we write. Why each default is as it is: docs/decisions/0003-container-defaults.md.
//!
//! The text is the same for the same plan and facts. What only the system knows comes in as
//! [`Facts`].

use core::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::devices::{device_rules, devices};
use super::mounts::mounts;
use super::notify::{self, Notify};
use super::schema::{Capabilities, Linux, Namespace, Process, Resources, Root, Spec, User};
use crate::config::plan;

/// What only the system knows about a container that is to be made.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The cgroup that the runtime is to make for the container, absolute from the hierarchy's root.
    pub cgroups_path: &'a str,
    /// The device nodes, one for each of [`plan::Rootfs::devices`] and in their order.
    pub devices: &'a [DeviceNumber],
    /// Where the pod's volumes are, one for each of [`plan::Pod::volumes`] and in their order.
    pub volumes: &'a [VolumePath],
    /// A file that is the pod's network namespace; needed where the plan says
    /// [`plan::Network::None`], unused where it says [`plan::Network::Host`].
    pub network_namespace: Option<&'a str>,
    /// Whether the kernel has cgroup namespaces (cgroup_namespaces(7), Linux 4.6) and the runtime
    /// can use them here.
    pub cgroup_namespace: bool,
    /// Whether runtime and kernel know the mount option `rro`
    /// (`Runtime::has_recursive_mount_options`, and Linux 5.12).
    pub recursive_read_only: bool,
    /// Where the container speaks for itself, if it is to.
    pub notify: Option<Notify<'a>>,
    /// The file for the container's last words on the host, and where it is in the container.
    pub termination_message: Option<(&'a Path, &'a str)>,
    /// What the OOM killer is told about it, -1000 to 1000 (proc(5), `oom_score_adj`).
    pub oom_score_adj: i32,
}

/// Where a volume is on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumePath {
    /// Absolute.
    pub path: PathBuf,
    /// Whether it is a directory, as nearly all are; a host path may be a file or a socket.
    pub directory: bool,
}

/// Kind and number of a device node, as stat(2) gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceNumber {
    /// Character or block.
    pub kind: DeviceKind,
    /// The driver.
    pub major: u32,
    /// The device among those of the driver.
    pub minor: u32,
}

/// Kind of a device node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum DeviceKind {
    /// A stream of bytes: a serial port, a GPIO chip.
    #[serde(rename = "c")]
    Character,
    /// A disk or a part of one.
    #[serde(rename = "b")]
    Block,
}

/// The `config.json` of `container`, whose image is `rootfs`.
///
/// # Errors
/// [`SpecError`], if the facts do not fit the plan or a path cannot stand in JSON. Neither
/// happens with a plan from configuration files, which are UTF-8.
pub fn generate(
    container: &plan::Container,
    rootfs: &plan::Rootfs,
    facts: &Facts<'_>,
) -> Result<Vec<u8>, SpecError> {
    let spec = spec(rootfs, facts).map_err(|cause| SpecError { container: container.name.clone(), cause })?;
    to_json(container, &spec)
}

/// The process.json of a `command` that is to run in the container beside its own: the same
/// user, environment, working directory and rights.
///
/// # Errors
/// [`SpecError`], as [`generate`].
pub fn generate_process(
    container: &plan::Container,
    rootfs: &plan::Rootfs,
    command: &[String],
) -> Result<Vec<u8>, SpecError> {
    to_json(container, &process(rootfs, command))
}

fn to_json<T: Serialize>(container: &plan::Container, value: &T) -> Result<Vec<u8>, SpecError> {
    serde_json::to_vec(value).map_err(|error| SpecError {
        container: container.name.clone(),
        cause: SpecCause::Json(error.to_string()),
    })
}

/// Why there is no `config.json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecError {
    /// The container's name.
    pub container: String,
    /// What is wrong.
    pub cause: SpecCause,
}

/// What is wrong with a plan and its facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpecCause {
    /// A path is not UTF-8, JSON's only encoding.
    NotUtf8(PathBuf),
    /// The facts lack something that the plan names.
    Missing(&'static str),
    /// serde_json refused.
    Json(String),
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot write config.json of container `{}`: ", self.container)?;
        match &self.cause {
            SpecCause::NotUtf8(path) => write!(f, "path `{}` is not UTF-8; rename it", path.display()),
            SpecCause::Missing(what) => write!(f, "{what} is not known"),
            SpecCause::Json(error) => f.write_str(error),
        }
    }
}

impl core::error::Error for SpecError {}

/// The first version with everything below; both runtimes accept any 1.x.
const OCI_VERSION: &str = "1.0.2";

/// Files of the kernel that tell about the host or its hardware, or have been a way out of a
/// container. The list that containerd and Docker have; what a kernel lacks is passed over.
const MASKED_PATHS: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// Files of the kernel that change the host when written to; the same list as containerd's.
const READONLY_PATHS: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

fn spec<'a>(rootfs: &'a plan::Rootfs, facts: &Facts<'a>) -> Result<Spec<'a>, SpecCause> {
    if facts.devices.len() != rootfs.devices.len() {
        return Err(SpecCause::Missing("the number of a device"));
    }
    let mut process = Process { oom_score_adj: Some(facts.oom_score_adj), ..process(rootfs, &rootfs.args) };
    if let Some(notify) = facts.notify {
        process.env.extend(notify::variables(notify::SOCKET, notify.watchdog_timeout));
    }
    Ok(Spec {
        oci_version: OCI_VERSION,
        process,
        root: Root { path: utf8(&rootfs.path)?, readonly: rootfs.read_only },
        hostname: &rootfs.hostname,
        mounts: mounts(rootfs, facts)?,
        linux: Linux {
            cgroups_path: facts.cgroups_path,
            namespaces: namespaces(rootfs.network, facts)?,
            devices: devices(rootfs, facts.devices),
            resources: Resources { devices: device_rules(rootfs, facts.devices) },
            masked_paths: &MASKED_PATHS,
            readonly_paths: &READONLY_PATHS,
        },
    })
}

fn process<'a>(rootfs: &'a plan::Rootfs, args: &'a [String]) -> Process<'a> {
    Process {
        // Output goes through pipes to the log; nobody would sit before a terminal.
        terminal: false,
        // The usual umask; unsaid, it would be ours with runc, but not with crun.
        user: User { uid: rootfs.user.uid, gid: rootfs.user.gid, umask: 0o022 },
        args,
        env: rootfs.env.iter().map(|(name, value)| format!("{name}={value}")).collect(),
        cwd: &rootfs.working_directory,
        capabilities: capabilities(rootfs),
        no_new_privileges: true,
        // Beside the container's own process it is inherited through the runtime from whoever
        // starts it. So are rlimits: a host that withholds CAP_SYS_RESOURCE refuses others than
        // its own.
        oom_score_adj: None,
    }
}

/// The plan's set in the bounding, effective and permitted sets, as containerd does.
///
/// For root that is all: exec gives it the bounding set, and an inheritable set would survive in
/// programs that drop to another user (CVE-2022-24769). Another user loses its permitted set at
/// exec unless it is ambient too, and "no new privileges" takes from it the only other way, file
/// capabilities. Kubernetes leaves it at that: there the list has no effect for such a user. Here
/// it has what the file grants, and nothing else.
fn capabilities(rootfs: &plan::Rootfs) -> Capabilities<'_> {
    let granted = rootfs.capabilities.as_slice();
    // Ambient is always within inheritable (capabilities(7)).
    let kept_at_exec = if rootfs.user.uid == 0 { &[] } else { granted };
    Capabilities {
        bounding: granted,
        effective: granted,
        permitted: granted,
        inheritable: kept_at_exec,
        ambient: kept_at_exec,
    }
}

/// A namespace without a path is a new one; a kind that is not listed is shared with us.
fn namespaces<'a>(network: plan::Network, facts: &Facts<'a>) -> Result<Vec<Namespace<'a>>, SpecCause> {
    let mut namespaces: Vec<_> =
        ["pid", "ipc", "uts", "mount"].into_iter().map(|kind| Namespace { kind, path: None }).collect();
    match network {
        plan::Network::Host => {}
        plan::Network::None => {
            // Not a new one: the containers of a pod talk to each other over its loopback.
            let path = facts.network_namespace.ok_or(SpecCause::Missing("the pod's network namespace"))?;
            namespaces.push(Namespace { kind: "network", path: Some(path) });
        }
    }
    if facts.cgroup_namespace {
        namespaces.push(Namespace { kind: "cgroup", path: None });
    }
    Ok(namespaces)
}

pub(super) fn utf8(path: &Path) -> Result<&str, SpecCause> {
    path.to_str().ok_or_else(|| SpecCause::NotUtf8(path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    const VOLUMES: [(&str, bool); 3] = [
        ("/run/outrigger/gateway/volumes/secrets", true),
        ("/var/lib/gateway", true),
        ("/etc/gateway.conf", false),
    ];

    fn container(rootfs: &plan::Rootfs) -> plan::Container {
        plan::Container {
            name: "app".to_owned(),
            pod: plan::PodId(0),
            role: plan::Role::Main,
            image: plan::Image::Rootfs(Box::new(rootfs.clone())),
            resources: plan::Resources::default(),
            probes: plan::Probes::default(),
            termination_message: plan::TerminationMessage::default(),
            restart_policy: None,
            restart_policy_rules: Vec::new(),
            hooks: plan::Hooks::default(),
            stop_signal: crate::config::signal::StopSignal::SIGTERM,
            termination_grace_period: None,
        }
    }

    /// What a pod file with a root file system and a command, and no more, comes to.
    fn small() -> plan::Rootfs {
        plan::Rootfs {
            path: PathBuf::from("/srv/app"),
            read_only: true,
            args: vec!["/bin/app".to_owned()],
            env: vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned())],
            working_directory: "/".to_owned(),
            user: plan::User::default(),
            mounts: Vec::new(),
            capabilities: Vec::new(),
            devices: Vec::new(),
            hostname: "gateway".to_owned(),
            network: plan::Network::Host,
        }
    }

    fn small_facts() -> Facts<'static> {
        Facts {
            cgroups_path: "/outrigger/gateway/app/payload",
            devices: &[],
            volumes: &[],
            network_namespace: None,
            cgroup_namespace: false,
            recursive_read_only: false,
            notify: None,
            termination_message: None,
            oom_score_adj: 1000,
        }
    }

    fn mount(volume: usize, path: &str, read_only: bool) -> plan::Mount {
        plan::Mount { volume, path: path.to_owned(), read_only }
    }

    fn device(path: &str, permissions: &str) -> plan::Device {
        plan::Device {
            path: PathBuf::from(path),
            container_path: path.to_owned(),
            permissions: permissions.to_owned(),
        }
    }

    fn full() -> plan::Rootfs {
        plan::Rootfs {
            read_only: false,
            args: vec!["/bin/app".to_owned(), "--port=8080".to_owned(), "\"quoted\"\n".to_owned()],
            env: vec![("PATH".to_owned(), "/bin".to_owned()), ("EMPTY".to_owned(), String::new())],
            working_directory: "/data".to_owned(),
            user: plan::User { uid: 1000, gid: 1001 },
            mounts: vec![
                mount(2, "/data/etc/gateway.conf", true),
                mount(0, "/secrets", true),
                mount(1, "/data", false),
            ],
            capabilities: vec!["CAP_KILL".to_owned(), "CAP_NET_BIND_SERVICE".to_owned()],
            devices: vec![device("/dev/ttyS0", "rw"), device("/dev/mmcblk0p3", "r")],
            network: plan::Network::None,
            ..small()
        }
    }

    fn full_volumes() -> Vec<VolumePath> {
        VOLUMES.iter().map(|&(path, directory)| VolumePath { path: PathBuf::from(path), directory }).collect()
    }

    const FULL_DEVICES: [DeviceNumber; 2] = [
        DeviceNumber { kind: DeviceKind::Character, major: 4, minor: 64 },
        DeviceNumber { kind: DeviceKind::Block, major: 179, minor: 3 },
    ];

    fn full_facts(volumes: &[VolumePath]) -> Facts<'_> {
        Facts {
            devices: &FULL_DEVICES,
            volumes,
            network_namespace: Some("/run/outrigger/gateway/network"),
            cgroup_namespace: true,
            recursive_read_only: true,
            notify: None,
            oom_score_adj: -997,
            ..small_facts()
        }
    }

    fn generated(rootfs: &plan::Rootfs, facts: &Facts<'_>) -> Value {
        serde_json::from_slice(&generate(&container(rootfs), rootfs, facts).unwrap()).unwrap()
    }

    fn assert_is(found: &Value, golden: &str) {
        let expected: Value = serde_json::from_str(golden).unwrap();
        assert_eq!(*found, expected, "generated:\n{found:#}");
    }

    #[test]
    fn a_container_of_few_words_is_a_strict_one() {
        assert_is(&generated(&small(), &small_facts()), include_str!("golden/small.json"));
    }

    #[test]
    fn a_container_of_many_words_has_all_of_them() {
        let volumes = full_volumes();
        assert_is(&generated(&full(), &full_facts(&volumes)), include_str!("golden/full.json"));
    }

    #[test]
    fn one_that_speaks_for_itself_gets_a_socket_and_is_told_where() {
        let rootfs = small();
        let notify = Notify { socket: "/run/n/7/socket", watchdog_timeout: None };
        let spec = generated(&rootfs, &Facts { notify: Some(notify), ..small_facts() });
        let env = spec["process"]["env"].as_array().unwrap();
        assert_eq!(env.last().unwrap(), "NOTIFY_SOCKET=/dev/notify-socket");
        let mounts = spec["mounts"].as_array().unwrap();
        let place = |path: &str| mounts.iter().position(|mount| mount["destination"] == path).unwrap();
        assert!(place("/dev/notify-socket") > place("/dev"));
        assert_eq!(mounts[place("/dev/notify-socket")]["source"], "/run/n/7/socket");
    }

    #[test]
    fn the_same_plan_and_facts_give_the_same_bytes() {
        let (rootfs, volumes) = (full(), full_volumes());
        let text = || generate(&container(&rootfs), &rootfs, &full_facts(&volumes)).unwrap();
        assert_eq!(text(), text());
    }

    #[test]
    fn a_probe_differs_from_the_containers_process_in_its_command_only() {
        let (rootfs, volumes) = (full(), full_volumes());
        let mut expected = generated(&rootfs, &full_facts(&volumes))["process"].take();
        expected["args"] = Value::from(vec!["/bin/check", "now"]);
        // That is inherited.
        expected.as_object_mut().unwrap().remove("oomScoreAdj");
        let command = ["/bin/check".to_owned(), "now".to_owned()];
        let process = generate_process(&container(&rootfs), &rootfs, &command).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&process).unwrap(), expected);
    }

    #[test]
    fn only_another_user_than_root_keeps_capabilities_over_exec() {
        for (uid, kept) in [(0, 0), (1, 2), (1000, 2)] {
            let rootfs = plan::Rootfs { user: plan::User { uid, gid: 0 }, ..full() };
            let sets = capabilities(&rootfs);
            assert_eq!(
                (sets.bounding.len(), sets.effective.len(), sets.permitted.len()),
                (2, 2, 2),
                "uid {uid}"
            );
            assert_eq!((sets.inheritable.len(), sets.ambient.len()), (kept, kept), "uid {uid}");
        }
    }

    #[test]
    fn facts_that_do_not_fit_the_plan_are_refused() {
        let (rootfs, volumes) = (full(), full_volumes());
        let facts = full_facts(&volumes);
        for (facts, expected) in [
            (Facts { devices: &[], ..facts }, "the number of a device is not known"),
            (Facts { volumes: &[], ..facts }, "the path of a volume is not known"),
            (Facts { network_namespace: None, ..facts }, "the pod's network namespace is not known"),
        ] {
            let error = generate(&container(&rootfs), &rootfs, &facts).unwrap_err();
            assert_eq!(error.to_string(), format!("cannot write config.json of container `app`: {expected}"));
        }
    }

    #[test]
    fn a_path_that_is_not_utf8_is_refused() {
        let rootfs = plan::Rootfs { path: PathBuf::from(OsStr::from_bytes(b"/srv/\xff")), ..small() };
        let error = generate(&container(&rootfs), &rootfs, &small_facts()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot write config.json of container `app`: path `/srv/\u{fffd}` is not UTF-8; rename it"
        );
    }
}
