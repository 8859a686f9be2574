//! The version that everything stored carries.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A field that is written as the number `N` and that reads back as nothing else, so that a state of another
/// version is an error and not a wrong number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Version<const N: u32>;

impl<const N: u32> Serialize for Version<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(N)
    }
}

impl<'de, const N: u32> Deserialize<'de> for Version<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u32::deserialize(deserializer)? {
            version if version == N => Ok(Self),
            version => {
                Err(D::Error::custom(format!("format version {version} is not known: this build reads {N}")))
            }
        }
    }
}

/// The format of a JSON object that a later build wrote: a reader that knows `known` says so by name, before it
/// takes a field that it does not know for damage.
pub(crate) fn later_format(json: &[u8], known: u32) -> Option<u32> {
    #[derive(Deserialize)]
    struct Head {
        format: u32,
    }
    serde_json::from_slice(json).ok().map(|head: Head| head.format).filter(|format| *format > known)
}
