//! Limits that the kernel enforces, and the neighbours of those who run into them.

use super::arch::Arch;
use super::machine::Machine;
use super::setup::Setup;

/// Wants four times the memory that it may have.
const HUNGRY: &str = r#"
    name = "hungry"
    restart-policy = "never"
    [[containers]]
    name = "app"
    rootfs = "/srv/busybox"
    command = ["/bin/dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1"]
    resources = { limits = { memory = "16Mi" } }
"#;

/// Beside it, in one pod: one that computes, one whose children never end, and one that lives.
/// The fork bomb is not the first process, which would end with it.
const CROWD: &str = r#"
    name = "crowd"
    termination-grace-period = "3s"
    [[containers]]
    name = "busy"
    rootfs = "/srv/busybox"
    command = ["/bin/sh", "-c", "while :; do :; done"]
    resources = { limits = { cpu = "200m" } }
    [[containers]]
    name = "bomb"
    rootfs = "/srv/busybox"
    command = ["/bin/sh", "-c", "(while :; do sleep 1000 & done) & exec sleep 1000"]
    resources = { limits = { pids = 20 } }
    [[containers]]
    name = "quiet"
    rootfs = "/srv/busybox"
    command = ["/bin/sleep", "100000"]
    resources = { limits = { memory = "16Mi" } }
"#;

const CROWD_CGROUP: &str = "/sys/fs/cgroup/outrigger/crowd";

fn first_process(machine: &mut Machine, container: &str) -> String {
    machine.run(&format!("head -n 1 {CROWD_CGROUP}/{container}/payload/cgroup.procs"))
}

/// The number behind `key` in a file of `key number` lines.
fn number(machine: &mut Machine, file: &str, key: &str) -> u64 {
    let text = machine.run(&format!("cat {CROWD_CGROUP}/{file}"));
    let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
    line.trim().parse().unwrap_or_else(|_| panic!("no {key} in {file}:\n{text}"))
}

pub(crate) fn limits_are_enforced_and_neighbours_live(arch: Arch) {
    let mut machine = Setup::new(arch)
        .pod("crowd", CROWD)
        .pod("hungry", &format!("after = [\"crowd\"]\n{HUNGRY}"))
        .shell()
        .boot();
    machine.wait_for("* pod crowd: ready");
    let quiet = first_process(&mut machine, "quiet");
    machine.wait_for("hungry/app: OOMKilled");
    machine.wait_for("pod hungry: Failed");

    assert_eq!(machine.run(&format!("cat {CROWD_CGROUP}/busy/cpu.max")), "20000 100000");
    machine.run_until(&format!("grep -q '^nr_throttled [1-9]' {CROWD_CGROUP}/busy/cpu.stat"));
    let (before, at) = (number(&mut machine, "busy/cpu.stat", "usage_usec"), uptime(&mut machine));
    machine.run("sleep 3");
    let (after, till) = (number(&mut machine, "busy/cpu.stat", "usage_usec"), uptime(&mut machine));
    let share = f64::from(u32::try_from(after - before).unwrap()) / 1e6 / (till - at);
    println!("{arch:?}: a limit of 200m gave {share:.3} CPU");
    assert!(share < 0.25, "{share} CPU");

    machine.wait_for("! /bin/sh: can't fork: Resource temporarily unavailable");
    let pids = machine.run(&format!("cat {CROWD_CGROUP}/bomb/pids.current"));
    assert!(pids.parse::<u32>().unwrap() <= 20, "{pids} processes");

    assert_eq!(first_process(&mut machine, "quiet"), quiet, "a neighbour was restarted");
    machine.begin("reboot");
    machine.wait_for_reboot();
    machine.assert_order(&[": stopping all pods in order", "* crowd/quiet: killed by SIGKILL"]);
    assert_eq!(machine.count("left behind"), 0);
}

/// Seconds since the machine's start.
fn uptime(machine: &mut Machine) -> f64 {
    machine.run("cut -d ' ' -f 1 /proc/uptime").parse().unwrap()
}
