//! The counts that every bias metric is read off.

use serde::{Deserialize, Serialize};

use super::{Bias, Gaps};
use crate::evaluation::binary::Confusion;
use crate::evaluation::error::{MetricError, same_length};
use crate::evaluation::metric::{MetricState, Metrics};
use crate::version::Version;
use crate::{Error, Result};

/// Rows counted by facet, group, label and prediction.
///
/// Counts are whole numbers: merging over any sharding gives the same bits, also when shards met the facets in
/// another order. Filling costs about 2 ns a row, 32 bytes a facet and group.
///
/// It is a [`MetricState`], so that it streams by [`BiasRow`]s, slices, and has intervals by a
/// [`PoissonBootstrap`](crate::evaluation::interval::PoissonBootstrap). Its metrics are those of each facet against
/// all others under the facet's name (`new.dppl`), and the gaps over all facets
/// (`demographic_parity_difference`); the `ks` of labels is called `label_ks`.
///
/// ```
/// use mlops_core::evaluation::bias::Contingency;
///
/// let visitors = ["new", "returning", "new", "returning"];
/// let table = Contingency::from_rows(&visitors, &[true, true, false, false], &[true, false, true, false])?;
/// let bias = table.bias("returning")?;
/// assert_eq!(bias.dpl, 0.0);
/// assert_eq!(bias.dppl, 1.0);
/// # Ok::<(), mlops_core::Error>(())
/// ```
/// ```
/// use mlops_core::evaluation::MetricState;
/// use mlops_core::evaluation::bias::{BiasRow, Contingency};
///
/// let mut table = Contingency::new(["new", "returning"])?;
/// for (facet, label, prediction) in [("new", true, true), ("returning", true, false), ("new", false, true)] {
///     MetricState::push(&mut table, &BiasRow::new(facet, label, prediction))?;
/// }
/// assert_eq!(table.rows(), 3);
/// assert_eq!(table.metrics()["returning.dppl"].value, 1.0);
/// assert_eq!(table.metrics()["demographic_parity_difference"].value, 1.0);
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct Contingency {
    version: Version<1>,
    facets: Vec<String>,
    groups: Vec<String>,
    /// By facet, then by group: rows by label and prediction, in the order 00, 01, 10, 11.
    cells: Vec<[u64; 4]>,
}

impl Contingency {
    /// An empty table of these facets, without groups.
    ///
    /// # Errors
    /// `Invalid` if there is no facet or two have one name.
    pub fn new(facets: impl IntoIterator<Item = impl Into<String>>) -> Result<Self> {
        Self::grouped(facets, std::iter::empty::<String>())
    }

