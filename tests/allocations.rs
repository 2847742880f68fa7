//! The decisions take no memory after the supervisor was made, however long they go on; and one
//! decision over the largest plan takes a bounded time.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "clippy exempts test functions, but not what they call"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BinaryHeap;
use std::fmt::Write as _;
use std::hint::black_box;
use std::rc::Rc;
use std::time::{Duration, Instant as WallClock};

use outrigger::config::plan::{ContainerId, Plan};
use outrigger::config::{self, Source};
use outrigger::limits::{CONTAINERS_MAX, POD_CONTAINERS_MAX};
use outrigger::simulator::invariants::Invariant;
use outrigger::supervisor::Supervisor;
use outrigger::supervisor::action::{Action, ContainerAction};
use outrigger::supervisor::event::{ContainerEvent, Event, Goal};
use outrigger::supervisor::probe::Outcome;
use outrigger::supervisor::record::{ExitStatus, Instance, failure};
use outrigger::time::Instant;

thread_local! {
    /// Whether allocations of this thread are counted now.
    static COUNTS: Cell<bool> = const { Cell::new(false) };
    /// How many there were.
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, with a counter.
struct Counting;

fn count() {
    // While a thread ends there is no such thing any more, and nothing to be counted.
    let _ = COUNTS.try_with(|counts| counts.get().then(|| COUNT.with(|count| count.set(count.get() + 1))));
}

#[expect(unsafe_code, reason = "an allocator is unsafe to write")]
// SAFETY: everything is the system's allocator's work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // Freeing is no growth, but what was taken before the loop must not be given back in it.
        count();
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Counts what `work` allocates and frees.
fn counted<T>(work: impl FnOnce() -> T) -> T {
    COUNTS.with(|counts| counts.set(true));
    let done = work();
    COUNTS.with(|counts| counts.set(false));
    done
}

fn plan(pods: usize, mains: usize) -> Plan {
    let mut sources = Vec::new();
    for pod in 0..pods {
        let mut text = format!(
            "name = \"p{pod}\"\nrestart-backoff = {{ initial = \"1s\", max = \"2s\" }}\n\
             [[init-containers]]\nname = \"s\"\nrootfs = \"/x\"\ncommand = [\"/x\"]\nrestart-policy = \"always\"\n"
        );
        for main in 0..mains {
            write!(
                text,
                "[[containers]]\nname = \"c{main}\"\nrootfs = \"/x\"\ncommand = [\"/x\"]\n\
                 liveness-probe = {{ tcp-socket = {{ port = 1 }}, period = \"1s\" }}\n\
                 readiness-probe = {{ tcp-socket = {{ port = 1 }}, period = \"1s\" }}\n"
            )
            .unwrap();
        }
        sources.push(Source { name: format!("p{pod}.toml"), bytes: text.into() });
    }
    config::load(None, &sources).unwrap_or_else(|problems| panic!("{problems}"))
}

/// What comes when: a heap of events, the earliest on top.
struct Coming {
    at: Instant,
    nth: u64,
    event: Event,
}

impl PartialEq for Coming {
    fn eq(&self, other: &Coming) -> bool {
        (self.at, self.nth) == (other.at, other.nth)
    }
}

impl Eq for Coming {}

impl PartialOrd for Coming {
    fn partial_cmp(&self, other: &Coming) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Coming {
    fn cmp(&self, other: &Coming) -> std::cmp::Ordering {
        (other.at, other.nth).cmp(&(self.at, self.nth))
    }
}

/// Answers every action, so that containers start, are probed, fail and start again without end.
struct Answers {
    coming: BinaryHeap<Coming>,
    nth: u64,
}

impl Answers {
    fn push(&mut self, at: Instant, event: Event) {
        self.nth += 1;
        self.coming.push(Coming { at, nth: self.nth, event });
    }

    fn answer(&mut self, action: Action, now: Instant) {
        let later = |millis| now.after(Duration::from_millis(millis));
        let (id, instance, action) = match action {
            Action::SetUpPod(id) => return self.push(now, Event::PodSetUp(id)),
            Action::TearDownPod(id) => return self.push(now, Event::PodTornDown(id)),
            Action::Report(_) => return,
            Action::Container(id, instance, action) => (id, instance, action),
        };
        let nth = self.nth;
        let (at, event) = match action {
            ContainerAction::Create { .. } if nth % 61 == 0 => {
                (later(5), ContainerEvent::CreateFailed(failure("no space left on device")))
            }
            ContainerAction::Create { .. } => (later(20), ContainerEvent::Created),
            ContainerAction::Start if nth % 53 == 0 => {
                (later(5), ContainerEvent::StartFailed(failure("the command was not found")))
            }
            ContainerAction::Start => {
                let ends = ContainerEvent::Exited(ExitStatus::Code(u8::from(nth % 3 == 0)).into());
                self.push(later(1000 + nth % 9000), Event::Container(id, instance, ends));
                (later(5), ContainerEvent::Started)
            }
            ContainerAction::Stop => (later(100), ContainerEvent::Exited(ExitStatus::Code(0).into())),
            ContainerAction::Kill => (later(1), ContainerEvent::Exited(ExitStatus::Signal(9).into())),
            ContainerAction::Remove if nth % 47 == 0 => {
                (later(10), ContainerEvent::RemoveFailed(failure("device or resource busy")))
            }
            ContainerAction::Remove => (later(10), ContainerEvent::Removed),
            ContainerAction::Probe(kind) if nth % 41 == 0 => {
                (later(2), ContainerEvent::Probed(kind, Outcome::Error, failure("no descriptor")))
            }
            ContainerAction::Probe(kind) => {
                let outcome = if nth % 3 == 0 { Outcome::Failure } else { Outcome::Success };
                (later(2), ContainerEvent::Probed(kind, outcome, failure("")))
            }
            ContainerAction::Hook(kind) => (later(2), ContainerEvent::HookEnded(kind, Ok(()))),
            ContainerAction::CancelProbe(_) | ContainerAction::CancelHook(_) => return,
        };
        self.push(at, Event::Container(id, instance, event));
    }
}

/// Events of the long run: fewer where nothing is optimised.
const EVENTS: u64 = if cfg!(debug_assertions) { 100_000 } else { 1_000_000 };

#[test]
fn the_decisions_take_no_memory_once_they_have_begun() {
    let plan = Rc::new(plan(3, 3));
    let mut supervisor = Supervisor::new(Rc::clone(&plan));
    let mut answers = Answers { coming: BinaryHeap::with_capacity(10_000), nth: 0 };
    let mut now = Instant::ZERO;
    let mut handled = 0;
    let mut restarts = 0;
    while handled < EVENTS {
        while let Some(action) = counted(|| supervisor.next_action(now)) {
            restarts += u64::from(matches!(action, Action::Container(_, _, ContainerAction::Create { .. })));
            answers.answer(action, now);
        }
        assert!(counted(|| supervisor.exit()).is_none());
        let deadline = counted(|| supervisor.next_deadline());
        let comes = answers.coming.peek().map(|coming| coming.at);
        now = [deadline, comes].into_iter().flatten().min().unwrap();
        while answers.coming.peek().is_some_and(|coming| coming.at <= now) {
            let event = answers.coming.pop().unwrap().event;
            counted(|| supervisor.handle(event, now));
            handled += 1;
        }
    }
    counted(|| supervisor.handle(Event::StopRequested(Goal::Reboot), now));
    while let Some(action) = counted(|| supervisor.next_action(now)) {
        answers.answer(action, now);
    }
    let allocations = COUNT.with(Cell::get);
    println!("{handled} events, {restarts} creates, {allocations} allocations, up to {now:?}");
    assert!(restarts > EVENTS / 1000);
    assert_eq!(allocations, 0, "{}", Invariant::NoGrowth.name());
}

/// A supervisor whose containers all run, with probes that are not due.
fn running(plan: Plan) -> (Supervisor, Instant) {
    let plan = Rc::new(plan);
    let mut supervisor = Supervisor::new(Rc::clone(&plan));
    let now = Instant::ZERO;
    loop {
        let mut events = Vec::new();
        while let Some(action) = supervisor.next_action(now) {
            let told = |id: ContainerId, instance: Instance, event| Event::Container(id, instance, event);
            match action {
                Action::SetUpPod(id) => events.push(Event::PodSetUp(id)),
                Action::Container(id, instance, ContainerAction::Create { .. }) => {
                    events.push(told(id, instance, ContainerEvent::Created));
                }
                Action::Container(id, instance, ContainerAction::Start) => {
                    events.push(told(id, instance, ContainerEvent::Started));
                }
                Action::Container(id, instance, ContainerAction::Probe(kind)) => {
                    let event = ContainerEvent::Probed(kind, Outcome::Success, failure(""));
                    events.push(told(id, instance, event));
                }
                Action::Container(..) | Action::TearDownPod(_) | Action::Report(_) => {}
            }
        }
        if events.is_empty() {
            return (supervisor, now);
        }
        for event in events {
            supervisor.handle(event, now);
        }
    }
}

/// Longest time of one decision: what is measured is the fastest of many, so that whoever else uses
/// the machine does not matter.
const DECISION_MAX: Duration =
    if cfg!(debug_assertions) { Duration::from_millis(2) } else { Duration::from_micros(20) };

#[test]
fn a_decision_over_all_containers_that_there_may_be_is_quick() {
    let plan = plan(CONTAINERS_MAX / POD_CONTAINERS_MAX, POD_CONTAINERS_MAX - 1);
    assert_eq!(plan.containers.len(), CONTAINERS_MAX);
    let (mut supervisor, now) = running(plan);
    let later = now.after(Duration::from_millis(1));
    let fastest = (0..2000).map(|_| {
        let began = WallClock::now();
        assert!(black_box(supervisor.next_action(black_box(later))).is_none());
        began.elapsed()
    });
    let fastest = fastest.min().unwrap();
    println!("one decision over {CONTAINERS_MAX} containers: {fastest:?}");
    assert!(fastest <= DECISION_MAX, "{fastest:?}, but at most {DECISION_MAX:?}");
}
