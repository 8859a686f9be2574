//! The area under the ROC curve within users.

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::evaluation::Mean;
use crate::evaluation::binary::Scored;
use crate::evaluation::error::same_length;
use crate::evaluation::metric::{MetricState, Metrics, Version, insert};

/// Group AUC: the mean over users of the area within the user, each weighted by the number of its rows.
///
/// Says how well a model orders the items of one user; the plain area also rewards telling users apart. Users
/// with one class only are left out with their weight. Merges up to rounding, if each user's rows are in one
/// state. Source: G. Zhou and others, "Deep interest network for click-through rate prediction", 2018.
///
/// ```
/// use mlops_core::evaluation::ranking::Gauc;
///
/// let users = [1, 1, 1, 2, 2, 3, 3, 3, 3];
/// let clicks = [false, true, false, true, true, false, true, true, false];
/// let scores = [0.1, 0.7, 0.8, 0.5, 0.6, 0.2, 0.9, 0.2, 0.4];
/// let gauc = Gauc::of(&users, &clicks, &scores)?;
/// assert_eq!(gauc.value(), Some(4.0 / 7.0));
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Gauc {
    version: Version<1>,
    users: u64,
    mean: Mean,
}

impl Gauc {
    /// Rows by user, in any order.
    ///
    /// # Errors
    /// `Invalid` if the lengths differ, `Data` if a score is not finite.
    pub fn of<U: Ord>(users: &[U], labels: &[bool], scores: &[f64]) -> Result<Self> {
        same_length("users", users.len(), labels.len())?;
        Scored::new(labels, scores)?;
        let mut order: Vec<usize> = (0..users.len()).collect();
        order.sort_unstable_by(|&a, &b| users[a].cmp(&users[b]).then(a.cmp(&b)));
        let mut gauc = Self::default();
        for user in order.chunk_by(|&a, &b| users[a] == users[b]) {
            let rows: Vec<_> = user.iter().map(|&row| (labels[row], scores[row])).collect();
            gauc.push(&rows)?;
        }
        Ok(gauc)
    }

    /// The weighted mean; `None` if no user has both classes.
    pub fn value(&self) -> Option<f64> {
        self.mean.value()
    }
}

impl MetricState for Gauc {
    /// All rows of one user: label and score.
    type Row = Vec<(bool, f64)>;

    fn push(&mut self, user: &Self::Row) -> Result<()> {
        let (labels, scores): (Vec<bool>, Vec<f64>) = user.iter().copied().unzip();
        let area = Scored::new(&labels, &scores)?.roc_auc();
        self.users = self.users.saturating_add(1);
        if let Some(area) = area {
            self.mean.add(area, user.len() as f64);
        }
        Ok(())
    }

    fn merge(&mut self, other: &Self) -> Result<()> {
        self.users = self.users.saturating_add(other.users);
        self.mean.merge(&other.mean);
        Ok(())
    }

    /// The number of users.
    fn rows(&self) -> u64 {
        self.users
    }

    fn metrics(&self) -> Metrics {
        let mut metrics = Metrics::new();
        insert(&mut metrics, "gauc", self.value(), self.mean.std_error());
        metrics
    }
}
