//! Where each pod stands, in one word and one reason, for whoever looks at all of them at once:
//! the service manager's readiness and its status line.
//!
//! A pod has *started* when all its sidecars and main containers run and have passed their
//! startup probes. One in which something has failed and is tried again counts as *failing* until
//! then, however often it is tried: nobody can say how long that takes, so nobody should wait for
//! it. Read from the records alone, like every decision.

use core::fmt::{self, Display, Write};

use heapless::Vec;

use super::Supervisor;
use super::phase::{Phase, is_container_ready, is_pod_ready, phase};
use super::pod::{Member, PodState, PodStopReason, PodView};
use super::policy::Policy;
use super::record::State;
use crate::config::plan::{ContainerId, Plan, PodId, Role};
use crate::limits::PODS_MAX;

/// Where a pod stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing has failed, and something has not started yet.
    Starting(Awaited),
    /// Something has failed, and is tried again.
    Failing(Retried),
    /// All has started, and this container is not ready, or has ended for good.
    NotReady(ContainerId),
    /// All has started and is ready.
    Ready,
    /// It is being stopped.
    Stopping,
    /// All its main containers ended with 0.
    Succeeded,
    /// It failed by itself, or can never start.
    Failed,
    /// It was stopped by request.
    Stopped,
}

/// What a pod that is starting waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// This pod is to be ready or succeed before.
    Pod(PodId),
    /// Its volumes and network.
    SetUp,
    /// The end of this init container.
    Init(ContainerId),
    /// The startup probe of this container, which runs.
    StartupProbe(ContainerId),
    /// The end of the post-start hook of this container, which runs.
    PostStart(ContainerId),
    /// This container does not run yet.
    Start(ContainerId),
}

/// What of a failing pod is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retried {
    /// Its volumes and network.
    SetUp,
    /// This container.
    Container(ContainerId),
    /// It has not started, since it is after this pod, which is failing.
    Pod(PodId),
}

/// Where all pods stand, in the order of the plan.
pub fn standings(supervisor: &Supervisor) -> Vec<Standing, PODS_MAX> {
    let mut standings = Vec::new();
    for view in supervisor.views() {
        // Those it is after stand before it. A plan has at most `PODS_MAX` pods, so all fit.
        let _ = standings.push(standing(&view, &standings));
    }
    standings
}

/// Whether every start is decided: no pod is still on its way without a failure.
pub fn all_decided(standings: &[Standing]) -> bool {
    !standings.iter().any(|standing| matches!(standing, Standing::Starting(_)))
}

fn standing(view: &PodView, earlier: &[Standing]) -> Standing {
    match view.record.state {
        PodState::Waiting { .. } | PodState::SettingUp if view.record.failures > 0 => {
            Standing::Failing(Retried::SetUp)
        }
        PodState::Waiting { .. } => wait(view, earlier),
        PodState::SettingUp => Standing::Starting(Awaited::SetUp),
        PodState::Active => active(view),
        PodState::RestartingAll { by, .. } => Standing::Failing(Retried::Container(by)),
        PodState::Stopping { .. } | PodState::TearingDown { .. } => Standing::Stopping,
        PodState::Ended { reason, .. } => match (reason, phase(view)) {
            (PodStopReason::Requested, _) => Standing::Stopped,
            (_, Phase::Succeeded) => Standing::Succeeded,
            (_, Phase::Failed | Phase::Pending | Phase::Running) => Standing::Failed,
        },
    }
}

/// Of a pod whose turn has not come.
fn wait(view: &PodView, earlier: &[Standing]) -> Standing {
    let of = |id: &&PodId| earlier.get(id.index()).copied();
    let mut after = view.pod.after.iter();
    if let Some(id) = after.clone().find(|id| matches!(of(id), Some(Standing::Failing(_)))) {
        return Standing::Failing(Retried::Pod(*id));
    }
    match after.find(|id| !matches!(of(id), Some(Standing::Ready | Standing::Succeeded))) {
        Some(id) => Standing::Starting(Awaited::Pod(*id)),
        None => Standing::Starting(Awaited::SetUp),
    }
}

/// Of a pod whose containers are started and kept.
fn active(view: &PodView) -> Standing {
    let mut awaited = None;
    for member in view.members() {
        match stand(view, &member) {
            Stand::Passed => {}
            Stand::Awaited(what) => awaited = awaited.or(Some(what)),
            Stand::Again => return Standing::Failing(Retried::Container(member.id)),
        }
    }
    match awaited {
        Some(what) => Standing::Starting(what),
        None if is_pod_ready(view) => Standing::Ready,
        None => {
            let lasting = |member: &Member| member.container.role != Role::Init;
            let not_ready = view.members().filter(lasting).find(|member| !is_container_ready(member));
            not_ready.map_or(Standing::Ready, |member| Standing::NotReady(member.id))
        }
    }
}

/// How one container of an active pod stands.
enum Stand {
    /// It has started, or has ended and stays so.
    Passed,
    /// Its first start is under way or still to come.
    Awaited(Awaited),
    /// It has failed, and has not started since.
    Again,
}

