//! What steps hand to each other: values that can be written down, read back and named by their content.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::io::Write;
use std::ops::Deref;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::step::Lend;
use crate::{Digest, Digester, Error, Result};

/// A value that a step takes or gives.
///
/// Every type that serde can write and read is one already: numbers, texts, collections, your own structs,
/// whole models, tables ([`Dataset`](crate::data::Dataset), [`Table`](super::Table)), and tuples, lists and structs of
/// these. It is written as CBOR, which, unlike JSON, keeps NaN, infinities and any map key. Files ([`Blob`]) and lists of
/// artifacts ([`Many`]) are artifacts with a format of their own, which serde does not know: they pass between steps, not
/// inside of other values. Implement it by hand for such a type.
///
/// # Contract
/// * `decode(encode(x))` equals `x`.
/// * `encode` is a function of the value alone: the same value gives the same bytes in every process.
///   A `HashMap` does not (its order is chance), so a step that gives one makes later steps miss the cache;
///   use a `BTreeMap`.
/// * `decode` refuses what `encode` never writes: bytes that are cut short or go on after the value.
/// * [`format`](Self::format) changes when old bytes no longer decode to the same value.
///
/// The feature `conformance` has a suite that checks this contract.
///
/// # Examples
/// ```
/// use bytes::Bytes;
/// use mlops_core::pipeline::Artifact;
/// use mlops_core::{Error, Result};
///
/// struct Weights(Vec<f32>);
///
/// impl Artifact for Weights {
///     fn format() -> std::borrow::Cow<'static, str> {
///         "f32 little endian, 1".into()
///     }
///     fn encode(&self, out: &mut dyn std::io::Write) -> Result<()> {
///         for weight in &self.0 {
///             out.write_all(&weight.to_le_bytes()).map_err(|e| Error::unavailable("cannot write").with_source(e))?;
///         }
///         Ok(())
///     }
///     fn decode(bytes: Bytes) -> Result<Self> {
///         let (chunks, rest) = bytes.as_chunks::<4>();
///         if !rest.is_empty() {
///             return Err(Error::data(format!("{} bytes are not a row of f32", bytes.len())));
///         }
///         Ok(Self(chunks.iter().map(|chunk| f32::from_le_bytes(*chunk)).collect()))
///     }
/// }
///
/// let mut bytes = Vec::new();
/// Weights(vec![0.5, f32::NAN]).encode(&mut bytes)?;
/// assert_eq!(Weights::decode(bytes.into())?.0[0], 0.5);
/// # Ok::<(), Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot pass between steps",
    label = "this type is not an artifact",
    note = "derive `serde::Serialize` and `serde::Deserialize` for it, or implement `Artifact`",
    note = "an Arrow batch passes as `Table`, a file as `Blob`, a list of artifacts as `Many`"
)]
pub trait Artifact: Sized + Send + Sync + 'static {
    /// The name of the byte format; part of the cache key.
    fn format() -> Cow<'static, str>;

    /// Writes the value.
    ///
    /// # Errors
    /// `Invalid` if the format cannot hold the value, `Unavailable` if `out` fails.
    fn encode(&self, out: &mut dyn Write) -> Result<()>;

    /// Reads the value back.
    ///
    /// # Errors
    /// `Data` if the bytes are not of this format.
    fn decode(bytes: Bytes) -> Result<Self>;
}

impl<T: Serialize + DeserializeOwned + Send + Sync + 'static> Artifact for T {
    fn format() -> Cow<'static, str> {
        Cow::Owned(format!("cbor {}", std::any::type_name::<T>()))
    }

    fn encode(&self, out: &mut dyn Write) -> Result<()> {
        ciborium::into_writer(self, out).map_err(|error| match error {
            ciborium::ser::Error::Io(error) => unwritable(error),
            error => {
                let what = std::any::type_name::<T>();
                Error::invalid(format!("a value of type `{what}` cannot be written as CBOR"))
                    .with_source(error)
            }
        })
    }

    fn decode(bytes: Bytes) -> Result<Self> {
        let mut rest = bytes.reader();
        let value = ciborium::from_reader(&mut rest).map_err(|error| {
            let what = std::any::type_name::<T>();
            Error::data(format!("the bytes do not decode to `{what}`")).with_source(error)
        })?;
        match rest.into_inner().len() {
            0 => Ok(value),
            left => Err(Error::data(format!("{left} bytes are left over after the value"))),
        }
    }
}

/// A file as an artifact, byte for byte: its digest is the SHA-256 of the file, as a registry has it.
///
/// ```
/// use mlops_core::Digest;
/// use mlops_core::pipeline::{Blob, digest};
///
/// assert_eq!(digest(&Blob::from("abc"))?, Digest::of("abc"));
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blob(pub Bytes);

impl Artifact for Blob {
    fn format() -> Cow<'static, str> {
        "bytes".into()
    }

    fn encode(&self, out: &mut dyn Write) -> Result<()> {
        out.write_all(&self.0).map_err(unwritable)
    }

    fn decode(bytes: Bytes) -> Result<Self> {
        Ok(Self(bytes))
    }
}

