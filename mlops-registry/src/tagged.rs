//! Changes as JSON: objects whose member `change` names their kind.
//!
//! What is derived for such objects first gathers all of their members. Registrations are nearly all of a log, so
//! they are read as they come.

use std::fmt;
use std::sync::Arc;

use serde::de::value::{BorrowedStrDeserializer, MapAccessDeserializer, StringDeserializer};
use serde::de::{DeserializeSeed, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Change, VersionRecord};

impl Serialize for Change {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for Change {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members)
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Change;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a change of the registry")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut rest: A) -> Result<Change, A::Error> {
        let mut first = None;
        if let Some(name) = rest.next_key::<String>()? {
            if name != KIND {
                // Written by others: in any order.
                return Change::deserialize(MapAccessDeserializer::new(Named { name: Some(name), rest }));
            }
            let kind = rest.next_value::<String>()?;
            if kind == "register" {
                let record = VersionRecord::deserialize(MapAccessDeserializer::new(rest))?;
                return Ok(Change::Register(Arc::new(record)));
            }
            first = Some(kind);
        }
        Change::deserialize(MapAccessDeserializer::new(Kind { kind: first, named: false, rest }))
    }
}

/// The members with the kind back at the front.
struct Kind<A> {
    kind: Option<String>,
    named: bool,
    rest: A,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Kind<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        if self.kind.is_some() && !self.named {
            self.named = true;
            return seed.deserialize(BorrowedStrDeserializer::new(KIND)).map(Some);
        }
        self.rest.next_key_seed(seed)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        match self.kind.take() {
            Some(kind) => seed.deserialize(StringDeserializer::new(kind)),
            None => self.rest.next_value_seed(seed),
        }
    }
}

/// The members with the name of the first back at the front.
struct Named<A> {
    name: Option<String>,
    rest: A,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Named<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        match self.name.take() {
            Some(name) => seed.deserialize(StringDeserializer::new(name)).map(Some),
            None => self.rest.next_key_seed(seed),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.rest.next_value_seed(seed)
    }
}

const KIND: &str = "change";

#[cfg(test)]
mod tests {
    use crate::Change;

    #[test]
    fn members_come_in_any_order() {
        let tag = r#"{"change":"delete","model":"shop","version":3}"#;
        let change = Change::Delete { model: "shop".into(), version: 3 };
        assert_eq!(serde_json::to_string(&change).unwrap(), tag);
        for text in [tag, r#"{"model":"shop","change":"delete","version":3}"#] {
            assert_eq!(serde_json::from_str::<Change>(text).unwrap(), change);
        }
        let record = r#""id":{"name":"shop","version":1},"files":{},"signature":{"inputs":[],"outputs":[]}"#;
        let first: Change = serde_json::from_str(&format!("{{\"change\":\"register\",{record}}}")).unwrap();
        let last: Change = serde_json::from_str(&format!("{{{record},\"change\":\"register\"}}")).unwrap();
        assert_eq!(first, last);
        assert_eq!(serde_json::to_string(&first).unwrap(), format!("{{\"change\":\"register\",{record}}}"));
        for text in ["{}", "[]", "7", r#"{"change":"fly"}"#, r#"{"change":7}"#, r#"{"change":"delete"}"#] {
            assert!(serde_json::from_str::<Change>(text).is_err(), "{text}");
        }
    }
}
