//! Cutting a data set into parts that can be reproduced.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::seq::SliceRandom;

use super::{Dataset, Value};
use crate::{Digester, Error, Result, Seed};

/// A fraction of the rows may be off by so much of a row, by rounding.
const ROUNDING: f64 = 1e-6;

/// How rows are dealt into parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Split<'a> {
    /// By chance alone.
    Random,
    /// By chance within each value of a column, so that every part has its share of each class, to less than a row
    /// each way; missing is a class too.
    Stratified(&'a str),
    /// All rows with one value of a column go together, by a hash of that value: a user is never in two
    /// parts, and stays in its part when rows are added. A row without a value is a group of its own, by a hash of
    /// its place.
    Group(&'a str),
    /// By the order of a column: the oldest rows first. Equal times stay together, in the earlier part.
    Time(&'a str),
    /// As `Time`, with a gap before each later part: rows of earlier parts that are less than this older than its
    /// first row are left out. A label that looks a week ahead needs a gap of a week, or training rows know what
    /// happened in the test rows. The column holds times, or whole numbers of microseconds.
    TimeWithGap(&'a str, Duration),
}

impl Dataset {
    /// Cuts the rows into parts of these fractions. The rows of each part keep their order.
    ///
    /// The same rows, fractions and seed give the same parts. `Random` is within a row of the fractions; `Stratified`
    /// too, in each class, and within a few rows in all; `Group` meets them on average over many groups; the splits
    /// by time take no notice of the seed, and of the gap only when the parts are cut.
    ///
    /// ```
    /// use mlops_core::data::{Column, ColumnKind, Dataset, Split, TableSchema};
    /// use mlops_core::Seed;
    ///
    /// let schema = TableSchema::new([Column::new("bought", ColumnKind::Boolean)])?;
    /// let csv = format!("bought\n{}{}", "true\n".repeat(10), "false\n".repeat(40));
    /// let data = Dataset::from_csv(csv.as_bytes(), schema)?;
    /// let [train, test] = data.split(Split::Stratified("bought"), [0.8, 0.2], Seed::new(1))?;
    /// assert_eq!((train.rows(), test.rows()), (40, 10));
    /// assert_eq!(test.numbers("bought")?.iter().sum::<f64>(), 2.0);
    /// # Ok::<(), mlops_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Invalid` if the fractions are not positive with sum 1 (to 1e-9), or a time is missing; `NotFound` if
    /// there is no such column.
    pub fn split<const N: usize>(&self, by: Split<'_>, fractions: [f64; N], seed: Seed) -> Result<[Self; N]> {
        check(&fractions)?;
        let mut places = [const { Vec::new() }; N];
        for (row, part) in self.parts(by, &fractions, seed)?.into_iter().enumerate() {
            places[part].push(row);
        }
        if let Split::TimeWithGap(column, gap) = by {
            for part in 1..N {
                let (earlier, later) = places.split_at_mut(part);
                earlier.iter_mut().try_for_each(|rows| self.leave_gap(column, gap, rows, &later[0]))?;
            }
        }
        let mut parts = Vec::with_capacity(N);
        for places in &places {
            parts.push(self.take(places)?);
        }
        parts.try_into().map_err(|_| Error::internal("a split made too few parts"))
    }

    /// The part of each row.
    pub(super) fn parts(&self, by: Split<'_>, fractions: &[f64], seed: Seed) -> Result<Vec<usize>> {
        match by {
            Split::Random => Ok(deal(vec![(0..self.rows()).collect()], self.rows(), fractions, seed)),
            Split::Stratified(column) => {
                let strata = self.rows_by_value(column)?.into_values().collect();
                Ok(deal(strata, self.rows(), fractions, seed))
            }
            Split::Group(column) => self.parts_by_group(column, fractions, seed),
            Split::Time(column) | Split::TimeWithGap(column, _) => self.parts_by_time(column, fractions),
        }
    }

    /// Keeps of `earlier` the rows that are older than the first of `later` by the gap at least.
    pub(super) fn leave_gap(
        &self,
        column: &str,
        gap: Duration,
        earlier: &mut Vec<usize>,
        later: &[usize],
    ) -> Result<()> {
        let times = self.numbers(column)?;
        let first = later.iter().map(|row| times[*row]).fold(f64::INFINITY, f64::min);
        earlier.retain(|row| times[*row] + gap.as_micros() as f64 <= first);
        Ok(())
    }

    pub(super) fn rows_by_value(&self, column: &str) -> Result<BTreeMap<Vec<u8>, Vec<usize>>> {
        let index = self.schema().index_of(column)?;
        let mut rows: BTreeMap<Vec<u8>, Vec<usize>> = BTreeMap::new();
        self.for_each_row(|row, values| {
            rows.entry(key(values[index])).or_default().push(row);
            Ok(())
        })?;
        Ok(rows)
    }

    fn parts_by_group(&self, column: &str, fractions: &[f64], seed: Seed) -> Result<Vec<usize>> {
        let part = |key: &[u8]| {
            let mut digester = Digester::new();
            digester.update(seed.value().to_le_bytes());
            digester.update(key);
            let mut head = [0; 8];
            head.copy_from_slice(&digester.finish().as_bytes()[..8]);
            let uniform = (u64::from_le_bytes(head) >> 11) as f64 / (1_u64 << 53) as f64;
            part_at(fractions, uniform)
        };
        let mut part_of_row = vec![0; self.rows()];
        for (group, rows) in self.rows_by_value(column)? {
            if group == key(Value::Missing) {
                for row in rows {
                    part_of_row[row] = part(&[&group, &(row as u64).to_le_bytes()[..]].concat());
                }
            } else {
                let part = part(&group);
                rows.into_iter().for_each(|row| part_of_row[row] = part);
            }
        }
        Ok(part_of_row)
    }

    fn parts_by_time(&self, column: &str, fractions: &[f64]) -> Result<Vec<usize>> {
        let times = self.numbers(column)?;
        if let Some(row) = times.iter().position(|time| time.is_nan()) {
            return Err(Error::invalid(format!(
                "column `{column}` has no time in row {row}: drop the row first"
            )));
        }
        let mut order: Vec<usize> = (0..times.len()).collect();
        order.sort_by(|a, b| times[*a].total_cmp(&times[*b]));
        let mut part_of_row = vec![0; times.len()];
        let mut part = 0;
        for (rank, row) in order.iter().enumerate() {
            if rank == 0 || times[*row] != times[order[rank - 1]] {
                part = part_at(fractions, (rank as f64 + ROUNDING) / times.len() as f64);
            }
            part_of_row[*row] = part;
        }
        Ok(part_of_row)
    }
}

fn check(fractions: &[f64]) -> Result<()> {
    let sum: f64 = fractions.iter().sum();
    if fractions.iter().all(|fraction| *fraction > 0.0) && (sum - 1.0).abs() <= 1e-9 {
        return Ok(());
    }
    Err(Error::invalid(format!("the fractions {fractions:?} of a split must be positive and add up to 1")))
}

/// Shuffles each stratum and cuts it at the fractions. Rows that are left over when each part has its whole ones go
/// to the parts that have had least so far: so parts have their size also over many small strata.
fn deal(mut strata: Vec<Vec<usize>>, rows: usize, fractions: &[f64], seed: Seed) -> Vec<usize> {
    let mut rng = seed.rng();
    // Else the first values of the column would always go to the largest part.
    strata.shuffle(&mut rng);
    let mut part_of_row = vec![0; rows];
    let mut owed = vec![0.0; fractions.len()];
    for mut stratum in strata {
        stratum.shuffle(&mut rng);
        let shares: Vec<f64> = fractions.iter().map(|fraction| fraction * stratum.len() as f64).collect();
        let mut sizes: Vec<usize> = shares.iter().map(|share| (share + ROUNDING) as usize).collect();
        owed.iter_mut()
            .zip(&shares)
            .zip(&sizes)
            .for_each(|((owed, share), size)| *owed += share - *size as f64);
        let mut neediest: Vec<usize> = (0..fractions.len()).collect();
        neediest.sort_by(|a, b| owed[*b].total_cmp(&owed[*a]));
        let left = stratum.len().saturating_sub(sizes.iter().sum());
        for part in neediest.into_iter().take(left) {
            sizes[part] += 1;
            owed[part] -= 1.0;
        }
        let parts = sizes.iter().enumerate().flat_map(|(part, size)| std::iter::repeat_n(part, *size));
        stratum.into_iter().zip(parts).for_each(|(row, part)| part_of_row[row] = part);
    }
    part_of_row
}

/// The part in which the point `uniform` of [0, 1) lies.
fn part_at(fractions: &[f64], uniform: f64) -> usize {
    let mut end = 0.0;
    for (part, fraction) in fractions.iter().enumerate() {
        end += fraction;
        if uniform < end {
            return part;
        }
    }
    fractions.len() - 1
}

fn key(value: Value<'_>) -> Vec<u8> {
    match value {
        Value::Missing => vec![0],
        Value::Float(value) => [&[1], &value.to_bits().to_le_bytes()[..]].concat(),
        Value::Integer(value) => [&[2], &value.to_le_bytes()[..]].concat(),
        Value::Boolean(value) => vec![3, u8::from(value)],
        Value::Text(value) => [&[4], value.as_bytes()].concat(),
    }
}
