//! The device nodes of a container, and the rules about which devices it may use.

use super::schema::{Device, DeviceRule};
use super::spec::{DeviceKind, DeviceNumber};
use crate::config::plan;

/// Character devices that the runtime specification makes the runtime provide ("Default Devices"),
/// and the pseudo-terminals: null, zero, full, random, urandom, tty, ptmx, pts/*.
const USUAL_DEVICES: [(u32, Option<u32>); 8] = [
    (1, Some(3)),
    (1, Some(5)),
    (1, Some(7)),
    (1, Some(8)),
    (1, Some(9)),
    (5, Some(0)),
    (5, Some(2)),
    (136, None),
];

/// The nodes to make. They belong to the container's user, and their mode says what the device
/// rules say: on hosts where those cannot be enforced, the mode still stands.
pub(super) fn devices<'a>(rootfs: &'a plan::Rootfs, numbers: &[DeviceNumber]) -> Vec<Device<'a>> {
    let node = |(device, number): (&'a plan::Device, &DeviceNumber)| Device {
        path: &device.container_path,
        kind: number.kind,
        major: number.major,
        minor: number.minor,
        file_mode: file_mode(&device.permissions),
        uid: rootfs.user.uid,
        gid: rootfs.user.gid,
    };
    rootfs.devices.iter().zip(numbers).map(node).collect()
}

/// A mode for everyone in the container, without the execute bits, which mean nothing here.
fn file_mode(permissions: &str) -> u32 {
    let read = if permissions.contains('r') { 0o444 } else { 0 };
    let write = if permissions.contains('w') { 0o222 } else { 0 };
    read | write
}

/// Nothing, but the usual ones, and the given ones.
pub(super) fn device_rules<'a>(rootfs: &'a plan::Rootfs, numbers: &[DeviceNumber]) -> Vec<DeviceRule<'a>> {
    let nothing = DeviceRule { allow: false, kind: None, major: None, minor: None, access: "rwm" };
    let usual = USUAL_DEVICES.into_iter().map(|(major, minor)| DeviceRule {
        allow: true,
        kind: Some(DeviceKind::Character),
        major: Some(major),
        minor,
        access: "rwm",
    });
    let given = rootfs.devices.iter().zip(numbers).map(|(device, number)| DeviceRule {
        allow: true,
        kind: Some(number.kind),
        major: Some(number.major),
        minor: Some(number.minor),
        access: &device.permissions,
    });
    core::iter::once(nothing).chain(usual).chain(given).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_node_has_the_mode_of_its_permissions() {
        for (permissions, expected) in [("r", 0o444), ("w", 0o222), ("rw", 0o666), ("rwm", 0o666), ("m", 0)] {
            assert_eq!(file_mode(permissions), expected, "{permissions}");
        }
    }
}
