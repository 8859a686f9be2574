//! Buffers that a thread uses again and again, so that a warm call allocates nothing.

use std::cell::RefCell;

use crate::tensor::TensorBuf;

/// The buffers of one call.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pub(crate) features: Vec<f32>,
    /// The features of models that compute in 64 bits.
    pub(crate) wide: Vec<f64>,
    pub(crate) outputs: Vec<TensorBuf>,
}

/// Buffers above this many numbers are given back to the allocator after the call.
const FEATURES_KEPT: usize = 1 << 20;
/// Calls nest when a model calls another; deeper nesting allocates.
const KEPT: usize = 4;

thread_local! {
    static SCRATCHES: RefCell<Vec<Scratch>> = const { RefCell::new(Vec::new()) };
}

/// Calls `f` with buffers of this thread. If `f` panics they are dropped.
#[inline]
pub(crate) fn with_scratch<T>(f: impl FnOnce(&mut Scratch) -> T) -> T {
    let taken = SCRATCHES.try_with(|scratches| scratches.borrow_mut().pop());
    let mut scratch = taken.ok().flatten().unwrap_or_default();
    let result = f(&mut scratch);
    if scratch.features.capacity().max(scratch.wide.capacity()) <= FEATURES_KEPT {
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
