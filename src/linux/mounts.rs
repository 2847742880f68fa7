//! The file systems of the kernel's own (proc, sys, dev, cgroups) and those in memory, which a
//! machine needs before anything else can be done on it. What the configuration asks for beyond
//! stands in `file_systems.rs`.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};

use super::mount_table;
use super::reason;

/// One of them, and where it belongs.
struct ApiFileSystem {
    kind: &'static str,
    path: &'static str,
    flags: MsFlags,
    options: &'static str,
    /// What does not work without it, for the error.
    for_what: &'static str,
}

const QUIET: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV).union(MsFlags::MS_NOEXEC);

const PROC: ApiFileSystem = ApiFileSystem {
    kind: "proc",
    path: "/proc",
    flags: QUIET,
    options: "",
    for_what: "nothing can be run without it",
};

/// In the order in which they are mounted: some are below others. The group 5 is `tty` on every
/// distribution (glibc's grantpt(3) relied on it), 1777 is the mode of `/tmp`.
const API_FILE_SYSTEMS: [ApiFileSystem; 6] = [
    PROC,
    ApiFileSystem {
        kind: "sysfs",
        path: "/sys",
        flags: QUIET,
        options: "",
        for_what: "cgroups and devices are not found without it",
    },
    ApiFileSystem {
        kind: "devtmpfs",
        path: "/dev",
        flags: MsFlags::MS_NOSUID,
        options: "mode=755",
        for_what: "only the device nodes of the image are there (CONFIG_DEVTMPFS)",
    },
    ApiFileSystem {
        kind: "devpts",
        path: "/dev/pts",
        flags: MsFlags::MS_NOSUID.union(MsFlags::MS_NOEXEC),
        options: "gid=5,mode=620,ptmxmode=666",
        for_what: "no terminal can be made without it",
    },
    ApiFileSystem {
        kind: "tmpfs",
        path: "/dev/shm",
        flags: MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV),
        options: "mode=1777",
        for_what: "shm_open(3) fails without it",
    },
    ApiFileSystem {
        kind: "tmpfs",
        path: "/run",
        flags: MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV),
        options: "mode=755",
        for_what: "the state directory is below it",
    },
];

const CGROUPS: &str = "/sys/fs/cgroup";

/// Options of cgroup v2, best first. Linux 4.13 has the first one, 5.7 the second; a kernel refuses
/// what it does not know. Delegation is safer with the one; the other makes what a pod is promised
/// hold for its containers without promising it to each.
const CGROUP_OPTIONS: [&str; 3] = ["nsdelegate,memory_recursiveprot", "nsdelegate", ""];

/// Links that programs expect and that devtmpfs does not have.
const LINKS: [(&str, &str); 4] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
];

/// Mounts all of them. Whatever is mounted at one of these places already stays as it is, so it
/// may be called again.
///
/// Returns what could not be done and what follows from it; it goes on after each. None of these
/// mounts waits for a device, so this does not block.
pub fn mount_api_file_systems() -> Vec<String> {
    let mut errors: Vec<String> =
        API_FILE_SYSTEMS.iter().filter_map(|one| mount_unless_there(one).err()).collect();
    errors.extend(mount_cgroups().err());
    for (link, target) in LINKS {
        if fs::symlink_metadata(link).is_err() {
            if let Err(error) = symlink(target, link) {
                errors.push(format!("cannot make the link `{link}`: {}; going on without", reason(&error)));
            }
        }
    }
    errors
}

/// Mounts `/proc` alone, unless it is there.
pub(super) fn mount_proc() -> Result<(), String> {
    mount_unless_there(&PROC)
}

fn mount_unless_there(one: &ApiFileSystem) -> Result<(), String> {
    if is_mount_point(one.path) {
        return Ok(());
    }
    let failed =
        |reason: &str| format!("cannot mount {} at `{}`: {reason}; {}", one.kind, one.path, one.for_what);
    make_directory(one.path).map_err(|reason| failed(&reason))?;
    let made = mount(Some(one.kind), one.path, Some(one.kind), one.flags, Some(one.options));
    made.map_err(|errno| failed(errno.desc()))
}

