//! One column: its reference and its live counts.

use std::collections::{BTreeMap, HashMap};

use arrow_array::cast::AsArray;
use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType;
use mlops_core::data::ColumnKind;
use serde::{Deserialize, Serialize};

use super::buckets::{BucketKind, Buckets};
use crate::binning::{Binning, bucket_counts};
use crate::fingerprint::words;
use crate::gap_count::{GapCounts, MOST, Reference};
use crate::sample::numbers;
use crate::sort::sort;
use crate::{Error, Result};

/// What is known of a column's reference.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ColumnReference {
    pub(crate) name: String,
    pub(crate) kind: ColumnKind,
    pub(crate) cells: Cells,
    pub(crate) values: Values,
}

/// How many cells there were, and how many could not be compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cells {
    pub(crate) rows: u64,
    pub(crate) missing: u64,
    pub(crate) non_finite: u64,
}

impl Cells {
    pub(crate) fn present(self) -> u64 {
        self.rows - self.missing
    }

    /// Whether this many comparable values complete the rows.
    fn complete(self, values: Option<u64>) -> bool {
        let sum = values.and_then(|values| values.checked_add(self.missing)?.checked_add(self.non_finite));
        sum == Some(self.rows) && self.rows <= MOST
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.rows = self.rows.saturating_add(other.rows);
        self.missing = self.missing.saturating_add(other.missing);
        self.non_finite = self.non_finite.saturating_add(other.non_finite);
    }
}

/// The values that can be compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Values {
    Numbers(Reference),
    Categories(BTreeMap<String, u64>),
}

impl ColumnReference {
    pub(crate) fn new(name: &str, kind: ColumnKind) -> Result<Self> {
        let values = match kind {
            ColumnKind::Float | ColumnKind::Integer => Values::Numbers(Reference::default()),
            ColumnKind::Boolean | ColumnKind::Text => Values::Categories(BTreeMap::new()),
            _ => {
                return Err(Error::unsupported(format!(
                    "column `{name}` is a {kind}, which has no distribution to watch: give it another role \
                     (`Column::role(Role::Time)`), and watch a number or a category that is derived from it"
                )));
            }
        };
        Ok(Self { name: name.to_owned(), kind, cells: Cells::default(), values })
    }

    /// Adds the cells of these batches.
    pub(crate) fn learn(&mut self, batches: &[RecordBatch]) -> Result<()> {
        let mut all = Vec::new();
        for batch in batches {
            let array = find(batch, &self.name)?;
            match &mut self.values {
                Values::Numbers(_) => {
                    read_numbers(array, self.kind, &mut self.cells, |value| all.push(value))?;
                }
                Values::Categories(counts) => {
                    read_categories(array, self.kind, &mut self.cells, |text| count(counts, text))?;
                }
            }
        }
        if let Values::Numbers(reference) = &mut self.values {
            let sorted = Reference::from_sorted(sort(all).into_iter().map(|value| (value, 1)));
            *reference = reference.merge(&sorted);
        }
        self.few_categories()
    }

    fn few_categories(&self) -> Result<()> {
        match &self.values {
            Values::Categories(counts) if counts.len() > CATEGORIES_MAX => Err(Error::invalid(format!(
                "column `{}` has {} categories, over {CATEGORIES_MAX}: it looks like an identifier; give it another role, \
                 or watch a category that is derived from it",
                self.name,
                counts.len()
            ))),
            Values::Categories(counts) => {
                let once = counts.values().filter(|count| **count == 1).count();
                if once <= ONCE_MOST || once as u64 <= self.cells.present() / 10 * 9 {
                    return Ok(());
                }
                Err(Error::invalid(format!(
                    "column `{}` has {once} categories that occur once, in {} cells: it looks like an identifier; give it \
                     another role, or watch a category that is derived from it",
                    self.name,
                    self.cells.present()
                )))
            }
            Values::Numbers(_) => Ok(()),
        }
    }

    /// What tells it from other references.
    pub(crate) fn words(&self, grid: &Grid) -> Vec<u64> {
        let mut all: Vec<u64> = words(&self.name).chain(words(&self.kind.to_string())).collect();
        all.extend([self.cells.rows, self.cells.missing, self.cells.non_finite]);
        if let Grid::Numbers { edges, points } = grid {
            all.push(points.fingerprint());
            all.extend(edges.iter().map(|edge| edge.to_bits()));
        }
        if let Values::Categories(counts) = &self.values {
            counts.iter().for_each(|(text, count)| all.extend(words(text).chain([*count])));
        }
        all
    }

    /// Whether stored parts fit together.
    pub(crate) fn is_sound(&self) -> bool {
        let values = match &self.values {
            Values::Numbers(reference) => Some(reference.total()),
            Values::Categories(counts) => sum(counts),
        };
        let numeric = matches!(self.kind, ColumnKind::Float | ColumnKind::Integer);
        self.cells.complete(values) && numeric == matches!(self.values, Values::Numbers(_))
    }

