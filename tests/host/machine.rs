//! A machine for one test: a directory with a root file system, a machine file and pod files, and
//! a cgroup root that nobody else has.
//!
//! When it is dropped it looks for whatever a run has left behind, removes it, and fails the test.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::thread::panicking;

use tempfile::TempDir;

use super::process;
use super::remains;
use super::run::Run;

/// The built program.
pub(super) const OUTRIGGER: &str = env!("CARGO_BIN_EXE_outrigger");

/// Every runtime that is supported.
pub(super) const RUNTIMES: [&str; 2] = ["crun", "runc"];

/// Programs of this host that the tests use, and the Debian package of each.
const NEEDED: [(&str, &str); 7] = [
    ("crun", "crun"),
    ("runc", "runc"),
    ("busybox", "busybox-static"),
    ("strace", "strace"),
    ("unshare", "util-linux"),
    ("mount", "mount"),
    ("perl", "perl-base"),
];

/// Applets of busybox beyond those of the demo.
const APPLETS: [&str; 23] = [
    "awk", "basename", "cut", "dd", "env", "hostname", "ip", "ln", "nc", "ps", "pwd", "readlink", "rm",
    "sed", "seq", "setsid", "stat", "test", "tr", "umount", "usleep", "wc", "yes",
];

pub(super) struct Machine {
    directory: TempDir,
    state: PathBuf,
    runtime: String,
    cgroup_root: String,
    settings: String,
    /// What stands before `outrigger run` on the command line.
    wrapper: Vec<String>,
}

impl Machine {
    /// With `crun` or `runc`, or the absolute path of another program.
    pub(super) fn new(runtime: &str) -> Machine {
        static CHECKED: Once = Once::new();
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        CHECKED.call_once(check_host);
        let directory = tempfile::Builder::new().prefix("outrigger-test-").tempdir().unwrap();
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let machine = Machine {
            state: directory.path().join("state"),
            directory,
            cgroup_root: format!("/outrigger-test-{}-{number}", std::process::id()),
            runtime: runtime.to_owned(),
            settings: String::new(),
            wrapper: Vec::new(),
        };
        machine.make_rootfs();
        machine
    }

