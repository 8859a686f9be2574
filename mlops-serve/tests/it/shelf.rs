//! Versions of `shop` on a shelf.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use mlops_core::{BoxFuture, Digest, Error, ModelFile, ModelPackage, ModelRef, ModelSource, ModelVersion};
use mlops_serve::endpoint::{Golden, Loader};

use crate::models::{function, signature};

/// A package of one file that says what to add.
pub(crate) fn package(addend: f32, golden: Option<&Golden>) -> ModelPackage {
    let mut files = BTreeMap::new();
    let mut add = |name: &str, bytes: Vec<u8>| {
        files.insert(name.to_owned(), (Digest::of(&bytes), ModelFile::Bytes(bytes.into())));
    };
    add("addend", addend.to_string().into_bytes());
    if let Some(golden) = golden {
        add(Golden::FILE, golden.to_json().unwrap());
    }
    ModelPackage::new(ModelVersion::new("shop", 4), signature(), files)
}

pub(crate) fn loader() -> Loader {
    Loader::new(|package| {
        let bytes = package.read("addend")?;
        let addend: f32 = String::from_utf8_lossy(&bytes).parse().unwrap();
        Ok(Box::new(function(package.id.version, move |x| x + addend)))
    })
}

/// Versions of `shop` by number, and where `shop@champion` points.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    pub(crate) packages: Mutex<BTreeMap<u64, ModelPackage>>,
    pub(crate) champion: AtomicUsize,
    pub(crate) fetched: AtomicUsize,
}

impl ModelSource for Shelf {
    fn resolve<'a>(&'a self, model: &'a ModelRef) -> BoxFuture<'a, Result<ModelVersion, Error>> {
        Box::pin(async move {
            match self.champion.load(Ordering::SeqCst) as u64 {
                0 => Err(Error::not_found(format!("no `{model}`"))),
                version => Ok(ModelVersion::new("shop", version)),
            }
        })
    }

    fn fetch<'a>(&'a self, version: &'a ModelVersion) -> BoxFuture<'a, Result<ModelPackage, Error>> {
        Box::pin(async {
            self.fetched.fetch_add(1, Ordering::SeqCst);
            // Gives way once, as a network would.
            let mut polled = false;
            std::future::poll_fn(|context| {
                context.waker().wake_by_ref();
                if std::mem::replace(&mut polled, true) { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            let packages = self.packages.lock().unwrap();
            packages.get(&version.version).cloned().ok_or_else(|| Error::unavailable("the shelf is away"))
        })
    }
}

impl Shelf {
    pub(crate) fn put(&self, version: u64, addend: f32, golden: Option<&Golden>) {
        let mut package = package(addend, golden);
        package.id.version = version;
        self.packages.lock().unwrap().insert(version, package);
    }
}
