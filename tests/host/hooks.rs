//! Hooks, stop signals and grace periods of real containers.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::json;

use super::bundle::make_bundle;
use super::machine::{Machine, RUNTIMES};
use super::mount_namespace::layouts;
use super::process;
use super::run::{PATIENCE, poll_until};

/// Writes down that it runs and that it is told to end. `told` stands for the signal.
const APP: &str = "trap 'echo told >> /data/order; exit 0' SIGNAL\necho \"$NAME\" >> /data/order\n\
    while true; do sleep 0.1; done";

/// A pod whose containers share `/data` with the test, and have `/demo/app` for a command.
fn machine(runtime: &str, signal: &str, grace: &str, containers: &[(&str, &str)]) -> Machine {
    let mut machine = Machine::new(runtime);
    machine.set("restart-backoff = { initial = \"0s\", max = \"0s\" }");
    machine.script("app", &APP.replace("SIGNAL", signal));
    fs::create_dir(machine.path("shared")).unwrap();
    let mut pod = format!(
        "name = \"test\"\ntermination-grace-period = \"{grace}\"\n\
         volumes = [{{ name = \"shared\", host-path = \"DIRECTORY/shared\" }}]\n"
    );
    for (name, more) in containers {
        pod += &format!(
            "[[containers]]\nname = \"{name}\"\nrootfs = \"ROOTFS\"\ncommand = [\"/demo/app\"]\n\
             env = {{ NAME = \"{name}\" }}\nmounts = [{{ volume = \"shared\", path = \"/data\" }}]\n{more}\n"
        );
    }
    machine.pod("test", &pod);
    machine
}

