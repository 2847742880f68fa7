//! Who plays what: from the assumptions of a user to the script of a world.

use core::time::Duration;
use std::rc::Rc;

use super::assumption::{Assumption, Whose, hint};
use super::path;
use super::script::{Answer, Answers, ContainerScript, PodScript, Script};
use crate::config::plan::{Container, ContainerId, Plan, Role};
use crate::config::{nearest, write_duration};
use crate::supervisor::probe::{Outcome, ProbeKind};
use crate::supervisor::record::ExitStatus;
use crate::time::Instant;

/// How long an init container's command runs of which nothing else is assumed.
const INIT_RUNS: Duration = Duration::from_secs(1);

/// How often the stop can be requested: a third request changes nothing.
const STOPS_MAX: usize = 2;

/// A plan with all that is assumed of it.
#[derive(Clone, Debug)]
pub struct Cast {
    /// Who plays.
    pub plan: Rc<Plan>,
    /// What they play.
    pub script: Script,
    /// What was assumed on the command line.
    pub assumptions: Vec<Assumption>,
}

/// Makes the script.
///
/// # Errors
///
/// All assumptions that cannot apply, one line each.
pub fn cast(plan: Rc<Plan>, assumptions: Vec<Assumption>) -> Result<Cast, Vec<String>> {
    let mut plan = Rc::unwrap_or_clone(plan);
    for notify in plan.containers.iter_mut().filter_map(|container| container.probes.notify.as_mut()) {
        // It says in time that it is well, for as long as it lives.
        notify.watchdog_timeout = None;
    }
    let plan = Rc::new(plan);
    let mut parts: Vec<Part> = plan.containers.iter().map(|_| Part::default()).collect();
    let mut stops = Vec::new();
    let mut mistakes = Vec::new();
    for assumption in &assumptions {
        let noted = match assumption {
            Assumption::Stop { .. } if stops.len() == STOPS_MAX => {
                Err("the second stop shortens the first, and a third changes nothing".to_owned())
            }
            Assumption::Stop { at } => {
                stops.push(Instant::ZERO.after(*at));
                Ok(())
            }
            Assumption::Exit { .. }
            | Assumption::Ready { .. }
            | Assumption::FailProbe { .. }
            | Assumption::IgnoreSigterm { .. }
            | Assumption::StopTakes { .. }
            | Assumption::Oom { .. } => note(&plan, &mut parts, assumption),
        };
        mistakes.extend(noted.err().map(|mistake| format!("`{assumption}`: {mistake}")));
    }
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    stops.sort_unstable();
    let mut script = Script { stops, ..Script::default() };
    for (index, (container, part)) in plan.containers.iter().zip(parts).enumerate() {
        let id = ContainerId(u16::try_from(index).unwrap_or(u16::MAX));
        script.containers.insert(path(&plan, id), part.script(container));
    }
    Ok(Cast { plan, script, assumptions })
}

/// How a run ends by itself, if it does.
type OwnEnd = Option<(ExitStatus, Duration, bool)>;

/// From when on, and until when.
type Span = (Duration, Option<Duration>);

/// What is assumed of one container.
#[derive(Clone, Debug, Default)]
struct Part {
    ends: Vec<(Option<usize>, OwnEnd)>,
    failures: Vec<(Option<usize>, ProbeKind, Span)>,
    /// From when on it is ready, where that was said.
    ready: Vec<(Option<usize>, Duration)>,
    ignores_sigterm: bool,
    stop_takes: Option<Duration>,
}

