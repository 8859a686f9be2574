//! Object stores that fail or lie, around a real one.

use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt as _, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};

/// What goes wrong with one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It fails and does nothing.
    Fails,
    /// It is done, and the answer is lost.
    AnswerLost,
    /// It fails, and is done all the same just before the next call.
    Late,
    /// It fails, and is done all the same long after.
    VeryLate,
    /// It is done twice, as by a proxy that tries again.
    Twice,
    /// Half of it is written, where the store does not promise better: objects that are overwritten.
    Torn,
    /// The process dies before it.
    DiesBefore,
    /// The process dies after it.
    DiesAfter,
    /// The disk is full from here on.
    DiskFull,
    /// Nothing can be written from here on.
    ReadOnly,
}

impl Fault {
    pub(crate) const ALL: [Self; 10] = [
        Self::Fails,
        Self::AnswerLost,
        Self::Late,
        Self::VeryLate,
        Self::Twice,
        Self::Torn,
        Self::DiesBefore,
        Self::DiesAfter,
        Self::DiskFull,
        Self::ReadOnly,
    ];
}

/// A store whose `at`-th call goes wrong; it counts its calls.
#[derive(Debug)]
pub(crate) struct Faulty {
    inner: Arc<dyn ObjectStore>,
    at: u64,
    fault: Fault,
    calls: Arc<AtomicU64>,
    late: Mutex<Vec<(Path, PutPayload, PutOptions)>>,
}

impl Faulty {
    pub(crate) fn new(inner: Arc<dyn ObjectStore>, at: u64, fault: Fault) -> Self {
        Self { inner, at, fault, calls: Arc::default(), late: Mutex::default() }
    }

    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    /// What was under way arrives.
    pub(crate) async fn settle(&self) {
        let late = std::mem::take(&mut *self.late.lock().unwrap());
        for (path, payload, options) in late {
            let _ = self.inner.put_opts(&path, payload, options).await;
        }
    }

    /// What goes wrong with this call.
    async fn next(&self, writes: bool) -> Option<Fault> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        if self.fault == Fault::Late {
            self.settle().await;
        }
        match self.fault {
            Fault::DiesAfter if call > self.at => Some(Fault::Fails),
            Fault::DiesBefore if call >= self.at => Some(Fault::Fails),
            Fault::DiskFull | Fault::ReadOnly if call >= self.at => writes.then_some(self.fault),
            fault if call == self.at => Some(fault),
            _ => None,
        }
    }
}

