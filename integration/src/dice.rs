//! Chance that can be repeated: numbers from a seed that is printed, and how often a test does something.

use crate::test_name;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A stream of numbers that depends on its seed alone.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// With the seed in `VZRUN_TEST_SEED`, or one from the clock; it is printed either way.
    pub fn new() -> Dice {
        let clock = || {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            now.as_nanos() as u64
        };
        let seed = std::env::var("VZRUN_TEST_SEED")
            .map_or_else(|_| clock(), |text| text.parse().expect("VZRUN_TEST_SEED"));
        println!("{}: VZRUN_TEST_SEED={seed}", test_name());
        Dice(seed)
    }

    /// With this seed.
    pub fn seeded(seed: u64) -> Dice {
        Dice(seed)
    }

    /// Any number. (SplitMix64: a counter whose value is stirred.)
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.number() % end as u64) as usize
    }

    /// One of these.
    pub fn one_of<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }

    /// A time between none and `longest`, in microseconds.
    pub fn time(&mut self, longest: Duration) -> Duration {
        Duration::from_micros(self.number() % (longest.as_micros() as u64 + 1))
    }
}

impl Default for Dice {
    fn default() -> Dice {
        Dice::new()
    }
}

/// How many rounds a test of chance takes: what `VZRUN_TEST_ROUNDS` says (of the longest test; a shorter one takes
/// its share), else `few`.
pub fn rounds(few: usize, share_of_many: f64) -> usize {
    match std::env::var("VZRUN_TEST_ROUNDS") {
        Ok(text) => {
            let many: usize = text.parse().expect("VZRUN_TEST_ROUNDS");
            ((many as f64 * share_of_many) as usize).max(1)
        }
        Err(_) => few,
    }
}