    /// An empty table of these facets and groups.
    ///
    /// # Errors
    /// `Invalid` if there is no facet, two facets or two groups have one name, or facets times groups exceed a
    /// million.
    pub fn grouped(
        facets: impl IntoIterator<Item = impl Into<String>>,
        groups: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<Self> {
        let facets = distinct("facet", facets)?;
        let groups = distinct("group", groups)?;
        if facets.is_empty() {
            return Err(Error::invalid("no facet: a bias table needs the values of the sensitive feature"));
        }
        let cells = facets.len().saturating_mul(groups.len().max(1));
        if cells > CELLS_MAX {
            let want = "at most 1000000 facets times groups";
            return Err(MetricError::Setting { what: "size of the table", value: cells as f64, want }.into());
        }
        let cells = vec![[0; 4]; cells];
        Ok(Self { version: Version, facets, groups, cells })
    }

    /// The table of these rows; facets are found as they come.
    ///
    /// # Errors
    /// `Invalid` if the lengths differ or there are no rows.
    pub fn from_rows(facets: &[&str], labels: &[bool], predictions: &[bool]) -> Result<Self> {
        let (names, codes) = encode(facets);
        let mut table = Self::new(names)?;
        table.extend(&codes, None, labels, predictions)?;
        Ok(table)
    }

    /// The table of these rows; facets and groups are found as they come.
    ///
    /// # Errors
    /// `Invalid` if the lengths differ or there are no rows.
    pub fn from_grouped_rows(
        facets: &[&str],
        groups: &[&str],
        labels: &[bool],
        predictions: &[bool],
    ) -> Result<Self> {
        let (facet_names, facet_codes) = encode(facets);
        let (group_names, group_codes) = encode(groups);
        let mut table = Self::grouped(facet_names, group_names)?;
        table.extend(&facet_codes, Some(&group_codes), labels, predictions)?;
        Ok(table)
    }

    /// Adds rows whose facets and groups are places in the lists that the table was made with.
    ///
    /// # Errors
    /// `Invalid` if the lengths differ, a code is too large, or groups are given to a table without or not given
    /// to a table with groups; then no row was added.
    pub fn extend(
        &mut self,
        facets: &[u32],
        groups: Option<&[u32]>,
        labels: &[bool],
        predictions: &[bool],
    ) -> Result<()> {
        same_length("labels", labels.len(), facets.len())?;
        same_length("predictions", predictions.len(), facets.len())?;
        known("facet", facets, self.facets.len())?;
        if groups.is_some() == self.groups.is_empty() {
            let (has, want) = if groups.is_some() { ("no groups", "none") } else { ("groups", "one a row") };
            return Err(Error::invalid(format!("the table has {has}: give {want}")));
        }
        if let Some(groups) = groups {
            same_length("groups", groups.len(), facets.len())?;
            known("group", groups, self.groups.len())?;
        }
        let width = self.groups.len().max(1) as u32;
        let mut places = [0_u32; BLOCK];
        // Two tables in turn: a row need not wait for the count that the row before it wrote.
        let (mut even, mut odd) = (vec![0_u64; self.cells.len() * 4], vec![0_u64; self.cells.len() * 4]);
        let outcomes = labels.chunks(BLOCK).zip(predictions.chunks(BLOCK));
        for (block, (facets, (labels, predictions))) in facets.chunks(BLOCK).zip(outcomes).enumerate() {
            // Places first, counts second: the first loop runs on vectors.
            let places = &mut places[..facets.len()];
            places.iter_mut().zip(facets).for_each(|(place, facet)| *place = facet * width);
            if let Some(groups) = groups {
                places.iter_mut().zip(&groups[block * BLOCK..]).for_each(|(place, group)| *place += group);
            }
            for (place, (&label, &prediction)) in places.iter_mut().zip(labels.iter().zip(predictions)) {
                *place = *place * 4 + u32::from(label) * 2 + u32::from(prediction);
            }
            for pair in places.chunks(2) {
                even[pair[0] as usize] += 1;
                if let Some(&place) = pair.get(1) {
                    odd[place as usize] += 1;
                }
            }
        }
        let counts = even.iter().zip(&odd).map(|(even, odd)| even + odd);
        let cells = self.cells.iter_mut().flatten();
        cells.zip(counts).for_each(|(count, more)| *count = count.saturating_add(more));
        Ok(())
    }

    /// Adds one row.
    ///
    /// # Errors
    /// `NotFound` if the table has no such facet or group. The group of a table without groups is `None`.
    pub fn push(&mut self, facet: &str, group: Option<&str>, label: bool, prediction: bool) -> Result<()> {
        let facet = place("facet", &self.facets, facet)?;
        let group = match group {
            Some(group) => place("group", &self.groups, group)?,
            None if self.groups.is_empty() => 0,
            None => return Err(Error::invalid("the table has groups: give the row's")),
        };
        let width = self.groups.len().max(1);
        let count = &mut self.cells[facet * width + group][usize::from(label) * 2 + usize::from(prediction)];
        *count = count.saturating_add(1);
        Ok(())
    }

    /// Adds all rows of another table; facets and groups that only the other knows are appended.
    ///
    /// # Errors
    /// `Invalid` if one table has groups and the other has not.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        if self.groups.is_empty() != other.groups.is_empty() {
            return Err(MetricError::Incompatible { what: "bias tables with and without groups" }.into());
        }
        if (&self.facets, &self.groups) == (&other.facets, &other.groups) {
            add_cells(&mut self.cells, &other.cells);
            return Ok(());
        }
        let (mut facets, mut groups) = (self.facets.clone(), self.groups.clone());
        let unknown = |known: &[String], names: &[String]| {
            names.iter().filter(|name| !known.contains(name)).cloned().collect::<Vec<_>>()
        };
        facets.extend(unknown(&self.facets, &other.facets));
        groups.extend(unknown(&self.groups, &other.groups));
        let mut merged = Self::grouped(facets, groups)?;
        for table in [&*self, other] {
            let width = table.groups.len().max(1);
            for (index, cell) in table.cells.iter().enumerate() {
                let facet = place("facet", &merged.facets, &table.facets[index / width])?;
                let group = match table.groups.get(index % width) {
                    Some(group) => place("group", &merged.groups, group)?,
                    None => 0,
                };
                let target = facet * merged.groups.len().max(1) + group;
                add_cells(&mut merged.cells[target..=target], &[*cell]);
            }
        }
        *self = merged;
        Ok(())
    }

    /// The facets, in the order in which they were given.
    pub fn facets(&self) -> impl Iterator<Item = &str> {
        self.facets.iter().map(String::as_str)
    }

    /// The decisions on the rows of a facet; `None` if there is no such facet.
    pub fn confusion(&self, facet: &str) -> Option<Confusion> {
        let facet = self.facets.iter().position(|name| name == facet)?;
        let mut sum = [0; 4];
        self.facet_cells(facet).iter().for_each(|cell| add(&mut sum, cell));
        Some(confusion_of(sum))
    }

    /// SageMaker Clarify's metrics with `facet` as d and all other rows as a.
    ///
    /// # Errors
    /// `NotFound` if there is no such facet, `Data` if it or all others together hold no rows.
    pub fn bias(&self, facet: &str) -> Result<Bias> {
        let facet = place("facet", &self.facets, facet)?;
        let width = self.groups.len().max(1);
        let (mut d, mut a) = (vec![[0; 4]; width], vec![[0; 4]; width]);
        for index in 0..self.facets.len() {
            let side = if index == facet { &mut d } else { &mut a };
            add_cells(side, self.facet_cells(index));
        }
        Bias::of(&self.facets[facet], &a, &d, !self.groups.is_empty())
    }

    /// fairlearn's gaps between the facets that hold rows.
    pub fn gaps(&self) -> Gaps {
        let matrices = self.facets.iter().filter_map(|facet| self.confusion(facet));
        Gaps::of(matrices.filter(|matrix| matrix.total() > 0.0).collect())
    }

    fn facet_cells(&self, facet: usize) -> &[[u64; 4]] {
        let width = self.groups.len().max(1);
        &self.cells[facet * width..(facet + 1) * width]
    }
}

