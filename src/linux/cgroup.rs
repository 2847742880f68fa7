//! The cgroup tree: the body of each container.
//!
//! ```text
//! <root>/supervisor/                    ourselves and the log writer
//! <root>/<pod>/                         the pod's limits
//! <root>/<pod>/<container>/             the container's limits; killed as a whole
//! <root>/<pod>/<container>/runtime/     the runtime's calls and exec probes
//! <root>/<pod>/<container>/payload/     the container, or the host process
//! ```
//!
//! The root is a cgroup of our own, made at the start and removed at the end; or *given*: the one
//! that a service manager has started us in. In that we may do as we like, and nowhere else: in a
//! hierarchy that systemd manages, each cgroup has one writer. A cgroup with processes cannot hand
//! controllers down to its children (cgroups(7), "no internal processes"), so we leave the root
//! for `supervisor/` first, and the manager removes both when we have ended.
//!
//! Three kinds of hosts. *Unified* (v2 alone): everything is in that tree. *Hybrid* (v2 beside
//! v1): the unified tree holds the processes, since only it can kill a cgroup at once and tell
//! when it is empty; limits are in same-named v1 cgroups. *Legacy* (v1 alone): processes are held
//! and counted by `cgroup.procs` of a v1 tree, and killed one by one until none is left. A v1
//! cgroup may hold processes and children, so there the runtime runs in `<container>/` itself.
//!
//! Needs no more than mkdir, rmdir, and small files; only limits go through cgroups-rs
//! (`cgroup_limits.rs`).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::cgroup_layout::{Layout, Legacy, own_unified_path};
use super::cgroup_limits::{self, Controller};
use super::delegation::is_delegated;
use super::spawn;
use crate::config::plan::{Requests, Resources};

/// How long the start waits for what an earlier, crashed supervisor left to die. Milliseconds.
const LEFTOVERS_WAIT_MS: u16 = 5000;

/// How often the processes of a cgroup are looked for that must be killed one by one.
const KILL_ROUNDS: usize = 16;

/// Our root where none is configured and none is given. Top of the hierarchy: it may have
/// processes beside children.
const ROOT: &str = "outrigger";

/// Where we are ourselves, below our root. No pod may have this name (`config/check.rs`).
pub const SUPERVISOR: &str = "supervisor";

/// The tree, and what this host's cgroups can do.
#[derive(Debug)]
pub struct Tree {
    layout: Layout,
    /// Our root in every hierarchy, without the leading slash.
    root: PathBuf,
    /// Whether the root was there before us, with us in it.
    given: bool,
    /// Where each controller's files are, if it can be used.
    homes: [(Controller, Option<Home>); 3],
    /// Whether the OOM killer is to take all processes of a container together.
    oom_kill_together: bool,
    /// Where we were before, to go back to in the end.
    former: Option<PathBuf>,
    inotify: Inotify,
    /// The watched `cgroup.events` of each container's cgroup. Removing a cgroup does not end its
    /// watch (seen with Linux 6.18).
    watches: Vec<(PathBuf, WatchDescriptor)>,
    /// Held so that nobody else takes our root for leftovers.
    lock: Option<Flock<File>>,
}

#[derive(Clone, Debug)]
struct Home {
    mount: PathBuf,
    unified: bool,
}

/// The open cgroup of one container, for processes that are to be made in it.
#[derive(Debug)]
pub struct Entrance {
    unified: Option<(File, File)>,
    further_procs: Vec<File>,
}

impl Entrance {
    /// What `spawn` needs of the unified hierarchy.
    pub fn cgroup(&self) -> Option<spawn::Cgroup<'_>> {
        let (directory, procs) = self.unified.as_ref()?;
        Some(spawn::Cgroup { directory: directory.as_fd(), procs: procs.as_fd() })
    }

    /// What it needs of the others.
    pub fn further_procs(&self) -> Vec<BorrowedFd<'_>> {
        self.further_procs.iter().map(AsFd::as_fd).collect()
    }
}

