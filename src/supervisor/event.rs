//! Everything that can happen.
//!
//! An event about a container names the instance that it is about: what arrives late, or twice,
//! finds a record that has moved on, and is ignored.

use super::hook::HookKind;
use super::notice::Notice;
use super::probe::{Outcome, ProbeKind};
use super::record::{Exit, Failure, Instance};
use crate::config::plan::{ContainerId, PodId};

/// Something happened outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The pod's volumes and network are there.
    PodSetUp(PodId),
    /// They could not be made.
    PodSetUpFailed(PodId, Failure),
    /// They are gone again.
    PodTornDown(PodId),
    /// They could not be removed.
    PodTearDownFailed(PodId, Failure),
    /// Something happened to a container.
    Container(ContainerId, Instance, ContainerEvent),
    /// The configuration of a container has changed (Kubernetes: its image). A main container or
    /// sidecar that runs is stopped, with its own grace period, and started again whatever its
    /// policy, it alone; one that is down, or on its way down, starts with what is new. Its back-off
    /// begins anew. A regular init container is left alone: it has succeeded, or it finds what is
    /// new when it is tried again. So is a pod that is being stopped.
    ContainerChanged(ContainerId),
    /// Somebody wants everything stopped: in order at first; asked again, with a grace period of
    /// `GRACE_MIN` for what still runs. The last one says what for.
    StopRequested(Goal),
}

/// What all pods are stopped for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Goal {
    /// The supervisor ends; the machine goes on.
    #[default]
    Exit,
    /// The machine is switched off.
    PowerOff,
    /// The machine stands still, with the power on.
    Halt,
    /// The machine starts anew.
    Reboot,
    /// A rescue shell, then the machine starts anew.
    Rescue,
}

impl Goal {
    /// Its name, as a noun.
    pub fn name(self) -> &'static str {
        match self {
            Goal::Exit => "exit",
            Goal::PowerOff => "power-off",
            Goal::Halt => "halt",
            Goal::Reboot => "reboot",
            Goal::Rescue => "rescue",
        }
    }
}

/// Something happened to one instance of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContainerEvent {
    /// The runtime's `create` succeeded: the first process exists and waits.
    Created,
    /// The runtime's `create` failed or was killed.
    CreateFailed(Failure),
    /// The runtime's `start` succeeded.
    Started,
    /// The runtime's `start` failed or was killed.
    StartFailed(Failure),
    /// The first process is gone.
    Exited(Exit),
    /// Nothing of the instance is left.
    Removed,
    /// Something of it is still there.
    RemoveFailed(Failure),
    /// What it has left as termination message. Comes before its `Exited`.
    TerminationMessage(Box<str>),
    /// The end of what it has written to its log. Comes when nothing of it can write any more,
    /// so that it may have been started again by then; told only where that can be its message.
    LastLines(Box<str>),
    /// A try of a probe has ended; in words why, where it did not succeed.
    Probed(ProbeKind, Outcome, Failure),
    /// It said something of itself.
    Notified(Notice),
    /// A hook has ended. In the error: why it failed.
    HookEnded(HookKind, Result<(), Failure>),
}
