//! A table that streams.

use std::sync::Arc;

use arrow_array::RecordBatch;

use crate::data::conform::conform;
use crate::data::{Dataset, TableSchema};
use crate::{Error, Result};

/// The batches of a file, one after the other, each brought to the schema. Holds one batch at a time; ends after
/// the first error.
///
/// ```
/// use mlops_core::data::{Column, ColumnKind, Scan, TableSchema};
///
/// let schema = TableSchema::new([Column::new("clicks", ColumnKind::Integer)])?;
/// let mut rows = 0;
/// for batch in Scan::csv("clicks\n1\n2\n".as_bytes(), schema)? {
///     rows += batch?.num_rows();
/// }
/// assert_eq!(rows, 2);
/// # Ok::<(), mlops_core::Error>(())
/// ```
pub struct Scan {
    schema: Arc<TableSchema>,
    /// Nothing after an error: some readers would give it forever.
    source: Option<Source>,
    next_row: usize,
    /// Names the table in errors.
    pub(super) name: Option<String>,
}

enum Source {
    Batches(Box<dyn Iterator<Item = Result<RecordBatch>> + Send>),
    /// The scan under way, and those to come.
    Parts(Option<Box<Scan>>, Box<dyn Iterator<Item = Result<Scan>> + Send>),
}

impl Source {
    /// The next batch of a reader, or what `next` gives for the next batch of a part.
    fn next(&mut self, next: fn(&mut Scan) -> Option<Result<RecordBatch>>) -> Option<Result<RecordBatch>> {
        let (part, rest) = match self {
            Self::Batches(batches) => return batches.next(),
            Self::Parts(part, rest) => (part, rest),
        };
        loop {
            if let Some(batch) = part.as_deref_mut().and_then(next) {
                return Some(batch);
            }
            match rest.next()? {
                Ok(scan) => *part = Some(Box::new(scan)),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

impl Scan {
    /// The batches of `batches`, each brought to the schema.
    pub fn new(
        schema: impl Into<Arc<TableSchema>>,
        batches: impl Iterator<Item = Result<RecordBatch>> + Send + 'static,
    ) -> Self {
        Self::of(schema.into(), Source::Batches(Box::new(batches)))
    }

    fn of(schema: Arc<TableSchema>, source: Source) -> Self {
        Self { schema, source: Some(source), next_row: 0, name: None }
    }

    /// The rows of several scans, one after the other; each is opened when its turn comes, the first at once.
    pub(in crate::data) fn parts<P: Send + 'static>(
        schema: Arc<TableSchema>,
        mut parts: impl Iterator<Item = P> + Send + 'static,
        mut open: impl FnMut(P) -> Result<Self> + Send + 'static,
    ) -> Result<Self> {
        let part = parts.next().map(&mut open).transpose()?.map(Box::new);
        Ok(Self::of(schema, Source::Parts(part, Box::new(parts.map(open)))))
    }

    /// The same scan, whose errors name the table.
    pub(in crate::data) fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// What the columns mean.
    pub fn schema(&self) -> &Arc<TableSchema> {
        &self.schema
    }

    /// The batches as they are read, before they are brought to the schema.
    pub(in crate::data) fn into_raw(mut self) -> impl Iterator<Item = Result<RecordBatch>> {
        std::iter::from_fn(move || self.next_raw())
    }

    fn next_raw(&mut self) -> Option<Result<RecordBatch>> {
        let batch = self.source.as_mut()?.next(Self::next_raw)?;
        Some(batch.map_err(|error| self.fail(error)))
    }

    #[cold]
    fn fail(&mut self, error: Error) -> Error {
        self.source = None;
        match &self.name {
            Some(name) => cannot_read(name, error),
            None => error,
        }
    }

    /// All batches, in memory.
    ///
    /// # Errors
    /// The first error of a batch.
    pub fn into_dataset(self) -> Result<Dataset> {
        let schema = Arc::clone(&self.schema);
        Dataset::new(schema, self.collect::<Result<Vec<_>>>()?)
    }
}

impl Iterator for Scan {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.source.as_mut()?.next(Self::next)?.and_then(|batch| {
            let first_row = self.next_row;
            self.next_row += batch.num_rows();
            conform(&self.schema, &batch, first_row)
        });
        Some(batch.map_err(|error| self.fail(error)))
    }
}

impl std::fmt::Debug for Scan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scan").field("schema", &self.schema).field("next_row", &self.next_row).finish()
    }
}

#[cold]
pub(in crate::data) fn cannot_read(name: &str, error: Error) -> Error {
    error.context(format!("cannot read the table `{name}`"))
}
