//! Object stores that lie, around a real one.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt as _, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

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