impl Tree {
    /// Finds the hierarchies, removes what an earlier supervisor left in them, makes our root and
    /// moves this process into it. Without `root`: the cgroup that this process is in if a service
    /// manager has delegated it, else `/outrigger`. In the error: the path and the system's reason.
    ///
    /// `oom_kill_together`: whether the OOM killer is to take all processes of a container.
    pub fn open(root: Option<&str>, oom_kill_together: bool) -> Result<Tree, String> {
        let mountinfo = read_text(Path::new("/proc/self/mountinfo"))?;
        let layout = Layout::parse(&mountinfo);
        if layout.unified.is_none() && layout.legacy.is_empty() {
            return Err("no cgroup hierarchy is mounted; mount cgroup2 at /sys/fs/cgroup".to_owned());
        }
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)
            .map_err(|errno| describe("watch", Path::new("cgroups"), errno))?;
        let own = own_path()?;
        let root = match root {
            Some(root) => PathBuf::from(root.trim_start_matches('/')),
            None => delegated_root(&layout, &own).unwrap_or_else(|| PathBuf::from(ROOT)),
        };
        let given = own.starts_with(&root);
        let homes = Controller::ALL.map(|controller| (controller, None));
        let mut tree = Tree {
            layout,
            root,
            given,
            homes,
            oom_kill_together,
            former: None,
            inotify,
            watches: Vec::new(),
            lock: None,
        };
        tree.lock = Some(tree.lock_root()?);
        if let Err(error) = tree.remove_leftovers() {
            // What is not ours is left alone; a root that was made for its lock alone is not.
            if !given {
                let _ = tree.mounts().next().map(|mount| fs::remove_dir(mount.join(&tree.root)));
            }
            return Err(error);
        }
        match tree.make_root(&own) {
            Ok(()) => Ok(tree),
            Err(error) => {
                // What was made of it; the first error is the one that matters.
                let _ = tree.close();
                Err(error)
            }
        }
    }

    /// Moves this process back and removes the root; of a given one, all but the place where this
    /// process is. What cannot be removed is named.
    pub fn close(&mut self) -> Result<(), String> {
        let mut result = Ok(());
        if let (Some(unified), Some(former)) = (&self.layout.unified, self.former.take()) {
            let former = unified.join(former);
            // Gone by now: then the top, where nothing limits us that did not before.
            result = write(&former.join("cgroup.procs"), "0")
                .or_else(|_| write(&unified.join("cgroup.procs"), "0"));
        }
        // Ours last: by it the next supervisor knows that what is left here was ours.
        for mount in self.mounts() {
            let root = mount.join(&self.root);
            for name in directories(&root) {
                if name != SUPERVISOR && !self.is_foreign(&name) {
                    result = result.and(remove_tree(&root.join(name)));
                }
            }
        }
        if result.is_ok() && !self.given { self.remove_everywhere(&self.root) } else { result }
    }

    /// Which controllers `resources` ask for and this host does not give us.
    pub fn missing(&self, resources: &Resources) -> impl Iterator<Item = Controller> {
        let missing =
            self.homes.iter().filter(|(controller, home)| home.is_none() && controller.is_needed(resources));
        missing.map(|(controller, _)| *controller)
    }

    /// Whether crun must be shown the unified hierarchy alone, since it refuses a hybrid host.
    pub fn is_hybrid(&self) -> bool {
        self.layout.is_hybrid()
    }

    /// Whether the unified hierarchy is the only one.
    pub fn is_unified(&self) -> bool {
        self.layout.unified.is_some() && self.layout.legacy.is_empty()
    }

    /// Readable when some container's cgroup has become empty.
    pub fn events(&self) -> impl AsFd {
        &self.inotify
    }

    /// Takes note of the events: which cgroup it was shows when looking at it.
    pub fn acknowledge_events(&self) {
        // EAGAIN ends it; an overflow of the queue is an event like any other.
        while self.inotify.read_events().is_ok() {}
    }

    /// Has the kernel leave to all pods together what they request: what protects a pod's memory
    /// (`memory.low`) is worth no more than what protects the cgroups above it. Of a given root
    /// that is for the manager to say, and v1's soft limit needs nothing above.
    pub fn protect(&self, requested: Requests) -> Result<(), String> {
        let Some(memory) = self.memory().filter(|memory| memory.unified && !self.given) else {
            return Ok(());
        };
        let resources = Resources { requests: requested, ..Resources::default() };
        let protected = Controller::Memory.apply(&memory.mount.join(&self.root), true, &resources);
        protected
            .map_err(|reason| format!("cannot protect the memory of `{}`: {reason}", self.root.display()))
    }

    /// Makes a pod's cgroup with its limits. Controllers that are missing are passed over: they
    /// were refused or warned of when the plan was looked at.
    pub fn make_pod(&self, pod: &str, resources: &Resources) -> Result<(), String> {
        let path = self.root.join(pod);
        self.make(&path)?;
        self.delegate(&path);
        self.limit(&path, resources)
    }

    /// Makes a container's cgroup with its limits, and opens it.
    pub fn make_container(
        &mut self,
        pod: &str,
        container: &str,
        resources: &Resources,
    ) -> Result<Entrance, String> {
        let path = self.container(pod, container);
        self.make(&path)?;
        self.limit(&path, resources)?;
        if let Some(memory) = self.memory().filter(|memory| memory.unified && self.oom_kill_together) {
            cgroup_limits::kill_together(&memory.mount.join(&path));
        }
        if let Some(unified) = &self.layout.unified {
            let events = unified.join(&path).join("cgroup.events");
            // Before: a second watch of the same file is the first one.
            self.unwatch(&path);
            let watch = self.inotify.add_watch(&events, AddWatchFlags::IN_MODIFY);
            let watch = watch.map_err(|errno| describe("watch", &events, errno))?;
            self.watches.push((path.clone(), watch));
        }
        self.open_part(&path, "runtime")
    }

    /// Opens the `payload` of a container's cgroup, for a host process that is made in it.
    pub fn open_payload(&self, pod: &str, container: &str) -> Result<Entrance, String> {
        self.open_part(&self.container(pod, container), "payload")
    }

    /// Opens the cgroup of a container's runtime calls anew, after the container was killed and
    /// has become empty. Linux (seen with 6.18) counts the kills of each cgroup, and compares that
    /// of the new child's cgroup with that of its parent's: a process that is made in a cgroup
    /// that was ever killed dies at once. A new directory is a new cgroup.
    pub fn renew_runtime(&self, pod: &str, container: &str) -> Result<Entrance, String> {
        let path = self.container(pod, container);
        if let Some(unified) = &self.layout.unified {
            remove_tree(&unified.join(&path).join("runtime"))?;
        }
        // `kill` has set it to 0.
        self.write_pids_max(&path, "max");
        self.open_part(&path, "runtime")
    }

    /// On a legacy host both are the container's cgroup itself.
    fn open_part(&self, path: &Path, part: &str) -> Result<Entrance, String> {
        let mut entrance = Entrance { unified: None, further_procs: Vec::new() };
        if let Some(unified) = &self.layout.unified {
            let part = unified.join(path).join(part);
            make_directory(&part)?;
            let directory = File::open(&part).map_err(|error| describe("open", &part, error))?;
            let procs = open_for_writing(&part.join("cgroup.procs"))?;
            entrance.unified = Some((directory, procs));
        }
        for mount in self.process_hierarchies() {
            entrance.further_procs.push(open_for_writing(&mount.join(path).join("cgroup.procs"))?);
        }
        Ok(entrance)
    }

    /// Moves the first process of a container into its `payload`, for a runtime that does not do
    /// that itself. Nothing of the container's own runs yet, so there is no other process.
    pub fn move_to_payload(&self, pod: &str, container: &str, pid: Pid) -> Result<(), String> {
        let Some(unified) = &self.layout.unified else { return Ok(()) };
        let payload = unified.join(self.container(pod, container)).join("payload");
        make_directory(&payload)?;
        write(&payload.join("cgroup.procs"), &pid.to_string())
    }

    /// The `cgroupsPath` of a container for the runtime.
    pub fn payload_path(&self, pod: &str, container: &str) -> String {
        format!("/{}", self.container(pod, container).join("payload").display())
    }

    /// Sends SIGKILL to every process of a container. It is not an error if there is none.
    pub fn kill(&self, pod: &str, container: &str) -> Result<(), String> {
        self.kill_tree(&self.container(pod, container))
    }

    /// Whether any process of a container is left.
    pub fn is_populated(&self, pod: &str, container: &str) -> Result<bool, String> {
        self.is_tree_populated(&self.container(pod, container))
    }

    /// Whether an event tells that a container's cgroup has become empty.
    pub fn tells_when_empty(&self) -> bool {
        self.layout.unified.is_some()
    }

    /// A container's processes; some of them more than once, where it has cgroups in several
    /// hierarchies.
    pub fn processes_of(&self, pod: &str, container: &str) -> Vec<Pid> {
        let path = self.container(pod, container);
        self.mounts().filter_map(|mount| processes(&mount.join(&path)).ok()).flatten().collect()
    }

    /// Whether the OOM killer took a process of a container since its cgroup was made, which is for
    /// each instance anew. No, where no memory controller can be used.
    pub fn had_oom_kill(&self, pod: &str, container: &str) -> bool {
        let path = self.container(pod, container);
        self.memory().is_some_and(|home| cgroup_limits::had_oom_kill(&home.mount.join(&path), home.unified))
    }

    /// Removes a container's empty cgroup.
    pub fn remove_container(&mut self, pod: &str, container: &str) -> Result<(), String> {
        let path = self.container(pod, container);
        self.unwatch(&path);
        self.remove_everywhere(&path)
    }

    /// Removes a pod's cgroup, empty of containers.
    pub fn remove_pod(&self, pod: &str) -> Result<(), String> {
        self.remove_everywhere(&self.root.join(pod))
    }
}

