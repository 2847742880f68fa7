//! What is kept of pods beyond the end of their supervisor, as files: one for each pod that runs,
//! written anew when something of it has changed. Small, on a tmpfs as a rule, and never synced: a
//! reboot is to forget it.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use super::Host;
use super::regular_file;
use super::state_directory::{StateDirectory, describe, make_directory, replace_file};
use crate::config::plan::{Image, Network, Plan, Pod, PodId, VolumeSource};
use crate::limits::FILE_BYTES_MAX;
use crate::supervisor::kept::{self, Kept};
use crate::supervisor::report::Severity;

/// A pod that the supervisor before has left.
#[derive(Clone, Debug)]
pub struct Left {
    /// Which.
    pub pod: PodId,
    /// What was kept of its containers.
    pub containers: Vec<Kept>,
    /// Whether all that it has beside its containers is still there.
    pub survives: bool,
}

/// The files.
#[derive(Debug)]
pub(super) struct KeptState {
    directory: PathBuf,
    boot: String,
    /// What the file of each pod says.
    written: Box<[Option<Vec<Kept>>]>,
    /// Whether that a file cannot be written was said and has not changed since.
    failing: bool,
    /// Not taken yet.
    left: Vec<Left>,
    /// Pods whose volumes are there already.
    survivors: Box<[bool]>,
}

impl KeptState {
    /// Reads what the supervisor before has left, and removes what says nothing. Beside it: what
    /// is to be told about that.
    pub(super) fn read(state: &StateDirectory, plan: &Plan) -> (KeptState, Vec<String>) {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let boot = boot.split_whitespace().next().unwrap_or("unknown").to_owned();
        let mut kept = KeptState {
            directory: state.kept(),
            boot,
            written: plan.pods.iter().map(|_| None).collect(),
            failing: false,
            left: Vec::new(),
            survivors: plan.pods.iter().map(|_| false).collect(),
        };
        let mut said = Vec::new();
        let mounts = state.mounts();
        for entry in fs::read_dir(&kept.directory).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let position = plan.pods.iter().position(|pod| pod.name == name);
            let found = position.and_then(|position| {
                let id = PodId(u8::try_from(position).ok()?);
                Some((id, plan.pods.get(position)?))
            });
            let Some((id, pod)) = found else {
                let _ = fs::remove_file(entry.path());
                continue;
            };
            match kept.read_pod(plan, id, &entry.path()) {
                Ok(containers) => {
                    let has = |name: &str| mounts.contains(&state.pod(&pod.name).join("volumes").join(name));
                    let survives = !is_isolated(plan, pod) && has_volumes(pod, has);
                    if let Some(survivor) = kept.survivors.get_mut(id.index()) {
                        *survivor = survives;
                    }
                    if let Some(written) = kept.written.get_mut(id.index()) {
                        *written = Some(containers.clone());
                    }
                    kept.left.push(Left { pod: id, containers, survives });
                }
                Err(reason) => {
                    said.push(format!(
                        "pod {name}: cannot go on where the supervisor before has left it: {reason}; beginning anew"
                    ));
                    let _ = fs::remove_file(entry.path());
                }
            }
        }
        (kept, said)
    }

    fn read_pod(&self, plan: &Plan, id: PodId, path: &std::path::Path) -> Result<Vec<Kept>, String> {
        let bytes = regular_file::read(path, FILE_BYTES_MAX)?;
        let text = String::from_utf8_lossy(&bytes);
        kept::read(&text, plan, id, &self.boot).map_err(|unusable| unusable.name().to_owned())
    }

    /// The pods whose volumes are to stay, by name.
    pub(super) fn survivors(&self, plan: &Plan) -> Vec<String> {
        let pods = plan.pods.iter().zip(&self.survivors);
        pods.filter(|(_, survives)| **survives).map(|(pod, _)| pod.name.clone()).collect()
    }

    /// Whether the volumes of a pod are there already.
    pub(super) fn survives(&self, id: PodId) -> bool {
        self.survivors.get(id.index()).is_some_and(|survives| *survives)
    }

    /// It was set up, or is gone: from now on its volumes are made when it is set up.
    pub(super) fn forget_survivor(&mut self, id: PodId) {
        if let Some(survives) = self.survivors.get_mut(id.index()) {
            *survives = false;
        }
    }

    fn write(
        &mut self,
        plan: &Plan,
        id: PodId,
        name: &str,
        containers: Option<Vec<Kept>>,
    ) -> Result<(), String> {
        let path = self.directory.join(name);
        let outcome = match &containers {
            None => Ok(()),
            Some(containers) => {
                let text = kept::write(plan, id, containers, &self.boot);
                // The file beside it has no pod's name: the next supervisor removes one that is left.
                make_directory(&self.directory).and_then(|()| replace_file(&path, text.as_bytes()))
            }
        };
        if containers.is_none() || outcome.is_err() {
            // Better none than one that tells of what was.
            match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(describe("remove", &path, &error));
                }
                Ok(()) | Err(_) => {}
            }
        }
        if let Some(written) = self.written.get_mut(id.index()) {
            // What could not be written is tried again in the next turn.
            *written = containers.filter(|_| outcome.is_ok());
        }
        outcome
    }
}

