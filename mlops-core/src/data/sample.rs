//! Samples of streams and tables that can be drawn again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Dataset;
use crate::version::Version;
use crate::{Digester, Error, Result, Seed};

/// A sample of fixed size without replacement from a stream of any length: uniform, or by weight.
///
/// Each item gets the priority `-ln(u) / weight`, with `u` uniform by a hash of the seed and the item's *id*, and
/// the items of least priority stay. So the sample depends on seed, ids and weights alone: any order, any
/// sharding and any merging give the same items, and drawing again gives them again. Ids must be unique: of two
/// items of one id and weight the later one replaces the first.
///
/// With equal weights every subset is equally likely. With others an item is drawn first with probability in
/// proportion to its weight, then the next among the rest, and so on.
///
/// **Cost** a hash an item, logarithmic time for the few that enter; memory for `capacity` items.
///
/// Source: P. S. Efraimidis, P. G. Spirakis, "Weighted random sampling with a reservoir", 2006.
///
/// ```
/// use mlops_core::Seed;
/// use mlops_core::data::Reservoir;
///
/// let mut a = Reservoir::new(10, Seed::new(7));
/// let mut b = a.clone();
/// for row in 0..500_u64 {
///     let shard = if row % 3 == 0 { &mut a } else { &mut b };
///     shard.push(row.to_le_bytes(), row);
/// }
/// a.merge(b)?;
/// assert_eq!(a.items().count(), 10);
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reservoir<T> {
    version: Version<1>,
    capacity: usize,
    seed: Seed,
    seen: u64,
    /// Least priority first. The bits of a positive number order as the number does.
    items: BTreeMap<u128, T>,
}

impl<T> Reservoir<T> {
    /// An empty sample that keeps up to `capacity` items.
    pub fn new(capacity: usize, seed: Seed) -> Self {
        Self { version: Version, capacity, seed, seen: 0, items: BTreeMap::new() }
    }

    /// Offers an item of weight 1.
    pub fn push(&mut self, id: impl AsRef<[u8]>, item: T) {
        self.offer(id.as_ref(), 1.0, item);
    }

    /// Offers an item of this weight; weight 0 is never kept.
    ///
    /// # Errors
    /// `Invalid` unless the weight is finite and not negative; the sample is then unchanged.
    pub fn push_weighted(&mut self, id: impl AsRef<[u8]>, weight: f64, item: T) -> Result<()> {
        if !(0.0..f64::INFINITY).contains(&weight) {
            return Err(Error::invalid(format!("weight {weight} is not a finite number of 0 or more")));
        }
        self.offer(id.as_ref(), weight, item);
        Ok(())
    }

    fn offer(&mut self, id: &[u8], weight: f64, item: T) {
        self.seen = self.seen.saturating_add(1);
        if weight == 0.0 {
            return;
        }
        let mut digester = Digester::new();
        digester.update(self.seed.value().to_le_bytes());
        digester.update(id);
        let mut halves = [[0; 8]; 2];
        halves.as_flattened_mut().copy_from_slice(&digester.finish().as_bytes()[..16]);
        let [draw, tie] = halves.map(u64::from_le_bytes);
        let uniform = ((draw >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
        let priority = (-uniform.ln() / weight).min(f64::MAX);
        self.items.insert(u128::from(priority.to_bits()) << 64 | u128::from(tie), item);
        self.trim();
    }

    /// Takes the sample of another shard.
    ///
    /// # Errors
    /// `Invalid` if capacity or seed differ.
    pub fn merge(&mut self, other: Self) -> Result<()> {
        if (self.capacity, self.seed) != (other.capacity, other.seed) {
            return Err(Error::invalid("samples of different capacity or seed do not merge"));
        }
        self.seen = self.seen.saturating_add(other.seen);
        self.items.extend(other.items);
        self.trim();
        Ok(())
    }

    fn trim(&mut self) {
        while self.items.len() > self.capacity {
            self.items.pop_last();
        }
    }

    /// How many items were offered.
    pub const fn seen(&self) -> u64 {
        self.seen
    }

    /// The sample, in the order in which it was drawn.
    pub fn items(&self) -> impl ExactSizeIterator<Item = &T> {
        self.items.values()
    }
}

/// How rows are drawn from a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Draw<'a> {
    /// Each row with the same chance.
    Uniform,
    /// By a column of weights: finite, not negative, not missing.
    Weighted(&'a str),
    /// That many rows of *each* value of a column, the missing one included.
    Stratified(&'a str),
}

impl Dataset {
    /// A sample of `rows` rows without replacement, or all if there are fewer. The rows keep their order.
    ///
    /// The same rows and seed give the same sample; see [`Reservoir`].
    ///
    /// ```
    /// use mlops_core::data::{Column, ColumnKind, Dataset, Draw, TableSchema};
    /// use mlops_core::Seed;
    ///
    /// let schema = TableSchema::new([Column::new("bought", ColumnKind::Boolean)])?;
    /// let csv = format!("bought\n{}{}", "true\n".repeat(5), "false\n".repeat(400));
    /// let data = Dataset::from_csv(csv.as_bytes(), schema)?;
    /// let balanced = data.sample(Draw::Stratified("bought"), 5, Seed::new(1))?;
    /// assert_eq!(balanced.numbers("bought")?.iter().sum::<f64>(), 5.0);
    /// assert_eq!(balanced.rows(), 10);
    /// # Ok::<(), mlops_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` if there is no such column, `Invalid` if it holds a weight that is none.
    pub fn sample(&self, by: Draw<'_>, rows: usize, seed: Seed) -> Result<Self> {
        let empty = Reservoir::new(rows, seed);
        let id = |row: usize| (row as u64).to_le_bytes();
        let strata: Vec<Reservoir<usize>> = match by {
            Draw::Uniform => {
                let mut sample = empty;
                (0..self.rows()).for_each(|row| sample.push(id(row), row));
                vec![sample]
            }
            Draw::Weighted(column) => {
                let mut sample = empty;
                for (row, weight) in self.numbers(column)?.into_iter().enumerate() {
                    sample
                        .push_weighted(id(row), weight, row)
                        .map_err(|error| error.context(format!("column `{column}`, row {row}")))?;
                }
                vec![sample]
            }
            Draw::Stratified(column) => {
                let draw = |places: Vec<usize>| {
                    let mut sample = empty.clone();
                    places.into_iter().for_each(|row| sample.push(id(row), row));
                    sample
                };
                self.rows_by_value(column)?.into_values().map(draw).collect()
            }
        };
        let mut places: Vec<usize> = strata.iter().flat_map(Reservoir::items).copied().collect();
        places.sort_unstable();
        self.take(&places)
    }
}
