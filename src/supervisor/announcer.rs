//! What a service manager is told and when, by the protocol of sd_notify(3): text to send, no
//! socket (`linux/notify.rs`).
//!
//! Level-triggered: each message is the difference between what is true now and what was said.
//! So a message that got lost is not queued, it is said again, with what has become true since.
//!
//! * `READY=1` once every pod's start is decided: each has started, is failing, or has ended
//!   (`standing.rs`). A pod that is on its way is waited for as long as it takes.
//! * `STATUS=` when the line has changed.
//! * `WATCHDOG=1` at half the interval that was asked for. Nothing sends it but a turn of the
//!   loop, so it stops when the loop does.
//! * `EXTEND_TIMEOUT_USEC=` while pods are starting or stopping: how long that may take is said by
//!   probes and grace periods and not by the manager's `TimeoutStartSec=` and `TimeoutStopSec=`,
//!   which so bound only a supervisor that has stopped turning.
//! * `RELOADING=1` and `READY=1` around a reload, `STOPPING=1` when everything is being stopped.

use core::fmt::Write;
use core::time::Duration;

use super::Supervisor;
use super::standing::{all_decided, line, standings};
use crate::time::Instant;

/// How much longer the manager shall be patient, each time: three times [`EXTEND_EVERY`], so that
/// one message that is late does not end us.
const EXTENSION: Duration = Duration::from_secs(30);

/// Pause between two such requests.
const EXTEND_EVERY: Duration = Duration::from_secs(10);

/// Pause before what could not be sent is said again.
const RETRY: Duration = Duration::from_secs(1);

/// Longest status line, in bytes: it is shown in one line of a terminal.
const STATUS_BYTES_MAX: usize = 400;

/// Remembers what was said.
#[derive(Debug)]
pub struct Announcer {
    /// Half of the watchdog's interval.
    feed_every: Option<Duration>,
    said: Said,
    /// What will have been said once the message is out.
    saying: Said,
    /// What the last reload found, behind the status.
    remark: String,
    /// When the last sign of life was given; `None` before the first.
    alive_at: Option<Instant>,
    retry_at: Option<Instant>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Said {
    ready: bool,
    reloading: bool,
    stopping: bool,
    status: String,
}

impl Announcer {
    /// One that has said nothing. `watchdog`: after which silence the manager takes us for hung.
    pub fn new(watchdog: Option<Duration>) -> Announcer {
        // A millisecond at least: a manager that asks for less is not answered in an endless loop.
        let half = |interval: Duration| (interval / 2).max(Duration::from_millis(1));
        Announcer {
            feed_every: watchdog.map(half),
            said: Said::default(),
            saying: Said::default(),
            remark: String::new(),
            alive_at: None,
            retry_at: None,
        }
    }

    /// What is to be sent at `now`. `None`: nothing. To be answered with [`Announcer::note_sent`]
    /// or [`Announcer::note_lost`].
    pub fn next_message(&mut self, supervisor: &Supervisor, now: Instant) -> Option<String> {
        if self.retry_at.is_some_and(|at| at > now) {
            return None;
        }
        let standings = standings(supervisor);
        let stopping = supervisor.is_stopping() || supervisor.exit().is_some();
        let mut status = line(supervisor.plan(), &standings);
        if stopping {
            status.insert_str(0, "stopping; ");
        } else {
            status.push_str(&self.remark);
        }
        cut(&mut status);
        self.saying = Said {
            // Once and for all: what happens to a pod later is in the status.
            ready: self.said.ready || all_decided(&standings),
            reloading: false,
            stopping: self.said.stopping || stopping,
            status,
        };
        self.write(now)
    }

    fn write(&self, now: Instant) -> Option<String> {
        let (said, saying) = (&self.said, &self.saying);
        let mut text = String::new();
        // Writing into a String cannot fail.
        if saying.reloading && !said.reloading {
            // The manager tells by this time whether the reload began after it was asked for.
            let _ = writeln!(text, "RELOADING=1\nMONOTONIC_USEC={}", now.as_nanos() / 1000);
        } else if saying.ready && (!said.ready || said.reloading) {
            text.push_str("READY=1\n");
        }
        if saying.stopping && !said.stopping {
            text.push_str("STOPPING=1\n");
        }
        if saying.status != said.status {
            let _ = writeln!(text, "STATUS={}", saying.status);
        }
        if self.alive_again_at().is_some_and(|at| at <= now) {
            if self.feed_every.is_some() {
                text.push_str("WATCHDOG=1\n");
            }
            if !saying.ready || saying.stopping {
                let _ = writeln!(text, "EXTEND_TIMEOUT_USEC={}", EXTENSION.as_micros());
            }
        }
        (!text.is_empty()).then_some(text)
    }

    /// The message is out.
    pub fn note_sent(&mut self, now: Instant) {
        if self.alive_again_at().is_some_and(|at| at <= now) {
            self.alive_at = Some(now);
        }
        self.said.clone_from(&self.saying);
        self.retry_at = None;
    }

    /// The message could not be sent.
    pub fn note_lost(&mut self, now: Instant) {
        self.retry_at = Some(now.after(RETRY));
    }

