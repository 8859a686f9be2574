//! UBJSON (draft 12), the binary form of JSON that XGBoost saves by default: read into what serde derives.

use serde::de::value::Error;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};

/// Values in values: more is no model.
const DEPTH_MAX: usize = 64;

/// Whether the bytes begin as an object of UBJSON, not of JSON: a key begins with the type of its length.
pub(super) fn begins(bytes: &[u8]) -> bool {
    matches!(bytes, [b'{', b'i' | b'U' | b'I' | b'l' | b'L' | b'$' | b'#', ..])
}

/// Reads one value, which is all of the bytes.
pub(super) fn from_slice<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, Error> {
    let mut reader = Reader { rest: bytes, depth: 0 };
    let value = T::deserialize(Value { reader: &mut reader, marker: None })?;
    match reader.rest.len() {
        0 => Ok(value),
        more => Err(Error::custom(format!("{more} bytes after the end"))),
    }
}

struct Reader<'de> {
    rest: &'de [u8],
    depth: usize,
}

impl<'de> Reader<'de> {
    fn take(&mut self, count: usize) -> Result<&'de [u8], Error> {
        let Some((taken, rest)) = self.rest.split_at_checked(count) else {
            return Err(Error::custom(format!("wants {count} bytes where {} are left", self.rest.len())));
        };
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// The next marker; no-operations are skipped.
    fn marker(&mut self) -> Result<u8, Error> {
        loop {
            match self.take(1)? {
                [b'N'] => {}
                [marker] => return Ok(*marker),
                _ => return Err(Error::custom("no marker")),
            }
        }
    }

    /// Whether the next byte is this; it is read then.
    fn next_is(&mut self, byte: u8) -> bool {
        let found = self.rest.first() == Some(&byte);
        if found {
            self.rest = &self.rest[1..];
        }
        found
    }

    fn integer(&mut self, marker: u8) -> Result<i64, Error> {
        Ok(match marker {
            b'i' => i8::from_be_bytes(self.array()?).into(),
            b'U' => u8::from_be_bytes(self.array()?).into(),
            b'I' => i16::from_be_bytes(self.array()?).into(),
            b'l' => i32::from_be_bytes(self.array()?).into(),
            b'L' => i64::from_be_bytes(self.array()?),
            other => return Err(unknown(other, "the type of a whole number")),
        })
    }

    fn length(&mut self) -> Result<usize, Error> {
        let marker = self.marker()?;
        let length = self.integer(marker)?;
        usize::try_from(length).map_err(|_| Error::custom(format!("a length of {length}")))
    }

    fn text(&mut self) -> Result<&'de str, Error> {
        let length = self.length()?;
        std::str::from_utf8(self.take(length)?).map_err(Error::custom)
    }

    /// What the head of a list or an object says of its elements: their type, and how many there are.
    fn head(&mut self) -> Result<(Option<u8>, Option<usize>), Error> {
        let element = if self.next_is(b'$') { Some(self.marker()?) } else { None };
        // Elements without bytes would take no file to fill memory.
        if let Some(element) = element
            && matches!(element, b'Z' | b'T' | b'F' | b'N')
        {
            return Err(unknown(element, "the type of elements"));
        }
        let count = if self.next_is(b'#') { Some(self.length()?) } else { None };
        if element.is_some() && count.is_none() {
            return Err(Error::custom("elements of one type without their number"));
        }
        Ok((element, count))
    }
}

fn unknown(marker: u8, what: &str) -> Error {
    Error::custom(format!("`{}` as {what}", marker.escape_ascii()))
}

/// A value whose marker was read already, or comes next.
struct Value<'r, 'de> {
    reader: &'r mut Reader<'de>,
    marker: Option<u8>,
}

