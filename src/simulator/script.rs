//! What `world.toml` says: how containers behave, what fails, when the stop is requested. Its keys
//! are described in `mod.rs`.

use core::time::Duration;
use std::collections::BTreeMap;

use toml::de::{DeTable, DeValue};

use crate::config::parse_duration;
use crate::supervisor::event::Goal;
use crate::supervisor::hook::HookKind;
use crate::supervisor::probe::{Outcome, ProbeKind};
use crate::supervisor::record::ExitStatus;
use crate::time::Instant;

/// How the world of one situation behaves.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// When to stop looking at pods that do not end.
    pub until: Option<Instant>,
    /// When the supervisor is killed and the next one begins.
    pub supervisor_restarts: Vec<Instant>,
    /// Whether no volume outlives the supervisor.
    pub loses_volumes: bool,
    /// When somebody requests the stop.
    pub stops: Vec<Instant>,
    /// What for; the last one is for all further stops.
    pub goals: Vec<Goal>,
    /// Whether no watchdog runs, whatever the machine file says.
    pub has_no_watchdog: bool,
    /// Whether the log has a line for each try of a probe.
    pub shows_probes: bool,
    /// The service manager that is told what goes on, if there is one.
    pub manager: Option<Manager>,
    /// How pods behave, by their name.
    pub pods: BTreeMap<String, PodScript>,
    /// How containers behave, by `<pod>/<container>`.
    pub containers: BTreeMap<String, ContainerScript>,
    /// Events that take their time.
    pub detours: Vec<Detour>,
    /// Whether such an event need not happen at all.
    pub detours_may_be_missed: bool,
    /// Whether all that happens at one time is told before anything is decided, as the program's
    /// loop does. Else something is decided after each event.
    pub tells_together: bool,
}

/// A service manager that is told what goes on.
#[derive(Clone, Debug, Default)]
pub struct Manager {
    /// The silence after which it would end us.
    pub watchdog: Option<Duration>,
    /// Between these two it loses what it is told.
    pub deaf_from: Instant,
    /// See `deaf_from`.
    pub deaf_until: Instant,
}

/// How a pod's volumes and network behave.
#[derive(Clone, Debug)]
pub struct PodScript {
    /// Duration of the set-up.
    pub set_up_takes: Duration,
    /// Set-ups that fail until one works.
    pub set_up_fails: u32,
    /// Tear-downs that fail until one works.
    pub tear_down_fails: u32,
}

/// How a container and the calls of the runtime for it behave.
#[derive(Clone, Debug)]
pub struct ContainerScript {
    /// Duration of the runtime's `create`.
    pub create_takes: Duration,
    /// Creates that fail until one works.
    pub create_fails: u32,
    /// Creates that hang until they are killed.
    pub create_hangs: u32,
    /// Duration of the runtime's `start`.
    pub start_takes: Duration,
    /// Starts that fail until one works.
    pub start_fails: u32,
    /// Starts that hang until they are killed.
    pub start_hangs: u32,
    /// How each `create` goes, one by one; those beyond go as the counts above say.
    pub creates: Vec<CallResult>,
    /// How each `start` goes.
    pub starts: Vec<CallResult>,
    /// How each removal goes.
    pub removals: Vec<CallResult>,
    /// Times that the first process is gone as soon as `create` has returned.
    pub dies_in_create: u32,
    /// Times that the first process ends just before `start` returns.
    pub dies_in_start: u32,
    /// Duration of the removal.
    pub removal_takes: Duration,
    /// Removals that fail until one works.
    pub removal_fails: u32,
    /// Removals that hang until they are killed.
    pub removal_hangs: u32,
    /// One for each run, the last for all further ones. `None`: for ever.
    pub runs: Option<Vec<Option<Duration>>>,
    /// How long its command runs until it says that it has started.
    pub start_delay: Duration,
    /// How it ends then; one for each run, the last for all further ones.
    pub exits: Vec<ExitStatus>,
    /// One for each run, the last for all further ones.
    pub oom_killed: Vec<bool>,
    /// How long its command must have run for that; one for each run, the last for all further ones.
    pub oom_from: Vec<Duration>,
    /// The termination message that each run leaves; empty for none.
    pub message: String,
    /// Whether only SIGKILL ends it.
    pub ignores_sigterm: bool,
    /// Time from the stop signal to its end.
    pub stops_after: Duration,
    /// How it ends after the stop signal.
    pub stops_with: ExitStatus,
    /// Time from SIGKILL to its end.
    pub killed_after: Duration,
    /// Whether not even SIGKILL ends it.
    pub unkillable: bool,
    /// When its configuration changes.
    pub changes: Vec<Instant>,
    /// Answers to its startup probe.
    pub startup: Answers,
    /// Answers to its liveness probe.
    pub liveness: Answers,
    /// Answers to its readiness probe.
    pub readiness: Answers,
    /// What it says of itself (sd_notify(3)), for each run: how long after its start, and what.
    pub says: Vec<Vec<(Duration, String)>>,
    /// Its post-start hook, if that is no sleep; one for each run, the last for all further ones.
    pub post_start: Vec<HookScript>,
    /// The same of its pre-stop hook.
    pub pre_stop: Vec<HookScript>,
}