/// What was written down, in its order.
fn order(machine: &Machine) -> Vec<String> {
    let text = fs::read_to_string(machine.path("shared/order")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn exec_hooks_run_in_the_container_before_what_waits_for_them() {
    for (layout, wrapper) in layouts() {
        for runtime in RUNTIMES {
            let hooks = "user = \"1000\"\nworking-directory = \"/data\"\n\
                post-start = { exec = { command = [\"/demo/hook\", \"begun\", \"$(NAME)\"] } }\n\
                pre-stop = { exec = { command = [\"/demo/hook\", \"ending\", \"first\"] } }";
            let mut machine = machine(runtime, "TERM", "20s", &[("first", hooks), ("second", "")]);
            machine.wrap(wrapper);
            machine.script(
                "hook",
                "[ $(id -u) = 1000 ] && [ $(pwd) = /data ] && [ \"$2\" = \"$NAME\" ] || exit 9\n\
                 until grep -q \"$NAME\" order; do sleep 0.1; done\n\
                 sleep 0.3; echo $1 >> order",
            );
            // For both users: root in a container has no right to write everywhere.
            fs::write(machine.path("shared/order"), "").unwrap();
            fs::set_permissions(machine.path("shared/order"), fs::Permissions::from_mode(0o666)).unwrap();
            let run = machine.run();
            run.wait_for("test/first: post-start hook done after");
            run.wait_for("pod test: ready");
            assert!(poll_until(PATIENCE, || order(&machine).len() == 3), "{:?}", order(&machine));
            let ended = run.stop();
            ended.assert_status(0);
            ended.assert_order(&[
                "test/first: started; its post-start hook follows",
                "test/first: post-start hook done after",
                "test/second: started",
                "test/first: stopping with its pre-stop hook",
                "test/first: pre-stop hook done after",
                "test/first: stopping with SIGTERM",
            ]);
            // The second is told at once, while the hook of the first runs.
            assert_eq!(
                order(&machine),
                ["first", "begun", "second", "told", "ending", "told"],
                "{runtime}, {layout}"
            );
        }
    }
}

#[test]
fn a_failed_post_start_hook_restarts_and_tells_what_it_said() {
    for runtime in RUNTIMES {
        let hooks = "post-start = { exec = { command = [\"/demo/hook\"] } }\n\
            pre-stop = { exec = { command = [\"/demo/gone\"] } }";
        let machine = machine(runtime, "TERM", "20s", &[("app", hooks)]);
        machine.script(
            "hook",
            // Not before the command minds the signal: a first process ignores what it does not handle.
            "until [ -s /data/order ]; do sleep 0.1; done\n\
             [ -e /data/again ] && exit 0\ntouch /data/again\necho 'first words' >&2; echo 'no key' >&2; exit 3",
        );
        let run = machine.run();
        run.wait_for("test/app: started, first restart");
        run.wait_for("pod test: ready");
        let ended = run.stop();
        ended.assert_status(0);
        ended.assert_order(&[
            "test/app: post-start hook failed: it exited with 3: no key",
            "test/app: stopping with its pre-stop hook, its post-start hook failed",
            "test/app: pre-stop hook failed: ",
            "test/app: stopping with SIGTERM, its post-start hook failed",
            "test/app: completed; restarting at once",
            "test/app: post-start hook done after",
        ]);
        let failed = ended.lines.iter().find(|line| line.text.contains("pre-stop hook failed")).unwrap();
        assert!(failed.text.contains("/demo/gone"), "{}", failed.text);
    }
}

#[test]
fn a_stop_ends_a_post_start_hook_that_hangs() {
    for (layout, wrapper) in layouts() {
        for runtime in RUNTIMES {
            let hook = "post-start = { exec = { command = [\"/demo/hook\"] } }";
            let mut machine = machine(runtime, "TERM", "20s", &[("app", hook)]);
            machine.wrap(wrapper);
            // A number that no other test sleeps for.
            let sleep = format!("sleep 7{}", std::process::id());
            machine.script("hook", &format!("trap '' TERM\ntouch /data/hangs\nexec {sleep}"));
            let run = machine.run();
            assert!(poll_until(PATIENCE, || machine.path("shared/hangs").exists()), "{:?}", run.lines());
            assert!(poll_until(PATIENCE, || order(&machine).len() == 1), "{:?}", order(&machine));
            let sleeps = || process::all().into_iter().any(|pid| process::command_line(pid).contains(&sleep));
            assert!(poll_until(PATIENCE, sleeps), "{runtime}, {layout}: the hook does not sleep");
            let before = std::time::Instant::now();
            let ended = run.stop();
            ended.assert_status(0);
            ended.assert_has("test/app: completed");
            assert!(
                before.elapsed() < Duration::from_secs(15),
                "{runtime}, {layout}: {:?}",
                before.elapsed()
            );
            assert!(!sleeps(), "{runtime}, {layout}: the hook runs on");
        }
    }
}

#[test]
fn a_pre_stop_hook_that_never_ends_goes_with_its_container() {
    for runtime in RUNTIMES {
        let hook = "pre-stop = { exec = { command = [\"/demo/hook\"] } }";
        let machine = machine(runtime, "TERM", "5s", &[("app", hook)]);
        machine.script("hook", "trap '' TERM\ntouch /data/hangs\nwhile true; do sleep 1; done");
        let run = machine.run();
        run.wait_for("pod test: ready");
        assert!(poll_until(PATIENCE, || order(&machine).len() == 1), "{:?}", order(&machine));
        let ended = run.stop();
        ended.assert_status(0);
        ended.assert_order(&[
            "test/app: stopping with its pre-stop hook",
            "test/app: pre-stop hook failed: it was not done after 5 s; stopping all the same",
            "test/app: stopping with SIGTERM",
            "test/app: completed",
        ]);
        assert!(machine.path("shared/hangs").exists(), "{runtime}: it was not begun");
    }
}

/// A server on the host that answers each request with `status`, and tells its first line.
fn observer(status: &'static str) -> (u16, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, told) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let first = lines.next().unwrap().unwrap();
            while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
            stream.write_all(format!("HTTP/1.1 {status}\r\n\r\n").as_bytes()).unwrap();
            if tell.send(first).is_err() {
                return;
            }
        }
    });
    (port, told)
}

