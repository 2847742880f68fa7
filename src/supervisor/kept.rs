//! What is kept of a pod beyond the end of its supervisor, so that the next one goes on instead of
//! beginning anew: how often each container was started, and how those have ended that have.
//!
//! The containers themselves do not outlive their supervisor; the next one ends what is left of
//! them. Their pod does, as long as its volumes are there: then init containers that have
//! succeeded are not run again. Pauses and probes begin anew, as with a kubelet that was started
//! again.
//!
//! As text, one container a line. A file that is not whole, or about something else, says nothing.

use core::fmt::Write;

use super::Supervisor;
use super::pod::PodView;
use super::policy::Policy;
use super::record::{Cause, End, Exit, ExitStatus, Instance, Record, State, Termination};
use super::report::Report;
use crate::config::difference;
use crate::config::plan::{Plan, PodId, RestartPolicy, Role};
use crate::time::Instant;

/// The first line. Another version is another line.
const HEADER: &str = "outrigger pod 1";

/// What is kept of one container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Its restarts.
    pub restarts: u32,
    /// Whether an instance with that count was created and may have run.
    pub ran: bool,
    /// How that has ended, if it has.
    pub exit: Option<Exit>,
}

impl Kept {
    fn of(record: &Record) -> Kept {
        let exit = match record.state.end().map(|end| end.cause) {
            Some(Cause::Exit { exit, .. }) => Some(exit),
            Some(Cause::StartFailed | Cause::MayHaveRun | Cause::NeverRan | Cause::LeftBehind) | None => None,
        };
        // After a restart of all containers its next start counts as one.
        let again = record.state == State::Absent && record.former.is_some_and(End::ran);
        let ran = record.state.is_active() || exit.is_some() || again;
        Kept { restarts: record.restarts, ran, exit }
    }
}

/// What is to be kept of a pod, in start order of its containers. None of a pod that has begun
/// nothing, or of which nothing is left.
pub fn keep<'a>(view: &PodView<'a>) -> Option<impl Iterator<Item = Kept> + Clone + use<'a>> {
    let begun = view
        .members()
        .any(|member| member.record.instance != Instance::default() || member.record.restarts > 0);
    (begun && !view.record.is_ended()).then(|| view.members().map(|member| Kept::of(member.record)))
}

/// A pod's file. `boot`: which boot of the machine this is, in one word.
pub fn write(plan: &Plan, id: PodId, kept: &[Kept], boot: &str) -> String {
    let mut text = String::new();
    // Writing into a String cannot fail.
    let _ = writeln!(text, "{HEADER}\nboot {boot}\nconfiguration {:016x}", fingerprint(plan, id));
    for Kept { restarts, ran, exit } in kept {
        let _ = write!(text, "container {restarts} {}", if *ran { "ran" } else { "new" });
        if let Some(exit) = exit {
            let _ = match exit.status {
                ExitStatus::Code(code) => write!(text, " code {code}"),
                ExitStatus::Signal(signal) => write!(text, " signal {signal}"),
                ExitStatus::Unknown => write!(text, " unknown 0"),
            };
            text.push_str(if exit.oom_killed { " oom" } else { "" });
        }
        text.push('\n');
    }
    let sum = difference::fnv(text.as_bytes());
    let _ = writeln!(text, "end {sum:016x}");
    text
}

/// Why a file says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// It is not whole, or of another program or version.
    Malformed,
    /// The machine was booted since.
    OtherBoot,
    /// The pod is not the same any more.
    OtherConfiguration,
}

impl Unusable {
    /// The same in words.
    pub fn name(self) -> &'static str {
        match self {
            Unusable::Malformed => "it is damaged, or was written by another version",
            Unusable::OtherBoot => "the machine was booted since",
            Unusable::OtherConfiguration => "its configuration has changed",
        }
    }
}

/// What a pod's file says, for each of its containers.
pub fn read(text: &str, plan: &Plan, id: PodId, boot: &str) -> Result<Vec<Kept>, Unusable> {
    let broken = Unusable::Malformed;
    let (body, sum) = text.strip_suffix('\n').and_then(|text| text.rsplit_once("\nend ")).ok_or(broken)?;
    let whole = text.get(..body.len() + 1).unwrap_or_default();
    if sum != format!("{:016x}", difference::fnv(whole.as_bytes())) {
        return Err(broken);
    }
    let mut lines = body.lines();
    if lines.next() != Some(HEADER) {
        return Err(broken);
    }
    if lines.next().and_then(|line| line.strip_prefix("boot ")).ok_or(broken)? != boot {
        return Err(Unusable::OtherBoot);
    }
    let configuration = lines.next().and_then(|line| line.strip_prefix("configuration ")).ok_or(broken)?;
    if configuration != format!("{:016x}", fingerprint(plan, id)) {
        return Err(Unusable::OtherConfiguration);
    }
    let kept: Option<Vec<Kept>> = lines.map(read_container).collect();
    let containers = plan.pods.get(id.index()).map_or(0, |pod| pod.containers().len());
    kept.filter(|kept| kept.len() == containers).ok_or(broken)
}

