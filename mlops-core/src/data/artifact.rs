//! Data sets pass between the steps of a pipeline.

use std::borrow::Cow;
use std::io::Write;

use arrow_array::RecordBatch;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use bytes::{Buf, Bytes};

use super::{Dataset, TableSchema};
use crate::pipeline::Artifact;
use crate::{Error, Result};

/// The schema as JSON after its length, then all rows as one batch of an Arrow IPC stream: the same rows give
/// the same bytes, however they were cut into batches.
impl Artifact for Dataset {
    fn format() -> Cow<'static, str> {
        "mlops data set, 1".into()
    }

    fn encode(&self, out: &mut dyn Write) -> Result<()> {
        let schema = serde_json::to_vec(&**self.schema())
            .map_err(|error| Error::invalid("the schema cannot be written as JSON").with_source(error))?;
        let write = |out: &mut dyn Write| -> std::io::Result<()> {
            out.write_all(&(schema.len() as u64).to_le_bytes())?;
            out.write_all(&schema)
        };
        write(out).map_err(|error| Error::unavailable("cannot write a data set").with_source(error))?;
        let names = self.schema().columns().iter().map(|column| &column.name);
        let columns = names.map(|name| self.column(name)).collect::<Result<Vec<_>>>()?;
        let batch = RecordBatch::try_new(self.schema().to_arrow(), columns)?;
        let mut writer = StreamWriter::try_new(out, batch.schema_ref())?;
        writer.write(&batch)?;
        writer.finish()?;
        Ok(())
    }

    fn decode(mut bytes: Bytes) -> Result<Self> {
        let short = || Error::data("the bytes are no data set: they end within the schema");
        let length = bytes.try_get_u64_le().map_err(|_| short())?;
        let length =
            usize::try_from(length).ok().filter(|length| *length <= bytes.len()).ok_or_else(short)?;
        let schema: TableSchema = serde_json::from_slice(&bytes.split_to(length))
            .map_err(|error| Error::data("the bytes are no data set: no schema").with_source(error))?;
        let batches = StreamReader::try_new(bytes.reader(), None)?;
        Self::new(schema, batches.collect::<Result<Vec<_>, _>>()?)
    }
}
