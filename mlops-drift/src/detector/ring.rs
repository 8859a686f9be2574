//! The last few bits of a stream.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// A ring of bits with the number of ones among them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub(super) struct Bits {
    words: Vec<u64>,
    room: usize,
    next: usize,
    len: usize,
    ones: usize,
}

/// The bits, oldest first.
#[derive(Serialize, Deserialize)]
struct Stored {
    room: usize,
    bits: Vec<u8>,
}

impl Bits {
    pub(super) fn new(room: usize) -> Self {
        Self { words: vec![0; room.div_ceil(64)], room, next: 0, len: 0, ones: 0 }
    }

    /// Adds a bit; gives the oldest if there was no room for both.
    pub(super) fn push(&mut self, bit: bool) -> Option<bool> {
        let place = self.next;
        let oldest = (self.len == self.room).then(|| self.at(place));
        self.words[place / 64] =
            self.words[place / 64] & !(1 << (place % 64)) | u64::from(bit) << (place % 64);
        self.ones = self.ones + usize::from(bit) - usize::from(oldest == Some(true));
        self.len += usize::from(oldest.is_none());
        self.next = if place + 1 == self.room { 0 } else { place + 1 };
        oldest
    }

    /// The bits from the oldest to the newest.
    pub(super) fn iter(&self) -> impl Iterator<Item = bool> + '_ {
        (0..self.len).map(|index| self.get(index))
    }

    /// The bit at this place, counted from the oldest, of those that are there.
    pub(super) fn get(&self, index: usize) -> bool {
        let place = self.next + self.room - self.len + index;
        self.at(if place < self.room { place } else { place - self.room })
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn room(&self) -> usize {
        self.room
    }

    pub(super) fn ones(&self) -> usize {
        self.ones
    }

    pub(super) fn is_full(&self) -> bool {
        self.len == self.room
    }

    pub(super) fn clear(&mut self) {
        self.next = 0;
        self.len = 0;
        self.ones = 0;
    }

    /// Forgets all but the newest bits.
    pub(super) fn keep_newest(&mut self, count: usize) {
        self.len = self.len.min(count);
        self.ones = self.iter().filter(|bit| *bit).count();
    }

    fn at(&self, place: usize) -> bool {
        self.words[place / 64] >> (place % 64) & 1 == 1
    }
}

/// Where in the ring the bits lie does not matter.
impl PartialEq for Bits {
    fn eq(&self, other: &Self) -> bool {
        self.room == other.room && self.len == other.len && self.iter().eq(other.iter())
    }
}

impl TryFrom<Stored> for Bits {
    type Error = Error;

    fn try_from(Stored { room, bits }: Stored) -> Result<Self> {
        if room == 0 || bits.len() > room || room > usize::from(u16::MAX) || bits.iter().any(|bit| *bit > 1) {
            return Err(Error::data("the stored window of a detector is damaged: start with a new one"));
        }
        let mut ring = Self::new(room);
        for bit in bits {
            ring.push(bit == 1);
        }
        Ok(ring)
    }
}

impl From<Bits> for Stored {
    fn from(ring: Bits) -> Self {
        Self { room: ring.room, bits: ring.iter().map(u8::from).collect() }
    }
}
