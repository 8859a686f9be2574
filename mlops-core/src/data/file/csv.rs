//! CSV with a header, `"` around cells, empty cells missing.

use std::io::{BufRead, BufReader, Cursor, Read, Write};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, RecordBatch, StringArray};
use arrow_csv::reader::Format;
use arrow_csv::{ReaderBuilder, WriterBuilder};
use arrow_schema::{ArrowError, DataType, Field, Schema};
use serde::{Deserialize, Serialize};

use super::{BATCH_ROWS, Scan, check_columns, read_error, write_error};
use crate::data::{Dataset, TableSchema};
use crate::{Error, Result};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What differs from one CSV to another.
///
/// ```
/// use mlops_core::data::{Column, ColumnKind, CsvFormat, Dataset, TableSchema};
///
/// let schema = TableSchema::new([Column::new("rate", ColumnKind::Float), Column::new("page", ColumnKind::Text)])?;
/// let format = CsvFormat::default().delimiter(';').missing(["NA", "-"]);
/// let data = Dataset::from_csv_opts("rate;page\n0.5;home, cart\nNA;-\n".as_bytes(), schema, &format)?;
/// assert_eq!(data.numbers("rate")?[0], 0.5);
/// assert!(data.for_each_row(|row, cells| {
///     assert_eq!(cells.iter().all(|cell| cell.is_missing()), row == 1);
///     Ok(())
/// }).is_ok());
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct CsvFormat {
    /// What is between cells: an ASCII character.
    pub delimiter: char,
    /// Texts that stand for missing cells, in every column and in quotes too. Empty cells are missing in any case.
    pub missing: Vec<String>,
}

impl Default for CsvFormat {
    /// `,` between cells; only empty cells are missing.
    fn default() -> Self {
        Self { delimiter: ',', missing: Vec::new() }
    }
}

impl CsvFormat {
    /// Sets what is between cells.
    #[must_use]
    pub fn delimiter(mut self, delimiter: char) -> Self {
        self.delimiter = delimiter;
        self
    }

    /// Sets the texts that stand for missing cells.
    #[must_use]
    pub fn missing(mut self, texts: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.missing = texts.into_iter().map(Into::into).collect();
        self
    }

    fn to_arrow(&self) -> Result<Format> {
        match u8::try_from(self.delimiter) {
            Ok(byte) if byte.is_ascii() && !b"\"\r\n\0".contains(&byte) => {
                Ok(Format::default().with_header(true).with_delimiter(byte))
            }
            _ => Err(Error::invalid(format!(
                "the delimiter {:?} cannot be told from a cell: take an ASCII character that is no quote or end of a line",
                self.delimiter
            ))),
        }
    }

    /// The texts of a batch without those that stand for missing cells.
    fn without_missing(&self, texts: RecordBatch) -> Result<RecordBatch> {
        if self.missing.is_empty() {
            return Ok(texts);
        }
        let there = |text: &&str| !self.missing.iter().any(|missing| missing == text);
        let column = |texts: &ArrayRef| -> ArrayRef {
            let cells = texts.as_string::<i32>().iter();
            Arc::new(cells.map(|cell| cell.filter(there)).collect::<StringArray>())
        };
        Ok(RecordBatch::try_new(texts.schema(), texts.columns().iter().map(column).collect())?)
    }
}

impl Scan {
    /// The rows of a CSV text with a header and `,` between cells. Columns are found by name, in any order.
    ///
    /// Cells are cast as their column says: numbers in the usual forms, truth values as true/false, t/f,
    /// yes/no or 1/0 in any case, times as RFC 3339; a date alone is its midnight, a time without a zone is in UTC. An empty cell is missing. Messages count rows from 0, the
    /// header aside. A compressed text is read through its decoder, which is a reader too.
    ///
    /// # Errors
    /// `Data` if there is no header, it names a column twice, or a line is malformed; then each batch may fail,
    /// naming column, row and value.
    pub fn csv(reader: impl Read + Send + 'static, schema: impl Into<Arc<TableSchema>>) -> Result<Self> {
        Self::csv_opts(reader, schema, &CsvFormat::default())
    }

