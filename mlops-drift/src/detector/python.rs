//! The draws of Python's `random.Random`, for parity with river.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The Mersenne Twister MT19937 (M. Matsumoto, T. Nishimura, 1998), seeded as Python seeds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub(super) struct PythonRandom {
    words: Vec<u32>,
    next: usize,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    words: Vec<u32>,
    next: usize,
}

impl PythonRandom {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Self { words: vec![0; SIZE], next: SIZE };
        random.seed(seed);
        random
    }

    /// Starts over.
    pub(super) fn seed(&mut self, seed: u64) {
        let halves = [seed as u32, (seed >> 32) as u32];
        let key = if halves[1] == 0 { &halves[..1] } else { &halves };
        let words = &mut self.words;
        words[0] = 19_650_218;
        for i in 1..SIZE {
            let last = words[i - 1];
            words[i] = 1_812_433_253u32.wrapping_mul(last ^ (last >> 30)).wrapping_add(i as u32);
        }
        let mut i = 1;
        let step = |words: &mut [u32], i: &mut usize, factor: u32, add: u32| {
            let last = words[*i - 1];
            words[*i] = (words[*i] ^ (last ^ (last >> 30)).wrapping_mul(factor)).wrapping_add(add);
            *i += 1;
            if *i == SIZE {
                words[0] = words[SIZE - 1];
                *i = 1;
            }
        };
        for k in 0..SIZE {
            let j = k % key.len();
            step(words, &mut i, 1_664_525, key[j].wrapping_add(j as u32));
        }
        for _ in 1..SIZE {
            let back = (i as u32).wrapping_neg();
            step(words, &mut i, 1_566_083_941, back);
        }
        words[0] = 0x8000_0000;
        self.next = SIZE;
    }

    fn word(&mut self) -> u32 {
        if self.next == SIZE {
            for i in 0..SIZE {
                let y = (self.words[i] & 0x8000_0000) | (self.words[(i + 1) % SIZE] & 0x7fff_ffff);
                let twist = if y & 1 == 1 { 0x9908_b0df } else { 0 };
                self.words[i] = self.words[(i + 397) % SIZE] ^ (y >> 1) ^ twist;
            }
            self.next = 0;
        }
        let mut y = self.words[self.next];
        self.next += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    fn below(&mut self, limit: usize) -> usize {
        let bits = usize::BITS - limit.leading_zeros();
        loop {
            let drawn = (self.word() >> (32 - bits)) as usize;
            if drawn < limit {
                return drawn;
            }
        }
    }

    /// `random.sample(range(total), count)`, at most 65 535 in total; `scratch` is room to work in.
    pub(super) fn sample(
        &mut self,
        total: usize,
        count: usize,
        scratch: &mut Vec<u16>,
        mut take: impl FnMut(usize),
    ) {
        let mut set_size = 21.0;
        if count > 5 {
            set_size += 4f64.powf((count as f64 * 3.0).ln().div_euclid(4f64.ln()) + 1.0);
        }
        scratch.clear();
        if total as f64 <= set_size {
            scratch.extend(0..total as u16);
            for i in 0..count {
                let j = self.below(total - i);
                take(scratch[j].into());
                scratch[j] = scratch[total - i - 1];
            }
        } else {
            for _ in 0..count {
                let mut j = self.below(total) as u16;
                while scratch.contains(&j) {
                    j = self.below(total) as u16;
                }
                scratch.push(j);
                take(j.into());
            }
        }
    }
}

impl TryFrom<Stored> for PythonRandom {
    type Error = Error;

    fn try_from(Stored { words, next }: Stored) -> Result<Self> {
        if words.len() != SIZE || next > SIZE {
            return Err(Error::data("the stored generator of a detector is damaged: start with a new one"));
        }
        Ok(Self { words, next })
    }
}

impl From<PythonRandom> for Stored {
    fn from(PythonRandom { words, next }: PythonRandom) -> Self {
        Self { words, next }
    }
}

const SIZE: usize = 624;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_samples_are_those_of_python() {
        // CPython 3.11: r = random.Random(42); [r.getrandbits(32) for _ in range(3)]
        let mut random = PythonRandom::new(42);
        assert_eq!([random.word(), random.word(), random.word()], [2_746_317_213, 478_163_327, 107_420_369]);
        let sample = |seed, total, count| {
            let mut drawn = Vec::new();
            PythonRandom::new(seed).sample(total, count, &mut Vec::new(), |index| drawn.push(index));
            drawn
        };
        // random.Random(42).sample(range(70), 5), random.Random(2**40 + 7).sample(range(1000), 4)
        assert_eq!(sample(42, 70, 5), PYTHON_70);
        assert_eq!(sample((1 << 40) + 7, 1000, 4), PYTHON_1000);
    }

    const PYTHON_70: [usize; 5] = [14, 3, 35, 31, 28];
    const PYTHON_1000: [usize; 4] = [628, 765, 834, 960];
}
