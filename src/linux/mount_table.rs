//! What the kernel says of mounts and file systems, as text to facts. Who reads the files stands in
//! `mounts.rs`, `unmount.rs` and `initramfs.rs`.

use super::cgroup_layout::unescape;

/// One line of `/proc/self/mountinfo` (proc_pid_mountinfo(5)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Its number.
    pub id: u32,
    /// The number of the mount that it is on; its own for the root of all.
    pub parent: u32,
    /// Where it is.
    pub path: String,
    /// Its file system's type, `ext4`.
    pub kind: String,
    /// What is mounted, in the file system's own words, `/dev/mmcblk0p2`.
    pub source: String,
}

/// All mounts, in the kernel's order: a mount stands behind the one that it was made on, unless one
/// of them was moved since. A line that does not read as one is passed over.
pub fn mounts(mountinfo: &str) -> Vec<Mount> {
    mountinfo.lines().filter_map(mount).collect()
}

fn mount(line: &str) -> Option<Mount> {
    let (before, after) = line.split_once(" - ")?;
    let mut before = before.split(' ');
    let (id, parent) = (before.next()?.parse().ok()?, before.next()?.parse().ok()?);
    // Device number and root stand between.
    let path = unescape(before.nth(2)?);
    let mut after = after.split(' ');
    let kind = after.next()?.to_owned();
    Some(Mount { id, parent, path, kind, source: unescape(after.next()?) })
}

/// Whether this kernel has the file system `kind`, by `/proc/filesystems`. A module that is not
/// loaded yet does not show there.
pub fn has_file_system(filesystems: &str, kind: &str) -> bool {
    filesystems.lines().any(|line| line.split('\t').nth(1) == Some(kind))
}

/// The cgroup v1 hierarchies to be mounted, as their controllers with commas between, by
/// `/proc/cgroups` (cgroups(7)): one for each enabled controller, except that those which every
/// distribution mounts together are together here, too.
pub fn legacy_hierarchies(cgroups: &str) -> Vec<String> {
    const TOGETHER: [[&str; 2]; 2] = [["cpu", "cpuacct"], ["net_cls", "net_prio"]];
    let enabled = |line: &str| {
        let mut fields = line.split('\t');
        let name = fields.next()?.to_owned();
        (!name.starts_with('#') && fields.nth(2) == Some("1")).then_some(name)
    };
    let mut hierarchies: Vec<String> = Vec::new();
    for controller in cgroups.lines().filter_map(enabled) {
        let pair = TOGETHER.iter().find(|pair| pair.contains(&controller.as_str()));
        let partner = pair.into_iter().flatten().find(|name| **name != controller);
        match hierarchies.iter_mut().find(|other| partner.is_some_and(|partner| *other == partner)) {
            // In the order of the pair, whatever the order of the file: the directory has this name.
            Some(other) => *other = pair.map_or_else(String::new, |pair| pair.join(",")),
            None => hierarchies.push(controller),
        }
    }
    hierarchies
}

/// The devices and files that are swapped to, by `/proc/swaps`.
pub fn swaps(swaps: &str) -> Vec<String> {
    swaps.lines().skip(1).filter_map(|line| line.split_ascii_whitespace().next()).map(unescape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_have_number_place_type_and_source() {
        let text = "1 1 0:2 / / rw - rootfs none rw\n\
                    21 1 8:1 / /mnt/two\\040words rw,relatime shared:1 master:2 - ext4 /dev/sd\\040a rw\n\
                    not a mount\n\
                    22 x 0:5 / /x rw - tmpfs tmpfs rw\n\
                    23 1 0:6 / /dev rw - devtmpfs  rw\n";
        let mounts = mounts(text);
        let shown: Vec<_> = mounts
            .iter()
            .map(|mount| {
                (mount.id, mount.parent, mount.path.as_str(), mount.kind.as_str(), mount.source.as_str())
            })
            .collect();
        let expected = [
            (1, 1, "/", "rootfs", "none"),
            (21, 1, "/mnt/two words", "ext4", "/dev/sd a"),
            (23, 1, "/dev", "devtmpfs", ""),
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn file_systems_are_known_by_their_whole_name() {
        let text = "nodev\tcgroup\nnodev\tcgroup2x\n\text4\n";
        for (kind, known) in [("cgroup", true), ("cgroup2", false), ("ext4", true), ("nodev", false)] {
            assert_eq!(has_file_system(text, kind), known, "{kind}");
        }
    }

    #[test]
    fn enabled_controllers_get_a_hierarchy_each_and_some_share_one() {
        let head = "#subsys_name\thierarchy\tnum_cgroups\tenabled\n";
        for (rows, expected) in [
            (&[][..], &[][..]),
            (&["cpuset\t0\t1\t1", "cpu\t0\t1\t1", "cpuacct\t0\t1\t1"], &["cpuset", "cpu,cpuacct"]),
            (&["cpuacct\t0\t1\t1", "memory\t0\t1\t0", "cpu\t0\t1\t1"], &["cpu,cpuacct"]),
            (&["cpu\t0\t1\t1", "cpuacct\t0\t1\t0", "pids\t0\t1\t1"], &["cpu", "pids"]),
            (
                &["net_cls\t0\t1\t1", "freezer\t0\t1\t1", "net_prio\t0\t1\t1"],
                &["net_cls,net_prio", "freezer"],
            ),
            (&["torn", "torn\t0"], &[]),
        ] {
            assert_eq!(legacy_hierarchies(&format!("{head}{}", rows.join("\n"))), expected, "{rows:?}");
        }
    }

    #[test]
    fn swaps_are_named_without_the_head() {
        let text = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n\
                    /dev/zram0                              partition\t500\t\t0\t\t100\n\
                    /swap\\040file                           file\t\t100\t\t0\t\t-2\n";
        assert_eq!(swaps(text), ["/dev/zram0", "/swap file"]);
        assert_eq!(swaps(""), Vec::<String>::new());
    }
}
