//! Reading one container.

use core::time::Duration;
use std::path::PathBuf;

use toml::Spanned;

use super::capability::read_capabilities;
use super::expand::expand;
use super::hook::read_hook;
use super::nearest::nearest;
use super::plan::{
    Check, Container, Device, Hook, Hooks, HostProcess, Image, Mount, Network, Notify, PodId, Probe, Probes,
    Role, Rootfs, User,
};
use super::port::Ports;
use super::probe::read_probe;
use super::problem::{ProblemList, quote};
use super::reader::{Field, Table, TableKind};
use super::resources::{Written, read_resources};
use super::restart_policy::{Restarts, read_restarts};
use super::signal::read_stop_signal;
use super::termination_message::read_termination_message;
use super::value::INSTANT_MIN;
use crate::limits::{EXPANDED_BYTES_MAX, LIST_MAX, PROBE_PERIOD_MIN, WORDS_MAX};

pub(super) const CONTAINER: TableKind = TableKind {
    name: "a container",
    keys: &[
        "name",
        "rootfs",
        "bundle",
        "host-process",
        "command",
        "args",
        "env",
        "working-directory",
        "user",
        "mounts",
        "capabilities",
        "devices",
        "read-only-rootfs",
        "hostname",
        "network",
        "resources",
        "startup-probe",
        "liveness-probe",
        "readiness-probe",
        "restart-policy",
        "ports",
        "notify",
        "watchdog-timeout",
        "restart-policy-rules",
        "post-start",
        "pre-stop",
        "stop-signal",
        "termination-grace-period",
        "termination-message-path",
        "termination-message-policy",
    ],
};

/// The keys that say what runs; a bundle's own `config.json` answers them.
const PROGRAM_KEYS: [&str; 5] = ["command", "args", "env", "working-directory", "user"];

/// The keys that say what surrounds it. A bundle's `config.json` answers them, too, and a host
/// process is surrounded by the host.
const SURROUNDING_KEYS: [&str; 6] =
    ["mounts", "capabilities", "devices", "read-only-rootfs", "hostname", "network"];

pub(super) const MOUNT: TableKind = TableKind { name: "a mount", keys: &["volume", "path", "read-only"] };
pub(super) const DEVICE: TableKind =
    TableKind { name: "a device", keys: &["path", "container-path", "permissions"] };

/// The search path of a container that sets none (the one of Docker and containerd).
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Which of the pod's two lists a container stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    Init,
    Main,
}

/// What a container takes over from its pod.
pub(super) struct Surroundings<'p> {
    /// The names of the pod's volumes; `None` where a volume has no name that can be read.
    pub(super) volumes: Vec<Option<&'p str>>,
    pub(super) hostname: String,
    pub(super) network: Network,
    pub(super) termination_grace_period: Duration,
}

/// A container, and where it says what is compared with others later.
pub(super) struct ContainerFile {
    pub(super) container: Container,
    pub(super) name: Option<Spanned<String>>,
    pub(super) resources: Written,
}

