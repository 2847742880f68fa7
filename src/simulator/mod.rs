//! A world without a machine: it performs the supervisor's actions on a virtual clock, plays the
//! containers and the runtime as a script says, and watches that the rules are kept.
//!
//! Time jumps from one thing that happens to the next, so a night of restarts takes a moment, and
//! the same script always gives the same log. `witness.rs` looks at every action with knowledge of
//! its own of what is there; the supervisor's records are not asked. What must hold has a name in
//! `invariants.rs`, and what has happened an entry in the [`timeline`].
//!
//! [`live`] plays a script from its beginning to its end. Who wants to look or to disturb in
//! between makes a [`World`] and takes its steps alone.
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
//! | `supervisor-restarts` | list of times at which the supervisor is killed, and the next one begins | none |
//! | `loses-volumes` | whether no volume outlives the supervisor | false |
//! | `goals` | (list) what each stop is for: "exit", "power-off", "halt", "reboot", "rescue" | "exit" |
//! | `has-no-watchdog` | whether the machine file's watchdog is not running, as for an ordinary process | false |
//! | `shows-probes` | whether the log has a line for each try of a probe | false |
//! | `tells-together` | whether all events of one time are told before anything is decided | false |
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
//! | `creates`, `starts`, `removals` | list of how each of these calls goes, before the above count: "works", "fails", "fails-at-once", "hangs", "outruns-kill" (hangs, and has worked when it is killed) | none |
//! | `dies-in-create` | times that the first process is gone as soon as `create` has returned | 0 |
//! | `dies-in-start` | times that the first process ends 1 ms before `start` returns (1 ms after it began, if it hangs) | 0 |
//! | `start-delay` | how long its command runs until it says that it has started | 0 |
//! | `runs` | (list) how long its command runs: duration or "forever" | init container: 1 s, others: forever |
//! | `exits` | (list) how it ends then: exit code, "signal 11", "unknown" | 0 |
//! | `oom-killed` | (list) whether the OOM killer took a process of it by then, as the cgroup tells | false |
//! | `oom-from` | (list) how long its command must have run for that | 0 |
//! | `message` | the termination message that each run leaves | none |
//! | `ignores-sigterm` | whether only SIGKILL ends it | false |
//! | `stops-after` | time from SIGTERM to its end | 100 ms |
//! | `stops-with` | how it ends after SIGTERM | 0 |
//! | `killed-after` | time from SIGKILL to its end | 1 ms |
//! | `unkillable` | whether not even SIGKILL ends it (uninterruptible sleep) | false |
//! | `changes` | list of times at which its configuration changes | none |
//! | `post-start`, `pre-stop` | (list) how this hook goes, if it is no sleep: "1s", "fails after 1s", "never" | "1ms" |
//! | `startup`, `liveness`, `readiness` | (list) answers to this probe: "no, yes from 2s, never from 1m" | "yes" |
//! | `says` | (list) what it says of itself, by sd_notify(3): "READY=1 at 1s, WATCHDOG=1 at 3s" | nothing |
//! | **`[[events]]`** | an event that takes its time on the way to the supervisor | |
//! | `of` | the pod or `<pod>/<container>` that it is about | |
//! | `event` | its name, as `event_name` writes it | |
//! | `nth` | which one of these | 1 |
//! | `arrives-after` | list of delays; one arrival for each, none at all is impossible | |
//!
//! Answers to probes: `yes`, `no`, `warns` (yes, with a warning), `never` (silence until the try is
//! cancelled), `cannot` (the try could not be made). An answer comes 1 ms after the question.

pub mod assumption;
mod axis;
mod body;
pub mod casting;
pub mod chart;
mod due;
mod facts;
mod ink;
mod intervention;
pub mod invariants;
mod legend;
mod names;
pub mod notation;
mod pod_witness;
pub mod recorder;
pub mod recording;
pub mod script;
pub mod timeline;
pub mod transcript;
mod volumes;
mod witness;

use core::time::Duration;
use std::collections::BTreeMap;
use std::rc::Rc;

use self::body::Body;
use self::invariants::{Broken, Invariant, require};
use self::names::{about, pod_of};
pub use self::names::{container_of, event_name, path};
use self::script::{ContainerScript, Detour, PodScript, Script};
use self::timeline::{Clock, Entry, Subject, What};
use self::witness::Witness;
use crate::config::plan::{ContainerId, Plan};
use crate::protocol::sd_notify;
use crate::supervisor::action::Action;
use crate::supervisor::announcer::Announcer;
use crate::supervisor::event::{ContainerEvent, Event, Goal};
use crate::supervisor::probe::{Outcome, ProbeKind};
use crate::supervisor::record::{ExitStatus, Instance, failure};
use crate::supervisor::report::Report;
use crate::supervisor::{Outcome as Exit, Supervisor};
use crate::time::Instant;