/// How a hook goes that is no sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HookScript {
    /// How long it takes. `None`: it never ends by itself.
    pub takes: Option<Duration>,
    /// Whether it fails then.
    pub fails: bool,
}

/// How a call of the runtime goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallResult {
    /// It does what it should.
    Works,
    /// It fails after its time.
    Fails,
    /// It cannot even be made.
    FailsAtOnce,
    /// It lasts until it is killed, and has failed then.
    Hangs,
    /// It lasts until it is killed, and has done its work by then.
    OutrunsKill,
}

/// For each run, the last for all further ones: from which age on a probe gets which answer.
pub type Answers = Vec<Vec<(Duration, Answer)>>;

/// What a container answers when it is probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// This, after a millisecond.
    Is(Outcome),
    /// Nothing, until the try is cancelled.
    Never,
}

/// An event that does not arrive at once, or not once.
#[derive(Clone, Debug)]
pub struct Detour {
    /// The pod (`demo`) or container (`demo/app`) that the event is about.
    pub of: String,
    /// Which event, as `event_name` writes it.
    pub event: String,
    /// Which of these, from 1.
    pub nth: u32,
    /// When it arrives, after it has happened; each of them is one arrival.
    pub arrives_after: Vec<Duration>,
}

impl Default for PodScript {
    fn default() -> PodScript {
        PodScript { set_up_takes: millis(1), set_up_fails: 0, tear_down_fails: 0 }
    }
}

impl Default for ContainerScript {
    fn default() -> ContainerScript {
        ContainerScript {
            create_takes: millis(20),
            create_fails: 0,
            create_hangs: 0,
            start_takes: millis(5),
            start_fails: 0,
            start_hangs: 0,
            dies_in_start: 0,
            removal_takes: millis(10),
            removal_fails: 0,
            removal_hangs: 0,
            creates: Vec::new(),
            starts: Vec::new(),
            removals: Vec::new(),
            dies_in_create: 0,
            runs: None,
            start_delay: Duration::ZERO,
            exits: vec![ExitStatus::Code(0)],
            oom_killed: vec![false],
            oom_from: vec![Duration::ZERO],
            message: String::new(),
            ignores_sigterm: false,
            stops_after: millis(100),
            stops_with: ExitStatus::Code(0),
            killed_after: millis(1),
            unkillable: false,
            changes: Vec::new(),
            startup: Vec::new(),
            liveness: Vec::new(),
            readiness: Vec::new(),
            says: Vec::new(),
            post_start: vec![HookScript { takes: Some(millis(1)), fails: false }],
            pre_stop: vec![HookScript { takes: Some(millis(1)), fails: false }],
        }
    }
}

impl Script {
    /// What the stop number `nth` (from 0) is for.
    pub(super) fn goal(&self, nth: usize) -> Goal {
        self.goals.get(nth).or(self.goals.last()).copied().unwrap_or_default()
    }
}

