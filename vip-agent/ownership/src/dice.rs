//! Session ids and pauses, repeatable by their seed.

use std::time::Duration;

/// SplitMix64 (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators", 2014),
/// beside the seed itself, whose 128 bits make ids unique.
#[derive(Clone, Debug)]
pub(super) struct Dice {
    seed: u128,
    state: u64,
}

impl Dice {
    pub(super) fn new(seed: u128) -> Self {
        Self {
            seed,
            state: seed as u64,
        }
    }

    /// A session id that this process never gave before, and no other process ever.
    pub(super) fn id(&mut self) -> [u8; 16] {
        self.seed = self.seed.wrapping_add(1);
        self.seed.to_be_bytes()
    }

    /// A time from `least` to `most`, in steps of a millisecond.
    pub(super) fn between(&mut self, least: u64, most: u64) -> Duration {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Duration::from_millis(least + (z ^ (z >> 31)) % (most - least + 1))
    }
}
