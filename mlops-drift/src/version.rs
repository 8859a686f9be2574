//! Versions of what is stored.

use serde::{Deserialize, Deserializer};

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

/// What was stored, with its version, which is looked at first: so what is wrong with the rest has to wait.
#[derive(Deserialize)]
#[serde(bound(deserialize = "T: Deserialize<'de>"))]
pub(crate) struct Read<T> {
    #[serde(default = "first")]
    version: u32,
    #[serde(flatten, deserialize_with = "later")]
    state: std::result::Result<T, String>,
}

impl<T> Read<T> {
    /// The rest, of this version.
    pub(crate) fn of(self, what: &str, latest: u32) -> Result<(u32, T)> {
        readable(what, self.version, latest)?;
        let state =
            self.state.map_err(|error| Error::data(format!("the stored {what} is damaged: {error}")))?;
        Ok((self.version, state))
    }
}

fn later<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> std::result::Result<std::result::Result<T, String>, D::Error> {
    Ok(T::deserialize(deserializer).map_err(|error| error.to_string()))
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
                use serde::de::Error as _;

                /// The fields, read as the type derives it.
                struct State($kind);

                impl<'de> serde::Deserialize<'de> for State {
                    fn deserialize<D: serde::Deserializer<'de>>(
                        deserializer: D,
                    ) -> std::result::Result<Self, D::Error> {
                        $kind::deserialize(deserializer).map(State)
                    }
                }

                let read: $crate::version::Read<State> = serde::Deserialize::deserialize(deserializer)?;
                let (_, State(state)) = read.of($what, 1).map_err(D::Error::custom)?;
                ($validate)(&state).map_err(D::Error::custom)?;
                Ok(state)
            }
        }
    };
}
pub(crate) use versioned;
