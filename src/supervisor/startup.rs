//! What of an active pod is to be started next, and whether it has come to its end (Kubernetes,
//! computation of init container and pod actions).
//!
//! Init containers run one by one to exit code 0. A sidecar holds up what is behind it only until
//! it runs and its startup probe, if any, has succeeded. Where the pod stands is read from the
//! records, not remembered: the last init container that has a record is the *current* one; all
//! before it were passed. A sidecar among those that went down is started again beside the rest
//! and holds nothing up. Once a main container is active, the init containers as a whole are
//! passed.
//!
//! Main containers are started in the order of the file, and a post-start hook holds up the first
//! start of those behind its own. If it fails, it holds up nothing any more.
//!
//! Two deviations from the kubelet, both where it is an artefact of its blocking passes:
//! containers are started beside each other where it starts them one after another, and a pod
//! whose main containers are all done has come to its end even while its last sidecar is down.

use super::alarm::Alarm;
use super::pod::{Member, PodStopReason, PodView};
use super::policy::Policy;
use super::record::State;
use super::restart::start_at;
use crate::config::plan::{ContainerId, RestartPolicy, Role};

/// What to do for a pod's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Create this container now.
    Create(ContainerId),
    /// The pod has come to its end.
    Stop(PodStopReason),
}

/// The next step of an active pod. `None`: something is under way or not due yet.
pub fn next_step(view: &PodView, alarm: &mut Alarm) -> Option<Step> {
    if is_completed(view) {
        return Some(Step::Stop(PodStopReason::Completed));
    }
    let mut first: Option<ContainerId> = None;
    let note = &mut |member: &Member| {
        first = Some(first.map_or(member.id, |first| first.min(member.id)));
    };
    match each_due(view, alarm, note) {
        Err(id) => Some(Step::Stop(PodStopReason::InitFailed(id))),
        Ok(()) => first.map(Step::Create),
    }
}

/// Shows every container that may be created now to `note`.
///
/// # Errors
///
/// The regular init container that has failed for good.
pub fn each_due(view: &PodView, alarm: &mut Alarm, note: &mut dyn FnMut(&Member)) -> Result<(), ContainerId> {
    if walk_inits(view, alarm, note)? {
        let mut held_up = false;
        for main in view.mains() {
            let waits = held_up && main.record.state == State::Absent;
            held_up |= is_before_end_of_post_start(&main);
            if !waits && is_wanted(view, &main) && is_due(view, &main, alarm) {
                note(&main);
            }
        }
    }
    Ok(())
}

/// Whether no main container is kept running and none is to be started. A pod in which none was
/// created yet has not come that far.
pub fn is_completed(view: &PodView) -> bool {
    view.mains().all(|main| match main.record.state {
        State::Absent
        | State::Creating { .. }
        | State::Created
        | State::Starting { .. }
        | State::PostStart { .. } => false,
        // A main container whose probe failed under `never` is stopped for good: if it was the
        // last one, the pod stops with it, and its sidecars do not wait for its end first.
        State::Running { .. } => {
            Policy::of(view.pod, main.container).effective() == RestartPolicy::Never
                && main.record.probes.failed(&main.container.probes).is_some()
        }
        State::Stopping { reason, .. } | State::Killing { reason, .. } => {
            Policy::of(view.pod, main.container).effective() == RestartPolicy::Never && reason.is_probe()
        }
        State::Exited { end, .. } | State::Removing { end, .. } | State::Ended { end } => {
            !Policy::of(view.pod, main.container).should_restart(end)
        }
    })
}

