//! The end of a container on this machine: its processes killed, its cgroup seen empty, its record
//! with the runtime deleted, its cgroup and bundle removed; in this order, each after the other.

use nix::sys::signal::Signal;

use super::Host;
use super::call::Voice;
use super::container::{Place, Step};
use super::state_directory::remove_directory;
use crate::config::plan::ContainerId;
use crate::supervisor::event::ContainerEvent;
use crate::supervisor::record::{ExitStatus, failure};
use crate::supervisor::report::Severity;

impl Host {
    pub(super) fn kill(&mut self, place: &Place<'_>) {
        if let Err(error) = self.cgroups.kill(&place.pod.name, &place.container.name) {
            let text = format!("{}/{}: {error}; trying again", place.pod.name, place.container.name);
            self.write_line(Severity::Error, &text);
        }
        // A call that was made beside its cgroup (an old kernel) may not have got there yet.
        if let Some((_, call)) = self.body(place.id).and_then(|body| body.lifecycle.as_ref()) {
            call.process.signal(Signal::SIGKILL);
        }
        self.kill_host_process(place.id);
    }

    /// Called when something that a removal waits for may have come.
    pub(super) fn look_for_empty_cgroups(&mut self) {
        self.cgroups.acknowledge_events();
        for index in 0..self.bodies.len() {
            let waits = self.bodies.get(index).is_some_and(|body| body.removing && body.lifecycle.is_none());
            let Ok(id) = u16::try_from(index) else { return };
            if waits {
                self.at_place(ContainerId(id), |host, place| host.go_on_removing(place));
            }
        }
    }

    /// The removal's first part: until all processes are gone.
    pub(super) fn go_on_removing(&mut self, place: &Place<'_>) {
        let (pod, container) = (&place.pod.name, &place.container.name);
        match self.cgroups.is_populated(pod, container) {
            Ok(true) => {
                self.kill(place);
                // inotify tells when it is empty; where nothing tells, the core asks again.
                if !self.cgroups.tells_when_empty() {
                    self.end_removing(place, Err("some of its processes are still there".to_owned()));
                }
            }
            Err(error) => self.end_removing(place, Err(error)),
            // A call was killed; its end comes here again.
            Ok(false) if self.body(place.id).is_some_and(|body| body.lifecycle.is_some()) => {}
            Ok(false) => {
                // The runtime has heard of it only if it has a record.
                let known = self.state.runtime().join(&place.runtime_id).exists();
                if !known {
                    return self.remove_rest(place);
                }
                if let Err(error) = self.delete(place) {
                    self.end_removing(place, Err(error));
                }
            }
        }
    }

    fn delete(&mut self, place: &Place<'_>) -> Result<(), String> {
        let entrance = self.cgroups.renew_runtime(&place.pod.name, &place.container.name)?;
        if let Some(body) = self.body_mut(place.id) {
            body.entrance = Some(entrance);
        }
        self.call(place, Step::Delete, Voice::Kept, |call| call.delete())
    }

    /// The second part, after a call of the runtime has ended.
    pub(super) fn go_on_removing_after(
        &mut self,
        place: &Place<'_>,
        step: Step,
        status: ExitStatus,
        said: &[u8],
    ) {
        if step != Step::Delete {
            return self.go_on_removing(place);
        }
        let record = self.state.runtime().join(&place.runtime_id);
        if status != ExitStatus::Code(0) && record.exists() {
            // Its processes are gone, so nothing but the record is left of it.
            let error = self.why_call_failed(place, step, status, said);
            let text = format!("{}/{}: {error}; removing its record", place.pod.name, place.container.name);
            self.write_line(Severity::Warning, &text);
            if let Err(error) = remove_directory(&record) {
                return self.end_removing(place, Err(error));
            }
        }
        self.remove_rest(place);
    }

    fn remove_rest(&mut self, place: &Place<'_>) {
        if let Some(body) = self.body_mut(place.id) {
            body.entrance = None;
        }
        let removed = self.cgroups.remove_container(&place.pod.name, &place.container.name);
        let removed = removed.and_then(|()| remove_directory(&place.bundle));
        self.end_removing(place, removed);
    }

    fn end_removing(&mut self, place: &Place<'_>, outcome: Result<(), String>) {
        if let Some(body) = self.body_mut(place.id) {
            body.removing = false;
        }
        let event = match outcome {
            Ok(()) => ContainerEvent::Removed,
            Err(error) => ContainerEvent::RemoveFailed(failure(&error)),
        };
        self.tell(place.id, event);
    }
}
