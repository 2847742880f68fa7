//! Reading a pod file.

use core::time::Duration;
use std::path::PathBuf;

use toml::Spanned;

use super::container::{ContainerFile, Section, Surroundings, read_container, read_network};
use super::escalation::{Failure, read_failure};
use super::machine::{MachineFile, read_backoff};
use super::plan::{Backoff, Container, Network, Pod, RestartPolicy, Volume, VolumeSource};
use super::problem::{ProblemList, quote};
use super::reader::{Field, Table, TableKind};
use super::resources::{Written, read_overhead, read_resources, resolve_pod};
use super::restart_policy::read_restart_policy;
use super::value::INSTANT_MIN;
use crate::limits::{LIST_MAX, POD_CONTAINERS_MAX, PODS_MAX};

pub(super) const POD: TableKind = TableKind {
    name: "a pod",
    keys: &[
        "name",
        "restart-policy",
        "termination-grace-period",
        "restart-backoff",
        "after",
        "hostname",
        "network",
        "resources",
        "essential",
        "on-failure",
        "volumes",
        "init-containers",
        "containers",
        "active-deadline",
        "escalation",
        "restart-sidecars-during-termination",
        "overhead",
    ],
};
pub(super) const VOLUME: TableKind =
    TableKind { name: "a volume", keys: &["name", "memory", "host-path", "empty"] };

/// Pods have their cgroups beside this one.
const SUPERVISOR_CGROUP: &str = "supervisor";

/// A pod, its containers, and the names that only make sense beside the other files.
///
/// In the pod, `after` is empty and the ranges count from the pod's first container: positions
/// are known once all files are read and sorted.
pub(super) struct PodFile {
    /// The position of the file.
    pub(super) file: usize,
    pub(super) pod: Pod,
    pub(super) containers: Vec<Container>,
    /// `None` where no name can be read.
    pub(super) name: Option<Spanned<String>>,
    pub(super) after: Vec<Spanned<String>>,
}

pub(super) fn read_pod(
    file: usize,
    mut table: Table<'_>,
    machine: &MachineFile,
    problems: &mut ProblemList<'_>,
) -> PodFile {
    let name = table.take_required("name", problems, "add name = \"...\" at the top of the file").and_then(
        |field| {
            let name = field.name(problems)?;
            if name == SUPERVISOR_CGROUP {
                let label = "the cgroup of the supervisor itself has this name";
                field.refuse(problems, "must not be `supervisor`", label, "choose another name");
            }
            Some(Spanned::new(field.at(), name.to_owned()))
        },
    );
    let name_text = name.as_ref().map(|name| name.get_ref().clone()).unwrap_or_default();
    let restart_policy = table.take("restart-policy").and_then(|field| read_restart_policy(field, problems));
    let grace =
        table.take("termination-grace-period").and_then(|field| field.duration(Duration::ZERO, problems));
    // Kubernetes rule: a grace period of 0 is 1 second.
    let grace = grace
        .map(|grace| if grace.is_zero() { Duration::from_secs(1) } else { grace })
        .unwrap_or(Duration::from_secs(30));
    let backoff = match table.take("restart-backoff") {
        Some(field) => read_backoff(field, machine.restart_backoff, problems),
        None => machine.restart_backoff,
    };
    let active_deadline =
        table.take("active-deadline").and_then(|field| field.duration(INSTANT_MIN, problems));
    let restart_sidecars =
        table.take("restart-sidecars-during-termination").and_then(|field| field.boolean(problems));
    let after = read_after(table.take("after"), problems);
    let hostname = table.take("hostname").and_then(|field| field.name(problems).map(str::to_owned));
    let network = table.take("network").and_then(|field| read_network(field, problems));
    let resources = read_resources(table.take("resources"), problems);
    let overhead = read_overhead(table.take("overhead"), problems);
    let Failure { essential, on_failure, escalation } = read_failure(&mut table, machine, problems);
    let volumes = read_volumes(table.take("volumes"), problems);
    let surroundings = Surroundings {
        volumes: volumes.iter().map(|(name, _)| name.as_ref().map(|name| *name.get_ref())).collect(),
        hostname: hostname.unwrap_or_else(|| name_text.clone()),
        network: network.unwrap_or(Network::Host),
        termination_grace_period: grace,
    };
    let containers = read_containers(&mut table, &surroundings, problems);
    table.finish(problems);

    let init_count = containers.init_count;
    let (containers, written): (Vec<Container>, Vec<Written>) =
        containers.files.into_iter().map(|file| (file.container, file.resources)).unzip();
    let end = u16::try_from(containers.len()).unwrap_or(u16::MAX);
    let (resources, qos_class) = resolve_pod(&resources, &overhead, &containers, &written, problems);
    let pod = Pod {
        name: name_text,
        restart_policy: restart_policy.unwrap_or(RestartPolicy::Always),
        termination_grace_period: grace,
        restart_backoff: backoff.unwrap_or(Backoff {
            initial: Duration::ZERO,
            max: Duration::ZERO,
            reset: Duration::ZERO,
            jitter: 0,
        }),
        restart_sidecars_during_termination: restart_sidecars.unwrap_or(false),
        active_deadline,
        after: Vec::new(),
        volumes: volumes.into_iter().filter_map(|(_, volume)| volume).collect(),
        init_containers: 0..init_count,
        main_containers: init_count..end,
        resources,
        overhead,
        qos_class,
        essential,
        on_failure,
        escalation,
    };
    PodFile { file, pod, containers, name, after }
}

