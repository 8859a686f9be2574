//! What a model is called, what it takes and gives, and where its files come from.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{Digest, Digester, Error, Result};

/// A boxed future that borrows: what I/O traits return, so that they stay object-safe.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// How a caller names a model: `shop@champion` by alias or `shop/3` by version.
///
/// ```
/// use mlops_core::{ModelRef, Selector};
///
/// let model: ModelRef = "shop@champion".parse()?;
/// assert_eq!(model.name, "shop");
/// assert_eq!(model.selector, Selector::Alias("champion".into()));
/// assert_eq!("shop/3".parse::<ModelRef>()?.to_string(), "shop/3");
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ModelRef {
    /// The registered model.
    pub name: String,
    /// Which version of it.
    pub selector: Selector,
}

/// Which version of a model.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Selector {
    /// The version that the alias points at when it is asked.
    Alias(String),
    /// This version, for ever.
    Version(u64),
}

impl fmt::Display for ModelRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.selector {
            Selector::Alias(alias) => write!(f, "{}@{alias}", self.name),
            Selector::Version(version) => write!(f, "{}/{version}", self.name),
        }
    }
}

impl FromStr for ModelRef {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (name, selector) = if let Some((name, alias)) = text.split_once('@') {
            (name, Selector::Alias(alias.to_owned()))
        } else if let Some((name, version)) = text.rsplit_once('/') {
            // Versions count from 1 and are written in digits alone.
            let digits = version.bytes().all(|c| c.is_ascii_digit());
            let number = version.parse().ok().filter(|number| digits && *number > 0);
            (name, Selector::Version(number.ok_or_else(|| no_reference(text))?))
        } else {
            return Err(no_reference(text));
        };
        if name.is_empty() || selector == Selector::Alias(String::new()) {
            return Err(no_reference(text));
        }
        Ok(Self { name: name.to_owned(), selector })
    }
}

/// Why a text is no reference, with what was probably meant.
#[cold]
fn no_reference(text: &str) -> Error {
    let of = |separator| text.rsplit_once(separator).filter(|(name, of)| !name.is_empty() && !of.is_empty());
    Error::invalid(match (text.contains('@'), of(':'), of('/')) {
        (false, Some((name, number)), _) if number.bytes().all(|c| c.is_ascii_digit()) => {
            format!("`{text}` names no model: a version is written as `{name}/{number}`")
        }
        (false, Some((name, alias)), _) => {
            format!("`{text}` names no model: an alias is written as `{name}@{alias}`")
        }
        (false, None, Some((name, alias))) if alias.starts_with(|c: char| c.is_alphabetic()) => format!(
            "`{text}` does not say which version of a model: `{alias}` is no number; if it is an alias, write \
             `{name}@{alias}`, and if it is part of the name, `{text}@champion` or `{text}/1`"
        ),
        (false, None, None) if !text.is_empty() && !text.contains(['/', ':']) => format!(
            "`{text}` does not say which version of the model: name an alias, as in `{text}@champion`, or a number, as \
             in `{text}/1`"
        ),
        _ => format!("`{text}` names no model: want `name@alias` or `name/version`, with versions from 1"),
    })
}

impl From<ModelRef> for String {
    fn from(model: ModelRef) -> Self {
        model.to_string()
    }
}

impl TryFrom<String> for ModelRef {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

/// One immutable version of a model.
///
/// ```
/// use mlops_core::ModelVersion;
///
/// assert_eq!(ModelVersion::new("shop", 3).to_string(), "shop/3");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ModelVersion {
    /// The registered model.
    pub name: String,
    /// Its version, from 1.
    pub version: u64,
}

impl ModelVersion {
    /// Version `version` of model `name`.
    pub fn new(name: impl Into<String>, version: u64) -> Self {
        Self { name: name.into(), version }
    }
}

impl fmt::Display for ModelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.name, self.version)
    }
}

/// The type of a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ElementType {
    /// 16-bit float, of IEEE 754.
    F16,
    /// 32-bit float.
    F32,
    /// 64-bit float.
    F64,
    /// 32-bit signed integer.
    I32,
    /// 64-bit signed integer.
    I64,
    /// One byte, 0 or 1.
    Bool,
    /// UTF-8 text.
    Text,
}

impl fmt::Display for ElementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// One axis of a tensor.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Dimension {
    /// A fixed length.
    Fixed(usize),
    /// Any length, the same wherever the symbol occurs.
    Symbol(String),
}

impl fmt::Display for Dimension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(length) => write!(f, "{length}"),
            Self::Symbol(symbol) => f.write_str(symbol),
        }
    }
}