/// Actions that one turn may bring before it counts as endless: far more than all containers of
/// a test could want at one time.
const ACTIONS_MAX: usize = 10_000;

/// Turns that one life of a world may have before it counts as endless.
const TURNS_MAX: usize = 200_000;

/// Deadlines in a row at which nothing may be found to do. One may be: a pod's grace period that
/// is over when nothing of the pod is left to be told.
const IDLE_TURNS_MAX: usize = 64;

/// How long a killed process or call takes to end, and a probe to be answered.
const MOMENT: Duration = Duration::from_millis(1);

/// Something that is going to happen.
#[derive(Clone, Debug)]
enum Happening {
    StopRequest(Goal),
    SupervisorRestarts,
    /// Something ends as it must.
    Ends(Event),
    /// A container says something of itself.
    Says(ContainerId, Instance, String),
    /// The runtime call of this number has ended.
    CallReturns(ContainerId, u64),
    /// Its command says that it has started.
    Starts(ContainerId, Instance),
    Dies(ContainerId, Instance, ExitStatus),
    Answers(ContainerId, Instance, ProbeKind, u64, Outcome),
    /// A hook ends by itself, if it is this one; whether well.
    HookEnds(ContainerId, u64, bool),
    /// An event that was on a detour.
    Arrives(Event, Duration),
}

