//! Cross-validation: each part of the rows is tested on once.

use super::{Dataset, Split};
use crate::{Error, Result, Seed};

impl Dataset {
    /// Cuts the rows into folds and gives the training and test rows of each in turn; made when it is asked for.
    ///
    /// By `Random`, `Stratified` and `Group`, each of the folds is the test once, the others train. By time, the rows
    /// are cut into one part more: fold `i` trains on the first `i + 1` parts and tests on the next one, so that no
    /// model is tested on what was before its training; a gap is left before the test rows.
    ///
    /// The same rows, folds and seed give the same folds; see [`split`](Self::split) for their sizes.
    ///
    /// ```
    /// use mlops_core::data::{Column, ColumnKind, Dataset, Split, TableSchema};
    /// use mlops_core::Seed;
    ///
    /// let schema = TableSchema::new([Column::new("t", ColumnKind::Integer)])?;
    /// let data = Dataset::from_csv("t\n1\n2\n3\n4\n5\n6\n".as_bytes(), schema)?;
    /// let mut tested = Vec::new();
    /// for fold in data.folds(Split::Time("t"), 2, Seed::new(1))? {
    ///     let (train, test) = fold?;
    ///     tested.push((train.rows(), test.numbers("t")?));
    /// }
    /// assert_eq!(tested, [(2, vec![3.0, 4.0]), (4, vec![5.0, 6.0])]);
    /// # Ok::<(), mlops_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Invalid` if there are fewer than two folds (by time: none), or a time is missing; `NotFound` if there is no
    /// such column; `Data` if a fold would have no row to train or test on.
    pub fn folds<'a>(
        &'a self,
        by: Split<'_>,
        folds: usize,
        seed: Seed,
    ) -> Result<impl ExactSizeIterator<Item = Result<(Self, Self)>> + use<'a>> {
        let by_time = matches!(by, Split::Time(_) | Split::TimeWithGap(..));
        let parts = folds.saturating_add(usize::from(by_time));
        if parts < 2 {
            return Err(Error::invalid(format!(
                "{folds} {} nothing to train or test on: want at least {}",
                if folds == 1 { "fold leaves" } else { "folds leave" },
                if by_time { 1 } else { 2 }
            )));
        }
        if parts > self.rows() {
            return Err(Error::data(format!("{folds} folds are too many for {} rows", self.rows())));
        }
        let part_of_row = self.parts(by, &vec![1.0 / parts as f64; parts], seed)?;
        let rows = |wanted: &dyn Fn(usize) -> bool| -> Vec<usize> {
            (0..part_of_row.len()).filter(|row| wanted(part_of_row[*row])).collect()
        };
        let mut pairs = Vec::with_capacity(folds);
        for fold in 0..folds {
            let (mut train, test) = if by_time {
                (rows(&|part| part <= fold), rows(&|part| part == fold + 1))
            } else {
                (rows(&|part| part != fold), rows(&|part| part == fold))
            };
            if let Split::TimeWithGap(column, gap) = by {
                self.leave_gap(column, gap, &mut train, &test)?;
            }
            if train.is_empty() || test.is_empty() {
                return Err(Error::data(format!(
                    "fold {fold} of {folds} has {} rows to train and {} to test on: take fewer folds",
                    train.len(),
                    test.len()
                )));
            }
            pairs.push((train, test));
        }
        Ok(pairs.into_iter().map(|(train, test)| Ok((self.take(&train)?, self.take(&test)?))))
    }
}