impl ContainerScript {
    /// How the create number `nth` (from 1) goes.
    pub(super) fn create(&self, nth: u32) -> CallResult {
        result(&self.creates, nth, self.create_hangs, self.create_fails)
    }

    /// How the start number `nth` (from 1) goes.
    pub(super) fn start(&self, nth: u32) -> CallResult {
        result(&self.starts, nth, self.start_hangs, self.start_fails)
    }

    /// How the removal number `nth` (from 1) goes.
    pub(super) fn removal(&self, nth: u32) -> CallResult {
        result(&self.removals, nth, self.removal_hangs, self.removal_fails)
    }

    /// How a hook goes in run number `run` (from 0).
    pub(super) fn hook(&self, kind: HookKind, run: usize) -> HookScript {
        let series = match kind {
            HookKind::PostStart => &self.post_start,
            HookKind::PreStop => &self.pre_stop,
        };
        in_run(series, run).unwrap_or(HookScript { takes: Some(millis(1)), fails: false })
    }

    /// What a probe is answered in run number `run` (from 0) that has lasted `age`.
    pub(super) fn answer(&self, kind: ProbeKind, run: usize, age: Duration) -> Answer {
        let answers = match kind {
            ProbeKind::Startup => &self.startup,
            ProbeKind::Liveness => &self.liveness,
            ProbeKind::Readiness => &self.readiness,
        };
        let answers = answers.get(run).or(answers.last()).map_or(&[][..], Vec::as_slice);
        let answer = answers.iter().rev().find(|(from, _)| *from <= age);
        answer.map_or(Answer::Is(Outcome::Success), |(_, answer)| *answer)
    }
}

fn result(results: &[CallResult], nth: u32, hangs: u32, fails: u32) -> CallResult {
    let position = usize::try_from(nth.saturating_sub(1)).unwrap_or(usize::MAX);
    match results.get(position) {
        Some(result) => *result,
        None if nth <= hangs => CallResult::Hangs,
        None if nth <= fails => CallResult::Fails,
        None => CallResult::Works,
    }
}

/// The element for run number `run`; the last one is for all further runs.
pub(super) fn in_run<T: Copy>(series: &[T], run: usize) -> Option<T> {
    series.get(run).or(series.last()).copied()
}

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

impl Script {
    /// Reads a `world.toml`.
    ///
    /// # Errors
    ///
    /// The first mistake in it, in words.
    pub fn parse(text: &str) -> Result<Script, String> {
        let document = DeTable::parse(text).map_err(|error| error.to_string())?;
        let mut table = Keys::new("world.toml", document.get_ref());
        let mut script = Script {
            until: table.duration("until")?.map(|it| Instant::ZERO.after(it)),
            has_no_watchdog: table.flag("has-no-watchdog")?,
            shows_probes: table.flag("shows-probes")?,
            tells_together: table.flag("tells-together")?,
            ..Script::default()
        };
        let restarts = table.durations("supervisor-restarts")?.unwrap_or_default();
        script.supervisor_restarts = restarts.into_iter().map(|it| Instant::ZERO.after(it)).collect();
        script.loses_volumes = table.flag("loses-volumes")?;
        let stops = table.durations("stops")?.unwrap_or_default();
        script.stops = stops.into_iter().map(|it| Instant::ZERO.after(it)).collect();
        script.goals = table.each("goals", goal)?.unwrap_or_default();
        script.manager = table.table("manager")?.map(read_manager).transpose()?;
        for (name, keys) in table.tables("pods")? {
            script.pods.insert(name, read_pod(keys)?);
        }
        for (name, keys) in table.tables("containers")? {
            script.containers.insert(name, read_container(keys)?);
        }
        for value in table.list("events")?.unwrap_or_default() {
            let DeValue::Table(event) = value else { return Err("`events` are tables".to_owned()) };
            script.detours.push(read_detour(Keys::new("events", event))?);
        }
        table.finish()?;
        Ok(script)
    }
}