    /// A path in the test's directory.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(super) fn state(&self) -> &Path {
        &self.state
    }

    /// Puts the state directory somewhere else in the test's directory.
    pub(super) fn set_state(&mut self, name: &str) {
        self.state = self.path(name);
    }

    pub(super) fn cgroup_root(&self) -> &str {
        &self.cgroup_root
    }

    /// Another runtime, by name or absolute path.
    pub(super) fn set_runtime(&mut self, runtime: &str) {
        runtime.clone_into(&mut self.runtime);
    }

    /// Adds lines to the machine file.
    pub(super) fn set(&mut self, lines: &str) {
        self.settings.push_str(lines);
        self.settings.push('\n');
    }

    /// Replaces all lines that were added to it.
    pub(super) fn replace_settings(&mut self, lines: &str) {
        lines.clone_into(&mut self.settings);
    }

    /// Lets `outrigger` be executed by another program: these words stand before its own.
    pub(super) fn wrap(&mut self, words: &[&str]) {
        self.wrapper = words.iter().map(|word| (*word).to_owned()).collect();
    }

    /// Writes a script that containers can execute as `/demo/<name>`.
    pub(super) fn script(&self, name: &str, text: &str) {
        let path = self.path("rootfs/demo").join(name);
        write_program(&path, &format!("#!/bin/sh\n{text}\n"));
    }

    /// Writes `pods/<file>.toml`. `ROOTFS` and `DIRECTORY` in its text are replaced.
    pub(super) fn pod(&self, file: &str, text: &str) {
        let directory = self.directory.path().display().to_string();
        let text = text.replace("ROOTFS", &format!("{directory}/rootfs")).replace("DIRECTORY", &directory);
        fs::create_dir_all(self.path("pods")).unwrap();
        fs::write(self.path("pods").join(file).with_extension("toml"), text).unwrap();
    }

    /// Starts `outrigger run` with all pods.
    pub(super) fn run(&self) -> Run<'_> {
        Run::start(self, self.command("run"))
    }

    /// `outrigger <subcommand>` with the machine file and all pods.
    pub(super) fn command(&self, subcommand: &str) -> Command {
        let file = format!(
            "{}\nruntime = \"{}\"\nstate-directory = \"{}\"\ncgroup-root = \"{}\"\n",
            self.settings,
            self.runtime,
            self.state.display(),
            self.cgroup_root
        );
        fs::write(self.path("machine.toml"), file).unwrap();
        let mut words = self.wrapper.iter().map(String::as_str).chain([OUTRIGGER]);
        let mut command = Command::new(words.next().unwrap());
        command.args(words).arg(subcommand).arg("--config").arg(self.path("machine.toml"));
        command.arg(self.path("pods")).env_remove("OUTRIGGER_RUNTIME");
        command
    }

    /// The processes in a container's `payload`.
    pub(super) fn payload(&self, pod: &str, container: &str) -> Vec<i32> {
        let payload = format!("{}/{pod}/{container}/payload", &self.cgroup_root[1..]);
        let mounts = remains::cgroup_mounts();
        let found = mounts.iter().map(|mount| process::in_cgroup(&mount.join(&payload)));
        found.max_by_key(Vec::len).unwrap_or_default()
    }

    /// The first process of a container: number 1 in a pid namespace of its own.
    pub(super) fn first_process(&self, pod: &str, container: &str) -> i32 {
        let mut pids = self.payload(pod, container);
        if pids.is_empty() {
            // cgroup v1 alone: it may be in any of the container's cgroups.
            pids = self.processes(pod, container);
        }
        let first = pids.iter().copied().find(|&pid| process::number_inside(pid) == Some(1));
        first.unwrap_or_else(|| panic!("no first process of {pod}/{container} among {pids:?}"))
    }

    /// All processes of a container, wherever this host's cgroups hold them.
    pub(super) fn processes(&self, pod: &str, container: &str) -> Vec<i32> {
        let place = format!("{}/{pod}/{container}", &self.cgroup_root[1..]);
        let mounts = remains::cgroup_mounts();
        let found = mounts.iter().map(|mount| process::in_cgroups(&mount.join(&place)));
        found.max_by_key(Vec::len).unwrap_or_default()
    }

    /// Fails if anything is left of a run.
    pub(super) fn assert_nothing_left(&self) {
        let found = remains::find(self.directory.path(), &self.state, &self.cgroup_root);
        assert!(found.is_empty(), "left behind:\n{}", found.join("\n"));
    }

    fn make_rootfs(&self) {
        let rootfs = self.path("rootfs");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/demo-rootfs");
        let made = Command::new("sh").arg(script).arg(&rootfs).status().unwrap();
        assert!(made.success(), "scripts/demo-rootfs: {made}");
        for applet in APPLETS {
            let path = rootfs.join("bin").join(applet);
            if !path.exists() {
                symlink("busybox", path).unwrap();
            }
        }
        // Mount points for volumes: a read-only root cannot get new ones.
        for place in ["data", "other"] {
            fs::create_dir_all(rootfs.join(place)).unwrap();
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let found = remains::find(self.directory.path(), &self.state, &self.cgroup_root);
        if found.is_empty() {
            return;
        }
        remains::remove(self.directory.path(), &self.state, &self.cgroup_root);
        assert!(panicking(), "left behind:\n{}", found.join("\n"));
    }
}

/// Writes an executable file.
pub(super) fn write_program(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    // Executed only later, by others: written under another name it cannot be busy (ETXTBSY) in
    // a child that another test forks just now.
    let draft = path.with_extension("draft");
    let written = Command::new("sh")
        .args(["-c", "printf '%s' \"$1\" > \"$0\""])
        .arg(&draft)
        .arg(text)
        .status()
        .unwrap();
    assert!(written.success());
    fs::set_permissions(&draft, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(&draft, path).unwrap();
}

/// A port of loopback that no other test of this run gets, below those that the kernel gives to
/// connections.
pub(super) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let own = u16::try_from(std::process::id() % 100).unwrap() * 200;
        let port = 10_000 + (own + NEXT.fetch_add(1, Ordering::Relaxed)) % 20_000;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

fn check_host() {
    assert!(nix::unistd::geteuid().is_root(), "these tests make cgroups and mounts: run them as root");
    let path = std::env::var("PATH").unwrap_or_default();
    let there = |name: &str| path.split(':').any(|directory| Path::new(directory).join(name).exists());
    let missing: Vec<&str> =
        NEEDED.iter().filter(|(program, _)| !there(program)).map(|(_, package)| *package).collect();
    assert!(missing.is_empty(), "these tests need more programs: apt-get install {}", missing.join(" "));
}