/// Whether its volumes are all there; `has`: whether one that we make is mounted.
fn has_volumes(pod: &Pod, has: impl Fn(&str) -> bool) -> bool {
    pod.volumes.iter().all(|volume| match volume.source {
        VolumeSource::Memory { .. } | VolumeSource::Empty => has(&volume.name),
        VolumeSource::HostPath(_) => true,
    })
}

/// Whether it has a network of its own, which ends with its supervisor.
fn is_isolated(plan: &Plan, pod: &Pod) -> bool {
    plan.containers
        .get(pod.containers())
        .unwrap_or_default()
        .iter()
        .any(|container| matches!(&container.image, Image::Rootfs(rootfs) if rootfs.network == Network::None))
}

impl Host {
    /// The pods that the supervisor before has left, once.
    pub fn take_left(&mut self) -> Vec<Left> {
        core::mem::take(&mut self.kept.left)
    }

    /// Keeps what is to be kept of a pod, if that has changed. `None`: nothing is.
    pub fn keep(&mut self, id: PodId, containers: Option<impl Iterator<Item = Kept> + Clone>) {
        let same = match (self.kept.written.get(id.index()), &containers) {
            (Some(Some(written)), Some(containers)) => written.iter().copied().eq(containers.clone()),
            (Some(None), None) | (None, _) => true,
            (Some(Some(_)), None) | (Some(None), Some(_)) => false,
        };
        let Some(pod) = self.plan.pods.get(id.index()).filter(|_| !same) else { return };
        match self.kept.write(&self.plan, id, &pod.name, containers.map(Iterator::collect)) {
            Ok(()) => self.kept.failing = false,
            Err(error) if !self.kept.failing => {
                self.kept.failing = true;
                let text = format!("{error}; should the supervisor be killed, pod {} begins anew", pod.name);
                self.write_line(Severity::Warning, &text);
            }
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Source};

    #[test]
    fn what_could_not_be_written_is_written_when_it_can_be() {
        let bytes = b"name = \"p\"\n[[containers]]\nname = \"app\"\nbundle = \"/b\"\n".to_vec();
        let plan = config::load(None, &[Source { name: "p.toml".to_owned(), bytes }]).unwrap();
        let place = tempfile::tempdir().unwrap();
        let directory = place.path().join("kept");
        // A file where the directory belongs.
        fs::write(&directory, "").unwrap();
        let mut state = KeptState {
            directory: directory.clone(),
            boot: "boot".to_owned(),
            written: Box::new([None]),
            failing: false,
            left: Vec::new(),
            survivors: Box::new([false]),
        };
        let kept = || Some(vec![Kept::default()]);
        assert!(state.write(&plan, PodId(0), "p", kept()).is_err());
        assert_eq!(state.written[0], None, "it is not taken for written");
        fs::remove_file(&directory).unwrap();
        state.write(&plan, PodId(0), "p", kept()).unwrap();
        assert!(directory.join("p").exists());
        assert_eq!(state.written[0], kept());
    }
}
