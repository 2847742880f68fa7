//! The same pod on machines that are made otherwise: old cgroups, little memory, a root that cannot
//! be written to.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::arch::Arch;
use super::lifecycle::{GATEWAY, START, assert_ended_in_order};
use super::machine::Machine;
use super::setup::Setup;

fn see_a_pod_through(machine: &mut Machine) {
    machine.wait_for("| the token is s3cr3t, the page is page");
    machine.wait_for("* pod gateway: ready");
    machine.assert_order(&START);
}

fn power_off(mut machine: Machine) {
    machine.begin("poweroff");
    machine.wait_for_power_off();
    assert_ended_in_order(&machine);
    assert_eq!(machine.count("left behind"), 0);
}

/// Somebody before us has mounted the hierarchies of version 1: we take them as they are.
pub(crate) fn cgroups_of_version_1_alone_have_their_limits(arch: Arch) {
    let hungry = "name = \"hungry\"\nrestart-policy = \"never\"\nafter = [\"gateway\"]\n[[containers]]\n\
                  name = \"app\"\nrootfs = \"/srv/busybox\"\n\
                  command = [\"/bin/dd\", \"if=/dev/zero\", \"of=/dev/null\", \"bs=64M\", \"count=1\"]\n\
                  resources = { limits = { memory = \"16Mi\" } }\n";
    let mut machine = Setup::new(arch)
        .script(
            "init",
            "mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t tmpfs -o mode=755 cgroup /sys/fs/cgroup\n\
             for controllers in cpuset cpu,cpuacct blkio memory devices freezer pids; do\n\
                 mkdir /sys/fs/cgroup/$controllers\n\
                 mount -t cgroup -o $controllers cgroup /sys/fs/cgroup/$controllers\n\
             done\n\
             exec /sbin/outrigger",
        )
        .pod("gateway", GATEWAY)
        .pod("hungry", hungry)
        .shell()
        .boot();
    see_a_pod_through(&mut machine);
    machine.wait_for("hungry/app: OOMKilled");
    machine.wait_for("pod hungry: Failed");
    assert_eq!(machine.run("grep -c cgroup2 /proc/mounts || true"), "0");
    assert_ne!(machine.run("cat /sys/fs/cgroup/memory/outrigger/gateway/app/cgroup.procs | wc -l"), "0");
    power_off(machine);
}

/// Debian's kernel takes some 45 MiB for itself and does not boot in 64 MiB at all. With 92 MiB it
/// leaves what a device's own kernel leaves of 64. A small initramfs, and the root on a disk.
pub(crate) fn what_is_left_of_64_mebibytes_is_enough(arch: Arch) {
    let mut machine = boot_from_squashfs(Setup::new(arch).memory(92).pod("gateway", GATEWAY).shell());
    see_a_pod_through(&mut machine);
    let total = machine.run("sed -n 's/^MemTotal: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo");
    let available = machine.run("sed -n 's/^MemAvailable: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo");
    println!(
        "of 92 MiB the kernel leaves {total} kB; with a pod of two containers {available} kB are available"
    );
    assert!(total.parse::<u32>().unwrap() < 60_000, "{total} kB");
    power_off(machine);
}

/// The root is a squashfs on a disk; what must be written is in memory.
pub(crate) fn a_root_that_cannot_be_written_to_is_no_hindrance(arch: Arch) {
    let mut machine = boot_from_squashfs(Setup::new(arch).pod("gateway", GATEWAY).shell());
    see_a_pod_through(&mut machine);
    assert_eq!(machine.run("touch /etc/x 2> /dev/null || echo read-only"), "read-only");
    assert_eq!(machine.run("grep ' / ' /proc/mounts | cut -d ' ' -f 3"), "squashfs");
    power_off(machine);
}

/// What an initramfs of busybox does to get to the root.
const TO_THE_ROOT: &str = "#!/bin/busybox sh\n\
     busybox mount -t proc proc /proc; busybox mount -t devtmpfs dev /dev\n\
     for module in virtio_pci virtio_blk squashfs; do busybox modprobe $module; done\n\
     until [ -b /dev/vda ]; do busybox sleep 0.1; done\n\
     busybox mount -t squashfs -o ro /dev/vda /mnt\n\
     busybox umount /dev; busybox umount /proc\n\
     exec busybox switch_root /mnt /sbin/outrigger\n";

/// With all that the image has on a disk, the test's files included.
fn boot_from_squashfs(setup: Setup) -> Machine {
    setup.write_machine_file();
    setup.build_image();
    let (root, small) = (setup.path("root"), setup.path("small"));
    let parts = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/qemu").join(setup.arch.name());
    for directory in [&root, &small.join("bin"), &small.join("lib"), &small.join("mnt"), &small.join("dev")] {
        fs::create_dir_all(directory).unwrap();
    }
    fs::create_dir(small.join("proc")).unwrap();
    for part in ["base", "outrigger"] {
        let file = parts.join(part).with_extension("cpio.gz");
        shell(&format!("gzip -dc '{}' | cpio --quiet -idum", file.display()), &root);
    }
    shell("cp -a ../files/. .", &root);
    shell("mksquashfs . ../root.squashfs -quiet -no-progress -comp gzip -all-root", &root);
    fs::write(small.join("init"), TO_THE_ROOT).unwrap();
    shell(
        "cp ../root/bin/busybox bin/; cp -a ../root/lib/modules lib/; chmod 755 init; \
         find . -mindepth 1 | cpio --quiet -o -H newc -R 0:0 | gzip -1 > ../initramfs.cpio.gz",
        &small,
    );
    let disk = setup.path("root.squashfs");
    Machine::start(setup.disk(&disk))
}

fn shell(script: &str, directory: &Path) {
    let done = Command::new("sh").args(["-c", script]).current_dir(directory).output().unwrap();
    assert!(done.status.success(), "{script}: {}", String::from_utf8_lossy(&done.stderr));
}
