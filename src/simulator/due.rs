//! Whether all was done that was due. `witness.rs` says what must not be done; this says what must,
//! and by when, from the same facts.
//!
//! Only what is certain is asked for: where an event is still on its way to the supervisor, or
//! something else may rightly hold a container up, nothing is.

use core::time::Duration;

use super::body::Body;
use super::facts::{Facts, PodFacts};
use super::invariants::{Broken, Invariant, require};
use super::witness::Witness;
use super::{World, at};
use crate::config::plan::{Backoff, Container, ContainerId, Pod, PodId, Role};
use crate::limits::GRACE_MIN;
use crate::supervisor::probe::ProbeKind;
use crate::time::Instant;

/// Shortest pause after a start that failed.
const START_RETRY_MIN: Duration = Duration::from_secs(1);

/// One container of a pod.
#[derive(Clone, Copy)]
struct Member<'a> {
    index: usize,
    container: &'a Container,
    body: &'a Body,
    facts: &'a Facts,
}

impl Member<'_> {
    /// Whether its own command runs, the supervisor knows that, and has not killed it.
    fn runs(&self) -> bool {
        self.body.runs() && self.facts.started_at.is_some() && !self.facts.killed
    }

    /// Whether nothing of it is left, and the supervisor knows that.
    fn is_gone(&self) -> bool {
        !self.facts.was_created || self.facts.removed_at.is_some() || self.facts.left_behind
    }

    /// Whether it holds nothing up that is behind it.
    fn is_passed(&self) -> bool {
        match self.container.role {
            Role::Init => self.facts.passed && self.is_gone(),
            Role::Sidecar | Role::Main => {
                let stops = self.facts.pre_stop_at.is_some() || self.facts.sigterm_at.is_some();
                self.runs() && !stops && self.facts.initialised_at.is_some()
            }
        }
    }
}

impl World {
    /// What must hold when all that is known was decided about.
    pub(super) fn check_turn(&mut self) -> Result<(), Broken> {
        let deadline = self.supervisor.next_deadline();
        require(Invariant::Progress, deadline.is_none_or(|at| at > self.now), || {
            "a deadline that has passed is still waited for".to_owned()
        })?;
        let more = self.supervisor.next_action(self.now);
        require(Invariant::Idempotence, more.is_none(), || format!("asked again, it wants more: {more:?}"))?;
        require(Invariant::Idempotence, self.supervisor.next_deadline() == deadline, || {
            "asked again, it names another deadline".to_owned()
        })?;
        self.witness.check_due(&self.bodies, self.now)
    }
}

impl Witness {
    /// To be asked when the supervisor wants nothing more at `now`.
    pub(super) fn check_due(&self, bodies: &[Body], now: Instant) -> Result<(), Broken> {
        if self.given_up {
            return Ok(());
        }
        for (index, (pod, facts)) in self.plan.pods.iter().zip(&self.pods).enumerate() {
            let id = PodId(u8::try_from(index).unwrap_or(u8::MAX));
            match facts.stops {
                Some((_, deadline)) if !facts.torn_down => {
                    self.check_stopping(id, facts, deadline, bodies, now)?;
                }
                Some(_) => {}
                // All its containers are being stopped, to be started again; or what is to be started
                // again is not known here.
                None if facts.restarts_all || facts.is_restored => {}
                None if facts.is_up => self.check_active(id, pod, bodies, now)?,
                None => self.check_waiting(pod, facts, bodies)?,
            }
        }
        Ok(())
    }