fn note(plan: &Plan, parts: &mut [Part], assumption: &Assumption) -> Result<(), String> {
    let Some(of) = assumption.whose() else { return Ok(()) };
    let index = find(plan, of)?;
    let (Some(container), Some(part)) = (plan.containers.get(index), parts.get_mut(index)) else {
        return Ok(());
    };
    match assumption {
        Assumption::Exit { end, .. } => {
            let end = end.map(|(status, after)| (status, after, false));
            part.note_end(of, end)
        }
        Assumption::Oom { after, .. } => part.note_end(of, Some((ExitStatus::Signal(9), *after, true))),
        Assumption::Ready { from, .. } => {
            let gates = [ProbeKind::Startup, ProbeKind::Readiness];
            let failures = gates.into_iter().filter(|kind| kind.of(&container.probes).is_some());
            let before = part.failures.len();
            part.failures.extend(failures.map(|kind| (of.run, kind, (Duration::ZERO, Some(*from)))));
            part.ready.push((of.run, *from));
            if part.failures.len() == before && container.probes.notify.is_none() {
                let text = "it has neither a startup nor a readiness probe, and is ready as soon as it runs";
                let init = "it is an init container, which has no probes; see `--exit`";
                return Err(if container.role == Role::Init { init } else { text }.to_owned());
            }
            Ok(())
        }
        Assumption::FailProbe { kind, from, until, .. } => {
            if kind.of(&container.probes).is_none() {
                return Err(format!("it has no {} probe{}", kind.name(), probes_of(container)));
            }
            part.failures.push((of.run, *kind, (*from, *until)));
            Ok(())
        }
        Assumption::IgnoreSigterm { .. } => {
            if part.stop_takes.is_some() {
                return Err("`--stop-takes` says that SIGTERM ends it".to_owned());
            }
            part.ignores_sigterm = true;
            Ok(())
        }
        Assumption::StopTakes { takes, .. } => {
            if part.ignores_sigterm {
                return Err("`--ignore-sigterm` says that SIGTERM does not end it".to_owned());
            }
            if part.stop_takes.is_some() {
                return Err("that was said already, with another value".to_owned());
            }
            part.stop_takes = Some(*takes);
            Ok(())
        }
        Assumption::Stop { .. } => Ok(()),
    }
}

fn find(plan: &Plan, of: &Whose) -> Result<usize, String> {
    let paths: Vec<String> = (0..plan.containers.len())
        .map(|index| path(plan, ContainerId(u16::try_from(index).unwrap_or(u16::MAX))))
        .collect();
    let has_pod = of.container.contains('/');
    let is_it = |index: &usize| {
        let name = plan.containers.get(*index).map(|container| container.name.as_str());
        if has_pod { paths.get(*index) == Some(&of.container) } else { name == Some(of.container.as_str()) }
    };
    let found: Vec<usize> = (0..paths.len()).filter(is_it).collect();
    match found[..] {
        [index] => Ok(index),
        [] => {
            let known: Vec<&str> = if has_pod {
                paths.iter().map(String::as_str).collect()
            } else {
                plan.containers.iter().map(|container| container.name.as_str()).collect()
            };
            Err(format!("there is no container `{}`{}", of.container, hint(nearest(&of.container, &known))))
        }
        _ => {
            let all: Vec<&str> =
                found.iter().filter_map(|index| paths.get(*index)).map(String::as_str).collect();
            Err(format!("several pods have a container `{}`: write {}", of.container, all.join(" or ")))
        }
    }
}

fn probes_of(container: &Container) -> String {
    let kinds = ProbeKind::ALL.into_iter().filter(|kind| kind.of(&container.probes).is_some());
    let names: Vec<&str> = kinds.map(ProbeKind::name).collect();
    if names.is_empty() { ", and no other".to_owned() } else { format!(", only {}", names.join(" and ")) }
}

impl Part {
    fn note_end(&mut self, of: &Whose, end: OwnEnd) -> Result<(), String> {
        if self.ends.iter().any(|(run, _)| *run == of.run) {
            return Err(match of.run {
                Some(run) => format!("how run {run} ends was said already"),
                None => "how it ends was said already; name single runs with #1, #2".to_owned(),
            });
        }
        self.ends.push((of.run, end));
        Ok(())
    }

