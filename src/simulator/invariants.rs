//! What must hold in every world, by name. docs/invariants.md says each in prose.

use core::fmt;

/// Something that must hold whatever happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// Init containers pass one by one, in the order of the file.
    InitOrder,
    /// Pods start behind those they are `after`, and stop before them.
    PodOrder,
    /// A pod's volumes and network are there for as long as its containers.
    PodLife,
    /// Two instances of a container never overlap.
    OneInstance,
    /// What is done to an instance fits to what there is of it.
    FittingActions,
    /// Nothing is started again that its policy lets rest.
    RestartPolicy,
    /// No container is created before its back-off is over.
    BackOff,
    /// Sidecars stop in reverse order, behind the main containers.
    StopOrder,
    /// Who runs is told first, and has its grace period.
    GracePeriod,
    /// A post-start hook comes before whatever waits for its container, a pre-stop hook before the
    /// stop signal.
    HookOrder,
    /// One try of a probe at a time, and only of what has started.
    ProbeTries,
    /// When all has ended, nothing is there.
    NothingLeft,
    /// What is due is done, and something is always waited for.
    Progress,
    /// One time brings a bounded number of actions, and a life a bounded number of turns.
    BoundedActions,
    /// Asked again without an event, the supervisor wants nothing more.
    Idempotence,
    /// A stop ends within a bound that follows from plan and faults.
    BoundedStop,
    /// The same world goes the same way.
    Determinism,
    /// The supervisor takes no memory after it was made.
    NoGrowth,
    /// Only so many containers come up at one time.
    StartSpread,
    /// An essential pod helps itself as often as its escalation says, and no more.
    Escalation,
}

impl Invariant {
    /// All of them, in the order of docs/invariants.md.
    pub const ALL: [Invariant; 20] = [
        Invariant::InitOrder,
        Invariant::PodOrder,
        Invariant::PodLife,
        Invariant::OneInstance,
        Invariant::FittingActions,
        Invariant::RestartPolicy,
        Invariant::BackOff,
        Invariant::StopOrder,
        Invariant::GracePeriod,
        Invariant::HookOrder,
        Invariant::ProbeTries,
        Invariant::NothingLeft,
        Invariant::Progress,
        Invariant::BoundedActions,
        Invariant::Idempotence,
        Invariant::BoundedStop,
        Invariant::Determinism,
        Invariant::NoGrowth,
        Invariant::StartSpread,
        Invariant::Escalation,
    ];

    /// Its name in docs/invariants.md and in messages.
    pub fn name(self) -> &'static str {
        match self {
            Invariant::InitOrder => "init-order",
            Invariant::PodOrder => "pod-order",
            Invariant::PodLife => "pod-life",
            Invariant::OneInstance => "one-instance",
            Invariant::FittingActions => "fitting-actions",
            Invariant::RestartPolicy => "restart-policy",
            Invariant::BackOff => "back-off",
            Invariant::StopOrder => "stop-order",
            Invariant::GracePeriod => "grace-period",
            Invariant::HookOrder => "hook-order",
            Invariant::ProbeTries => "probe-tries",
            Invariant::NothingLeft => "nothing-left",
            Invariant::Progress => "progress",
            Invariant::BoundedActions => "bounded-actions",
            Invariant::Idempotence => "idempotence",
            Invariant::BoundedStop => "bounded-stop",
            Invariant::Determinism => "determinism",
            Invariant::NoGrowth => "no-growth",
            Invariant::StartSpread => "start-spread",
            Invariant::Escalation => "escalation",
        }
    }
}

/// What went wrong in a world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// What was broken. `None`: nothing, but the script does not fit to the plan.
    pub invariant: Option<Invariant>,
    /// How, in words.
    pub text: String,
}

impl Broken {
    pub(super) fn new(invariant: Invariant, text: String) -> Broken {
        Broken { invariant: Some(invariant), text }
    }

    /// The script names something that is not there, or nothing happens that it speaks of.
    pub(super) fn script(text: String) -> Broken {
        Broken { invariant: None, text }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.invariant {
            Some(invariant) => write!(f, "{}: {}", invariant.name(), self.text),
            None => write!(f, "script: {}", self.text),
        }
    }
}

/// Says how `invariant` is broken, unless the condition holds.
pub(super) fn require(
    invariant: Invariant,
    holds: bool,
    text: impl FnOnce() -> String,
) -> Result<(), Broken> {
    if holds { Ok(()) } else { Err(Broken::new(invariant, text())) }
}
