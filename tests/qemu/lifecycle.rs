//! A pod from the start of the machine to its end.

use std::path::Path;
use std::process::Command;

use super::arch::Arch;
use super::machine::Machine;
use super::setup::Setup;

/// An init container, a sidecar that becomes ready after a while, and a main container; each says
/// when it comes and goes. The init container finds out about the next ones' absence.
pub(super) const GATEWAY: &str = r#"
    name = "gateway"
    termination-grace-period = "20s"
    restart-backoff = { initial = "1s", max = "1s" }
    volumes = [{ name = "data", memory = "1Mi" }]

    [[init-containers]]
    name = "fetch"
    rootfs = "/srv/busybox"
    command = ["/bin/sh", "-c", "echo s3cr3t > /data/token; sleep 0.5; echo fetched"]
    mounts = [{ volume = "data", path = "/data" }]

    [[init-containers]]
    name = "proxy"
    restart-policy = "always"
    rootfs = "/srv/busybox"
    command = ["/bin/sh", "-c", """
        trap 'echo drained; exit 0' TERM
        echo warming
        sleep 1
        mkdir -p /data/www
        echo page > /data/www/ready
        httpd -f -p 127.0.0.1:8080 -h /data/www &
        wait
    """]
    mounts = [{ volume = "data", path = "/data" }]
    startup-probe = { http-get = { port = 8080, path = "/ready" }, period = "200ms", failure-threshold = 200 }

    [[containers]]
    name = "app"
    rootfs = "/srv/busybox"
    command = ["/bin/sh", "-c", """
        trap 'echo saved; exit 0' TERM
        echo "the token is $(cat /data/token), the page is $(wget -q -O - http://127.0.0.1:8080/ready)"
        while :; do sleep 1000 & wait; done
    """]
    mounts = [{ volume = "data", path = "/data", read-only = true }]
"#;

/// The order of that pod's start.
pub(super) const START: [&str; 8] = [
    "* pod gateway: starting",
    "* gateway/fetch: started (init container)",
    "* gateway/fetch: completed",
    "* gateway/proxy: started (sidecar; the next waits for its startup probe)",
    "* gateway/proxy: startup probe succeeded",
    "* gateway/app: started",
    "* pod gateway: Running",
    "* pod gateway: ready",
];

/// The order of its end, which is the reverse.
const STOP: [&str; 6] = [
    ": stopping all pods in order",
    "* gateway/app: stopping with SIGTERM",
    "* gateway/app: completed",
    "* gateway/proxy: stopping with SIGTERM",
    "* gateway/proxy: completed",
    "* pod gateway: Succeeded, stopped as requested",
];

pub(super) fn assert_ended_in_order(machine: &Machine) {
    machine.assert_order(&STOP);
    machine.assert_order(&["| saved", "| drained"]);
}

/// A new ext4 file system in a file of this host.
fn make_disk(path: &Path) {
    let made = Command::new("mke2fs").args(["-q", "-t", "ext4"]).arg(path).arg("8M").output().unwrap();
    assert!(made.status.success(), "mke2fs: {}", String::from_utf8_lossy(&made.stderr));
}

/// Fails unless the file system in this file was unmounted: its journal is empty then.
fn assert_unmounted_clean(path: &Path) {
    let output = Command::new("dumpe2fs").arg("-h").arg(path).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let line = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
    assert!(line("Filesystem state:").ends_with(" clean"), "{text}");
    assert!(!line("Filesystem features:").contains("needs_recovery"), "{text}");
    let checked = Command::new("e2fsck").args(["-f", "-n"]).arg(path).output().unwrap();
    assert!(checked.status.success(), "e2fsck: {}", String::from_utf8_lossy(&checked.stdout));
}

pub(crate) fn a_pod_starts_in_order_and_power_off_ends_it_in_the_reverse(arch: Arch) {
    let setup = Setup::new(arch);
    let disk = setup.path("disk");
    make_disk(&disk);
    let mut machine = setup
        .disk(&disk)
        .modules(&["virtio_blk", "ext4"])
        .settings(
            r#"
            boot.hostname = "edge-1"
            boot.sysctls = { "vm.swappiness" = "7" }
            [[mounts]]
            source = "/dev/vda"
            path = "/data"
            type = "ext4"
            "#,
        )
        .pod("gateway", GATEWAY)
        .shell()
        .boot();
    machine.wait_for("| the token is s3cr3t, the page is page");
    machine.wait_for("* pod gateway: ready");
    machine.assert_order(&START);
    assert_eq!(
        machine.run("uname -m; hostname; cat /proc/sys/vm/swappiness"),
        format!("{}\nedge-1\n7", arch.machine())
    );

    // A sidecar comes back by itself, and what runs beside it runs on.
    let app = machine.run("cat /sys/fs/cgroup/outrigger/gateway/app/payload/cgroup.procs");
    let from = machine.now();
    machine.run("kill -9 $(head -n 1 /sys/fs/cgroup/outrigger/gateway/proxy/payload/cgroup.procs)");
    let killed = machine.wait_for_after(from, "gateway/proxy: killed by SIGKILL; restarting at once");
    let back = machine.wait_for_after(killed, "gateway/proxy: started");
    machine.wait_for_after(back, "gateway/proxy: startup probe succeeded");
    assert_eq!(machine.run("cat /sys/fs/cgroup/outrigger/gateway/app/payload/cgroup.procs"), app);

    machine.run("echo written > /data/file");
    machine.begin("poweroff");
    machine.wait_for_power_off();
    assert_ended_in_order(&machine);
    assert_unmounted_clean(&disk);
}

pub(crate) fn ctrl_alt_del_reboots_in_order(arch: Arch) {
    let mut machine =
        Setup::new(arch).modules(&["virtio_pci", "virtio_input"]).pod("gateway", GATEWAY).boot();
    machine.wait_for("| the token is s3cr3t, the page is page");
    machine.wait_for("* pod gateway: ready");
    machine.press(&["ctrl", "alt", "delete"]);
    machine.wait_for_reboot();
    assert_ended_in_order(&machine);
}