fn stand(view: &PodView, member: &Member) -> Stand {
    let Member { id, container, record } = *member;
    let awaited = match (record.state, container.role) {
        (State::Running { .. }, Role::Init) => Awaited::Init(id),
        (State::Running { .. }, Role::Sidecar | Role::Main) => {
            if record.probes.is_started(&container.probes) {
                return Stand::Passed;
            }
            Awaited::StartupProbe(id)
        }
        (State::PostStart { .. }, _) => Awaited::PostStart(id),
        (State::Absent | State::Creating { .. } | State::Created | State::Starting { .. }, role) => {
            if role == Role::Init { Awaited::Init(id) } else { Awaited::Start(id) }
        }
        // The pod is not being stopped, so a probe has failed or the runtime was too slow.
        (State::Stopping { .. } | State::Killing { .. }, _) => return Stand::Again,
        (State::Exited { end, .. } | State::Removing { end, .. } | State::Ended { end }, _) => {
            let again = Policy::of(view.pod, container).should_restart(end);
            return if again { Stand::Again } else { Stand::Passed };
        }
    };
    let failed_before = record.start_failures > 0 || record.has_run();
    if failed_before { Stand::Again } else { Stand::Awaited(awaited) }
}

/// All pods in one line: `3 pods: 2 ready, 1 starting (gateway waits for proxy's startup probe)`.
/// The reason is that of the first failing pod, else of the first that is not ready, else of the
/// first that is starting.
pub fn line(plan: &Plan, standings: &[Standing]) -> String {
    let mut line = String::new();
    // Writing into a String cannot fail.
    let _ = write_line(&mut line, plan, standings);
    line
}

fn write_line(line: &mut String, plan: &Plan, standings: &[Standing]) -> fmt::Result {
    let total = standings.len();
    write!(line, "{total} pod{}", if total == 1 { "" } else { "s" })?;
    let mut separator = ": ";
    for kind in 0..WORDS.len() {
        let count = standings.iter().filter(|standing| kind_of(**standing) == kind).count();
        if let (1.., Some(word)) = (count, WORDS.get(kind)) {
            write!(line, "{separator}{count} {word}")?;
            separator = ", ";
        }
    }
    let first = |kind| standings.iter().position(|standing| kind_of(*standing) == kind);
    let position = first(FAILING).or_else(|| first(NOT_READY)).or_else(|| first(STARTING));
    if let Some((position, standing)) = position.and_then(|at| Some((at, standings.get(at)?))) {
        let pod = plan.pods.get(position).map_or("?", |pod| pod.name.as_str());
        write!(line, " ({})", Reason { plan, pod, standing: *standing })?;
    }
    Ok(())
}

/// The words of the line, in its order. The numbers below are positions in it.
const WORDS: [&str; 8] =
    ["ready", "not ready", "starting", "failing", "stopping", "succeeded", "failed", "stopped"];
const NOT_READY: usize = 1;
const STARTING: usize = 2;
const FAILING: usize = 3;

fn kind_of(standing: Standing) -> usize {
    match standing {
        Standing::Ready => 0,
        Standing::NotReady(_) => NOT_READY,
        Standing::Starting(_) => STARTING,
        Standing::Failing(_) => FAILING,
        Standing::Stopping => 4,
        Standing::Succeeded => 5,
        Standing::Failed => 6,
        Standing::Stopped => 7,
    }
}

/// Why a pod is where it stands.
struct Reason<'a> {
    plan: &'a Plan,
    pod: &'a str,
    standing: Standing,
}

impl Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Reason { plan, pod, standing } = *self;
        let other = |id: PodId| plan.pods.get(id.index()).map_or("?", |pod| pod.name.as_str());
        let name = |id: ContainerId| plan.containers.get(id.index()).map_or("?", |it| it.name.as_str());
        match standing {
            Standing::Starting(Awaited::Pod(id)) | Standing::Failing(Retried::Pod(id)) => {
                write!(f, "{pod} waits for pod {}", other(id))
            }
            Standing::Starting(Awaited::SetUp) => write!(f, "{pod} is being set up"),
            Standing::Starting(Awaited::Init(id)) => write!(f, "{pod} waits for init container {}", name(id)),
            Standing::Starting(Awaited::StartupProbe(id)) => {
                write!(f, "{pod} waits for {}'s startup probe", name(id))
            }
            Standing::Starting(Awaited::PostStart(id)) => {
                write!(f, "{pod} waits for {}'s post-start hook", name(id))
            }
            Standing::Starting(Awaited::Start(id)) => write!(f, "{pod} waits for {} to start", name(id)),
            Standing::Failing(Retried::SetUp) => write!(f, "{pod} cannot be set up"),
            Standing::Failing(Retried::Container(id)) => write!(f, "{pod}: {} is started again", name(id)),
            Standing::NotReady(id) => write!(f, "{pod}: {} is not ready", name(id)),
            Standing::Ready
            | Standing::Stopping
            | Standing::Succeeded
            | Standing::Failed
            | Standing::Stopped => write!(f, "{pod}"),
        }
    }
}
