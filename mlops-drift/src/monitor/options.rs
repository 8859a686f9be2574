//! What counts as a change worth an alarm.

use std::collections::BTreeMap;

use arrow_array::RecordBatch;
use serde::{Deserialize, Serialize};

use super::rule::{ColumnDistance, Rule};
use super::{Baseline, Monitor};
use crate::distance::chunk_limits;
use crate::version::versioned;
use crate::{Correction, Error, Result};

/// How a window is judged: plain data, so that it can be stored with the window that it judged.
///
/// By default a column drifts if two things hold: the evidence is strong (its adjusted p-value is at most `alpha`),
/// and the change is large (its population stability index reaches the `psi` band and what its sample sizes
/// alone explain). The first keeps small windows quiet, the second large ones. Other tests, distances and limits are
/// chosen by the type of a column, or for one column, by a [`Rule`].
///
/// ```
/// use mlops_drift::{Correction, monitor::CheckOptions};
///
/// let strict = CheckOptions { correction: Correction::BenjaminiHochberg, ..CheckOptions::default() };
/// assert_eq!(strict.alpha, 0.01);
/// ```
///
/// ```
/// use mlops_drift::monitor::{Bands, CheckOptions, ColumnDistance, ColumnTest, Rule};
///
/// let hellinger = Bands { warning: 0.1, critical: 0.3 };
/// let options = CheckOptions {
///     numbers: Rule::Test { test: ColumnTest::CramerVonMises, alpha: 0.001 },
///     categories: Rule::Distance { distance: ColumnDistance::Hellinger, bands: hellinger },
///     ..CheckOptions::default()
/// }
/// .column("session_id", Rule::Ignore);
/// # assert!(options.columns.contains_key("session_id"));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct CheckOptions {
    /// The bound on false alarms of one check, in 0..1; what it bounds is said by `correction`.
    pub alpha: f64,
    /// How the p-values of all columns are adjusted. `None` with `alpha` 1 leaves the bands alone to judge:
    /// see [`classic`](Self::classic).
    pub correction: Correction,
    /// How large a population stability index matters.
    pub psi: Bands,
    /// How large a change of the rate of missing or non-finite cells matters, as a difference of rates.
    pub missing_rate: Bands,
    /// What judges columns of numbers.
    #[serde(default)]
    pub numbers: Rule,
    /// What judges columns of categories.
    #[serde(default)]
    pub categories: Rule,
    /// What judges these columns, by name, instead.
    #[serde(default)]
    pub columns: BTreeMap<String, Rule>,
}

versioned!(CheckOptions, "check options");

/// From where on a change is worth a warning, and from where on somebody has to look now.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bands {
    /// From here on [`Severity::Warning`](mlops_core::Severity::Warning).
    pub warning: f64,
    /// From here on [`Severity::Critical`](mlops_core::Severity::Critical).
    pub critical: f64,
}

impl Default for CheckOptions {
    /// One false alarm in a hundred checks at most (Holm, 1 %); PSI bands 0.1 and 0.25; missing rates that
    /// change by 2 or 10 points.
    fn default() -> Self {
        Self {
            alpha: 0.01,
            correction: Correction::Holm,
            psi: Bands { warning: 0.1, critical: 0.25 },
            missing_rate: Bands { warning: 0.02, critical: 0.1 },
            numbers: Rule::default(),
            categories: Rule::default(),
            columns: BTreeMap::new(),
        }
    }
}

impl CheckOptions {
    /// The industry's fixed bands alone, whatever the sample sizes: PSI 0.1 and 0.25. At 200 rows a window
    /// and ten buckets about every second unchanged column alarms.
    pub fn classic() -> Self {
        Self { alpha: 1.0, correction: Correction::None, ..Self::default() }
    }

    /// Evidently's choice of a method for each column ([`Rule::Evidently`]), without a correction; missing cells raise no
    /// alarm. Its faults included: the reference counts as the truth, one unseen category in any number of rows alarms,
    /// and so do about 5 of 100 unchanged columns. Where the rule says so, ours differs.
    pub fn evidently() -> Self {
        let never = Bands { warning: 2.0, critical: 2.0 };
        Self {
            correction: Correction::None,
            missing_rate: never,
            numbers: Rule::Evidently,
            categories: Rule::Evidently,
            ..Self::default()
        }
    }