/// The name, element type and shape of one input or output.
///
/// ```
/// use mlops_core::{ElementType, TensorSpec};
///
/// let spec = TensorSpec::batch("features", ElementType::F32, 17);
/// assert_eq!(spec.to_string(), "features: f32[batch, 17]");
/// assert!(spec.check_shape(&[8, 17]).is_ok());
/// let error = spec.check_shape(&[8, 16]).unwrap_err();
/// assert_eq!(error.to_string(), "input `features` wants f32[batch, 17], got shape [8, 16]");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TensorSpec {
    /// The name in the model.
    pub name: String,
    /// The type of its elements.
    pub element: ElementType,
    /// Its axes.
    pub shape: Vec<Dimension>,
}

impl TensorSpec {
    /// A tensor of `batch` rows with `width` elements each.
    pub fn batch(name: impl Into<String>, element: ElementType, width: usize) -> Self {
        let shape = vec![Dimension::Symbol("batch".into()), Dimension::Fixed(width)];
        Self { name: name.into(), element, shape }
    }

    /// Whether a tensor of this shape fits. Symbols take any length.
    ///
    /// # Errors
    /// `Invalid` if the rank or a fixed axis differs.
    pub fn check_shape(&self, shape: &[usize]) -> Result<()> {
        let axis_fits = |(want, got): (&Dimension, &usize)| match want {
            Dimension::Fixed(length) => length == got,
            Dimension::Symbol(_) => true,
        };
        if self.shape.len() == shape.len() && self.shape.iter().zip(shape).all(axis_fits) {
            return Ok(());
        }
        let Self { name, element, .. } = self;
        let want = Axes(&self.shape);
        Err(Error::invalid(format!("input `{name}` wants {element}{want}, got shape {shape:?}")))
    }
}

struct Axes<'a>(&'a [Dimension]);

impl fmt::Display for Axes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (index, axis) in self.0.iter().enumerate() {
            write!(f, "{}{axis}", if index == 0 { "" } else { ", " })?;
        }
        f.write_str("]")
    }
}

impl fmt::Display for TensorSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}{}", self.name, self.element, Axes(&self.shape))
    }
}

/// What a model takes and gives.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelSignature {
    /// Its inputs, in order.
    pub inputs: Vec<TensorSpec>,
    /// Its outputs, in order.
    pub outputs: Vec<TensorSpec>,
}

impl fmt::Display for ModelSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list =
            |specs: &[TensorSpec]| specs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        write!(f, "({}) -> ({})", list(&self.inputs), list(&self.outputs))
    }
}

/// A file of a model: in memory, or on a local disk where it must not change while it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ModelFile {
    /// Its bytes.
    Bytes(Bytes),
    /// Its place on a local disk.
    Path(PathBuf),
}

impl ModelFile {
    /// The content.
    ///
    /// # Errors
    /// `NotFound` or `Unavailable` if the file cannot be read.
    pub fn read(&self) -> Result<Bytes> {
        match self {
            Self::Bytes(bytes) => Ok(bytes.clone()),
            Self::Path(path) => std::fs::read(path).map(Bytes::from).map_err(|error| unread(path, error)),
        }
    }
}

#[cold]
fn unread(path: &Path, error: io::Error) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::NotFound => crate::ErrorKind::NotFound,
        _ => crate::ErrorKind::Unavailable,
    };
    Error::new(kind, format!("cannot read model file `{}`", path.display())).with_source(error)
}

/// All that is needed to answer with one version of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ModelPackage {
    /// Which version it is.
    pub id: ModelVersion,
    /// What the model takes and gives.
    pub signature: ModelSignature,
    /// Its files by relative name, with the digest that each must have.
    pub files: BTreeMap<String, (Digest, ModelFile)>,
    lease: Lease,
}

/// What keeps the files of a package in their places. No two packages differ by it.
#[derive(Clone, Default)]
struct Lease(Option<Arc<dyn Any + Send + Sync>>);

impl PartialEq for Lease {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Lease {}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "held" } else { "none" })
    }
}

impl ModelPackage {
    /// A package of these files.
    pub fn new(
        id: ModelVersion,
        signature: ModelSignature,
        files: BTreeMap<String, (Digest, ModelFile)>,
    ) -> Self {
        Self { id, signature, files, lease: Lease::default() }
    }

    /// The package with what keeps its files in their places: a lock, a folder that is removed when it is dropped. It
    /// lives as long as the package or a clone of it.
    ///
    /// ```
    /// use std::collections::BTreeMap;
    /// use std::sync::Arc;
    ///
    /// use mlops_core::{ModelPackage, ModelSignature, ModelVersion};
    ///
    /// let lock = Arc::new(());
    /// let package = ModelPackage::new(ModelVersion::new("shop", 1), ModelSignature::default(), BTreeMap::new());
    /// let package = package.with_lease(lock.clone());
    /// assert_eq!(Arc::strong_count(&lock), 2);
    /// drop(package);
    /// assert_eq!(Arc::strong_count(&lock), 1);
    /// ```
    #[must_use]
    pub fn with_lease(mut self, lease: impl Any + Send + Sync) -> Self {
        self.lease = Lease(Some(Arc::new(lease)));
        self
    }