    fn script(self, container: &Container) -> ContainerScript {
        let default = ContainerScript::default();
        let usual = match container.role {
            Role::Init => Some((ExitStatus::Code(0), INIT_RUNS, false)),
            Role::Sidecar | Role::Main => None,
        };
        let ends = each_run(self.ends.iter().map(|(run, _)| *run), |run| {
            let said = |of: Option<usize>| self.ends.iter().find(|(it, _)| *it == of).map(|(_, end)| *end);
            run.and_then(|run| said(Some(run))).or_else(|| said(None)).unwrap_or(usual)
        });
        let after = |end: &OwnEnd| end.map(|(_, after, _)| after);
        ContainerScript {
            runs: Some(ends.iter().map(after).collect()),
            exits: ends.iter().map(|end| end.map_or(ExitStatus::Code(0), |(status, ..)| status)).collect(),
            oom_killed: ends.iter().map(|end| end.is_some_and(|(.., oom)| oom)).collect(),
            oom_from: ends.iter().map(|end| after(end).unwrap_or_default()).collect(),
            ignores_sigterm: self.ignores_sigterm,
            stops_after: self.stop_takes.unwrap_or(default.stops_after),
            startup: self.answers(ProbeKind::Startup),
            liveness: self.answers(ProbeKind::Liveness),
            readiness: self.answers(ProbeKind::Readiness),
            says: if container.probes.notify.is_some() { self.says() } else { Vec::new() },
            ..default
        }
    }

    /// Of a container that has to say itself that it is ready.
    fn says(&self) -> Vec<Vec<(Duration, String)>> {
        each_run(self.ready.iter().map(|(run, _)| *run), |run| {
            let times = self.ready.iter().filter(|(of, _)| of.is_none() || *of == run);
            let at = times.map(|(_, at)| *at).max().unwrap_or_default();
            vec![(at, "READY=1".to_owned())]
        })
    }

    fn answers(&self, kind: ProbeKind) -> Answers {
        let failures: Vec<(Option<usize>, Span)> = self
            .failures
            .iter()
            .filter(|(_, it, _)| *it == kind)
            .map(|(run, _, span)| (*run, *span))
            .collect();
        if failures.is_empty() {
            return Answers::new();
        }
        each_run(failures.iter().map(|(run, _)| *run), |run| {
            let spans: Vec<Span> =
                failures.iter().filter(|(of, _)| of.is_none() || *of == run).map(|(_, span)| *span).collect();
            let mut bounds = vec![Duration::ZERO];
            bounds.extend(spans.iter().flat_map(|(from, until)| [Some(*from), *until]).flatten());
            bounds.sort_unstable();
            bounds.dedup();
            let answer = |at: Duration| {
                let fails =
                    spans.iter().any(|(from, until)| *from <= at && until.is_none_or(|until| at < until));
                Answer::Is(if fails { Outcome::Failure } else { Outcome::Success })
            };
            bounds.into_iter().map(|at| (at, answer(at))).collect()
        })
    }
}

/// One element for each run up to the last that is named, and one for all further ones.
fn each_run<T>(named: impl Iterator<Item = Option<usize>>, element: impl Fn(Option<usize>) -> T) -> Vec<T> {
    let last = named.flatten().max().unwrap_or(0);
    (1..=last).map(Some).chain([None]).map(element).collect()
}

impl Cast {
    /// What holds where nothing else was assumed, in sentences.
    pub fn defaults(&self) -> [String; 2] {
        let (container, pod) = (ContainerScript::default(), PodScript::default());
        [
            format!(
                "set-up takes {}, create {}, start {}, stop {}, removal {}",
                write_duration(pod.set_up_takes),
                write_duration(container.create_takes),
                write_duration(container.start_takes),
                write_duration(container.stops_after),
                write_duration(container.removal_takes)
            ),
            format!(
                "init containers exit with 0 after {}, others run for ever; probes succeed",
                write_duration(INIT_RUNS)
            ),
        ]
    }
}
