//! The capabilities of a container: the default set, `add`, `drop`, and the names.

use super::nearest::nearest;
use super::problem::{ProblemList, quote};
use super::reader::{Field, TableKind};
use crate::limits::LIST_MAX;

pub(super) const CAPABILITIES: TableKind = TableKind { name: "`capabilities`", keys: &["add", "drop"] };

/// Every capability of Linux up to 5.9, without `CAP_`, in the order of their numbers
/// (capabilities(7), linux/capability.h). None was added since.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// What a container has when nothing is said: the set of `runc spec`, the smallest one with
/// which usual programs work.
const DEFAULT: [&str; 3] = ["AUDIT_WRITE", "KILL", "NET_BIND_SERVICE"];

const ALL: &str = "ALL";

/// The complete set, with `CAP_`, sorted: `ALL` first, then single names, drop after add, as
/// container runtimes apply a `securityContext`.
pub(super) fn read_capabilities(field: Option<Field<'_>>, problems: &mut ProblemList<'_>) -> Vec<String> {
    let mut add: Vec<&'static str> = Vec::new();
    let mut drop: Vec<&'static str> = Vec::new();
    if let Some(mut table) = field.and_then(|field| field.table(CAPABILITIES, problems)) {
        if let Some(names) = table.take("add") {
            add = read_names(names, problems).into_iter().map(|(name, _)| name).collect();
        }
        if let Some(names) = table.take("drop") {
            for (name, field) in read_names(names, problems) {
                if add.contains(&name) {
                    let help = "keep it in one of the two lists";
                    field.refuse(problems, &format!("is also in `add`: `{name}`"), "added and dropped", help);
                }
                drop.push(name);
            }
        }
        table.finish(problems);
    }

    let mut set: Vec<&'static str> = if add.contains(&ALL) {
        NAMES.to_vec()
    } else if drop.contains(&ALL) {
        Vec::new()
    } else {
        DEFAULT.to_vec()
    };
    set.extend(add);
    set.retain(|name| *name != ALL && !drop.contains(name));
    set.sort_unstable();
    set.dedup();
    set.into_iter().map(|name| format!("CAP_{name}")).collect()
}

fn read_names<'t>(list: Field<'t>, problems: &mut ProblemList<'_>) -> Vec<(&'static str, Field<'t>)> {
    const HELP: &str = "write a list of names: [\"NET_ADMIN\", \"SYS_TIME\"]";
    let mut known = Vec::new();
    for field in list.list(LIST_MAX, problems, HELP) {
        let Some(text) = field.string(problems, HELP) else { continue };
        let upper = text.to_ascii_uppercase();
        let short = upper.strip_prefix("CAP_").unwrap_or(&upper);
        if upper == ALL {
            known.push((ALL, field));
        } else if let Some(name) = NAMES.iter().find(|name| **name == short) {
            known.push((*name, field));
        } else {
            let help = match nearest(short, &NAMES) {
                Some(similar) => format!("a capability with a similar name exists: `{similar}`"),
                None => "capabilities(7) has the list; \"ALL\" means all of them".to_owned(),
            };
            problems.add(
                &field.at(),
                format!("unknown capability {}", quote(text)),
                "not known to Linux",
                &help,
            );
        }
    }
    known
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_at_their_numbers() {
        // linux/capability.h
        for (number, name) in
            [(0, "CHOWN"), (12, "NET_ADMIN"), (21, "SYS_ADMIN"), (29, "AUDIT_WRITE"), (39, "BPF")]
        {
            assert_eq!(NAMES[number], name);
        }
        assert_eq!(NAMES.last(), Some(&"CHECKPOINT_RESTORE"));
    }

    #[test]
    fn the_default_set_is_known() {
        assert!(DEFAULT.iter().all(|name| NAMES.contains(name)));
    }
}
