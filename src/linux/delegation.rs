//! Whether a cgroup was given to us by a service manager, to do below it as we like.
//!
//! systemd marks it by an extended attribute of the cgroup's directory: `trusted.delegate` (since
//! version 236) and `user.delegate` (since 251), both with the value `1`
//! (<https://systemd.io/CGROUP_DELEGATION>). Everything else in the hierarchy is systemd's alone.

#![allow(unsafe_code, reason = "getxattr(2) has no wrapper among our crates")]

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Whether the cgroup at `directory` is marked as delegated. One that cannot be asked is not.
pub fn is_delegated(directory: &Path) -> bool {
    let Ok(path) = CString::new(directory.as_os_str().as_bytes()) else { return false };
    [c"user.delegate", c"trusted.delegate"].into_iter().any(|name| {
        let mut value = [0_u8; 2];
        // SAFETY: both strings end with NUL and outlive the call; the kernel writes at most
        // `value.len()` bytes into `value`, which is ours.
        let length =
            unsafe { libc::getxattr(path.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
        // Errors (no such attribute, no such directory, a longer value) are negative.
        length == 1 && value.starts_with(b"1")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_mark_makes_a_directory_delegated() {
        // Beside the test's own program: a tmpfs takes such attributes only since Linux 6.6.
        let program = std::env::current_exe().unwrap();
        let directory = tempfile::tempdir_in(program.parent().unwrap()).unwrap();
        assert!(!is_delegated(directory.path()));
        assert!(!is_delegated(&directory.path().join("missing")));
        for (value, delegated) in [("0", false), ("11", false), ("", false), ("1", true)] {
            mark(directory.path(), value);
            assert_eq!(is_delegated(directory.path()), delegated, "{value}");
        }
    }

    fn mark(directory: &Path, value: &str) {
        let path = CString::new(directory.as_os_str().as_bytes()).unwrap();
        // SAFETY: both strings end with NUL, and the value is as long as is said.
        let done = unsafe {
            libc::setxattr(path.as_ptr(), c"user.delegate".as_ptr(), value.as_ptr().cast(), value.len(), 0)
        };
        assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
    }
}
