//! How long a container has between being told to stop and SIGKILL.

use core::time::Duration;

use super::record::StopReason;
use crate::limits::GRACE_MIN;

/// Shortest grace period of a pod that is stopped (Kubernetes: 0 becomes 1).
const POD_GRACE_MIN: Duration = Duration::from_secs(1);

/// The grace periods that the configuration has for one container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GracePeriods {
    /// Of its pod.
    pub pod: Duration,
    /// Its own, instead of the pod's.
    pub container: Option<Duration>,
    /// Of its startup probe.
    pub startup_probe: Option<Duration>,
    /// Of its liveness probe.
    pub liveness_probe: Option<Duration>,
}

/// How long a container has that is stopped for this reason; at least [`GRACE_MIN`]. If its pod is
/// stopped, too, the pod's grace period ends it if that is earlier.
///
/// The grace period of a probe is for the stop that this probe asked for, and may be longer than any
/// other (Kubernetes: probe-level `terminationGracePeriodSeconds`).
pub fn grace(periods: &GracePeriods, reason: StopReason) -> Duration {
    let own = periods.container.unwrap_or(periods.pod);
    let grace = match reason {
        StopReason::Pod => own.min(periods.pod),
        StopReason::StartupProbe => periods.startup_probe.unwrap_or(own),
        StopReason::LivenessProbe => periods.liveness_probe.unwrap_or(own),
        StopReason::CreateTimeout
        | StopReason::StartTimeout
        | StopReason::PostStartHook
        | StopReason::Changed => own,
        StopReason::RestartAllContainers => GRACE_MIN,
    };
    grace.max(GRACE_MIN)
}

/// The grace period of a pod that is stopped: what was `requested`, else the pod's `own`; not longer
/// than `limit` (Kubernetes: the delete request's, the spec's, the override of the node).
pub fn effective_grace(own: Duration, requested: Option<Duration>, limit: Option<Duration>) -> Duration {
    let grace = requested.unwrap_or(own);
    let grace = limit.map_or(grace, |limit| grace.min(limit));
    // Less than a second was asked for by somebody who knows that it can be.
    if grace.is_zero() { POD_GRACE_MIN } else { grace }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn the_reason_chooses_the_grace_period() {
        use StopReason::{LivenessProbe, Pod, PostStartHook, StartupProbe};
        for (pod, container, startup_probe, liveness_probe, reason, expected) in [
            (0, None, None, None, PostStartHook, 2),
            (10, None, Some(60), None, StartupProbe, 60),
            (10, None, None, Some(60), LivenessProbe, 60),
            (60, None, Some(10), None, PostStartHook, 60),
            (60, None, Some(10), Some(30), PostStartHook, 60),
            (60, None, Some(10), Some(30), StartupProbe, 10),
            (60, None, Some(10), Some(30), LivenessProbe, 30),
            (60, None, None, Some(30), StartupProbe, 60),
            (60, None, Some(10), Some(30), Pod, 60),
            (60, None, Some(1), None, StartupProbe, 2),
            (60, Some(20), None, None, Pod, 20),
            (60, Some(90), None, None, Pod, 60),
            (60, Some(90), None, None, LivenessProbe, 90),
            (60, Some(20), None, Some(30), LivenessProbe, 30),
            (60, Some(20), None, Some(30), StartupProbe, 20),
            (60, Some(1), None, None, Pod, 2),
        ] {
            let periods = GracePeriods {
                pod: secs(pod),
                container: container.map(secs),
                startup_probe: startup_probe.map(secs),
                liveness_probe: liveness_probe.map(secs),
            };
            assert_eq!(grace(&periods, reason), secs(expected), "{periods:?} {reason:?}");
        }
    }

    #[test]
    fn a_stop_takes_the_first_grace_period_that_is_known_and_only_shortens() {
        for (own, requested, limit, expected) in [
            (30, None, None, 30),
            (30, Some(5), None, 5),
            (30, Some(5), Some(2), 2),
            (30, Some(0), None, 1),
            (30, Some(5), Some(0), 1),
            (30, None, Some(60), 30),
            (5, Some(60), None, 60),
            (0, None, None, 1),
        ] {
            let effective = effective_grace(secs(own), requested.map(secs), limit.map(secs));
            assert_eq!(effective, secs(expected), "{own} {requested:?} {limit:?}");
        }
    }
}
