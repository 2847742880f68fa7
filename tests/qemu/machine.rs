//! A machine that runs: its console, its keyboard, a shell in it, its end.
//!
//! Killed when it is dropped; what its console said is printed then if the test has failed.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::pipe2;
use serde_json::json;

use super::arch::Arch;
use super::console::Console;
use super::monitor::{Ending, Monitor};
use super::setup::Setup;
use super::shell::Shell;
use super::turn::Turn;

/// How long QEMU may take from its start until it has opened its sockets.
const OPENING: Duration = Duration::from_secs(30);

pub(super) struct Machine {
    setup: Setup,
    child: Child,
    keyboard: ChildStdin,
    console: Console,
    monitor: Monitor,
    shell: Option<Shell>,
    started: Instant,
    deadline: Instant,
    _turn: Turn,
}

impl Machine {
    pub(super) fn start(setup: Setup) -> Machine {
        let turn = Turn::take();
        let packages = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("target/qemu")
            .join(setup.arch.name())
            .join("packages");
        // We listen and QEMU connects, before the machine runs: nothing it says is missed.
        let listen = |name: &str| UnixListener::bind(setup.path(name)).unwrap();
        let monitor = listen("monitor");
        let shell = setup.has_shell.then(|| listen("shell"));
        // Killed with the thread that runs the test, whatever ends that.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).args(setup.arch.qemu());
        // Emulated everywhere, so that it behaves the same everywhere.
        command.args(["-accel", "tcg", "-m", &setup.memory_mib.to_string()]);
        command.args(["-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio"]);
        command.arg("-kernel").arg(packages.join("vmlinuz"));
        command.arg("-initrd").arg(setup.path("initramfs.cpio.gz")).arg("-append").arg(&setup.append);
        let socket = |id: &str| format!("socket,id={id},path={}", setup.path(id).display());
        command.args(["-chardev", &socket("monitor"), "-mon", "chardev=monitor,mode=control"]);
        if setup.has_shell {
            command.args(["-device", "virtio-serial-pci", "-chardev", &socket("shell")]);
            command.args(["-device", "virtserialport,chardev=shell"]);
        }
        command.args(setup.arch.keyboard()).args(&setup.arguments);
        let (port, theirs) = pipe2(OFlag::O_CLOEXEC).unwrap();
        command.stdin(Stdio::piped()).stdout(theirs.try_clone().unwrap()).stderr(theirs);
        let started = Instant::now();
        let mut child = command.spawn().unwrap();
        drop(command);
        let keyboard = child.stdin.take().unwrap();
        let console = Console::read(File::from(port));
        let monitor = Monitor::new(accept(&monitor, &console));
        let shell = shell.map(|shell| Shell::new(accept(&shell, &console)));
        let deadline = started + setup.deadline;
        let mut machine =
            Machine { setup, child, keyboard, console, monitor, shell, started, deadline, _turn: turn };
        machine.monitor.execute("qmp_capabilities", &json!({}), deadline);
        machine
    }

    pub(super) fn arch(&self) -> Arch {
        self.setup.arch
    }

    /// Waits until the console shows `text`. Returns the position behind it.
    pub(super) fn wait_for(&self, text: &str) -> usize {
        self.wait_for_after(0, text)
    }

    /// The same, but not before position `from`.
    pub(super) fn wait_for_after(&self, from: usize, text: &str) -> usize {
        self.console.wait_for(from, text, self.deadline).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The position behind all that the console has shown.
    pub(super) fn now(&self) -> usize {
        self.console.text().len()
    }

    /// What the console has shown.
    pub(super) fn text(&self) -> String {
        self.console.text()
    }

    /// Fails unless the console has shown these texts, in this order.
    pub(super) fn assert_order(&self, texts: &[&str]) {
        let shown = self.console.text();
        let mut from = 0;
        for text in texts {
            let Some(position) = shown[from..].find(text) else { panic!("{text:?} is not in its place") };
            from += position + text.len();
        }
    }

    /// How often the console has shown `text`.
    pub(super) fn count(&self, text: &str) -> usize {
        self.console.text().matches(text).count()
    }

    /// Types on the console.
    pub(super) fn send(&mut self, text: &str) {
        self.keyboard.write_all(text.as_bytes()).unwrap();
        self.keyboard.flush().unwrap();
    }

    /// Types a command to a shell that sits on the console. Returns what the console shows until
    /// it is done, other programs' lines included.
    pub(super) fn type_command(&mut self, command: &str) -> String {
        let from = self.now();
        // Written so that the echo of the command is not taken for its end.
        self.send(&format!("{command}; echo \"do\"\"ne: $?.\"\n"));
        let end = self.wait_for_after(from, "done: ");
        let end = self.wait_for_after(end, ".");
        self.text()[from..end].to_owned()
    }

    /// Runs a command in the machine's shell. Returns its output. Fails if the command does.
    pub(super) fn run(&mut self, command: &str) -> String {
        let (output, status) = self.try_run(command);
        assert_eq!(status, 0, "status of {command:?}, which said:\n{output}");
        output
    }

    /// Runs a command in the machine's shell. Returns its output and status.
    pub(super) fn try_run(&mut self, command: &str) -> (String, u32) {
        let shell = self.shell.as_mut().expect("this machine was set up without a shell");
        shell.begin(command);
        shell
            .end(self.deadline)
            .unwrap_or_else(|output| panic!("{command:?} does not end; it said:\n{output}"))
    }

    /// Starts a command that ends the shell or the machine.
    pub(super) fn begin(&mut self, command: &str) {
        self.shell.as_mut().expect("this machine was set up without a shell").begin(command);
    }

    /// Asks again and again until a command succeeds; for what tells nobody when it comes.
    pub(super) fn run_until(&mut self, command: &str) {
        // What it says while it fails would say it a hundred times.
        self.run(&format!("until {command}; do sleep 0.1; done 2> /dev/null"));
    }

    /// Presses keys together, by QEMU's names of them.
    pub(super) fn press(&mut self, keys: &[&str]) {
        let keys: Vec<_> = keys.iter().map(|key| json!({ "type": "qcode", "data": key })).collect();
        self.monitor.execute("send-key", &json!({ "keys": keys }), self.deadline);
    }

    /// Waits until the machine has switched itself off.
    pub(super) fn wait_for_power_off(&mut self) {
        self.wait_for_end(Ending::PowerOff);
    }

    /// Waits until the machine has reset itself. It does not start again.
    pub(super) fn wait_for_reboot(&mut self) {
        self.wait_for_end(Ending::Reboot);
    }

    fn wait_for_end(&mut self, expected: Ending) {
        let ending = self.monitor.wait_for_end(self.deadline);
        assert!(ending.is_some(), "no {expected:?} came in time");
        self.child.wait().unwrap();
        self.console.join();
        assert!(!self.console.has_kernel_panic(), "the kernel panicked");
        assert_eq!(ending, Some(expected), "the machine ended otherwise");
        println!("{}: {expected:?} after {:.1?}", self.arch().name(), self.started.elapsed());
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Both fail on a machine that has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.console.join();
        if std::thread::panicking() {
            eprintln!("---- console of {}:\n{}\n----", self.arch().name(), self.console.text());
        }
    }
}

/// Waits for QEMU's connection.
fn accept(listener: &UnixListener, console: &Console) -> UnixStream {
    let mut watched = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
    let connected = poll(&mut watched, PollTimeout::try_from(OPENING).unwrap()).unwrap();
    assert_eq!(connected, 1, "QEMU does not start:\n{}", console.text());
    listener.accept().unwrap().0
}
