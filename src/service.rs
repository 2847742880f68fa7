//! Being a service: between the service manager and us. With `run.rs` the only place that knows
//! both sides, the decisions and the machine.

use crate::cli::Files;
use crate::config::difference::Difference;
use crate::linux::Host;
use crate::linux::notify::Manager;
use crate::run;
use crate::supervisor::Supervisor;
use crate::supervisor::announcer::Announcer;
use crate::supervisor::report::Severity;
use crate::time::Instant;

/// The service manager that has started us, and what it was told.
#[derive(Debug)]
pub struct Service {
    manager: Manager,
    announcer: Announcer,
    files: Files,
}

impl Service {
    /// For a supervisor that runs what is in `files`.
    pub fn new(manager: Manager, files: &Files) -> Service {
        let announcer = Announcer::new(manager.watchdog());
        Service { manager, announcer, files: files.clone() }
    }

    /// Says what has changed. Once in every turn of the loop, and so only while it turns.
    pub fn tell(&mut self, supervisor: &Supervisor, host: &mut Host, now: Instant) {
        if let Some(message) = self.announcer.next_message(supervisor, now) {
            self.send(&message, host, now);
        }
    }

    /// When to `tell` although nothing has happened.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.announcer.next_deadline()
    }

    /// Reads the files again and says whether they are right, and which pods they would change.
    /// What runs stays as it is. The next `tell` says that it is done.
    ///
    /// Files only: what is no regular file is refused, so this takes as long as reading and
    /// checking them does.
    pub fn reload(&mut self, supervisor: &Supervisor, host: &mut Host, now: Instant) {
        if let Some(message) = self.announcer.begin_reload(now) {
            self.send(&message, host, now);
        }
        const LATER: &str = "takes effect with the next start";
        match run::load(&self.files) {
            Ok(plan) => {
                let difference = Difference::between(supervisor.plan(), &plan);
                if difference.is_empty() {
                    host.write_line(
                        Severity::Info,
                        "reload: the configuration files are right and unchanged",
                    );
                    self.announcer.end_reload("");
                } else {
                    let text = format!("reload: the configuration files are right; {difference}; {LATER}");
                    host.write_line(Severity::Info, &text);
                    self.announcer.end_reload(&format!("{difference}, {LATER}"));
                }
            }
            Err(problems) => {
                let text = "reload: the configuration files are wrong, as follows; what runs goes on, but the \
                            next start will fail";
                host.write_line(Severity::Error, text);
                // Its lines say themselves how bad they are.
                host.write_line(Severity::Info, &problems);
                self.announcer.end_reload("the configuration files are wrong, the next start will fail");
            }
        }
    }

    fn send(&mut self, message: &str, host: &mut Host, now: Instant) {
        match self.manager.send(message) {
            Ok(()) => self.announcer.note_sent(now),
            Err(why) => {
                self.announcer.note_lost(now);
                if let Some(why) = why {
                    host.write_line(Severity::Warning, &why);
                }
            }
        }
    }
}
