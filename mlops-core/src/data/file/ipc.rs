//! Arrow IPC files, also known as Feather.

use std::io::{Read, Seek, SeekFrom, Write};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_buffer::{Buffer, MutableBuffer};
use arrow_ipc::convert::fb_to_schema;
use arrow_ipc::reader::{FileDecoder, read_footer_length};
use arrow_ipc::writer::FileWriter;
use arrow_ipc::{Block, root_as_footer};
use arrow_schema::{ArrowError, Schema};

use super::{Scan, caught, check_columns, read_error, write_error};
use crate::data::{Dataset, TableSchema};
use crate::{Error, Result};

impl Scan {
    /// The rows of an Arrow IPC file. Only the columns that the schema names are decoded.
    ///
    /// # Errors
    /// `Data` if the file is damaged or cut off; then each batch may fail.
    pub fn ipc(
        reader: impl Read + Seek + Send + 'static,
        schema: impl Into<Arc<TableSchema>>,
    ) -> Result<Self> {
        let schema = schema.into();
        let file = IpcFile::open(reader, &schema)?;
        Ok(Self::new(schema, file))
    }
}

impl Dataset {
    /// Reads a whole Arrow IPC file: see [`Scan::ipc`].
    ///
    /// # Errors
    /// As [`Scan::ipc`].
    pub fn from_ipc(
        reader: impl Read + Seek + Send + 'static,
        schema: impl Into<Arc<TableSchema>>,
    ) -> Result<Self> {
        Scan::ipc(reader, schema)?.into_dataset()
    }

    /// Writes all rows as an Arrow IPC file.
    ///
    /// # Errors
    /// `Unavailable` if the writer fails.
    pub fn write_ipc(&self, writer: impl Write) -> Result<()> {
        let write = || {
            let mut writer = FileWriter::try_new(writer, &self.schema().to_arrow())?;
            self.batches().iter().try_for_each(|batch| writer.write(batch))?;
            writer.finish()
        };
        write().map_err(|error| write_error("Arrow IPC", error))
    }
}

/// The batches of a file, found by its footer.
struct IpcFile<R> {
    reader: R,
    size: u64,
    decoder: FileDecoder,
    blocks: std::vec::IntoIter<Block>,
}

/// The footer's length and the magic that ends a file.
const TAIL_BYTES: u64 = 10;

impl<R: Read + Seek> IpcFile<R> {
    fn open(mut reader: R, schema: &TableSchema) -> Result<Self> {
        let size = reader.seek(SeekFrom::End(0)).map_err(damaged)?;
        let start = size.checked_sub(TAIL_BYTES).ok_or_else(|| damaged("the file is too short"))?;
        let mut tail = [0; TAIL_BYTES as usize];
        reader.seek(SeekFrom::Start(start)).and_then(|_| reader.read_exact(&mut tail)).map_err(damaged)?;
        let length = read_footer_length(tail).map_err(damaged)?;
        let start =
            start.checked_sub(length as u64).ok_or_else(|| damaged("the footer is longer than the file"))?;
        let mut footer = vec![0; length];
        reader.seek(SeekFrom::Start(start)).and_then(|_| reader.read_exact(&mut footer)).map_err(damaged)?;

        let footer = root_as_footer(&footer).map_err(|error| damaged(error.to_string()))?;
        let columns = footer.schema().ok_or_else(|| damaged("the footer holds no schema"))?;
        if !columns.endianness().equals_to_target_endianness() {
            return Err(Error::unsupported(
                "the Arrow IPC file has the byte order of another machine: write it again",
            ));
        }
        let columns = guarded(|| Ok(fb_to_schema(columns)))?;
        check_columns(schema, &columns)?;
        let decoder = FileDecoder::new(Arc::new(columns.clone()), footer.version())
            .with_projection(wanted(schema, &columns));
        let blocks = footer.recordBatches().into_iter().flatten().copied().collect::<Vec<_>>().into_iter();
        let mut file = Self { reader, size, decoder, blocks };
        for block in footer.dictionaries().into_iter().flatten() {
            let bytes = file.read(block)?;
            guarded(|| file.decoder.read_dictionary(block, &bytes))?;
        }
        Ok(file)
    }

    /// The bytes of a block: checked before they are asked for, since a damaged footer may tell any length.
    fn read(&mut self, block: &Block) -> Result<Buffer> {
        /// The shortest head of a message.
        const HEAD_BYTES: u64 = 8;
        let (start, head) = (u64::try_from(block.offset()), u64::try_from(block.metaDataLength()));
        let (Ok(start), Ok(head), Ok(body)) = (start, head, u64::try_from(block.bodyLength())) else {
            return Err(damaged("a block has a negative length"));
        };
        let length = head.checked_add(body).filter(|_| head >= HEAD_BYTES);
        let length = length.filter(|length| start.checked_add(*length).is_some_and(|end| end <= self.size));
        let length = length.and_then(|length| usize::try_from(length).ok());
        let length = length.ok_or_else(|| damaged("a block lies outside the file"))?;
        let mut bytes = MutableBuffer::from_len_zeroed(length);
        self.reader.seek(SeekFrom::Start(start)).map_err(damaged)?;
        self.reader.read_exact(&mut bytes).map_err(damaged)?;
        Ok(bytes.into())
    }
}

impl<R: Read + Seek> Iterator for IpcFile<R> {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let block = self.blocks.next()?;
            let batch = self
                .read(&block)
                .and_then(|bytes| guarded(|| self.decoder.read_record_batch(&block, &bytes)));
            if let Some(batch) = batch.transpose() {
                return Some(batch);
            }
        }
    }
}

/// The places of the columns that the schema names.
fn wanted(schema: &TableSchema, columns: &Schema) -> Vec<usize> {
    let places = schema.columns().iter().filter_map(|column| columns.index_of(&column.name).ok());
    places.collect()
}

/// What the decoder gives, or the error of one that met bytes it cannot take.
fn guarded<T>(decode: impl FnOnce() -> Result<T, ArrowError>) -> Result<T> {
    caught(decode).map_err(damaged)?.map_err(damaged)
}

fn damaged(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    read_error(error, "the Arrow IPC file is damaged or cut off: write it again")
}
