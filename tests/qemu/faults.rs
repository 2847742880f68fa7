//! A machine that cannot do what it was made for: what it says, and what becomes of it.

use super::arch::Arch;
use super::setup::Setup;

const APP: &str = r#"
    name = "app"
    termination-grace-period = "5s"
    [[containers]]
    name = "app"
    rootfs = "/srv/busybox"
    command = ["/bin/sh", "-c", "trap 'exit 0' TERM; echo runs; sleep 100000 & wait"]
"#;

/// With a mistake in its last line.
fn broken() -> String {
    format!("{APP}comand = [\"/bin/true\"]\n")
}

pub(crate) fn a_broken_configuration_is_told_and_the_machine_reboots_after_a_while(arch: Arch) {
    let mut machine = Setup::new(arch)
        .settings("boot.on-failure = \"reboot\"\nboot.failure-delay = \"3s\"")
        .pod("app", &broken())
        .boot();
    machine.wait_for("unknown key `comand`");
    machine.wait_for("/etc/outrigger/pods/app.toml");
    machine.wait_for_reboot();
    assert_eq!(machine.count("| runs"), 0);
}

/// Even of the machine file: then nothing says what is to be done, and the defaults hold.
pub(crate) fn a_broken_configuration_can_be_mended_in_a_rescue_shell(arch: Arch) {
    let mut machine = Setup::new(arch)
        .settings("boot.on-failure = \"rescue\"\nrescue.command = [\"/bin/sh\"]")
        .pod("app", &broken())
        .boot();
    machine.wait_for("unknown key `comand`");
    machine.wait_for("/ # ");
    assert!(
        machine
            .type_command("outrigger check -c /etc/outrigger/outrigger.toml /etc/outrigger/pods")
            .contains("comand")
    );
    assert!(machine.type_command("sed -i /comand/d /etc/outrigger/pods/app.toml").contains("done: 0."));
    let checked =
        machine.type_command("outrigger check -c /etc/outrigger/outrigger.toml /etc/outrigger/pods");
    assert!(checked.contains("done: 0."), "{checked}");
    machine.send("reboot\n");
    machine.wait_for_reboot();
}

pub(crate) fn a_rescue_shell_can_be_asked_for_on_the_kernel_command_line(arch: Arch) {
    let mut machine = Setup::new(arch)
        .settings("rescue.command = [\"/bin/sh\"]")
        .append("outrigger.rescue")
        .pod("app", APP)
        .boot();
    machine.wait_for("/ # ");
    assert!(machine.type_command("echo $((6 * 7))").contains("\n42\n"));
    assert_eq!(machine.count("| runs"), 0);
    machine.send("poweroff\n");
    machine.wait_for_power_off();
}

/// A pod that the machine is useless without, and a container that does not end when it is told:
/// the machine does not wait for it longer than `shutdown.timeout`.
pub(crate) fn the_failure_of_an_essential_pod_reboots_in_time(arch: Arch) {
    let essential = r#"
        name = "essential"
        after = ["deaf"]
        essential = true
        on-failure = "reboot"
        restart-policy = "never"
        [[containers]]
        name = "app"
        rootfs = "/srv/busybox"
        command = ["/bin/sh", "-c", "sleep 1; exit 3"]
    "#;
    let deaf = r#"
        name = "deaf"
        termination-grace-period = "1h"
        [[containers]]
        name = "app"
        rootfs = "/srv/busybox"
        command = ["/bin/sleep", "100000"]
    "#;
    let mut machine = Setup::new(arch)
        .settings("shutdown.timeout = \"5s\"")
        .pod("deaf", deaf)
        .pod("essential", essential)
        .boot();
    machine.wait_for("essential/app: exited with 3");
    machine.wait_for_reboot();
    machine.assert_order(&["pod essential: Failed", "deaf/app: stopping with SIGTERM"]);
}

/// The supervisor panics on purpose. It is not the kernel that does.
pub(crate) fn a_panic_of_the_supervisor_is_survived(arch: Arch) {
    let mut machine = Setup::new(arch).append("outrigger.panic=8s").pod("app", APP).shell().boot();
    machine.wait_for("* pod app: ready");
    let panicked = machine.wait_for("outrigger: panic at");
    machine.wait_for_after(panicked, "* pod app: ready");
    assert_eq!(machine.run("cat /proc/1/comm"), "outrigger");
    machine.begin("kill -USR1 1");
    machine.wait_for("reboot: System halted");
}
