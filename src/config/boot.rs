//! Reading what only the first process of a machine does: boot, file systems, watchdog, shutdown,
//! rescue.

use core::time::Duration;
use std::path::PathBuf;

use super::plan::{Boot, BootFailure, FileSystem, Watchdog};
use super::problem::{ProblemList, quote};
use super::reader::{Field, Table, TableKind};
use super::value::INSTANT_MIN;
use crate::limits::LIST_MAX;

pub(super) const BOOT: TableKind =
    TableKind { name: "`boot`", keys: &["hostname", "modules", "sysctls", "on-failure", "failure-delay"] };
pub(super) const FILE_SYSTEM: TableKind = TableKind {
    name: "a file system",
    keys: &["source", "path", "type", "options", "fsck", "optional", "timeout"],
};
pub(super) const WATCHDOG: TableKind =
    TableKind { name: "`watchdog`", keys: &["device", "timeout", "unready-limit"] };
pub(super) const SHUTDOWN: TableKind = TableKind { name: "`shutdown`", keys: &["timeout"] };
pub(super) const RESCUE: TableKind = TableKind { name: "`rescue`", keys: &["command"] };

/// Long enough to read the message on a console, short enough for a device that nobody watches.
const FAILURE_DELAY: Duration = Duration::from_secs(30);

/// For a device node to appear, a check of its file system, and the mount.
const FILE_SYSTEM_TIMEOUT: Duration = Duration::from_secs(60);

/// Four pods, one after the other, that each need all of Kubernetes' 30 s.
pub(super) const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(120);

/// Drivers have it between some seconds and minutes; most are 60 s by themselves.
const WATCHDOG_TIMEOUT: Duration = Duration::from_secs(30);

/// Shortest timeout of a watchdog: the kernel counts it in seconds, and it is fed after half.
const WATCHDOG_TIMEOUT_MIN: Duration = Duration::from_secs(2);

impl Default for Boot {
    fn default() -> Boot {
        Boot {
            hostname: None,
            modules: Vec::new(),
            sysctls: Vec::new(),
            on_failure: BootFailure::Reboot,
            failure_delay: FAILURE_DELAY,
        }
    }
}

/// `has_rescue`: whether the machine file has a `rescue` that the boot can fall back to.
pub(super) fn read_boot(field: Field<'_>, has_rescue: bool, problems: &mut ProblemList<'_>) -> Boot {
    let mut boot = Boot::default();
    let Some(mut table) = field.table(BOOT, problems) else { return boot };
    boot.hostname = table.take("hostname").and_then(|field| field.name(problems).map(str::to_owned));
    if let Some(field) = table.take("modules") {
        boot.modules = read_modules(field, problems);
    }
    if let Some(field) = table.take("sysctls") {
        boot.sysctls = read_sysctls(field, problems);
    }
    let choices = [("reboot", BootFailure::Reboot), ("rescue", BootFailure::Rescue)];
    if let Some(field) = table.take("on-failure") {
        boot.on_failure = field.choice(&choices, problems).unwrap_or(BootFailure::Reboot);
        if boot.on_failure == BootFailure::Rescue && !has_rescue {
            refuse_rescue(&field, problems);
        }
    }
    if let Some(delay) =
        table.take("failure-delay").and_then(|field| field.duration(Duration::ZERO, problems))
    {
        boot.failure_delay = delay;
    }
    table.finish(problems);
    boot
}

/// A rescue that there is not.
pub(super) fn refuse_rescue(field: &Field<'_>, problems: &mut ProblemList<'_>) {
    let help = "write [rescue] with command = [\"/bin/sh\"] into the machine file; it gives a root shell to \
                whoever has the console";
    field.refuse(problems, "cannot be \"rescue\"", "the machine file has no `rescue`", help);
}

fn read_modules(field: Field<'_>, problems: &mut ProblemList<'_>) -> Vec<String> {
    const HELP: &str = "write a name or an absolute path, then options if any: \"softdog soft_margin=10\"";
    let mut modules = Vec::new();
    for entry in field.list(LIST_MAX, problems, HELP) {
        let Some(text) = entry.string(problems, HELP) else { continue };
        let module = text.split_whitespace().next().unwrap_or_default();
        if module.is_empty() || (module.contains('/') && !module.starts_with('/')) {
            entry.refuse(problems, "must begin with a module", "neither a name nor an absolute path", HELP);
            continue;
        }
        modules.push(text.to_owned());
    }
    modules
}

fn read_sysctls(field: Field<'_>, problems: &mut ProblemList<'_>) -> Vec<(String, String)> {
    const HELP: &str = "write names and values: { \"net.ipv4.ip_forward\" = 1 }";
    let mut sysctls = Vec::new();
    for (count, (name, value)) in field.open_table(problems, HELP).into_iter().enumerate() {
        if count == LIST_MAX {
            let help = format!("at most {LIST_MAX} settings are possible");
            problems.add(&name.span(), "`sysctls` has too many settings".to_owned(), "one too many", &help);
            break;
        }
        let text = *name.get_ref();
        let parts = || text.split(['.', '/']);
        if value.value.get_ref().is_table() {
            let help = "a name with dots needs quotes: \"net.ipv4.ip_forward\" = 1";
            problems.add(&name.span(), format!("{} is no setting", quote(text)), "this is a table", help);
            continue;
        }
        if text.contains('\0') || parts().any(|part| part.is_empty()) || parts().count() < 2 {
            let message = format!("{} is not the name of a setting", quote(text));
            problems.add(&name.span(), message, "not possible as a name", HELP);
            continue;
        }
        let value_text = match value.value.get_ref().as_integer() {
            Some(number) if number.radix() == 10 => Some(number.as_str()),
            Some(_) | None => value.string(problems, "write a number, or a text in quotes"),
        };
        if let Some(value_text) = value_text {
            sysctls.push((text.to_owned(), value_text.to_owned()));
        }
    }
    sysctls
}

