//! `outrigger run`: the loop. The only file that knows both sides, the decisions and the machine.

use std::rc::Rc;

use crate::cli::{Files, status};
use crate::config::plan::Plan;
use crate::config::{self};
use crate::linux::notify::Manager;
use crate::linux::signals::Signals;
use crate::linux::{Host, capacity, chance, output, sources};
use crate::service::Service;
use crate::supervisor::action::{Action, ContainerAction};
use crate::supervisor::event::Goal;
use crate::supervisor::kept;
use crate::supervisor::report::Report;
use crate::supervisor::{Outcome, Supervisor};
use crate::time::Instant;

/// Reads and checks configuration files. In the error: all that is wrong, ready to be printed.
pub fn load(files: &Files) -> Result<Plan, String> {
    let machine = sources::read_machine(files.config.as_deref());
    let paths = match &machine {
        Ok(source) if files.paths.is_empty() => config::load_machine(source.as_ref()).0.pods,
        Ok(_) | Err(_) => files.paths.clone(),
    };
    let pods = sources::read_pods(&paths);
    let (machine, pods) = match (machine, pods) {
        (Ok(machine), Ok(pods)) => (machine, pods),
        (machine, pods) => {
            let errors = machine.err().into_iter().chain(pods.err().unwrap_or_default());
            return Err(errors.map(|error| format!("error: {error}\n")).collect());
        }
    };
    let mut plan = config::load_for(capacity::find(), machine.as_ref(), &pods)
        .map_err(|problems| problems.to_string())?;
    if let Some(runtime) = &files.runtime {
        plan.machine.runtime = Some(runtime.clone());
    }
    Ok(plan)
}

/// Runs the pods until all have ended. Returns the exit status.
pub fn run(files: &Files) -> u8 {
    // A device whose manager cannot be told is better off with its pods than without.
    let manager = Manager::from_environment().unwrap_or_else(|error| {
        eprintln!("outrigger: warning: {error}; going on without telling it anything");
        None
    });
    // Before anything that would have to be undone: from here on a signal stops in order.
    let signals = match Signals::register(manager.is_some()) {
        Ok(signals) => signals,
        Err(error) => return refuse(status::SYSTEM, &format!("cannot take signals: {error}")),
    };
    let plan = match load(files) {
        Ok(plan) => Rc::new(plan),
        Err(text) => {
            eprint!("{text}");
            return status::CONFIGURATION;
        }
    };
    let mut host = match Host::open(Rc::clone(&plan), signals) {
        Ok(host) => host,
        Err(error) => return refuse(status::SYSTEM, &error),
    };
    let mut supervisor = Supervisor::new(plan);
    supervisor.seed_jitter(chance::seed());
    restore(&mut supervisor, &mut host);
    let mut service = manager.map(|manager| Service::new(manager, files));
    let place = service.as_mut().map_or(Place::Foreground, Place::Service);
    let outcome = turn(&mut supervisor, &mut host, place);
    let (left, _) = host.close();
    for what in &left {
        output::write_at_end(&format!("outrigger: error: {what}; it is left behind\n"));
    }
    if outcome.goal != Goal::Exit {
        let goal = outcome.goal.name();
        let text = format!("cannot go on to the {goal}: this is not the first process of a machine; ending");
        output::write_at_end(&format!("outrigger: error: {text}\n"));
    }
    match outcome {
        Outcome { left_behind: true, .. } => status::LEFT_BEHIND,
        Outcome { .. } if !left.is_empty() => status::LEFT_BEHIND,
        Outcome { failed: 0, .. } => status::FINE,
        Outcome { .. } => status::POD_FAILED,
    }
}

/// Where the loop runs, and who else it serves.
#[derive(Debug)]
pub enum Place<'a> {
    /// In the foreground: until all pods have ended.
    Foreground,
    /// Below a service manager: until all pods have ended.
    Service(&'a mut Service),
    /// In the first process of a machine: until that is to go down.
    FirstProcess {
        /// When to panic on purpose: see `config/kernel_command_line.rs`.
        panic_at: Option<Instant>,
    },
}

/// The loop. From here on nothing may end the process, and nothing but `wait` waits.
pub fn turn(supervisor: &mut Supervisor, host: &mut Host, mut place: Place<'_>) -> Outcome {
    // The first turn does not wait, but takes the signals that came before.
    let mut deadline = Some(host.now());
    loop {
        host.wait(deadline, supervisor.are_essential_pods_well());
        // Events before deadlines: a container that has exited in this very wake-up must not be
        // killed for being late.
        let now = host.now();
        loop {
            while let Some(event) = host.next_event() {
                supervisor.handle(event, now);
                while let Some(report) = supervisor.next_report() {
                    tell(supervisor, host, report);
                }
            }
            perform_all(supervisor, host, now);
            // What was known at once to have happened; it ends, as each action is asked for once.
            if !host.has_events() {
                break;
            }
        }
        keep(supervisor, host);
        let mut also = None;
        match &mut place {
            Place::Foreground => {}
            Place::Service(service) => {
                if host.take_reload_request() {
                    service.reload(supervisor, host, now);
                }
                service.tell(supervisor, host, now);
                also = service.next_deadline();
            }
            Place::FirstProcess { panic_at } => {
                if panic_at.is_some_and(|at| at <= now) {
                    panic_on_purpose();
                }
                also = *panic_at;
            }
        }
        match (supervisor.exit(), &place) {
            // A machine is not switched off because its pods are done.
            (Some(Outcome { goal: Goal::Exit, .. }), Place::FirstProcess { .. }) | (None, _) => {}
            (Some(outcome), _) => return outcome,
        }
        deadline = supervisor.next_deadline().into_iter().chain(also).min();
    }
}

#[expect(clippy::panic, reason = "the kernel command line asks for it")]
fn panic_on_purpose() {
    panic!("outrigger.panic= on the kernel command line asks for this");
}

fn perform_all(supervisor: &mut Supervisor, host: &mut Host, now: Instant) {
    // Ends: every action is written into the records when it is asked for.
    while let Some(action) = supervisor.next_action(now) {
        match action {
            Action::Report(report) => tell(supervisor, host, report),
            Action::SetUpPod(_) | Action::TearDownPod(_) => host.perform(&action),
            Action::Container(_, _, what) => {
                // Before it is done: who comes after us must not count it as new.
                if matches!(what, ContainerAction::Create { .. }) {
                    keep(supervisor, host);
                }
                host.perform(&action);
            }
        }
    }
}

/// Lets the supervisor go on where the one before was ended, if it was.
pub fn restore(supervisor: &mut Supervisor, host: &mut Host) {
    let now = host.now();
    for left in host.take_left() {
        supervisor.restore(left.pod, &left.containers, left.survives, now);
    }
}

/// Keeps what the next supervisor has to know, should this one be ended in its midst.
fn keep(supervisor: &Supervisor, host: &mut Host) {
    for view in supervisor.views() {
        host.keep(view.id, kept::keep(&view));
    }
}

fn tell(supervisor: &Supervisor, host: &mut Host, report: Report) {
    host.write_line(report.severity(), &report.text(supervisor));
}

fn refuse(status: u8, error: &str) -> u8 {
    eprintln!("outrigger: error: {error}");
    status
}