impl Tree {
    fn unwatch(&mut self, path: &Path) {
        let inotify = &self.inotify;
        self.watches.retain(|(watched, watch)| {
            let other = watched != path;
            if !other {
                // EINVAL: the kernel has ended it with the file.
                let _ = inotify.rm_watch(*watch);
            }
            other
        });
    }

    fn memory(&self) -> Option<&Home> {
        self.homes.iter().find(|(controller, _)| *controller == Controller::Memory)?.1.as_ref()
    }

    fn container(&self, pod: &str, container: &str) -> PathBuf {
        self.root.join(pod).join(container)
    }

    /// Every hierarchy, the unified one first.
    fn mounts(&self) -> impl Iterator<Item = &PathBuf> {
        self.layout.unified.iter().chain(self.layout.legacy.iter().map(|legacy| &legacy.mount))
    }

    /// The v1 hierarchies that a container's processes are put into: those that limit, and on a
    /// legacy host at least one that counts.
    fn process_hierarchies(&self) -> impl Iterator<Item = &PathBuf> {
        let limiting = |mount: &PathBuf| {
            self.homes.iter().any(|(_, home)| home.as_ref().is_some_and(|home| home.mount == *mount))
        };
        // A new cgroup of `cpuset` takes no process before it was given processors (cpuset(7)).
        let counts = |legacy: &&Legacy| !legacy.controllers.iter().any(|name| name == "cpuset");
        let counting = match self.layout.unified {
            Some(_) => None,
            None => self.layout.legacy.iter().find(counts).map(|legacy| &legacy.mount),
        };
        let legacy = self.layout.legacy.iter().map(|legacy| &legacy.mount);
        legacy.filter(move |mount| limiting(mount) || counting == Some(*mount))
    }

