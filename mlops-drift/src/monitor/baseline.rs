//! What the data looked like when all was well.

use std::sync::Arc;

use arrow_array::RecordBatch;
use mlops_core::data::TableSchema;
use serde::{Deserialize, Serialize};

use super::column::{ColumnReference, Grid};
use super::{CheckOptions, DriftReport, Monitor};
use crate::binning::Binning;
use crate::fingerprint::fingerprint;
use crate::version::Read;
use crate::{Error, Result};

/// How a baseline is fitted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BaselineOptions {
    /// How numeric columns are cut into buckets.
    pub binning: Binning,
}

/// The feature columns of a reference table: distinct values with counts, missing and non-finite cells.
///
/// It holds every distinct value of the reference (16 bytes a number), which makes Kolmogorov-Smirnov exact
/// and lets baselines of shards merge into that of the whole. Buckets are derived from it, by the reference
/// alone. Serialises with a version.
///
/// ```
/// use arrow_array::{Float64Array, RecordBatch};
/// use mlops_core::Timestamp;
/// use mlops_core::data::{Column, ColumnKind, TableSchema};
/// use mlops_drift::monitor::{Baseline, BaselineOptions, CheckOptions};
/// use std::sync::Arc;
///
/// let schema = TableSchema::new([Column::new("exit_rate", ColumnKind::Float)])?;
/// let table = |shift: f64| {
///     let values = Float64Array::from_iter_values((0..500).map(|i| f64::from(i % 97) + shift));
///     RecordBatch::try_new(schema.to_arrow(), vec![Arc::new(values)])
/// };
/// let baseline = Baseline::fit(&schema, &[table(0.0)?], BaselineOptions::default())?;
/// let calm = baseline.check(&[table(0.5)?], &CheckOptions::default())?;
/// assert!(calm.events(Timestamp::EPOCH).is_empty());
/// let report = baseline.check(&[table(50.0)?], &CheckOptions::default())?;
/// let event = &report.events(Timestamp::EPOCH)[0];
/// assert_eq!(event.subject, "feature `exit_rate`");
/// # Ok::<(), mlops_drift::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Read<Parts>", into = "Stored")]
pub struct Baseline {
    shared: Arc<Shared>,
}

#[derive(Debug, PartialEq)]
pub(crate) struct Shared {
    pub(crate) options: BaselineOptions,
    pub(crate) columns: Vec<ColumnReference>,
    /// In the order of `columns`.
    pub(crate) grids: Vec<Grid>,
    /// Tells baselines apart.
    pub(crate) fingerprint: u64,
}

#[derive(Serialize)]
struct Stored {
    version: u32,
    #[serde(flatten)]
    parts: Parts,
}

#[derive(Serialize, Deserialize)]
struct Parts {
    options: BaselineOptions,
    columns: Vec<ColumnReference>,
}

impl Baseline {
    /// The baseline of the feature columns of these batches.
    ///
    /// Columns may be named as in the table or, as in captured records, with `feature.` before it. A column
    /// whose cells are all missing is a valid reference: live values in it are then a change of the missing
    /// rate. Cost: O(n log n) a numeric column.
    ///
    /// # Errors
    /// `Unsupported` if a feature is a timestamp; `NotFound` if a batch lacks a feature; `Data` if there are no rows
    /// or a column is not of the schema's kind (an integer column may come as floats without fractions); `Invalid`
    /// if the table has no features, a text column has over 100 000 categories, or over 1000 that occur once and make up nine tenths of its cells, or the binning is out of range.
    pub fn fit(schema: &TableSchema, batches: &[RecordBatch], options: BaselineOptions) -> Result<Self> {
        if batches.iter().all(|batch| batch.num_rows() == 0) {
            return Err(Error::data(format!(
                "cannot fit a baseline on no rows ({} batches): give the rows of a time when all was well",
                batches.len()
            )));
        }
        let mut columns = Vec::new();
        for column in schema.features() {
            let mut reference = ColumnReference::new(&column.name, column.kind)?;
            reference
                .learn(batches)
                .map_err(|error| error.context(format!("cannot fit column `{}`", column.name)))?;
            columns.push(reference);
        }
        if columns.is_empty() {
            return Err(Error::invalid("the table has no feature: give the columns to watch that role"));
        }
        Self::assemble(options, columns)
    }

    /// The baseline of both tables, equal to that of their concatenation.
    ///
    /// # Errors
    /// `Invalid` if columns or options differ.
    pub fn merge(&self, other: &Self) -> Result<Self> {
        let (mine, theirs) = (&self.shared, &other.shared);
        let names =
            |shared: &Shared| shared.columns.iter().map(|column| column.name.clone()).collect::<Vec<_>>();
        if names(mine) != names(theirs) || mine.options != theirs.options {
            return Err(Error::invalid("baselines of different columns or options cannot be merged"));
        }
        let mut columns = mine.columns.clone();
        for (column, more) in columns.iter_mut().zip(&theirs.columns) {
            column.merge(more)?;
        }
        Self::assemble(mine.options.clone(), columns)
    }

    /// Compares a window with this baseline: [`Monitor`] in one call.
    ///
    /// # Errors
    /// `Invalid` if an option is out of range. A column that cannot be compared does not stop the others: its
    /// part of the report holds its own problem.
    pub fn check(&self, batches: &[RecordBatch], options: &CheckOptions) -> Result<DriftReport> {
        let mut monitor = Monitor::new(self);
        batches.iter().for_each(|batch| monitor.observe(batch));
        monitor.report(options)
    }

    /// The names of the columns, in the order of the schema.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.shared.columns.iter().map(|column| column.name.as_str())
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    fn assemble(options: BaselineOptions, columns: Vec<ColumnReference>) -> Result<Self> {
        let grids = columns
            .iter()
            .map(|column| Grid::new(&column.values, &options.binning))
            .collect::<Result<Vec<_>>>()?;
        let fingerprint =
            fingerprint(columns.iter().zip(&grids).flat_map(|(column, grid)| column.words(grid)));
        Ok(Self { shared: Arc::new(Shared { options, columns, grids, fingerprint }) })
    }
}

impl TryFrom<Read<Parts>> for Baseline {
    type Error = Error;

    fn try_from(stored: Read<Parts>) -> Result<Self> {
        let (_, Parts { options, columns }) = stored.of("baseline", VERSION)?;
        if let Some(column) = columns.iter().find(|column| !column.is_sound()) {
            return Err(Error::data(format!(
                "column `{}` of the stored baseline is damaged: its counts do not add up to its rows",
                column.name
            )));
        }
        Self::assemble(options, columns)
    }
}

impl From<Baseline> for Stored {
    fn from(Baseline { shared }: Baseline) -> Self {
        let parts = Parts { options: shared.options.clone(), columns: shared.columns.clone() };
        Self { version: VERSION, parts }
    }
}

const VERSION: u32 = 1;
