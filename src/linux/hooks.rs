//! Hooks of containers that are under way: a command or a request, from its beginning to its end.
//!
//! They are made as the tries of probes are (`prober.rs`), and differ in what counts as success. One
//! hook of a container is under way at a time. What a hook leaves behind is in its container's cgroup,
//! and is killed with it.

use super::Host;
use super::container::Place;
use super::network_probe::{NetworkProbe, Progress, Purpose};
use super::prober::Try;
use super::reactor::{CallSlot, Token};
use crate::config::plan::{Check, ContainerId, Hook};
use crate::supervisor::event::ContainerEvent;
use crate::supervisor::hook::HookKind;
use crate::supervisor::probe::Outcome;
use crate::supervisor::record::{ExitStatus, failure};
use crate::time::Instant;

impl Host {
    pub(super) fn begin_hook(&mut self, place: &Place<'_>, kind: HookKind) {
        let Some(Hook::Ask(check)) = kind.of(&place.container.hooks) else { return };
        let begun = match check {
            Check::Exec { command } => {
                self.exec(place, CallSlot::Hook(kind), command).map(|call| (Try::Exec(call), None))
            }
            Check::HttpGet { .. } | Check::TcpSocket { .. } | Check::Grpc { .. } | Check::Unix { .. } => {
                match NetworkProbe::start(check, Purpose::Hook, self.whereabouts(place), None) {
                    Some(Ok((probe, progress))) => Ok((Try::Network(Box::new(probe)), Some(progress))),
                    Some(Err(error)) => Err(error),
                    None => return,
                }
            }
        };
        match begun {
            Ok((begun, progress)) => {
                if let Some(body) = self.body_mut(place.id) {
                    body.hook = Some((kind, begun));
                }
                if let Some(progress) = progress {
                    self.follow_hook(place.id, progress);
                }
            }
            Err(error) => self.tell_hook_ended(place.id, kind, Outcome::Error, &error),
        }
    }

    /// Goes on with a request whose socket is ready.
    pub(super) fn advance_hook(&mut self, id: ContainerId) {
        let Some(body) = self.body_mut(id) else { return };
        let Some((_, Try::Network(probe))) = &mut body.hook else { return };
        let progress = probe.advance();
        self.follow_hook(id, progress);
    }

    /// Lets a request connect again that waits for that.
    pub(super) fn connect_hook_again(&mut self, id: ContainerId, now: Instant) {
        let Some((_, Try::Network(probe))) = self.body_mut(id).and_then(|body| body.hook.as_mut()) else {
            return;
        };
        let progress = match probe.again_at() {
            Some(at) if at <= now => probe.connect_again(),
            Some(_) => Progress::Pauses,
            None => return,
        };
        self.follow_hook(id, progress);
    }

    fn follow_hook(&mut self, id: ContainerId, progress: Progress) {
        let Some(body) = self.bodies.get_mut(id.index()) else { return };
        let Some((kind, Try::Network(probe))) = &body.hook else { return };
        let kind = *kind;
        let token = Token::Hook(id);
        let watched = match (progress, probe.socket()) {
            (Progress::Waits(interest), Some(socket)) => self.reactor.modify(socket, token, interest),
            (Progress::Moved(interest), Some(socket)) => self.reactor.add(socket, token, interest),
            (Progress::Waits(_) | Progress::Moved(_) | Progress::Pauses, _) => {
                self.probes_again_at = self.probes_again_at.into_iter().chain(probe.again_at()).min();
                return;
            }
            (Progress::Done(outcome, why), _) => {
                body.hook = None;
                return self.tell_hook_ended(id, kind, outcome, &why);
            }
        };
        let Err(errno) = watched else { return };
        let (outcome, why) = (Outcome::Error, errno.desc().to_owned());
        body.hook = None;
        self.tell_hook_ended(id, kind, outcome, &why);
    }

    fn tell_hook_ended(&mut self, id: ContainerId, kind: HookKind, outcome: Outcome, why: &str) {
        let ended = match outcome {
            Outcome::Success | Outcome::Warning => Ok(()),
            Outcome::Failure | Outcome::Error => Err(failure(why)),
        };
        self.tell(id, ContainerEvent::HookEnded(kind, ended));
    }

    pub(super) fn note_hook_ended(&mut self, id: ContainerId, status: ExitStatus) {
        let Some((kind, Try::Exec(call))) = self.body_mut(id).and_then(|body| body.hook.take()) else {
            return;
        };
        let said = call.into_said();
        self.at_place(id, |host, place| {
            let (outcome, why) = host.judge_exec(place, CallSlot::Hook(kind), status, &said);
            host.tell_hook_ended(id, kind, outcome, &why);
        });
    }

    pub(super) fn cancel_hook(&mut self, place: &Place<'_>, kind: HookKind) {
        let Some(body) = self.body_mut(place.id) else { return };
        if body.hook.as_ref().is_some_and(|(under_way, _)| *under_way == kind) {
            if let Some((_, Try::Exec(call))) = body.hook.take() {
                self.kill_exec(place, CallSlot::Hook(kind), &call);
            }
        }
    }
}
