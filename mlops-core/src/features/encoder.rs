//! Rows in, numbers out.

use arrow_array::RecordBatch;
use ndarray::Array2;
use serde::{Deserialize, Serialize};

use super::feed::{Encoded, Feed, Step};
use super::fitted::Fitted;
use super::spec::{EncoderSpec, FeedSpec, Kind};
use super::stored::{Stored, VERSION};
use crate::data::{Cells, Column, Dataset, Value};
use crate::{Error, Result};

/// A fitted encoder: turns the feature cells of a row into the numbers that a model takes, one matrix of floats or
/// what each of its inputs is fed with ([`feeds`](Self::feeds)).
///
/// It is a plain serde value with a version; JSON keeps every number bit for bit. Encoding a row does not
/// allocate, and is the same code for one request as for a training batch.
///
/// ```
/// use mlops_core::data::{Column, ColumnKind, Dataset, TableSchema, Value};
/// use mlops_core::features::{Encoded, Encoder, EncoderSpec, Transform};
///
/// let schema = TableSchema::new([
///     Column::new("visitor", ColumnKind::Text),
///     Column::new("page_value", ColumnKind::Float),
/// ])?;
/// let train = Dataset::from_csv("visitor,page_value\nann,0\nbob,4\nann,8\n".as_bytes(), schema)?;
/// let spec = EncoderSpec::default()
///     .indices("user_id", [("visitor", Transform::Vocabulary { categories_max: 1000 })])
///     .floats("context", [("page_value", Transform::standardise())]);
/// let encoder = Encoder::fit(&spec, &train)?;
///
/// let encoded = encoder.encode_dataset_feeds(&train)?;
/// assert_eq!(encoded[0], Encoded::Indices(ndarray::array![[0], [1], [0]]));
/// // Two known visitors, those unseen, and rows without one: the embedding has four rows.
/// assert_eq!(encoder.feeds()[0].index_counts(), [Some(4)]);
/// let mut user_id = [0_i64];
/// encoder.encode_indices(0, &[Value::Text("eve"), Value::Float(1.0)], &mut user_id)?;
/// assert_eq!(user_id, [2]);
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct Encoder {
    /// The cells of a row, in order.
    pub(super) inputs: Vec<Column>,
    pub(super) feeds: Vec<Feed>,
}

impl Encoder {
    /// Fits every transform on the training rows. Rows to encode later have the feature columns of the
    /// data set's schema, in its order, whether a transform uses them or not.
    ///
    /// # Errors
    /// `Invalid` if a transform does not fit its column or what it feeds, there is none, or inputs are not each
    /// named once; `NotFound` if a column is no feature of the schema; `Data` if the data set is empty, or a
    /// column has no number to fit on.
    pub fn fit(spec: &EncoderSpec, train: &Dataset) -> Result<Self> {
        if train.is_empty() {
            return Err(Error::data("an encoder cannot be fitted on an empty data set"));
        }
        spec.check()?;
        let inputs: Vec<Column> = train.schema().features().cloned().collect();
        let step = |kind, (name, transform): &(String, _)| {
            let input = inputs
                .iter()
                .position(|column| column.name == *name)
                .ok_or_else(|| Error::not_found(format!("column `{name}` is no feature of the schema")))?;
            let array = train.column(name)?;
            let cells = Cells::new(array.as_ref())?;
            let cells = (0..cells.len()).map(|row| cells.value(row));
            Ok(Step { input, fitted: Fitted::fit(&inputs[input], transform, kind, cells)? })
        };
        let feed = |FeedSpec { input, kind, columns }: &FeedSpec| {
            let steps = columns.iter().map(|column| step(*kind, column)).collect::<Result<_>>()?;
            Ok(Feed { input: input.clone(), kind: *kind, steps })
        };
        let feeds = spec.feeds.iter().map(feed).collect::<Result<_>>()?;
        Ok(Self { inputs, feeds })
    }

