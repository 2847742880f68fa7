//! What pods, containers and events are called in scripts and logs.

use super::timeline::Subject;
use crate::config::plan::{ContainerId, Plan, PodId};
use crate::supervisor::event::{ContainerEvent, Event};
use crate::supervisor::hook::HookKind;

pub(super) fn pod_of(plan: &Plan, name: &str) -> Option<PodId> {
    let index = plan.pods.iter().position(|pod| pod.name == name)?;
    u8::try_from(index).ok().map(PodId)
}

/// The container that is named so, `<pod>/<container>`.
pub fn container_of(plan: &Plan, name: &str) -> Option<ContainerId> {
    let (pod, container) = name.split_once('/')?;
    let pod = pod_of(plan, pod)?;
    let index = plan.containers.iter().position(|it| it.pod == pod && it.name == container)?;
    u16::try_from(index).ok().map(ContainerId)
}

/// The name of a container, `<pod>/<container>`.
pub fn path(plan: &Plan, id: ContainerId) -> String {
    let names = || {
        let container = plan.containers.get(id.index())?;
        Some(format!("{}/{}", plan.pods.get(container.pod.index())?.name, container.name))
    };
    names().unwrap_or_default()
}

/// What an event is about.
pub(super) fn about(event: &Event) -> Subject {
    match event {
        Event::PodSetUp(id)
        | Event::PodSetUpFailed(id, _)
        | Event::PodTornDown(id)
        | Event::PodTearDownFailed(id, _) => Subject::Pod(*id),
        Event::Container(id, ..) | Event::ContainerChanged(id) => Subject::Container(*id),
        Event::StopRequested(_) => Subject::World,
    }
}

/// The name of an event in a script.
pub fn event_name(event: &Event) -> &'static str {
    match event {
        Event::PodSetUp(_) => "set-up",
        Event::PodSetUpFailed(..) => "set-up-failed",
        Event::PodTornDown(_) => "torn-down",
        Event::PodTearDownFailed(..) => "tear-down-failed",
        Event::StopRequested(_) => "stop-requested",
        Event::ContainerChanged(_) => "container-changed",
        Event::Container(_, _, event) => match event {
            ContainerEvent::Created => "created",
            ContainerEvent::CreateFailed(_) => "create-failed",
            ContainerEvent::Started => "started",
            ContainerEvent::StartFailed(_) => "start-failed",
            ContainerEvent::Exited(_) => "exited",
            ContainerEvent::Removed => "removed",
            ContainerEvent::RemoveFailed(_) => "remove-failed",
            ContainerEvent::Probed(..) => "probed",
            ContainerEvent::Notified(_) => "notified",
            ContainerEvent::HookEnded(HookKind::PostStart, _) => "post-start-ended",
            ContainerEvent::HookEnded(HookKind::PreStop, _) => "pre-stop-ended",
            ContainerEvent::TerminationMessage(_) => "termination-message",
            ContainerEvent::LastLines(_) => "last-lines",
        },
    }
}
