//! A path as a container sees it, followed from outside.
//!
//! A container can put symbolic links where it likes, and a path that is followed on the host
//! would lead out through them. openat2(2) with `RESOLVE_IN_ROOT` treats the container's root as
//! the kernel does for its own processes: links, `..` and mounts lead nowhere else.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::unistd::Pid;

/// What is at `path`, only to be referred to (`O_PATH`). `inside` is a process whose root it is
/// seen from; `None`: ours.
///
/// In the error: why not, in words that follow a colon.
pub fn find(inside: Option<Pid>, path: &str) -> Result<OwnedFd, String> {
    let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
    let found = match inside {
        None => open(Path::new(path)),
        Some(pid) => {
            // The link leads to the root of its mount namespace, whatever is mounted there.
            let root = format!("/proc/{pid}/root");
            let root =
                open(Path::new(&root)).map_err(|errno| format!("cannot open `{root}`: {}", errno.desc()))?;
            let how = OpenHow::new()
                .flags(flags)
                .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
            match openat2(&root, Path::new(path), how) {
                // Before Linux 5.6, or a filter that does not know it.
                Err(Errno::ENOSYS | Errno::EPERM) => return walk(root, path),
                found => found,
            }
        }
    };
    found.map_err(|errno| errno.desc().to_owned())
}

/// Step by step, without any link: the kernel offers no way to follow one that ends at this root.
fn walk(root: OwnedFd, path: &str) -> Result<OwnedFd, String> {
    let mut here = root;
    for part in path.split('/').filter(|part| !matches!(*part, "" | ".")) {
        if part == ".." {
            return Err(
                "it has `..`, which this kernel cannot keep inside the container (Linux 5.6 can)".to_owned()
            );
        }
        let flags = OFlag::O_PATH | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        here =
            openat(&here, Path::new(part), flags, Mode::empty()).map_err(|errno| errno.desc().to_owned())?;
        let is_link = fstat(&here)
            .is_ok_and(|stat| SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFLNK);
        if is_link {
            return Err(format!(
                "`{part}` is a symbolic link, which this kernel cannot keep inside the container (Linux 5.6 can)"
            ));
        }
    }
    Ok(here)
}

/// A directory or file of the host, only to be referred to (`O_PATH`).
pub fn open(path: &Path) -> nix::Result<OwnedFd> {
    nix::fcntl::open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
}

/// A path by which a descriptor can be used where only a path is taken.
pub fn path_of(file: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}