impl<'de> Deserializer<'de> for Value<'_, 'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let Self { reader, marker } = self;
        let marker = marker.map_or_else(|| reader.marker(), Ok)?;
        match marker {
            b'Z' => visitor.visit_unit(),
            b'T' => visitor.visit_bool(true),
            b'F' => visitor.visit_bool(false),
            b'd' => visitor.visit_f32(f32::from_be_bytes(reader.array()?)),
            b'D' => visitor.visit_f64(f64::from_be_bytes(reader.array()?)),
            b'C' => visitor.visit_char(char::from(reader.array::<1>()?[0])),
            b'S' => visitor.visit_borrowed_str(reader.text()?),
            b'[' | b'{' => {
                if reader.depth == DEPTH_MAX {
                    return Err(Error::custom(format!("values nested more than {DEPTH_MAX} deep")));
                }
                reader.depth += 1;
                let (element, left) = reader.head()?;
                let mut items =
                    Items { reader, element, left, end: if marker == b'[' { b']' } else { b'}' } };
                let value = match marker {
                    b'[' => visitor.visit_seq(&mut items)?,
                    _ => visitor.visit_map(&mut items)?,
                };
                if items.more()? {
                    return Err(Error::custom("more elements than are wanted"));
                }
                items.reader.depth -= 1;
                Ok(value)
            }
            other => match reader.integer(other)? {
                integer if integer < 0 => visitor.visit_i64(integer),
                integer => visitor.visit_u64(integer.unsigned_abs()),
            },
        }
    }

    fn deserialize_option<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Error> {
        let marker = self.marker.map_or_else(|| self.reader.marker(), Ok)?;
        if marker == b'Z' {
            return visitor.visit_none();
        }
        self.marker = Some(marker);
        visitor.visit_some(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// The elements of a list or an object.
struct Items<'r, 'de> {
    reader: &'r mut Reader<'de>,
    element: Option<u8>,
    /// How many are left, where their number is known; otherwise `end` comes.
    left: Option<usize>,
    end: u8,
}

impl Items<'_, '_> {
    /// Whether there is another element. The end is read once: nothing is left after it.
    fn more(&mut self) -> Result<bool, Error> {
        if self.left.is_none() {
            while self.reader.next_is(b'N') {}
            if self.reader.next_is(self.end) {
                self.left = Some(0);
            } else if self.reader.rest.is_empty() {
                return Err(Error::custom("ends within a list or an object: it is truncated"));
            }
        }
        Ok(self.left != Some(0))
    }
}

impl<'de> SeqAccess<'de> for &mut Items<'_, 'de> {
    type Error = Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Error> {
        if !self.more()? {
            return Ok(None);
        }
        self.left = self.left.map(|left| left - 1);
        seed.deserialize(Value { reader: self.reader, marker: self.element }).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        // Each element takes a byte or more, whatever the file says of their number.
        self.left.map(|left| left.min(self.reader.rest.len()))
    }
}

impl<'de> MapAccess<'de> for &mut Items<'_, 'de> {
    type Error = Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Error> {
        if !self.more()? {
            return Ok(None);
        }
        self.left = self.left.map(|left| left - 1);
        let key = self.reader.text()?;
        seed.deserialize(serde::de::value::BorrowedStrDeserializer::new(key)).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Error> {
        seed.deserialize(Value { reader: self.reader, marker: self.element })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Mixed {
        name: String,
        floats: Vec<f32>,
        flags: Vec<bool>,
        none: Option<u8>,
        some: Option<i64>,
        more: BTreeMap<String, i32>,
    }

    #[test]
    fn all_kinds_of_values_are_read() {
        let bytes = b"{i\x04nameSi\x02abi\x06floats[$d#i\x02\x3f\x80\0\0\xbf\0\0\0i\x05flags[NTF]\
            i\x04noneZi\x04somel\xff\xff\xff\xfei\x04more{$I#U\x01i\x01x\x01\x02}";
        let bytes: Vec<u8> = bytes.to_vec();
        let mixed: Mixed = from_slice(&bytes).unwrap();
        let more = BTreeMap::from([("x".into(), 258)]);
        let (floats, flags) = (vec![1.0, -0.5], vec![true, false]);
        assert_eq!(mixed, Mixed { name: "ab".into(), floats, flags, none: None, some: Some(-2), more });
        for end in 0..bytes.len() {
            assert!(from_slice::<Mixed>(&bytes[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn little_bytes_do_not_make_much() {
        type Any = serde_json::Value;
        for bytes in [
            &b"[$Z#L\x7f\xff\xff\xff\xff\xff\xff\xff"[..],
            b"[$U#L\x7f\xff\xff\xff\xff\xff\xff\xff",
            b"[$U#i\xff",
            b"Si\xff",
            b"[$U",
            b"x",
            b"",
        ] {
            assert!(from_slice::<Any>(bytes).is_err(), "{bytes:?}");
        }
        assert!(from_slice::<Any>(&[b'['; 100_000]).unwrap_err().to_string().contains("nested"));
    }
}
