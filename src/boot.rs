//! `outrigger` as the first process of a machine: from the kernel to the pods, and back.
//!
//! ```text
//!   kernel ─▶ file systems of the kernel, console ─▶ machine file ─▶ modules ─▶ watchdog
//!          ─▶ settings ─▶ mounts ─▶ (rescue, if asked for) ─▶ pod files ─▶ pods: the loop of run.rs
//!          ─▶ pods stopped in order ─▶ everything else ended ─▶ unmounted ─▶ power-off, halt, reboot
//! ```
//!
//! What can be done without is said and passed over. What cannot (a configuration that is wrong, a
//! file system that is not optional) is a failed boot: it is said on the console, and then there is a
//! rescue shell or a reboot, as the machine file says, as far as it can be read. Nothing here ends
//! the process: a kernel without its first process panics.

use std::rc::Rc;

use crate::cli::Files;
use crate::config::kernel_command_line::KernelCommandLine;
use crate::config::plan::{BootFailure, Machine, Plan};
use crate::config::{self};
use crate::linux::Host;
use crate::linux::chance;
use crate::linux::crash;
use crate::linux::pid1::FirstProcess;
use crate::linux::sources;
use crate::run::{self, Place};
use crate::supervisor::Supervisor;
use crate::supervisor::event::Goal;
use crate::supervisor::report::Severity;

/// Boots the machine, runs its pods, and ends the machine.
pub fn boot() -> ! {
    let mut first = FirstProcess::begin();
    let version = env!("CARGO_PKG_VERSION");
    first.say(Severity::Info, &format!("outrigger {version} is the first process of this machine"));
    let words = KernelCommandLine::parse(&sources::read_kernel_command_line());
    for mistake in &words.mistakes {
        first.say(Severity::Warning, mistake);
    }
    let machine_file = sources::read_machine(words.config.as_deref());
    let (machine, broken) = match &machine_file {
        Ok(source) => {
            let (machine, problems) = config::load_machine(source.as_ref());
            (machine, problems.map(|problems| problems.to_string()))
        }
        Err(error) => (config::load_machine(None).0, Some(error.clone())),
    };
    let prepared = match broken {
        Some(error) => Err(error),
        None => prepare(&mut first, &machine, &words),
    };
    let plan = match prepared {
        Ok(plan) => plan,
        Err(error) => {
            fail(&mut first, &machine, &error);
            first.go_down(Goal::Reboot)
        }
    };
    let (mut first, ended) = run_pods(first, plan, &words);
    first.listen();
    match ended {
        Ok(Goal::Rescue) => {
            rescue(&mut first, &machine, "after it the machine is rebooted");
            first.go_down(Goal::Reboot)
        }
        Ok(goal) => first.go_down(goal),
        Err(error) => {
            fail(&mut first, &machine, &error);
            first.go_down(Goal::Reboot)
        }
    }
}

/// Everything before the pods, and the plan of what to run. In the error: why there can be no pods.
fn prepare(first: &mut FirstProcess, machine: &Machine, words: &KernelCommandLine) -> Result<Plan, String> {
    first.load_modules(&machine.boot.modules);
    if let Some(watchdog) = &machine.watchdog {
        first.open_watchdog(watchdog);
    }
    first.apply_settings(&machine.boot);
    for file_system in &machine.file_systems {
        match first.mount(file_system) {
            Ok(()) => {}
            Err(error) if file_system.optional => {
                first.say(Severity::Warning, &format!("{error}; it is optional, going on without"));
            }
            Err(error) => return Err(error),
        }
    }
    if words.rescue {
        rescue(first, machine, "after it the pods are started");
    }
    let files = Files { config: words.config.clone(), runtime: None, paths: machine.pods.clone() };
    let mut plan = run::load(&files)?;
    if let Some(log) = words.log {
        plan.machine.log_destination = log;
    }
    Ok(plan)
}

/// Runs the pods until the machine is to end. In the error: why they cannot be run.
fn run_pods(
    mut first: FirstProcess,
    plan: Plan,
    words: &KernelCommandLine,
) -> (FirstProcess, Result<Goal, String>) {
    let plan = Rc::new(plan);
    let signals = match first.lend_signals() {
        Ok(signals) => signals,
        Err(error) => return (first, Err(error)),
    };
    let mut host = match Host::open(Rc::clone(&plan), signals) {
        Ok(host) => host,
        Err(error) => return (first, Err(error)),
    };
    first.note(Severity::Info, "starting the pods");
    let mut supervisor = Supervisor::new(plan);
    supervisor.seed_jitter(chance::seed());
    run::restore(&mut supervisor, &mut host);
    if first.has_watchdog() {
        supervisor.mind_watchdog();
    }
    host.become_first_process(first);
    // Once: the instance after the crash goes on.
    let panic_at = words.panic.filter(|_| !crash::has_crashed()).map(|after| host.now().after(after));
    let outcome = run::turn(&mut supervisor, &mut host, Place::FirstProcess { panic_at });
    let (left, first) = host.close();
    let mut first = first.unwrap_or_else(FirstProcess::begin);
    for what in left {
        first.say(Severity::Error, &format!("{what}; it is left behind"));
    }
    (first, Ok(outcome.goal))
}

/// The boot has failed: says why, and gives whoever is there time to read it, or a shell.
fn fail(first: &mut FirstProcess, machine: &Machine, error: &str) {
    first.say(Severity::Error, error.trim_end().trim_start_matches("error: "));
    if machine.boot.on_failure == BootFailure::Rescue && machine.rescue.is_some() {
        return rescue(first, machine, "after it the machine is rebooted");
    }
    let delay = machine.boot.failure_delay;
    let text =
        format!("cannot boot: see above; rebooting in {}, or on Ctrl-Alt-Del", config::write_duration(delay));
    first.say(Severity::Error, &text);
    first.pause(delay);
}

/// The rescue shell, if this machine has one.
fn rescue(first: &mut FirstProcess, machine: &Machine, then: &str) {
    match &machine.rescue {
        Some(command) => {
            first.say(Severity::Warning, &format!("rescue: `{}` on this console; {then}", command.join(" ")));
            first.rescue(command);
        }
        None => first.say(
            Severity::Error,
            "cannot start a rescue shell: the machine file has no `rescue`; going on without",
        ),
    }
}
