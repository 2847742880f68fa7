//! The directory of everything that a running pod needs and a reboot may forget.
//!
//! ```text
//! <state>/lock                          held by the one supervisor that uses the directory
//! <state>/runtime/                      what the OCI runtime remembers
//! <state>/containers/<pod>.<container>/ its bundle, and the runtime's log and pid files
//! <state>/pods/<pod>/volumes/<volume>/  mounts of a tmpfs each
//! <state>/notify/<number>/socket        where a container says that it is ready
//! <state>/pods/<pod>/messages/          a tmpfs for the containers' termination messages
//! <state>/kept/<pod>                    what the next supervisor has to know of a pod that runs
//! <state>/logs/                         the log files, where they are wanted; they stay
//! ```

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::mount::{MntFlags, umount2};

use super::cgroup_layout::unescape;
use super::reason;
use crate::config::plan::ContainerId;

/// The directory, held by us.
#[derive(Debug)]
pub struct StateDirectory {
    path: PathBuf,
    /// Held until the directory is released.
    lock: Option<Flock<File>>,
}

impl StateDirectory {
    /// Makes and locks it. In the error: who uses it, or the system's reason.
    pub fn lock(path: &Path) -> Result<StateDirectory, String> {
        make_passable(path).map_err(|error| describe("make", path, &error))?;
        let lock = lock_file(path)?;
        Ok(StateDirectory { path: path.to_owned(), lock: Some(lock) })
    }

    /// Unmounts and removes what an earlier supervisor left, after its containers are gone. The
    /// volumes of the pods named stay.
    pub fn remove_leftovers(&self, but: &[String]) -> Result<(), String> {
        let stay: Vec<PathBuf> = but.iter().map(|pod| self.pod(pod).join("volumes")).collect();
        // The last mounted first: it may be on one of the others.
        for mount in self.mounts().iter().rev() {
            if stay.iter().any(|volumes| mount.starts_with(volumes)) {
                continue;
            }
            umount2(mount, MntFlags::MNT_DETACH)
                .map_err(|errno| describe("unmount", mount, &io::Error::from(errno)))?;
        }
        let pods = fs::read_dir(self.path.join("pods")).into_iter().flatten().flatten();
        for pod in pods {
            if !but.iter().any(|name| pod.file_name().to_str() == Some(name)) {
                remove_directory(&pod.path())?;
            }
        }
        ["runtime", "containers", "notify"]
            .iter()
            .try_for_each(|name| remove_directory(&self.path.join(name)))
    }

    /// What is mounted below it, in the order in which that was done.
    pub fn mounts(&self) -> Vec<PathBuf> {
        let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        mounts_below(&mountinfo, &self.path)
    }

    /// Where it is kept what the next supervisor has to know of the pods.
    pub fn kept(&self) -> PathBuf {
        self.path.join("kept")
    }

    /// Where the runtime keeps its records.
    pub fn runtime(&self) -> PathBuf {
        self.path.join("runtime")
    }

    /// Where a container's bundle is, by its id.
    pub fn container(&self, id: &str) -> PathBuf {
        self.path.join("containers").join(id)
    }

    /// Where a pod's volumes are.
    pub fn pod(&self, pod: &str) -> PathBuf {
        self.path.join("pods").join(pod)
    }

    /// Where a container's notify socket is: by a number, since the address of a socket is short.
    pub fn notify(&self, id: ContainerId) -> PathBuf {
        self.path.join("notify").join(id.0.to_string())
    }

    /// Where the log files are.
    pub fn logs(&self) -> PathBuf {
        self.path.join("logs")
    }

    /// Removes what is empty of it, and gives it to the next. Logs stay.
    pub fn release(&mut self) {
        for name in ["runtime", "containers", "pods", "kept", "notify"] {
            let _ = fs::remove_dir(self.path.join(name));
        }
        let _ = fs::remove_file(self.path.join("lock"));
        let _ = fs::remove_dir(&self.path);
        self.lock = None;
    }
}

/// flock(2) on `<state>/lock`. Who removes the directory removes the file, so after locking it
/// must still be the one that is there.
fn lock_file(directory: &Path) -> Result<Flock<File>, String> {
    let path = directory.join("lock");
    loop {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(&path).map_err(|error| describe("make", &path, &error))?;
        let mut file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(file) => file,
            Err((mut file, Errno::EWOULDBLOCK)) => {
                let mut holder = String::new();
                let _ = file.read_to_string(&mut holder);
                return Err(format!(
                    "cannot use state directory `{}`: another outrigger (process {}) uses it; stop that one, \
                     or give this one its own `state-directory` and `cgroup-root`",
                    directory.display(),
                    holder.trim()
                ));
            }
            Err((_, errno)) => return Err(describe("lock", &path, &io::Error::from(errno))),
        };
        let ours = file.metadata().map_err(|error| describe("read", &path, &error))?;
        let there = fs::metadata(&path);
        if there.is_ok_and(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino())) {
            // For the message above only, so a full disk is no reason to stop here.
            let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
            return Ok(file);
        }
    }
}

