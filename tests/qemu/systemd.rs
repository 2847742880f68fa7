//! The unit files of `systemd/` under Debian's systemd 252. What is looked at is in
//! `systemd/checks`, which runs in the machine and says on the console how each check went.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::arch::Arch;
use super::setup::Setup;

/// How long the machine may run: a boot of fifteen seconds, and checks of which some must wait for
/// what does not happen.
const DEADLINE: Duration = Duration::from_secs(300);

/// systemd, its journal, and a root file system in memory.
const MEMORY_MIB: u32 = 512;

/// Checks below which something has ended the script early.
const CHECKS_MIN: usize = 55;

/// What a container does in this machine: it says hello, and goodbye when it is stopped.
const GREETER: &str = "trap 'echo goodbye from $1; exit 0' TERM; echo hello from $1; \
                       echo hello to the log >&2; sleep 100000 & wait";

fn container(name: &str, further: &str) -> String {
    format!(
        "name = \"{name}\"\nrootfs = \"/srv/busybox\"\n\
         command = [\"/bin/sh\", \"-c\", \"{GREETER}\", \"greeter\"]\n{further}\n"
    )
}

pub(crate) fn the_service_keeps_its_promises() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let built = Command::new(root.join("tests/qemu/build-systemd-image")).output().unwrap();
    assert!(built.status.success(), "build-systemd-image: {}", String::from_utf8_lossy(&built.stderr));
    let text = |path: &str| fs::read_to_string(root.join(path)).unwrap();
    let script = |path: &str| text(path).trim_start_matches("#!/bin/sh\n").to_owned();
    let disk = root.join("target/qemu/systemd/root.squashfs");
    let drive = format!("file={},if=none,format=raw,readonly=on,id=root", disk.display());
    let units = "over/etc/systemd/system";
    let gateway = format!(
        "name = \"gateway\"\nvolumes = [{{ name = \"data\", memory = \"1Mi\" }}, \
         {{ name = \"gate\", host-path = \"/run\" }}]\n\
         [[init-containers]]\nrestart-policy = \"always\"\n{}\
         mounts = [{{ volume = \"gate\", path = \"/data\" }}]\n\
         startup-probe = {{ exec = {{ command = [\"/bin/test\", \"-e\", \"/data/may-start\"] }}, period = \"500ms\", \
         failure-threshold = 1000 }}\n\
         [[containers]]\n{}mounts = [{{ volume = \"data\", path = \"/data\" }}]\n\
         resources = {{ limits = {{ memory = \"32Mi\" }} }}\n",
        container("proxy", "args = [\"proxy\"]"),
        container("app", "args = [\"gateway\"]"),
    );
    let later = format!(
        "name = \"later\"\nafter = [\"gateway\"]\n[[containers]]\n{}env = {{ WHEN = \"later again\" }}\n",
        container("app", "args = [\"later\"]")
    );
    let other = format!("name = \"other\"\n[[containers]]\n{}", container("app", "args = [\"other\"]"));
    let hungry = "name = \"hungry\"\nrestart-policy = \"never\"\n[[containers]]\nname = \"app\"\n\
                  rootfs = \"/srv/busybox\"\ncommand = [\"/bin/dd\", \"if=/dev/zero\", \"of=/dev/null\", \"bs=64M\", \"count=1\"]\n\
                  resources = { limits = { memory = \"16Mi\" } }\n";
    let setup = Setup::new(Arch::X86_64)
        .script("init", &script("tests/qemu/systemd/init"))
        .script("over/usr/local/bin/checks", &script("tests/qemu/systemd/checks"))
        .file(&format!("{units}/outrigger.service"), &text("systemd/outrigger.service"))
        .file(&format!("{units}/outrigger.slice"), &text("systemd/outrigger.slice"))
        // Shorter, so that the test is.
        .file(
            &format!("{units}/outrigger.service.d/test.conf"),
            "[Service]\nWatchdogSec=4s\nRestartSec=500ms\n",
        )
        .file(&format!("{units}/multi-user.target.d/checks.conf"), "[Unit]\nWants=checks.service\n")
        .file(
            &format!("{units}/checks.service"),
            "[Unit]\nAfter=multi-user.target\n[Service]\nExecStart=/usr/local/bin/checks\n",
        )
        .file("over/etc/outrigger/outrigger.toml", &text("configs/service.toml"))
        .file("over/etc/outrigger/pods/gateway.toml", &gateway)
        .file("over/etc/outrigger/pods/later.toml", &later)
        .file("over/etc/outrigger/pods/other.toml", &other)
        .file("over/etc/outrigger/pods/hungry.toml", hungry)
        .arguments(&["-drive", &drive, "-device", "virtio-blk-pci,drive=root"])
        .append("systemd.show_status=false")
        .memory(MEMORY_MIB)
        .deadline(DEADLINE);
    let mut machine = setup.boot();
    machine.wait_for("checks done");
    let shown = machine.text();
    let passed = shown.lines().filter(|line| line.starts_with("ok ")).count();
    let failed: Vec<&str> = shown
        .lines()
        .skip_while(|line| !line.starts_with("not ok "))
        .filter(|line| !line.is_empty())
        .collect();
    assert!(!shown.contains("not ok "), "checks failed:\n{}", failed.join("\n"));
    assert!(passed >= CHECKS_MIN, "only {passed} checks were made");
    machine.wait_for_power_off();
}
