//! Metrics in JSON, which has no NaN and no infinities: those become texts.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Number {
    Finite(f64),
    Odd(String),
}

pub(crate) fn serialize<S: Serializer>(metrics: &BTreeMap<String, f64>, to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(metrics.iter().map(|(name, value)| {
        let number = if value.is_finite() { Number::Finite(*value) } else { Number::Odd(value.to_string()) };
        (name, number)
    }))
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, f64>, D::Error> {
    let numbers = BTreeMap::<String, Number>::deserialize(from)?;
    let numbers = numbers.into_iter().map(|(name, number)| match number {
        Number::Finite(value) => Ok((name, value)),
        Number::Odd(text) => match text.parse() {
            Ok(value) => Ok((name, value)),
            Err(_) => Err(D::Error::custom(format!("metric `{name}` is `{text}`, which is no number"))),
        },
    });
    numbers.collect()
}
