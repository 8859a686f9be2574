//! The suite for model sources.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::task::Poll;

use bytes::Bytes;

use super::{refused, require};
use crate::{
    BoxFuture, Digest, Error, ErrorKind, ModelPackage, ModelRef, ModelSource, ModelVersion, Result, Selector,
};

/// Checks a model source by one reference that it knows, while nobody else moves the alias.
///
/// Checked are: what is resolved is of the model that was asked for, has a number from 1, and is the same by alias and
/// by number; what is fetched is that version, and the bytes of each file have their digest; fetching again gives the
/// same signature, files and bytes, also with several fetches at once and after one that was dropped in the middle; a
/// model, an alias or a version that does not exist is `NotFound`.
///
/// It is a future, to be run by the runtime that the source needs. Its probes have names like
/// `no-such-model-of-conformance`; they are never written.
///
/// ```
/// use std::collections::BTreeMap;
/// use mlops_core::{
///     BoxFuture, Digest, Error, ModelFile, ModelPackage, ModelRef, ModelSignature, ModelSource, ModelVersion, Result,
///     Selector, conformance,
/// };
///
/// /// A model that is part of the program.
/// #[derive(Debug)]
/// struct Embedded;
///
/// impl ModelSource for Embedded {
///     fn resolve<'a>(&'a self, model: &'a ModelRef) -> BoxFuture<'a, Result<ModelVersion>> {
///         Box::pin(async move {
///             let known = model.selector == Selector::Version(1) || model.selector == Selector::Alias("only".into());
///             if model.name == "shop" && known {
///                 return Ok(ModelVersion::new("shop", 1));
///             }
///             Err(Error::not_found(format!("`{model}` is not part of the program: take `shop@only`")))
///         })
///     }
///
///     fn fetch<'a>(&'a self, version: &'a ModelVersion) -> BoxFuture<'a, Result<ModelPackage>> {
///         Box::pin(async move {
///             if *version != ModelVersion::new("shop", 1) {
///                 return Err(Error::not_found(format!("{version} is not part of the program: take shop/1")));
///             }
///             let weights = "weights"; // include_bytes!("shop.onnx")
///             let file = (Digest::of(weights), ModelFile::Bytes(weights.into()));
///             let files = BTreeMap::from([("model.onnx".to_owned(), file)]);
///             Ok(ModelPackage::new(version.clone(), ModelSignature::default(), files))
///         })
///     }
/// }
///
/// # fn block_on<T>(future: impl Future<Output = T>) -> T {
/// #     let mut future = std::pin::pin!(future);
/// #     let mut context = std::task::Context::from_waker(std::task::Waker::noop());
/// #     loop {
/// #         if let std::task::Poll::Ready(value) = future.as_mut().poll(&mut context) {
/// #             return value;
/// #         }
/// #     }
/// # }
/// // With tokio, `Runtime::block_on` or a `#[tokio::test]`.
/// block_on(conformance::check_model_source(&Embedded, &"shop@only".parse()?))?;
/// # Ok::<(), mlops_core::Error>(())
/// ```
///
/// # Errors
/// `Data`, saying which clause is broken and how; the error of a call that has to succeed.
pub async fn check_model_source(source: &dyn ModelSource, known: &ModelRef) -> Result<()> {
    let id =
        source.resolve(known).await.map_err(|error| error.context("`resolve` of the known reference"))?;
    require(id.name == known.name, || format!("`resolve` of `{known}` gives `{id}`, another model"))?;
    require(id.version > 0, || format!("`resolve` of `{known}` gives `{id}`: versions count from 1"))?;
    let reference = |name: &str, selector| ModelRef { name: name.to_owned(), selector };
    let numbered = reference(&id.name, Selector::Version(id.version));
    let again = [source.resolve(known).await?, source.resolve(&numbered).await?];
    for (asked, found) in [known, &numbered].into_iter().zip(again) {
        require(found == id, || format!("`resolve` of `{asked}` gives `{found}`, was `{id}`"))?;
    }
    same_for_ever(source, &id).await?;

    let unknown = "no-such-model-of-conformance";
    let references = [
        reference(unknown, Selector::Version(1)),
        reference(unknown, Selector::Alias("champion".to_owned())),
        reference(&id.name, Selector::Alias("no-such-alias-of-conformance".to_owned())),
        reference(&id.name, Selector::Version(u64::MAX)),
    ];
    for asked in references {
        refused(
            source.resolve(&asked).await,
            ErrorKind::NotFound,
            &format!("`resolve` of unknown `{asked}`"),
        )?;
    }
    let versions = [ModelVersion::new(unknown, 1), ModelVersion::new(&id.name, u64::MAX)];
    for asked in versions {
        refused(source.fetch(&asked).await, ErrorKind::NotFound, &format!("`fetch` of unknown `{asked}`"))?;
    }
    Ok(())
}

async fn same_for_ever(source: &dyn ModelSource, id: &ModelVersion) -> Result<()> {
    let first = source.fetch(id).await.map_err(|error| error.context(format!("`fetch` of {id}")))?;
    let bytes = read(&first, id)?;
    let same = |package: Result<ModelPackage>, when: &str| {
        let package = package.map_err(|error| error.context(format!("`fetch` of {id} {when} fails")))?;
        let found = read(&package, id)?;
        require(package.signature == first.signature, || {
            format!("`fetch` of {id} {when} has another signature")
        })?;
        require(found.keys().eq(bytes.keys()), || {
            let (was, is) = (bytes.keys(), found.keys());
            format!("`fetch` of {id} {when} has other files: first {was:?}, then {is:?}")
        })?;
        let other = bytes.iter().find(|(name, bytes)| found[*name] != **bytes);
        require(other.is_none(), || {
            format!("`fetch` of {id} {when} has other bytes in file `{}`", other.map_or("", |(name, _)| name))
        })
    };
    same(source.fetch(id).await, "again")?;
    let mut dropped = source.fetch(id);
    poll_fn(|context| Poll::Ready(dropped.as_mut().poll(context).is_ready())).await;
    drop(dropped);
    same(source.fetch(id).await, "after one that was dropped")?;
    let several = together((0..FETCHES).map(|_| source.fetch(id)).collect()).await;
    several.into_iter().try_for_each(|package| same(package, "at once with others"))
}

const FETCHES: usize = 4;

/// The bytes of each file, which have their digest.
fn read(package: &ModelPackage, id: &ModelVersion) -> Result<BTreeMap<String, Bytes>> {
    require(package.id == *id, || format!("`fetch` of {id} gives {}", package.id))?;
    let file = |(name, (digest, file)): (&String, &(Digest, crate::ModelFile))| {
        let bytes = file.read().map_err(|error| {
            Error::data(format!("file `{name}` of {id} cannot be read")).with_source(error)
        })?;
        let found = Digest::of(&bytes);
        require(found == *digest, || {
            format!("file `{name}` of {id} does not have its digest: is {found}, not {digest}")
        })?;
        Ok((name.clone(), bytes))
    };
    package.files.iter().map(file).collect()
}

/// What all futures give, polled by turns.
async fn together<T>(mut futures: Vec<BoxFuture<'_, T>>) -> Vec<T> {
    let mut done: Vec<Option<T>> = futures.iter().map(|_| None).collect();
    poll_fn(|context| {
        for (future, done) in futures.iter_mut().zip(&mut done) {
            if done.is_none()
                && let Poll::Ready(value) = future.as_mut().poll(context)
            {
                *done = Some(value);
            }
        }
        if done.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    done.into_iter().flatten().collect()
}