    pub(crate) fn merge(&mut self, other: &Self) -> Result<()> {
        match (&mut self.values, &other.values) {
            _ if self.kind != other.kind => {
                let name = &self.name;
                return Err(Error::invalid(format!(
                    "column `{name}` is a {} here, a {} there",
                    self.kind, other.kind
                )));
            }
            (Values::Numbers(mine), Values::Numbers(theirs)) => *mine = mine.merge(theirs),
            (Values::Categories(mine), Values::Categories(theirs)) => add(mine, theirs),
            _ => return Err(wrong_kind(&self.name)),
        }
        self.cells.merge(other.cells);
        self.few_categories()
    }
}

/// A reference made ready to count against: the edges are points of its grid.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Grid {
    Numbers {
        edges: Vec<f64>,
        points: Reference,
    },
    /// The place of each category of the reference.
    Categories(HashMap<String, usize>),
}

impl Grid {
    pub(crate) fn new(values: &Values, binning: &Binning) -> Result<Self> {
        match values {
            Values::Categories(counts) => {
                Ok(Self::Categories(counts.keys().enumerate().map(|(at, text)| (text.clone(), at)).collect()))
            }
            Values::Numbers(reference) if reference.total() == 0 => {
                Ok(Self::Numbers { edges: Vec::new(), points: Reference::default() })
            }
            Values::Numbers(reference) => {
                let edges = binning.edges(reference)?;
                let points = reference.with_points(&edges);
                Ok(Self::Numbers { edges, points })
            }
        }
    }
}

/// The live side of a column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct LiveColumn {
    pub(crate) cells: Cells,
    pub(crate) counts: LiveCounts,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LiveCounts {
    Numbers(GapCounts),
    /// Of each category of the reference, in its order, and of all others together.
    Known {
        counts: Vec<u64>,
        unseen: u64,
    },
    /// What version 1 stored.
    Categories(BTreeMap<String, u64>),
}

impl LiveColumn {
    pub(crate) fn new(grid: &Grid) -> Self {
        let counts = match grid {
            Grid::Numbers { points, .. } => LiveCounts::Numbers(GapCounts::new(points)),
            Grid::Categories(places) => LiveCounts::Known { counts: vec![0; places.len()], unseen: 0 },
        };
        Self { cells: Cells::default(), counts }
    }

    /// Adds the cells of a batch.
    pub(crate) fn observe(
        &mut self,
        reference: &ColumnReference,
        grid: &Grid,
        batch: &RecordBatch,
    ) -> Result<()> {
        let array = find(batch, &reference.name)?;
        match (&mut self.counts, grid) {
            (LiveCounts::Numbers(counts), Grid::Numbers { points, .. }) => {
                read_numbers(array, reference.kind, &mut self.cells, |value| counts.place(points, value))
            }
            (LiveCounts::Known { counts, unseen }, Grid::Categories(places)) => {
                read_categories(array, reference.kind, &mut self.cells, |text| match places.get(text) {
                    Some(place) => counts[*place] += 1,
                    None => *unseen += 1,
                })
            }
            _ => Err(wrong_kind(&reference.name)),
        }
    }

    /// The same as this build counts, if the stored parts fit together and belong to this grid.
    pub(crate) fn restored(mut self, grid: &Grid) -> Option<Self> {
        if let (LiveCounts::Categories(stored), Grid::Categories(places)) = (&self.counts, grid) {
            sum(stored)?;
            let (mut counts, mut unseen) = (vec![0; places.len()], 0);
            for (text, count) in stored {
                *places.get(text).map_or(&mut unseen, |place| &mut counts[*place]) += count;
            }
            self.counts = LiveCounts::Known { counts, unseen };
        }
        let fits = match (&self.counts, grid) {
            (LiveCounts::Numbers(counts), Grid::Numbers { points, .. }) => {
                counts.belongs_to(points) && self.cells.complete(Some(counts.total()))
            }
            (LiveCounts::Known { counts, unseen }, Grid::Categories(places)) => {
                let total = counts.iter().try_fold(*unseen, |sum, count| sum.checked_add(*count));
                counts.len() == places.len() && self.cells.complete(total)
            }
            _ => false,
        };
        fits.then_some(self)
    }

    pub(crate) fn merge(&mut self, other: &Self, name: &str) -> Result<()> {
        match (&mut self.counts, &other.counts) {
            (LiveCounts::Numbers(mine), LiveCounts::Numbers(theirs)) => mine.merge(theirs)?,
            (
                LiveCounts::Known { counts, unseen },
                LiveCounts::Known { counts: more, unseen: more_unseen },
            ) if counts.len() == more.len() => {
                counts.iter_mut().zip(more).for_each(|(count, more)| *count = count.saturating_add(*more));
                *unseen = unseen.saturating_add(*more_unseen);
            }
            _ => return Err(wrong_kind(name)),
        }
        self.cells.merge(other.cells);
        Ok(())
    }

