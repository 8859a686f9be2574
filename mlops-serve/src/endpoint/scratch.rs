//! Buffers that a thread uses again and again, so that a warm call allocates nothing.

use std::cell::RefCell;

use crate::spares::Held;
use crate::tensor::TensorBuf;

/// The buffers of one call.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    pub(super) inputs: Vec<TensorBuf>,
    pub(super) outputs: Vec<TensorBuf>,
    /// What an encoder made, on the way to 64 bits.
    pub(super) narrow: TensorBuf,
}

/// Buffers of more than this many bytes together are given back to the allocator after the call.
const BYTES_KEPT: usize = 4 << 20;
/// Calls nest when a model calls another; deeper nesting allocates.
const KEPT: usize = 4;

#[allow(clippy::vec_box, reason = "it goes out and in by its address, not by its content")]
type Spares = Vec<Box<Scratch>>;

thread_local! {
    static SCRATCHES: RefCell<Spares> = const { RefCell::new(Vec::new()) };
}

/// Calls `f` with buffers of this thread. If `f` panics they are dropped.
#[inline]
pub(super) fn with_scratch<T>(f: impl FnOnce(&mut Scratch) -> T) -> T {
    let taken = SCRATCHES.try_with(|scratches| scratches.borrow_mut().pop());
    let mut scratch = taken.ok().flatten().unwrap_or_default();
    let result = f(&mut scratch);
    let Scratch { inputs, outputs, narrow } = &*scratch;
    if inputs.held_bytes() + outputs.held_bytes() + narrow.memory_usage() <= BYTES_KEPT {
        // While the thread ends there is nowhere to put it: it is dropped.
        let _ = SCRATCHES.try_with(|scratches| {
            let mut scratches = scratches.borrow_mut();
            if scratches.len() < KEPT {
                scratches.push(scratch);
            }
        });
    }
    result
}
