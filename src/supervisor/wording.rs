//! The words of what the user is told.

use core::fmt::Write;
use core::time::Duration;

use super::Supervisor;
use super::event::Goal;
use super::hook::HookKind;
use super::pod::PodStopReason;
use super::probe::ProbeKind;
use super::record::{Exit, ExitStatus, Failure, StopReason};
use super::report::{Next, Report};
use crate::config::plan::{Container, ContainerId, PodId, Role};
use crate::config::signal::{StopSignal, signal_name};
use crate::config::write_memory;

/// Characters of a termination message that a line shows.
const MESSAGE_CHARACTERS_MAX: usize = 200;

impl Report {
    /// The line that tells it. What only the record knows (why something failed) is read there,
    /// so a report must be worded before the next event is handled.
    pub fn text(&self, supervisor: &Supervisor) -> String {
        let mut line = String::new();
        // Writing into a String cannot fail.
        let _ = self.write(supervisor, &mut line);
        line
    }

    fn write(&self, supervisor: &Supervisor, line: &mut String) -> core::fmt::Result {
        let plan = supervisor.plan();
        let pod = |id: PodId| plan.pods.get(id.index()).map_or("?", |pod| pod.name.as_str());
        let container = |id: ContainerId| plan.containers.get(id.index());
        let name = |id: ContainerId| container(id).map_or("?", |container| container.name.as_str());
        let path = |id: ContainerId| format!("{}/{}", container(id).map_or("?", |c| pod(c.pod)), name(id));
        let said = |id: ContainerId, kind: ProbeKind| {
            let said = supervisor.record(id).and_then(|record| record.said.get(kind.index()));
            said.map_or("", |said| said.as_str())
        };
        let why = |id: ContainerId| supervisor.record(id).map_or("", |record| record.failure.as_str());
        let pod_why = |id: PodId| supervisor.pod_record(id).map_or("", |record| record.failure.as_str());
        match *self {
            Report::PodStarting { pod: id } => write!(line, "pod {}: starting", pod(id)),
            Report::PodSetUpFailed { pod: id, retry_in } => write!(
                line,
                "pod {}: cannot set up: {}; trying again in {}",
                pod(id),
                pod_why(id),
                Span(retry_in)
            ),
            Report::PodRestored { pod: id, survives } => {
                write!(line, "pod {}: the supervisor before has left it running; ", pod(id))?;
                if survives {
                    write!(line, "its containers are started again, but for those that are done")
                } else {
                    write!(line, "it begins anew, with its restarts counted on")
                }
            }
            Report::PodPhase { pod: id, phase } => write!(line, "pod {}: {}", pod(id), phase.name()),
            Report::PodReadiness { pod: id, ready: true } => write!(line, "pod {}: ready", pod(id)),
            Report::PodReadiness { pod: id, ready: false } => write!(line, "pod {}: not ready", pod(id)),
            Report::PodStopping { pod: id, reason, grace } => {
                write!(line, "pod {}: stopping, ", pod(id))?;
                match reason {
                    PodStopReason::Completed => write!(line, "its main containers are done")?,
                    PodStopReason::InitFailed(id) => write!(line, "init container {} failed", name(id))?,
                    PodStopReason::DependencyFailed(id) => write!(line, "pod {} failed", pod(id))?,
                    PodStopReason::Requested => write!(line, "as requested")?,
                    PodStopReason::DeadlineExceeded => write_deadline(line, supervisor, id)?,
                    PodStopReason::RestartedTooOften => write_too_often(line, supervisor, id)?,
                }
                write!(line, " (grace period {})", Span(grace))
            }
            Report::PodEnded { pod: id, phase, reason } => {
                write!(line, "pod {}: {}", pod(id), phase.name())?;
                match reason {
                    PodStopReason::Completed => Ok(()),
                    PodStopReason::InitFailed(id) => write!(line, ", init container {} failed", name(id)),
                    PodStopReason::DependencyFailed(id) => {
                        write!(line, ", it is after pod {}, which failed; it was not started", pod(id))
                    }
                    PodStopReason::Requested => write!(line, ", stopped as requested"),
                    PodStopReason::DeadlineExceeded => write!(line, ", DeadlineExceeded"),
                    PodStopReason::RestartedTooOften => {
                        write!(line, ", its containers were restarted too often")
                    }
                }
            }
            Report::PodLeftBehind { pod: id } => write!(
                line,
                "pod {}: cannot remove what is left of it: {}; it is left behind",
                pod(id),
                pod_why(id)
            ),
            Report::Started { container: id } => {
                write!(line, "{}: started", path(id))?;
                write_role(line, supervisor, id)
            }
            Report::StartFailed { container: id, next } => {
                write!(line, "{}: cannot start: {}; ", path(id), why(id))?;
                match next {
                    Next::RestartsIn(pause) => write!(line, "trying again {}", Pause(pause)),
                    Next::RestartsAll | Next::Stays | Next::WasStopped => {
                        write!(line, "it is not tried again")
                    }
                }
            }
            Report::Exited { container: id, exit, next } => {
                write!(line, "{}: {}", path(id), Ended(exit))?;
                if exit.oom_killed {
                    write_memory_limit(line, supervisor, id)?;
                }
                write_message(line, supervisor, id)?;
                match next {
                    Next::RestartsIn(pause) => write!(line, "; restarting {}", Pause(pause)),
                    Next::RestartsAll => write!(line, "; restarting all containers of its pod"),
                    Next::Stays | Next::WasStopped => Ok(()),
                }
            }
            Report::StartupSucceeded { container: id, took } => {
                write!(line, "{}: startup probe succeeded after {}", path(id), Span(took))
            }
            Report::ProbeFailed { container: id, kind } => {
                write!(line, "{}: {} probe failed: {}", path(id), kind.name(), why(id))
            }
            Report::ProbeNotMade { container: id, kind } => write!(
                line,
                "{}: cannot make its {} probe: {}; that counts neither way, trying again",
                path(id),
                kind.name(),
                why(id)
            ),
            Report::Unwell { container: id } => {
                write!(line, "{}: not alive, as if its liveness probe had failed: {}", path(id), why(id))
            }
            Report::SaidReady { container: id } => write!(line, "{}: says that it is ready", path(id)),
            Report::SaidStopping { container: id } => write!(line, "{}: says that it stops", path(id)),
            Report::ProbeWarned { container: id, kind } => write!(
                line,
                "{}: {} probe succeeded with a warning: {}",
                path(id),
                kind.name(),
                said(id, kind)
            ),
            Report::Readiness { container: id, ready: true } => write!(line, "{}: ready", path(id)),
            Report::Readiness { container: id, ready: false } => write!(line, "{}: not ready", path(id)),
            Report::HookDone { container: id, kind, took } => {
                write!(line, "{}: {} hook done after {}", path(id), kind.name(), Span(took))
            }
            Report::HookFailed { container: id, kind } => {
                write!(line, "{}: {} hook failed: {}", path(id), kind.name(), why(id))?;
                match kind {
                    HookKind::PostStart => Ok(()),
                    HookKind::PreStop => write!(line, "; stopping all the same"),
                }
            }
            Report::PreStopBegun { container: id, reason } => {
                write!(line, "{}: stopping with its pre-stop hook", path(id))?;
                write_reason(line, reason)
            }
            Report::StopSignalled { container: id, reason } => {
                let signal = container(id).map_or(StopSignal::SIGTERM, |container| container.stop_signal);
                write!(line, "{}: stopping with {}", path(id), signal.name())?;
                write_reason(line, reason)
            }
            Report::Killed { container: id, reason, grace_over } => {
                let why = if grace_over { "its grace period is over" } else { reason_text(reason) };
                write!(line, "{}: killing all its processes, {why}", path(id))
            }
            Report::RemoveFailed { container: id, retry_in } => write!(
                line,
                "{}: cannot remove what is left of it: {}; trying again in {}",
                path(id),
                why(id),
                Span(retry_in)
            ),
            Report::RemoveTimedOut { container: id, timeout } => write!(
                line,
                "{}: cannot remove what is left of it: not done after {}; trying again",
                path(id),
                Span(timeout)
            ),
            Report::LeftBehind { container: id } => {
                write!(line, "{}: cannot be killed or removed: {}; it is left behind", path(id), why(id))
            }
            Report::StopRequested { goal, shortened } => {
                if goal != Goal::Exit {
                    write!(line, "{}: ", goal.name())?;
                }
                if shortened {
                    write!(line, "stopping all pods with a grace period of 2 s")
                } else {
                    write!(line, "stopping all pods in order")
                }
            }
            Report::PodEscalated { pod: id, goal } => write!(
                line,
                "pod {}: it is essential and has failed; stopping all pods in order, then {}",
                pod(id),
                goal.name()
            ),
            Report::PodRestarting { pod: id, restarts } => {
                write!(line, "pod {}: it is essential and has failed; starting it anew, ", pod(id))?;
                if restarts == 1 { write!(line, "the first time") } else { write!(line, "time {restarts}") }
            }
            Report::AllContainersRestarting { pod: id, by } => {
                write!(line, "pod {}: restarting all its containers, as {} asks for it", pod(id), name(by))
            }
            Report::PodOverdue { pod: id, limit } => write!(
                line,
                "pod {}: it is essential and has not been ready for {}; the watchdog is fed no longer and will \
                 reset the machine",
                pod(id),
                Span(limit)
            ),
            Report::PodsWell => write!(line, "the essential pods are ready again; the watchdog is fed"),
            Report::StopGivenUp => write!(
                line,
                "cannot stop all pods within {}; going on with what still runs",
                Span(plan.machine.shutdown_timeout)
            ),
            Report::Lost(count) => write!(line, "{count} reports were lost: too many at once"),
        }
    }
}

