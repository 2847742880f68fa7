//! A supervisor that is fed from words.

use std::rc::Rc;
use std::time::Duration;

use outrigger::config::plan::{ContainerId, PodId};
use outrigger::config::{self, Source};
use outrigger::supervisor::Supervisor;
use outrigger::supervisor::action::{Action, ContainerAction};
use outrigger::supervisor::event::{ContainerEvent, Event, Goal};
use outrigger::supervisor::pod::PodView;
use outrigger::supervisor::probe::{Outcome, ProbeKind};
use outrigger::supervisor::record::{Exit, ExitStatus, Failure, failure};
use outrigger::time::Instant;

/// A supervisor of one pod, and the time.
pub(crate) struct Drive {
    pub(crate) supervisor: Supervisor,
    pub(crate) now: Instant,
}

impl Drive {
    /// The pod with everything done that is to be done before its volumes are there.
    pub(crate) fn new(pod: &str) -> Drive {
        let source = Source { name: "pod.toml".to_owned(), bytes: pod.as_bytes().to_vec() };
        let plan = config::load(None, &[source]).unwrap_or_else(|problems| panic!("{problems}"));
        // Not at zero, so that a time that was never set is seen.
        let now = Instant::ZERO.after(Duration::from_secs(100));
        let mut drive = Drive { supervisor: Supervisor::new(Rc::new(plan)), now };
        drive.act();
        drive
    }

    pub(crate) fn view(&self) -> PodView<'_> {
        self.supervisor.view(PodId(0)).unwrap()
    }

    /// Feeds events, separated by semicolons or line ends. Gives the actions, in words.
    pub(crate) fn feed(&mut self, script: &str) -> Vec<String> {
        let mut actions = Vec::new();
        for words in script.split([';', '\n']).map(str::trim).filter(|words| !words.is_empty()) {
            if let Some(span) = words.strip_prefix("wait ") {
                actions.extend(self.wait(Duration::from_millis(span.parse().unwrap())));
            } else {
                let event = self.event(words);
                self.supervisor.handle(event, self.now);
                actions.extend(self.act());
            }
        }
        actions
    }

    /// What is decided until nothing is left to decide.
    fn act(&mut self) -> Vec<String> {
        let mut actions = Vec::new();
        while let Some(action) = self.supervisor.next_action(self.now) {
            actions.extend(self.words(&action));
        }
        actions
    }

    /// Lets time pass from deadline to deadline.
    fn wait(&mut self, span: Duration) -> Vec<String> {
        let end = self.now.after(span);
        let mut actions = Vec::new();
        while let Some(at) = self.supervisor.next_deadline().filter(|&at| at <= end) {
            self.now = self.now.max(at);
            actions.extend(self.act());
        }
        self.now = end;
        actions.extend(self.act());
        actions
    }

    fn id(&self, name: &str) -> ContainerId {
        let containers = &self.supervisor.plan().containers;
        let position = containers.iter().position(|container| container.name == name);
        ContainerId(u16::try_from(position.unwrap_or_else(|| panic!("no container {name}"))).unwrap())
    }

    fn event(&self, words: &str) -> Event {
        let (first, rest) = words.split_once(' ').unwrap_or((words, ""));
        match first {
            "set-up" => return Event::PodSetUp(PodId(0)),
            "set-up-failed" => return Event::PodSetUpFailed(PodId(0), failure("no space")),
            "torn-down" => return Event::PodTornDown(PodId(0)),
            "tear-down-failed" => return Event::PodTearDownFailed(PodId(0), failure("busy")),
            "stop" => return Event::StopRequested(Goal::Exit),
            _ => {}
        }
        let id = self.id(first);
        let (verb, argument) = rest.split_once(' ').unwrap_or((rest, ""));
        let exited = |status: ExitStatus| ContainerEvent::Exited(status.into());
        let probed = |kind, outcome| ContainerEvent::Probed(kind, outcome, Failure::new());
        let event = match (verb, argument) {
            ("created", _) => ContainerEvent::Created,
            ("create-failed", _) => ContainerEvent::CreateFailed(failure("no such file")),
            ("started", _) => ContainerEvent::Started,
            ("start-failed", _) => ContainerEvent::StartFailed(failure("exec format error")),
            ("exited", code) => exited(ExitStatus::Code(code.parse().unwrap())),
            ("killed-by", signal) => exited(ExitStatus::Signal(signal.parse().unwrap())),
            ("gone", _) => exited(ExitStatus::Unknown),
            ("oom-killed", "") => {
                ContainerEvent::Exited(Exit { status: ExitStatus::Signal(9), oom_killed: true })
            }
            ("oom-killed", code) => ContainerEvent::Exited(Exit {
                status: ExitStatus::Code(code.parse().unwrap()),
                oom_killed: true,
            }),
            ("removed", _) => ContainerEvent::Removed,
            ("remove-failed", _) => ContainerEvent::RemoveFailed(failure("busy")),
            ("startup", "succeeds") => probed(ProbeKind::Startup, Outcome::Success),
            ("startup", "fails") => probed(ProbeKind::Startup, Outcome::Failure),
            ("liveness", "fails") => probed(ProbeKind::Liveness, Outcome::Failure),
            ("readiness", "succeeds") => probed(ProbeKind::Readiness, Outcome::Success),
            ("readiness", "fails") => probed(ProbeKind::Readiness, Outcome::Failure),
            _ => panic!("cannot feed `{words}`"),
        };
        Event::Container(id, self.supervisor.record(id).unwrap().instance, event)
    }

    /// An action in words; none for a report.
    fn words(&self, action: &Action) -> Option<String> {
        let name = |id: ContainerId| &self.supervisor.plan().containers[id.index()].name;
        let (id, action) = match action {
            Action::Report(_) => return None,
            Action::SetUpPod(_) => return Some("set up".to_owned()),
            Action::TearDownPod(_) => return Some("tear down".to_owned()),
            Action::Container(id, _, action) => (*id, action),
        };
        let verb = match action {
            ContainerAction::Create { .. } => "create".to_owned(),
            ContainerAction::Start => "start".to_owned(),
            ContainerAction::Stop => "stop".to_owned(),
            ContainerAction::Kill => "kill".to_owned(),
            ContainerAction::Remove => "remove".to_owned(),
            ContainerAction::Probe(kind) => format!("probe {}", kind.name()),
            ContainerAction::CancelProbe(kind) => format!("cancel probe {}", kind.name()),
        };
        Some(format!("{verb} {}", name(id)))
    }
}
