//! The suite for artifacts.

use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;

use super::{refused, require, said};
use crate::pipeline::Artifact;
use crate::{Error, ErrorKind, Result};

/// Checks a type of artifact by one value of it. Call it with several: an empty one, a small one, an odd one.
///
/// Checked are: the value comes back from its bytes, by `equals`; a value and its copy that was read back give the same
/// bytes, each time; `decode` refuses bytes that no value is written as, namely those that are cut short or go on
/// after the value, with an error of kind `Data` and no panic; `encode` minds writers that take little at a time, and
/// tells when one fails by `Unavailable`; the name of the format stays.
///
/// A format may be open at its end, as a list is that ends where its bytes end: what is cut short is then another value,
/// and has to be written as just these bytes.
///
/// About 600 prefixes of the bytes are decoded, so the cost is that of 600 decodes for a large value.
///
/// ```
/// use mlops_core::conformance;
/// use mlops_core::pipeline::Many;
///
/// for list in [vec![], vec![1.5], vec![0.0, f64::INFINITY]] {
///     conformance::check_artifact(&Many::from(list), PartialEq::eq)?;
/// }
/// // NaN is not equal to itself: say what is equal.
/// conformance::check_artifact(&f64::NAN, |a, b| a.to_bits() == b.to_bits())?;
/// # Ok::<(), mlops_core::Error>(())
/// ```
///
/// # Errors
/// `Data`, saying which clause is broken and how; an error of `encode`.
pub fn check_artifact<T: Artifact>(value: &T, equals: impl Fn(&T, &T) -> bool) -> Result<()> {
    let format = T::format();
    require(!format.is_empty(), || "`format` is empty".to_owned())?;
    let bytes = encode(value)?;
    for _ in 0..COPIES {
        let copy = decode::<T>(&bytes)?
            .map_err(|error| Error::data("`decode` refuses what `encode` wrote").with_source(error))?;
        require(equals(value, &copy), || "`decode` of `encode` gives another value".to_owned())?;
        for written in [encode(value)?, encode(&copy)?] {
            require(written == bytes, || {
                let place = written.iter().zip(&bytes).take_while(|(is, was)| is == was).count();
                format!("`encode` gives other bytes for the same value: they differ from byte {place} on")
            })?;
        }
    }
    require(T::format() == format, || format!("`format` changes: first `{format}`, then `{}`", T::format()))?;
    writers(value, &bytes)?;

    let all = bytes.len();
    let lengths = (0..all).step_by(all.div_ceil(512).max(1)).chain(all.saturating_sub(64)..all);
    for length in lengths {
        never_written::<T>(&bytes.slice(..length), || format!("the first {length} of {all} bytes"))?;
    }
    for more in [&[0][..], &[255], &[0; 64], &bytes] {
        if !more.is_empty() {
            let longer = Bytes::from([&bytes, more].concat());
            never_written::<T>(&longer, || format!("{all} bytes and {} after them", more.len()))?;
        }
    }
    Ok(())
}

/// Either no value is written as these bytes, and they are refused, or they are of the value that they decode to.
fn never_written<T: Artifact>(bytes: &Bytes, what: impl Fn() -> String) -> Result<()> {
    match decode::<T>(bytes)? {
        Ok(other) if encode(&other)? == *bytes => Ok(()),
        Ok(_) => Err(Error::data(format!("`decode` takes {} for a value that is written otherwise", what()))),
        refusal => refused(refusal, ErrorKind::Data, &format!("`decode` of {}", what())),
    }
}

fn writers<T: Artifact>(value: &T, bytes: &Bytes) -> Result<()> {
    let mut slow = Slow { taken: Vec::new(), room: bytes.len() };
    value.encode(&mut slow)?;
    require(slow.taken == *bytes, || {
        let (taken, all) = (slow.taken.len(), bytes.len());
        format!("`encode` loses bytes when a writer takes one at a time: {taken} of {all}, or others, came")
    })?;
    for room in [0, bytes.len() / 2, bytes.len().saturating_sub(1)] {
        if room < bytes.len() {
            let call = value.encode(&mut Slow { taken: Vec::new(), room });
            refused(
                call,
                ErrorKind::Unavailable,
                &format!("`encode` to a writer that fails after {room} bytes"),
            )?;
        }
    }
    Ok(())
}

/// Takes one byte at a time as long as it has room.
struct Slow {
    taken: Vec<u8>,
    room: usize,
}

impl Write for Slow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(byte) = bytes.first() else { return Ok(0) };
        if self.taken.len() == self.room {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        self.taken.push(*byte);
        Ok(1)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn encode<T: Artifact>(value: &T) -> Result<Bytes> {
    let mut bytes = Vec::new();
    value.encode(&mut bytes).map_err(|error| error.context("`encode` refuses the value"))?;
    Ok(bytes.into())
}

/// What `decode` gives, unless it panics.
fn decode<T: Artifact>(bytes: &Bytes) -> Result<Result<T>> {
    catch_unwind(AssertUnwindSafe(|| T::decode(bytes.clone())))
        .map_err(|panic| Error::data(format!("`decode` panics on {} bytes: {}", bytes.len(), said(&*panic))))
}

const COPIES: usize = 3;
