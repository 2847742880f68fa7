//! What keeps containers from being started all at the same time: a bounded number of places, and
//! pauses that are longer by chance.

use super::alarm::Alarm;
use super::pod::{Member, PodState};
use super::record::Instance;
use super::{Supervisor, restart, startup};
use crate::config::plan::ContainerId;

impl Supervisor {
    /// Gives the jitter of restarts its seed; without one it is that of 0. To be called before
    /// anything else, with a number that differs between machines, or they all do the same.
    pub fn seed_jitter(&mut self, seed: u64) {
        let seeds = (0u64..).map(|position| restart::mix(seed ^ restart::mix(position)));
        let containers = self.records.iter_mut().map(|record| &mut record.backoff);
        let pods = self.pods.iter_mut().map(|record| &mut record.backoff);
        for (entry, seed) in containers.chain(pods).zip(seeds) {
            *entry = restart::Entry::new(seed);
        }
    }

    /// Where only so many containers may come up at one time: the one whose turn it is. Who was
    /// started least often goes first, then who stands first in the plan; so those that are started
    /// again and again cannot keep out the others for ever.
    pub(super) fn next_in_line(&self, alarm: &mut Alarm) -> Option<ContainerId> {
        let most = self.plan.machine.start_spread?;
        if self.records.iter().filter(|record| record.state.comes_up()).count() >= most {
            return None;
        }
        let earlier = |one: Option<(Instance, ContainerId)>, other| one.map_or(other, |one| one.min(other));
        let mut first: Option<(Instance, ContainerId)> = None;
        for view in self.views().filter(|view| view.record.state == PodState::Active) {
            let mut of_pod = first;
            let note = &mut |member: &Member| {
                of_pod = Some(earlier(of_pod, (member.record.instance, member.id)));
            };
            // One whose init container has failed is to be stopped instead.
            if startup::each_due(&view, alarm, note).is_ok() {
                first = of_pod;
            }
        }
        first.map(|(_, id)| id)
    }
}