pub(super) fn read_container(
    field: Field<'_>,
    section: Section,
    surroundings: &Surroundings<'_>,
    problems: &mut ProblemList<'_>,
) -> Option<ContainerFile> {
    let mut table = field.table(CONTAINER, problems)?;
    let name = table
        .take_required("name", problems, "add name = \"app\"")
        .and_then(|field| Some(Spanned::new(field.at(), field.name(problems)?.to_owned())));
    let Restarts { role, policy, rules } = read_restarts(&mut table, section, problems);
    let source = table.take_one_of(&["rootfs", "bundle", "host-process"], problems);
    let mut variables = Variables::default();
    let image = match source {
        Some(bundle) if bundle.key == "bundle" => {
            let help = "the bundle's config.json decides it: remove it here, or use `rootfs`";
            refuse_beside("bundle", &PROGRAM_KEYS, help, &mut table, problems);
            refuse_beside("bundle", &SURROUNDING_KEYS, help, &mut table, problems);
            Image::Bundle(PathBuf::from(bundle.host_path(problems).unwrap_or_default()))
        }
        Some(field) if field.key == "host-process" => {
            if field.boolean(problems) == Some(false) {
                let help = "write host-process = true, or use `rootfs` or `bundle` instead";
                field.refuse(problems, "can only be true", "says what the container is not", help);
            }
            let help = "a host process sees the host as it is: remove it here, or use `rootfs`";
            refuse_beside("host-process", &SURROUNDING_KEYS, help, &mut table, problems);
            Image::HostProcess(Box::new(read_host_process(&mut table, &mut variables, problems)))
        }
        rootfs => {
            let path = rootfs.and_then(|field| field.host_path(problems)).unwrap_or_default();
            Image::Rootfs(Box::new(read_rootfs(path, &mut table, &mut variables, surroundings, problems)))
        }
    };
    let termination_message = read_termination_message(&mut table, &image, problems);
    let resources = read_resources(table.take("resources"), problems);
    let on_host = matches!(image, Image::HostProcess(_));
    let ports = Ports::read(table.take("ports"), problems);
    let mut probe =
        |key| read_container_probe(table.take(key), role, on_host, &ports, &mut variables, problems);
    let probes = Probes {
        startup: probe("startup-probe"),
        liveness: probe("liveness-probe"),
        readiness: probe("readiness-probe"),
        notify: read_notify(&mut table, role, &variables, problems),
    };
    let mut hook = |key| {
        let pod_grace = surroundings.termination_grace_period;
        read_container_hook(table.take(key), role, on_host, pod_grace, &ports, &mut variables, problems)
    };
    let hooks = Hooks { post_start: hook("post-start"), pre_stop: hook("pre-stop") };
    let stop_signal = table.take("stop-signal").and_then(|field| read_stop_signal(field, problems));
    let grace =
        table.take("termination-grace-period").and_then(|field| field.duration(INSTANT_MIN, problems));
    table.finish(problems);
    let container = Container {
        name: name.as_ref().map(|name| name.get_ref().clone()).unwrap_or_default(),
        // The position is known once all files are read and sorted.
        pod: PodId(0),
        role,
        image,
        resources: resources.of_container(),
        probes,
        termination_message,
        restart_policy: policy,
        restart_policy_rules: rules,
        hooks,
        stop_signal: stop_signal.unwrap_or_default(),
        termination_grace_period: grace,
    };
    Some(ContainerFile { container, name, resources })
}