pub(super) fn read_file_systems(field: Field<'_>, problems: &mut ProblemList<'_>) -> Vec<FileSystem> {
    const HELP: &str = "write [[mounts]] before each file system";
    let mut file_systems: Vec<FileSystem> = Vec::new();
    for entry in field.list(LIST_MAX, problems, HELP) {
        let Some(table) = entry.table(FILE_SYSTEM, problems) else { continue };
        file_systems.extend(read_file_system(table, &file_systems, problems));
    }
    file_systems
}

fn read_file_system(
    mut table: Table<'_>,
    earlier: &[FileSystem],
    problems: &mut ProblemList<'_>,
) -> Option<FileSystem> {
    const SOURCE_HELP: &str = "add source = \"/dev/mmcblk0p3\"; names like UUID= or LABEL= are not looked up";
    let source = table.take_required("source", problems, SOURCE_HELP).and_then(|field| {
        let source = field.string(problems, SOURCE_HELP)?;
        let unknown = ["UUID=", "LABEL=", "PARTUUID=", "PARTLABEL=", "ID="];
        if source.is_empty() || unknown.iter().any(|prefix| source.starts_with(prefix)) {
            let help = "write the device: \"/dev/mmcblk0p3\", or \"/dev/disk/by-…\" where something makes those links";
            field.refuse(problems, "must name a device", "not looked up here", help);
            return None;
        }
        Some(source.to_owned())
    });
    let path = table
        .take_required("path", problems, "add path = \"/data\", where it is to be seen")
        .and_then(|field| field.container_path(problems).zip(Some(field)));
    let path = path.map(|(path, field)| {
        if path == "/" {
            let help = "the root is mounted before: by the kernel (root=) or an initramfs; mount below it";
            field.refuse(problems, "must not be the root", "is there already", help);
        }
        if earlier.iter().any(|other| other.path == path) {
            let help = "mount each file system at a path of its own";
            field.refuse(problems, "is used twice", "an earlier entry has this path", help);
        }
        path
    });
    let kind = table
        .take_required("type", problems, "add type = \"ext4\"")
        .and_then(|field| field.string(problems, "write the type in quotes: \"ext4\"").map(str::to_owned));
    let options = table.take("options").map(|field| field.words(problems)).unwrap_or_default();
    let fsck = table.take("fsck").map(|field| field.command(problems));
    let optional = table.take("optional").and_then(|field| field.boolean(problems)).unwrap_or(false);
    let timeout = table.take("timeout").and_then(|field| field.duration(INSTANT_MIN, problems));
    table.finish(problems);
    Some(FileSystem {
        source: source?,
        path: path?,
        kind: kind?,
        options,
        fsck,
        optional,
        timeout: timeout.unwrap_or(FILE_SYSTEM_TIMEOUT),
    })
}

pub(super) fn read_watchdog(field: Field<'_>, problems: &mut ProblemList<'_>) -> Option<Watchdog> {
    let mut table = field.table(WATCHDOG, problems)?;
    let device = table.take("device").and_then(|field| field.host_path(problems));
    let timeout = table.take("timeout").and_then(|field| field.duration(WATCHDOG_TIMEOUT_MIN, problems));
    let unready_limit = table.take("unready-limit").and_then(|field| field.duration(INSTANT_MIN, problems));
    table.finish(problems);
    Some(Watchdog {
        device: PathBuf::from(device.unwrap_or("/dev/watchdog")),
        timeout: timeout.unwrap_or(WATCHDOG_TIMEOUT),
        unready_limit,
    })
}

/// The longest time that a shutdown may take; the default where nothing is said.
pub(super) fn read_shutdown(field: Option<Field<'_>>, problems: &mut ProblemList<'_>) -> Duration {
    let timeout = field.and_then(|field| {
        let mut table = field.table(SHUTDOWN, problems)?;
        let timeout = table.take("timeout").and_then(|field| field.duration(INSTANT_MIN, problems));
        table.finish(problems);
        timeout
    });
    timeout.unwrap_or(SHUTDOWN_TIMEOUT)
}

pub(super) fn read_rescue(field: Field<'_>, problems: &mut ProblemList<'_>) -> Option<Vec<String>> {
    const HELP: &str = "add command = [\"/bin/sh\"]";
    let mut table = field.table(RESCUE, problems)?;
    let field = table.take_required("command", problems, HELP);
    let command = field.map(|field| {
        let command = field.command(problems);
        if command.first().is_some_and(|program| !program.is_empty() && !program.starts_with('/')) {
            let help = "write the whole path, \"/bin/sh\": nothing is searched for in a rescue";
            field.refuse(problems, "must begin with an absolute path", "not absolute", help);
        }
        command
    });
    table.finish(problems);
    command
}