/// One decision: who, what was true, what was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BiasRow {
    /// The value of the sensitive feature.
    pub facet: String,
    /// The value of the feature that is held fixed, for a table with groups.
    pub group: Option<String>,
    /// Whether the wanted outcome is the true one.
    pub label: bool,
    /// Whether it was decided.
    pub prediction: bool,
}

impl BiasRow {
    /// A row of a table without groups.
    pub fn new(facet: impl Into<String>, label: bool, prediction: bool) -> Self {
        Self { facet: facet.into(), group: None, label, prediction }
    }
}

impl MetricState for Contingency {
    type Row = BiasRow;

    /// # Errors
    /// As [`Contingency::push`].
    fn push(&mut self, row: &BiasRow) -> Result<()> {
        Self::push(self, &row.facet, row.group.as_deref(), row.label, row.prediction)
    }

    fn merge(&mut self, other: &Self) -> Result<()> {
        Self::merge(self, other)
    }

    fn rows(&self) -> u64 {
        self.cells.iter().flatten().fold(0, |rows, count| rows.saturating_add(*count))
    }

    fn metrics(&self) -> Metrics {
        let mut metrics = self.gaps().metrics();
        for facet in &self.facets {
            // A facet without rows, or with all of them, has nothing to be compared with.
            for (name, metric) in self.bias(facet).map(|bias| bias.metrics()).unwrap_or_default() {
                let name = if name == "ks" { "label_ks" } else { &name };
                metrics.insert(format!("{facet}.{name}"), metric);
            }
        }
        metrics
    }
}

