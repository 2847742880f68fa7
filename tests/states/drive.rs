//! A supervisor that is fed from words.

use std::rc::Rc;
use std::time::Duration;

use outrigger::config::plan::{ContainerId, PodId};
use outrigger::config::{self, Source};
use outrigger::supervisor::Supervisor;
use outrigger::supervisor::action::{Action, ContainerAction};
use outrigger::supervisor::event::{ContainerEvent, Event, Goal};
use outrigger::supervisor::hook::HookKind;
use outrigger::supervisor::kept::{self, Kept};
use outrigger::supervisor::pod::PodView;
use outrigger::supervisor::probe::{Outcome, ProbeKind};
use outrigger::supervisor::record::{Exit, ExitStatus, Failure, Record, failure};
use outrigger::time::Instant;

/// A supervisor, and the time.
pub(crate) struct Drive {
    pub(crate) supervisor: Supervisor,
    pub(crate) now: Instant,
}

impl Drive {
    /// Pods with everything done that is to be done before anything has happened.
    pub(crate) fn new(pods: &[&str]) -> Drive {
        let source = |text: &&str| Source { name: "pod.toml".to_owned(), bytes: text.as_bytes().to_vec() };
        let pods: Vec<Source> = pods.iter().map(source).collect();
        let plan = config::load(None, &pods).unwrap_or_else(|problems| panic!("{problems}"));
        // Not at zero, so that a time that was never set is seen.
        let now = Instant::ZERO.after(Duration::from_secs(100));
        let mut drive = Drive { supervisor: Supervisor::new(Rc::new(plan)), now };
        drive.act();
        drive
    }

    /// The supervisor is killed, and another one goes on. `survives`: the volumes of `demo` are
    /// still there. Gives what that one does first.
    pub(crate) fn restart(&mut self, survives: bool) -> Vec<String> {
        let plan = Rc::new(self.supervisor.plan().clone());
        let kept: Vec<_> =
            self.supervisor.views().map(|view| (view.id, kept::keep(&view).map(Iterator::collect))).collect();
        self.supervisor = Supervisor::new(Rc::clone(&plan));
        for (id, kept) in kept {
            let kept: Option<Vec<Kept>> = kept;
            if let Some(kept) = kept {
                // What is written is what is read.
                let text = kept::write(&plan, id, &kept, "boot");
                let kept = kept::read(&text, &plan, id, "boot").unwrap();
                self.supervisor.restore(id, &kept, survives, self.now);
            }
        }
        self.act()
    }

    /// Whether nothing of the pod of this name is left.
    pub(crate) fn has_ended(&self, pod: &str) -> bool {
        self.view(pod).record.is_ended()
    }

    /// The pod of this name.
    pub(crate) fn view(&self, pod: &str) -> PodView<'_> {
        self.supervisor.view(self.pod(pod)).unwrap()
    }

    fn pod(&self, name: &str) -> PodId {
        let position = self.supervisor.plan().pods.iter().position(|pod| pod.name == name);
        PodId(u8::try_from(position.unwrap_or_else(|| panic!("no pod {name}"))).unwrap())
    }

    /// What is known of the container of this name.
    pub(crate) fn record(&self, name: &str) -> &Record {
        self.supervisor.record(self.id(name)).unwrap()
    }

    /// Feeds events, separated by semicolons or line ends. Gives the actions, in words. After an
    /// event that ends in `!` nothing is decided: the next one comes in the same turn.
    pub(crate) fn feed(&mut self, script: &str) -> Vec<String> {
        let mut actions = Vec::new();
        for words in script.split([';', '\n']).map(str::trim).filter(|words| !words.is_empty()) {
            if let Some(span) = words.strip_prefix("wait ") {
                actions.extend(self.wait(Duration::from_millis(span.parse().unwrap())));
            } else if let Some(words) = words.strip_suffix('!') {
                self.supervisor.handle(self.event(words), self.now);
            } else {
                self.supervisor.handle(self.event(words), self.now);
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

    /// Lets time pass until something is wanted, at most an hour.
    pub(crate) fn wait_for_action(&mut self) -> Vec<String> {
        let end = self.now.after(Duration::from_secs(3600));
        let actions = self.act();
        if !actions.is_empty() {
            return actions;
        }
        while let Some(at) = self.supervisor.next_deadline().filter(|&at| at <= end) {
            self.now = self.now.max(at);
            let before = format!("{:?}", self.supervisor);
            let actions = self.act();
            if !actions.is_empty() || format!("{:?}", self.supervisor) != before {
                return actions;
            }
        }
        Vec::new()
    }

    fn id(&self, name: &str) -> ContainerId {
        let containers = &self.supervisor.plan().containers;
        let position = containers.iter().position(|container| container.name == name);
        ContainerId(u16::try_from(position.unwrap_or_else(|| panic!("no container {name}"))).unwrap())
    }

    /// One event from words.
    pub(crate) fn event(&self, words: &str) -> Event {
        let (first, rest) = words.split_once(' ').unwrap_or((words, ""));
        let pod = || self.pod(if rest.is_empty() { "demo" } else { rest });
        match first {
            "set-up" => return Event::PodSetUp(pod()),
            "set-up-failed" => return Event::PodSetUpFailed(pod(), failure("no space")),
            "torn-down" => return Event::PodTornDown(pod()),
            "tear-down-failed" => return Event::PodTearDownFailed(pod(), failure("busy")),
            "stop" => return Event::StopRequested(Goal::Exit),
            _ => {}
        }
        let id = self.id(first);
        if rest == "changed" {
            return Event::ContainerChanged(id);
        }
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
            ("message", text) => ContainerEvent::TerminationMessage(text.into()),
            ("last-lines", text) => ContainerEvent::LastLines(text.into()),
            ("post-start", "succeeds") => ContainerEvent::HookEnded(HookKind::PostStart, Ok(())),
            ("post-start", "fails") => {
                ContainerEvent::HookEnded(HookKind::PostStart, Err(failure("exited with 1")))
            }
            ("pre-stop", "succeeds") => ContainerEvent::HookEnded(HookKind::PreStop, Ok(())),
            ("pre-stop", "fails") => {
                ContainerEvent::HookEnded(HookKind::PreStop, Err(failure("exited with 1")))
            }
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
        let pod = |id: PodId| &self.supervisor.plan().pods[id.index()].name;
        let (id, action) = match action {
            Action::Report(_) => return None,
            Action::SetUpPod(id) => return Some(format!("set up {}", pod(*id))),
            Action::TearDownPod(id) => return Some(format!("tear down {}", pod(*id))),
            Action::Container(id, _, action) => (*id, action),
        };
        let verb = match action {
            ContainerAction::Create { .. } => "create".to_owned(),
            ContainerAction::Start => "start".to_owned(),
            ContainerAction::Stop => "stop".to_owned(),
            ContainerAction::Kill => "kill".to_owned(),
            ContainerAction::Remove => "remove".to_owned(),
            ContainerAction::Hook(kind) => format!("{} hook", kind.name()),
            ContainerAction::CancelHook(kind) => format!("cancel {} hook", kind.name()),
            ContainerAction::Probe(kind) => format!("probe {}", kind.name()),
            ContainerAction::CancelProbe(kind) => format!("cancel probe {}", kind.name()),
        };
        Some(format!("{verb} {}", name(id)))
    }
}
