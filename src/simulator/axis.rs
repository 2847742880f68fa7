//! The time axis of a chart: where a time stands, and which times are written at it.
//!
//! A pod that starts in two seconds and then lives for an hour would be a dot and a line. So long
//! times in which nothing new happens are broken out: they get a narrow band that is marked as
//! such. Outside of the bands the axis is linear, with one scale.

use core::fmt;

/// A tenth of a unit of the chart.
pub(super) type Tenths = u64;

/// Least length of what is broken out: what is shorter is seen well enough.
const BREAK_MIN: u64 = 3_000;

/// Most bands.
const BREAKS_MAX: usize = 6;

/// Width of a band.
const BREAK_WIDTH: Tenths = 300;

/// Distances between ticks, in milliseconds.
const STEPS: [u64; 25] = [
    1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 30_000, 60_000, 120_000,
    300_000, 600_000, 1_800_000, 3_600_000, 7_200_000, 21_600_000, 43_200_000, 86_400_000,
];

/// Most ticks on an axis without bands.
const TICKS: u64 = 6;

/// Least distance of two ticks.
const TICK_ROOM: Tenths = 460;

/// A piece of the axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// Milliseconds.
    pub(super) from: u64,
    /// Milliseconds; not earlier.
    pub(super) to: u64,
    /// Where it begins.
    pub(super) left: Tenths,
    /// Where it ends.
    pub(super) right: Tenths,
    /// Whether it is a band.
    pub(super) is_broken: bool,
}

/// See the top of this file.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    pub(super) segments: Vec<Segment>,
}

impl Axis {
    /// An axis from 0 to `end` milliseconds between two places, on which the times of `events`
    /// can be told apart.
    pub(super) fn new(mut events: Vec<u64>, end: u64, left: Tenths, right: Tenths) -> Axis {
        let end = end.max(1);
        events.extend([0, end]);
        events.retain(|at| *at <= end);
        events.sort_unstable();
        events.dedup();
        let mut gaps: Vec<(u64, u64)> = Vec::new();
        for (from, to) in events.iter().zip(events.iter().skip(1)) {
            gaps.push((*from, *to));
        }
        let broken = breaks(&gaps, end);
        let bands = u64::try_from(broken.len()).unwrap_or(0) * BREAK_WIDTH;
        let width = right.saturating_sub(left).saturating_sub(bands);
        let shown = end.saturating_sub(broken.iter().map(|(from, to)| to - from).sum::<u64>()).max(1);
        let mut segments = Vec::new();
        let (mut at, mut place, mut done) = (0, left, 0);
        for (from, to) in broken {
            done += from - at;
            let next = left + bands_before(&segments) + scale(done, width, shown);
            segments.push(Segment { from: at, to: from, left: place, right: next, is_broken: false });
            let band = Segment { from, to, left: next, right: next + BREAK_WIDTH, is_broken: true };
            segments.push(band);
            (at, place) = (to, band.right);
        }
        segments.push(Segment { from: at, to: end, left: place, right, is_broken: false });
        Axis { segments }
    }

    /// Where a time stands.
    pub(super) fn place(&self, at: u64) -> Tenths {
        let segment = self.segments.iter().find(|segment| at <= segment.to).or(self.segments.last());
        let Some(segment) = segment else { return 0 };
        let (width, length) = (segment.right - segment.left, (segment.to - segment.from).max(1));
        segment.left + scale(at.clamp(segment.from, segment.to) - segment.from, width, length)
    }

    /// Whether a time is in a band, but not at its edge.
    pub(super) fn is_hidden(&self, at: u64) -> bool {
        self.segments.iter().any(|segment| segment.is_broken && segment.from < at && at < segment.to)
    }

    /// The times to write at it.
    pub(super) fn ticks(&self) -> Vec<u64> {
        let linear = || self.segments.iter().filter(|segment| !segment.is_broken);
        let shown: u64 = linear().map(|segment| segment.to - segment.from).sum();
        let step =
            STEPS.into_iter().find(|step| shown / step <= TICKS).unwrap_or_else(|| shown.div_ceil(TICKS));
        let mut ticks: Vec<u64> = Vec::new();
        let mut free_from = 0;
        for segment in linear() {
            // Where none would stand: the roundest time that does.
            let finer = STEPS.into_iter().rev().filter(|finer| *finer < step);
            let mut steps = [step].into_iter().chain(finer).map(|step| segment.from.div_ceil(step) * step);
            let mut at = steps.find(|at| *at <= segment.to).unwrap_or(segment.from);
            while at <= segment.to {
                let place = self.place(at);
                if place >= free_from {
                    ticks.push(at);
                    free_from = place + TICK_ROOM;
                }
                at += step;
            }
        }
        ticks
    }
}

