//! Kernel modules by name, with those that they need, or by path.

use core::time::Duration;
use std::ffi::CString;
use std::fs::{self, File};

use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};

use super::{job, reason};

/// `MODULE_INIT_COMPRESSED_FILE` (Linux 5.17, init_module(2)): the kernel unpacks the file itself.
const COMPRESSED_FILE: ModuleInitFlags = ModuleInitFlags::from_bits_retain(4);

/// Endings of compressed modules.
const COMPRESSED: [&str; 3] = [".xz", ".zst", ".gz"];

/// Longest chain of modules that need each other. Real ones have about ten; a `modules.dep` that
/// goes in circles has no end.
const DEPTH_MAX: usize = 64;

/// Loads a module in a child, as its start may take for ever: `NAME [OPTION…]` with all that it
/// needs, or `/absolute/path.ko [OPTION…]` alone. What is loaded already, or built in, is fine.
///
/// The module's own options are what follows; options of `/etc/modprobe.d`, aliases (`fs-ext4`)
/// and soft dependencies are not looked up. In the error: which module, and why.
pub fn load(entry: &str, patience: Duration, tick: &mut dyn FnMut()) -> Result<(), String> {
    job::run_ourselves(&["load-module", entry], patience, tick)
        .map_err(|reason| format!("cannot load the kernel module `{entry}`: {reason}"))
}

/// `outrigger load-module`: the same in this very process, which it may block.
pub fn load_here(entry: &str) -> Result<(), String> {
    let entry = entry.trim();
    let (name, options) = entry.split_once(char::is_whitespace).unwrap_or((entry, ""));
    if name.starts_with('/') {
        return insert(name, options.trim());
    }
    let release = nix::sys::utsname::uname().map_err(|errno| errno.desc().to_owned())?;
    let directory = format!("/lib/modules/{}", release.release().to_string_lossy());
    let read = |file: &str| {
        let path = format!("{directory}/{file}");
        fs::read_to_string(&path).map_err(|error| {
            format!("cannot read `{path}`: {}; add the kernel's modules to the image", reason(&error))
        })
    };
    // An image without the list has nothing that is built in and asked for.
    if is_listed(&read("modules.builtin").unwrap_or_default(), name) {
        return Ok(());
    }
    let files = in_load_order(&read("modules.dep")?, name)?;
    for (index, file) in files.iter().enumerate() {
        let is_last = index + 1 == files.len();
        let path = if file.starts_with('/') { file.clone() } else { format!("{directory}/{file}") };
        let loaded = insert(&path, if is_last { options.trim() } else { "" });
        loaded.map_err(|error| match is_last {
            true => error,
            false => format!("it needs `{}`: {error}", module_name(file)),
        })?;
    }
    Ok(())
}

/// finit_module(2).
fn insert(path: &str, options: &str) -> Result<(), String> {
    let failed = |reason: &str| format!("`{path}`: {reason}");
    let file = File::open(path).map_err(|error| failed(&reason(&error)))?;
    let options = CString::new(options).map_err(|_| failed("an option has a NUL byte"))?;
    let compressed = COMPRESSED.iter().any(|ending| path.ends_with(ending));
    let flags = if compressed { COMPRESSED_FILE } else { ModuleInitFlags::empty() };
    match finit_module(&file, &options, flags) {
        Ok(()) | Err(Errno::EEXIST) => Ok(()),
        // An unknown flag, or a way of compression that it was not built with.
        Err(Errno::EINVAL | Errno::EOPNOTSUPP) if compressed => Err(failed(
            "this kernel cannot unpack it (Linux 5.17, CONFIG_MODULE_DECOMPRESS); install it unpacked",
        )),
        Err(Errno::ENOEXEC) => Err(failed("it is no module for this kernel")),
        Err(Errno::ENOENT) => Err(failed("it needs something that no loaded module has")),
        Err(errno) => Err(failed(errno.desc())),
    }
}

/// The files of a module and of all that it needs, in the order in which they are to be loaded, by
/// `modules.dep` (modules.dep(5)).
fn in_load_order(modules_dep: &str, name: &str) -> Result<Vec<String>, String> {
    let mut order = Vec::new();
    add_with_needed(modules_dep, name, &mut order, DEPTH_MAX)?;
    Ok(order)
}

