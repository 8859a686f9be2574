//! Buffers that many threads write to, of which none waits for another.

use std::cell::Cell;
use std::sync::TryLockError;
use std::sync::atomic::{AtomicUsize, Ordering};

use mlops_core::record::InferenceRecord;

use super::buffer::Buffer;
use super::room::Room;
use crate::sync::{Mutex, PoisonError};

/// A few buffers, one for each of the first threads; further threads share them.
#[derive(Debug)]
pub(crate) struct Buffers {
    buffers: [Mutex<Buffer>; BUFFERS],
    room: Room,
}

/// With loom two, so that all interleavings can be tried.
const BUFFERS: usize = if cfg!(loom) { 2 } else { 8 };

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
                    fallback: false,
                    decision: None,
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

/// Model checking: every interleaving of who writes and who drains is tried.
#[cfg(all(test, loom))]
mod loom_tests {
    use loom::thread;
    use mlops_core::data::Value;
    use mlops_core::{RequestId, Timestamp};

    use super::*;
    use crate::sync::Arc;

    fn push(buffers: &Buffers, id: u128) -> bool {
        buffers.push(
            &InferenceRecord {
                id: RequestId::from_u128(id),
                time: Timestamp::EPOCH,
                model: "shop",
                version: 1,
                arm: "champion",
                propensity: 1.0,
                latency_us: 1.0,
                fallback: false,
                decision: None,
                candidates: &[],
                features: &[Value::Float(id as f64)],
                outputs: &[0.5],
            },
            true,
        )
    }

    fn drain(buffers: &Buffers, into: &mut Vec<u128>) {
        buffers.drain(&mut Buffer::default(), |record, _| {
            assert_eq!(record.features, [Value::Float(record.id.as_u128() as f64)]);
            into.push(record.id.as_u128());
        });
    }

    /// Room for two of three records.
    #[test]
    fn what_was_taken_in_comes_out_once_and_gives_its_room_back() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(|| {
            let bytes = 2 * Buffer::record_bytes(1, 1);
            let buffers = Arc::new(Buffers::new(bytes));
            let shared = Arc::clone(&buffers);
            let writer = thread::spawn(move || [1, 2].map(|id| push(&shared, id)));
            let third = push(&buffers, 3);
            let mut drained = Vec::new();
            drain(&buffers, &mut drained);
            let [first, second] = writer.join().expect("no panic");
            drain(&buffers, &mut drained);
            drained.sort_unstable();
            let taken = [(1, first), (2, second), (3, third)].into_iter().filter(|(_, taken)| *taken);
            assert_eq!(drained, Vec::from_iter(taken.map(|(id, _)| id)));
            assert!(drained.len() >= 2, "there is room for two at any time: {drained:?}");
            assert_eq!((buffers.len(), buffers.room.take(bytes)), (0, bytes));
        });
    }
}
