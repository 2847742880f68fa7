//! The OCI runtime specification's `config.json`, of it only what we write.

use serde::Serialize;

use super::spec::DeviceKind;

/// The whole of it. Field order is that of the specification's examples, to be read by people.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Spec<'a> {
    pub(super) oci_version: &'static str,
    pub(super) process: Process<'a>,
    pub(super) root: Root<'a>,
    pub(super) hostname: &'a str,
    pub(super) mounts: Vec<Mount<'a>>,
    pub(super) linux: Linux<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Process<'a> {
    pub(super) terminal: bool,
    pub(super) user: User,
    pub(super) args: &'a [String],
    pub(super) env: Vec<String>,
    pub(super) cwd: &'a str,
    pub(super) capabilities: Capabilities<'a>,
    pub(super) no_new_privileges: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) oom_score_adj: Option<i32>,
}

#[derive(Serialize)]
pub(super) struct User {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) umask: u32,
}

/// The five sets of capabilities(7).
#[derive(Serialize)]
pub(super) struct Capabilities<'a> {
    pub(super) bounding: &'a [String],
    pub(super) effective: &'a [String],
    pub(super) permitted: &'a [String],
    pub(super) inheritable: &'a [String],
    pub(super) ambient: &'a [String],
}

#[derive(Serialize)]
pub(super) struct Root<'a> {
    pub(super) path: &'a str,
    pub(super) readonly: bool,
}

#[derive(Serialize)]
pub(super) struct Mount<'a> {
    pub(super) destination: &'a str,
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) source: &'a str,
    pub(super) options: &'static [&'static str],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Linux<'a> {
    pub(super) cgroups_path: &'a str,
    pub(super) namespaces: Vec<Namespace<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) devices: Vec<Device<'a>>,
    pub(super) resources: Resources<'a>,
    pub(super) masked_paths: &'static [&'static str],
    pub(super) readonly_paths: &'static [&'static str],
}

#[derive(Serialize)]
pub(super) struct Namespace<'a> {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) path: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Device<'a> {
    pub(super) path: &'a str,
    #[serde(rename = "type")]
    pub(super) kind: DeviceKind,
    pub(super) major: u32,
    pub(super) minor: u32,
    pub(super) file_mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// Of all resources only the devices. Memory, CPU and processes are limited one cgroup further
/// up, in one that is ours: it is there before the runtime is, it holds the runtime's own
/// processes and those of probes too, a cgroup namespace keeps it out of the container's sight,
/// and a limit can be changed without asking the runtime. The device rules must be
/// here: with cgroup v2 they are an eBPF program, and both runtimes know how to write it.
#[derive(Serialize)]
pub(super) struct Resources<'a> {
    pub(super) devices: Vec<DeviceRule<'a>>,
}

/// One rule; a later one overrides an earlier one. What is left out matches everything.
#[derive(Serialize)]
pub(super) struct DeviceRule<'a> {
    pub(super) allow: bool,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub(super) kind: Option<DeviceKind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) major: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) minor: Option<u32>,
    pub(super) access: &'a str,
}
