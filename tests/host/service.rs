//! Run by a service manager: the test is one, and listens at NOTIFY_SOCKET.

use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::idle::wake_ups;
use super::machine::Machine;
use super::process;
use super::run::{PATIENCE, Run, pause, poll_until};

/// What was told and when. The thread ends by a message of our own.
struct Manager {
    path: std::path::PathBuf,
    told: Arc<Mutex<Vec<(Instant, String)>>>,
    reader: Option<JoinHandle<()>>,
}

const END: &[u8] = b"the test is over";

impl Manager {
    fn listen(machine: &Machine) -> Manager {
        let path = machine.path("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        let reader = std::thread::spawn({
            let told = Arc::clone(&told);
            move || {
                let mut bytes = [0; 4096];
                loop {
                    let length = socket.recv(&mut bytes).unwrap();
                    if bytes[..length] == *END {
                        return;
                    }
                    let text = String::from_utf8(bytes[..length].to_vec()).unwrap();
                    told.lock().unwrap().push((Instant::now(), text));
                }
            }
        });
        Manager { path, told, reader: Some(reader) }
    }

    fn run<'m>(&self, machine: &'m Machine, watchdog: Option<Duration>) -> Run<'m> {
        let mut command = machine.command("run");
        command.env("NOTIFY_SOCKET", &self.path);
        if let Some(interval) = watchdog {
            command.env("WATCHDOG_USEC", interval.as_micros().to_string());
        }
        Run::start(machine, command)
    }

    /// All messages so far that have this line, or one that begins with it.
    fn with(&self, line: &str) -> Vec<(Instant, String)> {
        let told = self.told.lock().unwrap();
        told.iter().filter(|(_, text)| text.lines().any(|told| told.starts_with(line))).cloned().collect()
    }

    fn wait_for(&self, line: &str) -> (Instant, String) {
        assert!(
            poll_until(PATIENCE, || !self.with(line).is_empty()),
            "no {line:?} among {:#?}",
            self.with("")
        );
        self.with(line).remove(0)
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        UnixDatagram::unbound().unwrap().send_to(END, &self.path).unwrap();
        self.reader.take().unwrap().join().unwrap();
    }
}

/// A pod whose sidecar has started when the file `data/up` is there.
fn machine() -> Machine {
    let machine = Machine::new("crun");
    std::fs::create_dir(machine.path("data")).unwrap();
    machine.script("app", "trap 'exit 0' TERM\nwhile true; do sleep 0.1; done");
    machine.pod(
        "web",
        r#"
            name = "web"
            volumes = [{ name = "data", host-path = "DIRECTORY/data" }]
            [[init-containers]]
            name = "proxy"
            restart-policy = "always"
            rootfs = "ROOTFS"
            command = ["/demo/app"]
            mounts = [{ volume = "data", path = "/data" }]
            startup-probe = { exec = { command = ["/bin/test", "-e", "/data/up"] }, period = "100ms", timeout = "10s", failure-threshold = 10000 }
            [[containers]]
            name = "app"
            rootfs = "ROOTFS"
            command = ["/demo/app"]
        "#,
    );
    machine
}