#[test]
fn http_hooks_are_done_with_any_status() {
    for runtime in RUNTIMES {
        let (port, told) = observer("503 Busy");
        let hooks = format!(
            "post-start = {{ http-get = {{ port = {port}, path = \"/begun?app=1\" }} }}\n\
             pre-stop = {{ http-get = {{ port = {port}, path = \"/ending\" }} }}"
        );
        let machine = machine(runtime, "TERM", "20s", &[("app", &hooks)]);
        let run = machine.run();
        run.wait_for("pod test: ready");
        assert_eq!(told.recv_timeout(PATIENCE).unwrap(), "GET /begun?app=1 HTTP/1.1");
        assert!(poll_until(PATIENCE, || order(&machine).len() == 1), "{:?}", order(&machine));
        let ended = run.stop();
        ended.assert_status(0);
        assert_eq!(told.recv_timeout(PATIENCE).unwrap(), "GET /ending HTTP/1.1");
        ended.assert_order(&["post-start hook done", "pre-stop hook done", "stopping with SIGTERM"]);
    }
}

#[test]
fn an_http_hook_reaches_the_network_of_its_container() {
    for runtime in RUNTIMES {
        let hooks = "network = \"none\"\n\
            startup-probe = { tcp-socket = { port = 8080 }, period = \"50ms\", failure-threshold = 500 }\n\
            pre-stop = { http-get = { port = 8080, path = \"/not-there\" } }";
        let machine = machine(runtime, "TERM", "20s", &[("app", hooks)]);
        machine.script(
            "app",
            "trap 'kill $server; exit 0' TERM\nhttpd -f -p 127.0.0.1:8080 -h /data & server=$!\n\
             while true; do sleep 0.1; done",
        );
        let run = machine.run();
        run.wait_for("test/app: startup probe succeeded");
        let ended = run.stop();
        ended.assert_status(0);
        ended.assert_order(&["pre-stop hook done", "stopping with SIGTERM"]);
    }
}

#[test]
fn a_sleep_delays_the_stop_signal_that_the_container_asks_for() {
    for runtime in RUNTIMES {
        for (name, number) in [("SIGUSR1", "10"), ("SIGRTMIN+3", "37")] {
            let hooks = format!("pre-stop = {{ sleep = \"700ms\" }}\nstop-signal = \"{name}\"");
            let machine = machine(runtime, number, "20s", &[("app", &hooks)]);
            let run = machine.run();
            assert!(poll_until(PATIENCE, || order(&machine).len() == 1), "{:?}", order(&machine));
            let ended = run.stop();
            ended.assert_status(0);
            ended.assert_order(&[
                "test/app: stopping with its pre-stop hook",
                "test/app: pre-stop hook done after ",
                &format!("test/app: stopping with {name}"),
                "test/app: completed",
            ]);
            assert_eq!(order(&machine), ["app", "told"], "{runtime}, {name}");
            let at = |text: &str| ended.lines.iter().find(|line| line.text.contains(text)).unwrap().at;
            let took = at(&format!("stopping with {name}")) - at("stopping with its pre-stop hook");
            assert!(took >= Duration::from_millis(650), "{took:?}");
        }
    }
}

#[test]
fn a_bundle_has_hooks_and_its_stop_signal() {
    for runtime in RUNTIMES {
        let machine = Machine::new(runtime);
        make_bundle(&machine, runtime, |config| {
            config["process"]["args"] =
                json!(["/bin/sh", "-c", "trap 'cat order; exit 0' USR2; while true; do sleep 0.1; done"]);
            config["process"]["cwd"] = json!("/dev/shm");
        });
        machine.pod(
            "test",
            "name = \"test\"\n[[containers]]\nname = \"app\"\nbundle = \"DIRECTORY/bundle\"\n\
             stop-signal = \"SIGUSR2\"\n\
             post-start = { exec = { command = [\"/bin/sh\", \"-c\", \"echo begun >> order\"] } }\n\
             pre-stop = { exec = { command = [\"/bin/sh\", \"-c\", \"sleep 1; echo ending >> order\"] } }\n",
        );
        let run = machine.run();
        run.wait_for("test/app: post-start hook done after");
        let ended = run.stop();
        ended.assert_status(0);
        ended.assert_order(&["stopping with SIGUSR2", "| begun", "| ending"]);
    }
}

