//! Versions of what is stored.

use crate::{Error, Result};

/// Refuses what a later build stored.
pub(crate) fn readable(what: &str, version: u32, latest: u32) -> Result<()> {
    if (1..=latest).contains(&version) {
        return Ok(());
    }
    let reads = if latest == 1 { "1".to_owned() } else { format!("1 to {latest}") };
    Err(Error::unsupported(format!("the stored {what} has version {version}, this build reads {reads}")))
}

/// Of what was stored before it had a version.
pub(crate) fn first() -> u32 {
    1
}

/// Stores a type beside the version of its format, and reads what holds up: a version of this build, then the fields,
/// then what `validate` says of them. The type derives its `Serialize` and `Deserialize` with
/// `#[serde(remote = "Self")]`.
macro_rules! versioned {
    ($kind:ident, $what:literal) => {
        $crate::version::versioned!($kind, $what, |_: &$kind| $crate::Result::<()>::Ok(()));
    };
    ($kind:ident, $what:literal, $validate:expr) => {
        impl serde::Serialize for $kind {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
                #[derive(serde::Serialize)]
                struct Stored<'a> {
                    version: u32,
                    #[serde(flatten, serialize_with = "state")]
                    state: &'a $kind,
                }

                fn state<S: serde::Serializer>(
                    state: &&$kind,
                    serializer: S,
                ) -> std::result::Result<S::Ok, S::Error> {
                    $kind::serialize(state, serializer)
                }

                serde::Serialize::serialize(&Stored { version: 1, state: self }, serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $kind {
            fn deserialize<D: serde::Deserializer<'de>>(
                deserializer: D,
            ) -> std::result::Result<Self, D::Error> {
                #[derive(serde::Deserialize)]
                struct Stored {
                    #[serde(default = "crate::version::first")]
                    version: u32,
                    // The version is looked at first, so an error has to wait.
                    #[serde(flatten, deserialize_with = "state")]
                    state: std::result::Result<$kind, String>,
                }

                fn state<'de, D: serde::Deserializer<'de>>(
                    deserializer: D,
                ) -> std::result::Result<std::result::Result<$kind, String>, D::Error> {
                    Ok($kind::deserialize(deserializer).map_err(|error| error.to_string()))
                }

                use serde::de::Error as _;
                let Stored { version, state } = serde::Deserialize::deserialize(deserializer)?;
                $crate::version::readable($what, version, 1).map_err(D::Error::custom)?;
                let state = state.map_err(D::Error::custom)?;
                ($validate)(&state).map_err(D::Error::custom)?;
                Ok(state)
            }
        }
    };
}
pub(crate) use versioned;
