//! Beyond accuracy: what a recommender does to the catalogue as a whole.

use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};

use crate::evaluation::error::{MetricError, finite, in_range, same_length};
use crate::evaluation::metric::{MetricState, Metrics, Version, insert};
use crate::evaluation::{Mean, Sum};
use crate::{Error, Result};

/// What was recommended how often, over a catalogue of numbered items. Streams, merges (counts are exact),
/// serialises; a row is one list of items.
///
/// Gives `coverage`, `gini`, `entropy`, `novelty`, `epc`, `average_popularity`, `personalization`. The popularity of an item is the number of users who chose it before.
///
/// ```
/// use mlops_core::evaluation::MetricState;
/// use mlops_core::evaluation::ranking::Catalogue;
///
/// let mut catalogue = Catalogue::new(&[100.0, 50.0, 20.0, 0.0], 200.0)?;
/// catalogue.push(&vec![0, 1])?;
/// catalogue.push(&vec![0, 2])?;
/// assert_eq!(catalogue.coverage(), Some(0.75));
/// assert!((catalogue.personalization().unwrap() - 0.5).abs() < 1e-12);
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct Catalogue {
    version: Version<1>,
    users: f64,
    lists: u64,
    items: Vec<Item>,
    novelty: Mean,
    unpopularity: Mean,
    chosen: Mean,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Item {
    popularity: f64,
    count: u64,
    /// The sum over lists of 1 / sqrt(length), whose square holds the cosines of all pairs.
    share: Sum,
}

impl Catalogue {
    /// No lists yet. `popularity` holds for each item the number of users who chose it, out of `users`.
    ///
    /// # Errors
    /// `Invalid` without items, or if `users` is not above 0 and at least every popularity; `Data` if a
    /// popularity is negative or not finite.
    pub fn new(popularity: &[f64], users: f64) -> Result<Self> {
        if popularity.is_empty() {
            return Err(Error::invalid("a catalogue of no items: give the popularity of each"));
        }
        if !(users > 0.0 && users.is_finite()) {
            let want = "a finite number above 0";
            return Err(MetricError::Setting { what: "number of users", value: users, want }.into());
        }
        in_range("popularity", popularity, 0.0, users)?;
        let item = |&popularity: &f64| Item { popularity, count: 0, share: Sum::default() };
        Ok(Self {
            version: Version,
            users,
            lists: 0,
            items: popularity.iter().map(item).collect(),
            novelty: Mean::default(),
            unpopularity: Mean::default(),
            chosen: Mean::default(),
        })
    }

    /// The share of the catalogue that was recommended to anybody. `None` without lists.
    pub fn coverage(&self) -> Option<f64> {
        let used = self.counts().filter(|&count| count > 0).count();
        (self.lists > 0).then(|| used as f64 / self.items.len() as f64)
    }

    /// Gini's index of the counts over the whole catalogue, items never recommended included: 0 if all are
    /// recommended equally often, near 1 if few take all. `None` without recommendations.
    pub fn gini(&self) -> Option<f64> {
        gini(self.counts().collect())
    }

    /// Gini's index over the recommended items alone.
    pub fn gini_of_recommended(&self) -> Option<f64> {
        gini(self.counts().filter(|&count| count > 0).collect())
    }

    /// Shannon's entropy of the counts, in nats: ln(items) if all are recommended equally often.
    pub fn entropy(&self) -> Option<f64> {
        let total: f64 = self.counts().map(|count| count as f64).sum();
        let used = self.counts().filter(|&count| count > 0);
        let terms = used.map(|count| count as f64 / total).map(|share| -share * share.ln());
        (total > 0.0).then(|| terms.sum())
    }

    /// The mean self-information of the recommended items: -log2(popularity / users), in bits; the mean over
    /// lists of the mean in the list. An item that nobody chose counts as if half a user had.
    ///
    /// Source: T. Zhou and others, "Solving the apparent diversity-accuracy dilemma of recommender systems",
    /// 2010.
    pub fn novelty(&self) -> Option<f64> {
        self.novelty.value()
    }

    /// Expected popularity complement: the mean of 1 - popularity / users.
    ///
    /// Source: S. Vargas, P. Castells, "Rank and relevance in novelty and diversity metrics for recommender
    /// systems", 2011.
    pub fn epc(&self) -> Option<f64> {
        self.unpopularity.value()
    }

    /// The mean popularity of the recommended items.
    pub fn average_popularity(&self) -> Option<f64> {
        self.chosen.value()
    }

    /// How different the lists of two users are: 1 - the mean cosine of all pairs of lists. `None` with fewer
    /// than two lists. Cost: one pass over the items, whatever the number of lists.
    pub fn personalization(&self) -> Option<f64> {
        let lists = self.lists as f64;
        if self.lists < 2 {
            return None;
        }
        // Sum over all ordered pairs of lists, each list with itself included: its cosine is 1.
        let all: Sum = self.items.iter().map(|item| item.share.value().powi(2)).collect();
        Some(1.0 - (all.value() - lists) / (lists * (lists - 1.0)))
    }

    fn counts(&self) -> impl Iterator<Item = u64> {
        self.items.iter().map(|item| item.count)
    }
}

/// A catalogue as it was stored, not yet checked.
#[derive(Deserialize)]
struct Stored {
    version: Version<1>,
    users: f64,
    lists: u64,
    items: Vec<Item>,
    novelty: Mean,
    unpopularity: Mean,
    chosen: Mean,
}

impl TryFrom<Stored> for Catalogue {
    type Error = Error;

    fn try_from(stored: Stored) -> Result<Self> {
        let Stored { version, users, lists, items, novelty, unpopularity, chosen } = stored;
        let popularity: Vec<f64> = items.iter().map(|item| item.popularity).collect();
        Self::new(&popularity, users)?;
        let most = lists as f64;
        if items.iter().any(|item| item.count > lists || !(0.0..=most).contains(&item.share.value())) {
            return Err(Error::data(format!("an item is in more than all {lists} lists: the state is torn")));
        }
        Ok(Self { version, users, lists, items, novelty, unpopularity, chosen })
    }
}

impl MetricState for Catalogue {
    /// The numbers of the recommended items.
    type Row = Vec<usize>;

    /// # Errors
    /// `Invalid` if the list is empty or names an item twice, `Data` if the catalogue has no such item.
    fn push(&mut self, list: &Vec<usize>) -> Result<()> {
        if list.is_empty() {
            return Err(Error::invalid("an empty list: leave it out"));
        }
        let mut sorted = list.clone();
        sorted.sort_unstable();
        if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Error::invalid(format!("item {} is twice in a list: keep one", pair[0])));
        }
        if let Some(item) = sorted.last().filter(|&&item| item >= self.items.len()) {
            let items = self.items.len();
            return Err(Error::data(format!("no item {item}: the catalogue has {items}")));
        }
        let length = list.len() as f64;
        let (mut bits, mut rare, mut chosen) = (0.0, 0.0, 0.0);
        for &item in list {
            let item = &mut self.items[item];
            bits -= (item.popularity.max(0.5) / self.users).log2();
            rare += 1.0 - item.popularity / self.users;
            chosen += item.popularity;
            item.count = item.count.saturating_add(1);
            item.share.add(1.0 / length.sqrt());
        }
        self.lists = self.lists.saturating_add(1);
        self.novelty.add(bits / length, 1.0);
        self.unpopularity.add(rare / length, 1.0);
        self.chosen.add(chosen / length, 1.0);
        Ok(())
    }

    fn merge(&mut self, other: &Self) -> Result<()> {
        let popularity =
            |catalogue: &Self| catalogue.items.iter().map(|item| item.popularity).collect::<Vec<_>>();
        if popularity(self) != popularity(other) || self.users != other.users {
            return Err(MetricError::Incompatible { what: "catalogues" }.into());
        }
        self.lists = self.lists.saturating_add(other.lists);
        for (item, other) in self.items.iter_mut().zip(&other.items) {
            item.count = item.count.saturating_add(other.count);
            item.share.merge(&other.share);
        }
        self.novelty.merge(&other.novelty);
        self.unpopularity.merge(&other.unpopularity);
        self.chosen.merge(&other.chosen);
        Ok(())
    }

    /// The number of lists.
    fn rows(&self) -> u64 {
        self.lists
    }

    fn metrics(&self) -> Metrics {
        let mut metrics = Metrics::new();
        for (name, mean) in
            [("novelty", &self.novelty), ("epc", &self.unpopularity), ("average_popularity", &self.chosen)]
        {
            insert(&mut metrics, name, mean.value(), mean.std_error());
        }
        for (name, value) in [
            ("coverage", self.coverage()),
            ("gini", self.gini()),
            ("entropy", self.entropy()),
            ("personalization", self.personalization()),
        ] {
            insert(&mut metrics, name, value, None);
        }
        metrics
    }
}

