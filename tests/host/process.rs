//! Facts about processes, from /proc.

use std::fs;
use std::path::Path;

/// All processes of this host.
pub(super) fn all() -> Vec<i32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// The processes of one cgroup, without those below it.
pub(super) fn in_cgroup(directory: &Path) -> Vec<i32> {
    let procs = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    procs.lines().filter_map(|line| line.parse().ok()).filter(|&pid| pid > 0).collect()
}

/// The processes of a cgroup and of those below it.
pub(super) fn in_cgroups(directory: &Path) -> Vec<i32> {
    let mut found = in_cgroup(directory);
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            found.extend(in_cgroups(&entry.path()));
        }
    }
    found
}

/// A line of `/proc/<pid>/status`, after its colon. `None`: there is no such process.
pub(super) fn status_line(pid: i32, key: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    Some(line.trim().to_owned())
}

/// Its number in its own pid namespace.
pub(super) fn number_inside(pid: i32) -> Option<i32> {
    status_line(pid, "NSpid")?.split_whitespace().last()?.parse().ok()
}

/// Its children, ended or not.
pub(super) fn children(pid: i32) -> Vec<i32> {
    let is_child = |child: &i32| status_line(*child, "PPid").is_some_and(|parent| parent == pid.to_string());
    all().into_iter().filter(is_child).collect()
}

/// Whether it has ended and waits to be reaped.
pub(super) fn is_zombie(pid: i32) -> bool {
    status_line(pid, "State").is_some_and(|state| state.starts_with('Z'))
}

/// Whether there is such a process, not ended.
pub(super) fn is_alive(pid: i32) -> bool {
    status_line(pid, "State").is_some() && !is_zombie(pid)
}

/// Its command line, words apart by spaces.
pub(super) fn command_line(pid: i32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

/// How many descriptors it has open.
pub(super) fn descriptors(pid: i32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// What they are, for a message.
pub(super) fn descriptor_list(pid: i32) -> String {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let links =
        entries.filter_map(|entry| Some(format!("{}\n", fs::read_link(entry.path()).ok()?.display())));
    links.collect()
}

/// How many files it watches with inotify.
pub(super) fn inotify_watches(pid: i32) -> usize {
    let infos = fs::read_dir(format!("/proc/{pid}/fdinfo")).unwrap().flatten();
    let texts = infos.filter_map(|info| fs::read_to_string(info.path()).ok());
    texts.map(|text| text.lines().filter(|line| line.starts_with("inotify ")).count()).sum()
}

/// Sends SIGKILL to a process that a test has started or found in its own cgroup.
pub(super) fn kill(pid: i32) {
    let pid = nix::unistd::Pid::from_raw(pid);
    // It may have ended by itself.
    let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
}