fn refuse_beside(
    source: &str,
    keys: &[&'static str],
    help: &str,
    table: &mut Table<'_>,
    problems: &mut ProblemList<'_>,
) {
    for key in keys {
        if let Some(field) = table.take(key) {
            let says = format!("is not possible beside `{source}`");
            field.refuse(problems, &says, "would have no effect", help);
        }
    }
}

fn read_host_process(
    table: &mut Table<'_>,
    variables: &mut Variables,
    problems: &mut ProblemList<'_>,
) -> HostProcess {
    const COMMAND_HELP: &str = "add command = [\"/sbin/udhcpc\", \"-f\"], the program of the host";
    let Program { args, working_directory, user } =
        read_program(COMMAND_HELP, true, table, variables, problems);
    HostProcess { args, env: variables.with_path(), working_directory, user }
}

/// What runs, beside its environment.
struct Program {
    args: Vec<String>,
    working_directory: String,
    user: User,
}

fn read_program(
    command_help: &str,
    on_host: bool,
    table: &mut Table<'_>,
    variables: &mut Variables,
    problems: &mut ProblemList<'_>,
) -> Program {
    if let Some(field) = table.take("env") {
        variables.read(field, problems);
    }
    let mut args = Vec::new();
    if let Some(field) = table.take_required("command", problems, command_help) {
        let command = field.command(problems);
        args.extend(variables.expand_words(&field, command, problems));
        if on_host {
            check_host_program(&args, &field, problems);
        }
    }
    if let Some(field) = table.take("args") {
        let words = field.words(problems);
        args.extend(variables.expand_words(&field, words, problems));
    }
    let working_directory = table.take("working-directory").and_then(|field| field.container_path(problems));
    let user = table.take("user").and_then(|field| read_user(field, problems));
    Program {
        args,
        working_directory: working_directory.unwrap_or_else(|| "/".to_owned()),
        user: user.unwrap_or_default(),
    }
}

/// Which file a path from the working directory is would depend on who asks.
fn check_host_program(command: &[String], field: &Field<'_>, problems: &mut ProblemList<'_>) {
    if command.first().is_some_and(|program| program.contains('/') && !program.starts_with('/')) {
        let help = "write the whole path, \"/sbin/udhcpc\", or the name alone, \"udhcpc\", to have it looked \
                    up in the PATH of `env`";
        field.refuse(problems, "names a program by a relative path", "not from the root", help);
    }
}

fn read_rootfs(
    path: &str,
    table: &mut Table<'_>,
    variables: &mut Variables,
    surroundings: &Surroundings<'_>,
    problems: &mut ProblemList<'_>,
) -> Rootfs {
    const COMMAND_HELP: &str = "add command = [\"/bin/app\"]: a root file system does not say what to run";
    let Program { args, working_directory, user } =
        read_program(COMMAND_HELP, false, table, variables, problems);
    let mounts = read_mounts(table.take("mounts"), surroundings, problems);
    let capabilities = read_capabilities(table.take("capabilities"), problems);
    let devices = read_devices(table.take("devices"), problems);
    let read_only = table.take("read-only-rootfs").and_then(|field| field.boolean(problems));
    let hostname = table.take("hostname").and_then(|field| field.name(problems).map(str::to_owned));
    let network = table.take("network").and_then(|field| read_network(field, problems));
    Rootfs {
        path: PathBuf::from(path),
        read_only: read_only.unwrap_or(true),
        args,
        env: variables.with_path(),
        working_directory,
        user,
        mounts,
        capabilities,
        devices,
        hostname: hostname.unwrap_or_else(|| surroundings.hostname.clone()),
        network: network.unwrap_or(surroundings.network),
    }
}

pub(super) fn read_network(field: Field<'_>, problems: &mut ProblemList<'_>) -> Option<Network> {
    field.choice(&[("host", Network::Host), ("none", Network::None)], problems)
}

/// The container's environment, and how much of its text has been expanded.
#[derive(Default)]
struct Variables {
    known: Vec<(String, String)>,
    bytes: usize,
}

impl Variables {
    /// Reads `env`; a value may use the variables written before it.
    fn read(&mut self, field: Field<'_>, problems: &mut ProblemList<'_>) {
        const HELP: &str = "write names and texts: { LOG_LEVEL = \"debug\" }";
        for (count, (name, value)) in field.open_table(problems, HELP).into_iter().enumerate() {
            if count == WORDS_MAX {
                let help = format!("at most {WORDS_MAX} variables are possible");
                problems.add(&name.span(), "`env` has too many variables".to_owned(), "one too many", &help);
                break;
            }
            let text = *name.get_ref();
            if text.is_empty() || text.contains(['=', '\0']) {
                let message = format!("{} is not the name of a variable", quote(text));
                let help = "a name is not empty and has neither `=` nor NUL";
                problems.add(&name.span(), message, "not possible as a name", help);
            }
            let help = format!("variables are texts: write {} = \"...\" with quotes", printable_name(text));
            let value_text = value.string(problems, &help).unwrap_or_default();
            let value_text = self.expand(&value, value_text, problems);
            self.bytes = self.bytes.saturating_add(text.len());
            self.known.push((text.to_owned(), value_text));
        }
    }

    fn expand_words(
        &mut self,
        field: &Field<'_>,
        words: Vec<String>,
        problems: &mut ProblemList<'_>,
    ) -> Vec<String> {
        words.into_iter().map(|word| self.expand(field, &word, problems)).collect()
    }

    /// Past the bound the text is dropped, and the first time that is said.
    fn expand(&mut self, field: &Field<'_>, text: &str, problems: &mut ProblemList<'_>) -> String {
        if self.bytes > EXPANDED_BYTES_MAX {
            return String::new();
        }
        if let Some(expanded) = expand(text, &self.known, EXPANDED_BYTES_MAX - self.bytes) {
            self.bytes += expanded.len();
            return expanded;
        }
        self.bytes = usize::MAX;
        let help = format!(
            "command, arguments and variables of a container have at most {} KiB together, \
             `$(NAME)` replaced",
            EXPANDED_BYTES_MAX / 1024
        );
        field.refuse(problems, "makes the container's text too long", "too long from here on", &help);
        String::new()
    }

    /// The variables of the container, `PATH` among them.
    fn with_path(&self) -> Vec<(String, String)> {
        let mut env = Vec::with_capacity(self.known.len() + 1);
        if !self.known.iter().any(|(name, _)| name == "PATH") {
            env.push(("PATH".to_owned(), DEFAULT_PATH.to_owned()));
        }
        env.extend(self.known.iter().cloned());
        env
    }
}

fn printable_name(name: &str) -> &str {
    let plain = name.len() < 64 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if plain && !name.is_empty() { name } else { "NAME" }
}

fn read_user(field: Field<'_>, problems: &mut ProblemList<'_>) -> Option<User> {
    const HELP: &str = "write numbers: 1000 or \"1000:1000\"; names are not looked up";
    // The last number means "no change" to setuid(2).
    const ID_MAX: u32 = u32::MAX - 1;
    if field.value.get_ref().is_integer() {
        return field.integer(0, ID_MAX, problems).map(|uid| User { uid, gid: 0 });
    }
    let text = field.string(problems, HELP)?;
    let id = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u32>().ok().filter(|&id| digits && id <= ID_MAX)
    };
    let user = match text.split_once(':') {
        Some((uid, gid)) => id(uid).zip(id(gid)),
        None => id(text).map(|uid| (uid, 0)),
    };
    if user.is_none() {
        field.refuse(problems, "must be a user id or \"uid:gid\"", "not a number, or out of range", HELP);
    }
    user.map(|(uid, gid)| User { uid, gid })
}

