//! The OCI runtime of this machine: where it is, and how it must be called on this host.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::oci::command::{CgroupManager, Kind, Runtime};

/// What is looked for where the configuration names no runtime, in this order: crun is the
/// smaller and the faster one.
const KNOWN: [&str; 2] = ["crun", "runc"];

/// Where a name is looked for if the environment has no PATH, as for a PID 1.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Finds the runtime: `configured` (a name or an absolute path), else the first known one.
pub fn find(configured: Option<&str>) -> Result<PathBuf, String> {
    match configured {
        Some(path) if path.starts_with('/') => match is_executable(Path::new(path)) {
            true => Ok(PathBuf::from(path)),
            false => Err(format!("cannot use runtime `{path}`: it is not there or cannot be executed")),
        },
        Some(name) => search(name).ok_or_else(|| format!("cannot find runtime `{name}` in PATH: install it")),
        None => KNOWN.iter().find_map(|name| search(name)).ok_or_else(|| {
            "cannot find a runtime in PATH: install crun or runc, or name another place with `runtime`"
                .to_owned()
        }),
    }
}

/// The runtime at `path`, if the name of the file that is executed there says which one it is: a
/// link called `crun` may lead to something else.
pub fn by_name(path: &Path) -> Option<Runtime> {
    let file = path.canonicalize().ok()?;
    Runtime::by_name(path.to_str()?, file.to_str()?)
}

/// The runtime as it must be called on this host. crun is kept from handling cgroups where it
/// cannot: it refuses hybrid hosts, and its device filter needs `CAP_SYS_RESOURCE`.
pub fn fit_to_host(runtime: Runtime, unified_host: bool) -> Result<Runtime, String> {
    let manager = match runtime.kind() {
        Kind::Crun if !unified_host || !has_sys_resource() => CgroupManager::Disabled,
        Kind::Crun | Kind::Runc => CgroupManager::Runtime,
    };
    runtime.with_cgroup_manager(manager).map_err(|error| error.to_string())
}

/// The executable file with this name in PATH, or where that is not set, in the usual directories.
pub(super) fn search(name: &str) -> Option<PathBuf> {
    search_in(&std::env::var("PATH").unwrap_or_else(|_| DEFAULT_PATH.to_owned()), name)
}

/// The first program called `name` in the directories of `path`; those that are not absolute are
/// passed over.
pub fn search_in(path: &str, name: &str) -> Option<PathBuf> {
    let directories = path.split(':').filter(|directory| directory.starts_with('/'));
    directories.map(|directory| Path::new(directory).join(name)).find(|path| is_executable(path))
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Whether this process has `CAP_SYS_RESOURCE` (capabilities(7), number 24).
fn has_sys_resource() -> bool {
    const CAP_SYS_RESOURCE: u32 = 24;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let mask = effective.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> CAP_SYS_RESOURCE & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtime_that_is_not_there_is_named() {
        let error = find(Some("/nonexistent/crun")).unwrap_err();
        assert_eq!(error, "cannot use runtime `/nonexistent/crun`: it is not there or cannot be executed");
        let error = find(Some("no-such-runtime")).unwrap_err();
        assert_eq!(error, "cannot find runtime `no-such-runtime` in PATH: install it");
    }
}