fn read_manager(mut keys: Keys) -> Result<Manager, String> {
    let at = |it: Option<Duration>| Instant::ZERO.after(it.unwrap_or_default());
    let manager = Manager {
        watchdog: keys.duration("watchdog")?,
        deaf_from: at(keys.duration("deaf-from")?),
        deaf_until: at(keys.duration("deaf-until")?),
    };
    keys.finish()?;
    Ok(manager)
}

fn read_pod(mut keys: Keys) -> Result<PodScript, String> {
    let default = PodScript::default();
    let pod = PodScript {
        set_up_takes: keys.duration("set-up-takes")?.unwrap_or(default.set_up_takes),
        set_up_fails: keys.times("set-up-fails")?,
        tear_down_fails: keys.times("tear-down-fails")?,
    };
    keys.finish()?;
    Ok(pod)
}

fn read_container(mut keys: Keys) -> Result<ContainerScript, String> {
    let default = ContainerScript::default();
    let container = ContainerScript {
        create_takes: keys.duration("create-takes")?.unwrap_or(default.create_takes),
        create_fails: keys.times("create-fails")?,
        create_hangs: keys.times("create-hangs")?,
        start_takes: keys.duration("start-takes")?.unwrap_or(default.start_takes),
        start_fails: keys.times("start-fails")?,
        start_hangs: keys.times("start-hangs")?,
        dies_in_start: keys.times("dies-in-start")?,
        removal_takes: keys.duration("removal-takes")?.unwrap_or(default.removal_takes),
        removal_fails: keys.times("removal-fails")?,
        removal_hangs: keys.times("removal-hangs")?,
        creates: keys.each("creates", call_result)?.unwrap_or_default(),
        starts: keys.each("starts", call_result)?.unwrap_or_default(),
        removals: keys.each("removals", call_result)?.unwrap_or_default(),
        dies_in_create: keys.times("dies-in-create")?,
        runs: keys.each("runs", |text| match text {
            "forever" => Ok(None),
            _ => duration(text).map(Some),
        })?,
        start_delay: keys.duration("start-delay")?.unwrap_or(default.start_delay),
        exits: keys.each("exits", status)?.unwrap_or(default.exits),
        oom_killed: keys.flags("oom-killed")?.unwrap_or(default.oom_killed),
        oom_from: keys.durations("oom-from")?.unwrap_or(default.oom_from),
        message: keys.text("message")?.unwrap_or_default(),
        ignores_sigterm: keys.flag("ignores-sigterm")?,
        stops_after: keys.duration("stops-after")?.unwrap_or(default.stops_after),
        stops_with: keys.text("stops-with")?.map_or(Ok(default.stops_with), |text| status(&text))?,
        killed_after: keys.duration("killed-after")?.unwrap_or(default.killed_after),
        unkillable: keys.flag("unkillable")?,
        changes: keys
            .durations("changes")?
            .unwrap_or_default()
            .into_iter()
            .map(|it| Instant::ZERO.after(it))
            .collect(),
        startup: keys.answers("startup")?,
        liveness: keys.answers("liveness")?,
        readiness: keys.answers("readiness")?,
        says: keys.messages("says")?,
        post_start: keys.each("post-start", hook)?.unwrap_or(default.post_start),
        pre_stop: keys.each("pre-stop", hook)?.unwrap_or(default.pre_stop),
    };
    keys.finish()?;
    Ok(container)
}

fn read_detour(mut keys: Keys) -> Result<Detour, String> {
    let needed = |text: Option<String>, key: &str| text.ok_or(format!("events: `{key}` is missing"));
    let detour = Detour {
        of: needed(keys.text("of")?, "of")?,
        event: needed(keys.text("event")?, "event")?,
        nth: keys.times("nth")?.max(1),
        arrives_after: keys.durations("arrives-after")?.ok_or("events: `arrives-after` is missing")?,
    };
    keys.finish()?;
    Ok(detour)
}

