//! What lists are like beside being right, over a stream of them.

use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};

use super::catalogue::{intra_list_diversity, serendipity};
use crate::Result;
use crate::evaluation::Mean;
use crate::evaluation::metric::{MetricState, Metrics, Version, insert};

/// The diversity and the serendipity of lists, as a value that streams, merges and serialises; a row is one list.
///
/// Gives `diversity` and `serendipity`: means over the lists that have them, with their standard errors.
///
/// ```
/// use mlops_core::evaluation::MetricState;
/// use mlops_core::evaluation::ranking::{ListMetrics, ListRow};
/// use ndarray::array;
///
/// let vectors = array![[1.0, 0.0], [0.0, 1.0], [2.0, 0.0]];
/// let (mut monday, mut tuesday) = (ListMetrics::default(), ListMetrics::default());
/// monday.push(&ListRow::default().diverse(&[0, 1], &vectors.view())?.serendipitous(&[true, true], &[true, false])?)?;
/// tuesday.push(&ListRow::default().diverse(&[0, 2], &vectors.view())?)?;
/// monday.merge(&tuesday)?;
/// assert_eq!(monday.metrics()["diversity"].value, 0.5);
/// assert_eq!(monday.metrics()["serendipity"].value, 0.5);
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ListMetrics {
    version: Version<1>,
    lists: u64,
    diversity: Mean,
    serendipity: Mean,
}

/// What is known of one list.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ListRow {
    diversity: Option<f64>,
    serendipity: Option<f64>,
}

impl ListRow {
    /// Measures the diversity of these items by their vectors: see [`intra_list_diversity`].
    ///
    /// # Errors
    /// As [`intra_list_diversity`].
    pub fn diverse(self, list: &[usize], vectors: &ArrayView2<'_, f64>) -> Result<Self> {
        Ok(Self { diversity: intra_list_diversity(list, vectors)?, ..self })
    }

    /// Measures how many items are useful and unexpected: see [`serendipity`].
    ///
    /// # Errors
    /// As [`serendipity`].
    pub fn serendipitous(self, useful: &[bool], expected: &[bool]) -> Result<Self> {
        Ok(Self { serendipity: serendipity(useful, expected)?, ..self })
    }
}

impl MetricState for ListMetrics {
    type Row = ListRow;

    /// # Errors
    /// None: a row is checked when it is made.
    fn push(&mut self, row: &ListRow) -> Result<()> {
        self.lists = self.lists.saturating_add(1);
        for (mean, value) in [(&mut self.diversity, row.diversity), (&mut self.serendipity, row.serendipity)]
        {
            if let Some(value) = value {
                mean.add(value, 1.0);
            }
        }
        Ok(())
    }

    fn merge(&mut self, other: &Self) -> Result<()> {
        self.lists = self.lists.saturating_add(other.lists);
        self.diversity.merge(&other.diversity);
        self.serendipity.merge(&other.serendipity);
        Ok(())
    }

    /// The number of lists.
    fn rows(&self) -> u64 {
        self.lists
    }

    fn metrics(&self) -> Metrics {
        let mut metrics = Metrics::new();
        for (name, mean) in [("diversity", &self.diversity), ("serendipity", &self.serendipity)] {
            insert(&mut metrics, name, mean.value(), mean.std_error());
        }
        metrics
    }
}