/// Walks the init containers from the last to the first, and shows those that may be created now.
/// Returns whether main containers may start.
fn walk_inits(view: &PodView, alarm: &mut Alarm, note: &mut dyn FnMut(&Member)) -> Result<bool, ContainerId> {
    let mut note_if_due = |member: &Member, alarm: &mut Alarm| {
        if is_due(view, member, alarm) {
            note(member);
        }
    };
    // An ended main container proves nothing: only one that is active shows that all init
    // containers were passed.
    let mut passed = view.mains().any(|main| main.record.state.is_active());
    let mut behind_current = passed;
    let mut later: Option<Member> = None;
    for init in view.inits().rev() {
        let sidecar = init.container.role == Role::Sidecar;
        let current = !behind_current && init.record.state != State::Absent;
        if behind_current {
            // Passed. A regular init container is done; a sidecar is kept up.
            if sidecar {
                note_if_due(&init, alarm);
            }
        } else if current {
            behind_current = true;
            match stand(view, &init) {
                Stand::UnderWay => {}
                Stand::Failed => return Err(init.id),
                Stand::Again => note_if_due(&init, alarm),
                Stand::Passed => match later {
                    Some(next) => note_if_due(&next, alarm),
                    None => passed = true,
                },
            }
        }
        later = Some(init);
    }
    if !behind_current {
        // Nothing has a record: begin with the first, or there is nothing to pass.
        match later {
            Some(first) => note_if_due(&first, alarm),
            None => passed = true,
        }
    }
    Ok(passed)
}

enum Stand {
    /// What is behind it may start.
    Passed,
    /// It holds up what is behind it, and nothing is to be done for it.
    UnderWay,
    /// It holds up what is behind it, and is to be started again when that is due.
    Again,
    /// It will never be passed.
    Failed,
}

fn stand(view: &PodView, init: &Member) -> Stand {
    let role = init.container.role;
    match init.record.state {
        State::Absent => Stand::Again,
        State::Creating { .. }
        | State::Created
        | State::Starting { .. }
        | State::PostStart { .. }
        | State::Stopping { .. }
        | State::Killing { .. } => Stand::UnderWay,
        State::Running { .. } => match role {
            Role::Sidecar if init.record.probes.is_started(&init.container.probes) => Stand::Passed,
            Role::Sidecar | Role::Init | Role::Main => Stand::UnderWay,
        },
        State::Exited { end, .. } | State::Removing { end, .. } | State::Ended { end } => {
            if Policy::of(view.pod, init.container).should_restart(end) {
                Stand::Again
            } else if !end.is_success(role) {
                Stand::Failed
            } else if init.record.state.is_gone() {
                Stand::Passed
            } else {
                // What comes next waits until nothing of it is left.
                Stand::UnderWay
            }
        }
    }
}

/// Whether a main container is to be started, now or later.
fn is_wanted(view: &PodView, main: &Member) -> bool {
    match main.record.state {
        State::Absent => true,
        State::Ended { end } => Policy::of(view.pod, main.container).should_restart(end),
        // Its removal comes first, and its end runs this again.
        State::Exited { .. } | State::Removing { .. } => false,
        State::Creating { .. }
        | State::Created
        | State::Starting { .. }
        | State::PostStart { .. }
        | State::Running { .. }
        | State::Stopping { .. }
        | State::Killing { .. } => false,
    }
}

/// Whether a container that is to be started can be started now.
fn is_due(view: &PodView, member: &Member, alarm: &mut Alarm) -> bool {
    match member.record.state {
        State::Absent | State::Ended { .. } => {
            start_at(member.record, &view.pod.restart_backoff).is_none_or(|at| alarm.due(at))
        }
        State::Creating { .. }
        | State::Created
        | State::Starting { .. }
        | State::PostStart { .. }
        | State::Running { .. }
        | State::Stopping { .. }
        | State::Killing { .. }
        | State::Exited { .. }
        | State::Removing { .. } => false,
    }
}

/// Whether a container is being started whose post-start hook has not ended.
fn is_before_end_of_post_start(member: &Member) -> bool {
    let starts = match member.record.state {
        State::Creating { .. } | State::Created | State::Starting { .. } | State::PostStart { .. } => true,
        State::Absent
        | State::Running { .. }
        | State::Stopping { .. }
        | State::Killing { .. }
        | State::Exited { .. }
        | State::Removing { .. }
        | State::Ended { .. } => false,
    };
    starts && member.container.hooks.post_start.is_some()
}
