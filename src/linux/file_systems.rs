//! The file systems of the configuration: waited for, checked, mounted.

use core::time::Duration;
use std::fs;
use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};

use super::call::describe_status;
use super::mount_options::MountOptions;
use super::mount_table::{self, Mount};
use super::state_directory::make_directory;
use super::{clock, job};
use crate::config::plan::FileSystem;
use crate::config::write_duration;
use crate::supervisor::record::ExitStatus;
use crate::time::Instant;

/// Waits for the device, has it checked, makes the directory and mounts; all of it within
/// [`FileSystem::timeout`]. A device is waited for where the source begins with `/dev/`; anything
/// else (`ubi0:data`, `tmpfs`, `server:/path`) is for the file system to find. Calls `tick` at
/// least every second.
///
/// What is mounted there already stays as it is, so this may be called again. In the error: what
/// failed and why, also for one that is optional, which the caller then goes on without.
pub fn mount_configured(system: &FileSystem, tick: &mut dyn FnMut()) -> Result<(), String> {
    let FileSystem { source, path, kind, .. } = system;
    let failed = |reason: &str| format!("cannot mount `{source}` at `{path}`: {reason}");
    let deadline = clock::now().after(system.timeout);
    let options = system.options.join(",");
    let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    if is_mounted(system, &MountOptions::parse(&options), &mount_table::mounts(&mountinfo)) {
        return Ok(());
    }
    let is_device = source.starts_with("/dev/");
    if is_device && !job::wait_until(|| Path::new(source).exists(), deadline, tick) {
        let waited = write_duration(system.timeout);
        return Err(failed(&format!("the device did not appear within {waited}")));
    }
    if let Some(fsck) = &system.fsck {
        check(fsck, source, left_until(deadline), tick).map_err(|reason| failed(&reason))?;
    }
    make_directory(Path::new(path))
        .map_err(|error| format!("{}; add the directory to the image if `/` is read-only", failed(&error)))?;
    job::run_ourselves(&["mount", source, path, kind, &options], left_until(deadline), tick)
        .map_err(|reason| failed(&reason))
}

fn left_until(deadline: Instant) -> Duration {
    deadline.since(clock::now())
}

/// Whether the mount was made before, by an instance of us that has crashed or by the initramfs.
/// A remount changes what is mounted, so it is always to be done.
fn is_mounted(system: &FileSystem, options: &MountOptions, mounts: &[Mount]) -> bool {
    let topmost = mounts.iter().rev().find(|mount| mount.path == system.path);
    topmost.is_some_and(|mount| {
        let same = mount.source == system.source && mount.kind == system.kind;
        // A bind mount shows the source of what it binds.
        !options.is_remount() && (options.is_bind() || same)
    })
}

/// Runs `fsck` on the device.
fn check(fsck: &[String], source: &str, patience: Duration, tick: &mut dyn FnMut()) -> Result<(), String> {
    let mut words = fsck.to_vec();
    words.push(source.to_owned());
    let program = fsck.first().map_or("", String::as_str);
    match job::run(&words, patience, tick) {
        Ok(status) => verdict(status).map_err(|reason| format!("`{program}`: {reason}")),
        Err(error) => Err(format!("`{program}`: {error}")),
    }
}

/// What the exit status says: a sum of the bits of fsck(8).
fn verdict(status: ExitStatus) -> Result<(), String> {
    let ExitStatus::Code(code) = status else { return Err(describe_status(status)) };
    let meanings = [
        (2, "the machine is to be restarted before it is mounted"),
        (4, "errors are left uncorrected; run it by hand"),
        (8, "it could not do its work"),
        (16, "its arguments are wrong"),
        (32, "it was cancelled"),
        (64, "it failed"),
        (128, "a library that it needs failed"),
    ];
    // The worst one, which stands last.
    match meanings.iter().rev().find(|(bit, _)| code & bit != 0) {
        None => Ok(()),
        Some((_, meaning)) => Err(format!("{meaning} (exit status {code})")),
    }
}

/// `outrigger mount`: mount(2), which may block for as long as the device does.
pub fn mount_here(source: &str, path: &str, kind: &str, options: &str) -> Result<(), String> {
    let MountOptions { flags, data } = MountOptions::parse(options);
    let bind = MsFlags::MS_BIND | MsFlags::MS_REC;
    let made = if MountOptions::parse(options).is_bind() {
        mount(Some(source), path, None::<&str>, flags & bind, None::<&str>).and_then(|()| {
            // The kernel takes no other flag along with a bind, but changes them afterwards.
            match flags - bind {
                further if further.is_empty() => Ok(()),
                further => {
                    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | further;
                    mount(None::<&str>, path, None::<&str>, flags, None::<&str>)
                }
            }
        })
    } else {
        mount(Some(source), path, Some(kind), flags, Some(data.as_str()))
    };
    made.map_err(|errno| {
        if errno == Errno::ENODEV {
            format!("the kernel does not know the file system `{kind}`; load its module")
        } else if errno == Errno::EINVAL {
            format!("there is no valid `{kind}`, or it does not know one of the options `{options}`")
        } else {
            errno.desc().to_owned()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn system(source: &str, path: &str, kind: &str) -> FileSystem {
        FileSystem {
            source: source.to_owned(),
            path: path.to_owned(),
            kind: kind.to_owned(),
            options: Vec::new(),
            fsck: None,
            optional: false,
            timeout: Duration::from_secs(1),
        }
    }

    #[test]
    fn the_bits_of_fsck_are_understood() {
        for (status, expected) in [
            (ExitStatus::Code(0), Ok(())),
            (ExitStatus::Code(1), Ok(())),
            (ExitStatus::Code(3), Err("the machine is to be restarted before it is mounted (exit status 3)")),
            (ExitStatus::Code(6), Err("errors are left uncorrected; run it by hand (exit status 6)")),
            (ExitStatus::Code(12), Err("it could not do its work (exit status 12)")),
            (ExitStatus::Code(16), Err("its arguments are wrong (exit status 16)")),
            (ExitStatus::Signal(9), Err("it was killed by SIGKILL")),
        ] {
            assert_eq!(verdict(status), expected.map_err(str::to_owned), "{status:?}");
        }
    }

    #[test]
    fn what_is_mounted_already_is_known() {
        let text = "1 0 8:1 / / rw - ext4 /dev/root rw\n\
                    2 1 8:2 / /data rw - ext4 /dev/sda2 rw\n\
                    3 1 0:9 / /tmp rw - tmpfs tmpfs rw\n\
                    4 3 8:3 / /tmp rw - ext4 /dev/sda3 rw\n";
        let mounts = mount_table::mounts(text);
        for (source, path, kind, options, expected) in [
            ("/dev/sda2", "/data", "ext4", "", true),
            ("/dev/sda2", "/data", "ext4", "remount,ro", false),
            ("/dev/sda9", "/data", "ext4", "", false),
            ("/dev/sda2", "/data", "f2fs", "", false),
            ("/srv", "/data", "none", "bind", true),
            ("tmpfs", "/tmp", "tmpfs", "", false),
            ("/dev/sda3", "/tmp", "ext4", "", true),
            ("/dev/sda2", "/other", "ext4", "", false),
        ] {
            let system = system(source, path, kind);
            let options = MountOptions::parse(options);
            assert_eq!(is_mounted(&system, &options, &mounts), expected, "{source} {path} {options:?}");
        }
    }
}