    fn make(&self, path: &Path) -> Result<(), String> {
        let mounts = self.layout.unified.iter().chain(self.process_hierarchies());
        for mount in mounts {
            make_directory(&mount.join(path))?;
        }
        Ok(())
    }

    fn limit(&self, path: &Path, resources: &Resources) -> Result<(), String> {
        for (controller, home) in &self.homes {
            let Some(home) = home else { continue };
            controller.apply(&home.mount.join(path), home.unified, resources).map_err(|reason| {
                format!("cannot limit {} of `{}`: {reason}", controller.name(), path.display())
            })?;
        }
        Ok(())
    }

    /// Lets the children of a unified cgroup have the controllers. What fails here shows as a
    /// controller that is missing.
    fn delegate(&self, path: &Path) {
        let Some(unified) = &self.layout.unified else { return };
        let control = unified.join(path).join("cgroup.subtree_control");
        for controller in Controller::ALL {
            let _ = write(&control, &format!("+{}", controller.name()));
        }
    }

    fn make_root(&mut self, own: &Path) -> Result<(), String> {
        if let Some(unified) = self.layout.unified.clone() {
            self.move_in(&unified, own)?;
            // Every level above must hand the controllers down. To a given one they were.
            let levels = if self.given { 1 } else { usize::MAX };
            let levels: Vec<PathBuf> = self.root.ancestors().take(levels).map(Path::to_owned).collect();
            levels.iter().rev().for_each(|level| self.delegate(level));
            let given = read_text(&unified.join(&self.root).join("cgroup.subtree_control"))?;
            for (controller, home) in &mut self.homes {
                if given.split_whitespace().any(|name| name == controller.name()) {
                    *home = Some(Home { mount: unified.clone(), unified: true });
                }
            }
        }
        for (controller, home) in &mut self.homes {
            let Some(legacy) = self.layout.legacy_with(controller.name()) else { continue };
            // Not ours to write on this host: then it is missing, and that is said where needed.
            if home.is_none() && make_directory(&legacy.mount.join(&self.root)).is_ok() {
                *home = Some(Home { mount: legacy.mount.clone(), unified: false });
            }
        }
        self.make(&self.root.join(SUPERVISOR))
    }