    /// NannyML's way: a limit for each column from chunks of the reference, the mean of their distances to the whole
    /// plus so many standard deviations, by [`chunk_limits`]; missing cells raise no alarm. NannyML takes ten chunks,
    /// three deviations, [`ColumnDistance::JensenShannonDistanceBase2`] and the buckets of
    /// [`Binning::Doane`](crate::binning::Binning::Doane). Chunks should have the rows of the windows to come. Twice the
    /// deviations are critical.
    ///
    /// Limits from ten chunks are rough, and each column has its own: expect unchanged columns to alarm now and then, and
    /// take more chunks or deviations the more columns there are.
    ///
    /// ```
    /// # use arrow_array::{Float64Array, RecordBatch};
    /// # use mlops_core::data::{Column, ColumnKind, TableSchema};
    /// # use mlops_drift::monitor::{Baseline, BaselineOptions, CheckOptions, ColumnDistance};
    /// # use std::sync::Arc;
    /// # let schema = TableSchema::new([Column::new("exit_rate", ColumnKind::Float)])?;
    /// # let values = Float64Array::from_iter_values((0..5000).map(|i| f64::from(i * 7919 % 5003)));
    /// # let table = RecordBatch::try_new(schema.to_arrow(), vec![Arc::new(values)])?;
    /// let baseline = Baseline::fit(&schema, &[table.clone()], BaselineOptions::default())?;
    /// let chunks: Vec<Vec<RecordBatch>> = (0..10).map(|chunk| vec![table.slice(500 * chunk, 500)]).collect();
    /// let distance = ColumnDistance::JensenShannonDistanceBase2;
    /// let options = CheckOptions::from_chunks(&baseline, &chunks, distance, 3.0)?;
    /// assert_eq!(baseline.check(&chunks[3], &options)?.drifted().count(), 0);
    /// # Ok::<(), mlops_drift::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Data` if a column has no distance in two chunks at least, `Invalid` if `deviations` is not above 0.
    pub fn from_chunks(
        baseline: &Baseline,
        chunks: &[Vec<RecordBatch>],
        distance: ColumnDistance,
        deviations: f64,
    ) -> Result<Self> {
        let bands = Bands { warning: 0.0, critical: f64::MAX };
        let measure = Self {
            numbers: Rule::Distance { distance, bands },
            categories: Rule::Distance { distance, bands },
            correction: Correction::None,
            missing_rate: Bands { warning: 2.0, critical: 2.0 },
            ..Self::default()
        };
        let mut values: BTreeMap<&str, Vec<f64>> =
            baseline.columns().map(|name| (name, Vec::new())).collect();
        for chunk in chunks {
            let mut monitor = Monitor::new(baseline);
            chunk.iter().for_each(|batch| monitor.observe(batch));
            let report = monitor.report(&measure)?;
            for (name, values) in &mut values {
                values.extend(report.column(name)?.decision.as_ref().map(|decision| decision.value));
            }
        }
        let mut options = measure;
        for (name, values) in values {
            let limit = |deviations: f64| {
                let limits = chunk_limits(&values, deviations, (0.0, f64::MAX));
                limits.map_err(|error| error.context(format!("no limit for column `{name}`")))
            };
            let bands = Bands { warning: limit(deviations)?.1, critical: limit(2.0 * deviations)?.1 };
            options = options.column(name, Rule::Distance { distance, bands });
        }
        Ok(options)
    }

    /// Judges one column by its own rule.
    #[must_use]
    pub fn column(mut self, name: impl Into<String>, rule: Rule) -> Self {
        self.columns.insert(name.into(), rule);
        self
    }

    /// The rule of a column.
    pub(crate) fn rule(&self, name: &str, is_number: bool) -> Rule {
        let by_kind = if is_number { self.numbers } else { self.categories };
        self.columns.get(name).copied().unwrap_or(by_kind)
    }

    pub(crate) fn check(&self) -> Result<()> {
        for rule in [self.numbers, self.categories].iter().chain(self.columns.values()) {
            rule.check()?;
        }
        if !(self.alpha > 0.0 && self.alpha <= 1.0) {
            return Err(Error::invalid(format!(
                "alpha is {}: want a probability above 0 up to 1",
                self.alpha
            )));
        }
        for (name, Bands { warning, critical }) in [("psi", self.psi), ("missing_rate", self.missing_rate)] {
            (Bands { warning, critical }).check(name)?;
        }
        Ok(())
    }
}

impl Bands {
    pub(crate) fn check(self, name: &str) -> Result<()> {
        let Self { warning, critical } = self;
        if warning >= 0.0 && critical >= warning {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "the bands of {name} are {warning} and {critical}: want 0 <= warning <= critical"
        )))
    }
}
