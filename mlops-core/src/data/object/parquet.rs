//! Parquet from a store: the footer, then of each row group the columns that the schema names.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::{BoxFuture, FutureExt};
use object_store::{OBJECT_STORE_COALESCE_DEFAULT, coalesce_ranges};
use parquet::arrow::ParquetRecordBatchStreamBuilder;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};

use super::snapshot::Snapshot;
use crate::data::file::parquet::{damaged, wanted};
use crate::data::file::{BATCH_ROWS, caught, check_columns};
use crate::data::{Scan, TableSchema};
use crate::driver::Driver;

/// The rows of an object; of each row group the wanted columns are fetched at once.
pub(super) fn scan(object: Snapshot, schema: Arc<TableSchema>, driver: Driver) -> crate::Result<Scan> {
    let open = || driver.wait(ParquetRecordBatchStreamBuilder::new(object));
    let builder = caught(open).map_err(damaged)?.map_err(damaged)?;
    check_columns(&schema, builder.schema())?;
    let mask = wanted(&schema, builder.schema(), builder.parquet_schema());
    let builder = builder.with_projection(mask).with_batch_size(BATCH_ROWS);
    let mut batches = caught(|| builder.build()).map_err(damaged)?.map_err(damaged)?;
    let next = move || match caught(|| driver.wait(batches.next())) {
        Ok(batch) => batch.map(|batch| batch.map_err(damaged)),
        Err(panic) => Some(Err(damaged(panic))),
    };
    Ok(Scan::new(schema, std::iter::from_fn(next)))
}

/// Most footers fit into the last bytes of the first request.
const FOOTER_BYTES: usize = 64 * 1024;

impl AsyncFileReader for Snapshot {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes>> {
        async move { self.bytes(range).await.map_err(external) }.boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, Result<Vec<Bytes>>> {
        async move {
            let fetch = |range| self.bytes(range);
            coalesce_ranges(&ranges, fetch, OBJECT_STORE_COALESCE_DEFAULT).await.map_err(external)
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>>> {
        async move {
            let size = self.size();
            let reader = ParquetMetaDataReader::new().with_prefetch_hint(Some(FOOTER_BYTES));
            let reader = reader.with_arrow_reader_options(options);
            Ok(Arc::new(reader.load_and_finish(self, size).await?))
        }
        .boxed()
    }
}

fn external(error: crate::Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}