    /// What is to be sent before the files are read again. `None`: nothing, since to the manager
    /// only what is ready and not stopping can be reloaded.
    pub fn begin_reload(&mut self, now: Instant) -> Option<String> {
        self.saying = Said { reloading: self.said.ready && !self.said.stopping, ..self.said.clone() };
        self.write(now)
    }

    /// What the status says from now on about the files on disk; empty for nothing.
    pub fn end_reload(&mut self, remark: &str) {
        self.remark.clear();
        if !remark.is_empty() {
            self.remark.push_str("; ");
            self.remark.push_str(remark);
        }
    }

    /// When there is something to say although nothing has happened. `None`: never.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.retry_at.or_else(|| self.alive_again_at())
    }

    /// When the next sign of life is due, if any is wanted.
    fn alive_again_at(&self) -> Option<Instant> {
        let extend_every = (!self.saying.ready || self.saying.stopping).then_some(EXTEND_EVERY);
        let every = match (self.feed_every, extend_every) {
            (Some(feed), Some(extend)) => feed.min(extend),
            (feed, extend) => feed.or(extend)?,
        };
        Some(self.alive_at.map_or(Instant::ZERO, |at| at.after(every)))
    }
}

/// At a character's border, and so that it shows. A line feed would begin another assignment.
fn cut(status: &mut String) {
    const MARK: &str = " …";
    if status.len() > STATUS_BYTES_MAX {
        let mut room = STATUS_BYTES_MAX - MARK.len();
        while !status.is_char_boundary(room) {
            room -= 1;
        }
        status.truncate(room);
        status.push_str(MARK);
    }
    debug_assert!(!status.contains('\n'), "names have no line feed");
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::super::event::{ContainerEvent, Event, Goal};
    use super::super::record::Instance;
    use super::*;
    use crate::config::plan::{ContainerId, PodId};
    use crate::config::{Source, load};

    fn seconds(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    fn supervisor() -> Supervisor {
        let text =
            "name = \"web\"\n[[containers]]\nname = \"app\"\nrootfs = \"/srv\"\ncommand = [\"/bin/app\"]\n";
        let source = Source { name: "web.toml".to_owned(), bytes: text.as_bytes().to_vec() };
        Supervisor::new(Rc::new(load(None, &[source]).unwrap_or_else(|problems| panic!("{problems}"))))
    }

    /// Until its only container runs.
    fn start(supervisor: &mut Supervisor) {
        let created = |event| Event::Container(ContainerId(0), Instance(1), event);
        for event in
            [Event::PodSetUp(PodId(0)), created(ContainerEvent::Created), created(ContainerEvent::Started)]
        {
            while supervisor.next_action(seconds(0)).is_some() {}
            supervisor.handle(event, seconds(0));
        }
    }

    fn tell(announcer: &mut Announcer, supervisor: &Supervisor, now: Instant) -> Option<String> {
        let message = announcer.next_message(supervisor, now);
        announcer.note_sent(now);
        message
    }

    #[test]
    fn a_reload_is_between_reloading_and_ready() {
        let mut supervisor = supervisor();
        start(&mut supervisor);
        let mut announcer = Announcer::new(None);
        let first = tell(&mut announcer, &supervisor, seconds(1)).unwrap();
        assert_eq!(first, "READY=1\nSTATUS=1 pod: 1 ready\n");
        assert_eq!(announcer.next_deadline(), None);

        let reloading = announcer.begin_reload(seconds(7)).unwrap();
        assert_eq!(reloading, "RELOADING=1\nMONOTONIC_USEC=7000000\n");
        announcer.note_sent(seconds(7));
        announcer.end_reload("changed: pod web");
        let done = tell(&mut announcer, &supervisor, seconds(7)).unwrap();
        assert_eq!(done, "READY=1\nSTATUS=1 pod: 1 ready; changed: pod web\n");

        // Lost on both ways: the manager does not know of the reload, and is told of its result.
        announcer.begin_reload(seconds(8)).unwrap();
        announcer.note_lost(seconds(8));
        announcer.end_reload("");
        assert_eq!(announcer.next_message(&supervisor, seconds(8)), None);
        assert_eq!(announcer.next_deadline(), Some(seconds(9)));
        assert_eq!(announcer.next_message(&supervisor, seconds(9)).unwrap(), "STATUS=1 pod: 1 ready\n");
    }

    #[test]
    fn what_is_starting_or_stopping_is_not_reloading() {
        let mut supervisor = supervisor();
        let mut announcer = Announcer::new(None);
        assert!(tell(&mut announcer, &supervisor, seconds(0)).is_some());
        assert_eq!(announcer.begin_reload(seconds(0)), None);
        start(&mut supervisor);
        supervisor.handle(Event::StopRequested(Goal::Exit), seconds(1));
        assert!(tell(&mut announcer, &supervisor, seconds(1)).unwrap().contains("STOPPING=1\n"));
        assert_eq!(announcer.begin_reload(seconds(2)), None);
    }

    #[test]
    fn a_long_status_is_cut_at_a_character_and_marked() {
        let mut status = "ä".repeat(STATUS_BYTES_MAX);
        cut(&mut status);
        assert!(status.ends_with(" …") && status.len() <= STATUS_BYTES_MAX);
    }
}
