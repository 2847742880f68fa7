//! What a container says of itself, unasked (sd_notify(3)).

use super::record::Said;

/// One or more messages of one container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notice {
    /// `READY=1`: it has started, and can be used.
    pub ready: bool,
    /// `STOPPING=1`: it ends, and is not to be used any more.
    pub stopping: bool,
    /// `WATCHDOG=...`: the last of these.
    pub keep_alive: Option<KeepAlive>,
    /// `STATUS=...`: what it does, for people.
    pub status: Option<Said>,
}

/// What a container says of its health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepAlive {
    /// `WATCHDOG=1`: it is well.
    Alive,
    /// `WATCHDOG=trigger`: it is not.
    Failed,
}

impl Notice {
    /// Adds what a message says that came later.
    pub fn add(&mut self, later: Notice) {
        self.ready |= later.ready;
        self.stopping |= later.stopping;
        // That it is not well is not undone by what it says next.
        if self.keep_alive != Some(KeepAlive::Failed) {
            self.keep_alive = later.keep_alive.or(self.keep_alive);
        }
        if later.status.is_some() {
            self.status = later.status;
        }
    }

    /// Whether it says nothing that matters.
    pub fn is_empty(&self) -> bool {
        *self == Notice::default()
    }
}
