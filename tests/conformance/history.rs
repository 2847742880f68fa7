//! What was seen of one pod: what its containers wrote down and what was done to them, and how its
//! status changed. Made by a simulated world or on a real machine; expectations are about it.

use std::collections::BTreeMap;
use std::time::Duration;

/// Something happened to a container, or to a probe or hook that writes under a name of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Since the beginning.
    pub at: Duration,
    /// The name.
    pub who: String,
    pub what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// The process has begun.
    Starting,
    /// It has done what it calls its start.
    Started,
    /// It is about to end by itself.
    Exiting,
    /// It was sent its stop signal.
    Sigterm,
    /// It was sent SIGKILL.
    Sigkill,
    /// It has ended.
    Exited(u8),
    /// The supervisor has stopped it for a failed liveness probe.
    LivenessFailed,
    /// Its post-start hook has begun.
    PostStart,
    /// Its pre-stop hook has begun.
    PreStop,
    /// Its pre-stop hook has ended, or is waited for no longer.
    PreStopOver,
    /// A probe has succeeded with a warning.
    ProbeWarning,
    /// Of a pod: somebody asked for its deletion.
    Delete,
}

/// How an instance has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub code: u8,
    pub reason: String,
    pub message: String,
    pub finished_at: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Waiting(String),
    Running,
    Terminated(End),
}

/// The status of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ContainerStatus {
    pub name: String,
    /// Whether it is a regular init container or a sidecar.
    pub is_init: bool,
    pub state: State,
    pub last: Option<End>,
    pub restarts: u32,
    pub started: bool,
    pub ready: bool,
    /// Whether what runs, or will run next, is of the changed configuration.
    pub is_new: bool,
}

impl ContainerStatus {
    /// How it ended, the newest instance or the one before.
    pub(crate) fn end(&self) -> Option<&End> {
        match &self.state {
            State::Terminated(end) => Some(end),
            State::Waiting(_) | State::Running => self.last.as_ref(),
        }
    }
}

/// The status of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PodStatus {
    pub phase: String,
    pub reason: String,
    /// Whether it holds, and why in one word.
    pub conditions: BTreeMap<String, (bool, String)>,
    pub containers: Vec<ContainerStatus>,
}

impl PodStatus {
    pub(crate) fn container(&self, name: &str) -> Option<&ContainerStatus> {
        self.containers.iter().find(|it| it.name == name)
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.conditions.get("Ready").is_some_and(|(holds, _)| *holds)
    }
}

/// What was seen of a pod, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    pub marks: Vec<Mark>,
    pub statuses: Vec<(Duration, PodStatus)>,
    /// When the first action was done that is not only waiting. Zero without actions.
    pub acted_at: Duration,
    /// When the last action was over. Zero without actions.
    pub actions_ended: Duration,
    /// When nothing of the pod was left, if that came.
    pub gone: Option<Duration>,
    /// When looking ended.
    pub end: Duration,
    /// The pod's grace period.
    pub grace: Duration,
}

impl History {
    pub(crate) fn note(&mut self, at: Duration, who: &str, what: What) {
        self.marks.push(Mark { at, who: who.to_owned(), what });
    }

    pub(crate) fn note_status(&mut self, at: Duration, status: PodStatus) {
        if self.statuses.last().is_none_or(|(_, last)| *last != status) {
            self.statuses.push((at, status));
        }
    }

    /// The status at a time. None before the first one.
    pub(crate) fn status(&self, at: Duration) -> Option<&PodStatus> {
        let after = self.statuses.partition_point(|(since, _)| *since <= at);
        self.statuses.get(after.checked_sub(1)?).map(|(_, status)| status)
    }

    /// When a container was marked so, in order.
    pub(crate) fn times(&self, who: &str, what: What) -> impl Iterator<Item = Duration> + use<'_> {
        let who = who.to_owned();
        self.marks.iter().filter(move |mark| mark.who == who && mark.what == what).map(|mark| mark.at)
    }

    pub(crate) fn deleted_at(&self) -> Option<Duration> {
        self.times("pod", What::Delete).next()
    }

    /// All times at which something changed, in order.
    pub(crate) fn moments(&self) -> Vec<Duration> {
        let marks = self.marks.iter().map(|mark| mark.at);
        let mut moments: Vec<Duration> = marks.chain(self.statuses.iter().map(|(at, _)| *at)).collect();
        moments.push(self.end);
        moments.sort();
        moments.dedup();
        moments
    }
}
