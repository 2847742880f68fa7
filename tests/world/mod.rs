//! A world without a machine: it performs the supervisor's actions on a virtual clock, plays the
//! containers and the runtime as a script says, and watches that the rules are kept.
//!
//! Time jumps from one thing that happens to the next, so a night of restarts takes a moment, and
//! the same script always gives the same log. `witness.rs` looks at every action with knowledge of
//! its own of what is there; the supervisor's records are not asked.
//!
//! # The script: `world.toml`
//!
//! Every key may be left out. A key in brackets takes one value, or a list with a value for each
//! run of the container of which the last is for all further runs. Durations are "20ms", "1.5s",
//! "10m"; *times* is how often something goes wrong until it works, or "always".
//!
//! | key | meaning | default |
//! |---|---|---|
//! | `until` | when to stop looking, for pods that do not end | their end |
//! | `stops` | list of times at which the stop is requested | none |
//! | `goals` | (list) what each stop is for: "exit", "power-off", "halt", "reboot", "rescue" | "exit" |
//! | `has-no-watchdog` | whether the machine file's watchdog is not running, as for an ordinary process | false |
//! | `shows-probes` | whether the log has a line for each try of a probe | false |
//! | **`[manager]`** | a service manager; with it the log has a line for each message to it | none |
//! | `watchdog` | the silence after which it would end us | none |
//! | `deaf-from`, `deaf-until` | when it loses what it is told | never |
//! | **`[pods.<pod>]`** | | |
//! | `set-up-takes` | duration of its set-up | 1 ms |
//! | `set-up-fails` | times | 0 |
//! | `tear-down-fails` | times | 0 |
//! | **`[containers."<pod>/<container>"]`** | | |
//! | `create-takes`, `start-takes`, `removal-takes` | duration of the runtime's call | 20, 5, 10 ms |
//! | `create-fails`, `start-fails`, `removal-fails` | times | 0 |
//! | `create-hangs`, `start-hangs`, `removal-hangs` | times; such a call ends when it is killed | 0 |
//! | `dies-in-start` | times that the first process ends 1 ms before `start` returns (1 ms after it began, if it hangs) | 0 |
//! | `runs` | (list) how long its command runs: duration or "forever" | init container: 1 s, others: forever |
//! | `exits` | (list) how it ends then: exit code, "signal 11", "unknown" | 0 |
//! | `oom-killed` | (list) whether the OOM killer took a process of it by then, as the cgroup tells | false |
//! | `ignores-sigterm` | whether only SIGKILL ends it | false |
//! | `stops-after` | time from SIGTERM to its end | 100 ms |
//! | `stops-with` | how it ends after SIGTERM | 0 |
//! | `unkillable` | whether not even SIGKILL ends it (uninterruptible sleep) | false |
//! | `startup`, `liveness`, `readiness` | (list) answers to this probe: "no, yes from 2s, never from 1m" | "yes" |
//! | **`[[events]]`** | an event that takes its time on the way to the supervisor | |
//! | `of` | the pod or `<pod>/<container>` that it is about | |
//! | `event` | its name, as [`event_name`] writes it | |
//! | `nth` | which one of these | 1 |
//! | `arrives-after` | list of delays; one arrival for each, none at all is impossible | |
//!
//! Answers to probes: `yes`, `no`, `warns` (yes, with a warning), `never` (silence until the try is
//! cancelled), `cannot` (the try could not be made). An answer comes 1 ms after the question.

mod body;
pub(crate) mod script;
mod witness;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::rc::Rc;
use std::time::Duration;

use outrigger::config::plan::{ContainerId, Plan, PodId};
use outrigger::supervisor::action::Action;
use outrigger::supervisor::announcer::Announcer;
use outrigger::supervisor::event::{ContainerEvent, Event, Goal};
use outrigger::supervisor::probe::{Outcome, ProbeKind};
use outrigger::supervisor::record::{ExitStatus, Instance, failure};
use outrigger::supervisor::{Outcome as Exit, Supervisor};
use outrigger::time::Instant;

use self::body::{Body, Call};
use self::script::{PodScript, Script};
use self::witness::Witness;

/// Actions that one turn may bring before it counts as endless: far more than all containers of
/// a test could want at one time.
const ACTIONS_MAX: usize = 10_000;

