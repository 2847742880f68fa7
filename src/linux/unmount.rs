//! The end of all mounts, so that every file system on a device is clean when the power goes.

use core::time::Duration;
use std::fs;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::{chdir, sync};

use super::mount_table::{self, Mount};
use super::{job, reason};

/// What stays: nothing in them is on a device, and others need them until the very end. Whatever
/// is below `/proc`, `/sys` or `/dev` stays with them.
const KEPT: [&str; 4] = ["/proc", "/sys", "/dev", "/run"];

/// File systems whose server may be gone: `MNT_FORCE` gives up what waits for it (umount2(2)).
const REMOTE: [&str; 7] = ["nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "fuse"];

/// Kinds of a root that is not on a device of its own, so there is nothing to make clean.
const IN_MEMORY: [&str; 3] = ["rootfs", "ramfs", "tmpfs"];

/// Rounds over all mounts. Each mount that goes may free the ones below it; a tree of bind mounts
/// that needs more than this is none that we or a container runtime would make.
const ROUNDS_MAX: usize = 16;

/// Turns swap off, unmounts whatever is not of the kernel's own, remounts what is busy read-only,
/// and `/` too. Loop devices go with their mount (they clear themselves, loop(4)); device mapper
/// targets stay: with nothing mounted there is nothing of theirs left to write.
///
/// To be called when nothing else runs any more. It is done in a child, as devices may take for
/// ever; that is killed after `patience`, with whatever was not unmounted by then. Calls `tick` at
/// least every second. Returns what could not be done, and why.
pub fn unmount_all(patience: Duration, tick: &mut dyn FnMut()) -> Vec<String> {
    match job::listen_to_ourselves(&["unmount-all"], patience, tick) {
        Ok(Ok(())) => Vec::new(),
        Ok(Err(errors)) => errors.lines().map(str::to_owned).collect(),
        Err(error) => vec![format!("cannot unmount everything: {error}")],
    }
}

/// `outrigger unmount-all`: the same in this very process. In the error: a line for each thing that
/// could not be done.
pub fn unmount_all_here() -> Result<(), String> {
    let mut errors = Vec::new();
    // First: whatever happens below, what was written until now is safe.
    sync();
    // A mount that is somebody's working directory is busy.
    let _ = chdir("/");
    swap_off(&mut errors);
    let mut before = usize::MAX;
    for _ in 0..ROUNDS_MAX {
        let mounts = match to_be_unmounted() {
            Ok(mounts) => mounts,
            Err(error) => {
                errors.push(error);
                break;
            }
        };
        if mounts.is_empty() || mounts.len() >= before {
            break;
        }
        before = mounts.len();
        for mount in &mounts {
            // What fails is tried again in the next round, and named after the last one.
            let _ = unmount(mount);
        }
    }
    for mount in to_be_unmounted().unwrap_or_default() {
        let Err(errno) = unmount(&mount) else { continue };
        if is_read_only(&mount.path) {
            // What `/` itself lies on, say, a squashfs below an overlay: clean as it is.
            continue;
        }
        let read_only = match remount_read_only(&mount.path) {
            Ok(()) => "it is read-only now".to_owned(),
            Err(errno) => format!("and not made read-only: {}", errno.desc()),
        };
        errors.push(format!("cannot unmount `{}`: {}; {read_only}", mount.path, errno.desc()));
    }
    if let Err(errno) = remount_root() {
        errors.push(format!(
            "cannot make `/` read-only: {}; it may need a check at the next boot",
            errno.desc()
        ));
    }
    if errors.is_empty() { Ok(()) } else { Err(errors.join("\n")) }
}

fn to_be_unmounted() -> Result<Vec<Mount>, String> {
    let mountinfo = fs::read_to_string("/proc/self/mountinfo")
        .map_err(|error| format!("cannot read `/proc/self/mountinfo`: {}", reason(&error)))?;
    Ok(last_first(mount_table::mounts(&mountinfo)))
}

/// What is to be unmounted, the last one first, so that what is on another mount goes before it.
fn last_first(mut mounts: Vec<Mount>) -> Vec<Mount> {
    let is_kept = |path: &str| {
        path == "/"
            || KEPT.contains(&path)
            || ["/proc/", "/sys/", "/dev/"].iter().any(|kept| path.starts_with(kept))
    };
    mounts.retain(|mount| !is_kept(&mount.path));
    mounts.reverse();
    mounts
}

fn unmount(mount: &Mount) -> nix::Result<()> {
    let kind = mount.kind.split('.').next().unwrap_or_default();
    let force = if REMOTE.contains(&kind) { MntFlags::MNT_FORCE } else { MntFlags::empty() };
    umount2(mount.path.as_str(), MntFlags::UMOUNT_NOFOLLOW | force)
}

fn remount_read_only(path: &str) -> nix::Result<()> {
    mount(None::<&str>, path, None::<&str>, MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY, None::<&str>)
}

fn remount_root() -> nix::Result<()> {
    let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mounts = mount_table::mounts(&mountinfo);
    let root = mounts.iter().rev().find(|mount| mount.path == "/");
    match root {
        Some(root) if IN_MEMORY.contains(&root.kind.as_str()) => Ok(()),
        Some(_) | None => match remount_read_only("/") {
            // Read-only for good, as squashfs and erofs are, some kernels refuse to say so again.
            Err(Errno::EINVAL | Errno::EROFS) if is_read_only("/") => Ok(()),
            done => done,
        },
    }
}

fn is_read_only(path: &str) -> bool {
    use nix::sys::statvfs::{FsFlags, statvfs};
    statvfs(path).is_ok_and(|facts| facts.flags().contains(FsFlags::ST_RDONLY))
}

/// swapoff(2) for all. What was swapped out comes back, or the kernel refuses for lack of memory.
#[allow(unsafe_code, reason = "nix has no wrapper for swapoff")]
fn swap_off(errors: &mut Vec<String>) {
    // A kernel without swap has no such file.
    for path in mount_table::swaps(&fs::read_to_string("/proc/swaps").unwrap_or_default()) {
        let Ok(name) = std::ffi::CString::new(path.as_str()) else { continue };
        // SAFETY: `name` ends with NUL and outlives the call, which only reads it.
        if let Err(errno) = Errno::result(unsafe { libc::swapoff(name.as_ptr()) }) {
            errors.push(format!("cannot turn off swap on `{path}`: {}", errno.desc()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_on_a_device_goes_and_the_last_mount_first() {
        let text = "1 0 8:1 / / rw - ext4 /dev/root rw\n\
                    2 1 0:1 / /proc rw - proc proc rw\n\
                    3 1 0:2 / /sys rw - sysfs sysfs rw\n\
                    4 3 0:3 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n\
                    5 1 0:4 / /dev rw - devtmpfs devtmpfs rw\n\
                    6 5 0:5 / /dev/shm rw - tmpfs tmpfs rw\n\
                    7 1 0:6 / /run rw - tmpfs tmpfs rw\n\
                    8 7 0:7 / /run/outrigger/pods/a/volumes/v rw - tmpfs tmpfs rw\n\
                    9 1 8:2 / /data rw - ext4 /dev/sda2 rw\n\
                    10 9 8:2 /x /data/bind rw - ext4 /dev/sda2 rw\n\
                    11 1 0:8 / /device rw - tmpfs tmpfs rw\n\
                    12 9 8:3 / /data rw - ext4 /dev/sda3 rw\n";
        let paths: Vec<String> =
            last_first(mount_table::mounts(text)).into_iter().map(|mount| mount.path).collect();
        assert_eq!(paths, ["/data", "/device", "/data/bind", "/data", "/run/outrigger/pods/a/volumes/v"]);
    }
}
