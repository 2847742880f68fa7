//! A machine on which much goes wrong at a time, and goes on.

use std::time::Duration;

use super::arch::Arch;
use super::setup::Setup;

/// Processes whose parents end at once, so that they fall to a first process.
fn orphans(count: u32) -> String {
    format!("i=0; while [ $i -lt {count} ]; do (: &); i=$((i + 1)); done")
}

/// Starts and ends all the time, and is asked how it does: always some call of the runtime is
/// under way.
const RESTLESS: &str = r#"
    name = "restless"
    termination-grace-period = "5s"
    [[init-containers]]
    name = "sidecar"
    restart-policy = "always"
    rootfs = "/srv/busybox"
    command = ["/bin/sh", "-c", "trap 'exit 0' TERM; sleep 100000 & wait"]
    readiness-probe = { exec = { command = ["/bin/true"] }, period = "1s", timeout = "10s" }
    [[containers]]
    name = "app"
    rootfs = "/srv/busybox"
    command = ["/bin/sleep", "1"]
"#;

/// Makes orphans of its own.
fn parent() -> String {
    format!(
        r#"
            name = "parent"
            termination-grace-period = "5s"
            [[containers]]
            name = "app"
            rootfs = "/srv/busybox"
            command = ["/bin/sh", "-c", "{}; echo bereft; trap 'exit 0' TERM; sleep 100000 & wait"]
        "#,
        orphans(200)
    )
}

/// Kills every call of the runtime that it sees, at random moments, for 30 s.
const KILL_RUNTIMES: &str = "
    end=$(($(cut -d . -f 1 /proc/uptime) + 30))
    kills=0
    while [ $(cut -d . -f 1 /proc/uptime) -lt $end ]; do
        usleep $((RANDOM * 30))
        killall -q -9 crun && kills=$((kills + 1))
    done
    echo $kills";

const ZOMBIES: &str = "grep -l '^State:.Z' /proc/[0-9]*/status 2> /dev/null";

/// A watchdog that is never fed late runs all the while: whatever blocks the supervisor for ten
/// seconds ends the test.
pub(crate) fn storms_pass_and_everything_runs_again(arch: Arch) {
    let mut machine = Setup::new(arch)
        .modules(&["softdog", "virtio_input"])
        .settings(
            r#"
            watchdog.device = "/dev/watchdog"
            watchdog.timeout = "10s"
            restart-backoff = { initial = "1s", max = "1s" }
            "#,
        )
        .pod("parent", &parent())
        .pod("restless", RESTLESS)
        .shell()
        .deadline(Duration::from_secs(240))
        .boot();
    machine.wait_for("* restless/sidecar: ready");

    // Orphans, of a process of the host and in a container.
    machine.run(&orphans(1000));
    machine.wait_for("| bereft");
    machine.run_until(&format!("[ -z \"$({ZOMBIES})\" ]"));
    let sidecar = "head -n 1 /sys/fs/cgroup/outrigger/restless/sidecar/payload/cgroup.procs";
    let before = machine.run(sidecar);

    // Runtimes that die in the middle.
    let kills: u32 = machine.run(KILL_RUNTIMES).lines().last().unwrap().parse().unwrap();
    println!("{arch:?}: {kills} calls of the runtime were killed");
    assert!(kills >= 5, "only {kills} calls of the runtime were there to be killed");
    let over = machine.now();
    machine.wait_for_after(over, "* restless/app: completed");
    machine.run_until("[ -n \"$(cat /sys/fs/cgroup/outrigger/restless/app/payload/cgroup.procs)\" ]");
    assert_eq!(machine.run(sidecar), before, "a container was lost over runtimes that died");
    assert_eq!(machine.count("left behind"), 0);

    // No room in /run, where bundles are made.
    // What an instance leaves when it is removed is taken at once, else it would do for the next.
    machine.run(
        "mount -o remount,size=2m /run\n\
         while [ ! -e /enough ]; do dd if=/dev/zero bs=4k >> /run/filler 2> /dev/null; usleep 1000; done & filler=$!",
    );
    let full = machine.now();
    machine.wait_for_after(full, "error: restless/app: cannot start: ");
    machine.wait_for_after(full, "No space left on device");
    machine.run("touch /enough; wait $filler; rm /run/filler");
    let free = machine.now();
    let started = machine.wait_for_after(free, "* restless/app: started");
    machine.wait_for_after(started, "* restless/app: completed");

    machine.run_until(&format!("[ -z \"$({ZOMBIES})\" ]"));
    machine.press(&["ctrl", "alt", "delete"]);
    machine.wait_for_reboot();
    machine.assert_order(&[": stopping all pods in order", "* restless/sidecar: completed"]);
    assert_eq!(machine.count("softdog: Initiating system reboot"), 0);
}

/// A supervisor that stands still does not feed the watchdog. Stopping PID 1 by a signal is not
/// possible; freezing its cgroup is.
pub(crate) fn a_supervisor_that_stands_still_is_reset_by_the_watchdog(arch: Arch) {
    let mut machine = Setup::new(arch)
        .modules(&["softdog"])
        .settings("watchdog.device = \"/dev/watchdog\"\nwatchdog.timeout = \"5s\"")
        .shell()
        .boot();
    machine.run_until("grep -q . /sys/fs/cgroup/outrigger/supervisor/cgroup.procs");
    machine.begin("echo 1 > /sys/fs/cgroup/outrigger/supervisor/cgroup.freeze");
    machine.wait_for("softdog: Initiating system reboot");
    machine.wait_for_reboot();
    assert_eq!(machine.count("stopping all pods"), 0);
}