/// See the top of this file.
pub struct World {
    plan: Rc<Plan>,
    /// What of the script is not about a pod, container or event.
    script: Script,
    /// Of the script, by position in the plan.
    pod_scripts: Vec<PodScript>,
    container_scripts: Vec<ContainerScript>,
    detours: Vec<(Subject, Detour)>,
    supervisor: Supervisor,
    now: Instant,
    began: bool,
    bodies: Vec<Body>,
    pods: Vec<PodCounts>,
    happenings: BTreeMap<(Instant, u64), Happening>,
    /// Gives every happening and call its number.
    count: u64,
    turns: usize,
    /// Actions up to now.
    actions: u64,
    /// Turns in a row in which nothing had happened and nothing was done.
    idle_turns: usize,
    /// How often each kind of event has happened, if any is to take a detour.
    seen: BTreeMap<(Subject, &'static str), u32>,
    witness: Witness,
    announcer: Option<Announcer>,
    times: Vec<Instant>,
    /// `None`: nobody wants to know.
    timeline: Option<Vec<Entry>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct PodCounts {
    set_ups: u32,
    tear_downs: u32,
}

/// How a life of a world went.
#[derive(Clone, Debug)]
pub struct Life {
    /// What was reported and done, with the time from the beginning.
    pub log: String,
    /// All times at which something happened or was decided.
    pub times: Vec<Instant>,
    /// How it ended; `None` if it was still going on when the script stopped looking.
    pub exit: Option<Exit>,
}

/// Lives through a script.
///
/// # Errors
///
/// Which rule was broken, behind the log up to there.
pub fn live(plan: &Rc<Plan>, script: &Script) -> Result<Life, String> {
    let mut world = World::new(Rc::clone(plan), script.clone()).map_err(|broken| broken.to_string())?;
    match world.run() {
        Ok(exit) => Ok(Life { log: world.log(), times: world.times, exit }),
        Err(broken) => {
            Err(format!("{}\n{}: {broken}", world.log(), Clock(world.now).to_string().trim_start()))
        }
    }
}

// From outside.
impl World {
    /// A world in which nothing has happened yet.
    ///
    /// # Errors
    ///
    /// The script names a pod or container that is not in the plan: it would test nothing.
    pub fn new(plan: Rc<Plan>, script: Script) -> Result<World, Broken> {
        let mut world = World {
            pod_scripts: plan.pods.iter().map(|_| PodScript::default()).collect(),
            container_scripts: plan.containers.iter().map(|_| ContainerScript::default()).collect(),
            detours: Vec::new(),
            supervisor: Supervisor::new(Rc::clone(&plan)),
            now: Instant::ZERO,
            began: false,
            bodies: vec![Body::default(); plan.containers.len()],
            pods: vec![PodCounts::default(); plan.pods.len()],
            happenings: BTreeMap::new(),
            count: 0,
            turns: 0,
            actions: 0,
            idle_turns: 0,
            seen: BTreeMap::new(),
            witness: Witness::new(Rc::clone(&plan)),
            announcer: script.manager.as_ref().map(|manager| Announcer::new(manager.watchdog)),
            times: Vec::new(),
            timeline: Some(Vec::new()),
            script,
            plan,
        };
        if !world.script.has_no_watchdog {
            world.supervisor.mind_watchdog();
        }
        world.resolve_names()?;
        for at in world.script.supervisor_restarts.clone() {
            world.schedule(at, Happening::SupervisorRestarts);
        }
        for (nth, at) in world.script.stops.clone().into_iter().enumerate() {
            let goal = world.script.goal(nth);
            world.schedule(at, Happening::StopRequest(goal));
        }
        for (index, script) in world.container_scripts.clone().into_iter().enumerate() {
            let id = ContainerId(u16::try_from(index).unwrap_or(u16::MAX));
            for at in script.changes {
                world.schedule(at, Happening::Ends(Event::ContainerChanged(id)));
            }
        }
        Ok(world)
    }

    /// Keeps no timeline and words no report, which takes most of the time of a world.
    #[must_use]
    pub fn without_timeline(self) -> World {
        World { timeline: None, ..self }
    }

    /// The world's time.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// What it is made for.
    pub fn plan(&self) -> &Rc<Plan> {
        &self.plan
    }

    /// The supervisor, with its records.
    pub fn supervisor(&self) -> &Supervisor {
        &self.supervisor
    }

    /// What has happened up to now, in its order. Empty without a timeline.
    pub fn timeline(&self) -> &[Entry] {
        self.timeline.as_deref().unwrap_or_default()
    }

    /// The timeline as text, as the scenarios keep it.
    pub fn log(&self) -> String {
        timeline::log(&self.plan, self.timeline(), self.script.shows_probes)
    }

    /// Which instance of a container its own command runs in, if it runs now.
    pub fn running(&self, id: ContainerId) -> Option<Instance> {
        self.bodies.get(id.index()).filter(|body| body.runs()).map(|body| body.instance)
    }

    /// How a container behaves from now on: for whoever wants to change that on the way. What has
    /// been set going already stays.
    pub fn container_script_mut(&mut self, id: ContainerId) -> Option<&mut ContainerScript> {
        self.container_scripts.get_mut(id.index())
    }

    /// When something happens or is due next. `None`: never.
    pub fn next_time(&self) -> Option<Instant> {
        if !self.began {
            return Some(self.now);
        }
        let happens = self.happenings.keys().next().map(|(at, _)| *at);
        let announcing = self.announcer.as_ref().and_then(Announcer::next_deadline);
        [happens, self.supervisor.next_deadline(), announcing].into_iter().flatten().min()
    }

    /// How it has ended, if it has.
    pub fn exit(&self) -> Option<Exit> {
        if self.began { self.supervisor.exit() } else { None }
    }

    /// Goes to the next time at which something happens or is due, and does all of it. Returns
    /// that time, or `None` if nothing is left to do: then it has ended.
    ///
    /// # Errors
    ///
    /// An invariant is broken.
    pub fn step(&mut self) -> Result<Option<Instant>, Broken> {
        if self.exit().is_some() {
            self.witness.check_end(&self.bodies)?;
            return Ok(None);
        }
        let Some(next) = self.next_time() else {
            let text = "everything sleeps for ever, but pods have not ended".to_owned();
            return Err(Broken::new(Invariant::Progress, text));
        };
        self.turns += 1;
        if self.turns > TURNS_MAX {
            return Err(Broken::new(Invariant::BoundedActions, format!("no end after {TURNS_MAX} turns")));
        }
        self.now = next;
        if !self.began {
            self.began = true;
            self.perform_all()?;
            self.tell_manager();
            self.check_turn()?;
            return Ok(Some(next));
        }
        let actions_before = self.actions;
        let has_events = self.happenings.keys().next().is_some_and(|(at, _)| *at <= next);
        if self.timeline.is_some() {
            self.times.push(next);
        }
        loop {
            // As the loop of the program does: events before deadlines.
            while let Some(entry) = self.happenings.first_entry() {
                if entry.key().0 > self.now {
                    break;
                }
                let happening = entry.remove();
                self.happen(happening)?;
            }
            self.perform_all()?;
            // What failed at once.
            if self.happenings.keys().next().is_none_or(|(at, _)| *at > self.now) {
                break;
            }
        }
        self.tell_manager();
        // The announcer's deadlines are its own affair.
        if has_events || self.actions > actions_before || self.announcer.is_some() {
            self.idle_turns = 0;
        } else {
            self.idle_turns += 1;
            require(Invariant::Progress, self.idle_turns <= IDLE_TURNS_MAX, || {
                format!("{IDLE_TURNS_MAX} deadlines in a row at which nothing was done")
            })?;
        }
        self.check_turn()?;
        Ok(Some(next))
    }

    /// Takes steps until `at`, and stands there: what happens at that time has happened. Returns
    /// how it has ended, if it has.
    ///
    /// # Errors
    ///
    /// An invariant is broken.
    pub fn run_until(&mut self, at: Instant) -> Result<Option<Exit>, Broken> {
        while self.exit().is_none() && self.next_time().is_none_or(|next| next <= at) {
            self.step()?;
        }
        self.now = self.now.max(at);
        Ok(self.exit())
    }

    /// Takes steps until `holds` does, or the next one would be after `limit`. Returns whether it
    /// holds.
    ///
    /// # Errors
    ///
    /// An invariant is broken.
    pub fn run_until_holds(
        &mut self,
        limit: Instant,
        mut holds: impl FnMut(&World) -> bool,
    ) -> Result<bool, Broken> {
        while !holds(self) {
            if self.exit().is_some() || self.next_time().is_some_and(|next| next > limit) {
                return Ok(false);
            }
            self.step()?;
        }
        Ok(true)
    }

    /// Lets the supervisor know of something now, and performs what it wants then.
    ///
    /// # Errors
    ///
    /// An invariant is broken.
    pub fn inject(&mut self, event: Event) -> Result<(), Broken> {
        if !self.began {
            self.step()?;
        }
        if let Event::StopRequested(_) = event {
            self.witness.note_stop_request();
        }
        self.deliver(event)?;
        self.perform_all()?;
        self.tell_manager();
        self.check_turn()
    }

    /// Takes steps to the end, or until the script stops looking.
    ///
    /// # Errors
    ///
    /// An invariant is broken, or an event that the script speaks of has not happened.
    pub fn run(&mut self) -> Result<Option<Exit>, Broken> {
        let until = self.script.until;
        let is_over = |at: Instant| until.is_some_and(|until| at > until);
        while self.exit().is_some() || !self.next_time().is_some_and(is_over) {
            if self.step()?.is_none() {
                break;
            }
        }
        self.check_detours()?;
        Ok(self.exit())
    }
}

// Inside.
impl World {
    fn resolve_names(&mut self) -> Result<(), Broken> {
        for (name, script) in core::mem::take(&mut self.script.pods) {
            let pod = pod_of(&self.plan, &name);
            let pod = pod.ok_or_else(|| Broken::script(format!("there is no pod `{name}`")))?;
            *at_mut(&mut self.pod_scripts, pod.index())? = script;
        }
        let unknown = |name: &str| Broken::script(format!("there is no container `{name}`"));
        for (name, script) in core::mem::take(&mut self.script.containers) {
            let container = container_of(&self.plan, &name).ok_or_else(|| unknown(&name))?;
            *at_mut(&mut self.container_scripts, container.index())? = script;
        }
        for detour in core::mem::take(&mut self.script.detours) {
            let pod = || pod_of(&self.plan, &detour.of).map(Subject::Pod);
            let container = container_of(&self.plan, &detour.of).map(Subject::Container);
            let of = container.or_else(pod).ok_or_else(|| unknown(&detour.of))?;
            self.detours.push((of, detour));
        }
        Ok(())
    }

    /// A detour that no event took tests nothing.
    fn check_detours(&self) -> Result<(), Broken> {
        for (of, detour) in &self.detours {
            let taken = self
                .seen
                .iter()
                .any(|((at, event), count)| at == of && *event == detour.event && *count >= detour.nth);
            if !taken && !self.script.detours_may_be_missed {
                let Detour { of, event, .. } = detour;
                return Err(Broken::script(format!("no event took the detour {event} of {of}")));
            }
        }
        Ok(())
    }

    fn perform_all(&mut self) -> Result<(), Broken> {
        for _ in 0..ACTIONS_MAX {
            let Some(action) = self.supervisor.next_action(self.now) else { return Ok(()) };
            self.actions += 1;
            self.witness.check(&action, &self.bodies, self.now)?;
            match action {
                Action::Report(report) => self.say_report(report),
                Action::SetUpPod(id) => self.set_up(id)?,
                Action::TearDownPod(id) => self.tear_down(id)?,
                Action::Container(id, instance, action) => self.act(id, instance, action)?,
            }
        }
        let text = format!("more than {ACTIONS_MAX} actions at one time");
        Err(Broken::new(Invariant::BoundedActions, text))
    }

    /// At the end of a turn, as `Service::tell` does.
    fn tell_manager(&mut self) {
        let (Some(announcer), Some(manager)) = (&mut self.announcer, &self.script.manager) else { return };
        let Some(message) = announcer.next_message(&self.supervisor, self.now) else { return };
        let text = message.trim_end().replace('\n', " ");
        let lost = manager.deaf_from <= self.now && self.now < manager.deaf_until;
        if lost {
            announcer.note_lost(self.now);
        } else {
            announcer.note_sent(self.now);
        }
        self.say(Subject::World, || What::Told { text, lost });
    }

    fn happen(&mut self, happening: Happening) -> Result<(), Broken> {
        match happening {
            Happening::StopRequest(goal) => {
                self.witness.note_stop_request();
                self.deliver(Event::StopRequested(goal))
            }
            Happening::SupervisorRestarts => self.restart_supervisor(!self.script.loses_volumes),
            Happening::Ends(event) => self.emit(event),
            Happening::Says(id, instance, message) => {
                if !at(&self.bodies, id.index())?.runs_as(instance) {
                    return Ok(());
                }
                let notice = sd_notify::parse(message.as_bytes());
                self.emit(Event::Container(id, instance, ContainerEvent::Notified(notice)))
            }
            Happening::CallReturns(id, number) => self.end_call(id, number),
            Happening::Starts(id, instance) => {
                if at(&self.bodies, id.index())?.runs_as(instance) {
                    self.say(Subject::Container(id), || What::Started);
                }
                Ok(())
            }
            Happening::Dies(id, instance, status) => self.die(id, instance, status),
            Happening::Answers(id, instance, kind, number, outcome) => {
                let try_under_way = at_mut(&mut self.bodies, id.index())?.try_mut(kind);
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
            Happening::HookEnds(id, number, well) => self.end_hook(id, number, well),
            Happening::Arrives(event, late) => {
                self.say(about(&event), || What::Arrives(event_name(&event), late));
                self.deliver(event)
            }
        }
    }

    /// Something has happened that the supervisor is to know.
    fn emit(&mut self, event: Event) -> Result<(), Broken> {
        if self.detours.is_empty() {
            return self.deliver(event);
        }
        let (of, name) = (about(&event), event_name(&event));
        let nth = self.seen.entry((of, name)).or_default();
        *nth += 1;
        let takes = |(at, it): &&(Subject, Detour)| *at == of && it.event == name && it.nth == *nth;
        match self.detours.iter().find(takes).map(|(_, detour)| detour.arrives_after.clone()) {
            None => self.deliver(event),
            Some(arrives_after) => {
                for late in arrives_after {
                    self.schedule(self.now.after(late), Happening::Arrives(event.clone(), late));
                }
                Ok(())
            }
        }
    }

    fn deliver(&mut self, event: Event) -> Result<(), Broken> {
        self.witness.note(&event, &self.bodies, self.now)?;
        self.supervisor.handle(event, self.now);
        if !self.script.tells_together {
            return self.perform_all();
        }
        // Reports are worded from the records, before these change again.
        while let Some(report) = self.supervisor.next_report() {
            self.witness.check(&Action::Report(report), &self.bodies, self.now)?;
            self.say_report(report);
        }
        Ok(())
    }

    fn schedule(&mut self, at: Instant, happening: Happening) {
        self.count += 1;
        self.happenings.insert((at, self.count), happening);
    }

    fn say_report(&mut self, report: Report) {
        if self.timeline.is_some() {
            let text = report.text(&self.supervisor);
            self.say(Subject::World, || What::Reported { report, text });
        }
    }

    fn say(&mut self, of: Subject, what: impl FnOnce() -> What) {
        if let Some(timeline) = &mut self.timeline {
            timeline.push(Entry { at: self.now, of, what: what() });
        }
    }
}

// An id that is in none of the tables belongs to another plan.
fn at<T>(table: &[T], index: usize) -> Result<&T, Broken> {
    table.get(index).ok_or_else(|| foreign(index))
}

fn at_mut<T>(table: &mut [T], index: usize) -> Result<&mut T, Broken> {
    table.get_mut(index).ok_or_else(|| foreign(index))
}

fn foreign(index: usize) -> Broken {
    Broken::new(Invariant::FittingActions, format!("the plan has nothing at position {index}"))
}