    /// The counts of reference and live values in the same buckets, and how many live values lie in buckets
    /// that are empty in the reference.
    pub(crate) fn buckets(&self, reference: &ColumnReference, grid: &Grid) -> Result<Buckets> {
        match (&self.counts, grid, &reference.values) {
            (LiveCounts::Numbers(live), Grid::Numbers { edges, points }, _) => {
                let Some(first) = edges.first() else { return Ok(Buckets::default()) };
                let index = points.values().partition_point(|point| point < first);
                let below = index.checked_sub(1).map_or(0, |before| points.cumulative()[before]);
                let reference = bucket_counts(
                    edges,
                    points.values(),
                    points.cumulative().iter().copied(),
                    below,
                    points.total(),
                );
                let below = live.strictly_below(index);
                let live = bucket_counts(edges, points.values(), live.cumulative(), below, live.total());
                Ok(Buckets { reference, live, kind: BucketKind::Numbers })
            }
            (LiveCounts::Known { counts, unseen }, Grid::Categories(_), Values::Categories(reference)) => {
                Ok(Buckets {
                    reference: reference.values().copied().chain([0]).collect(),
                    live: counts.iter().copied().chain([*unseen]).collect(),
                    kind: BucketKind::Categories {
                        once: reference.values().filter(|count| **count == 1).count() as u64,
                    },
                })
            }
            _ => Err(wrong_kind(&reference.name)),
        }
    }
}

/// The column of this name, or of this name as captured records have it.
fn find<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a dyn Array> {
    batch
        .column_by_name(name)
        .or_else(|| batch.column_by_name(&format!("{FEATURE_PREFIX}{name}")))
        .map(AsRef::as_ref)
        .ok_or_else(|| {
            Error::not_found(format!("the batch has no column `{name}` nor `{FEATURE_PREFIX}{name}`"))
        })
}

fn read_numbers(
    array: &dyn Array,
    kind: ColumnKind,
    cells: &mut Cells,
    mut take: impl FnMut(f64),
) -> Result<()> {
    let found = array.data_type();
    let array = numbers(array)?;
    if kind == ColumnKind::Integer
        && !found.is_integer()
        && let Some(value) = array.iter().flatten().find(|value| value.fract() != 0.0 && value.is_finite())
    {
        return Err(Error::data(format!("want {kind}, got {found} with fractions such as {value}")));
    }
    cells.rows = cells.rows.saturating_add(array.len() as u64);
    cells.missing = cells.missing.saturating_add(array.null_count() as u64);
    let mut non_finite = 0;
    let mut each = |value: f64| if value.is_finite() { take(value) } else { non_finite += 1 };
    if array.null_count() == 0 {
        array.values().iter().copied().for_each(each);
    } else {
        array.iter().flatten().for_each(&mut each);
    }
    cells.non_finite = cells.non_finite.saturating_add(non_finite);
    Ok(())
}

fn read_categories(
    array: &dyn Array,
    kind: ColumnKind,
    cells: &mut Cells,
    mut take: impl FnMut(&str),
) -> Result<()> {
    let text = match (kind, array.data_type()) {
        (ColumnKind::Boolean, DataType::Boolean) => {
            array.as_boolean().iter().flatten().for_each(|value| take(if value { "true" } else { "false" }));
            None
        }
        (ColumnKind::Text, kind) if is_text(kind) => Some(arrow_cast::cast(array, &DataType::Utf8)?),
        (_, found) => return Err(Error::data(format!("want {kind}, got {found}"))),
    };
    cells.rows = cells.rows.saturating_add(array.len() as u64);
    cells.missing = cells.missing.saturating_add(array.logical_null_count() as u64);
    if let Some(text) = text {
        text.as_string::<i32>().iter().flatten().for_each(take);
    }
    Ok(())
}

fn is_text(kind: &DataType) -> bool {
    match kind {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, values) => is_text(values),
        _ => false,
    }
}

fn count(counts: &mut BTreeMap<String, u64>, text: &str) {
    if let Some(count) = counts.get_mut(text) {
        *count += 1;
    } else {
        counts.insert(text.to_owned(), 1);
    }
}

fn add(counts: &mut BTreeMap<String, u64>, more: &BTreeMap<String, u64>) {
    for (text, more) in more {
        let count = counts.entry(text.clone()).or_default();
        *count = count.saturating_add(*more);
    }
}

fn sum(counts: &BTreeMap<String, u64>) -> Option<u64> {
    counts.values().try_fold(0u64, |sum, count| sum.checked_add(*count)).filter(|sum| *sum <= MOST)
}

fn wrong_kind(name: &str) -> Error {
    Error::invalid(format!("the counts of column `{name}` belong to another baseline"))
}

/// So many categories that occur once are fine in any case.
const ONCE_MOST: usize = 1_000;
/// More are no categories.
const CATEGORIES_MAX: usize = 100_000;
/// Before the names of inputs in captured records.
const FEATURE_PREFIX: &str = "feature.";
