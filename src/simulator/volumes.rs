//! What there is of pods beside their containers: volumes and network, made and removed.

use super::invariants::Broken;
use super::timeline::{Subject, What};
use super::{Happening, MOMENT, World, at, at_mut};
use crate::config::plan::PodId;
use crate::supervisor::event::Event;
use crate::supervisor::record::failure;

impl World {
    pub(super) fn set_up(&mut self, id: PodId) -> Result<(), Broken> {
        self.say(Subject::Pod(id), || What::SetsUp);
        let script = at(&self.pod_scripts, id.index())?;
        let counts = at_mut(&mut self.pods, id.index())?;
        counts.set_ups += 1;
        let event = if counts.set_ups <= script.set_up_fails {
            Event::PodSetUpFailed(id, failure("no space left on device"))
        } else {
            Event::PodSetUp(id)
        };
        self.schedule(self.now.after(script.set_up_takes), Happening::Ends(event));
        Ok(())
    }

    pub(super) fn tear_down(&mut self, id: PodId) -> Result<(), Broken> {
        self.say(Subject::Pod(id), || What::TearsDown);
        let script = at(&self.pod_scripts, id.index())?;
        let counts = at_mut(&mut self.pods, id.index())?;
        counts.tear_downs += 1;
        let event = if counts.tear_downs <= script.tear_down_fails {
            Event::PodTearDownFailed(id, failure("device or resource busy"))
        } else {
            Event::PodTornDown(id)
        };
        self.schedule(self.now.after(MOMENT), Happening::Ends(event));
        Ok(())
    }
}