    fn members<'a>(
        &'a self,
        id: PodId,
        bodies: &'a [Body],
    ) -> Result<impl DoubleEndedIterator<Item = Member<'a>> + Clone, Broken> {
        let range = self.pod(id)?.containers();
        let foreign = || Broken::new(Invariant::FittingActions, "the plan has another pod".to_owned());
        let containers = self.plan.containers.get(range.clone()).ok_or_else(foreign)?;
        let bodies = bodies.get(range.clone()).ok_or_else(foreign)?;
        let facts = self.facts.get(range.clone()).ok_or_else(foreign)?;
        let first = range.start;
        let members = containers.iter().zip(bodies).zip(facts).enumerate();
        Ok(members.map(move |(position, ((container, body), facts))| Member {
            index: first + position,
            container,
            body,
            facts,
        }))
    }

    /// A pod whose turn has come is set up.
    fn check_waiting(&self, pod: &Pod, facts: &PodFacts, bodies: &[Body]) -> Result<(), Broken> {
        if facts.set_up_asked || facts.left_behind || facts.torn_down || self.stop_requests > 0 {
            return Ok(());
        }
        for id in &pod.after {
            let other = at(&self.pods, id.index())?;
            if !other.is_up || other.stops.is_some() {
                return Ok(());
            }
            let ready = |it: Member| match it.container.role {
                Role::Init => true,
                Role::Sidecar | Role::Main => it.is_passed() && it.container.probes.readiness.is_none(),
            };
            if !self.members(*id, bodies)?.all(ready) {
                return Ok(());
            }
        }
        Err(Broken::new(Invariant::Progress, format!("pod {} could be set up and is not", pod.name)))
    }

    /// What waits for nothing is created; what runs is probed.
    fn check_active(&self, id: PodId, pod: &Pod, bodies: &[Body], now: Instant) -> Result<(), Broken> {
        let mut passed = true;
        for member in self.members(id, bodies)? {
            let overdue = |what: &str, since: Instant| {
                let since = now.since(since);
                Broken::new(Invariant::Progress, format!("{} {what} for {since:?}", self.name(member.index)))
            };
            let may_create = member.container.role != Role::Main || passed;
            // Who waits in line may have to wait.
            let is_held_up = self.stop_requests > 0 || self.plan.machine.start_spread.is_some();
            if may_create && !is_held_up && passed && !member.facts.was_created {
                return Err(overdue("could be created and is not", now));
            }
            if may_create && !is_held_up && member.facts.was_created {
                if let Some(due) = self.restart_due(&member, &pod.restart_backoff) {
                    if now >= due {
                        return Err(overdue("could have been started again", due));
                    }
                }
            }
            // A main container holds up those behind it only by its post-start hook.
            passed &= match member.container.role {
                Role::Init | Role::Sidecar => member.is_passed(),
                Role::Main => member.container.hooks.post_start.is_none() || member.facts.post_start_ended,
            };
            if member.runs() {
                self.check_kill_due(&member, pod.termination_grace_period, None, now)?;
                if let Some((kind, due)) = probe_due(&member, now) {
                    let what = format!("could have been asked by its {} probe", kind.name());
                    return Err(overdue(&what, due));
                }
            }
        }
        Ok(())
    }

    /// When a container that has ended is to be started again. `None`: never, or not yet known.
    fn restart_due(&self, member: &Member, backoff: &Backoff) -> Option<Instant> {
        let removed_at = member.facts.removed_at?;
        if member.facts.changed || member.facts.restarts_anyway {
            return None;
        }
        if member.facts.start_failed {
            let doublings = member.facts.start_failures.min(16);
            let delay = backoff.initial.saturating_mul(1 << doublings).min(backoff.max).max(START_RETRY_MIN);
            return Some(removed_at.after(with_jitter(delay, backoff)));
        }
        let (_, exited_at) = member.facts.exit.filter(|_| member.facts.exit_is_newest)?;
        let id = ContainerId(u16::try_from(member.index).ok()?);
        self.may_restart(id, member.container, member.facts).ok()?;
        let pause = member.facts.pause.filter(|(at, _)| exited_at.since(*at) <= backoff.reset);
        Some(
            exited_at
                .after(pause.map_or(Duration::ZERO, |(_, delay)| with_jitter(delay, backoff)))
                .max(removed_at),
        )
    }

    /// Who is to be told is told, who has not listened is killed, and in the end all is torn down.
    fn check_stopping(
        &self,
        id: PodId,
        facts: &PodFacts,
        deadline: Instant,
        bodies: &[Body],
        now: Instant,
    ) -> Result<(), Broken> {
        let members = self.members(id, bodies)?;
        let is_gone = members.clone().all(|member| member.is_gone());
        require(Invariant::Progress, facts.tear_down_asked || !is_gone, || {
            format!("nothing of pod {} is left, and it is not torn down", self.pod_name(id))
        })?;
        let mut later_gone = true;
        for member in members.rev() {
            let turn = member.container.role != Role::Sidecar || later_gone || now >= deadline;
            let begun = member.facts.pre_stop_at.or(member.facts.sigterm_at);
            let told = begun.is_some() || member.facts.killed;
            require(Invariant::StopOrder, told || !turn || !member.runs(), || {
                format!("it is {}'s turn to stop, and it is not told", self.name(member.index))
            })?;
            if member.container.role != Role::Init {
                later_gone &= member.is_gone();
            }
            if member.runs() {
                let own = at(&self.plan.pods, id.index())?.termination_grace_period;
                self.check_kill_due(&member, own, Some(deadline), now)?;
            }
        }
        Ok(())
    }

    /// `deadline`: of its pod, if that is stopped.
    fn check_kill_due(
        &self,
        member: &Member,
        own: Duration,
        deadline: Option<Instant>,
        now: Instant,
    ) -> Result<(), Broken> {
        let Some(sigterm_at) = member.facts.sigterm_at else { return Ok(()) };
        // What it had before its stop signal, for its hook and its turn, only shortens this.
        let own = member.facts.stopped_alone.or(member.container.termination_grace_period).unwrap_or(own);
        let own = sigterm_at.after(own.max(GRACE_MIN));
        let due = deadline.map_or(own, |deadline| own.min(deadline.max(sigterm_at.after(GRACE_MIN))));
        require(Invariant::GracePeriod, member.facts.killed || now < due, || {
            format!("the grace period of {} is over, and it is not killed", self.name(member.index))
        })
    }
}

/// The longest that a pause may be.
fn with_jitter(pause: Duration, backoff: &Backoff) -> Duration {
    pause.saturating_add(pause.saturating_mul(u32::from(backoff.jitter)) / 1000)
}

/// The probe that should have been made by `now`, and since when.
fn probe_due(member: &Member, now: Instant) -> Option<(ProbeKind, Instant)> {
    if member.facts.pre_stop_at.is_some() || member.facts.sigterm_at.is_some() || member.facts.killed {
        return None;
    }
    if member.container.hooks.post_start.is_some() && !member.facts.post_start_ended {
        return None;
    }
    let started_at = member.facts.started_at?;
    ProbeKind::ALL.into_iter().zip(&member.facts.tries).find_map(|(kind, tries)| {
        let probe = kind.of(&member.container.probes)?;
        let from = match kind {
            ProbeKind::Startup if member.facts.startup_succeeded => return None,
            ProbeKind::Startup => started_at,
            ProbeKind::Liveness | ProbeKind::Readiness => member.facts.initialised_at?,
        };
        let first = from.max(started_at.after(probe.initial_delay));
        let due = tries.begun_at.map_or(first, |begun_at| begun_at.after(probe.period));
        (!tries.under_way && now >= due).then_some((kind, due))
    })
}
