//! Other layouts of cgroup hierarchies than this host's, in a mount namespace of one's own.

use std::fs;
use std::path::{Path, PathBuf};

use super::remains;

/// cgroup v2 alone, as on a host that has nothing else.
pub(super) const UNIFIED: [&str; 6] = [
    "unshare",
    "-m",
    "sh",
    "-c",
    "umount -l /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && exec \"$@\"",
    "sh",
];

/// The cgroup v1 hierarchies alone, on a host that has both.
pub(super) const LEGACY: [&str; 6] =
    ["unshare", "-m", "sh", "-c", "umount -l /sys/fs/cgroup/unified && exec \"$@\"", "sh"];

/// This host's own layout and the others that it can show, each with what gives it to a command.
pub(super) fn layouts() -> Vec<(&'static str, &'static [&'static str])> {
    let mut layouts: Vec<(&str, &[&str])> = vec![("this host", &[]), ("cgroup v2 alone", &UNIFIED)];
    if legacy("pids").is_some() {
        layouts.push(("cgroup v1 alone", &LEGACY));
    }
    layouts
}

/// Where cgroup v2 is mounted here.
pub(super) fn unified() -> PathBuf {
    let mut mounts = remains::cgroup_mounts().into_iter();
    mounts.find(|mount| mount.join("cgroup.controllers").exists()).expect("no cgroup2 is mounted: mount it")
}

/// Where the cgroup v1 hierarchy with this controller is mounted here, if there is one.
pub(super) fn legacy(controller: &str) -> Option<PathBuf> {
    let mounts = remains::cgroup_mounts().into_iter();
    let named = |mount: &Path| {
        mount
            .file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| name.split(',').any(|part| part == controller))
    };
    mounts.filter(|mount| !mount.join("cgroup.controllers").exists()).find(|mount| named(mount))
}

/// Whether this controller limits in cgroup v2 here.
pub(super) fn is_unified_controller(controller: &str) -> bool {
    let controllers = fs::read_to_string(unified().join("cgroup.controllers")).unwrap();
    controllers.split_whitespace().any(|name| name == controller)
}