fn read_mounts(
    field: Option<Field<'_>>,
    surroundings: &Surroundings<'_>,
    problems: &mut ProblemList<'_>,
) -> Vec<Mount> {
    const HELP: &str = "write [{ volume = \"data\", path = \"/data\" }]";
    let mut mounts: Vec<(Mount, Field<'_>)> = Vec::new();
    for entry in field.map(|field| field.list(LIST_MAX, problems, HELP)).unwrap_or_default() {
        let Some(mut table) = entry.table(MOUNT, problems) else { continue };
        let volume = table
            .take_required("volume", problems, "add volume = \"...\", one of the pod's `volumes`")
            .and_then(|field| find_volume(field, surroundings, problems));
        let path_field =
            table.take_required("path", problems, "add path = \"/...\", the place in the container");
        let path = path_field.and_then(|field| field.container_path(problems).zip(Some(field)));
        let read_only = table.take("read-only").and_then(|field| field.boolean(problems)).unwrap_or(false);
        table.finish(problems);
        let Some((path, path_field)) = path else { continue };
        if path == "/" {
            let help = "mount below it, \"/data\"; what stands at `/` is the `rootfs`";
            path_field.refuse(problems, "must not be the root", "would hide the whole container", help);
            continue;
        }
        if let Some((_, first)) = mounts.iter().find(|(mount, _)| mount.path == path) {
            let also = problems.place(&first.at(), "the first one");
            let message = format!("two mounts at {}", quote(&path));
            problems.add_pair(
                &path_field.at(),
                message,
                "hides the first one",
                also,
                "give each mount its own path",
            );
        }
        mounts.push((Mount { volume: volume.unwrap_or_default(), path, read_only }, path_field));
    }
    mounts.into_iter().map(|(mount, _)| mount).collect()
}

fn find_volume(
    field: Field<'_>,
    surroundings: &Surroundings<'_>,
    problems: &mut ProblemList<'_>,
) -> Option<usize> {
    let name = field.string(problems, "write the name of a volume in quotes")?;
    let found = surroundings.volumes.iter().position(|known| *known == Some(name));
    let names: Option<Vec<&str>> = surroundings.volumes.iter().copied().collect();
    // Where a volume has lost its name, this may well be the one.
    if let (None, Some(names)) = (found, names) {
        let help = match nearest(name, &names) {
            Some(similar) => format!("a volume with a similar name exists: `{similar}`"),
            None if names.is_empty() => "the pod has no volumes; add one with [[volumes]]".to_owned(),
            None => format!("the pod's volumes are: {}", names.join(", ")),
        };
        problems.add_structural(
            &field.at(),
            format!("unknown volume {}", quote(name)),
            "not a volume of this pod",
            &help,
        );
    }
    found
}

fn read_devices(field: Option<Field<'_>>, problems: &mut ProblemList<'_>) -> Vec<Device> {
    const HELP: &str = "write [\"/dev/ttyS0\"] or [{ path = \"/dev/ttyS0\", permissions = \"rw\" }]";
    let entries = field.map(|field| field.list(LIST_MAX, problems, HELP)).unwrap_or_default();
    let mut devices: Vec<(Device, Field<'_>)> = Vec::new();
    for entry in entries {
        let Some(device) = read_device(entry, problems) else { continue };
        if let Some((_, first)) =
            devices.iter().find(|(known, _)| known.container_path == device.container_path)
        {
            let also = problems.place(&first.at(), "the first one");
            let message = format!("two devices at {}", quote(&device.container_path));
            problems.add_pair(
                &entry.at(),
                message,
                "the same place",
                also,
                "give each device its own `container-path`",
            );
        }
        devices.push((device, entry));
    }
    devices.into_iter().map(|(device, _)| device).collect()
}

fn read_device(entry: Field<'_>, problems: &mut ProblemList<'_>) -> Option<Device> {
    const PATH_HELP: &str = "add path = \"/dev/...\", the device on the host";
    let (path, container_path, permissions) = if entry.value.get_ref().is_str() {
        (Some(entry), None, None)
    } else {
        let mut table = entry.table(DEVICE, problems)?;
        let path = table.take_required("path", problems, PATH_HELP);
        let container_path = table.take("container-path").map(|field| field.container_path(problems));
        let permissions = table.take("permissions").and_then(|field| read_permissions(field, problems));
        table.finish(problems);
        (path, container_path, permissions)
    };
    let path_field = path?;
    // One reading for both sides, so that a wrong path is reported once.
    let same_path = path_field.container_path(problems)?;
    let container_path = container_path.unwrap_or_else(|| Some(same_path.clone()))?;
    let permissions = permissions.unwrap_or_else(|| "rw".to_owned());
    Some(Device { path: PathBuf::from(same_path), container_path, permissions })
}

/// Gives the letters in the order `rwm`, each once.
fn read_permissions(field: Field<'_>, problems: &mut ProblemList<'_>) -> Option<String> {
    const HELP: &str = "use the letters r (read), w (write) and m (make the node): \"rw\"";
    let text = field.string(problems, HELP)?;
    let ordered: String = "rwm".chars().filter(|&letter| text.contains(letter)).collect();
    if text.is_empty() || ordered.len() != text.len() {
        field.refuse(problems, "must be some of the letters `rwm`", "not some of r, w and m", HELP);
        return None;
    }
    Some(ordered)
}

/// Whether the container speaks for itself, and how often it must.
fn read_notify(
    table: &mut Table<'_>,
    role: Role,
    variables: &Variables,
    problems: &mut ProblemList<'_>,
) -> Option<Notify> {
    let notify = table.take("notify");
    let timeout = table.take("watchdog-timeout");
    let watchdog_timeout = timeout.and_then(|field| field.duration(PROBE_PERIOD_MIN, problems));
    let wanted = notify.and_then(|field| field.boolean(problems));
    match (notify, timeout) {
        (Some(field), _) if wanted == Some(true) && role == Role::Init => {
            let help = "an init container must end, and says all by that; restart-policy = \"always\" makes it a \
                        sidecar";
            field.refuse(
                problems,
                "is not possible in a regular init container",
                "would wait for ever",
                help,
            );
        }
        (Some(field), _) if wanted == Some(true) => {
            if let Some((name, _)) =
                variables.known.iter().find(|(name, _)| NOTIFY_VARIABLES.contains(&&**name))
            {
                let says = format!("sets {}, which `env` sets, too", quote(name));
                field.refuse(problems, &says, "decides it", "remove it from `env`");
            }
        }
        (_, Some(timeout)) if wanted != Some(true) => {
            let help = "add notify = true, or use a `liveness-probe`";
            timeout.refuse(problems, "needs `notify = true` beside it", "nobody would listen", help);
        }
        (_, _) => {}
    }
    (wanted == Some(true)).then_some(Notify { watchdog_timeout })
}

/// What tells a program where to notify, and how often (sd_notify(3), sd_watchdog_enabled(3)).
const NOTIFY_VARIABLES: [&str; 2] = ["NOTIFY_SOCKET", "WATCHDOG_USEC"];

fn read_container_probe(
    field: Option<Field<'_>>,
    role: Role,
    on_host: bool,
    ports: &Ports,
    variables: &mut Variables,
    problems: &mut ProblemList<'_>,
) -> Option<Probe> {
    let field = field?;
    if role == Role::Init {
        let message = format!("{} is not possible in a regular init container", quote(field.key));
        let help = "an init container must end, so there is nothing to probe; \
                    restart-policy = \"always\" makes it a sidecar";
        problems.add_structural(&field.at(), message, "would never run", help);
        return None;
    }
    let mut probe = read_probe(field, ports, problems)?;
    expand_check(&mut probe.check, &field, on_host, variables, problems);
    Some(probe)
}

fn expand_check(
    check: &mut Check,
    field: &Field<'_>,
    on_host: bool,
    variables: &mut Variables,
    problems: &mut ProblemList<'_>,
) {
    if let Check::Exec { command } = check {
        let words = core::mem::take(command);
        *command = variables.expand_words(field, words, problems);
        if on_host {
            check_host_program(command, field, problems);
        }
    }
}

fn read_container_hook(
    field: Option<Field<'_>>,
    role: Role,
    on_host: bool,
    pod_grace: Duration,
    ports: &Ports,
    variables: &mut Variables,
    problems: &mut ProblemList<'_>,
) -> Option<Hook> {
    let field = field?;
    if role == Role::Init {
        let message = format!("{} is not possible in a regular init container", quote(field.key));
        let help = "write what it does into the container's own command, or into another init container; \
                    restart-policy = \"always\" makes it a sidecar";
        problems.add_structural(&field.at(), message, "would never run", help);
        return None;
    }
    let mut hook = read_hook(field, pod_grace, ports, problems)?;
    if let Hook::Ask(check) = &mut hook {
        expand_check(check, &field, on_host, variables, problems);
    }
    Some(hook)
}
