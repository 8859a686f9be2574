//! The last live numbers, counted.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::counts::{VERSION, same_reference};
use super::{GapCounts, Reference};
use crate::version::readable;
use crate::{Error, Result};

/// [`GapCounts`] of the last so many live numbers.
///
/// It keeps the place of each number among the reference values, four bytes, not the number.
///
/// ```
/// use mlops_drift::{Sample, gap_count::{Reference, SlidingGapCounts}};
///
/// let reference = Reference::new(&Sample::new([1.0, 2.0, 3.0])?)?;
/// let mut window = SlidingGapCounts::new(&reference, 2)?;
/// for value in [9.0, 1.0, 2.0] {
///     window.update(&reference, value)?;
/// }
/// assert_eq!(window.counts().total(), 2);
/// assert_eq!(window.counts().kolmogorov_smirnov(&reference)?.0, -1.0 / 3.0);
/// # Ok::<(), mlops_drift::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlidingGapCounts {
    counts: GapCounts,
    slots: VecDeque<u32>,
    window: usize,
}

/// What [`SlidingGapCounts`] hold, without their counters, which follow from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlidingState {
    version: u32,
    #[serde(default)]
    reference: Option<u64>,
    window: usize,
    slots: VecDeque<u32>,
}

impl SlidingGapCounts {
    /// A window of this many numbers, empty yet.
    ///
    /// # Errors
    /// `Invalid` if the window holds none, or the reference has 2^31 distinct values or more.
    pub fn new(reference: &Reference, window: usize) -> Result<Self> {
        let distinct = reference.values().len();
        if window == 0 || distinct >= 1 << 31 {
            return Err(Error::invalid(format!(
                "a window of {window} against {distinct} distinct values is out of range: want at least 1, below 2^31"
            )));
        }
        Ok(Self { counts: GapCounts::new(reference), slots: VecDeque::new(), window })
    }

    /// A window that goes on where another one stopped.
    ///
    /// # Errors
    /// `Unsupported` if the state has a version that this build does not read; `Invalid` if it was counted against
    /// another reference; `Data` if it is damaged.
    pub fn resume(reference: &Reference, state: SlidingState) -> Result<Self> {
        let SlidingState { version, reference: counted, window, slots } = state;
        readable("window", version, VERSION)?;
        same_reference(counted, Some(reference.fingerprint()))?;
        let mut resumed = Self::new(reference, window)?;
        let counts = &mut resumed.counts;
        if slots.len() > window {
            return Err(Error::data(format!(
                "the stored window of {window} is damaged: it holds {}",
                slots.len()
            )));
        }
        for slot in &slots {
            let counter = counts.counts.get_mut(*slot as usize).ok_or_else(|| {
                Error::data(format!("the stored window is damaged: place {slot} is beyond its reference"))
            })?;
            *counter += 1;
        }
        counts.total = slots.len() as u64;
        Ok(Self { slots, ..resumed })
    }

    /// What was counted so far, to be stored apart from the reference.
    pub fn state(&self) -> SlidingState {
        let (window, slots) = (self.window, self.slots.clone());
        SlidingState { version: VERSION, reference: self.counts.reference, window, slots }
    }

    /// Takes in one number and forgets the oldest if the window is full.
    ///
    /// # Errors
    /// As [`GapCounts::update`].
    pub fn update(&mut self, reference: &Reference, value: f64) -> Result<()> {
        self.counts.fits(reference)?;
        if value.is_nan() {
            return Err(Error::data("cannot place NaN: count missing values apart"));
        }
        if self.slots.len() == self.window
            && let Some(oldest) = self.slots.pop_front()
        {
            self.counts.counts[oldest as usize] -= 1;
            self.counts.total -= 1;
        }
        let slot = reference.slot(value);
        self.slots.push_back(slot as u32);
        self.counts.counts[slot] += 1;
        self.counts.total += 1;
        Ok(())
    }

    /// The counts of the numbers in the window.
    pub fn counts(&self) -> &GapCounts {
        &self.counts
    }
}