/// The diversity within a list: the mean of 1 - cosine over all pairs of its items' vectors.
///
/// 0 if all point the same way, 1 if they are orthogonal. `None` with fewer than two items. A zero vector has no
/// direction: its cosine counts 0. Source: C.-N. Ziegler and others, "Improving recommendation lists through
/// topic diversification", 2005.
///
/// # Errors
/// `Data` if a value is not finite or an item has no vector.
///
/// ```
/// use mlops_core::evaluation::ranking::intra_list_diversity;
/// use ndarray::array;
///
/// let vectors = array![[1.0, 0.0], [0.0, 1.0], [2.0, 0.0]];
/// assert_eq!(intra_list_diversity(&[0, 1], &vectors.view())?, Some(1.0));
/// assert_eq!(intra_list_diversity(&[0, 2], &vectors.view())?, Some(0.0));
/// # Ok::<(), mlops_core::Error>(())
/// ```
pub fn intra_list_diversity(list: &[usize], vectors: &ArrayView2<'_, f64>) -> Result<Option<f64>> {
    let mut units = Vec::with_capacity(list.len());
    for &item in list {
        if item >= vectors.nrows() {
            let rows = vectors.nrows();
            return Err(Error::data(format!("item {item} has no vector: there are {rows}")));
        }
        let vector: Vec<f64> = vectors.row(item).to_vec();
        finite("vector", &vector)?;
        let norm = vector.iter().map(|value| value * value).sum::<f64>().sqrt();
        units.push(if norm > 0.0 { vector.iter().map(|value| value / norm).collect() } else { vector });
    }
    let mut distance = Mean::default();
    for (index, unit) in units.iter().enumerate() {
        for other in &units[..index] {
            let cosine: f64 = unit.iter().zip(other).map(|(a, b)| a * b).sum();
            distance.add(1.0 - cosine, 1.0);
        }
    }
    Ok(distance.value())
}

