//! What is not ours on a machine: other supervisors, other cgroups, the host's mounts.

use std::fs;
use std::path::PathBuf;

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::demo;
use super::machine::Machine;
use super::remains;

/// A file system of the host, mounted for the time of a test.
struct HostMount(PathBuf);

impl HostMount {
    fn new(path: PathBuf) -> HostMount {
        fs::create_dir(&path).unwrap();
        mount(Some("tmpfs"), &path, Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
        HostMount(path)
    }

    fn is_mounted(&self) -> bool {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        mounts.lines().any(|line| line.split(' ').nth(4) == self.0.to_str())
    }
}

impl Drop for HostMount {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

#[test]
fn a_mount_point_of_the_host_stays_mounted_after_its_pod() {
    let machine = Machine::new("crun");
    let directory = tempfile::tempdir().unwrap();
    let shared = HostMount::new(directory.path().join("shared"));
    let pod = r#"
        name = "test"
        restart-policy = "never"
        [[volumes]]
        name = "shared"
        host-path = "SHARED"
        [[containers]]
        name = "app"
        rootfs = "ROOTFS"
        command = ["/bin/sh", "-c", "echo written > /data/file"]
        mounts = [{ volume = "shared", path = "/data" }]
    "#;
    machine.pod("test", &pod.replace("SHARED", shared.0.to_str().unwrap()));
    machine.run().end().assert_status(0);
    assert!(shared.is_mounted(), "the pod's end has unmounted a file system of the host");
    assert_eq!(fs::read_to_string(shared.0.join("file")).unwrap(), "written\n");
}

#[test]
fn a_second_supervisor_with_the_same_cgroup_root_is_refused() {
    let machine = demo::machine("crun");
    let cgroup_root = machine.cgroup_root();
    let other_state = machine.path("other-state");
    let settings = machine.path("other.toml");
    let text = format!("state-directory = \"{}\"\ncgroup-root = \"{cgroup_root}\"\n", other_state.display());
    fs::write(&settings, text).unwrap();
    let first = machine.run();
    first.wait_for("pod demo: Running");
    let second = std::process::Command::new(super::machine::OUTRIGGER)
        .args(["run", "--config"])
        .arg(&settings)
        .arg(machine.path("pods"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(3), "{said}");
    let expected =
        format!("outrigger: error: cannot use cgroup root `{cgroup_root}`: another outrigger uses it; ");
    assert!(said.starts_with(&expected), "{said}");
    assert!(!other_state.exists(), "the refused one has left its state directory");
    let ended = first.end();
    assert_eq!(ended.count("killed by"), 0, "{}", ended.text());
    ended.assert_status(0);
}

#[test]
fn cgroups_that_are_not_ours_are_refused_and_left_alone() {
    let machine = demo::machine("crun");
    let root = machine.cgroup_root().trim_start_matches('/').to_owned();
    let foreign: Vec<PathBuf> =
        remains::cgroup_mounts().iter().map(|mount| mount.join(&root).join("somebody")).take(1).collect();
    for path in &foreign {
        fs::create_dir_all(path).unwrap();
    }
    let refused = machine.command("run").output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    let still_there = foreign.iter().all(|path| path.is_dir());
    for path in &foreign {
        let _ = fs::remove_dir(path);
        let _ = fs::remove_dir(path.parent().unwrap());
    }
    assert_eq!(refused.status.code(), Some(3), "{said}");
    assert!(said.contains("it has cgroups that are not ours (`somebody`)"), "{said}");
    assert!(still_there, "a cgroup of somebody else was removed");
}
