//! Buffers that many threads write to, of which none waits for another.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, TryLockError};

use mlops_core::record::InferenceRecord;

use super::buffer::Buffer;
use super::room::Room;

/// A few buffers, one for each of the first threads; further threads share them.
#[derive(Debug)]
pub(crate) struct Buffers {
    buffers: [Mutex<Buffer>; BUFFERS],
    room: Room,
}

const BUFFERS: usize = 8;

impl Buffers {
    /// Buffers whose records take so many bytes together.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { buffers: Default::default(), room: Room::new(bytes_max) }
    }

    /// Copies the record into the buffer of this thread, or into another if that one is in use. Never waits; false
    /// if there was no room.
    pub(crate) fn push(&self, record: &InferenceRecord<'_>, in_sample: bool) -> bool {
        let own = thread_index();
        for turn in 0..BUFFERS {
            let mut buffer = match self.buffers[(own + turn) % BUFFERS].try_lock() {
                Ok(buffer) => buffer,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => continue,
            };
            return buffer.push(record, in_sample, &self.room);
        }
        false
    }

    /// Calls `each` with every record and whether its request is in the sample, then forgets them. Each buffer
    /// changes places with `spare` first, so that threads go on writing meanwhile.
    pub(crate) fn drain(&self, spare: &mut Buffer, mut each: impl FnMut(&InferenceRecord<'_>, bool)) {
        for buffer in &self.buffers {
            std::mem::swap(&mut *buffer.lock().unwrap_or_else(PoisonError::into_inner), spare);
            spare.give_back(&self.room);
            spare.drain(&mut each);
            // It takes the place of the next buffer: what a burst left would end up in all of them.
            spare.shrink(self.room.bytes() / BUFFERS);
        }
    }

    /// The number of records that wait.
    pub(crate) fn len(&self) -> usize {
        let length = |buffer: &Mutex<Buffer>| buffer.lock().unwrap_or_else(PoisonError::into_inner).len();
        self.buffers.iter().map(length).sum()
    }
}

/// Consecutive numbers for threads, so that the first `BUFFERS` of them share no buffer.
fn thread_index() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static INDEX: Cell<usize> = Cell::new(NEXT.fetch_add(1, Ordering::Relaxed));
    }
    INDEX.with(Cell::get)
}

#[cfg(test)]
mod tests {
    use mlops_core::data::Value;
    use mlops_core::{RequestId, Timestamp};

    use super::*;

    #[test]
    fn bursts_leave_no_more_memory_than_the_room() {
        let buffers = Buffers::new(1 << 20);
        let mut spare = Buffer::default();
        for _ in 0..20 {
            let mut taken = 0;
            while buffers.push(
                &InferenceRecord {
                    id: RequestId::from_u128(taken),
                    time: Timestamp::EPOCH,
                    model: "shop",
                    version: 1,
                    arm: "champion",
                    propensity: 1.0,
                    latency_us: 1.0,
                    candidates: &["hat"],
                    features: &[Value::Float(0.5), Value::Text("new"), Value::Missing],
                    outputs: &[0.5],
                },
                true,
            ) {
                taken += 1;
            }
            assert!(taken > 5000, "{taken}");
            let mut drained = 0;
            buffers.drain(&mut spare, |_, _| drained += 1);
            assert_eq!(drained, taken);
            let held =
                buffers.buffers.iter().map(|buffer| buffer.lock().unwrap().memory_usage()).sum::<usize>();
            assert!(held + spare.memory_usage() <= 1 << 20, "{held}");
        }
    }
}