/// The keys of one table, taken one by one; what is left over in the end is a mistake.
struct Keys<'a> {
    place: String,
    values: BTreeMap<&'a str, &'a DeValue<'a>>,
}

impl<'a> Keys<'a> {
    fn new(place: &str, table: &'a DeTable<'a>) -> Keys<'a> {
        let values = table.iter().map(|(key, value)| (&**key.get_ref(), value.get_ref())).collect();
        Keys { place: place.to_owned(), values }
    }

    fn finish(self) -> Result<(), String> {
        match self.values.keys().next() {
            Some(key) => Err(format!("{}: unknown key `{key}`", self.place)),
            None => Ok(()),
        }
    }

    fn wrong<T>(&self, key: &str, what: &str) -> Result<T, String> {
        Err(format!("{}: `{key}`: {what}", self.place))
    }

    fn flag(&mut self, key: &str) -> Result<bool, String> {
        match self.values.remove(key) {
            None => Ok(false),
            Some(DeValue::Boolean(flag)) => Ok(*flag),
            Some(_) => self.wrong(key, "not a boolean"),
        }
    }

    /// A list, or one boolean without brackets.
    fn flags(&mut self, key: &str) -> Result<Option<Vec<bool>>, String> {
        let Some(list) = self.list(key)? else { return Ok(None) };
        let flags: Option<Vec<bool>> = list.iter().map(|value| value.as_bool()).collect();
        match flags {
            Some(flags) if !flags.is_empty() => Ok(Some(flags)),
            Some(_) | None => self.wrong(key, "neither a boolean nor a list of them"),
        }
    }

    /// A number, or "always".
    fn times(&mut self, key: &str) -> Result<u32, String> {
        match self.text(key)?.as_deref() {
            None => Ok(0),
            Some("always") => Ok(u32::MAX),
            Some(text) => text.parse().or_else(|_| self.wrong(key, "neither a number nor \"always\"")),
        }
    }

    fn text(&mut self, key: &str) -> Result<Option<String>, String> {
        let Some(value) = self.values.remove(key) else { return Ok(None) };
        match scalar(value) {
            Some(text) => Ok(Some(text)),
            None => self.wrong(key, "neither a text nor a number"),
        }
    }

    fn duration(&mut self, key: &str) -> Result<Option<Duration>, String> {
        self.text(key)?.map(|text| duration(&text)).transpose()
    }

    fn durations(&mut self, key: &str) -> Result<Option<Vec<Duration>>, String> {
        self.each(key, duration)
    }

    fn list(&mut self, key: &str) -> Result<Option<Vec<&'a DeValue<'a>>>, String> {
        match self.values.remove(key) {
            None => Ok(None),
            Some(DeValue::Array(array)) => Ok(Some(array.iter().map(|value| value.get_ref()).collect())),
            Some(value) => Ok(Some(vec![value])),
        }
    }

    /// A list, or one element without brackets.
    fn each<T>(
        &mut self,
        key: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<Vec<T>>, String> {
        let Some(list) = self.list(key)? else { return Ok(None) };
        let mut read_all = Vec::new();
        for value in list {
            let Some(text) = scalar(value) else { return self.wrong(key, "a list in a list") };
            read_all.push(read(&text).or_else(|error| self.wrong(key, &error))?);
        }
        if read_all.is_empty() { self.wrong(key, "an empty list") } else { Ok(Some(read_all)) }
    }

    fn answers(&mut self, key: &str) -> Result<Answers, String> {
        let mut runs = Vec::new();
        for value in self.list(key)?.unwrap_or_default() {
            let Some(text) = scalar(value) else { return self.wrong(key, "not a text") };
            let answers: Result<_, String> = text.split(", ").map(answer).collect();
            runs.push(answers.or_else(|error| self.wrong(key, &error))?);
        }
        Ok(runs)
    }

    /// "READY=1 at 2s, WATCHDOG=1 at 3s", for each run.
    fn messages(&mut self, key: &str) -> Result<Vec<Vec<(Duration, String)>>, String> {
        let mut runs = Vec::new();
        let read = |part: &str| {
            let (message, at) = part.rsplit_once(" at ").ok_or(format!("`{part}` has no time"))?;
            Ok((duration(at)?, message.to_owned()))
        };
        for value in self.list(key)?.unwrap_or_default() {
            let Some(text) = scalar(value) else { return self.wrong(key, "not a text") };
            let messages = text.split(", ").filter(|part| !part.is_empty()).map(read);
            let messages: Result<_, String> = messages.collect();
            runs.push(messages.or_else(|error| self.wrong(key, &error))?);
        }
        Ok(runs)
    }

    fn table(&mut self, key: &str) -> Result<Option<Keys<'a>>, String> {
        match self.values.remove(key) {
            None => Ok(None),
            Some(DeValue::Table(table)) => Ok(Some(Keys::new(key, table))),
            Some(_) => self.wrong(key, "not a table"),
        }
    }

    fn tables(&mut self, key: &str) -> Result<Vec<(String, Keys<'a>)>, String> {
        let mut tables = Vec::new();
        let table = match self.values.remove(key) {
            None => return Ok(tables),
            Some(DeValue::Table(table)) => table,
            Some(_) => return self.wrong(key, "not a table"),
        };
        for (name, value) in table.iter() {
            let DeValue::Table(table) = value.get_ref() else { return self.wrong(key, "not a table") };
            tables.push((name.get_ref().to_string(), Keys::new(name.get_ref(), table)));
        }
        Ok(tables)
    }
}

