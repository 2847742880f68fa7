//! Hooks: what a container does beside its own command, when it begins and before it ends.
//!
//! A post-start hook begins when the command runs. The container counts as started when the hook has
//! ended well: until then whoever waits for it waits on, and no probe asks. If it fails, the
//! container is stopped like any other, and what follows is its restart policy's affair.
//!
//! A pre-stop hook comes before every stop of a running container, whatever the reason. Its time
//! counts into the grace period. When that is over, the stop signal is sent although the hook runs
//! on; it ends with its container. A failure is told and changes nothing.
//!
//! A hook that sleeps needs no process: it is a time that passes.

use core::time::Duration;

use super::Supervisor;
use super::action::{Action, ContainerAction};
use super::alarm::Alarm;
use super::record::{Failure, State, StopPhase, StopReason};
use super::report::Report;
use super::wording;
use crate::config::plan::{ContainerId, Hook, Hooks};
use crate::limits::HOOK_TIME_MAX;
use crate::time::Instant;

/// Which of a container's hooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HookKind {
    /// When its command has begun.
    PostStart,
    /// Before its stop signal.
    PreStop,
}

impl HookKind {
    /// Its name in configuration and messages.
    pub fn name(self) -> &'static str {
        match self {
            HookKind::PostStart => "post-start",
            HookKind::PreStop => "pre-stop",
        }
    }

    /// The configuration of this hook, if the container has it.
    pub fn of(self, hooks: &Hooks) -> Option<&Hook> {
        match self {
            HookKind::PostStart => hooks.post_start.as_ref(),
            HookKind::PreStop => hooks.pre_stop.as_ref(),
        }
    }
}

/// How far a hook has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It is to begin.
    Due,
    /// It was begun.
    UnderWay {
        /// When.
        since: Instant,
        /// When a sleep is over; when anything else has taken too long.
        until: Instant,
    },
}

/// What a hook needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// To be begun.
    Begin,
    /// To count as ended: its time is over.
    End,
}

impl Stage {
    /// Begun at `now`.
    pub fn begin(hook: &Hook, now: Instant) -> Stage {
        let time = match hook {
            Hook::Sleep(time) => *time,
            Hook::Ask(_) => HOOK_TIME_MAX,
        };
        Stage::UnderWay { since: now, until: now.after(time) }
    }

    /// What it needs now, if it has to be over at `end`.
    pub fn want(self, end: Option<Instant>, alarm: &mut Alarm) -> Option<Want> {
        match self {
            Stage::Due => Some(Want::Begin),
            Stage::UnderWay { until, .. } => {
                let until = end.map_or(until, |end| end.min(until));
                alarm.due(until).then_some(Want::End)
            }
        }
    }

    /// Whether its own time is over at `now`, and how long it took until then.
    pub fn is_over(self, now: Instant) -> bool {
        matches!(self, Stage::UnderWay { until, .. } if until <= now)
    }

    /// How long it has been under way.
    pub fn took(self, now: Instant) -> Duration {
        match self {
            Stage::Due => Duration::ZERO,
            Stage::UnderWay { since, .. } => now.since(since),
        }
    }
}

// Written into the records.
impl Supervisor {
    pub(super) fn begin_hook(&mut self, id: ContainerId, kind: HookKind, now: Instant) -> Option<Action> {
        let (container, record) = self.member_mut(id)?;
        let hook = kind.of(&container.hooks)?;
        let asks = matches!(hook, Hook::Ask(_));
        let begun = Stage::begin(hook, now);
        let mut reason = None;
        match &mut record.state {
            State::PostStart { hook, .. } => *hook = begun,
            State::Stopping { phase: StopPhase::PreStop { hook }, reason: why, .. } => {
                *hook = begun;
                reason = Some(*why);
            }
            State::Absent
            | State::Creating { .. }
            | State::Created
            | State::Starting { .. }
            | State::Running { .. }
            | State::Stopping { .. }
            | State::Killing { .. }
            | State::Exited { .. }
            | State::Removing { .. }
            | State::Ended { .. } => return None,
        }
        if let Some(reason) = reason {
            self.report(Report::PreStopBegun { container: id, reason });
        }
        if asks { self.container_action(id, ContainerAction::Hook(kind)) } else { None }
    }

    /// A sleep has ended; anything else has taken too long.
    pub(super) fn end_hook(&mut self, id: ContainerId, kind: HookKind, now: Instant) -> Option<Action> {
        let (container, record) = self.member_mut(id)?;
        let is_ours = matches!(kind.of(&container.hooks)?, Hook::Sleep(_));
        let (State::PostStart { hook, .. } | State::Stopping { phase: StopPhase::PreStop { hook }, .. }) =
            record.state
        else {
            return None;
        };
        if is_ours && hook.is_over(now) {
            self.observe_hook(id, kind, Ok(()), now);
            self.report_pod(id);
            return None;
        }
        self.observe_hook(id, kind, Err(wording::hook_timed_out(hook.took(now))), now);
        match kind {
            HookKind::PostStart => self.container_action(id, ContainerAction::CancelHook(kind)),
            // It may go on beside the stop signal, and ends with its container.
            HookKind::PreStop => None,
        }
    }

    /// Notes how the hook that is under way has ended.
    pub(super) fn observe_hook(
        &mut self,
        id: ContainerId,
        kind: HookKind,
        outcome: Result<(), Failure>,
        now: Instant,
    ) {
        let Some(record) = self.record_mut(id) else { return };
        let took = match &mut record.state {
            State::PostStart { since, hook } => {
                let (since, took) = (*since, hook.took(now));
                if outcome.is_ok() {
                    record.state = State::Running { since };
                }
                took
            }
            State::Stopping { phase, .. } => {
                let StopPhase::PreStop { hook } = *phase else { return };
                *phase = StopPhase::Waiting { since: now };
                hook.took(now)
            }
            State::Absent
            | State::Creating { .. }
            | State::Created
            | State::Starting { .. }
            | State::Running { .. }
            | State::Killing { .. }
            | State::Exited { .. }
            | State::Removing { .. }
            | State::Ended { .. } => return,
        };
        match outcome {
            Ok(()) => self.report(Report::HookDone { container: id, kind, took }),
            Err(why) => {
                record.failure = why;
                self.report(Report::HookFailed { container: id, kind });
                if kind == HookKind::PostStart {
                    self.begin_stop(id, StopReason::PostStartHook, now);
                }
            }
        }
    }
}
