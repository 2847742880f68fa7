//! What the witness says of pods as a whole: their order, their end, and how often they begin again.

use super::body::Body;
use super::facts::Facts;
use super::invariants::{Broken, Invariant, require};
use super::witness::Witness;
use super::{at, at_mut};
use crate::config::plan::{OnFailure, PodId, Role};
use crate::supervisor::record::ExitStatus;
use crate::time::Instant;

impl Witness {
    /// Only behind pods that are ready or have succeeded.
    pub(super) fn check_set_up(&self, id: PodId, bodies: &[Body]) -> Result<(), Broken> {
        let name = || self.pod_name(id);
        let facts = at(&self.pods, id.index())?;
        require(Invariant::PodLife, !facts.is_up, || format!("pod {} is set up twice", name()))?;
        require(Invariant::PodOrder, self.stop_requests == 0, || {
            format!("pod {} is set up after the stop was requested", name())
        })?;
        for other in &self.pod(id)?.after {
            let (inits, mains) = self.containers(*other)?;
            let is_left_behind = |it: usize| self.facts.get(it).is_some_and(|facts| facts.left_behind);
            let exists = |it: usize| bodies.get(it).is_some_and(|body| body.exists) && !is_left_behind(it);
            let ended_well = |it: usize| {
                let exit = self.facts.get(it).and_then(|facts| facts.exit);
                !exists(it) && exit.is_some_and(|(exit, _)| exit.status == ExitStatus::Code(0))
            };
            let holds_up = |it: usize| {
                let is_init = self.plan.containers.get(it).is_some_and(|it| it.role == Role::Init);
                // Its end may not be known yet.
                let counts_as_running = |facts: &Facts| facts.started_at.is_some() && !facts.exit_is_newest;
                is_init
                    || bodies.get(it).is_some_and(Body::runs)
                    || self.facts.get(it).is_some_and(counts_as_running)
            };
            let succeeded = mains.clone().all(ended_well) && !inits.clone().any(exists);
            let ready = inits.chain(mains).all(holds_up);
            require(Invariant::PodOrder, succeeded || ready, || {
                format!("pod {} is set up before one that it is after", name())
            })?;
        }
        Ok(())
    }

    pub(super) fn check_tear_down(&self, id: PodId, bodies: &[Body]) -> Result<(), Broken> {
        let (inits, mains) = self.containers(id)?;
        for it in inits.chain(mains) {
            let is_gone = !at(bodies, it)?.exists || at(&self.facts, it)?.left_behind;
            require(Invariant::PodLife, is_gone, || {
                format!("pod {} is torn down around {}", self.pod_name(id), self.name(it))
            })?;
        }
        Ok(())
    }

    /// One restart more of a pod's containers.
    pub(super) fn check_container_restart(&mut self, id: PodId, now: Instant) -> Result<(), Broken> {
        let escalation = self.pod(id)?.escalation;
        let (of_containers, _) = at_mut(&mut self.restarts, id.index())?;
        of_containers.push(now);
        let Some(escalation) = escalation else { return Ok(()) };
        of_containers.retain(|at| now.since(*at) <= escalation.window);
        let count = of_containers.len();
        let may = escalation.container_restarts.is_none_or(|most| count <= most);
        require(Invariant::Escalation, may, || format!("{count} restarts of containers within the window"))
    }

    /// One restart more of a whole pod.
    pub(super) fn check_pod_restart(&mut self, id: PodId, now: Instant) -> Result<(), Broken> {
        let pod = at(&self.plan.pods, id.index())?;
        let (of_containers, of_pod) = at_mut(&mut self.restarts, id.index())?;
        of_containers.clear();
        of_pod.push(now);
        if pod.on_failure == OnFailure::Restart {
            return Ok(());
        }
        let escalation = pod.escalation.and_then(|it| Some((it.pod_restarts?, it.window)));
        let may = escalation.is_some_and(|(most, window)| {
            of_pod.retain(|at| now.since(*at) <= window);
            of_pod.len() <= most
        });
        require(Invariant::Escalation, may, || format!("pod {} is started anew too often", pod.name))
    }

    /// Whether nothing is left when the supervisor says that all has ended.
    pub(super) fn check_end(&self, bodies: &[Body]) -> Result<(), Broken> {
        if self.given_up {
            return Ok(());
        }
        for (index, (body, facts)) in bodies.iter().zip(&self.facts).enumerate() {
            require(Invariant::NothingLeft, !body.exists || facts.left_behind, || {
                format!("all is said to have ended, but there still is {}", self.name(index))
            })?;
        }
        for (pod, facts) in self.plan.pods.iter().zip(&self.pods) {
            let is_gone = facts.torn_down || facts.left_behind || !facts.set_up_asked;
            require(Invariant::NothingLeft, is_gone, || {
                format!("all is said to have ended, but pod {} was not torn down", pod.name)
            })?;
        }
        Ok(())
    }

    /// Whether a pod that is after this one is up, or being set up: until it has ended, this one is
    /// kept up too.
    pub(super) fn is_needed(&self, id: PodId) -> bool {
        let mut pods = self.plan.pods.iter().zip(&self.pods);
        pods.any(|(pod, facts)| {
            pod.after.contains(&id) && facts.set_up_asked && !facts.torn_down && !facts.left_behind
        })
    }
}