fn add_with_needed(
    modules_dep: &str,
    name: &str,
    order: &mut Vec<String>,
    depth: usize,
) -> Result<(), String> {
    if order.iter().any(|file| is_same_name(module_name(file), name)) {
        return Ok(());
    }
    let depth = depth.checked_sub(1).ok_or("modules.dep goes in circles; run depmod(8)")?;
    let lines = modules_dep.lines().filter_map(|line| line.split_once(':'));
    let line = lines.into_iter().find(|(file, _)| is_same_name(module_name(file), name));
    let (file, needed) = line.ok_or_else(|| {
        format!("there is no module `{name}` in modules.dep; add it to the image and run depmod(8)")
    })?;
    // The last one is needed by the others (modules.dep(5)).
    for needed in needed.split_ascii_whitespace().rev() {
        add_with_needed(modules_dep, module_name(needed), order, depth)?;
    }
    order.push(file.to_owned());
    Ok(())
}

/// Whether the module is in a list of files, one in a line.
fn is_listed(files: &str, name: &str) -> bool {
    files.lines().any(|file| is_same_name(module_name(file), name))
}

/// `kernel/fs/ext4/ext4.ko.xz` → `ext4`
fn module_name(file: &str) -> &str {
    let file = file.rsplit('/').next().unwrap_or(file);
    file.split_once(".ko").map_or(file, |(name, _)| name)
}

/// The kernel makes no difference between `-` and `_` in names.
fn is_same_name(one: &str, other: &str) -> bool {
    let plain = |byte: u8| if byte == b'-' { b'_' } else { byte };
    one.len() == other.len() && one.bytes().map(plain).eq(other.bytes().map(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODULES_DEP: &str = "kernel/fs/ext4/ext4.ko.xz: kernel/fs/jbd2/jbd2.ko.xz kernel/lib/crc16.ko.xz\n\
                               kernel/fs/jbd2/jbd2.ko.xz:\n\
                               kernel/lib/crc16.ko.xz:\n\
                               kernel/drivers/block/virtio_blk.ko: kernel/drivers/virtio/virtio.ko kernel/drivers/virtio/virtio_ring.ko\n\
                               kernel/drivers/virtio/virtio_ring.ko:\n\
                               kernel/drivers/virtio/virtio.ko: kernel/drivers/virtio/virtio_ring.ko\n\
                               a.ko: b.ko\n\
                               b.ko: a.ko\n\
                               lone.ko: missing.ko\n";

    #[test]
    fn what_is_needed_comes_first() {
        for (name, expected) in [
            ("jbd2", &["kernel/fs/jbd2/jbd2.ko.xz"][..]),
            ("ext4", &["kernel/lib/crc16.ko.xz", "kernel/fs/jbd2/jbd2.ko.xz", "kernel/fs/ext4/ext4.ko.xz"]),
            (
                "virtio-blk",
                &[
                    "kernel/drivers/virtio/virtio_ring.ko",
                    "kernel/drivers/virtio/virtio.ko",
                    "kernel/drivers/block/virtio_blk.ko",
                ],
            ),
        ] {
            assert_eq!(in_load_order(MODULES_DEP, name).unwrap(), expected, "{name}");
        }
    }

    #[test]
    fn what_cannot_be_found_is_named() {
        for (name, expected) in [
            ("ext", "there is no module `ext` in modules.dep; add it to the image and run depmod(8)"),
            ("lone", "there is no module `missing` in modules.dep; add it to the image and run depmod(8)"),
            ("a", "modules.dep goes in circles; run depmod(8)"),
        ] {
            assert_eq!(in_load_order(MODULES_DEP, name), Err(expected.to_owned()), "{name}");
        }
    }

    #[test]
    fn names_are_those_of_the_kernel() {
        assert_eq!(module_name("/lib/x/nf-nat.ko.zst"), "nf-nat");
        assert_eq!(module_name("loop"), "loop");
        for (one, other, same) in [("nf_nat", "nf-nat", true), ("nf_nat", "nf_nat2", false), ("", "", true)] {
            assert_eq!(is_same_name(one, other), same, "{one} {other}");
        }
        assert!(is_listed("kernel/drivers/net/loopback.ko\nkernel/fs/proc.ko\n", "proc"));
        assert!(!is_listed("kernel/fs/proc.ko\n", "pro"));
    }
}
