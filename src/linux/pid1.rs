//! What the first process of a machine has beside others: the console, the watchdog, and the way
//! down. The order of things stands in `boot.rs`; what each needs of the kernel, in the files beside
//! this one.

use core::time::Duration;
use std::path::Path;

use nix::unistd::getpid;

use super::console::Console;
use super::signals::{Request, Signals};
use super::watchdog::Watchdog;
use super::{
    clock, crash, file_systems, initramfs, kernel_modules, machine_settings, mounts, power, reap, rescue,
    unmount,
};
use crate::config::plan::{self, FileSystem};
use crate::supervisor::event::Goal;
use crate::supervisor::report::Severity;
use crate::time::Instant;

/// The first process id namespace has this number in every kernel (linux/proc_ns.h,
/// `PROC_PID_INIT_INO`); those of containers have others.
const FIRST_PID_NAMESPACE: &str = "pid:[4026531836]";

/// Between SIGTERM and SIGKILL for what is neither ours nor a container's: shells, daemons of the
/// image. Containers have had their grace period before.
const STRANGERS_GRACE: Duration = Duration::from_secs(3);

/// For the last sync and all unmounting. A device that does not answer must not hold up the end.
const UNMOUNT_PATIENCE: Duration = Duration::from_secs(30);

/// For one kernel module and what it needs.
const MODULE_PATIENCE: Duration = Duration::from_secs(30);

/// Whether this process is the first one of a machine, and not of a container.
pub fn is_first_process() -> bool {
    if getpid().as_raw() != 1 {
        return false;
    }
    // Without /proc nobody has prepared anything, as for the first process of a machine.
    std::fs::read_link("/proc/self/ns/pid").map_or(true, |link| link == Path::new(FIRST_PID_NAMESPACE))
}

/// The first process' own things.
#[derive(Debug)]
pub struct FirstProcess {
    console: Console,
    watchdog: Option<Feeder>,
    /// `None` while the loop has them.
    signals: Option<Signals>,
}

/// A watchdog, and when it is to be fed.
#[derive(Debug)]
struct Feeder {
    watchdog: Watchdog,
    feed_at: Instant,
    /// The last feeding failed, and that was said.
    failed: bool,
}

impl FirstProcess {
    /// Makes of a bare kernel what every program expects: file systems of the kernel, a console, a
    /// root that containers can leave. A crash of ours starts us anew from here on.
    pub fn begin() -> FirstProcess {
        // After a crash we were executed as /proc/self/exe. Fails for no name.
        let _ = nix::sys::prctl::set_name(c"outrigger");
        crash::install();
        let left = initramfs::leave();
        let mut complaints = mounts::mount_api_file_systems();
        complaints.extend(left.err());
        crash::open_outlets();
        let mut console = Console::open();
        complaints.extend(power::disable_ctrl_alt_del().err());
        for complaint in complaints {
            console.write_line(Severity::Warning, &complaint);
        }
        let mut first = FirstProcess { console, watchdog: None, signals: None };
        first.listen();
        first
    }

    /// Takes signals while no loop does. A request to go down is met at once then, there is nothing
    /// to be stopped in order: see `attend`.
    pub fn listen(&mut self) {
        if self.signals.is_none() {
            match Signals::register_first_process() {
                Ok(signals) => self.signals = Some(signals),
                Err(error) => {
                    let text = format!("cannot take signals: {}; trying again later", super::reason(&error));
                    self.say(Severity::Error, &text);
                }
            }
        }
    }

    /// Gives the signals to the loop.
    pub fn lend_signals(&mut self) -> Result<Signals, String> {
        match self.signals.take() {
            Some(signals) => Ok(signals),
            None => Signals::register_first_process()
                .map_err(|error| format!("cannot take signals: {}", super::reason(&error))),
        }
    }

    /// Says something, on the console and in the kernel's log. Never waits.
    pub fn say(&mut self, severity: Severity, text: &str) {
        self.console.write_line(severity, text);
    }

    /// Writes into the kernel's log alone what the log writer puts on the console. Never waits.
    pub fn note(&self, severity: Severity, text: &str) {
        self.console.note(severity, text);
    }

    /// Says what has gone wrong, if something has, and that it goes on.
    fn warn(&mut self, result: Result<(), String>) {
        if let Err(error) = result {
            self.say(Severity::Warning, &format!("{error}; going on without"));
        }
    }
}

// Boot.
impl FirstProcess {
    /// Loads the kernel modules, each with what it needs. What fails is said, and passed over.
    pub fn load_modules(&mut self, modules: &[String]) {
        for module in modules {
            let loaded = kernel_modules::load(module, MODULE_PATIENCE, &mut || self.attend());
            self.warn(loaded);
        }
    }