/// Why a container is taken for hung that was to say that it is well.
pub(super) fn silent_for(timeout: Duration) -> Failure {
    super::record::failure(&format!("no WATCHDOG=1 for {}", Span(timeout)))
}

/// Why a hook is not waited for any longer.
pub fn hook_timed_out(after: Duration) -> Failure {
    super::record::failure(&format!("it was not done after {}", Span(after)))
}

/// Why a runtime call was given up.
pub fn timed_out(step: &str, timeout: Duration) -> Failure {
    super::record::failure(&format!("the runtime's `{step}` was not done after {}", Span(timeout)))
}

fn reason_text(reason: StopReason) -> &'static str {
    match reason {
        StopReason::Pod => "its pod is stopped",
        StopReason::StartupProbe => "its startup probe failed",
        StopReason::LivenessProbe => "its liveness probe failed",
        StopReason::CreateTimeout => "the runtime's `create` took too long",
        StopReason::StartTimeout => "the runtime's `start` took too long",
        StopReason::RestartAllContainers => "all containers of its pod are restarted",
        StopReason::Changed => "its configuration has changed",
        StopReason::PostStartHook => "its post-start hook failed",
    }
}

/// What follows a message about a stop, unless the whole pod is stopped.
fn write_reason(line: &mut String, reason: StopReason) -> core::fmt::Result {
    match reason {
        StopReason::Pod => Ok(()),
        StopReason::StartupProbe
        | StopReason::LivenessProbe
        | StopReason::CreateTimeout
        | StopReason::StartTimeout
        | StopReason::PostStartHook
        | StopReason::RestartAllContainers
        | StopReason::Changed => write!(line, ", {}", reason_text(reason)),
    }
}

