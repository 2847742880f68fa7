//! What somebody outside does to a world, beside the events that its supervisor is told of.

use std::rc::Rc;

use super::invariants::Broken;
use super::witness::Witness;
use super::{Happening, World};
use crate::config::plan::{ContainerId, PodId};
use crate::supervisor::Supervisor;
use crate::supervisor::announcer::Announcer;
use crate::supervisor::event::Event;
use crate::supervisor::kept::{self, Kept};
use crate::supervisor::record::ExitStatus;
use crate::time::Instant;

impl World {
    /// The supervisor is killed, and everything that runs with it; the next one begins with what
    /// was kept. `survives`: the volumes of all pods are still there.
    ///
    /// # Errors
    ///
    /// An invariant is broken.
    pub fn restart_supervisor(&mut self, survives: bool) -> Result<(), Broken> {
        let kept: Vec<(PodId, Option<Vec<Kept>>)> =
            self.supervisor.views().map(|view| (view.id, kept::keep(&view).map(Iterator::collect))).collect();
        self.supervisor = Supervisor::new(Rc::clone(&self.plan));
        if !self.script.has_no_watchdog {
            self.supervisor.mind_watchdog();
        }
        self.announcer = self.script.manager.as_ref().map(|manager| Announcer::new(manager.watchdog));
        self.happenings.retain(|_, happening| {
            matches!(
                happening,
                Happening::StopRequest(_)
                    | Happening::SupervisorRestarts
                    | Happening::Ends(Event::ContainerChanged(_))
            )
        });
        for body in &mut self.bodies {
            body.end_with_supervisor();
        }
        self.witness = Witness::new(Rc::clone(&self.plan));
        for (id, kept) in kept {
            if let Some(kept) = kept {
                self.restore(id, &kept, survives);
            }
        }
        self.perform_all()
    }

    fn restore(&mut self, id: PodId, kept: &[Kept], survives: bool) {
        self.supervisor.restore(id, kept, survives, self.now);
        self.witness.note_restored(id);
        if survives {
            self.witness.note_kept(id, kept);
        }
    }

    /// Lets time pass until `at`, where nothing happens or is due before: pods may run for ever with
    /// nothing to do.
    pub fn pass_time(&mut self, at: Instant) {
        if self.next_time().is_none_or(|next| next > at) {
            self.now = self.now.max(at);
        }
    }

    /// The container's own command ends so, whatever its script says: for whoever kills it from
    /// outside. Nothing happens if it does not run.
    ///
    /// # Errors
    ///
    /// An invariant is broken.
    pub fn end_command(&mut self, id: ContainerId, status: ExitStatus) -> Result<(), Broken> {
        let Some(instance) = self.running(id) else { return Ok(()) };
        self.die(id, instance, status)?;
        self.tell_manager();
        Ok(())
    }
}