    /// Starts the watchdog. From here on it must be fed.
    pub fn open_watchdog(&mut self, watchdog: &plan::Watchdog) {
        match Watchdog::open(&watchdog.device, watchdog.timeout) {
            Ok(opened) => {
                if let Some(warning) = opened.warning() {
                    self.console.write_line(Severity::Warning, warning);
                }
                let text = format!(
                    "watchdog `{}` resets the machine {} s after it was fed last",
                    watchdog.device.display(),
                    opened.timeout().as_secs()
                );
                self.say(Severity::Info, &text);
                self.watchdog = Some(Feeder { watchdog: opened, feed_at: Instant::ZERO, failed: false });
                self.tick();
            }
            Err(error) => self.say(Severity::Error, &format!("{error}; going on without a watchdog")),
        }
    }

    /// Host name, loopback interface and kernel settings. What fails is said, and passed over.
    pub fn apply_settings(&mut self, boot: &plan::Boot) {
        if let Some(hostname) = &boot.hostname {
            self.warn(machine_settings::set_hostname(hostname));
        }
        self.warn(machine_settings::bring_loopback_up());
        for (name, value) in &boot.sysctls {
            self.warn(machine_settings::set_kernel_parameter(name, value));
        }
    }

    /// Checks and mounts a file system.
    pub fn mount(&mut self, file_system: &FileSystem) -> Result<(), String> {
        file_systems::mount_configured(file_system, &mut || self.attend())
    }

    /// Waits, and reaps meanwhile.
    pub fn pause(&mut self, duration: Duration) {
        let end = clock::now().after(duration);
        while clock::now() < end {
            while reap::next().is_some() {}
            self.attend();
            reap::wait(Duration::from_millis(500).min(end.since(clock::now())));
        }
    }

    /// Runs the rescue shell on the console until it ends. The watchdog is fed all the while.
    pub fn rescue(&mut self, command: &[String]) {
        if let Err(error) = rescue::run_shell(command, &mut || self.attend()) {
            self.say(Severity::Error, &error);
        }
    }

    /// What is to be done time and again while no loop runs: feeds the watchdog, and goes down if a
    /// signal asks for that.
    fn attend(&mut self) {
        self.tick();
        let requests = self.signals.as_mut().map(Signals::take);
        let goal = requests.into_iter().flatten().find_map(|request| match request {
            Request::Stop(goal) | Request::StopAtOnce(goal) => Some(goal),
            Request::Reap | Request::Reload | Request::Ignore => None,
        });
        if let Some(goal) = goal {
            self.go_down(goal);
        }
    }
}

// The watchdog.
impl FirstProcess {
    /// Feeds the watchdog if that is due.
    pub fn tick(&mut self) {
        let now = clock::now();
        let Some(feeder) = self.watchdog.as_mut().filter(|feeder| feeder.feed_at <= now) else { return };
        // After half of its time, so that one feeding may come late.
        feeder.feed_at = now.after(feeder.watchdog.timeout() / 2);
        let fed = feeder.watchdog.feed();
        let news = fed.is_err() && !feeder.failed;
        feeder.failed = fed.is_err();
        if let (Err(error), true) = (fed, news) {
            self.console.write_line(Severity::Error, &format!("{error}; trying again"));
        }
    }

    /// Whether there is one that runs.
    pub fn has_watchdog(&self) -> bool {
        self.watchdog.is_some()
    }

    /// When the watchdog is to be fed next.
    pub fn next_tick(&self) -> Option<Instant> {
        self.watchdog.as_ref().map(|feeder| feeder.feed_at)
    }
}

// The way down.
impl FirstProcess {
    /// Ends what is left, makes the file systems clean, and ends the machine.
    pub fn go_down(&mut self, goal: Goal) -> ! {
        let end = match goal {
            Goal::PowerOff => power::End::PowerOff,
            Goal::Halt => power::End::Halt,
            // Whatever else led here: a machine that nobody can visit comes back.
            Goal::Reboot | Goal::Rescue | Goal::Exit => power::End::Reboot,
        };
        self.say(Severity::Info, &format!("{}: ending what still runs", goal.name()));
        let left = power::kill_everything(STRANGERS_GRACE, &mut || self.tick());
        for process in left {
            self.say(Severity::Warning, &format!("cannot end process {process}; going on without its end"));
        }
        self.say(Severity::Info, &format!("{}: unmounting", goal.name()));
        for error in unmount::unmount_all(UNMOUNT_PATIENCE, &mut || self.tick()) {
            self.say(Severity::Error, &format!("{error}; going on"));
        }
        self.say(Severity::Info, &format!("{}: now", goal.name()));
        match (end, self.watchdog.take()) {
            // Left running, so that a reboot that hangs is ended by it; it begins anew from now.
            (power::End::Reboot, Some(mut feeder)) => {
                let _ = feeder.watchdog.feed();
            }
            (power::End::PowerOff | power::End::Halt, Some(feeder)) => {
                if let Err(error) = feeder.watchdog.disarm() {
                    self.say(Severity::Warning, &error);
                }
            }
            (_, None) => {}
        }
        let console = &mut self.console;
        power::finish(end, &mut |text| console.write_line(Severity::Error, text))
    }
}
