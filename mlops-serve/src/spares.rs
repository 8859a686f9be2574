//! Buffers that wait for the next call.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::tensor::TensorBuf;

/// Buffers between calls: no more than so many, and no more than [`BYTES_KEPT`] of memory, so that one large call does
/// not hold its memory for ever.
#[derive(Debug)]
pub(crate) struct Spares<T> {
    kept: Mutex<Kept<T>>,
    count_max: usize,
}

#[derive(Debug)]
struct Kept<T> {
    buffers: Vec<T>,
    bytes: usize,
}

/// What knows the bytes of memory that it holds, used or not.
pub(crate) trait Held {
    fn held_bytes(&self) -> usize;
}

impl Held for [TensorBuf] {
    fn held_bytes(&self) -> usize {
        self.iter().map(TensorBuf::memory_usage).sum()
    }
}

/// The most bytes that are kept. What is beyond goes back to the allocator, whose cost is nothing beside that of
/// computing so much.
pub(crate) const BYTES_KEPT: usize = 16 << 20;

impl<T: Held + Default> Spares<T> {
    pub(crate) fn new(count_max: usize) -> Self {
        Self { kept: Mutex::new(Kept { buffers: Vec::new(), bytes: 0 }), count_max }
    }

    pub(crate) fn take(&self) -> T {
        let mut kept = self.kept();
        let Some(buffers) = kept.buffers.pop() else { return T::default() };
        kept.bytes -= buffers.held_bytes();
        buffers
    }

    pub(crate) fn give_back(&self, buffers: T) {
        let bytes = buffers.held_bytes();
        let mut kept = self.kept();
        if kept.buffers.len() < self.count_max && kept.bytes + bytes <= BYTES_KEPT {
            kept.bytes += bytes;
            kept.buffers.push(buffers);
        } else {
            // Freed while nobody waits for it.
            drop(kept);
        }
    }

    pub(crate) fn memory_usage(&self) -> usize {
        self.kept().bytes
    }

    fn kept(&self) -> MutexGuard<'_, Kept<T>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Held for Vec<u8> {
        fn held_bytes(&self) -> usize {
            self.capacity()
        }
    }

    #[test]
    fn neither_many_nor_large_buffers_are_kept() {
        let spares = Spares::new(3);
        (0..5).for_each(|_| spares.give_back(vec![0; 100]));
        assert_eq!(spares.memory_usage(), 300);
        (0..3).for_each(|_| assert_eq!(spares.take().len(), 100));
        assert_eq!((spares.take(), spares.memory_usage()), (Vec::new(), 0));
        spares.give_back(vec![0; BYTES_KEPT + 1]);
        assert_eq!(spares.memory_usage(), 0);
        spares.give_back(vec![0; BYTES_KEPT]);
        spares.give_back(vec![0; 1]);
        assert_eq!(spares.memory_usage(), BYTES_KEPT);
    }
}
