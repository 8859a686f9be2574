//! Thousands of streams side by side.

mod columns;
mod kernels;
mod lanes;
mod list;

use super::{Ddm, Reason, Signal};
use crate::{Error, Result};

pub use columns::DetectorBank;
pub use kernels::Banked;
pub use list::DetectorList;

/// A bank of [`Ddm`]s.
pub type DdmBank = DetectorBank<Ddm>;

/// One detector for each of many streams (features, segments, models), all with the same settings.
///
/// [`DetectorBank`] keeps the detectors whose state is a few numbers ([`Banked`]) in columns; [`DetectorList`]
/// keeps any others one after the other. Each stream gives what a detector of its own would give, update by
/// update, bit for bit.
///
/// ```
/// use mlops_drift::detector::{Adwin, AdwinSettings, Bank, DetectorBank, DetectorList, PageHinkley, PageHinkleySettings};
///
/// /// The streams that drift within these rows.
/// fn drifting(bank: &mut impl Bank, rows: &[[f64; 2]]) -> mlops_drift::Result<Vec<usize>> {
///     let mut found = Vec::new();
///     for row in rows {
///         bank.update(row)?;
///         found.extend(bank.drifted());
///     }
///     Ok(found)
/// }
///
/// let rows: Vec<[f64; 2]> = (0..500).map(|step| [0.0, if step < 250 { 0.0 } else { 1.0 }]).collect();
/// let page_hinkley = PageHinkleySettings { threshold: 5.0, ..PageHinkleySettings::default() };
/// assert_eq!(drifting(&mut DetectorBank::<PageHinkley>::new(page_hinkley, 2)?, &rows)?, [1]);
/// let adwin = Adwin::new(AdwinSettings::default())?;
/// assert_eq!(drifting(&mut DetectorList::new(adwin, 2), &rows)?[0], 1);
/// # Ok::<(), mlops_drift::Error>(())
/// ```
pub trait Bank {
    /// How many streams there are.
    fn streams(&self) -> usize;

    /// Takes in the next value of each stream. NaN skips a stream: it keeps a warning, but is stable after a
    /// drift, which is told once.
    ///
    /// # Errors
    /// `Invalid` if there are more or fewer values than streams; `Data` if a value lies outside of the
    /// detector's domain. Then nothing changes.
    fn update(&mut self, values: &[f64]) -> Result<()>;

    /// What the last update of a stream said; `None` if there is no such stream.
    fn signal(&self, stream: usize) -> Option<Signal>;

    /// The number and the limit behind the last warning or drift of a stream; `None` while it is stable.
    fn reason(&self, stream: usize) -> Option<Reason>;

    /// Lets a stream start over; one that is not there changes nothing.
    fn reset(&mut self, stream: usize);

    /// The streams that the last update found drifted.
    fn drifted(&self) -> impl Iterator<Item = usize> + '_
    where
        Self: Sized,
    {
        (0..self.streams()).filter(|stream| self.signal(*stream) == Some(Signal::Drift))
    }
}

fn same_number(values: &[f64], streams: usize) -> Result<()> {
    if values.len() == streams {
        return Ok(());
    }
    Err(Error::invalid(format!("{} values for {streams} streams: want one for each", values.len())))
}