    /// As [`csv`](Self::csv), of another form.
    ///
    /// # Errors
    /// As [`csv`](Self::csv), and `Invalid` if the delimiter is none.
    pub fn csv_opts(
        reader: impl Read + Send + 'static,
        schema: impl Into<Arc<TableSchema>>,
        form: &CsvFormat,
    ) -> Result<Self> {
        let format = form.to_arrow()?;
        let mut reader = BufReader::new(reader);
        let mut header = Vec::new();
        reader.read_until(b'\n', &mut header).map_err(unreadable)?;
        if header.starts_with(BYTE_ORDER_MARK) {
            header.drain(..BYTE_ORDER_MARK.len());
        }
        let (names, _) = format.infer_schema(Cursor::new(&header), Some(0)).map_err(unreadable)?;
        let mut seen = std::collections::HashSet::new();
        if let Some(twice) = names.fields().iter().find(|field| !seen.insert(field.name())) {
            let name = twice.name();
            return Err(Error::data(format!("the header names column `{name}` twice: rename one")));
        }
        // All cells are read as text and cast afterwards, so that a wrong one is named by column and row.
        let text = |field: &Arc<Field>| Field::new(field.name(), DataType::Utf8, true);
        let texts = Schema::new(names.fields().iter().map(text).collect::<Vec<_>>());
        let schema = schema.into();
        check_columns(&schema, &texts).map_err(|error| match texts.fields().as_ref() {
            [all] if all.name().contains([',', ';', '\t', '|']) => {
                error.context("the header reads as one column: set the `CsvFormat::delimiter` that it has")
            }
            _ => error,
        })?;
        let wanted = |field: &&Arc<Field>| schema.columns().iter().any(|column| column.name == *field.name());
        let projection = (0..texts.fields().len()).filter(|place| wanted(&&texts.fields()[*place])).collect();
        let batches = ReaderBuilder::new(Arc::new(texts))
            .with_format(format)
            .with_batch_size(BATCH_ROWS)
            .with_projection(projection)
            .build_buffered(BufReader::new(Cursor::new(header).chain(reader)))
            .map_err(unreadable)?;
        let form = form.clone();
        let batches = batches.map(move |batch| form.without_missing(batch.map_err(malformed)?));
        Ok(Self::new(schema, batches))
    }
}

impl Dataset {
    /// Reads a whole CSV text: see [`Scan::csv`].
    ///
    /// # Errors
    /// As [`Scan::csv`].
    pub fn from_csv(reader: impl Read, schema: impl Into<Arc<TableSchema>>) -> Result<Self> {
        Self::from_csv_opts(reader, schema, &CsvFormat::default())
    }

    /// Reads a whole CSV text of another form: see [`Scan::csv_opts`].
    ///
    /// # Errors
    /// As [`Scan::csv_opts`].
    pub fn from_csv_opts(
        mut reader: impl Read,
        schema: impl Into<Arc<TableSchema>>,
        form: &CsvFormat,
    ) -> Result<Self> {
        let mut text = Vec::new();
        reader.read_to_end(&mut text).map_err(unreadable)?;
        Scan::csv_opts(Cursor::new(text), schema, form)?.into_dataset()
    }

    /// Writes all rows as CSV with a header. An empty text cannot be told from a missing cell there: read again,
    /// both are missing.
    ///
    /// # Errors
    /// `Unavailable` if the writer fails.
    pub fn write_csv(&self, writer: impl Write) -> Result<()> {
        let mut writer = WriterBuilder::new().with_header(true).build(writer);
        // The header comes with the first batch, even if it has no row.
        let first = RecordBatch::new_empty(self.schema().to_arrow());
        std::iter::once(&first)
            .chain(self.batches())
            .try_for_each(|batch| writer.write(batch))
            .map_err(|error| write_error("CSV", error))
    }
}

fn unreadable(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    read_error(error, "the text is no CSV with a header")
}

fn malformed(error: ArrowError) -> Error {
    let wrong = match &error {
        ArrowError::CsvError(message) if message.contains("UTF-8") => {
            "the CSV holds bytes that are no UTF-8: convert it"
        }
        _ => "a line of the CSV has not as many cells as the header",
    };
    read_error(error, wrong)
}
