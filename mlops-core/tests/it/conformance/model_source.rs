//! The suite for model sources, on folders of files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use mlops_core::conformance::check_model_source;
use mlops_core::{
    BoxFuture, Digest, Error, ErrorKind, ModelFile, ModelPackage, ModelRef, ModelSignature, ModelSource,
    ModelVersion, Result, Selector,
};

use super::caught;

/// Versions of `shop` as folders of files, the newest of which is `shop@newest`, with one fault.
#[derive(Debug)]
struct Folder {
    root: PathBuf,
    fault: Fault,
    /// How often a version was fetched.
    fetched: AtomicU64,
    /// Held while a version is fetched.
    busy: AtomicBool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    Unavailable,
    OtherModel,
    OtherDigest,
    Changes,
    AnyVersion,
    OneAtATime,
    DropLeavesTrace,
}

impl Folder {
    fn new(root: &Path, fault: Fault) -> Self {
        for (version, bytes) in [("1", "one"), ("2", "two")] {
            let folder = root.join("shop").join(version);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("model.bin"), bytes).unwrap();
        }
        let (root, fetched) = (root.to_owned(), AtomicU64::new(0));
        Self { root, fault, fetched, busy: AtomicBool::new(false) }
    }

    fn missing(&self, what: &impl std::fmt::Display) -> Error {
        let kind =
            if self.fault == Fault::Unavailable { ErrorKind::Unavailable } else { ErrorKind::NotFound };
        Error::new(kind, format!("`{what}` is not in the folder: it has shop/1 and shop/2"))
    }

    fn path(&self, version: &ModelVersion) -> PathBuf {
        self.root.join(&version.name).join(version.version.to_string()).join("model.bin")
    }

    fn package(&self, version: &ModelVersion) -> Result<ModelPackage> {
        let path = self.path(version);
        let Ok(bytes) = std::fs::read(&path) else { return Err(self.missing(version)) };
        let count = self.fetched.fetch_add(1, Ordering::SeqCst);
        let (digest, file) = match self.fault {
            Fault::OtherDigest => (Digest::of("other"), ModelFile::Path(path)),
            Fault::Changes => (Digest::of(count.to_string()), ModelFile::Bytes(count.to_string().into())),
            _ => (Digest::of(&bytes), ModelFile::Path(path)),
        };
        let files = BTreeMap::from([("model.bin".to_owned(), (digest, file))]);
        Ok(ModelPackage::new(version.clone(), ModelSignature::default(), files))
    }
}

impl ModelSource for Folder {
    fn resolve<'a>(&'a self, model: &'a ModelRef) -> BoxFuture<'a, Result<ModelVersion>> {
        Box::pin(async move {
            if self.fault == Fault::OtherModel {
                return Ok(ModelVersion::new("other", 2));
            }
            let version = match &model.selector {
                Selector::Version(version) => *version,
                Selector::Alias(alias) if alias == "newest" => 2,
                Selector::Alias(_) => return Err(self.missing(model)),
            };
            let version = ModelVersion::new(&model.name, version);
            let known = self.path(&version).exists() || self.fault == Fault::AnyVersion;
            if known { Ok(version) } else { Err(self.missing(model)) }
        })
    }

    fn fetch<'a>(&'a self, version: &'a ModelVersion) -> BoxFuture<'a, Result<ModelPackage>> {
        Box::pin(async move {
            let one_at_a_time = matches!(self.fault, Fault::OneAtATime | Fault::DropLeavesTrace);
            if one_at_a_time && self.busy.swap(true, Ordering::SeqCst) {
                return Err(Error::unavailable("another fetch holds the lock"));
            }
            let free = (self.fault == Fault::OneAtATime).then(|| Free(&self.busy));
            give_way().await;
            drop(free);
            self.busy.store(false, Ordering::SeqCst);
            self.package(version)
        })
    }
}

/// Sets free what is busy, also when the future is dropped.
struct Free<'a>(&'a AtomicBool);

impl Drop for Free<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

/// Gives way once, as a network would.
async fn give_way() {
    let mut polled = false;
    std::future::poll_fn(|context| {
        context.waker().wake_by_ref();
        if std::mem::replace(&mut polled, true) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// Nothing here waits for a thread.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return value;
        }
    }
}

fn check_folder(fault: Fault, known: &str) -> Result<()> {
    let root = tempfile::tempdir().unwrap();
    block_on(check_model_source(&Folder::new(root.path(), fault), &known.parse().unwrap()))
}

#[test]
fn a_folder_of_models_conforms() {
    for known in ["shop@newest", "shop/1", "shop/2"] {
        check_folder(Fault::None, known).unwrap();
    }
    // The reference that the caller says is known has to be.
    assert_eq!(check_folder(Fault::None, "shop/3").unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn broken_model_sources_are_caught() {
    let check = |fault, words| caught(check_folder(fault, "shop@newest"), words);
    check(Fault::Unavailable, "the error is of kind Unavailable, not NotFound");
    check(Fault::OtherModel, "`resolve` of `shop@newest` gives `other/2`, another model");
    check(Fault::OtherDigest, "file `model.bin` of shop/2 does not have its digest");
    check(Fault::Changes, "`fetch` of shop/2 again has other bytes in file `model.bin`");
    check(Fault::AnyVersion, "`resolve` of unknown `no-such-model-of-conformance/1`: the call succeeds");
    let fails = |fault| check_folder(fault, "shop@newest").unwrap_err().to_string();
    assert_eq!(fails(Fault::OneAtATime), "`fetch` of shop/2 at once with others fails");
    assert_eq!(fails(Fault::DropLeavesTrace), "`fetch` of shop/2 after one that was dropped fails");
}
