//! Live data against a baseline, as they come.

use std::sync::Arc;

use arrow_array::RecordBatch;
use serde::{Deserialize, Serialize};

use super::baseline::{Baseline, Shared};
use super::column::{Grid, LiveColumn};
use super::report::judge;
use super::{CheckOptions, DriftReport, Problem};
use crate::{Error, Result};

/// Counts live batches against a baseline, in memory that does not grow with the rows.
///
/// Monitors of one baseline merge: as many threads or machines as there are may each watch a part.
///
/// ```
/// # use arrow_array::{Int64Array, RecordBatch};
/// # use mlops_core::data::{Column, ColumnKind, TableSchema};
/// # use mlops_drift::monitor::{Baseline, BaselineOptions, CheckOptions, Monitor};
/// # use std::sync::Arc;
/// # let schema = TableSchema::new([Column::new("clicks", ColumnKind::Integer)])?;
/// # let values = Int64Array::from_iter_values((0..100).map(|i| i % 7));
/// # let batch = RecordBatch::try_new(schema.to_arrow(), vec![Arc::new(values)])?;
/// # let baseline = Baseline::fit(&schema, &[batch.clone()], BaselineOptions::default())?;
/// let mut monitor = Monitor::new(&baseline);
/// monitor.observe(&batch);
/// let mut other = Monitor::new(&baseline);
/// other.observe(&batch);
/// monitor.merge(&other)?;
/// assert_eq!(monitor.rows(), 200);
/// assert_eq!(monitor.report(&CheckOptions::default())?.drifted().count(), 0);
/// # Ok::<(), mlops_drift::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Monitor {
    shared: Arc<Shared>,
    rows: u64,
    columns: Vec<Watched>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Watched {
    live: LiveColumn,
    problem: Option<Problem>,
}

/// What a [`Monitor`] counted so far, to be stored apart from its baseline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MonitorState {
    version: u32,
    /// The fingerprint of the baseline; `None` in what version 1 stored.
    #[serde(default)]
    baseline: Option<u64>,
    rows: u64,
    columns: Vec<Watched>,
}

impl Monitor {
    /// A monitor that has seen nothing.
    pub fn new(baseline: &Baseline) -> Self {
        let shared = baseline.shared().clone();
        let watch = |grid| Watched { live: LiveColumn::new(grid), problem: None };
        let columns = shared.grids.iter().map(watch).collect();
        Self { shared, rows: 0, columns }
    }

    /// A monitor that goes on where another one stopped.
    ///
    /// # Errors
    /// `Unsupported` if the state has a version that this build does not read; `Data` if it does not fit the
    /// baseline.
    pub fn resume(baseline: &Baseline, state: MonitorState) -> Result<Self> {
        let MonitorState { version, baseline: counted, rows, columns } = state;
        if !(1..=VERSION).contains(&version) {
            return Err(Error::unsupported(format!(
                "the stored monitor has version {version}, this build reads 1 to {VERSION}"
            )));
        }
        let shared = baseline.shared().clone();
        let other =
            || Error::data("the stored monitor does not fit the baseline: it counted against another one");
        if counted.is_some_and(|counted| counted != shared.fingerprint) || columns.len() != shared.grids.len()
        {
            return Err(other());
        }
        let restore = |(watched, grid): (Watched, &Grid)| {
            Some(Watched { live: watched.live.restored(grid)?, problem: watched.problem })
        };
        let columns = columns.into_iter().zip(&shared.grids).map(restore).collect::<Option<Vec<_>>>();
        Ok(Self { columns: columns.ok_or_else(other)?, shared, rows })
    }

    /// What was counted so far.
    pub fn state(&self) -> MonitorState {
        MonitorState {
            version: VERSION,
            baseline: Some(self.shared.fingerprint),
            rows: self.rows,
            columns: self.columns.clone(),
        }
    }

    /// Takes in a batch. A column that is absent or of the wrong type is skipped in this batch; the report
    /// names the first such problem.
    pub fn observe(&mut self, batch: &RecordBatch) {
        self.rows = self.rows.saturating_add(batch.num_rows() as u64);
        for ((watched, reference), grid) in
            self.columns.iter_mut().zip(&self.shared.columns).zip(&self.shared.grids)
        {
            if let Err(error) = watched.live.observe(reference, grid, batch) {
                watched.problem.get_or_insert_with(|| Problem::from(&error));
            }
        }
    }

    /// Adds what another monitor of the same baseline saw.
    ///
    /// # Errors
    /// `Invalid` if it watches another baseline.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        if self.shared.fingerprint != other.shared.fingerprint {
            return Err(Error::invalid("monitors of different baselines cannot be merged"));
        }
        self.rows = self.rows.saturating_add(other.rows);
        for ((watched, more), reference) in
            self.columns.iter_mut().zip(&other.columns).zip(&self.shared.columns)
        {
            watched.live.merge(&more.live, &reference.name)?;
            if watched.problem.is_none() {
                watched.problem.clone_from(&more.problem);
            }
        }
        Ok(())
    }

    /// How many rows were seen.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Forgets all rows: the start of the next window.
    pub fn reset(&mut self) {
        self.rows = 0;
        for (watched, grid) in self.columns.iter_mut().zip(&self.shared.grids) {
            *watched = Watched { live: LiveColumn::new(grid), problem: None };
        }
    }

    /// Compares what was seen with the baseline.
    ///
    /// # Errors
    /// `Invalid` if an option is out of range. A column that cannot be compared does not stop the others: its
    /// part of the report holds its own problem.
    pub fn report(&self, options: &CheckOptions) -> Result<DriftReport> {
        options.check()?;
        let known = |name: &str| self.shared.columns.iter().any(|column| column.name == name);
        if let Some(name) = options.columns.keys().find(|name| !known(name)) {
            return Err(Error::invalid(format!(
                "there is a rule for column `{name}`, which the baseline does not have"
            )));
        }
        let columns =
            self.columns.iter().zip(&self.shared.columns).zip(&self.shared.grids).map(
                |((watched, reference), grid)| (&watched.live, reference, grid, watched.problem.clone()),
            );
        judge(self.rows, columns, options)
    }
}

const VERSION: u32 = 2;