fn read_after(field: Option<Field<'_>>, problems: &mut ProblemList<'_>) -> Vec<Spanned<String>> {
    const HELP: &str = "write a list of pod names: [\"network\"]";
    let mut after: Vec<Spanned<String>> = Vec::new();
    for entry in field.map(|field| field.list(PODS_MAX, problems, HELP)).unwrap_or_default() {
        let Some(name) = entry.string(problems, HELP) else { continue };
        if let Some(first) = after.iter().find(|known| known.get_ref() == name) {
            let also = problems.place(&first.span(), "the first time");
            let message = format!("pod {} is listed twice", quote(name));
            problems.add_pair(&entry.at(), message, "the second time", also, "once is enough: remove one");
            continue;
        }
        after.push(Spanned::new(entry.at(), name.to_owned()));
    }
    after
}

/// Volumes with their names: `None` where no name, or nothing at all, can be read.
fn read_volumes<'t>(
    field: Option<Field<'t>>,
    problems: &mut ProblemList<'_>,
) -> Vec<(Option<Spanned<&'t str>>, Option<Volume>)> {
    const HELP: &str = "write [[volumes]] before each volume";
    let mut volumes: Vec<(Option<Spanned<&'t str>>, Option<Volume>)> = Vec::new();
    let Some(field) = field else { return volumes };
    for entry in field.list(LIST_MAX, problems, HELP) {
        let Some(mut table) = entry.table(VOLUME, problems) else {
            volumes.push((None, None));
            continue;
        };
        let name = table
            .take_required("name", problems, "add name = \"...\", for use in `mounts`")
            .and_then(|field| Some(Spanned::new(field.at(), field.name(problems)?)));
        let source = table
            .take_one_of(&["memory", "host-path", "empty"], problems)
            .and_then(|field| read_volume_source(field, problems));
        table.finish(problems);
        let first = volumes
            .iter()
            .filter_map(|(known, _)| known.as_ref())
            .find(|known| Some(*known) == name.as_ref());
        if let (Some(name), Some(first)) = (&name, first) {
            add_duplicate("volumes", name.get_ref(), &name.span(), &first.span(), problems);
        }
        let volume = name
            .as_ref()
            .zip(source)
            .map(|(name, source)| Volume { name: (*name.get_ref()).to_owned(), source });
        volumes.push((name, volume));
    }
    if volumes.is_empty() && !field.value.get_ref().is_array() {
        // Not a list: whatever a mount names may be in it.
        volumes.push((None, None));
    }
    volumes
}

fn read_volume_source(field: Field<'_>, problems: &mut ProblemList<'_>) -> Option<VolumeSource> {
    match field.key {
        "memory" => {
            let bytes = field.memory(problems)?;
            if bytes == 0 {
                let help = "write how much it may hold, \"1Mi\", or use empty = true";
                field.refuse(problems, "must not be zero", "could hold nothing", help);
            }
            Some(VolumeSource::Memory { bytes })
        }
        "host-path" => field.host_path(problems).map(|path| VolumeSource::HostPath(PathBuf::from(path))),
        _ => {
            if !field.boolean(problems)? {
                let help = "write empty = true, or use `memory` or `host-path` instead";
                field.refuse(problems, "can only be true", "says what the volume is not", help);
            }
            Some(VolumeSource::Empty)
        }
    }
}

struct Containers {
    files: Vec<ContainerFile>,
    init_count: u16,
}

fn read_containers(
    table: &mut Table<'_>,
    surroundings: &Surroundings<'_>,
    problems: &mut ProblemList<'_>,
) -> Containers {
    const HELP: &str = "a pod runs at least one: write [[containers]] before each";
    const INIT_HELP: &str = "write [[init-containers]] before each init container";
    let mut files = Vec::new();
    if let Some(field) = table.take("init-containers") {
        for entry in field.list(POD_CONTAINERS_MAX, problems, INIT_HELP) {
            files.extend(read_container(entry, Section::Init, surroundings, problems));
        }
    }
    let init_count = files.len();
    if let Some(field) = table.take_required("containers", problems, HELP) {
        let entries = field.list(POD_CONTAINERS_MAX, problems, HELP);
        if field.value.get_ref().as_array().is_some_and(|array| array.is_empty()) {
            field.refuse(problems, "is empty", "nothing to run", HELP);
        }
        for entry in entries {
            files.extend(read_container(entry, Section::Main, surroundings, problems));
        }
        if files.len() > POD_CONTAINERS_MAX {
            let message = format!("the pod has {} containers, init containers included", files.len());
            let help = format!("at most {POD_CONTAINERS_MAX} are possible; make two pods of it");
            problems.add(&field.at(), message, "too many", &help);
        }
    }
    check_names(&files, problems);
    Containers { files, init_count: u16::try_from(init_count).unwrap_or(u16::MAX) }
}

/// Names are unique over init and main containers together (Kubernetes rule).
fn check_names(files: &[ContainerFile], problems: &mut ProblemList<'_>) {
    let names: Vec<&Spanned<String>> = files.iter().filter_map(|file| file.name.as_ref()).collect();
    for (position, name) in names.iter().enumerate() {
        if let Some(first) = names.iter().take(position).find(|known| known == &name) {
            add_duplicate("containers", name.get_ref(), &name.span(), &first.span(), problems);
        }
    }
}

fn add_duplicate(
    what: &str,
    name: &str,
    at: &core::ops::Range<usize>,
    first: &core::ops::Range<usize>,
    problems: &mut ProblemList<'_>,
) {
    let also = problems.place(first, "the first one");
    let message = format!("two {what} of this pod are called {}", quote(name));
    problems.add_pair(at, message, "the second one", also, "give each its own name");
}
