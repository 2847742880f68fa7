//! `outrigger run`: the loop. The only file that knows both sides, the decisions and the machine.

use std::rc::Rc;

use crate::cli::{Files, status};
use crate::config::plan::Plan;
use crate::config::{self};
use crate::linux::notify::Manager;
use crate::linux::signals::Signals;
use crate::linux::{Host, output, sources};
use crate::service::Service;
use crate::supervisor::action::Action;
use crate::supervisor::report::Report;
use crate::supervisor::{Outcome, Supervisor};

/// Reads and checks configuration files. In the error: all that is wrong, ready to be printed.
pub fn load(files: &Files) -> Result<Plan, String> {
    let machine = sources::read_machine(files.config.as_deref());
    let pods = sources::read_pods(&files.paths);
    let (machine, pods) = match (machine, pods) {
        (Ok(machine), Ok(pods)) => (machine, pods),
        (machine, pods) => {
            let errors = machine.err().into_iter().chain(pods.err().unwrap_or_default());
            return Err(errors.map(|error| format!("error: {error}\n")).collect());
        }
    };
    let mut plan = config::load(machine.as_ref(), &pods).map_err(|problems| problems.to_string())?;
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
    let mut service = manager.map(|manager| Service::new(manager, files));
    let outcome = turn_until_ended(&mut supervisor, &mut host, service.as_mut());
    let left = host.close();
    for what in &left {
        output::write_at_end(&format!("outrigger: error: {what}; it is left behind\n"));
    }
    match outcome {
        Outcome { left_behind: true, .. } => status::LEFT_BEHIND,
        Outcome { .. } if !left.is_empty() => status::LEFT_BEHIND,
        Outcome { failed: 0, .. } => status::FINE,
        Outcome { .. } => status::POD_FAILED,
    }
}

/// The loop. From here on nothing may end the process, and nothing but `wait` waits.
fn turn_until_ended(
    supervisor: &mut Supervisor,
    host: &mut Host,
    mut service: Option<&mut Service>,
) -> Outcome {
    // The first turn does not wait, but takes the signals that came before.
    let mut deadline = Some(host.now());
    loop {
        host.wait(deadline);
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
        if let Some(service) = service.as_deref_mut() {
            if host.take_reload_request() {
                service.reload(supervisor, host, now);
            }
            service.tell(supervisor, host, now);
        }
        if let Some(outcome) = supervisor.exit() {
            return outcome;
        }
        let service_deadline = service.as_ref().and_then(|service| service.next_deadline());
        deadline = supervisor.next_deadline().into_iter().chain(service_deadline).min();
    }
}

fn perform_all(supervisor: &mut Supervisor, host: &mut Host, now: crate::time::Instant) {
    // Ends: every action is written into the records when it is asked for.
    while let Some(action) = supervisor.next_action(now) {
        match action {
            Action::Report(report) => tell(supervisor, host, report),
            Action::SetUpPod(_) | Action::TearDownPod(_) | Action::Container(..) => host.perform(&action),
        }
    }
}

fn tell(supervisor: &Supervisor, host: &mut Host, report: Report) {
    host.write_line(report.severity(), &report.text(supervisor));
}

fn refuse(status: u8, error: &str) -> u8 {
    eprintln!("outrigger: error: {error}");
    status
}