/// Turns that one life of a world may have before it counts as endless.
const TURNS_MAX: usize = 200_000;

/// How long a killed process or call takes to end, and a probe to be answered.
const MOMENT: Duration = Duration::from_millis(1);

/// Something that is going to happen.
#[derive(Clone, Debug)]
enum Happening {
    StopRequest(Goal),
    /// Something ends as it must.
    Ends(Event),
    /// A runtime call has ended; it is this one, unless it was killed.
    CallReturns(ContainerId, Call),
    Dies(ContainerId, Instance, ExitStatus),
    Answers(ContainerId, Instance, ProbeKind, u64, Outcome),
    /// An event that was on a detour.
    Arrives(Event, Duration),
}

/// See the top of this file.
pub(crate) struct World {
    plan: Rc<Plan>,
    script: Script,
    supervisor: Supervisor,
    now: Instant,
    bodies: Vec<Body>,
    pods: Vec<PodCounts>,
    happenings: BTreeMap<(Instant, u64), Happening>,
    /// Gives every happening and call its number.
    count: u64,
    /// How often each kind of event has happened, by the name of its pod or container.
    seen: BTreeMap<(String, &'static str), u32>,
    witness: Witness,
    announcer: Option<Announcer>,
    times: Vec<Instant>,
    log: String,
}

#[derive(Clone, Copy, Debug, Default)]
struct PodCounts {
    set_ups: u32,
    tear_downs: u32,
}

/// How a life of a world went.
#[derive(Clone, Debug)]
pub(crate) struct Life {
    /// What was reported and done, with the time from the beginning.
    pub log: String,
    /// All times at which something happened or was decided.
    pub times: Vec<Instant>,
    /// How it ended; `None` if it was still going on when the script stopped looking.
    pub exit: Option<Exit>,
}

/// Lives through a script. In the error: which rule was broken, behind the log up to there.
pub(crate) fn live(plan: &Rc<Plan>, script: &Script) -> Result<Life, String> {
    let mut world = World::new(Rc::clone(plan), script.clone())?;
    match world.run() {
        Ok(exit) => Ok(Life { log: world.log, times: world.times, exit }),
        Err(broken) => Err(format!("{}\n{}: {broken}", world.log, clock(world.now).trim_start())),
    }
}

impl World {
    fn new(plan: Rc<Plan>, script: Script) -> Result<World, String> {
        let mut world = World {
            supervisor: Supervisor::new(Rc::clone(&plan)),
            now: Instant::ZERO,
            bodies: vec![Body::default(); plan.containers.len()],
            pods: vec![PodCounts::default(); plan.pods.len()],
            happenings: BTreeMap::new(),
            count: 0,
            seen: BTreeMap::new(),
            witness: Witness::new(Rc::clone(&plan)),
            announcer: script.manager.as_ref().map(|manager| Announcer::new(manager.watchdog)),
            times: Vec::new(),
            log: String::new(),
            script,
            plan,
        };
        if !world.script.has_no_watchdog {
            world.supervisor.mind_watchdog();
        }
        world.check_names()?;
        for (nth, at) in world.script.stops.clone().into_iter().enumerate() {
            let goal = world.script.goal(nth);
            world.schedule(at, Happening::StopRequest(goal));
        }
        Ok(world)
    }

    /// A script about something that is not there would test nothing.
    fn check_names(&self) -> Result<(), String> {
        let pods: Vec<String> = self.plan.pods.iter().map(|pod| pod.name.clone()).collect();
        let ids = (0..self.plan.containers.len()).map(|index| ContainerId(u16::try_from(index).unwrap()));
        let containers: Vec<String> = ids.map(|id| self.path(id)).collect();
        let detours = self.script.detours.iter().map(|detour| &detour.of);
        for name in self.script.pods.keys() {
            if !pods.contains(name) {
                return Err(format!("there is no pod `{name}`"));
            }
        }
        for name in self.script.containers.keys().chain(detours) {
            if !containers.contains(name) && !pods.contains(name) {
                return Err(format!("there is no container `{name}`"));
            }
        }
        Ok(())
    }

