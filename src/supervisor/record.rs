//! What is known of one container.
//!
//! A record says where the container is in its life and what is already under way, so that
//! deciding twice asks once. Events change it (`mod.rs`), decisions read it; nothing else does.
//!
//! ```text
//!            create            created          start            started
//!   Absent ──────────▶ Creating ──────▶ Created ─────▶ Starting ─────────▶ PostStart ─▶ Running
//!      ▲ (or Ended)        │                │             │                  │ hook ended │
//!      │                   │ failed,        │ pod stops,  │ failed           ▼ hook failed▼ stop
//!      │                   │ took too long  │             │               Stopping: PreStop
//!      │                   │                │             │                  ▼ hook ended
//!      │                   │                │             │               Stopping: Waiting
//!      │                   │                │             │                  ▼ its turn
//!      │                   ▼                ▼             │ grace is over Stopping: Signalled
//!      │                Killing ◀───────────┴─────────────┼──────────────────┤
//!      │                   │ SIGKILL to all its processes │                  │
//!      │                   ▼                              ▼     exited       │
//!      │                 Exited ◀────────────────────────────────────────────┘
//!      │         remove    │  ▲ removal failed: later again
//!      │                   ▼  │
//!      └────── Ended ◀── Removing
//! ```
//!
//! `PostStart` and `Stopping: PreStop` are there only for a container that has such a hook
//! (`hook.rs`); without one the state behind it is the next. What runs in `PostStart` has not started
//! yet for anybody who waits for it. What is `Stopping` has been told or will be, and nothing takes
//! that back; until it is signalled it works on, and its readiness probe still asks.
//!
//! `Exited` means that the first process is gone. Only `Ended` means that nothing is left: its
//! cgroup was seen empty and is removed, the runtime has forgotten it. Whatever waits for a
//! container's end (a restart, the next sidecar's turn, the pod's end) waits for `Ended`, so two
//! instances of a container never overlap.

use heapless::String;

use super::hook::Stage;
use super::probe::Workers;
use super::restart;
use crate::config::plan::Role;
use crate::limits::{FAILURE_BYTES_MAX, PROBE_SAID_BYTES_MAX};
use crate::time::Instant;

/// Counts the starts of a container, so that a late report about an earlier one is recognised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instance(pub u32);

/// Where a container is in its life. A state holds exactly what is meaningful in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// It was never created.
    #[default]
    Absent,
    /// The runtime's `create` is under way.
    Creating {
        /// When it has taken too long.
        give_up_at: Instant,
    },
    /// The first process exists and waits; nothing of the container's own has run.
    Created,
    /// The runtime's `start` is under way.
    Starting {
        /// When it has taken too long.
        give_up_at: Instant,
        /// The first process has ended already. Whether that was the container's own end or a
        /// failed start is known when `start` has returned.
        exited: Option<Exit>,
    },
    /// Its own command runs, and its post-start hook has not ended.
    PostStart {
        /// When `start` had returned.
        since: Instant,
        /// How far the hook has come.
        hook: Stage,
    },
    /// Started, and nothing is asked of it.
    Running {
        /// When `start` had returned.
        since: Instant,
    },
    /// It is to end.
    Stopping {
        /// Who wants it stopped.
        reason: StopReason,
        /// Whether it had started before: its post-start hook, if it has one, had ended well.
        started: bool,
        /// When its time is over, unless the pod's own deadline is earlier or the least time after
        /// the stop signal is not. What it waits for its turn is added.
        grace_end: Instant,
        /// How far that has come.
        phase: StopPhase,
    },
    /// Everything in its cgroup was sent SIGKILL.
    Killing {
        /// Why.
        reason: StopReason,
        /// Whether its own command ran before.
        ran: bool,
        /// When to send it again if it is still there.
        again_at: Instant,
    },
    /// Its first process is gone or never was; what is left is to be removed.
    Exited {
        /// How it ended.
        end: End,
        /// When to try (again).
        remove_at: Instant,
        /// Removals that failed.
        tries: u32,
    },
    /// The removal is under way.
    Removing {
        /// How it ended.
        end: End,
        /// When the removal has taken too long.
        give_up_at: Instant,
        /// Removals that failed.
        tries: u32,
    },
    /// Nothing of it is left.
    Ended {
        /// How it ended.
        end: End,
    },
}

impl State {
    /// Whether a process of this instance exists or is being made: Kubernetes' "created or
    /// running".
    pub fn is_active(self) -> bool {
        match self {
            State::Creating { .. }
            | State::Created
            | State::Starting { .. }
            | State::PostStart { .. }
            | State::Running { .. }
            | State::Stopping { .. }
            | State::Killing { .. } => true,
            State::Absent | State::Exited { .. } | State::Removing { .. } | State::Ended { .. } => false,
        }
    }

    /// Whether it is being created or started.
    pub fn comes_up(self) -> bool {
        match self {
            State::Creating { .. } | State::Created | State::Starting { .. } => true,
            State::Absent
            | State::PostStart { .. }
            | State::Running { .. }
            | State::Stopping { .. }
            | State::Killing { .. }
            | State::Exited { .. }
            | State::Removing { .. }
            | State::Ended { .. } => false,
        }
    }

