//! What a run leaves behind: processes, cgroups, mounts, files.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::mount::{MntFlags, umount2};

use super::process;
use super::run::poll_until;

/// Names all that is left of runs in `directory` with `cgroup_root`. Log files are meant to stay.
pub(super) fn find(directory: &Path, state: &Path, cgroup_root: &str) -> Vec<String> {
    let mut found = Vec::new();
    for pid in processes(directory, cgroup_root) {
        found.push(format!("process {pid}: {}", process::command_line(pid)));
    }
    for cgroup in cgroups(cgroup_root) {
        found.push(format!("cgroup {}", cgroup.display()));
    }
    for mount in mounts(state) {
        found.push(format!("mount {}", mount.display()));
    }
    if state.join("logs").exists() {
        let entries = fs::read_dir(state).unwrap().map(|entry| entry.unwrap().path());
        let others = entries.filter(|path| !path.ends_with("logs"));
        found.extend(others.map(|path| format!("file {}", path.display())));
    } else if state.exists() {
        found.push(format!("directory {}: {:?}", state.display(), names(state)));
    }
    found
}

/// Removes it, as far as it can be.
pub(super) fn remove(directory: &Path, state: &Path, cgroup_root: &str) {
    processes(directory, cgroup_root).into_iter().for_each(process::kill);
    let gone = || processes(directory, cgroup_root).is_empty();
    poll_until(Duration::from_secs(10), gone);
    cgroups(cgroup_root).iter().for_each(|cgroup| remove_cgroup(cgroup));
    for mount in mounts(state).iter().rev() {
        let _ = umount2(mount, MntFlags::MNT_DETACH);
    }
}

/// Where cgroup hierarchies are mounted.
pub(super) fn cgroup_mounts() -> Vec<PathBuf> {
    let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let is_cgroup = |line: &&str| line.contains(" - cgroup ") || line.contains(" - cgroup2 ");
    let mounts = mountinfo.lines().filter(is_cgroup).filter_map(|line| line.split(' ').nth(4));
    mounts.map(PathBuf::from).collect()
}

fn cgroups(root: &str) -> Vec<PathBuf> {
    let places = cgroup_mounts().into_iter().map(|mount| mount.join(&root[1..]));
    places.filter(|place| place.exists()).collect()
}

fn remove_cgroup(directory: &Path) {
    for child in names(directory) {
        let child = directory.join(child);
        if child.is_dir() {
            remove_cgroup(&child);
        }
    }
    let _ = fs::remove_dir(directory);
}

/// Those in the cgroup, and those whose root comes from the directory, as a container's does. Not
/// those that only name it: anybody may look at a directory, and they are killed.
fn processes(directory: &Path, cgroup_root: &str) -> Vec<i32> {
    let cgroup = format!(":{cgroup_root}/");
    let is_in_cgroup = |pid: i32| {
        let own = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        own.lines().any(|line| line.contains(&cgroup))
    };
    let is_rooted = |pid: i32| {
        let mountinfo = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
        // The fourth field is what of its file system is mounted, the fifth where.
        mountinfo.lines().any(|line| {
            let mut fields = line.split(' ').skip(3);
            let (root, place) = (fields.next().unwrap_or_default(), fields.next());
            place == Some("/") && Path::new(root).starts_with(directory)
        })
    };
    let ours = |&pid: &i32| !process::is_zombie(pid) && (is_in_cgroup(pid) || is_rooted(pid));
    process::all().into_iter().filter(ours).collect()
}

fn mounts(state: &Path) -> Vec<PathBuf> {
    let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mounts = mountinfo.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from);
    mounts.filter(|mount| mount.starts_with(state)).collect()
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}
