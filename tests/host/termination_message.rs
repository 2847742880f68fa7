//! What containers leave as their last words.

use super::bundle::{POD as POD_OF_A_BUNDLE, make_bundle};
use super::machine::{Machine, RUNTIMES};

const POD: &str = r#"
name = "test"
restart-policy = "never"

[[containers]]
name = "default"
rootfs = "ROOTFS"
command = ["/demo/default"]

[[containers]]
name = "elsewhere"
rootfs = "ROOTFS"
user = "1000:1000"
command = ["/demo/elsewhere"]
termination-message-path = "/dev/last-words"

[[containers]]
name = "silent"
rootfs = "ROOTFS"
command = ["/demo/silent"]
"#;

#[test]
fn what_a_container_writes_stands_beside_its_exit_code() {
    for runtime in RUNTIMES {
        let machine = Machine::new(runtime);
        machine.script("default", "echo DONE > /dev/termination-log; exit 3");
        machine.script("elsewhere", "echo 'by user' $(id -u) > /dev/last-words");
        machine.script("silent", "exit 4");
        machine.pod("test", POD);
        let ended = machine.run().end();
        let text = ended.text();
        assert!(text.contains("test/default: exited with 3: \"DONE\"\n"), "{text}");
        assert!(text.contains("test/elsewhere: completed: \"by user 1000\"\n"), "{text}");
        assert!(text.contains("test/silent: exited with 4\n"), "{text}");
        ended.assert_status(4);
    }
}

#[test]
fn the_file_is_empty_at_each_start_and_cannot_fill_the_host() {
    let machine = Machine::new("crun");
    machine.script(
        "app",
        "stat -c 'size %s' /dev/termination-log\n\
         dd if=/dev/zero of=/dev/termination-log bs=1024 count=1000 2>/dev/null && echo 'all of it'\n\
         echo again > /dev/termination-log\n\
         exit 1",
    );
    machine.pod(
        "test",
        r#"
            name = "test"
            restart-policy = "always"
            restart-backoff = { initial = "0s" }
            [[containers]]
            name = "app"
            rootfs = "ROOTFS"
            command = ["/demo/app"]
        "#,
    );
    let run = machine.run();
    run.wait_for("started, restart 2");
    let ended = run.stop();
    let text = ended.text();
    assert!(text.contains("exited with 1: \"again\"; restarting"), "{text}");
    assert!(text.matches("size 0\n").count() > 1, "{text}");
    assert!(!text.contains("all of it"), "{text}");
}

#[test]
fn a_bundle_gets_a_file_if_it_asks_for_one() {
    for runtime in RUNTIMES {
        let machine = Machine::new(runtime);
        make_bundle(&machine, runtime, |config| {
            let script = "echo 'from a bundle' > /dev/termination-log; exit 5";
            config["process"]["args"] = serde_json::json!(["/bin/sh", "-c", script]);
        });
        machine
            .pod("test", &format!("{POD_OF_A_BUNDLE}\ntermination-message-path = \"/dev/termination-log\""));
        let ended = machine.run().end();
        assert!(ended.text().contains("test/app: exited with 5: \"from a bundle\"\n"), "{}", ended.text());
        machine.pod("test", POD_OF_A_BUNDLE);
        let ended = machine.run().end();
        assert!(ended.text().contains("test/app: exited with 5\n"), "{}", ended.text());
    }
}
