//! Ready OCI bundles.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::machine::{Machine, RUNTIMES};

/// `DIRECTORY/bundle`, with the config.json that the runtime itself writes for a start, changed
/// by `change`. Its root is a relative path, and has busybox.
pub(super) fn make_bundle(machine: &Machine, runtime: &str, change: impl FnOnce(&mut Value)) {
    let bundle = machine.path("bundle");
    fs::create_dir(&bundle).unwrap();
    let made = Command::new(runtime).arg("spec").current_dir(&bundle).status().unwrap();
    assert!(made.success(), "{runtime} spec: {made}");
    let copied = Command::new("cp").arg("-a").arg(machine.path("rootfs")).arg(bundle.join("rootfs")).status();
    assert!(copied.unwrap().success());
    let file = bundle.join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(config["root"]["path"], "rootfs", "a relative path is what is to be shown");
    config["process"]["terminal"] = json!(false);
    // Above the limits of this host, which may lack the right to raise them.
    config["process"]["rlimits"] = json!([]);
    change(&mut config);
    fs::write(&file, config.to_string()).unwrap();
}

pub(super) const POD: &str = r#"
    name = "test"
    restart-policy = "never"
    [[containers]]
    name = "app"
    bundle = "DIRECTORY/bundle"
"#;

#[test]
fn a_bundle_of_the_runtime_runs_as_it_is() {
    for runtime in RUNTIMES {
        let machine = Machine::new(runtime);
        make_bundle(&machine, runtime, |config| {
            config["process"]["args"] = json!(["/bin/sh", "-c", "hostname; pwd; echo $NAME; exit 0"]);
            config["process"]["env"] = json!(["PATH=/bin", "NAME=from the bundle"]);
            config["hostname"] = json!("bundled");
            config["process"]["cwd"] = json!("/demo");
        });
        let before = fs::read(machine.path("bundle/config.json")).unwrap();
        machine.pod("test", POD);
        let ended = machine.run().end();
        ended.assert_order(&["| bundled", "| /demo", "| from the bundle"]);
        ended.assert_has("pod test: Succeeded");
        ended.assert_status(0);
        assert_eq!(fs::read(machine.path("bundle/config.json")).unwrap(), before, "the bundle was changed");
    }
}

#[test]
fn a_bundle_has_probes_too() {
    for runtime in RUNTIMES {
        let machine = Machine::new(runtime);
        make_bundle(&machine, runtime, |config| {
            config["process"]["args"] = json!([
                "/bin/sh",
                "-c",
                "trap 'exit 0' TERM; touch /dev/shm/there; while true; do sleep 0.1; done"
            ]);
            config["process"]["cwd"] = json!("/dev/shm");
        });
        let probe = "startup-probe = { exec = { command = [\"ls\", \"there\"] }, period = \"100ms\", \
            failure-threshold = 100 }\n";
        machine.pod("test", &format!("{POD}{probe}"));
        let run = machine.run();
        run.wait_for("test/app: startup probe succeeded");
        run.stop().assert_status(0);
    }
}

#[test]
fn a_bundle_that_wants_a_terminal_or_is_none_is_refused() {
    type Change = fn(&Path);
    let cases: [(&str, Change); 4] = [
        ("`process.terminal` in its config.json is true, but nobody would sit before the terminal", |file| {
            let text = fs::read_to_string(file).unwrap();
            fs::write(file, text.replace("\"terminal\":false", "\"terminal\":true")).unwrap();
        }),
        ("its config.json is not JSON", |file| fs::write(file, "{").unwrap()),
        ("config.json`: No such file or directory", |file| fs::remove_file(file).unwrap()),
        ("its config.json has no `process", |file| fs::write(file, "{}").unwrap()),
    ];
    for runtime in RUNTIMES {
        for (said, change) in cases {
            let machine = Machine::new(runtime);
            make_bundle(&machine, runtime, |_| {});
            change(&machine.path("bundle/config.json"));
            machine.pod("test", POD);
            let run = machine.run();
            let told = run.line(run.wait_for("error: test/app: cannot start: ")).text;
            assert!(told.contains(said) && told.contains("trying again in"), "{told}");
            // It may be mended meanwhile, so the pod stays; nothing has run.
            let ended = run.stop();
            assert_eq!(ended.count("started"), 0, "{}", ended.text());
            ended.assert_status(0);
        }
    }
}
