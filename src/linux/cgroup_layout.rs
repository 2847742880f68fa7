//! Which cgroup hierarchies a host has, and where. Text to facts: the files are read in
//! `cgroup.rs`.

use std::path::PathBuf;

/// The hierarchies that are mounted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Where the unified hierarchy (cgroup v2) is, if it is mounted.
    pub unified: Option<PathBuf>,
    /// The others (cgroup v1), in the order in which they were mounted.
    pub legacy: Vec<Legacy>,
}

/// One cgroup v1 hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Legacy {
    /// Where it is mounted.
    pub mount: PathBuf,
    /// Its controllers; none for a named one (`name=systemd`).
    pub controllers: Vec<String>,
}

impl Layout {
    /// Reads `/proc/self/mountinfo` (proc(5)). Of several mounts of the same hierarchy the last
    /// one at a place counts, and the first place.
    pub fn parse(mountinfo: &str) -> Layout {
        let mut layout = Layout::default();
        for line in mountinfo.lines() {
            let Some((before, after)) = line.split_once(" - ") else { continue };
            let Some(mount) = before.split(' ').nth(4) else { continue };
            let mount = PathBuf::from(unescape(mount));
            let mut fields = after.split(' ');
            let (kind, options) = (fields.next(), fields.nth(1).unwrap_or_default());
            // A later mount at the same place hides the former.
            if layout.unified.as_ref() == Some(&mount) {
                layout.unified = None;
            }
            layout.legacy.retain(|legacy| legacy.mount != mount);
            match kind {
                Some("cgroup2") if layout.unified.is_none() => layout.unified = Some(mount),
                Some("cgroup") => {
                    let controllers = options.split(',').filter(|option| CONTROLLERS.contains(option));
                    let controllers: Vec<String> = controllers.map(str::to_owned).collect();
                    let named = options.split(',').any(|option| option.starts_with("name="));
                    let known =
                        |legacy: &Legacy| !controllers.is_empty() && legacy.controllers == controllers;
                    if (named || !controllers.is_empty()) && !layout.legacy.iter().any(known) {
                        layout.legacy.push(Legacy { mount, controllers });
                    }
                }
                _ => {}
            }
        }
        layout
    }

    /// Whether both kinds are mounted: limits are in the old ones, the tree of processes is in
    /// the unified one.
    pub fn is_hybrid(&self) -> bool {
        self.unified.is_some() && !self.legacy.is_empty()
    }

    /// Where the v1 hierarchy with this controller is.
    pub fn legacy_with(&self, controller: &str) -> Option<&Legacy> {
        self.legacy.iter().find(|legacy| legacy.controllers.iter().any(|name| name == controller))
    }
}

/// The controllers of cgroup v1 (cgroups(7)); what else stands in the options is an option.
const CONTROLLERS: [&str; 13] = [
    "cpuset",
    "cpu",
    "cpuacct",
    "blkio",
    "memory",
    "devices",
    "freezer",
    "net_cls",
    "perf_event",
    "net_prio",
    "hugetlb",
    "pids",
    "rdma",
];

/// The path of the process in the unified hierarchy, from `/proc/self/cgroup`.
pub fn own_unified_path(cgroup: &str) -> Option<&str> {
    cgroup.lines().find_map(|line| line.strip_prefix("0::"))
}

/// Undoes the octal escapes of mountinfo (space, tab, newline, backslash).
pub fn unescape(field: &str) -> String {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let octal = tail.get(..3).filter(|_| byte == b'\\').and_then(|digits| {
            let digits = core::str::from_utf8(digits).ok()?;
            u8::from_str_radix(digits, 8).ok()
        });
        match octal {
            Some(value) => {
                bytes.push(value);
                rest = tail.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_with_only_the_unified_hierarchy() {
        let text = "24 1 0:22 / /proc rw - proc proc rw\n\
                    30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
        let layout = Layout::parse(text);
        assert_eq!(layout.unified, Some(PathBuf::from("/sys/fs/cgroup")));
        assert!(layout.legacy.is_empty() && !layout.is_hybrid());
    }

    #[test]
    fn a_hybrid_host_has_limits_in_the_old_hierarchies() {
        let text = "1 0 0:1 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
                    2 1 0:2 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                    3 1 0:3 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                    4 1 0:4 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n\
                    5 1 0:5 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let layout = Layout::parse(text);
        assert!(layout.is_hybrid());
        assert_eq!(layout.unified, Some(PathBuf::from("/sys/fs/cgroup/unified")));
        assert_eq!(layout.legacy.len(), 3);
        let cpu = layout.legacy_with("cpu").unwrap();
        assert_eq!(cpu.mount, PathBuf::from("/sys/fs/cgroup/cpu,cpuacct"));
        assert_eq!(layout.legacy_with("pids"), None);
    }

    #[test]
    fn a_mount_over_another_hides_it() {
        let text = "1 0 0:1 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                    2 0 0:2 / /sys/fs/cgroup rw - cgroup2 first rw\n\
                    3 0 0:2 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
                    4 0 0:2 / /mnt/two\\040words rw - cgroup2 second rw\n";
        let layout = Layout::parse(text);
        assert_eq!(layout.unified, Some(PathBuf::from("/mnt/two words")));
    }

    #[test]
    fn nonsense_is_passed_over() {
        for text in ["", "\n", "a b c", " - ", "1 2 3 4 5 - cgroup", "1 2 3 4 /x\\9 - cgroup2"] {
            let layout = Layout::parse(text);
            assert!(layout.legacy.is_empty(), "{text:?}");
        }
    }

    #[test]
    fn the_own_path_is_the_line_of_hierarchy_zero() {
        assert_eq!(own_unified_path("4:memory:/x\n0::/user.slice\n"), Some("/user.slice"));
        assert_eq!(own_unified_path("4:memory:/x\n"), None);
    }
}