    fn move_in(&mut self, unified: &Path, own: &Path) -> Result<(), String> {
        let supervisor = unified.join(&self.root).join(SUPERVISOR);
        make_directory(&supervisor)?;
        write(&supervisor.join("cgroup.procs"), "0")?;
        if !self.given {
            self.former = Some(own.to_owned());
        }
        Ok(())
    }

    /// Whether a cgroup in our root is not ours although all other ones are: in what systemd has
    /// delegated it keeps `.control`, where the commands of `ExecReload=` and the like run. No name
    /// of a pod begins with a dot.
    fn is_foreign(&self, name: &std::ffi::OsStr) -> bool {
        self.given && name.as_encoded_bytes().starts_with(b".")
    }

    /// Kills and removes what is in our root, except where we are ourselves.
    fn remove_leftovers(&self) -> Result<(), String> {
        let own = own_path()?;
        let mut names: Vec<_> =
            self.mounts().flat_map(|mount| directories(&mount.join(&self.root))).collect();
        names.retain(|name| !own.starts_with(self.root.join(name)) && !self.is_foreign(name));
        // That of the supervisor last: by it the next one knows that the others are ours, should this
        // one be killed in between.
        names.sort_by(|one, other| (one == SUPERVISOR, one).cmp(&(other == SUPERVISOR, other)));
        names.dedup();
        let ours = self.mounts().any(|mount| mount.join(&self.root).join(SUPERVISOR).is_dir());
        if let Some(name) = names.first().filter(|_| !ours && !self.given) {
            return Err(format!(
                "cannot use cgroup root `/{}`: it has cgroups that are not ours (`{}`); name another one with \
                 `cgroup-root`",
                self.root.display(),
                name.to_string_lossy()
            ));
        }
        for name in names {
            let path = self.root.join(name);
            self.kill_tree(&path)?;
            self.wait_until_empty(&path)?;
            self.remove_everywhere(&path)?;
        }
        Ok(())
    }