/// The share of a list that is both useful and unexpected: not what a plain recommender (popularity, say) would
/// have listed. `None` for an empty list.
///
/// Source: M. Ge, C. Delgado-Battenfeld, D. Jannach, "Beyond accuracy: evaluating recommender systems by
/// coverage and serendipity", 2010.
///
/// # Errors
/// `Invalid` if the flags differ in number.
///
/// ```
/// use mlops_core::evaluation::ranking::serendipity;
///
/// assert_eq!(serendipity(&[true, true, false, false], &[true, false, false, true])?, Some(0.25));
/// # Ok::<(), mlops_core::Error>(())
/// ```
pub fn serendipity(useful: &[bool], expected: &[bool]) -> Result<Option<f64>> {
    same_length("expected flags", expected.len(), useful.len())?;
    let lucky = useful.iter().zip(expected).filter(|&(&useful, &expected)| useful && !expected).count();
    Ok((!useful.is_empty()).then(|| lucky as f64 / useful.len() as f64))
}

fn gini(mut counts: Vec<u64>) -> Option<f64> {
    counts.sort_unstable();
    let items = counts.len() as f64;
    let total: f64 = counts.iter().map(|&count| count as f64).sum();
    let ranked = counts
        .iter()
        .enumerate()
        .map(|(index, &count)| (2.0 * (index + 1) as f64 - items - 1.0) * count as f64);
    let spread: f64 = ranked.sum();
    (total > 0.0).then(|| spread / (items * total))
}
