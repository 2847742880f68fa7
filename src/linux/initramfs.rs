//! Off the initramfs: the kernel lets nobody pivot_root(2) away from the file system that it
//! unpacked the initramfs into, and OCI runtimes do just that to enter a container.

use std::fs;

use nix::mount::{MsFlags, mount};
use nix::unistd::{chdir, chroot};

use super::mount_table::{self, Mount};
use super::{mounts, reason};

/// What the kernel unpacks an initramfs into (its documentation, ramfs-rootfs-initramfs).
const KINDS: [&str; 3] = ["rootfs", "ramfs", "tmpfs"];

/// Where the root is bound to for a moment. Removed again.
const STEPPING_STONE: &str = "/.outrigger-root";

/// Moves the whole tree onto a mount of its own, if it lies on the kernel's first one, so that
/// pivot_root works. Files, mounts and descriptors stay what they are. Mounts `/proc`, which tells
/// which kind of root this is, unless it is there.
///
/// Returns whether anything was to be done: not on a real root, nor a second time. To be run
/// before anything is started, as each process has a root directory of its own.
///
/// In the error: what refused, after which the tree is as it was, but for a directory
/// `/.outrigger-root`.
pub fn leave() -> Result<bool, String> {
    let failed = |what: &str, reason: &str| {
        format!("cannot leave the initramfs: {what}: {reason}; containers that pivot_root cannot be started")
    };
    mounts::mount_proc()?;
    let mountinfo = fs::read_to_string("/proc/self/mountinfo");
    let mountinfo = mountinfo.map_err(|error| failed("reading `/proc/self/mountinfo`", &reason(&error)))?;
    if !is_on_initramfs(&mount_table::mounts(&mountinfo)) {
        return Ok(false);
    }
    fs::create_dir_all(STEPPING_STONE)
        .map_err(|error| failed("making `/.outrigger-root`", &reason(&error)))?;
    let none = None::<&str>;
    let moved = mount(Some("/"), STEPPING_STONE, none, MsFlags::MS_BIND | MsFlags::MS_REC, none)
        .and_then(|()| chdir(STEPPING_STONE))
        .and_then(|()| mount(Some("."), "/", none, MsFlags::MS_MOVE, none))
        .and_then(|()| chroot("."))
        .and_then(|()| chdir("/"));
    moved.map_err(|errno| failed("moving the root", errno.desc()))?;
    // The same directory, seen through the new mount, where nothing is mounted on it.
    fs::remove_dir(STEPPING_STONE).map_err(|error| failed("removing `/.outrigger-root`", &reason(&error)))?;
    Ok(true)
}

/// Whether `/` is the mount that is on no other one, and in memory. On every other root, the
/// one that we moved to included, that mount is below and does not show.
fn is_on_initramfs(mounts: &[Mount]) -> bool {
    let root = mounts.iter().find(|mount| mount.path == "/" && mount.id == mount.parent);
    // Something mounted over it is where we really are.
    let covered = mounts.iter().any(|mount| mount.path == "/" && mount.id != mount.parent);
    root.is_some_and(|root| KINDS.contains(&root.kind.as_str())) && !covered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_root_of_the_kernel_is_to_be_left() {
        for (what, text, expected) in [
            ("initramfs", "1 1 0:2 / / rw - rootfs none rw\n20 1 0:5 / /proc rw - proc proc rw\n", true),
            ("initramfs of a newer kernel", "2 2 0:2 / / rw - rootfs rootfs rw,size=9k\n", true),
            ("the same, left", "21 1 0:2 / / rw - rootfs none rw\n22 21 0:5 / /proc rw - proc p rw\n", false),
            ("a disk", "24 1 254:0 / / rw - ext4 /dev/vda rw\n", false),
            ("a tmpfs that was switched to", "24 1 0:20 / / rw - tmpfs tmpfs rw\n", false),
            ("a disk over it", "1 1 0:2 / / rw - rootfs none rw\n2 1 8:1 / / rw - ext4 /dev/sda rw\n", false),
            ("nothing", "", false),
        ] {
            assert_eq!(is_on_initramfs(&mount_table::mounts(text)), expected, "{what}");
        }
    }
}
