//! A measured number, the words for its uncertainty, and the trait of what measures it.

use std::collections::BTreeMap;
use std::fmt::Debug;

use serde::{Deserialize, Serialize};

use super::sum::kish;
use crate::Result;
use crate::experiment::Interval;
pub(crate) use crate::version::Version;

/// A metric's value and how sure it is.
///
/// ```
/// use mlops_core::evaluation::Metric;
///
/// let auc = Metric::new(0.91).with_std_error(Some(0.01));
/// assert_eq!(serde_json::to_string(&auc)?, r#"{"value":0.91,"std_error":0.01}"#);
/// assert_eq!(serde_json::to_string(&Metric::new(f64::INFINITY))?, r#"{"value":"inf"}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metric {
    /// The value; may be infinite (a ratio over zero), never NaN.
    #[serde(with = "extended")]
    pub value: f64,
    /// The standard error of the value over samples of the same size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub std_error: Option<f64>,
    /// The number of rows that the value is a share of (Kish's effective one if they have weights). Bounds are
    /// then exact ones of a share, which hold from the first row on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trials: Option<f64>,
    /// The number of rows, or lists, that the value is over, if not that of its evaluation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// A confidence interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Interval>,
    /// The two-sided confidence of the interval, as 0.95.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f64>,
}

impl Metric {
    /// A value of unknown uncertainty.
    pub fn new(value: f64) -> Self {
        Self { value, std_error: None, trials: None, rows: None, interval: None, confidence: None }
    }

    /// Sets the standard error.
    #[must_use]
    pub fn with_std_error(mut self, std_error: Option<f64>) -> Self {
        self.std_error = std_error;
        self
    }

    /// Says that the value is a share of so many rows.
    #[must_use]
    pub fn with_trials(mut self, trials: f64) -> Self {
        self.trials = Some(trials);
        self
    }

    /// Sets the confidence interval.
    #[must_use]
    pub fn with_interval(mut self, interval: Interval, confidence: f64) -> Self {
        self.interval = Some(interval);
        self.confidence = Some(confidence);
        self
    }

    /// The share `hits / of`, where `of_squared` is the sum of the squared weights behind `of`.
    pub(crate) fn share(hits: f64, of: f64, of_squared: f64) -> Option<Self> {
        let rows = kish(of, of_squared)?;
        let share = hits / of;
        let std_error = (share * (1.0 - share).max(0.0) / rows).sqrt();
        Some(Self::new(share).with_std_error(Some(std_error)).with_trials(rows))
    }
}

/// The metrics of one set of rows, by name. A metric that is undefined on these rows is absent.
pub type Metrics = BTreeMap<String, Metric>;

/// The state behind metrics: takes rows, merges, answers.
///
/// Contract for implementers: `merge` is what pushing the other's rows would have been, exactly for counts and
/// up to rounding for sums; the state is a plain value that serialises; a row that is refused leaves the state
/// as it was; a metric that is undefined is left out, never NaN.
pub trait MetricState: Clone + Debug + Send + Sync + 'static {
    /// One row.
    type Row;

    /// Takes in one row.
    ///
    /// # Errors
    /// `Data` if a value of the row is outside its domain.
    fn push(&mut self, row: &Self::Row) -> Result<()>;

    /// Takes in all rows of another state.
    ///
    /// # Errors
    /// `Invalid` if the two were built with different settings.
    fn merge(&mut self, other: &Self) -> Result<()>;

    /// The number of rows taken in.
    fn rows(&self) -> u64;

    /// The metrics of these rows.
    fn metrics(&self) -> Metrics;
}

/// Adds a share if it is defined.
pub(crate) fn insert_share(metrics: &mut Metrics, name: &str, share: Option<Metric>) {
    if let Some(share) = share.filter(|share| share.value.is_finite()) {
        metrics.insert(name.to_owned(), share);
    }
}

/// Adds a metric if it is defined.
pub(crate) fn insert(metrics: &mut Metrics, name: &str, value: Option<f64>, std_error: Option<f64>) {
    if let Some(value) = value.filter(|value| !value.is_nan()) {
        let std_error = std_error.filter(|error| error.is_finite());
        metrics.insert(name.to_owned(), Metric::new(value).with_std_error(std_error));
    }
}

/// Numbers that may be infinite, which JSON cannot say: then as the texts `inf` and `-inf`.
mod extended {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Extended {
        Number(f64),
        Text(String),
    }

    pub(super) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        if value.is_finite() { serializer.serialize_f64(*value) } else { serializer.collect_str(value) }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        match Extended::deserialize(deserializer)? {
            Extended::Number(value) => Ok(value),
            Extended::Text(text) if text == "inf" => Ok(f64::INFINITY),
            Extended::Text(text) if text == "-inf" => Ok(f64::NEG_INFINITY),
            Extended::Text(text) => {
                Err(D::Error::custom(format!("`{text}` is neither a number nor `inf` nor `-inf`")))
            }
        }
    }
}
