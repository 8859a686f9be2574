//! CSV with a header, `,` between cells, `"` around them, empty cells missing.

use std::io::{BufRead, BufReader, Cursor, Read, Write};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_csv::reader::Format;
use arrow_csv::{ReaderBuilder, WriterBuilder};
use arrow_schema::{ArrowError, DataType, Field, Schema};

use super::{BATCH_ROWS, Scan, check_columns, read_error, write_error};
use crate::data::{Dataset, TableSchema};
use crate::{Error, Result};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

impl Scan {
    /// The rows of a CSV text with a header. Columns are found by name, in any order.
    ///
    /// Cells are cast as their column says: numbers in the usual forms, truth values as true/false, t/f,
    /// yes/no or 1/0 in any case, times as RFC 3339. An empty cell is missing. Messages count rows from 0, the
    /// header aside.
    ///
    /// # Errors
    /// `Data` if there is no header, it names a column twice, or a line is malformed; then each batch may fail,
    /// naming column, row and value.
    pub fn csv(reader: impl Read + Send + 'static, schema: impl Into<Arc<TableSchema>>) -> Result<Self> {
        let mut reader = BufReader::new(reader);
        let mut header = Vec::new();
        reader.read_until(b'\n', &mut header).map_err(unreadable)?;
        if header.starts_with(BYTE_ORDER_MARK) {
            header.drain(..BYTE_ORDER_MARK.len());
        }
        let format = Format::default().with_header(true);
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
        check_columns(&schema, &texts)?;
        let wanted = |field: &&Arc<Field>| schema.columns().iter().any(|column| column.name == *field.name());
        let projection = (0..texts.fields().len()).filter(|place| wanted(&&texts.fields()[*place])).collect();
        let batches = ReaderBuilder::new(Arc::new(texts))
            .with_format(format)
            .with_batch_size(BATCH_ROWS)
            .with_projection(projection)
            .build_buffered(BufReader::new(Cursor::new(header).chain(reader)))
            .map_err(unreadable)?;
        Ok(Self::new(schema, batches.map(move |batch| batch.map_err(malformed))))
    }
}

impl Dataset {
    /// Reads a whole CSV text: see [`Scan::csv`].
    ///
    /// # Errors
    /// As [`Scan::csv`].
    pub fn from_csv(mut reader: impl Read, schema: impl Into<Arc<TableSchema>>) -> Result<Self> {
        let mut text = Vec::new();
        reader.read_to_end(&mut text).map_err(unreadable)?;
        Scan::csv(Cursor::new(text), schema)?.into_dataset()
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
