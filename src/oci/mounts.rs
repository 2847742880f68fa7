//! What a container has mounted: the system's file systems and its volumes.

use super::notify;
use super::schema::Mount;
use super::spec::{Facts, SpecCause, utf8};
use crate::config::plan;

/// What every container has mounted. `nodev` is missing only where device nodes are the purpose.
/// `/dev` takes no more than the nodes and links that the runtime makes in it: it is the one
/// place of a read-only container that root could fill. No `/sys/fs/cgroup`: the limits are not
/// in the cgroup that a container would see there (schema.rs, `Resources`).
const SYSTEM_MOUNTS: [Mount<'static>; 6] = [
    Mount { destination: "/proc", kind: "proc", source: "proc", options: &["nosuid", "noexec", "nodev"] },
    Mount {
        destination: "/dev",
        kind: "tmpfs",
        source: "tmpfs",
        options: &["nosuid", "noexec", "strictatime", "mode=755", "size=64k"],
    },
    Mount {
        destination: "/dev/pts",
        kind: "devpts",
        source: "devpts",
        // Group 5 is `tty` nearly everywhere, and grantpt(3) expects it.
        options: &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
    },
    Mount {
        destination: "/dev/shm",
        kind: "tmpfs",
        source: "shm",
        // 64 MiB as everywhere; what is used counts as the container's memory.
        options: &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
    },
    Mount {
        destination: "/dev/mqueue",
        kind: "mqueue",
        source: "mqueue",
        options: &["nosuid", "noexec", "nodev"],
    },
    Mount {
        destination: "/sys",
        kind: "sysfs",
        source: "sysfs",
        options: &["nosuid", "noexec", "nodev", "ro"],
    },
];

/// The system's mounts, then the volumes and the file for the last words: one that is mounted below another comes after it,
/// else it would be hidden. The order of the file decides among the others.
pub(super) fn mounts<'a>(rootfs: &'a plan::Rootfs, facts: &Facts<'a>) -> Result<Vec<Mount<'a>>, SpecCause> {
    let mut volumes = Vec::with_capacity(rootfs.mounts.len());
    for mount in &rootfs.mounts {
        let volume = facts.volumes.get(mount.volume).ok_or(SpecCause::Missing("the path of a volume"))?;
        volumes.push(Mount {
            destination: &mount.path,
            kind: "bind",
            source: utf8(&volume.path)?,
            options: bind_options(mount.read_only, volume.directory && facts.recursive_read_only),
        });
    }
    if let Some((file, path)) = facts.termination_message {
        volumes.push(Mount {
            destination: path,
            kind: "bind",
            source: utf8(file)?,
            options: &["bind", "rprivate", "rw", "nosuid", "nodev", "noexec"],
        });
    }
    volumes.sort_by_key(|mount| mount.destination.split('/').filter(|part| !part.is_empty()).count());
    let notify = facts.notify.map(|notify| Mount {
        destination: notify::SOCKET,
        kind: "bind",
        source: notify.socket,
        options: notify::OPTIONS,
    });
    Ok(SYSTEM_MOUNTS.into_iter().chain(notify).chain(volumes).collect())
}

/// Options of a volume's mount. Always `rprivate`: the runtimes' own default lets through what
/// the host mounts below it later. Read-only must hold for everything below, and `ro` alone is
/// about the topmost file system: where `rro` cannot be asked for, what is mounted below is left
/// outside (runc; crun takes it in all the same). `rro` is only for directories: crun before
/// 1.14.4 fails with it on a file, which has nothing below it anyway.
fn bind_options(read_only: bool, recursive_read_only: bool) -> &'static [&'static str] {
    match (read_only, recursive_read_only) {
        (false, _) => &["rbind", "rprivate", "rw", "nosuid", "nodev"],
        (true, true) => &["rbind", "rprivate", "ro", "rro", "nosuid", "nodev"],
        (true, false) => &["bind", "rprivate", "ro", "nosuid", "nodev"],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::spec::VolumePath;
    use std::path::{Path, PathBuf};

    #[test]
    fn read_only_holds_for_what_is_mounted_below() {
        for (read_only, recursive, expected) in [
            (false, false, ["rbind", "rw"].as_slice()),
            (false, true, &["rbind", "rw"]),
            (true, false, &["bind", "ro"]),
            (true, true, &["rbind", "ro", "rro"]),
        ] {
            let options = bind_options(read_only, recursive);
            let (of_interest, always): (Vec<_>, Vec<_>) =
                options.iter().partition(|&option| ["bind", "rbind", "ro", "rro", "rw"].contains(option));
            assert_eq!(
                (of_interest.as_slice(), always.as_slice()),
                (expected, &["rprivate", "nosuid", "nodev"][..])
            );
        }
    }

    #[test]
    fn a_mount_below_another_comes_after_it() {
        let paths = ["/a/b/c", "/z", "/a/b", "/a//", "/y"];
        let rootfs = plan::Rootfs {
            path: PathBuf::from("/srv/app"),
            read_only: true,
            args: Vec::new(),
            env: Vec::new(),
            working_directory: "/".to_owned(),
            user: plan::User::default(),
            mounts: paths
                .map(|path| plan::Mount { volume: 0, path: path.to_owned(), read_only: false })
                .to_vec(),
            capabilities: Vec::new(),
            devices: Vec::new(),
            hostname: "gateway".to_owned(),
            network: plan::Network::Host,
        };
        let facts = Facts {
            cgroups_path: "/x",
            devices: &[],
            volumes: &[VolumePath { path: PathBuf::from("/data"), directory: true }],
            network_namespace: None,
            cgroup_namespace: false,
            recursive_read_only: false,
            notify: None,
            termination_message: Some((Path::new("/run/message"), "/y/termination-log")),
            oom_score_adj: 0,
        };
        let mounts = mounts(&rootfs, &facts).unwrap();
        let volumes: Vec<_> =
            mounts.iter().skip(SYSTEM_MOUNTS.len()).map(|mount| mount.destination).collect();
        assert_eq!(volumes, ["/z", "/a//", "/y", "/a/b", "/y/termination-log", "/a/b/c"]);
    }
}