    /// Reads an encoder from the JSON that serde wrote.
    ///
    /// # Errors
    /// `Data` if it is no encoder, `Unsupported` if a newer version of this library wrote it.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        let wrong = |error| Error::data("the bytes are no encoder in JSON").with_source(error);
        let value: serde_json::Value = serde_json::from_slice(json).map_err(wrong)?;
        let version = value.get("version").and_then(serde_json::Value::as_u64).unwrap_or(0);
        if version > u64::from(VERSION) {
            return Err(Error::unsupported(format!(
                "the encoder has version {version}, this build reads up to {VERSION}: update mlops-core"
            )));
        }
        serde_json::from_value(value).map_err(wrong)
    }

    /// The encoder as JSON, for [`from_json`](Self::from_json).
    ///
    /// # Errors
    /// `Internal` if serde refuses, which no fitted encoder makes it do.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self)
            .map_err(|error| Error::internal("an encoder cannot be written as JSON").with_source(error))
    }

    /// The feature columns: what a row must hold, in order.
    pub fn inputs(&self) -> &[Column] {
        &self.inputs
    }

    /// What it makes for each input of a model, in order.
    pub fn feeds(&self) -> &[Feed] {
        &self.feeds
    }

    /// How many numbers a row becomes, for all inputs together.
    pub fn width(&self) -> usize {
        self.feeds.iter().map(Feed::width).sum()
    }

    /// The names of those numbers, in order.
    pub fn output_names(&self) -> Vec<String> {
        let steps = self.feeds.iter().flat_map(|feed| feed.steps.iter().map(|step| (feed.kind, step)));
        steps.flat_map(|(kind, step)| step.fitted.output_names(&self.inputs[step.input].name, kind)).collect()
    }

    /// Encodes one row into `out`, for an encoder of one matrix of floats. Does not allocate.
    ///
    /// # Errors
    /// `Invalid` if the row has not one cell for each input, a cell's kind does not fit its column, `out`
    /// has not the encoder's width, or the encoder feeds several inputs or one with indices.
    pub fn encode_row(&self, row: &[Value<'_>], out: &mut [f32]) -> Result<()> {
        self.check_matrix()?;
        self.encode_floats(0, row, out)
    }

    /// Encodes one row into `out`, which [`feeds()[feed]`](Self::feeds) makes floats for. Does not allocate.
    ///
    /// # Errors
    /// `Invalid` if the row has not one cell for each input, a cell's kind does not fit its column, `out`
    /// has not the feed's width, or there is no such feed of floats.
    pub fn encode_floats(&self, feed: usize, row: &[Value<'_>], mut out: &mut [f32]) -> Result<()> {
        for step in self.steps(feed, Kind::Floats, row, out.len())? {
            let cell = self.cell(step, row)?;
            let (head, tail) = out.split_at_mut(step.fitted.width(Kind::Floats));
            step.fitted.encode(cell, head);
            out = tail;
        }
        Ok(())
    }

    /// Encodes one row into `out`, which [`feeds()[feed]`](Self::feeds) makes indices for, as `i64`, `i32` or
    /// whatever the model takes. Does not allocate.
    ///
    /// # Errors
    /// As [`encode_floats`](Self::encode_floats), and `Invalid` if a cell has no index (a missing one that no number
    /// stands for) or one that `T` cannot hold.
    pub fn encode_indices<T: TryFrom<i64>>(
        &self,
        feed: usize,
        row: &[Value<'_>],
        out: &mut [T],
    ) -> Result<()> {
        let steps = self.steps(feed, Kind::Indices, row, out.len())?;
        let mut out = out.iter_mut();
        for step in steps {
            let cell = self.cell(step, row)?;
            let width = step.fitted.width(Kind::Indices);
            for (part, out) in out.by_ref().take(width).enumerate() {
                let name = &self.inputs[step.input].name;
                let index = step.fitted.index(cell, part).ok_or_else(|| no_index(name, cell))?;
                *out = T::try_from(index).map_err(|_| too_large(name, index, size_of::<T>()))?;
            }
        }
        Ok(())
    }

    /// Encodes every row of a batch, whose columns are found by name, for an encoder of one matrix of floats.
    ///
    /// # Errors
    /// `Data` if a feature column is missing or of a kind that does not fit; `Invalid` if the encoder feeds
    /// several inputs or one with indices.
    pub fn encode(&self, batch: &RecordBatch) -> Result<Array2<f32>> {
        self.check_matrix()?;
        only_matrix(self.encode_feeds(batch)?)
    }

    /// Encodes every row of a data set, for an encoder of one matrix of floats.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn encode_dataset(&self, data: &Dataset) -> Result<Array2<f32>> {
        self.check_matrix()?;
        only_matrix(self.encode_dataset_feeds(data)?)
    }

    /// Encodes every row of a batch, whose columns are found by name, for each of the [`feeds`](Self::feeds).
    ///
    /// # Errors
    /// `Data` if a feature column is missing or of a kind that does not fit, `Invalid` if a cell has no index.
    pub fn encode_feeds(&self, batch: &RecordBatch) -> Result<Vec<Encoded>> {
        let column = |input: &Column| {
            let name = &input.name;
            let column = batch
                .column_by_name(name)
                .ok_or_else(|| Error::data(format!("column `{name}` is missing: the encoder reads it")))?;
            Cells::new(column.as_ref())
        };
        let columns = self.inputs.iter().map(column).collect::<Result<Vec<_>>>()?;
        let zeros = |feed| Encoded::zeros(feed, batch.num_rows());
        let mut encoded: Vec<Encoded> = self.feeds.iter().map(zeros).collect();
        let in_pieces = || Error::internal("a row of an array is in pieces");
        let mut row = vec![Value::Missing; columns.len()];
        for index in 0..batch.num_rows() {
            row.iter_mut().zip(&columns).for_each(|(cell, column)| *cell = column.value(index));
            for (feed, encoded) in encoded.iter_mut().enumerate() {
                match encoded {
                    Encoded::Floats(all) => {
                        let out = all.row_mut(index).into_slice().ok_or_else(in_pieces)?;
                        self.encode_floats(feed, &row, out)?;
                    }
                    Encoded::Indices(all) => {
                        let out = all.row_mut(index).into_slice().ok_or_else(in_pieces)?;
                        self.encode_indices(feed, &row, out)?;
                    }
                }
            }
        }
        Ok(encoded)
    }

    /// Encodes every row of a data set for each of the [`feeds`](Self::feeds).
    ///
    /// # Errors
    /// As [`encode_feeds`](Self::encode_feeds).
    pub fn encode_dataset_feeds(&self, data: &Dataset) -> Result<Vec<Encoded>> {
        let mut encoded: Vec<Encoded> = self.feeds.iter().map(|feed| Encoded::zeros(feed, 0)).collect();
        for batch in data.batches() {
            let rows = self.encode_feeds(batch)?;
            encoded.iter_mut().zip(&rows).try_for_each(|(encoded, rows)| encoded.append(rows))?;
        }
        Ok(encoded)
    }

    /// The steps of a feed, if the row and the room fit.
    #[inline]
    fn steps(&self, feed: usize, kind: Kind, row: &[Value<'_>], room: usize) -> Result<&[Step]> {
        if row.len() != self.inputs.len() {
            return Err(self.wrong_count(row.len()));
        }
        match self.feeds.get(feed).filter(|feed| feed.kind == kind) {
            Some(feed) if feed.width() == room => Ok(&feed.steps),
            Some(feed) => {
                let width = feed.width();
                Err(Error::invalid(format!("the row becomes {width} numbers, there is room for {room}")))
            }
            None => Err(self.wrong_feed(&format!("feed {feed}"), kind)),
        }
    }

    /// The cell that a step encodes.
    #[inline]
    fn cell<'v>(&self, step: &Step, row: &[Value<'v>]) -> Result<Value<'v>> {
        let (cell, column) = (row[step.input], &self.inputs[step.input]);
        if column.kind.takes(cell) { Ok(cell) } else { Err(wrong_kind(column, cell)) }
    }

    #[inline]
    fn check_matrix(&self) -> Result<()> {
        match self.feeds[..] {
            [Feed { kind: Kind::Floats, .. }] => Ok(()),
            _ => Err(self.wrong_feed("one matrix", Kind::Floats)),
        }
    }

    #[cold]
    fn wrong_count(&self, got: usize) -> Error {
        let names: Vec<_> = self.inputs.iter().map(|column| column.name.as_str()).collect();
        Error::invalid(format!("the row has {got} cells, want {}: {}", names.len(), names.join(", ")))
    }

    #[cold]
    fn wrong_feed(&self, asked: &str, kind: Kind) -> Error {
        let kinds = |kind| if kind == Kind::Floats { "floats" } else { "indices" };
        let feeds = self.feeds.iter().map(|feed| format!("{} for {}", kinds(feed.kind), feed.target()));
        let feeds: Vec<String> = feeds.collect();
        Error::invalid(format!(
            "{asked} of {} was asked for, the encoder makes {}: call `encode_feeds`, or `encode_floats` and \
             `encode_indices` by the places in `feeds`",
            kinds(kind),
            feeds.join(", ")
        ))
    }
}

fn only_matrix(encoded: Vec<Encoded>) -> Result<Array2<f32>> {
    match encoded.into_iter().next() {
        Some(Encoded::Floats(matrix)) => Ok(matrix),
        _ => Err(Error::internal("an encoder of one matrix made something else")),
    }
}

#[cold]
fn wrong_kind(column: &Column, cell: Value<'_>) -> Error {
    Error::invalid(format!("feature `{}` wants {}, got {cell}", column.name, column.kind))
}

#[cold]
fn no_index(name: &str, cell: Value<'_>) -> Error {
    Error::invalid(format!(
        "feature `{name}` is {cell}, which has no index: send a whole number, or let one stand for it by \
         `Missing::Value`"
    ))
}

#[cold]
fn too_large(name: &str, index: i64, bytes: usize) -> Error {
    Error::invalid(format!("feature `{name}` has index {index}, beyond the {} bits of its input", 8 * bytes))
}