#[test]
fn a_host_process_has_hooks_and_its_stop_signal() {
    for (layout, wrapper) in layouts() {
        // A machine that has no runtime: whoever asks for one fails.
        let mut machine = Machine::new("/nonexistent/runtime");
        machine.wrap(wrapper);
        machine.pod(
            "test",
            "name = \"test\"\n[[containers]]\nname = \"app\"\nhost-process = true\nenv = { WORD = \"open\" }\n\
             working-directory = \"DIRECTORY\"\nstop-signal = \"SIGINT\"\n\
             command = [\"sh\", \"-c\", \"trap 'echo told >> order; exit 0' INT; while true; do sleep 0.1; done\"]\n\
             post-start = { exec = { command = [\"sh\", \"-c\", \"sleep 1; echo $WORD >> order\"] } }\n\
             pre-stop = { exec = { command = [\"sh\", \"-c\", \"echo ending >> order; echo no >&2; exit 4\"] } }\n",
        );
        let run = machine.run();
        run.wait_for("test/app: post-start hook done after");
        let ended = run.stop();
        ended.assert_status(0);
        ended.assert_order(&[
            "test/app: pre-stop hook failed: it exited with 4: no; stopping all the same",
            "test/app: stopping with SIGINT",
            "test/app: completed",
        ]);
        let order = fs::read_to_string(machine.path("order")).unwrap();
        assert_eq!(order, "open\nending\ntold\n", "{layout}");
    }
}

#[test]
fn a_container_and_a_probe_have_grace_periods_of_their_own() {
    for runtime in RUNTIMES {
        let containers = [
            ("short", "termination-grace-period = \"2s\""),
            (
                "probed",
                "liveness-probe = { exec = { command = [\"/demo/check\"] }, period = \"100ms\", timeout = \"20s\", \
                 failure-threshold = 1, termination-grace-period = \"2s\" }",
            ),
        ];
        let machine = machine(runtime, "TERM", "60s", &containers);
        machine.script("app", "trap '' TERM\necho $NAME >> /data/order\nwhile true; do sleep 0.1; done");
        // Only the first instance fails.
        machine.script("check", "[ ! -e /data/sick ]");
        let run = machine.run();
        run.wait_for("pod test: ready");
        assert!(poll_until(PATIENCE, || order(&machine).len() == 2), "{:?}", order(&machine));
        fs::write(machine.path("shared/sick"), "").unwrap();
        let told = run.wait_for("test/probed: stopping with SIGTERM, its liveness probe failed");
        fs::remove_file(machine.path("shared/sick")).unwrap();
        let killed = run.wait_for_after(told, "test/probed: killing all its processes");
        let took = run.line(killed).at - run.line(told).at;
        assert!(took > Duration::from_millis(1900) && took < Duration::from_secs(20), "{took:?}");
        run.wait_for_after(killed, "test/probed: killed by SIGKILL; restarting");
        let begun = run.wait_for_after(killed, "test/probed: started, first restart");
        run.signal(nix::sys::signal::Signal::SIGTERM);
        let told = run.wait_for_after(begun, "test/short: stopping with SIGTERM");
        let killed = run.wait_for_after(told, "test/short: killing all its processes");
        let took = run.line(killed).at - run.line(told).at;
        assert!(took > Duration::from_millis(1900) && took < Duration::from_secs(20), "{took:?}");
        // The other one would have a minute.
        run.signal(nix::sys::signal::Signal::SIGTERM);
        run.end().assert_status(0);
    }
}