fn scalar(value: &DeValue) -> Option<String> {
    if let DeValue::Integer(number) = value {
        return Some(number.as_str().to_owned());
    }
    value.as_str().map(str::to_owned)
}

/// "1.5s", "20ms", "10m".
fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|reason| format!("`{text}` is not a duration: {reason}"))
}

/// An exit code, "signal 11", or "unknown".
fn status(text: &str) -> Result<ExitStatus, String> {
    let number = |text: &str| text.parse().map_err(|_| format!("`{text}` is not 0 to 255"));
    match text.strip_prefix("signal ") {
        Some(signal) => number(signal).map(ExitStatus::Signal),
        None if text == "unknown" => Ok(ExitStatus::Unknown),
        None => number(text).map(ExitStatus::Code),
    }
}

fn call_result(text: &str) -> Result<CallResult, String> {
    Ok(match text {
        "works" => CallResult::Works,
        "fails" => CallResult::Fails,
        "fails-at-once" => CallResult::FailsAtOnce,
        "hangs" => CallResult::Hangs,
        "outruns-kill" => CallResult::OutrunsKill,
        _ => return Err(format!("`{text}` is not how a call goes")),
    })
}

fn goal(text: &str) -> Result<Goal, String> {
    let all = [Goal::Exit, Goal::PowerOff, Goal::Halt, Goal::Reboot, Goal::Rescue];
    all.into_iter().find(|goal| goal.name() == text).ok_or(format!("`{text}` is no goal"))
}

/// "1s", "fails after 1s", "never".
fn hook(text: &str) -> Result<HookScript, String> {
    match text.strip_prefix("fails after ") {
        Some(takes) => Ok(HookScript { takes: Some(duration(takes)?), fails: true }),
        None if text == "never" => Ok(HookScript { takes: None, fails: false }),
        None => Ok(HookScript { takes: Some(duration(text)?), fails: false }),
    }
}

/// "no" (from the beginning on), "yes from 3s".
fn answer(text: &str) -> Result<(Duration, Answer), String> {
    let (word, from) = text.split_once(" from ").unwrap_or((text, "0s"));
    let answer = match word {
        "yes" => Answer::Is(Outcome::Success),
        "no" => Answer::Is(Outcome::Failure),
        "cannot" => Answer::Is(Outcome::Error),
        "warns" => Answer::Is(Outcome::Warning),
        "never" => Answer::Never,
        _ => return Err(format!("`{word}` is not yes, no, never, warns or cannot")),
    };
    Ok((duration(from)?, answer))
}