fn read_container(line: &str) -> Option<Kept> {
    let mut words = line.strip_prefix("container ")?.split(' ');
    let restarts = words.next()?.parse().ok()?;
    let ran = match words.next()? {
        "ran" => true,
        "new" => false,
        _ => return None,
    };
    let mut kept = Kept { restarts, ran, exit: None };
    if let Some(how) = words.next() {
        let number = words.next()?.parse().ok()?;
        let status = match how {
            "code" => ExitStatus::Code(number),
            "signal" => ExitStatus::Signal(number),
            "unknown" => ExitStatus::Unknown,
            _ => return None,
        };
        let oom_killed = match words.next() {
            Some("oom") => true,
            None => false,
            Some(_) => return None,
        };
        kept.exit = Some(Exit { status, oom_killed });
    }
    words.next().is_none().then_some(kept)
}

fn fingerprint(plan: &Plan, id: PodId) -> u64 {
    plan.pods.get(id.index()).map_or(0, |pod| difference::fingerprint(plan, pod))
}

impl Supervisor {
    /// Takes over what the supervisor before has kept of a pod, before anything else is done with
    /// it. `survives`: its volumes are still there, and it has nothing else that could be lost.
    ///
    /// Restarts go on. A container that was alive is started again whatever its policy says: it
    /// was not its own end. One that has ended stays as it has, if its pod survives; else all
    /// init containers run again, and the main containers, but for those that have succeeded
    /// under the policy `on-failure` (Kubernetes, after the loss of a sandbox).
    pub fn restore(&mut self, id: PodId, kept: &[Kept], survives: bool, now: Instant) {
        let plan = self.plan.clone();
        let Some(pod) = plan.pods.get(id.index()) else { return };
        let Some(containers) = plan.containers.get(pod.containers()) else { return };
        let Some(records) = self.records.get_mut(pod.containers()) else { return };
        for ((container, record), kept) in containers.iter().zip(records).zip(kept) {
            if !kept.ran {
                record.restarts = kept.restarts;
                continue;
            }
            let exit = kept.exit.unwrap_or(ExitStatus::Unknown.into());
            let end = End { at: now, cause: Cause::Exit { exit, stopped: None } };
            let is_done = container.role == Role::Main
                && exit.is_success(Role::Main)
                && Policy::of(pod, container).effective() == RestartPolicy::OnFailure;
            // Late reports about it cannot come: they would have gone to who was before.
            record.instance = Instance(1);
            record.last_exit = Some(Termination {
                instance: record.instance,
                started_at: None,
                end,
                message: Box::default(),
            });
            if kept.exit.is_some() && (survives || is_done) {
                record.state = State::Ended { end };
                record.restarts = kept.restarts;
            } else {
                record.restarts = kept.restarts.saturating_add(1);
            }
        }
        if let Some(record) = self.pods.get_mut(id.index()) {
            record.has_remains = survives;
        }
        self.report(Report::PodRestored { pod: id, survives });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Source, load};

    fn plan(app: &str) -> Plan {
        let text = format!(
            "name = \"demo\"\n[[init-containers]]\nname = \"init\"\nrootfs = \"/srv\"\ncommand = [\"/bin/init\"]\n\
             [[containers]]\nname = \"{app}\"\nrootfs = \"/srv\"\ncommand = [\"/bin/app\"]\n"
        );
        load(None, &[Source { name: "pod.toml".to_owned(), bytes: text.into() }]).unwrap()
    }

    fn kept() -> Vec<Vec<Kept>> {
        let exit = |status, oom_killed| Some(Exit { status, oom_killed });
        let new = Kept::default();
        let mut all = vec![vec![new, new]];
        for exit in [
            None,
            exit(ExitStatus::Code(0), false),
            exit(ExitStatus::Code(255), true),
            exit(ExitStatus::Signal(9), true),
            exit(ExitStatus::Unknown, false),
        ] {
            all.push(vec![Kept { restarts: 7, ran: true, exit }, Kept { restarts: u32::MAX, ..new }]);
        }
        all
    }

    #[test]
    fn what_was_written_is_read() {
        let plan = plan("app");
        for kept in kept() {
            let text = write(&plan, PodId(0), &kept, "b");
            assert_eq!(read(&text, &plan, PodId(0), "b"), Ok(kept), "{text}");
        }
    }

    #[test]
    fn what_is_about_something_else_says_nothing() {
        let (old, new) = (plan("app"), plan("other"));
        let text = write(&old, PodId(0), &[Kept::default(); 2], "b");
        assert_eq!(read(&text, &new, PodId(0), "b"), Err(Unusable::OtherConfiguration));
        assert_eq!(read(&text, &old, PodId(0), "c"), Err(Unusable::OtherBoot));
        let short = write(&old, PodId(0), &[Kept::default()], "b");
        assert_eq!(read(&short, &old, PodId(0), "b"), Err(Unusable::Malformed));
        let newer = text.replace("pod 1", "pod 2");
        assert_eq!(read(&newer, &old, PodId(0), "b"), Err(Unusable::Malformed));
    }

    #[test]
    fn a_torn_or_damaged_file_says_nothing() {
        let plan = plan("app");
        for kept in kept() {
            let text = write(&plan, PodId(0), &kept, "b");
            for length in 0..text.len() {
                assert_eq!(read(&text[..length], &plan, PodId(0), "b"), Err(Unusable::Malformed), "{length}");
                let mut bytes = text.clone().into_bytes();
                bytes[length] ^= 1;
                let damaged = String::from_utf8(bytes).unwrap();
                assert_eq!(read(&damaged, &plan, PodId(0), "b"), Err(Unusable::Malformed), "{damaged}");
            }
        }
    }
}