    /// Whether its own command runs, or did when it was killed.
    pub fn runs(self) -> bool {
        match self {
            State::PostStart { .. } | State::Running { .. } | State::Stopping { .. } => true,
            State::Killing { ran, .. } => ran,
            State::Absent
            | State::Creating { .. }
            | State::Created
            | State::Starting { .. }
            | State::Exited { .. }
            | State::Removing { .. }
            | State::Ended { .. } => false,
        }
    }

    /// Whether its own command runs, and its post-start hook, if it has one, has ended well. Kubernetes
    /// does not call a container running before.
    pub fn has_started(self) -> bool {
        match self {
            State::Running { .. } => true,
            State::Stopping { started, .. } => started,
            State::Killing { ran, reason, .. } => ran && reason != StopReason::PostStartHook,
            State::Absent
            | State::Creating { .. }
            | State::Created
            | State::Starting { .. }
            | State::PostStart { .. }
            | State::Exited { .. }
            | State::Removing { .. }
            | State::Ended { .. } => false,
        }
    }

    /// Whether it has started and was not killed: one that was sent its stop signal may still be
    /// ready, as long as its readiness probe says so (Kubernetes: the same).
    pub fn serves(self) -> bool {
        self.has_started() && !matches!(self, State::Killing { .. })
    }

    /// Whether nothing of it is on the machine.
    pub fn is_gone(self) -> bool {
        matches!(self, State::Absent | State::Ended { .. })
    }

    /// How it ended, if its first process is gone.
    pub fn end(self) -> Option<End> {
        match self {
            State::Exited { end, .. } | State::Removing { end, .. } | State::Ended { end } => Some(end),
            State::Absent
            | State::Creating { .. }
            | State::Created
            | State::Starting { .. }
            | State::PostStart { .. }
            | State::Running { .. }
            | State::Stopping { .. }
            | State::Killing { .. } => None,
        }
    }
}

/// How far the stop of a container has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopPhase {
    /// Its pre-stop hook comes first.
    PreStop {
        /// How far that has come.
        hook: Stage,
    },
    /// It waits for its turn, if its pod is stopped. Else it has come.
    Waiting {
        /// Since when.
        since: Instant,
    },
    /// It was sent the stop signal.
    Signalled {
        /// When.
        at: Instant,
    },
}

/// How one instance of a container ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// When it was noticed.
    pub at: Instant,
    /// What happened.
    pub cause: Cause,
}

impl End {
    /// Whether its own command ran, as far as anybody knows.
    pub fn ran(self) -> bool {
        match self.cause {
            Cause::Exit { .. } => true,
            Cause::StartFailed | Cause::MayHaveRun | Cause::NeverRan | Cause::LeftBehind => false,
        }
    }

    /// Whether a container in this role has succeeded with that.
    pub fn is_success(self, role: Role) -> bool {
        match self.cause {
            Cause::Exit { exit, .. } => exit.is_success(role),
            Cause::StartFailed | Cause::MayHaveRun | Cause::NeverRan | Cause::LeftBehind => false,
        }
    }
}

/// What ended an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Its first process ended.
    Exit {
        /// How.
        exit: Exit,
        /// What it had been told to stop for, if it had.
        stopped: Option<StopReason>,
    },
    /// It never ran: the runtime could not create or start it.
    StartFailed,
    /// Its `start` took too long, and it was killed: nobody knows whether its own command ran
    /// (Kubernetes: a container in an unknown state).
    MayHaveRun,
    /// It never ran: the pod was stopped before.
    NeverRan,
    /// It could not be killed or removed. What is left of it is out of our hands.
    LeftBehind,
}

/// How the first process of a container ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// What `wait` told.
    pub status: ExitStatus,
    /// Whether the OOM killer took a process of this instance, the first or another one
    /// (Kubernetes: the reason OOMKilled).
    pub oom_killed: bool,
}

impl Exit {
    /// Whether a container in this role has succeeded with that: by exit code 0. A regular init
    /// container of which something was OOM-killed has failed even then (Kubernetes:
    /// isInitContainerFailed), since what it was to prepare may be missing.
    pub fn is_success(self, role: Role) -> bool {
        let spoilt = role == Role::Init && self.oom_killed;
        self.status == ExitStatus::Code(0) && !spoilt
    }
}

impl From<ExitStatus> for Exit {
    /// The OOM killer had no part in it.
    fn from(status: ExitStatus) -> Exit {
        Exit { status, oom_killed: false }
    }
}

/// What `wait` tells of a process that is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// It called `exit` with this (0 to 255).
    Code(u8),
    /// This signal killed it.
    Signal(u8),
    /// It is gone, and somebody else was told how.
    Unknown,
}

impl ExitStatus {
    /// The exit code as a shell and Kubernetes count it: 128 + n for signal n, and 137 where
    /// nobody knows (Kubernetes: ContainerStatusUnknown).
    pub fn code(self) -> u8 {
        match self {
            ExitStatus::Code(code) => code,
            ExitStatus::Signal(signal) => signal.saturating_add(128),
            ExitStatus::Unknown => 137,
        }
    }
}

