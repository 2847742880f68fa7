//! As many machines at a time as there are processors, however many tests run side by side.

use std::sync::{Condvar, Mutex};

static TAKEN: Mutex<usize> = Mutex::new(0);
static GIVEN_BACK: Condvar = Condvar::new();

/// The right to run one machine. Given back when it is dropped.
pub(super) struct Turn;

impl Turn {
    /// Waits until there is one.
    pub(super) fn take() -> Turn {
        let places = std::thread::available_parallelism().map_or(1, usize::from);
        let taken = TAKEN.lock().unwrap();
        let mut taken = GIVEN_BACK.wait_while(taken, |taken| *taken >= places).unwrap();
        *taken += 1;
        Turn
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *TAKEN.lock().unwrap() -= 1;
        GIVEN_BACK.notify_one();
    }
}
