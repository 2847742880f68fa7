//! The volumes of a pod: a tmpfs each, or a place of the host.

use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::state_directory::{describe, make_directory};
use crate::config::plan::{Pod, Volume, VolumeSource};
use crate::oci::spec::VolumePath;

/// Makes those that live with the pod, below `directory`. What was made before a failure is
/// removed by the next try or by [`remove`].
pub fn make(pod: &Pod, directory: &Path) -> Result<(), String> {
    for volume in &pod.volumes {
        // World-writable as Kubernetes' emptyDir is: the containers' users are not known to it.
        let options = match &volume.source {
            VolumeSource::Memory { bytes } => format!("mode=0777,size={bytes}"),
            VolumeSource::Empty => "mode=0777".to_owned(),
            VolumeSource::HostPath(_) => continue,
        };
        let path = path(volume, directory);
        unmount(&path)?;
        make_directory(&path)?;
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount(Some("tmpfs"), &path, Some("tmpfs"), flags, Some(options.as_str()))
            .map_err(|errno| describe("mount", &path, &errno.into()))?;
    }
    Ok(())
}

/// Removes them. A process that still has a file open there keeps it until it ends.
pub fn remove(pod: &Pod, directory: &Path) -> Result<(), String> {
    for volume in &pod.volumes {
        match &volume.source {
            VolumeSource::Memory { .. } | VolumeSource::Empty => unmount(&path(volume, directory))?,
            // The host's, mounted or not, stays as it is.
            VolumeSource::HostPath(_) => {}
        }
    }
    super::state_directory::remove_directory(directory)
}

/// Where the volumes of a pod are, in the plan's order. Fails where a host path is not there.
pub fn paths(pod: &Pod, directory: &Path) -> Result<Vec<VolumePath>, String> {
    let find = |volume: &Volume| {
        let path = path(volume, directory);
        let meta = path.metadata().map_err(|error| {
            let reason = super::reason(&error);
            format!("cannot find volume `{}` at `{}`: {reason}", volume.name, path.display())
        })?;
        Ok(VolumePath { directory: meta.is_dir(), path })
    };
    pod.volumes.iter().map(find).collect()
}

fn path(volume: &Volume, directory: &Path) -> PathBuf {
    match &volume.source {
        VolumeSource::Memory { .. } | VolumeSource::Empty => directory.join("volumes").join(&volume.name),
        VolumeSource::HostPath(path) => path.clone(),
    }
}

/// umount2(2), if something is mounted there. Lazily: what is busy goes when it is no longer.
pub(super) fn unmount(path: &Path) -> Result<(), String> {
    match umount2(path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
        // Nothing is mounted there, or nothing is there.
        Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => Ok(()),
        Err(errno) => Err(describe("unmount", path, &errno.into())),
    }
}
