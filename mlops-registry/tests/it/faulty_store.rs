//! Object stores one call of which goes wrong, around real ones.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt as _, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    Result, UploadPart,
};

use crate::faulty::{Fault, Plan};

/// A store one call of which goes wrong.
#[derive(Debug)]
pub(crate) struct Faulty {
    inner: Arc<dyn ObjectStore>,
    plan: Arc<Plan>,
    late: Mutex<Vec<(Path, PutPayload, PutOptions)>>,
}

impl Faulty {
    pub(crate) fn new(inner: Arc<dyn ObjectStore>, plan: Arc<Plan>) -> Self {
        Self { inner, plan, late: Mutex::default() }
    }

    /// What was under way arrives.
    pub(crate) async fn settle(&self) {
        let late = std::mem::take(&mut *self.late.lock().unwrap());
        for (path, payload, options) in late {
            let _ = self.inner.put_opts(&path, payload, options).await;
        }
    }

    async fn replaces_blob(&self, path: &Path) -> bool {
        path.prefix_matches(&Path::from("blob")) && self.inner.head(path).await.is_ok()
    }

    async fn next(&self, writes: bool) -> Option<Fault> {
        if self.plan.fault == Fault::Late {
            self.settle().await;
        }
        self.plan.next(writes)
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "faulty {}", self.inner)
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let Some(fault) = self.next(true).await else {
            return self.inner.put_opts(path, payload, options).await;
        };
        match fault {
            Fault::AnswerLost | Fault::StopsAfter => drop(self.inner.put_opts(path, payload, options).await),
            Fault::DiesAfter => return self.inner.put_opts(path, payload, options).await,
            Fault::Late | Fault::VeryLate => self.late.lock().unwrap().push((path.clone(), payload, options)),
            Fault::Twice => {
                let _ = self.inner.put_opts(path, payload.clone(), options.clone()).await;
                return self.inner.put_opts(path, payload, options).await;
            }
            // Stores replace an object whole or not at all; what mends a blob relies on it.
            Fault::Torn if options.mode == PutMode::Overwrite && !self.replaces_blob(path).await => {
                let bytes = Bytes::from(payload);
                let half = bytes.slice(..bytes.len() / 2);
                let _ = self.inner.put_opts(path, half.into(), options).await;
            }
            _ => {}
        }
        Err(self.plan.failed(fault).await)
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        match self.next(true).await {
            None | Some(Fault::DiesAfter | Fault::Twice) => {}
            Some(fault) => return Err(self.plan.failed(fault).await),
        }
        let inner = self.inner.put_multipart_opts(path, options).await?;
        Ok(Box::new(FaultyUpload { inner, plan: self.plan.clone() }))
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        match self.next(false).await {
            None | Some(Fault::DiesAfter | Fault::Twice) => self.inner.get_opts(path, options).await,
            Some(Fault::Torn) => {
                let mut found = self.inner.get_opts(path, options.clone()).await?;
                let bytes = self.inner.get_opts(path, options).await?.bytes().await?;
                let half = stream::iter([Ok(bytes.slice(..bytes.len() / 2))]);
                let torn = half.chain(stream::once(fails(self.plan.clone(), Fault::Torn)));
                found.payload = GetResultPayload::Stream(torn.boxed());
                Ok(found)
            }
            Some(fault) => Err(self.plan.failed(fault).await),
        }
    }

    async fn get_ranges(&self, path: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(path, ranges).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let plan = self.plan.clone();
        match plan.next(true) {
            None | Some(Fault::DiesAfter | Fault::Twice) => self.inner.delete_stream(paths),
            Some(fault @ (Fault::AnswerLost | Fault::StopsAfter)) => {
                let deleted = self.inner.delete_stream(paths);
                deleted.then(move |_| fails(plan.clone(), fault)).boxed()
            }
            Some(fault) => stream::once(fails(plan, fault)).boxed(),
        }
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.plan.next(false) {
            None | Some(Fault::DiesAfter | Fault::Twice) => self.inner.list(prefix),
            Some(fault) => stream::once(fails(self.plan.clone(), fault)).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        match self.next(true).await {
            None | Some(Fault::DiesAfter | Fault::Twice) => self.inner.copy_opts(from, to, options).await,
            Some(fault) => {
                if matches!(fault, Fault::AnswerLost | Fault::StopsAfter) {
                    self.inner.copy_opts(from, to, options).await?;
                }
                Err(self.plan.failed(fault).await)
            }
        }
    }
}

async fn fails<T>(plan: Arc<Plan>, fault: Fault) -> Result<T> {
    Err(plan.failed(fault).await)
}

#[derive(Debug)]
struct FaultyUpload {
    inner: Box<dyn MultipartUpload>,
    plan: Arc<Plan>,
}

#[async_trait]
impl MultipartUpload for FaultyUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        match self.plan.next(true) {
            None | Some(Fault::DiesAfter | Fault::Twice) => self.inner.put_part(data),
            Some(fault) => Box::pin(fails(self.plan.clone(), fault)),
        }
    }

    async fn complete(&mut self) -> Result<PutResult> {
        match self.plan.next(true) {
            None | Some(Fault::DiesAfter | Fault::Twice) => self.inner.complete().await,
            Some(fault) => {
                if matches!(fault, Fault::AnswerLost | Fault::StopsAfter) {
                    self.inner.complete().await?;
                }
                Err(self.plan.failed(fault).await)
            }
        }
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}