/// The gaps to break out: again and again the longest, while it takes up nearly half of what is
/// shown.
fn breaks(gaps: &[(u64, u64)], end: u64) -> Vec<(u64, u64)> {
    let mut by_length: Vec<(u64, u64)> = gaps.to_vec();
    by_length.sort_by_key(|(from, to)| core::cmp::Reverse(to - from));
    let mut shown = end;
    let mut broken = Vec::new();
    for (from, to) in by_length.into_iter().take(BREAKS_MAX) {
        let length = to - from;
        if length < BREAK_MIN || length * 100 < shown * 42 {
            break;
        }
        // A little of it stays at both sides, to be seen as the state that lasts.
        let rest = ((shown - length) / 8).clamp(1, length / 4);
        broken.push((from + rest, to - rest));
        shown = shown - length + 2 * rest;
    }
    broken.sort_unstable();
    broken
}

fn bands_before(segments: &[Segment]) -> Tenths {
    segments.iter().filter(|segment| segment.is_broken).map(|segment| segment.right - segment.left).sum()
}

/// `part` of `whole`, as a part of `width`.
fn scale(part: u64, width: Tenths, whole: u64) -> Tenths {
    let place = u128::from(part) * u128::from(width) / u128::from(whole.max(1));
    u64::try_from(place).unwrap_or(u64::MAX)
}

/// A time as it is written at the axis: "1.5s", "2:05", "1:00:00".
pub(super) struct Mark(pub(super) u64);

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, millis) = (self.0 / 1000, self.0 % 1000);
        let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
        if seconds < 120 {
            write!(f, "{seconds}")?;
        } else if hours == 0 {
            write!(f, "{minutes}:{:02}", seconds % 60)?;
        } else {
            write!(f, "{hours}:{minutes:02}:{:02}", seconds % 60)?;
        }
        if millis > 0 {
            let digits = if millis % 100 == 0 {
                1
            } else if millis % 10 == 0 {
                2
            } else {
                3
            };
            let shown = millis / [100, 10, 1].get(digits - 1).copied().unwrap_or(1);
            write!(f, ".{shown:0digits$}")?;
        }
        if seconds < 120 { f.write_str("s") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_time_without_anything_is_broken_out() {
        let axis = Axis::new(vec![500, 1_500, 61_500, 62_000], 90_000, 0, 7_000);
        let broken: Vec<_> = axis.segments.iter().filter(|segment| segment.is_broken).collect();
        assert_eq!(broken.len(), 2, "{axis:?}");
        assert_eq!((axis.place(0), axis.place(90_000)), (0, 7_000));
        assert!(axis.place(1_500) > 500, "{axis:?}");
        assert!(axis.is_hidden(40_000) && !axis.is_hidden(1_000));
        let places: Vec<_> = (0..=90_000).step_by(100).map(|at| axis.place(at)).collect();
        assert!(places.is_sorted());
    }

    #[test]
    fn what_fits_is_not_broken() {
        let axis = Axis::new(vec![1_000, 3_000, 5_000, 7_500], 10_000, 0, 7_000);
        assert_eq!(axis.segments.len(), 1);
        assert_eq!(axis.ticks(), [0, 2_000, 4_000, 6_000, 8_000, 10_000]);
        assert_eq!(Axis::new(Vec::new(), 0, 0, 7_000).place(0), 0);
    }

    #[test]
    fn times_are_written_briefly() {
        for (millis, text) in [
            (0, "0s"),
            (1_500, "1.5s"),
            (60_050, "60.05s"),
            (125_000, "2:05"),
            (125_007, "2:05.007"),
            (3_600_000, "1:00:00"),
        ] {
            assert_eq!(Mark(millis).to_string(), text);
        }
    }
}