/// Why a container is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// Its pod is stopped.
    Pod,
    /// Its startup probe failed.
    StartupProbe,
    /// Its liveness probe failed.
    LivenessProbe,
    /// The runtime's `create` took too long.
    CreateTimeout,
    /// The runtime's `start` took too long.
    StartTimeout,
    /// All containers of its pod are restarted (Kubernetes: the reason RestartingAllContainers).
    RestartAllContainers,
    /// Its configuration has changed.
    Changed,
    /// Its post-start hook failed (Kubernetes: PostStartHookError).
    PostStartHook,
}

impl StopReason {
    /// Whether a failed probe is the reason.
    pub fn is_probe(self) -> bool {
        matches!(self, StopReason::StartupProbe | StopReason::LivenessProbe)
    }
}

/// What went wrong, in words, cut to [`FAILURE_BYTES_MAX`].
pub type Failure = String<FAILURE_BYTES_MAX>;

/// What a container said last in answer to a probe, or why it failed, in one line, cut to
/// [`PROBE_SAID_BYTES_MAX`].
pub type Said = String<PROBE_SAID_BYTES_MAX>;

/// Cuts `text` to what a [`Failure`] holds, at a character's border, and says that it was cut.
pub fn failure(text: &str) -> Failure {
    cut(text)
}

/// Cuts `text` to `BYTES`, at a character's border, and says that it was cut.
pub(crate) fn cut<const BYTES: usize>(text: &str) -> String<BYTES> {
    const MARK: &str = " …";
    let mut kept = String::new();
    if kept.push_str(text).is_err() {
        let mut room = BYTES - MARK.len();
        while !text.is_char_boundary(room) {
            room -= 1;
        }
        for part in [text.get(..room).unwrap_or_default(), MARK] {
            // Fits: `room` and the mark are together what it holds.
            let _ = kept.push_str(part);
        }
    }
    kept
}

/// How an instance that ran has ended, with what its status tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Termination {
    /// Which instance.
    pub instance: Instance,
    /// When its own command began; `None` if it was gone before that was seen, or if that was
    /// before this supervisor.
    pub started_at: Option<Instant>,
    /// When and how it ended.
    pub end: End,
    /// Its termination message; empty if it left none.
    pub message: Box<str>,
}

/// Which step of a start failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartStep {
    /// It could not be made.
    Create,
    /// It was made, and its own command could not be started.
    Start,
}

/// Everything that is known of one container.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// Where its newest instance is.
    pub state: State,
    /// Which instance that is; 0 before the first.
    pub instance: Instance,
    /// Starts after an exit (Kubernetes `restartCount`).
    pub restarts: u32,
    /// When the newest instance's own command began, while it runs.
    pub started_at: Option<Instant>,
    /// The termination message of the newest instance, until it has ended.
    pub message: Box<str>,
    /// How the newest instance that ran has ended, since the pod last began with its first
    /// container. A start that failed does not touch it.
    pub last_exit: Option<Termination>,
    /// How the instance before that one has ended, or the newest one before all containers of the
    /// pod were last restarted.
    pub former_exit: Option<Termination>,
    /// Which step of the last start failed; `None` once one has succeeded.
    pub failed_step: Option<StartStep>,
    /// How the newest instance ended before all containers of the pod were last restarted.
    pub former: Option<End>,
    /// The pause before the next restart.
    pub backoff: restart::Entry,
    /// Starts that failed in a row; 0 also if its configuration has changed since.
    pub start_failures: u32,
    /// Whether its configuration has changed since the newest instance was created.
    pub changed: bool,
    /// Why the last start, probe, hook or removal failed, in words.
    pub failure: Failure,
    /// Its probes, for the newest instance.
    pub probes: Workers,
    /// What came of the last try of each, in the order of [`super::probe::ProbeKind::ALL`].
    pub said: [Said; 3],
    /// What it said last of itself (`STATUS=` of sd_notify(3)).
    pub status: Said,
}

impl Record {
    /// The end that its next start comes after, if there was any.
    pub fn end_before_start(&self) -> Option<End> {
        if self.state == State::Absent { self.former } else { self.state.end() }
    }

    /// Whether an instance of it has run to its end, also if all containers were restarted since.
    pub fn has_run(&self) -> bool {
        let former = self.former.map(|end| end.cause);
        self.last_exit.is_some() || matches!(former, Some(Cause::Exit { .. }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_failure_is_cut_at_a_character_and_marked() {
        let long = "ä".repeat(FAILURE_BYTES_MAX);
        let cut = failure(&long);
        assert!(cut.ends_with(" …"));
        assert!(cut.len() <= FAILURE_BYTES_MAX);
        assert_eq!(failure("short").as_str(), "short");
    }

    #[test]
    fn exit_codes_are_those_of_a_shell() {
        for (status, code) in [
            (ExitStatus::Code(7), 7),
            (ExitStatus::Signal(15), 143),
            (ExitStatus::Signal(9), 137),
            (ExitStatus::Unknown, 137),
        ] {
            assert_eq!(status.code(), code);
        }
    }
}
