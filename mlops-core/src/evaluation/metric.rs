//! A measured number, the words for its uncertainty, and the trait of what measures it.

use std::collections::BTreeMap;
use std::fmt::Debug;

use serde::{Deserialize, Serialize};

use crate::Result;
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
    /// A confidence interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Interval>,
}

impl Metric {
    /// A value of unknown uncertainty.
    pub fn new(value: f64) -> Self {
        Self { value, std_error: None, interval: None }
    }

    /// Sets the standard error.
    #[must_use]
    pub fn with_std_error(mut self, std_error: Option<f64>) -> Self {
        self.std_error = std_error;
        self
    }

    /// Sets the confidence interval.
    #[must_use]
    pub fn with_interval(mut self, interval: Interval) -> Self {
        self.interval = Some(interval);
        self
    }
}

/// A two-sided confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interval {
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// The share of samples whose interval covers the truth, as 0.95.
    pub confidence: f64,
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

/// Adds a metric if it is defined.
pub(crate) fn insert(metrics: &mut Metrics, name: &str, value: Option<f64>, std_error: Option<f64>) {
    if let Some(value) = value.filter(|value| !value.is_nan()) {
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
