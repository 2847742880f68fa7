//! Points in time, as the decisions see them. No clock is read here: `linux/clock.rs` does that,
//! tests use numbers.

use core::time::Duration;

/// Nanoseconds on the machine's monotonic clock (range: 584 years from its zero).
///
/// A type of our own and not `std::time::Instant`, because that one can only be had from a real
/// clock: decisions must be repeatable from written-down times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The clock's zero. Every other instant is later or equal.
    pub const ZERO: Instant = Instant(0);

    /// The instant `nanos` nanoseconds after the clock's zero.
    pub const fn from_nanos(nanos: u64) -> Instant {
        Instant(nanos)
    }

    /// Nanoseconds since the clock's zero.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long `earlier` is ago; zero if it is not earlier.
    pub fn since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// `self` moved by `duration`; stops at the end of the clock instead of wrapping, so that
    /// "never" is an instant like any other.
    #[must_use]
    pub fn after(self, duration: Duration) -> Instant {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Instant(self.0.saturating_add(nanos))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_before_the_earlier_instant_is_zero() {
        let (early, late) = (Instant::from_nanos(5), Instant::from_nanos(9));
        assert_eq!(late.since(early), Duration::from_nanos(4));
        assert_eq!(early.since(late), Duration::ZERO);
    }

    #[test]
    fn an_endless_duration_ends_at_the_end_of_the_clock() {
        assert_eq!(Instant::from_nanos(7).after(Duration::MAX), Instant::from_nanos(u64::MAX));
    }
}
