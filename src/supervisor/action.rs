//! Everything that can be wanted.
//!
//! An action is asked for once: the record of its container or pod says that it is under way
//! until its event comes or its deadline passes. Performing one never waits.

use super::hook::HookKind;
use super::probe::ProbeKind;
use super::record::Instance;
use super::report::Report;
use crate::config::plan::{ContainerId, PodId};

/// Something is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Make the pod's volumes and network. Answer: `PodSetUp` or `PodSetUpFailed`.
    SetUpPod(PodId),
    /// Remove them. Answer: `PodTornDown` or `PodTearDownFailed`.
    TearDownPod(PodId),
    /// Do something to a container.
    Container(ContainerId, Instance, ContainerAction),
    /// Tell the user.
    Report(Report),
}

/// What can be wanted of one instance of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContainerAction {
    /// Run the runtime's `create` in the container's cgroup, its limits set before.
    /// Answer: `Created` or `CreateFailed`.
    Create {
        /// The container's `restartCount`, which names its log.
        restarts: u32,
    },
    /// Run the runtime's `start`. Answer: `Started` or `StartFailed`.
    Start,
    /// Send the stop signal to the first process. No answer; the exit is one.
    Stop,
    /// Send SIGKILL to everything in the container's cgroup, a runtime call that hangs included.
    /// No answer; the end of what was killed is one.
    Kill,
    /// Kill what is left, let the runtime forget it, remove cgroup and bundle.
    /// Answer: `Removed` or `RemoveFailed`.
    Remove,
    /// Make one try of a probe. Answer: `Probed`.
    Probe(ProbeKind),
    /// End the try that is under way. No answer.
    CancelProbe(ProbeKind),
    /// Begin a hook that is no sleep. Answer: `HookEnded`, unless the container ends before: what is
    /// left of the hook then goes with it.
    Hook(HookKind),
    /// End the hook that is under way. No answer.
    CancelHook(HookKind),
}
