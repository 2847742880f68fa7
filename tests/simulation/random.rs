//! Numbers that look random and are the same for the same seed, on every machine.

use std::time::Duration;

/// SplitMix64 (Steele, Lea, Flood 2014): one word of state, every seed as good as another.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// From `first` to `last`, both included.
    pub(crate) fn between(&mut self, first: u64, last: u64) -> u64 {
        first + self.below(last - first + 1)
    }

    /// True once in `count` times.
    pub(crate) fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::try_from(self.below(choices.len() as u64)).unwrap()]
    }

    /// At most `max` elements.
    pub(crate) fn some<T>(&mut self, max: u64, mut element: impl FnMut(&mut Random) -> T) -> Vec<T> {
        (0..self.between(0, max)).map(|_| element(self)).collect()
    }

    /// One to `max` elements.
    pub(crate) fn one_to<T>(&mut self, max: u64, mut element: impl FnMut(&mut Random) -> T) -> Vec<T> {
        (0..self.between(1, max)).map(|_| element(self)).collect()
    }

    /// Milliseconds: mostly round ones, so that things happen at the same time.
    pub(crate) fn duration(&mut self, longest: u64) -> Duration {
        const ROUND: [u64; 14] = [0, 1, 2, 5, 10, 20, 100, 500, 1000, 2000, 3000, 5000, 10_000, 30_000];
        let millis = if self.one_in(5) { self.between(0, longest) } else { self.pick(&ROUND) };
        Duration::from_millis(millis.min(longest))
    }
}
