//! Floats that may be infinite or NaN, in formats that have no such numbers (JSON): a number, or its name.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Stored {
    Number(f64),
    Name(String),
}

/// Such a float where it is no field of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Number(#[serde(with = "crate::float")] pub(crate) f64);

pub(crate) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    if value.is_finite() {
        serializer.serialize_f64(*value)
    } else {
        serializer.serialize_str(&value.to_string())
    }
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    match Stored::deserialize(deserializer)? {
        Stored::Number(value) => Ok(value),
        Stored::Name(name) => name
            .parse()
            .map_err(|_| D::Error::custom(format!("`{name}` is no number: want inf, -inf or NaN"))),
    }
}