    /// In every hierarchy, also after a failure in one; that is then the result.
    fn remove_everywhere(&self, path: &Path) -> Result<(), String> {
        let mut result = Ok(());
        for mount in self.mounts() {
            result = result.and(remove_tree(&mount.join(path)));
        }
        result
    }

    /// Makes our root and holds it: two supervisors with the same root would take each other's
    /// containers for leftovers. flock(2) on the directory, gone with the process.
    fn lock_root(&self) -> Result<Flock<File>, String> {
        let Some(mount) = self.mounts().next() else {
            return Err("no cgroup hierarchy is mounted".to_owned());
        };
        let path = mount.join(&self.root);
        loop {
            make_directory(&path)?;
            let directory = File::open(&path).map_err(|error| describe("open", &path, error))?;
            let lock = Flock::lock(directory, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| {
                if errno != Errno::EWOULDBLOCK {
                    return describe("lock", &path, errno);
                }
                format!(
                    "cannot use cgroup root `/{}`: another outrigger uses it; stop that one, or give this one its \
                     own `cgroup-root`",
                    self.root.display()
                )
            })?;
            // The one before us may have removed it in between.
            let ours = lock.metadata().map_err(|error| describe("read", &path, error))?;
            if fs::metadata(&path).is_ok_and(|there| there.ino() == ours.ino()) {
                return Ok(lock);
            }
        }
    }

    /// Only before the loop runs: this waits.
    fn wait_until_empty(&self, path: &Path) -> Result<(), String> {
        let Some(unified) = &self.layout.unified else {
            // Nothing tells: look again until the kernel has buried them.
            for _ in 0..LEFTOVERS_WAIT_MS / 10 {
                if !self.is_tree_populated(path)? {
                    return Ok(());
                }
                self.kill_tree(path)?;
                let _ = poll(&mut [], PollTimeout::from(10_u16));
            }
            return Err(format!("cannot remove cgroup `{}`: its processes do not die", path.display()));
        };
        let events = unified.join(path).join("cgroup.events");
        let Ok(file) = File::open(&events) else { return Ok(()) };
        while self.is_tree_populated(path)? {
            let mut watched = [PollFd::new(file.as_fd(), PollFlags::POLLPRI)];
            match poll(&mut watched, PollTimeout::from(LEFTOVERS_WAIT_MS)) {
                Ok(0) => {
                    return Err(format!(
                        "cannot remove cgroup `{}`: its processes do not die",
                        path.display()
                    ));
                }
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(describe("watch", &events, errno)),
            }
        }
        Ok(())
    }

    fn kill_tree(&self, path: &Path) -> Result<(), String> {
        if let Some(unified) = &self.layout.unified {
            let directory = unified.join(path);
            return match write_raw(&directory.join("cgroup.kill"), "1") {
                Ok(()) => Ok(()),
                // Nothing there, or an older kernel: cgroup.kill is of Linux 5.14.
                Err(error) if error.kind() == io::ErrorKind::NotFound => kill_each(&directory),
                Err(error) => Err(describe("write", &directory.join("cgroup.kill"), error)),
            };
        }
        // Whoever forks faster than we kill is stopped from forking first.
        self.write_pids_max(path, "0");
        self.mounts().try_for_each(|mount| kill_each(&mount.join(path)))
    }

    /// On a legacy host; without that controller there is nothing to write.
    fn write_pids_max(&self, path: &Path, max: &str) {
        if let (None, Some(pids)) = (&self.layout.unified, self.layout.legacy_with("pids")) {
            let _ = write(&pids.mount.join(path).join("pids.max"), max);
        }
    }