    fn run(&mut self) -> Result<Option<Exit>, String> {
        self.perform_all()?;
        for _ in 0..TURNS_MAX {
            self.tell_manager();
            if let Some(exit) = self.supervisor.exit() {
                self.witness.check_end(&self.bodies)?;
                self.check_detours()?;
                return Ok(Some(exit));
            }
            let happens = self.happenings.keys().next().map(|(at, _)| *at);
            let announcing = self.announcer.as_ref().and_then(Announcer::next_deadline);
            let deadline = self.supervisor.next_deadline().into_iter().chain(announcing).min();
            if deadline.is_some_and(|at| at <= self.now) {
                return Err("a deadline that has passed is still waited for".to_owned());
            }
            let Some(next) = [happens, deadline].into_iter().flatten().min() else {
                return Err("everything sleeps for ever, but pods have not ended".to_owned());
            };
            if self.script.until.is_some_and(|until| next > until) {
                self.check_detours()?;
                return Ok(None);
            }
            self.now = next;
            self.times.push(next);
            // As the loop of the program does: events before deadlines.
            while let Some(entry) = self.happenings.first_entry() {
                if entry.key().0 > self.now {
                    break;
                }
                let happening = entry.remove();
                self.happen(happening)?;
            }
            self.perform_all()?;
        }
        Err(format!("no end after {TURNS_MAX} turns"))
    }

    /// A detour that no event took tests nothing.
    fn check_detours(&self) -> Result<(), String> {
        for detour in &self.script.detours {
            let taken = self.seen.iter().any(|((of, event), count)| {
                *of == detour.of && *event == detour.event && *count >= detour.nth
            });
            if !taken {
                return Err(format!("no event took the detour {} of {}", detour.event, detour.of));
            }
        }
        Ok(())
    }

    fn perform_all(&mut self) -> Result<(), String> {
        for _ in 0..ACTIONS_MAX {
            let Some(action) = self.supervisor.next_action(self.now) else { return Ok(()) };
            self.witness.check(&action, &self.bodies, self.now)?;
            match action {
                Action::Report(report) => {
                    let text = report.text(&self.supervisor);
                    self.say(&text);
                }
                Action::SetUpPod(id) => self.set_up(id),
                Action::TearDownPod(id) => self.tear_down(id),
                Action::Container(id, instance, action) => self.act(id, instance, action),
            }
        }
        Err(format!("more than {ACTIONS_MAX} actions at one time"))
    }

    /// At the end of a turn, as `Service::tell` does.
    fn tell_manager(&mut self) {
        let (Some(announcer), Some(manager)) = (&mut self.announcer, &self.script.manager) else { return };
        let Some(message) = announcer.next_message(&self.supervisor, self.now) else { return };
        let mut text = message.trim_end().replace('\n', " ");
        if manager.deaf_from <= self.now && self.now < manager.deaf_until {
            announcer.note_lost(self.now);
            text.push_str(" (lost)");
        } else {
            announcer.note_sent(self.now);
        }
        self.say(&format!("    > {text}"));
    }

    fn happen(&mut self, happening: Happening) -> Result<(), String> {
        match happening {
            Happening::StopRequest(goal) => {
                self.witness.note_stop_request();
                self.deliver(Event::StopRequested(goal))
            }
            Happening::Ends(event) => self.emit(event),
            Happening::CallReturns(id, call) => self.end_call(id, call),
            Happening::Dies(id, instance, status) => self.die(id, instance, status),
            Happening::Answers(id, instance, kind, number, outcome) => {
                let try_under_way = &mut self.bodies[id.index()].tries[kind as usize];
                if *try_under_way != Some(number) {
                    return Ok(());
                }
                *try_under_way = None;
                let why = match outcome {
                    Outcome::Success => "",
                    Outcome::Failure => "it answered no",
                    Outcome::Error => "it could not be asked",
                    Outcome::Warning => "it answered yes from elsewhere",
                };
                self.emit(Event::Container(id, instance, ContainerEvent::Probed(kind, outcome, failure(why))))
            }
            Happening::Arrives(event, late) => {
                let (of, name) = (self.about(&event), event_name(&event));
                let late =
                    if late.is_zero() { String::new() } else { format!(", {} ms late", late.as_millis()) };
                self.say(&format!("... `{name}` of {of} arrives{late}"));
                self.deliver(event)
            }
        }
    }