/// What follows "started": the container's part, and who waits for it.
fn write_role(line: &mut String, supervisor: &Supervisor, id: ContainerId) -> core::fmt::Result {
    let Some(container) = supervisor.plan().containers.get(id.index()) else { return Ok(()) };
    let waits = |container: &Container| container.probes.startup.is_some();
    match container.role {
        Role::Init => write!(line, " (init container)")?,
        Role::Sidecar if waits(container) => {
            write!(line, " (sidecar; the next waits for its startup probe)")?
        }
        Role::Sidecar => write!(line, " (sidecar)")?,
        Role::Main => {}
    }
    match supervisor.record(id).map_or(0, |record| record.restarts) {
        0 => {}
        1 => write!(line, ", first restart")?,
        n => write!(line, ", restart {n}")?,
    }
    if container.hooks.post_start.is_some() {
        write!(line, "; its post-start hook follows")?;
    }
    Ok(())
}

/// What follows an exit: the first line of the termination message, if it has left one.
fn write_message(line: &mut String, supervisor: &Supervisor, id: ContainerId) -> core::fmt::Result {
    let exit = supervisor.record(id).and_then(|record| record.last_exit.as_ref());
    let Some(message) = exit.and_then(|exit| exit.message.lines().find(|line| !line.trim().is_empty()))
    else {
        return Ok(());
    };
    // Somebody else's text: nothing in it may move a cursor or hide what follows.
    let printable =
        message.trim().chars().map(|character| if character.is_control() { ' ' } else { character });
    let cut = printable.clone().count() > MESSAGE_CHARACTERS_MAX;
    write!(line, ": \"")?;
    printable.take(MESSAGE_CHARACTERS_MAX).try_for_each(|character| line.write_char(character))?;
    line.write_str(if cut { " …\"" } else { "\"" })
}