/// Whether something is mounted at `path`. Until `/proc` is there, the device number tells: it
/// differs from the parent's.
fn is_mount_point(path: &str) -> bool {
    if let Ok(mountinfo) = fs::read_to_string("/proc/self/mountinfo") {
        return mount_table::mounts(&mountinfo).iter().any(|mount| mount.path == path);
    }
    let device = |path: &Path| fs::metadata(path).map(|meta| meta.dev()).ok();
    let path = Path::new(path);
    device(path).is_some_and(|own| path.parent().and_then(device).is_some_and(|parent| parent != own))
}

/// Makes a place to mount on. In the error: the reason and how to mend it.
fn make_directory(path: &str) -> Result<(), String> {
    match fs::create_dir(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) if error.kind() == ErrorKind::ReadOnlyFilesystem => {
            Err("the directory is missing and `/` is read-only; add it to the image".to_owned())
        }
        Err(error) => Err(format!("the directory cannot be made: {}", reason(&error))),
    }
}

/// The unified hierarchy; or, on a kernel that has none, all of cgroup v1.
fn mount_cgroups() -> Result<(), String> {
    const FOR_WHAT: &str = "no container can be run without it";
    if is_mount_point(CGROUPS) {
        return Ok(());
    }
    let failed = |reason: &str| format!("cannot mount cgroups at `{CGROUPS}`: {reason}; {FOR_WHAT}");
    if !Path::new(CGROUPS).is_dir() {
        return Err(failed("the kernel has none (CONFIG_CGROUPS), or `/sys` is not mounted"));
    }
    let known = fs::read_to_string("/proc/filesystems").map_err(|error| failed(&reason(&error)))?;
    if !mount_table::has_file_system(&known, "cgroup2") {
        return mount_legacy_cgroups().map_err(|reason| failed(&reason));
    }
    let mut result = Err(Errno::EINVAL);
    for options in CGROUP_OPTIONS {
        result = mount(Some("cgroup2"), CGROUPS, Some("cgroup2"), QUIET, Some(options));
        if result != Err(Errno::EINVAL) {
            break;
        }
    }
    result.map_err(|errno| failed(errno.desc()))
}

/// A hierarchy for each controller, below a tmpfs, as cgroups(7) has it for v1.
fn mount_legacy_cgroups() -> Result<(), String> {
    let cgroups = fs::read_to_string("/proc/cgroups").map_err(|error| reason(&error))?;
    mount(Some("tmpfs"), CGROUPS, Some("tmpfs"), QUIET, Some("mode=755"))
        .map_err(|errno| errno.desc().to_owned())?;
    let mut errors = Vec::new();
    for controllers in mount_table::legacy_hierarchies(&cgroups) {
        let path = format!("{CGROUPS}/{controllers}");
        let made = make_directory(&path).and_then(|()| {
            let made =
                mount(Some("cgroup"), path.as_str(), Some("cgroup"), QUIET, Some(controllers.as_str()));
            made.map_err(|errno| errno.desc().to_owned())
        });
        if let Err(reason) = made {
            errors.push(format!("{controllers}: {reason}"));
            continue;
        }
        if controllers == "memory" {
            // Else a pod's limit would not count its containers. Linux 5.11 knows nothing else
            // any more and takes this or not, so a failure means nothing.
            let _ = fs::write(format!("{path}/memory.use_hierarchy"), "1");
        }
        for controller in controllers.split(',').filter(|controller| *controller != controllers) {
            if let Err(error) = symlink(&controllers, format!("{CGROUPS}/{controller}")) {
                errors.push(format!("{controller}: {}", reason(&error)));
            }
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(errors.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_system_stands_behind_the_one_that_it_is_below() {
        for (index, one) in API_FILE_SYSTEMS.iter().enumerate() {
            let later = API_FILE_SYSTEMS.iter().skip(index + 1);
            for other in later {
                let above = Path::new(one.path).starts_with(other.path);
                assert!(!above, "{} would hide {}", other.path, one.path);
            }
        }
    }

    #[test]
    fn mount_points_of_this_machine_are_seen() {
        assert!(is_mount_point("/proc"));
        let directory = tempfile::tempdir().unwrap();
        assert!(!is_mount_point(directory.path().to_str().unwrap()));
        assert!(!is_mount_point("/nonexistent"));
    }

    #[test]
    fn a_directory_that_cannot_be_made_says_why() {
        let error = make_directory("/nonexistent/directory").unwrap_err();
        assert_eq!(error, "the directory cannot be made: No such file or directory");
        assert_eq!(make_directory("/proc"), Ok(()));
    }
}
