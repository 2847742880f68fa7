//! The time of one decision, and the times at which deciding again would give another answer.

use crate::time::Instant;

/// Asked "is it time?", it answers, and remembers the earliest of the times that are still to
/// come. Whatever a decision depends on is asked here, so the same code that acts on a deadline
/// also arms the timer for it: there is no second list of deadlines that could forget one.
#[derive(Clone, Copy, Debug)]
pub struct Alarm {
    now: Instant,
    next: Option<Instant>,
}

impl Alarm {
    /// An alarm for a decision at `now`.
    pub fn new(now: Instant) -> Alarm {
        Alarm { now, next: None }
    }

    /// The time of this decision.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Whether `at` has come. If not, it becomes a time to decide again.
    pub fn due(&mut self, at: Instant) -> bool {
        if at <= self.now {
            return true;
        }
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
        false
    }

    /// The earliest time that was asked for and has not come. `None`: only an event can change
    /// the answer.
    pub fn next(&self) -> Option<Instant> {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_due_leaves_its_time_behind() {
        let at = Instant::from_nanos;
        let mut alarm = Alarm::new(at(10));
        assert!(alarm.due(at(10)));
        assert_eq!(alarm.next(), None);
        assert!(!alarm.due(at(30)));
        assert!(!alarm.due(at(20)));
        assert!(!alarm.due(at(40)));
        assert_eq!(alarm.next(), Some(at(20)));
    }
}