/// Equal counts under equal names, in whatever order the names were met.
impl PartialEq for Contingency {
    fn eq(&self, other: &Self) -> bool {
        let sorted = |names: &[String]| {
            let mut names = names.to_vec();
            names.sort_unstable();
            names
        };
        let mut there = Self { cells: vec![[0; 4]; self.cells.len()], ..self.clone() };
        sorted(&self.facets) == sorted(&other.facets)
            && sorted(&self.groups) == sorted(&other.groups)
            && there.merge(other).is_ok()
            && there.cells == self.cells
    }
}

/// A table as it was stored, not yet checked.
#[derive(Deserialize)]
struct Stored {
    #[expect(dead_code, reason = "reading it is the check")]
    version: Version<1>,
    facets: Vec<String>,
    groups: Vec<String>,
    cells: Vec<[u64; 4]>,
}

impl TryFrom<Stored> for Contingency {
    type Error = Error;

    fn try_from(stored: Stored) -> Result<Self> {
        let mut table = Self::grouped(stored.facets, stored.groups)?;
        same_length("cells", stored.cells.len(), table.cells.len())?;
        table.cells = stored.cells;
        Ok(table)
    }
}

/// The matrix of counts by label and prediction.
pub(super) fn confusion_of([tn, fp, fn_, tp]: [u64; 4]) -> Confusion {
    Confusion {
        true_negatives: tn as f64,
        false_positives: fp as f64,
        false_negatives: fn_ as f64,
        true_positives: tp as f64,
    }
}

fn add(cell: &mut [u64; 4], other: &[u64; 4]) {
    cell.iter_mut().zip(other).for_each(|(count, more)| *count = count.saturating_add(*more));
}

fn add_cells(cells: &mut [[u64; 4]], others: &[[u64; 4]]) {
    cells.iter_mut().zip(others).for_each(|(cell, other)| add(cell, other));
}

fn distinct(what: &str, names: impl IntoIterator<Item = impl Into<String>>) -> Result<Vec<String>> {
    let names: Vec<String> = names.into_iter().map(Into::into).collect();
    for (index, name) in names.iter().enumerate() {
        if names[..index].contains(name) {
            return Err(Error::invalid(format!("{what} `{name}` is given twice: names are unique")));
        }
    }
    Ok(names)
}

fn place(what: &str, names: &[String], name: &str) -> Result<usize> {
    names
        .iter()
        .position(|known| known == name)
        .ok_or_else(|| Error::not_found(format!("no {what} `{name}`: the table has {}", names.join(", "))))
}

fn known(what: &str, codes: &[u32], names: usize) -> Result<()> {
    // The largest code first, without a branch a row.
    let largest = codes.iter().copied().fold(0, u32::max);
    if codes.is_empty() || (largest as usize) < names {
        return Ok(());
    }
    Err(Error::invalid(format!("{what} code {largest} is too large: the table has {names}")))
}

/// The distinct names in order of first appearance, and the place of each row's.
fn encode<'a>(rows: &[&'a str]) -> (Vec<&'a str>, Vec<u32>) {
    let mut places = std::collections::HashMap::new();
    let mut names = Vec::new();
    let codes = rows.iter().map(|&name| {
        *places.entry(name).or_insert_with(|| {
            names.push(name);
            names.len() as u32 - 1
        })
    });
    let codes = codes.collect();
    (names, codes)
}

const BLOCK: usize = 512;
const CELLS_MAX: usize = 1_000_000;