    fn is_tree_populated(&self, path: &Path) -> Result<bool, String> {
        if let Some(unified) = &self.layout.unified {
            let events = unified.join(path).join("cgroup.events");
            return match fs::read_to_string(&events) {
                Ok(text) => Ok(text.lines().any(|line| line == "populated 1")),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
                Err(error) => Err(describe("read", &events, error)),
            };
        }
        for mount in self.mounts() {
            if !processes(&mount.join(path))?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Where this process is in the unified hierarchy, without the leading slash; empty at its top,
/// and where there is none.
fn own_path() -> Result<PathBuf, String> {
    let text = read_text(Path::new("/proc/self/cgroup"))?;
    Ok(PathBuf::from(own_unified_path(&text).unwrap_or("/").trim_start_matches('/')))
}

/// The cgroup that was delegated to us: ours, or the one above if the manager has put us into a
/// `supervisor` in it (systemd since version 254, `DelegateSubgroup=`).
fn delegated_root(layout: &Layout, own: &Path) -> Option<PathBuf> {
    let unified = layout.unified.as_ref()?;
    // At the top there is nobody who could delegate; outside of our namespace nothing is ours.
    let possible = |path: &&Path| !path.as_os_str().is_empty() && !path.starts_with("..");
    let above = own.parent().filter(|_| own.ends_with(SUPERVISOR));
    let mut places = [Some(own), above].into_iter().flatten().filter(possible);
    places.find(|path| is_delegated(&unified.join(path))).map(Path::to_owned)
}

/// Sends SIGKILL to every process below `directory`.
fn kill_each(directory: &Path) -> Result<(), String> {
    let mut killed: Vec<Pid> = Vec::new();
    // What forks while we kill is met in the next round; whoever is faster than all of them is
    // killed again a second later.
    for _ in 0..KILL_ROUNDS {
        let new: Vec<Pid> = processes(directory)?.into_iter().filter(|pid| !killed.contains(pid)).collect();
        if new.is_empty() {
            break;
        }
        for &pid in &new {
            // ESRCH: it was faster.
            let _ = kill(pid, Signal::SIGKILL);
        }
        killed.extend(new);
    }
    Ok(())
}

/// All processes in the cgroup at `directory` and below. None where there is no such cgroup.
fn processes(directory: &Path) -> Result<Vec<Pid>, String> {
    let file = directory.join("cgroup.procs");
    let text = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        // It was removed while we read (ENODEV).
        Err(error) if error.raw_os_error() == Some(Errno::ENODEV as i32) => return Ok(Vec::new()),
        Err(error) => return Err(describe("read", &file, error)),
    };
    // A process of another pid namespace reads as 0: never to be signalled as a number.
    let pids = text.lines().filter_map(|line| line.parse().ok()).filter(|&pid: &i32| pid > 0);
    let mut found: Vec<Pid> = pids.map(Pid::from_raw).collect();
    for child in directories(directory) {
        found.extend(processes(&directory.join(child))?);
    }
    Ok(found)
}

/// The names of the directories in `directory`; none if it is not there.
fn directories(directory: &Path) -> Vec<std::ffi::OsString> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let directories = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    directories.map(|entry| entry.file_name()).collect()
}

/// rmdir of a cgroup and all below it. Not there is as good as removed.
fn remove_tree(directory: &Path) -> Result<(), String> {
    for child in directories(directory) {
        remove_tree(&directory.join(child))?;
    }
    match fs::remove_dir(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(describe("remove", directory, error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn make_directory(path: &Path) -> Result<(), String> {
    fs::create_dir_all(path).map_err(|error| describe("make", path, error))
}

fn open_for_writing(path: &Path) -> Result<File, String> {
    OpenOptions::new().write(true).open(path).map_err(|error| describe("open", path, error))
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    write_raw(path, text).map_err(|error| describe("write", path, error))
}

/// Not `fs::write`: that would make a file where there is none.
fn write_raw(path: &Path, text: &str) -> io::Result<()> {
    OpenOptions::new().write(true).open(path)?.write_all(text.as_bytes())
}

fn read_text(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let read = File::open(path).and_then(|mut file| file.read_to_string(&mut text));
    read.map_err(|error| describe("read", path, error))?;
    Ok(text)
}

fn describe(verb: &str, path: &Path, error: impl Into<io::Error>) -> String {
    format!("cannot {verb} `{}`: {}", path.display(), super::reason(&error.into()))
}
