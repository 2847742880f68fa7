//! What is known of one pod, and one pod with its containers as decisions see it.
//!
//! ```text
//!   Waiting ──▶ SettingUp ──▶ Active ──▶ Stopping ──▶ TearingDown ──▶ Ended
//!      ▲  │         │ failed                               │ ▲ failed    ▲
//!      └──┼─────────┘                                      └─┘           │
//!         └───────────── stopped, or can never start ────────────────────┘
//! ```
//!
//! From `Active` a pod may go through `RestartingAll` and back: see `renewal.rs`. An essential pod
//! that has failed may go back from `Ended` to `Waiting`: see `escalation.rs`.

use super::escalation::Recent;
use super::record::{Failure, Record};
use crate::config::plan::{Container, ContainerId, Plan, Pod, PodId};
use crate::time::Instant;

/// Where a pod is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodState {
    /// It waits for the pods that it is `after`, or to try again.
    Waiting {
        /// When its volumes and network may be made.
        try_at: Instant,
    },
    /// Its volumes and network are being made.
    SettingUp,
    /// Its containers are started and kept as its policy says.
    Active,
    /// All its containers are stopped at once, to be started again from the first one on.
    RestartingAll {
        /// The container whose end asked for it.
        by: ContainerId,
        /// Since when.
        since: Instant,
    },
    /// Its containers are stopped in order; nothing is started any more.
    Stopping {
        /// Why.
        reason: PodStopReason,
        /// When the grace period ends.
        deadline: Instant,
    },
    /// Its containers are gone; its volumes and network are being removed.
    TearingDown {
        /// Why it was stopped.
        reason: PodStopReason,
        /// When to try; `None` while a try is under way.
        try_at: Option<Instant>,
        /// Tries that failed.
        tries: u32,
    },
    /// Nothing of it is left.
    Ended {
        /// Why it was stopped.
        reason: PodStopReason,
        /// When that was noticed.
        at: Instant,
    },
}

/// Why a pod is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodStopReason {
    /// No main container runs and none is to be started again.
    Completed,
    /// An init container failed under the policy `never`.
    InitFailed(ContainerId),
    /// A pod that it is `after` has failed, so it can never start.
    DependencyFailed(PodId),
    /// Somebody asked for it.
    Requested,
    /// Its active deadline is over (Kubernetes: the reason DeadlineExceeded).
    DeadlineExceeded,
    /// Its containers were restarted more often than its escalation allows.
    RestartedTooOften,
}

/// Everything that is known of one pod.
#[derive(Clone, Debug)]
pub struct PodRecord {
    /// Where it is in its life.
    pub state: PodState,
    /// When it was first set up, since it was last started anew (Kubernetes `startTime`).
    pub start_time: Option<Instant>,
    /// Set-ups that failed in a row.
    pub failures: u32,
    /// Why the last set-up or tear-down failed, in words.
    pub failure: Failure,
    /// Whether something of it is there although this supervisor has not set it up: the volumes
    /// that it had under the supervisor before.
    pub has_remains: bool,
    /// What was last reported about it, so that only changes are.
    pub reported: super::phase::Reported,
    /// Times that the whole pod was started anew, since it is essential and had failed.
    pub restarts: u32,
    /// When that was, as far as its escalation looks back.
    pub recent_restarts: Recent,
    /// When containers of it were restarted, likewise; since it was last started anew.
    pub recent_container_restarts: Recent,
    /// The pause before the next time.
    pub backoff: super::restart::Entry,
    /// Since when it has not been ready, for an essential pod: from the beginning, until it is ready
    /// or has succeeded.
    pub unready_since: Option<Instant>,
}

impl PodRecord {
    /// A pod that nothing was done for yet.
    pub fn new() -> PodRecord {
        PodRecord {
            state: PodState::Waiting { try_at: Instant::ZERO },
            start_time: None,
            failures: 0,
            failure: Failure::new(),
            has_remains: false,
            reported: super::phase::Reported::default(),
            restarts: 0,
            recent_restarts: Recent::default(),
            recent_container_restarts: Recent::default(),
            backoff: super::restart::Entry::default(),
            unready_since: None,
        }
    }

    /// Why it is or was stopped, if it is.
    pub fn stop_reason(&self) -> Option<PodStopReason> {
        match self.state {
            PodState::Stopping { reason, .. }
            | PodState::TearingDown { reason, .. }
            | PodState::Ended { reason, .. } => Some(reason),
            PodState::Waiting { .. }
            | PodState::SettingUp
            | PodState::Active
            | PodState::RestartingAll { .. } => None,
        }
    }

    /// When its active deadline is over, if it has one and its time runs.
    pub fn active_until(&self, pod: &Pod) -> Option<Instant> {
        Some(self.start_time?.after(pod.active_deadline?))
    }

    /// Whether nothing of it is left.
    pub fn is_ended(&self) -> bool {
        matches!(self.state, PodState::Ended { .. })
    }
}

impl Default for PodRecord {
    fn default() -> PodRecord {
        PodRecord::new()
    }
}

/// One container in a [`PodView`].
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    /// Which one.
    pub id: ContainerId,
    /// What it should be.
    pub container: &'a Container,
    /// What is known of it.
    pub record: &'a Record,
}

/// One pod with its containers, read only.
#[derive(Clone, Copy, Debug)]
pub struct PodView<'a> {
    /// Which pod.
    pub id: PodId,
    /// What it should be.
    pub pod: &'a Pod,
    /// What is known of it.
    pub record: &'a PodRecord,
    inits: &'a [Container],
    mains: &'a [Container],
    init_records: &'a [Record],
    main_records: &'a [Record],
}

impl<'a> PodView<'a> {
    /// `None` only if the tables do not belong to the plan.
    pub fn new(
        plan: &'a Plan,
        pod_records: &'a [PodRecord],
        records: &'a [Record],
        id: PodId,
    ) -> Option<PodView<'a>> {
        let pod = plan.pods.get(id.index())?;
        let range = |run: &core::ops::Range<u16>| usize::from(run.start)..usize::from(run.end);
        Some(PodView {
            id,
            pod,
            record: pod_records.get(id.index())?,
            inits: plan.containers.get(range(&pod.init_containers))?,
            mains: plan.containers.get(range(&pod.main_containers))?,
            init_records: records.get(range(&pod.init_containers))?,
            main_records: records.get(range(&pod.main_containers))?,
        })
    }

    /// Its init containers and sidecars, in start order.
    pub fn inits(&self) -> impl DoubleEndedIterator<Item = Member<'a>> + ExactSizeIterator + Clone + use<'a> {
        members(self.pod.init_containers.start, self.inits, self.init_records)
    }

    /// Its main containers, in the order of the file.
    pub fn mains(&self) -> impl DoubleEndedIterator<Item = Member<'a>> + ExactSizeIterator + Clone + use<'a> {
        members(self.pod.main_containers.start, self.mains, self.main_records)
    }

    /// All its containers, in start order.
    pub fn members(&self) -> impl DoubleEndedIterator<Item = Member<'a>> + Clone + use<'a> {
        self.inits().chain(self.mains())
    }
}

fn members<'a>(
    first: u16,
    containers: &'a [Container],
    records: &'a [Record],
) -> impl DoubleEndedIterator<Item = Member<'a>> + ExactSizeIterator + Clone + use<'a> {
    containers.iter().zip(records).enumerate().map(move |(position, (container, record))| {
        // A plan holds at most `CONTAINERS_MAX` containers, so this is always its position.
        let offset = u16::try_from(position).unwrap_or(u16::MAX);
        Member { id: ContainerId(first.saturating_add(offset)), container, record }
    })
}