    /// Something has happened that the supervisor is to know.
    fn emit(&mut self, event: Event) -> Result<(), String> {
        let (of, name) = (self.about(&event), event_name(&event));
        let nth = self.seen.entry((of.clone(), name)).or_default();
        *nth += 1;
        let detour =
            self.script.detours.iter().find(|it| it.of == of && it.event == name && it.nth == *nth).cloned();
        match detour {
            None => self.deliver(event),
            Some(detour) => {
                for late in detour.arrives_after {
                    self.schedule(self.now.after(late), Happening::Arrives(event.clone(), late));
                }
                Ok(())
            }
        }
    }

    fn deliver(&mut self, event: Event) -> Result<(), String> {
        self.witness.note(&event, &self.bodies, self.now);
        self.supervisor.handle(event, self.now);
        self.perform_all()
    }
}

// Pods.
impl World {
    fn pod_script(&self, id: PodId) -> PodScript {
        self.script.pods.get(&self.plan.pods[id.index()].name).cloned().unwrap_or_default()
    }

    fn set_up(&mut self, id: PodId) {
        let script = self.pod_script(id);
        let counts = &mut self.pods[id.index()];
        counts.set_ups += 1;
        let event = if counts.set_ups <= script.set_up_fails {
            Event::PodSetUpFailed(id, failure("no space left on device"))
        } else {
            Event::PodSetUp(id)
        };
        self.schedule(self.now.after(script.set_up_takes), Happening::Ends(event));
    }

    fn tear_down(&mut self, id: PodId) {
        let script = self.pod_script(id);
        let counts = &mut self.pods[id.index()];
        counts.tear_downs += 1;
        let event = if counts.tear_downs <= script.tear_down_fails {
            Event::PodTearDownFailed(id, failure("device or resource busy"))
        } else {
            Event::PodTornDown(id)
        };
        self.schedule(self.now.after(MOMENT), Happening::Ends(event));
    }
}

// Writing down.
impl World {
    fn schedule(&mut self, at: Instant, happening: Happening) {
        self.count += 1;
        self.happenings.insert((at, self.count), happening);
    }

    fn say(&mut self, text: &str) {
        // Writing into a String cannot fail.
        let _ = writeln!(self.log, "{}  {text}", clock(self.now));
    }

    fn path(&self, id: ContainerId) -> String {
        path(&self.plan, id)
    }

    /// The name of the pod or container that an event is about.
    fn about(&self, event: &Event) -> String {
        match event {
            Event::PodSetUp(id)
            | Event::PodSetUpFailed(id, _)
            | Event::PodTornDown(id)
            | Event::PodTearDownFailed(id, _) => self.plan.pods[id.index()].name.clone(),
            Event::Container(id, ..) => self.path(*id),
            Event::StopRequested(_) => String::new(),
        }
    }
}

fn path(plan: &Plan, id: ContainerId) -> String {
    let container = &plan.containers[id.index()];
    format!("{}/{}", plan.pods[container.pod.index()].name, container.name)
}

/// The name of an event in a script.
pub(crate) fn event_name(event: &Event) -> &'static str {
    match event {
        Event::PodSetUp(_) => "set-up",
        Event::PodSetUpFailed(..) => "set-up-failed",
        Event::PodTornDown(_) => "torn-down",
        Event::PodTearDownFailed(..) => "tear-down-failed",
        Event::StopRequested(_) => "stop-requested",
        Event::Container(_, _, event) => match event {
            ContainerEvent::Created => "created",
            ContainerEvent::CreateFailed(_) => "create-failed",
            ContainerEvent::Started => "started",
            ContainerEvent::StartFailed(_) => "start-failed",
            ContainerEvent::Exited(_) => "exited",
            ContainerEvent::Removed => "removed",
            ContainerEvent::RemoveFailed(_) => "remove-failed",
            ContainerEvent::Probed(..) => "probed",
        },
    }
}

/// The time of a line of the log.
fn clock(now: Instant) -> String {
    let time = now.since(Instant::ZERO);
    format!("{:>5}.{:03}s", time.as_secs(), time.subsec_millis())
}