    /// The content of one file, checked against its digest.
    ///
    /// # Errors
    /// `NotFound` if the package has no such file, `Data` if its bytes are not those that were registered.
    pub fn read(&self, name: &str) -> Result<Bytes> {
        let Some((digest, file)) = self.files.get(name) else {
            let names: Vec<_> = self.files.keys().collect();
            return Err(Error::not_found(format!("{} has no file `{name}`: it has {names:?}", self.id)));
        };
        let bytes = file.read()?;
        self.compare(name, Digest::of(&bytes), digest)?;
        Ok(bytes)
    }

    /// Checks the content of one file against its digest, with no more of it in memory than a piece.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn verify(&self, name: &str) -> Result<()> {
        let Some((digest, ModelFile::Path(path))) = self.files.get(name) else {
            return self.read(name).map(drop);
        };
        let mut digester = Digester::new();
        let read = File::open(path).and_then(|mut file| io::copy(&mut file, &mut digester));
        read.map_err(|error| unread(path, error))?;
        self.compare(name, digester.finish(), digest)
    }

    fn compare(&self, name: &str, found: Digest, registered: &Digest) -> Result<()> {
        if found == *registered {
            return Ok(());
        }
        Err(Error::data(format!(
            "file `{name}` of {} is damaged: its digest is {found}, registered was {registered}; fetch it again",
            self.id
        )))
    }
}

/// Where an endpoint gets its models from: a registry, a folder, an image.
///
/// Contract for implementers: [`resolve`](Self::resolve) answers what the reference points at now and
/// should be cheap, since followers poll it. [`fetch`](Self::fetch) of one version gives the same bytes
/// for ever. Both may be called from many threads; a future that is dropped leaves no trace.
///
/// Contract for callers: an alias may move between `resolve` and `fetch`; fetch what was resolved.
///
/// The feature `conformance` has a suite that checks this contract.
pub trait ModelSource: fmt::Debug + Send + Sync + 'static {
    /// The version that the reference points at now.
    ///
    /// # Errors
    /// `NotFound` if there is no such model, alias or version; `Unavailable` if the source is out of reach.
    fn resolve<'a>(&'a self, model: &'a ModelRef) -> BoxFuture<'a, Result<ModelVersion>>;

    /// The files and the signature of one version.
    ///
    /// # Errors
    /// `NotFound` if there is no such version, `Data` if its files are damaged, `Unavailable` if the source
    /// is out of reach.
    fn fetch<'a>(&'a self, version: &'a ModelVersion) -> BoxFuture<'a, Result<ModelPackage>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_verified_as_they_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights");
        std::fs::write(&path, vec![7; 1 << 20]).unwrap();
        let good = Digest::of(vec![7; 1 << 20]);
        let file = |digest| (digest, ModelFile::Path(path.clone()));
        let gone = (good, ModelFile::Path(folder.path().join("gone")));
        let inside = (Digest::of(b"x"), ModelFile::Bytes(Bytes::from_static(b"y")));
        let files = [("good", file(good)), ("bad", file(Digest::of(b"x"))), ("gone", gone), ("in", inside)];
        let files = files.into_iter().map(|(name, file)| (name.to_owned(), file)).collect();
        let package = ModelPackage::new(ModelVersion::new("shop", 1), ModelSignature::default(), files);
        package.verify("good").unwrap();
        for name in ["bad", "gone", "in", "other"] {
            let (verified, read) = (package.verify(name).unwrap_err(), package.read(name).unwrap_err());
            assert_eq!((verified.kind(), verified.to_string()), (read.kind(), read.to_string()), "{name}");
        }
    }

    #[test]
    fn references_round_trip_and_reject_half_names() {
        for text in ["shop@champion", "shop/3", "team/shop/3", "team/shop@best"] {
            assert_eq!(text.parse::<ModelRef>().unwrap().to_string(), text);
        }
        for text in ["", "shop", "@champion", "shop@", "shop/x", "shop/0", "shop/+3", "/3"] {
            assert!(text.parse::<ModelRef>().is_err(), "{text}");
        }
        for (text, way_out) in [
            ("shop:champion", "written as `shop@champion`"),
            ("team/shop:champion", "written as `team/shop@champion`"),
            ("shop:3", "written as `shop/3`"),
            ("shop/champion", "if it is an alias, write `shop@champion`"),
            ("team/shop", "if it is part of the name, `team/shop@champion` or `team/shop/1`"),
            ("shop", "as in `shop@champion`, or a number, as in `shop/1`"),
            ("shop/0", "`name/version`, with versions from 1"),
            (":champion", "want `name@alias`"),
            ("a:b@", "want `name@alias`"),
        ] {
            let error = text.parse::<ModelRef>().unwrap_err().to_string();
            assert!(error.contains(way_out), "{error}");
        }
    }
}
