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

use super::alarm::Alarm;
use crate::config::plan::{Hook, Hooks};
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