/// The mount points below `directory`, from mountinfo (proc(5)).
fn mounts_below(mountinfo: &str, directory: &Path) -> Vec<PathBuf> {
    let mounts = mountinfo.lines().filter_map(|line| line.split(' ').nth(4));
    let mounts = mounts.map(|mount| PathBuf::from(unescape(mount)));
    mounts.filter(|mount| mount.starts_with(directory) && mount != directory).collect()
}

/// Removes a directory and all in it; does not follow links. What is mounted in it must be
/// unmounted before. Not there is as good as removed.
pub fn remove_directory(path: &Path) -> Result<(), String> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(describe("remove", path, &error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Makes a directory with all above it.
pub fn make_directory(path: &Path) -> Result<(), String> {
    fs::create_dir_all(path).map_err(|error| describe("make", path, &error))
}

/// Makes a directory with all above it, which everybody may pass through, whatever our umask is.
/// What is there already stays as it is: that is somebody's choice.
pub fn make_passable(path: &Path) -> io::Result<()> {
    let make = || fs::DirBuilder::new().mode(0o755).create(path);
    let made = match (make(), path.parent()) {
        (Err(error), Some(parent)) if error.kind() == io::ErrorKind::NotFound => {
            make_passable(parent)?;
            make()
        }
        (made, _) => made,
    };
    match made {
        Ok(()) => fs::set_permissions(path, Permissions::from_mode(0o755)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Writes a file anew.
pub fn write_file(path: &Path, content: &[u8]) -> Result<(), String> {
    fs::write(path, content).map_err(|error| describe("write", path, &error))
}

/// Writes a file so that it is there whole or as it was before, whatever happens (a full disk),
/// by a file beside it, `<path>.new`.
pub fn replace_file(path: &Path, content: &[u8]) -> Result<(), String> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = Path::new(&new);
    let outcome = write_file(new, content)
        .and_then(|()| fs::rename(new, path).map_err(|error| describe("rename", new, &error)));
    if outcome.is_err() {
        let _ = fs::remove_file(new);
    }
    outcome
}

/// The error text of a failed call on a path.
pub fn describe(verb: &str, path: &Path, error: &io::Error) -> String {
    format!("cannot {verb} `{}`: {}", path.display(), reason(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_in_use_is_refused_and_a_released_one_is_gone() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("state");
        let mut first = StateDirectory::lock(&path).unwrap();
        let refused = StateDirectory::lock(&path).unwrap_err();
        let own = std::process::id();
        assert!(refused.contains(&format!("another outrigger (process {own}) uses it")), "{refused}");
        first.release();
        assert!(!path.exists());
        StateDirectory::lock(&path).unwrap().release();
    }

    #[test]
    fn a_way_is_made_and_what_is_there_stays_as_it_is() {
        let parent = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
        let there = parent.path().join("there");
        fs::DirBuilder::new().mode(0o700).create(&there).unwrap();
        make_passable(&there.join("a/b")).unwrap();
        make_passable(&there.join("a/b")).unwrap();
        assert_eq!([mode(&there), mode(&there.join("a")), mode(&there.join("a/b"))], [0o700, 0o755, 0o755]);
        fs::write(there.join("file"), "").unwrap();
        assert_eq!(make_passable(&there.join("file")).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert!(make_passable(&there.join("file/below")).is_err());
    }

    #[test]
    fn a_file_that_cannot_be_written_whole_is_as_it_was() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("exec.json");
        let new = parent.path().join("exec.json.new");
        for before in [None, Some("whole")] {
            if let Some(before) = before {
                replace_file(&path, before.as_bytes()).unwrap();
            }
            // Can be opened, and takes nothing.
            std::os::unix::fs::symlink("/dev/full", &new).unwrap();
            let error = replace_file(&path, b"torn").unwrap_err();
            assert_eq!(error, format!("cannot write `{}`: No space left on device", new.display()));
            assert_eq!(fs::read_to_string(&path).ok().as_deref(), before);
            assert!(new.symlink_metadata().is_err(), "it was left");
        }
    }

    #[test]
    fn only_mounts_below_the_directory_are_leftovers() {
        let text = "1 0 0:1 / /run/outrigger rw - tmpfs tmpfs rw\n\
                    2 0 0:2 / /run/outrigger/pods/a/volumes/v rw - tmpfs tmpfs rw\n\
                    3 0 0:2 / /run/outrigger-other rw - tmpfs tmpfs rw\n";
        let found = mounts_below(text, Path::new("/run/outrigger"));
        assert_eq!(found, [PathBuf::from("/run/outrigger/pods/a/volumes/v")]);
    }
}
