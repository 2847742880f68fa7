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
    match inside {
        None => open(Path::new(path)).map_err(|errno| errno.desc().to_owned()),
        Some(pid) => {
            // The link leads to the root of its mount namespace, whatever is mounted there.
            let root = format!("/proc/{pid}/root");
            let root =
                open(Path::new(&root)).map_err(|errno| format!("cannot open `{root}`: {}", errno.desc()))?;
            find_below(root, path)
        }
    }
}

/// The same, with `root` as the root directory.
fn find_below(root: OwnedFd, path: &str) -> Result<OwnedFd, String> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    match openat2(&root, Path::new(path), how) {
        // Before Linux 5.6, or a filter that does not know it.
        Err(Errno::ENOSYS | Errno::EPERM) => walk(root, path),
        found => found.map_err(|errno| errno.desc().to_owned()),
    }
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    /// A container's root `root` with links, and what is outside of it: (`root`, `outside`).
    fn place() -> tempfile::TempDir {
        let place = tempfile::tempdir().unwrap();
        let at = |path: &str| place.path().join(path);
        fs::create_dir_all(at("root/run/deep")).unwrap();
        fs::write(at("secret"), "").unwrap();
        fs::write(at("root/run/secret"), "").unwrap();
        fs::write(at("root/run/deep/socket"), "").unwrap();
        symlink(at("secret"), at("root/run/out")).unwrap();
        symlink("../../secret", at("root/run/up")).unwrap();
        symlink("/run/deep/socket", at("root/run/absolute")).unwrap();
        symlink("run/deep", at("root/middle")).unwrap();
        symlink("/", at("root/top")).unwrap();
        symlink("/proc/self/root", at("root/magic")).unwrap();
        place
    }

    /// What of the place it is; `None`: something else.
    fn name_of(place: &Path, found: &OwnedFd) -> Option<&'static str> {
        let found = fstat(found).unwrap();
        ["secret", "root", "root/run/secret", "root/run/deep", "root/run/deep/socket"].into_iter().find(
            |name| {
                let meta = fs::symlink_metadata(place.join(name)).unwrap();
                (meta.dev(), meta.ino()) == (found.st_dev, found.st_ino)
            },
        )
    }

    #[test]
    fn no_link_leads_out_of_the_root() {
        let place = place();
        let find = |path: &str| {
            let found = find_below(open(&place.path().join("root")).unwrap(), path)?;
            Ok(name_of(place.path(), &found).expect("something else was found"))
        };
        let missing = || Err("No such file or directory".to_owned());
        for (path, expected) in [
            ("/run/deep/socket", Ok("root/run/deep/socket")),
            // A link names what the container has there, not what we have.
            ("/run/out", missing()),
            ("/run/absolute", Ok("root/run/deep/socket")),
            ("/middle/socket", Ok("root/run/deep/socket")),
            ("/top/top/middle", Ok("root/run/deep")),
            // Above the root is the root.
            ("/../../run/secret", Ok("root/run/secret")),
            ("/run/up", missing()),
            ("/../secret", missing()),
            ("/..", Ok("root")),
            ("/top/../..", Ok("root")),
            ("/magic/etc", missing()),
        ] {
            assert_eq!(find(path), expected, "{path}");
        }
    }

    #[test]
    fn without_the_kernels_help_no_link_is_followed() {
        let place = place();
        let find = |path: &str| {
            let found = walk(open(&place.path().join("root")).unwrap(), path)?;
            Ok::<_, String>(name_of(place.path(), &found).expect("something else was found"))
        };
        assert_eq!(find("/run/./deep//socket"), Ok("root/run/deep/socket"));
        assert_eq!(find("/run/none"), Err("No such file or directory".to_owned()));
        for (path, link) in [("/run/out", "out"), ("/run/absolute", "absolute"), ("/middle/socket", "middle")]
        {
            let why = find(path).unwrap_err();
            assert!(why.starts_with(&format!("`{link}` is a symbolic link, ")), "{path}: {why}");
        }
        for path in ["/..", "/run/../../secret"] {
            assert!(find(path).unwrap_err().starts_with("it has `..`, "), "{path}");
        }
    }

    #[test]
    fn a_process_shows_its_root() {
        let found = find(Some(Pid::this()), "/").unwrap();
        let meta = fs::metadata("/").unwrap();
        let found = fstat(&found).unwrap();
        assert_eq!((found.st_dev, found.st_ino), (meta.dev(), meta.ino()));
    }
}
