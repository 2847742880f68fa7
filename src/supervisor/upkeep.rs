//! What a single container needs whatever its pod is about to do: deadlines kept, what ended
//! removed, probes made.

use core::time::Duration;

use super::alarm::Alarm;
use super::pod::{Member, PodState, PodView};
use super::probe::{ProbeKind, Want};
use super::record::{State, StopReason};
use super::shutdown::kill_at;
use crate::config::plan::ContainerId;
use crate::limits::GRACE_MIN;
use crate::time::Instant;

/// How long after its grace period a container that can be neither killed nor removed (a process
/// in uninterruptible sleep, a mount that hangs) may hold up the end of its pod. A stop must end;
/// a device that shuts down cannot wait for a broken disk. Outside of a stop there is no such
/// end: a second instance beside the first would be worse than none.
const LEAVE_BEHIND_AFTER: Duration = Duration::from_secs(30);

/// What to do for a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Start it: it was created.
    Start(ContainerId),
    /// Send it its stop signal.
    Stop(ContainerId, StopReason),
    /// Kill it, or again.
    Kill(ContainerId, StopReason),
    /// Remove what is left of it.
    Remove(ContainerId),
    /// End a removal that hangs.
    AbortRemoval(ContainerId),
    /// Do not wait for it any longer.
    LeaveBehind(ContainerId),
    /// Make a try of a probe.
    Probe(ContainerId, ProbeKind),
    /// End a try that took too long.
    TimeOutProbe(ContainerId, ProbeKind),
    /// Take it for hung: it has not said for too long that it is well.
    MissKeepAlive(ContainerId),
}

/// The next step for any container of a pod. `None`: nothing is due.
pub fn next_step(view: &PodView, alarm: &mut Alarm) -> Option<Step> {
    view.members().find_map(|member| container_step(view, &member, alarm))
}

fn container_step(view: &PodView, member: &Member, alarm: &mut Alarm) -> Option<Step> {
    let id = member.id;
    let deadline = match view.record.state {
        PodState::Stopping { deadline, .. } => Some(deadline),
        PodState::Waiting { .. }
        | PodState::SettingUp
        | PodState::Active
        | PodState::TearingDown { .. }
        | PodState::Ended { .. } => None,
    };
    match member.record.state {
        State::Absent | State::Ended { .. } => None,
        State::Creating { give_up_at } => {
            alarm.due(give_up_at).then_some(Step::Kill(id, StopReason::CreateTimeout))
        }
        // Stopping pods kill it instead (`shutdown.rs`).
        State::Created => deadline.is_none().then_some(Step::Start(id)),
        State::Starting { give_up_at, .. } => {
            if alarm.due(give_up_at) {
                return Some(Step::Kill(id, StopReason::StartTimeout));
            }
            deadline.is_some_and(|at| alarm.due(at)).then_some(Step::Kill(id, StopReason::Pod))
        }
        State::Running { .. } => running_step(view, member, deadline.is_some(), alarm),
        State::Stopping { reason, since, grace } => {
            let own = since.after(grace.max(GRACE_MIN));
            let at = deadline.map_or(own, |deadline| own.min(kill_at(since, deadline)));
            if alarm.due(at) {
                return Some(Step::Kill(id, reason));
            }
            // Until it has stopped it is asked whether it still serves (Kubernetes: the same).
            probe_step(member, &[ProbeKind::Readiness], alarm)
        }
        State::Killing { reason, again_at, .. } => {
            leave_behind(id, deadline, alarm).or(alarm.due(again_at).then_some(Step::Kill(id, reason)))
        }
        State::Exited { remove_at, .. } => {
            leave_behind(id, deadline, alarm).or(alarm.due(remove_at).then_some(Step::Remove(id)))
        }
        State::Removing { give_up_at, .. } => {
            leave_behind(id, deadline, alarm).or(alarm.due(give_up_at).then_some(Step::AbortRemoval(id)))
        }
    }
}

fn leave_behind(id: ContainerId, deadline: Option<Instant>, alarm: &mut Alarm) -> Option<Step> {
    let at = deadline?.after(LEAVE_BEHIND_AFTER);
    alarm.due(at).then_some(Step::LeaveBehind(id))
}

fn running_step(view: &PodView, member: &Member, pod_stops: bool, alarm: &mut Alarm) -> Option<Step> {
    let probes = &member.container.probes;
    let workers = &member.record.probes;
    if !pod_stops && view.record.state == PodState::Active {
        match workers.failed(probes) {
            Some(ProbeKind::Startup) => return Some(Step::Stop(member.id, StopReason::StartupProbe)),
            Some(ProbeKind::Liveness) => return Some(Step::Stop(member.id, StopReason::LivenessProbe)),
            Some(ProbeKind::Readiness) | None => {}
        }
        if workers.alive_until().is_some_and(|at| alarm.due(at)) {
            return Some(Step::MissKeepAlive(member.id));
        }
    }
    // The others have no effect any more when the pod stops.
    let asks: &[ProbeKind] = if pod_stops { &[ProbeKind::Readiness] } else { &ProbeKind::ALL };
    probe_step(member, asks, alarm)
}

/// The next try of one of the probes `asks`, or the end of one.
fn probe_step(member: &Member, asks: &[ProbeKind], alarm: &mut Alarm) -> Option<Step> {
    let probes = &member.container.probes;
    let workers = &member.record.probes;
    let started = workers.is_started(probes);
    asks.iter().find_map(|&kind| {
        kind.of(probes)?;
        if kind != ProbeKind::Startup && !started {
            return None;
        }
        Some(match workers.worker(kind).want(alarm)? {
            Want::Try => Step::Probe(member.id, kind),
            Want::TimeOut => Step::TimeOutProbe(member.id, kind),
        })
    })
}