impl Deref for Blob {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Lend<[u8]> for Blob {
    fn lend(&self) -> &[u8] {
        &self.0
    }
}

impl<B: Into<Bytes>> From<B> for Blob {
    fn from(bytes: B) -> Self {
        Self(bytes.into())
    }
}

/// A list of artifacts: what a [`map`](super::Pipeline::map) runs over, and what a step gets when a
/// `Vec<Handle<T>>` is wired into it.
///
/// ```
/// use mlops_core::pipeline::Many;
///
/// let folds: Many<u32> = (0..3).collect();
/// assert_eq!(folds.iter().sum::<u32>(), 3);
/// ```
pub struct Many<T>(Vec<Arc<T>>);

impl<T> Many<T> {
    /// The items in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &T> {
        self.0.iter().map(|item| &**item)
    }

    /// The item at this place.
    pub fn get(&self, index: usize) -> Option<&T> {
        self.0.get(index).map(|item| &**item)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn shared(&self) -> &[Arc<T>] {
        &self.0
    }

    pub(super) fn from_shared(items: Vec<Arc<T>>) -> Self {
        Self(items)
    }
}

impl<T> FromIterator<T> for Many<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        Self(items.into_iter().map(Arc::new).collect())
    }
}

impl<T> From<Vec<T>> for Many<T> {
    fn from(items: Vec<T>) -> Self {
        items.into_iter().collect()
    }
}

impl<T> Clone for Many<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: PartialEq> PartialEq for Many<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<T: fmt::Debug> fmt::Debug for Many<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<T: Artifact> Artifact for Many<T> {
    fn format() -> Cow<'static, str> {
        Cow::Owned(format!("many {}", T::format()))
    }

    fn encode(&self, out: &mut dyn Write) -> Result<()> {
        let mut bytes = Vec::new();
        for item in self.iter() {
            bytes.clear();
            item.encode(&mut bytes)?;
            out.write_all(&(bytes.len() as u64).to_le_bytes()).map_err(unwritable)?;
            out.write_all(&bytes).map_err(unwritable)?;
        }
        Ok(())
    }

    fn decode(mut bytes: Bytes) -> Result<Self> {
        let mut items = Vec::new();
        while !bytes.is_empty() {
            let length = bytes.try_get_u64_le().ok().and_then(|length| usize::try_from(length).ok());
            let Some(length) = length.filter(|length| *length <= bytes.len()) else {
                return Err(Error::data(format!("item {} of a list is cut short", items.len())));
            };
            items.push(Arc::new(T::decode(bytes.split_to(length))?));
        }
        Ok(Self(items))
    }
}

/// The digest of an artifact: the SHA-256 of its bytes.
///
/// # Errors
/// Those of [`Artifact::encode`].
pub fn digest<T: Artifact>(value: &T) -> Result<Digest> {
    let mut digester = Digester::new();
    value.encode(&mut digester)?;
    Ok(digester.finish())
}

pub(super) fn unwritable(error: std::io::Error) -> Error {
    Error::unavailable("cannot write the artifact").with_source(error)
}

/// A value whose type only its [`Codec`] knows.
pub(super) type Erased = Arc<dyn Any + Send + Sync>;

/// What the runner needs to know of a type.
#[derive(Clone, Copy, Debug)]
pub struct Codec {
    pub(super) format: fn() -> Cow<'static, str>,
    pub(super) encode: fn(&Erased, &mut dyn Write) -> Result<()>,
    pub(super) decode: fn(Bytes) -> Result<Erased>,
}

impl Codec {
    pub(super) fn of<T: Artifact>() -> Self {
        Self {
            format: T::format,
            encode: |value, out| match value.downcast_ref::<T>() {
                Some(value) => value.encode(out),
                None => Err(mistyped::<T>()),
            },
            decode: |bytes| Ok(Arc::new(T::decode(bytes)?)),
        }
    }
}

/// The value as its type, which the typed handles have made sure of.
pub(super) fn typed<T: Artifact>(value: &Erased) -> Result<Arc<T>> {
    value.clone().downcast::<T>().map_err(|_| mistyped::<T>())
}

#[cold]
fn mistyped<T>() -> Error {
    Error::internal(format!("a value that was wired as `{}` has another type", std::any::type_name::<T>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip<T: Artifact>(value: &T) -> T {
        let mut bytes = Vec::new();
        value.encode(&mut bytes).unwrap();
        assert_eq!(Digest::of(&bytes), digest(value).unwrap());
        T::decode(bytes.into()).unwrap()
    }

    #[test]
    fn serde_values_keep_what_json_would_lose() {
        let odd = vec![Some(f64::NAN), None, Some(f64::NEG_INFINITY), Some(-0.0)];
        let back = round_trip(&odd);
        assert!(back[0].is_some_and(f64::is_nan) && back[1].is_none());
        assert_eq!(back[2..], odd[2..]);
        let keyed = std::collections::BTreeMap::from([((1_u8, 'a'), "x".to_owned())]);
        assert_eq!(round_trip(&keyed), keyed);
    }

    #[test]
    fn foreign_bytes_are_a_data_error() {
        for bytes in [&b""[..], b"\xff", b"\x01\x01", b"\x9f\x9f\x9f"] {
            let error = u8::decode(Bytes::copy_from_slice(bytes)).unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::Data, "{bytes:?}");
        }
        let error = Many::<u8>::decode(Bytes::from_static(&[255; 9])).unwrap_err();
        assert_eq!(error.to_string(), "item 0 of a list is cut short");
    }

    #[test]
    fn lists_round_trip() {
        for list in [vec![], vec![Blob::from("")], vec![Blob::from("a"), Blob::from("bc")]] {
            let list = Many::from(list);
            assert_eq!(round_trip(&list), list);
        }
    }
}