fn failed(fault: Fault) -> object_store::Error {
    let cause = match fault {
        Fault::DiskFull => io::Error::from(io::ErrorKind::StorageFull),
        Fault::ReadOnly => io::Error::from(io::ErrorKind::ReadOnlyFilesystem),
        _ => io::Error::other("injected"),
    };
    object_store::Error::Generic { store: "faulty", source: cause.into() }
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
            Fault::AnswerLost => drop(self.inner.put_opts(path, payload, options).await),
            Fault::DiesAfter => return self.inner.put_opts(path, payload, options).await,
            Fault::Late | Fault::VeryLate => self.late.lock().unwrap().push((path.clone(), payload, options)),
            Fault::Twice => {
                let _ = self.inner.put_opts(path, payload.clone(), options.clone()).await;
                return self.inner.put_opts(path, payload, options).await;
            }
            Fault::Torn if options.mode == PutMode::Overwrite => {
                let bytes = Bytes::from(payload);
                let half = bytes.slice(..bytes.len() / 2);
                let _ = self.inner.put_opts(path, half.into(), options).await;
            }
            _ => {}
        }
        Err(failed(fault))
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        match self.next(true).await {
            None | Some(Fault::DiesAfter | Fault::Twice) => {}
            Some(fault) => return Err(failed(fault)),
        }
        let inner = self.inner.put_multipart_opts(path, options).await?;
        Ok(Box::new(FaultyUpload { inner, at: self.at, fault: self.fault, calls: self.calls.clone() }))
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        match self.next(false).await {
            None | Some(Fault::DiesAfter | Fault::Twice) => self.inner.get_opts(path, options).await,
            Some(fault) => Err(failed(fault)),
        }
    }

    async fn get_ranges(&self, path: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(path, ranges).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        match now(self.next(true)) {
            None | Some(Fault::DiesAfter | Fault::Twice) => self.inner.delete_stream(paths),
            Some(Fault::AnswerLost) => {
                self.inner.delete_stream(paths).map(|_| Err(failed(Fault::AnswerLost))).boxed()
            }
            Some(fault) => stream::once(async move { Err(failed(fault)) }).boxed(),
        }
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match now(self.next(false)) {
            None | Some(Fault::DiesAfter | Fault::Twice) => self.inner.list(prefix),
            Some(fault) => stream::once(async move { Err(failed(fault)) }).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[derive(Debug)]
struct FaultyUpload {
    inner: Box<dyn MultipartUpload>,
    at: u64,
    fault: Fault,
    calls: Arc<AtomicU64>,
}

impl FaultyUpload {
    fn next(&self) -> Option<Fault> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        let lasts = matches!(self.fault, Fault::DiesBefore | Fault::DiskFull | Fault::ReadOnly);
        (call == self.at || (lasts && call > self.at) || (self.fault == Fault::DiesAfter && call > self.at))
            .then_some(if self.fault == Fault::DiesAfter && call > self.at {
                Fault::Fails
            } else {
                self.fault
            })
    }
}

#[async_trait]
impl MultipartUpload for FaultyUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        match self.next() {
            None | Some(Fault::DiesAfter | Fault::Twice) => self.inner.put_part(data),
            Some(fault) => Box::pin(async move { Err(failed(fault)) }),
        }
    }

    async fn complete(&mut self) -> Result<PutResult> {
        match self.next() {
            None | Some(Fault::DiesAfter | Fault::Twice) => self.inner.complete().await,
            Some(Fault::AnswerLost) => {
                self.inner.complete().await?;
                Err(failed(Fault::AnswerLost))
            }
            Some(fault) => Err(failed(fault)),
        }
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}

/// How a store breaks its promise to create what is absent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lie {
    /// It takes no notice of the condition, as `s3rver` does.
    IgnoresCondition,
    /// It looks, then writes: right one by one, wrong in races, as `s3s-fs` does.
    LooksThenWrites,
    /// It answers before it has written, and loses every fourth entry.
    Forgets,
}

/// A store that lies.
#[derive(Debug)]
pub(crate) struct Liar {
    pub(crate) inner: Arc<dyn ObjectStore>,
    pub(crate) lie: Lie,
    pub(crate) puts: AtomicU64,
}

impl fmt::Display for Liar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lying {}", self.inner)
    }
}

#[async_trait]
impl ObjectStore for Liar {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        if options.mode != PutMode::Create {
            return self.inner.put_opts(path, payload, options).await;
        }
        let overwrite = PutOptions::from(PutMode::Overwrite);
        match self.lie {
            Lie::IgnoresCondition => {}
            Lie::LooksThenWrites => {
                let source = || io::Error::from(io::ErrorKind::AlreadyExists).into();
                if self.inner.head(path).await.is_ok() {
                    return Err(object_store::Error::AlreadyExists {
                        path: path.to_string(),
                        source: source(),
                    });
                }
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            Lie::Forgets => {
                if self.puts.fetch_add(1, Ordering::SeqCst) % 4 == 3 {
                    return Ok(PutResult { e_tag: None, version: None, extensions: Default::default() });
                }
                return self.inner.put_opts(path, payload, options).await;
            }
        }
        self.inner.put_opts(path, payload, overwrite).await
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(path, options).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

/// The output of a future that never waits: memory stores answer at once.
pub(crate) fn now<T>(future: impl Future<Output = T>) -> T {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(future).poll(&mut context) {
        std::task::Poll::Ready(output) => output,
        std::task::Poll::Pending => panic!("not ready at once"),
    }
}
