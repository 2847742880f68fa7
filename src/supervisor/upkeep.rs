//! What a single container needs whatever its pod is about to do: deadlines kept, what ended
//! removed, probes and hooks made.

use core::time::Duration;

use super::alarm::Alarm;
use super::hook::{self, HookKind};
use super::pod::{Member, PodState, PodView};
use super::probe::{ProbeKind, Want};
use super::record::{State, StopPhase, StopReason};
use super::shutdown::{is_kept, kill_at};
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
    /// Begin to stop it.
    Stop(ContainerId, StopReason),
    /// Send it its stop signal.
    Signal(ContainerId),
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
    /// Begin a hook.
    BeginHook(ContainerId, HookKind),
    /// A hook's time is over.
    EndHook(ContainerId, HookKind),
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
        | PodState::RestartingAll { .. }
        | PodState::TearingDown { .. }
        | PodState::Ended { .. } => None,
    };
    let is_active = view.record.state == PodState::Active;
    match member.record.state {
        State::Absent | State::Ended { .. } => None,
        State::Creating { give_up_at } => {
            alarm.due(give_up_at).then_some(Step::Kill(id, StopReason::CreateTimeout))
        }
        // Stopping pods kill it instead (`shutdown.rs`), and so do those that begin again.
        State::Created => (is_active || is_kept(view, member)).then_some(Step::Start(id)),
        State::Starting { give_up_at, .. } => {
            if alarm.due(give_up_at) {
                return Some(Step::Kill(id, StopReason::StartTimeout));
            }
            if let PodState::RestartingAll { since, .. } = view.record.state {
                let over = alarm.due(since.after(GRACE_MIN));
                return over.then_some(Step::Kill(id, StopReason::RestartAllContainers));
            }
            deadline.is_some_and(|at| alarm.due(at)).then_some(Step::Kill(id, StopReason::Pod))
        }
        // Stopping pods stop it instead, and so do those that begin again.
        State::PostStart { .. } if !is_active => None,
        State::PostStart { .. } if member.record.changed => Some(Step::Stop(id, StopReason::Changed)),
        State::PostStart { hook, .. } => Some(hook_step(id, HookKind::PostStart, hook.want(None, alarm)?)),
        State::Running { .. } => running_step(member, is_active, alarm),
        State::Stopping { reason, grace_end, phase, .. } => {
            let end = deadline.map_or(grace_end, |deadline| deadline.min(grace_end));
            match phase {
                StopPhase::PreStop { hook } => match hook.want(Some(end), alarm) {
                    Some(want) => Some(hook_step(id, HookKind::PreStop, want)),
                    None => readiness_step(member, alarm),
                },
                // In a stopping pod its turn is told by `shutdown.rs`.
                StopPhase::Waiting { .. } if deadline.is_none() => Some(Step::Signal(id)),
                StopPhase::Waiting { .. } => readiness_step(member, alarm),
                StopPhase::Signalled { at } if alarm.due(kill_at(at, end)) => Some(Step::Kill(id, reason)),
                // Until it has stopped it is asked whether it still serves (Kubernetes: the same).
                StopPhase::Signalled { .. } => readiness_step(member, alarm),
            }
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

fn running_step(member: &Member, is_active: bool, alarm: &mut Alarm) -> Option<Step> {
    let probes = &member.container.probes;
    let workers = &member.record.probes;
    if is_active {
        if member.record.changed {
            return Some(Step::Stop(member.id, StopReason::Changed));
        }
        match workers.failed(probes) {
            Some(ProbeKind::Startup) => return Some(Step::Stop(member.id, StopReason::StartupProbe)),
            Some(ProbeKind::Liveness) => return Some(Step::Stop(member.id, StopReason::LivenessProbe)),
            Some(ProbeKind::Readiness) | None => {}
        }
        if workers.alive_until().is_some_and(|at| alarm.due(at)) {
            return Some(Step::MissKeepAlive(member.id));
        }
    }
    let started = workers.is_started(probes);
    ProbeKind::ALL.into_iter().find_map(|kind| {
        let asks = match kind {
            ProbeKind::Startup => is_active,
            ProbeKind::Liveness => started && is_active,
            // Readiness is still told while the pod stops.
            ProbeKind::Readiness => started,
        };
        if asks { probe_step(member, kind, alarm) } else { None }
    })
}

/// What is stopped and works on is still asked whether it is ready.
fn readiness_step(member: &Member, alarm: &mut Alarm) -> Option<Step> {
    let started = member.record.probes.is_started(&member.container.probes);
    if started && member.record.state.serves() {
        probe_step(member, ProbeKind::Readiness, alarm)
    } else {
        None
    }
}

fn probe_step(member: &Member, kind: ProbeKind, alarm: &mut Alarm) -> Option<Step> {
    kind.of(&member.container.probes)?;
    Some(match member.record.probes.worker(kind).want(alarm)? {
        Want::Try => Step::Probe(member.id, kind),
        Want::TimeOut => Step::TimeOutProbe(member.id, kind),
    })
}

fn hook_step(id: ContainerId, kind: HookKind, want: hook::Want) -> Step {
    match want {
        hook::Want::Begin => Step::BeginHook(id, kind),
        hook::Want::End => Step::EndHook(id, kind),
    }
}
