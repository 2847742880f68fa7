//! What the witness knows of containers and pods.

use core::time::Duration;

use crate::supervisor::record::Exit;
use crate::time::Instant;

/// What is known of one container.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    /// An init container has ended with 0, a sidecar was initialised: what is behind may start.
    pub(super) passed: bool,
    /// Of this instance: its startup probe has succeeded.
    pub(super) startup_succeeded: bool,
    /// Of this instance: it has said that it is ready.
    pub(super) said_ready: bool,
    /// How the newest instance that ran has ended, and when.
    pub(super) exit: Option<(Exit, Instant)>,
    /// Whether it is that end which the next instance comes after, and not a start that failed.
    pub(super) exit_is_newest: bool,
    /// Of this instance: it could not be created or started.
    pub(super) start_failed: bool,
    /// Starts that failed in a row.
    pub(super) start_failures: u32,
    /// The pause that the next restart after an exit has to keep, and when the last one was.
    pub(super) pause: Option<(Instant, Duration)>,
    pub(super) sigterm_at: Option<Instant>,
    /// Of this instance: a probe had it stopped.
    pub(super) stopped_by_probe: bool,
    /// It was created, and has neither started nor failed to.
    pub(super) comes_up: bool,
    /// Its configuration has changed since this instance was created.
    pub(super) changed: bool,
    /// All containers of the pod are restarted, and so is this one, whatever its policy.
    pub(super) restarts_anyway: bool,
    /// Of this instance: which probe or hook had it stopped alone, and so with which grace period.
    pub(super) stopped_alone: Option<Duration>,
    /// Of this instance: when its pre-stop hook was begun.
    pub(super) pre_stop_at: Option<Instant>,
    /// Of this instance: its post-start hook has ended, well or not.
    pub(super) post_start_ended: bool,
    pub(super) left_behind: bool,
    /// Whether there was an instance since its pod was set up.
    pub(super) was_created: bool,
    /// Of this instance: its `start` was asked for.
    pub(super) start_asked: bool,
    /// Of this instance: when `start` was known to have returned.
    pub(super) started_at: Option<Instant>,
    /// Of this instance: since when its startup probe, if any, has succeeded.
    pub(super) initialised_at: Option<Instant>,
    /// Of this instance: it was sent SIGKILL.
    pub(super) killed: bool,
    /// Of this instance: when nothing of it was known to be left.
    pub(super) removed_at: Option<Instant>,
    /// Of this instance: its probes, in the order of `ProbeKind::ALL`.
    pub(super) tries: [Tries; 3],
}

/// What is known of the tries of one probe.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tries {
    /// When the last one began.
    pub(super) begun_at: Option<Instant>,
    /// Whether it is under way, as far as the supervisor knows.
    pub(super) under_way: bool,
}

#[derive(Clone, Debug, Default)]
pub(super) struct PodFacts {
    pub(super) is_up: bool,
    /// When it began to stop, and when its grace period ends.
    pub(super) stops: Option<(Instant, Instant)>,
    /// Its set-up was asked for, since it last was at its beginning.
    pub(super) set_up_asked: bool,
    /// Its tear-down was asked for.
    pub(super) tear_down_asked: bool,
    pub(super) torn_down: bool,
    pub(super) left_behind: bool,
    /// All its containers are stopped to be started again, and none has been yet.
    pub(super) restarts_all: bool,
    /// The supervisor was started again beside it.
    pub(super) is_restored: bool,
}