#[test]
fn the_manager_is_told_of_start_reload_and_stop() {
    let machine = machine();
    let manager = Manager::listen(&machine);
    let run = manager.run(&machine, None);
    manager.wait_for("STATUS=1 pod: 1 starting (web waits for proxy's startup probe)");
    assert!(manager.with("READY=1").is_empty(), "{:#?}", manager.with(""));
    assert!(!manager.with("EXTEND_TIMEOUT_USEC=30000000").is_empty(), "{:#?}", manager.with(""));
    std::fs::write(machine.path("data/up"), "").unwrap();
    let (_, ready) = manager.wait_for("READY=1");
    assert_eq!(ready, "READY=1\nSTATUS=1 pod: 1 ready\n");
    run.wait_for("web/app: started");

    // Nothing is left of the manager in what we run: the log writer is our only other program.
    let log_writer = process::children(run.pid()).into_iter().find(|&child| {
        let line = process::command_line(child);
        line.contains("log-writer")
    });
    let environment = std::fs::read(format!("/proc/{}/environ", log_writer.unwrap())).unwrap();
    assert!(!String::from_utf8_lossy(&environment).contains("NOTIFY"), "{environment:?}");

    machine.pod(
        "other",
        "name = \"other\"\n[[containers]]\nname = \"app\"\nrootfs = \"ROOTFS\"\ncommand = [\"/demo/app\"]",
    );
    run.signal(Signal::SIGHUP);
    let (_, reloading) = manager.wait_for("RELOADING=1");
    assert!(reloading.contains("\nMONOTONIC_USEC="), "{reloading}");
    let change = "new: pod other";
    let (_, reloaded) =
        manager.wait_for(&format!("STATUS=1 pod: 1 ready; {change}, takes effect with the next start"));
    assert!(reloaded.starts_with("READY=1\n"), "{reloaded}");
    run.wait_for(&format!(
        "reload: the configuration files are right; {change}; takes effect with the next start"
    ));

    std::fs::write(machine.path("pods/other.toml"), "name = 7").unwrap();
    run.signal(Signal::SIGHUP);
    manager.wait_for("STATUS=1 pod: 1 ready; the configuration files are wrong, the next start will fail");
    run.wait_for("error: reload: the configuration files are wrong");
    run.wait_for("other.toml:1:8");

    run.signal(Signal::SIGTERM);
    manager.wait_for("STOPPING=1");
    run.end().assert_status(0);
    assert_eq!(manager.with("READY=1").len(), 3, "{:#?}", manager.with(""));
    assert!(manager.with("WATCHDOG").is_empty(), "nobody asked for it");
}

#[test]
fn the_watchdog_is_fed_in_time_and_only_by_a_loop_that_turns() {
    let machine = machine();
    std::fs::write(machine.path("data/up"), "").unwrap();
    let manager = Manager::listen(&machine);
    let interval = Duration::from_secs(4);
    let run = manager.run(&machine, Some(interval));
    manager.wait_for("READY=1");
    pause(Duration::from_secs(9));
    run.signal(Signal::SIGSTOP);
    pause(Duration::from_millis(200));
    let fed = manager.with("WATCHDOG=1");
    // At half the interval: 2 s. In between it is silent.
    assert!((4..=7).contains(&fed.len()), "{:#?}", manager.with(""));
    for pair in fed.windows(2) {
        let gap = pair[1].0 - pair[0].0;
        assert!(gap < interval, "{gap:?} without a sign of life");
    }
    pause(Duration::from_secs(5));
    assert_eq!(manager.with("WATCHDOG=1").len(), fed.len(), "it stands still");
    run.signal(Signal::SIGCONT);
    run.stop().assert_status(0);
}

#[test]
fn without_a_watchdog_nothing_is_said_when_nothing_happens() {
    let machine = machine();
    std::fs::write(machine.path("data/up"), "").unwrap();
    let manager = Manager::listen(&machine);
    let run = manager.run(&machine, None);
    manager.wait_for("READY=1");
    run.wait_for("pod web: ready");
    pause(Duration::from_secs(2));
    let (told, woken) = (manager.with("").len(), wake_ups(run.pid()));
    // Longer than the pause between two requests to extend a start.
    pause(Duration::from_secs(12));
    assert_eq!(wake_ups(run.pid()) - woken, 0);
    assert_eq!(manager.with("").len(), told);
    run.stop().assert_status(0);
}

#[test]
fn a_manager_that_is_gone_costs_one_line_and_nothing_else() {
    let machine = machine();
    std::fs::write(machine.path("data/up"), "").unwrap();
    let mut command = machine.command("run");
    command.env("NOTIFY_SOCKET", machine.path("nobody"));
    let run = Run::start(&machine, command);
    run.wait_for("pod web: ready");
    let ended = run.stop();
    ended.assert_status(0);
    let lost = "warning: cannot tell the service manager: No such file or directory; trying again in 1 s";
    assert_eq!(ended.count(lost), 1, "{}", ended.text());
}

#[test]
fn an_address_that_is_none_costs_one_line_and_nothing_else() {
    let machine = machine();
    std::fs::write(machine.path("data/up"), "").unwrap();
    let mut command = machine.command("run");
    command.env("NOTIFY_SOCKET", "vsock:2:1234");
    let run = Run::start(&machine, command);
    run.wait_for("pod web: ready");
    let ended = run.stop();
    ended.assert_status(0);
    ended.assert_has("outrigger: warning: cannot tell the service manager at `vsock:2:1234` (NOTIFY_SOCKET)");
}
