//! What a running supervisor costs when nothing happens, and after much has happened.

use std::time::Duration;

use super::machine::{Machine, RUNTIMES};
use super::process;
use super::run::{PATIENCE, pause, poll_until};

/// How often the process was woken so far: it gives the CPU away whenever it waits again.
pub(super) fn wake_ups(pid: i32) -> u64 {
    let count = |key: &str| process::status_line(pid, key).unwrap().parse::<u64>().unwrap();
    count("voluntary_ctxt_switches") + count("nonvoluntary_ctxt_switches")
}

#[test]
fn nothing_wakes_a_supervisor_whose_containers_run() {
    for runtime in RUNTIMES {
        let machine = Machine::new(runtime);
        machine.script("app", "trap 'exit 0' TERM\necho 'app runs'\nwhile true; do sleep 0.1; done");
        machine.pod(
            "test",
            r#"
                name = "test"
                [[init-containers]]
                name = "proxy"
                restart-policy = "always"
                rootfs = "ROOTFS"
                command = ["/demo/app"]
                startup-probe = { exec = { command = ["/bin/true"] }, period = "1s" }
                [[containers]]
                name = "app"
                rootfs = "ROOTFS"
                command = ["/demo/app"]
                liveness-probe = { exec = { command = ["/bin/true"] }, period = "1h", timeout = "30s" }
            "#,
        );
        let run = machine.run();
        run.wait_for("pod test: ready");
        // The first liveness probe and the reaping of what it leaves.
        pause(Duration::from_secs(2));
        let before = wake_ups(run.pid());
        pause(Duration::from_secs(10));
        let woken = wake_ups(run.pid()) - before;
        println!("{runtime}: {woken} wake-ups in 10 s without anything to do");
        assert_eq!(woken, 0);
        run.stop().assert_status(0);
    }
}

#[test]
fn restarts_cost_no_descriptors_and_no_watches() {
    for runtime in RUNTIMES {
        let mut machine = Machine::new(runtime);
        machine.set("restart-backoff = { initial = \"0s\", max = \"0s\" }");
        machine.script("crash", "echo 'crash'; exit 1");
        machine.script("app", "trap 'exit 0' TERM\nwhile true; do sleep 0.1; done");
        machine.pod(
            "test",
            r#"
                name = "test"
                [[containers]]
                name = "app"
                rootfs = "ROOTFS"
                command = ["/demo/app"]
                liveness-probe = { exec = { command = ["/bin/true"] }, period = "50ms", timeout = "5s" }
                [[containers]]
                name = "crash"
                rootfs = "ROOTFS"
                command = ["/demo/crash"]
            "#,
        );
        let run = machine.run();
        // The least of many looks: in the middle of a start there are more.
        let least = |look: fn(i32) -> usize| {
            let mut least = usize::MAX;
            poll_until(Duration::from_secs(3), || {
                least = least.min(look(run.pid()));
                false
            });
            least
        };
        run.wait_for("test/crash: started, restart 3");
        let before = (least(process::descriptors), least(process::inotify_watches));
        let many = run.wait_for("test/crash: started, restart 133");
        let after = (least(process::descriptors), least(process::inotify_watches));
        println!("{runtime}: descriptors and watches: {before:?}, 100 restarts and more later {after:?}");
        // A leak would be one for each restart; the rest is what a look finds in passing.
        assert!(
            after.0 <= before.0 + 5,
            "descriptors grow: {before:?}, {after:?}:\n{}",
            process::descriptor_list(run.pid())
        );
        assert!(after.1 <= before.1 + 2, "watches grow: {before:?}, {after:?}");
        assert!(before.1 >= 1 && after.1 >= 1, "the running container's cgroup is not watched");
        let per_restart =
            (run.line(many).at - run.line(run.wait_for("test/crash: started, restart 3")).at) / 130;
        println!("{runtime}: {per_restart:?} from one crash to the next");
        assert!(per_restart < PATIENCE);
        run.stop().assert_status(0);
    }
}