/// Which deadline is over.
fn write_deadline(line: &mut String, supervisor: &Supervisor, id: PodId) -> core::fmt::Result {
    let deadline = supervisor.plan().pods.get(id.index()).and_then(|pod| pod.active_deadline);
    write!(line, "its active deadline of {} is over", Span(deadline.unwrap_or_default()))
}

/// How often is too often.
fn write_too_often(line: &mut String, supervisor: &Supervisor, id: PodId) -> core::fmt::Result {
    let escalation = supervisor.plan().pods.get(id.index()).and_then(|pod| pod.escalation);
    let Some(escalation) = escalation else { return Ok(()) };
    let most = escalation.container_restarts.unwrap_or(0);
    let (s, window) = (if most == 1 { "" } else { "s" }, Span(escalation.window));
    write!(line, "its containers have had {most} restart{s} within {window} and need one more")
}

/// What follows an OOM kill: which limit to look at. Whether it was that one or the whole machine
/// that ran out, the kernel does not tell everywhere.
fn write_memory_limit(line: &mut String, supervisor: &Supervisor, id: ContainerId) -> core::fmt::Result {
    let plan = supervisor.plan();
    let Some(container) = plan.containers.get(id.index()) else { return Ok(()) };
    let pod = plan.pods.get(container.pod.index());
    match (container.resources.limits.memory, pod.and_then(|pod| pod.resources.limits.memory)) {
        (Some(own), _) => write!(line, ", its memory limit is {}", write_memory(own)),
        (None, Some(pod)) => write!(line, ", the memory limit of its pod is {}", write_memory(pod)),
        (None, None) => write!(line, ", it has no memory limit of its own"),
    }
}

/// A duration as people say it: `40 ms`, `1.5 s`, `10 s`, `5 min`.
struct Span(Duration);

impl core::fmt::Display for Span {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let millis = self.0.as_millis();
        let seconds = self.0.as_secs();
        if millis < 1000 {
            write!(f, "{millis} ms")
        } else if seconds < 120 {
            match millis % 1000 / 100 {
                0 => write!(f, "{seconds} s"),
                tenths => write!(f, "{seconds}.{tenths} s"),
            }
        } else {
            match seconds % 60 {
                0 => write!(f, "{} min", seconds / 60),
                rest => write!(f, "{} min {rest} s", seconds / 60),
            }
        }
    }
}

struct Pause(Duration);

impl core::fmt::Display for Pause {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        if self.0.is_zero() { write!(f, "at once") } else { write!(f, "in {}", Span(self.0)) }
    }
}

/// How a process ended, in words.
pub(crate) struct Ended(pub(crate) Exit);

impl core::fmt::Display for Ended {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Exit { status, oom_killed } = self.0;
        if oom_killed {
            write!(f, "OOMKilled: ")?;
        }
        match status {
            ExitStatus::Code(0) if !oom_killed => write!(f, "completed"),
            ExitStatus::Code(code) => write!(f, "exited with {code}"),
            ExitStatus::Signal(signal) => match signal_name(signal) {
                Some(name) => write!(f, "killed by {name}"),
                None => write!(f, "killed by signal {signal}"),
            },
            ExitStatus::Unknown => write!(f, "gone, nobody knows how"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_say_them() {
        for (millis, text) in [
            (0, "0 ms"),
            (40, "40 ms"),
            (1000, "1 s"),
            (1540, "1.5 s"),
            (30_000, "30 s"),
            (90_000, "90 s"),
            (300_000, "5 min"),
            (310_000, "5 min 10 s"),
        ] {
            assert_eq!(Span(Duration::from_millis(millis)).to_string(), text);
        }
    }

    #[test]
    fn ends_read_as_people_say_them() {
        for (status, text) in [
            (ExitStatus::Code(0), "completed"),
            (ExitStatus::Code(3), "exited with 3"),
            (ExitStatus::Signal(9), "killed by SIGKILL"),
            (ExitStatus::Signal(40), "killed by SIGRTMIN+6"),
            (ExitStatus::Signal(33), "killed by signal 33"),
        ] {
            assert_eq!(Ended(status.into()).to_string(), text);
        }
        for (status, text) in [
            (ExitStatus::Code(0), "OOMKilled: exited with 0"),
            (ExitStatus::Signal(9), "OOMKilled: killed by SIGKILL"),
        ] {
            assert_eq!(Ended(Exit { status, oom_killed: true }).to_string(), text);
        }
    }
}
