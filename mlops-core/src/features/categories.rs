//! The categories of a column, and the places that their hashes fall on.

use std::collections::HashMap;
use std::fmt::Write;

use serde::{Deserialize, Serialize};

use crate::data::Value;

/// Known categories in order of their text, each with its place: found by binary search, without hashing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Categories(Vec<(String, usize)>);

impl Categories {
    pub(super) fn fit<'a>(cells: impl Iterator<Item = Value<'a>>, categories_max: usize) -> Self {
        let mut counts: HashMap<String, usize> = HashMap::new();
        let mut text = String::new();
        for cell in cells.filter(|cell| !cell.is_missing()) {
            let category = category(cell, &mut text);
            match counts.get_mut(category) {
                Some(count) => *count += 1,
                None => drop(counts.insert(category.to_owned(), 1)),
            }
        }
        let mut ranked: Vec<_> = counts.into_iter().collect();
        ranked.sort_by(|(a, count_a), (b, count_b)| count_b.cmp(count_a).then_with(|| a.cmp(b)));
        ranked.truncate(categories_max);
        Self(ranked.into_iter().enumerate().map(|(place, (text, _))| (text, place)).collect()).sorted()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// In order.
    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(text, _)| text.as_str())
    }

    fn sorted(mut self) -> Self {
        self.0.sort();
        self
    }

    /// One-hot columns go by the order of the texts, so that they are easy to find.
    pub(super) fn in_text_order(mut self) -> Self {
        self.0.iter_mut().enumerate().for_each(|(place, entry)| entry.1 = place);
        self
    }

    /// Texts rise, and their places are a permutation.
    pub(super) fn is_consistent(&self) -> bool {
        let mut places: Vec<usize> = self.0.iter().map(|(_, place)| *place).collect();
        places.sort_unstable();
        places.into_iter().eq(0..self.0.len()) && self.0.windows(2).all(|pair| pair[0].0 < pair[1].0)
    }

    #[inline]
    pub(super) fn place(&self, cell: Value<'_>) -> Option<usize> {
        let find = |text: &str| {
            self.0.binary_search_by(|(known, _)| known.as_str().cmp(text)).ok().map(|at| self.0[at].1)
        };
        match cell {
            Value::Text(text) => find(text),
            cell => {
                // 20 digits and a sign: whole numbers never reach the heap.
                let mut digits = Digits::default();
                write!(digits, "{cell}").ok()?;
                find(digits.as_str())
            }
        }
    }
}

fn category<'a>(cell: Value<'a>, text: &'a mut String) -> &'a str {
    match cell {
        Value::Text(text) => text,
        cell => {
            text.clear();
            // Writing to a `String` never fails.
            let _ = write!(text, "{cell}");
            text
        }
    }
}

/// FNV-1a with a final mix: the same for ever, on every machine.
#[inline]
pub(super) fn hash(cell: Value<'_>) -> u64 {
    struct Fnv(u64);
    impl Fnv {
        fn bytes(&mut self, bytes: &[u8]) {
            for byte in bytes {
                self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
    }
    let mut fnv = Fnv(0xcbf2_9ce4_8422_2325);
    match cell {
        Value::Text(text) => fnv.bytes(text.as_bytes()),
        Value::Integer(number) => fnv.bytes(&number.to_le_bytes()),
        Value::Boolean(truth) => fnv.bytes(&[u8::from(truth)]),
        Value::Float(number) => fnv.bytes(&number.to_le_bytes()),
        Value::Missing => {}
    }
    let mixed = (fnv.0 ^ (fnv.0 >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    mixed ^ (mixed >> 33)
}

/// A text of up to 24 bytes on the stack.
#[derive(Default)]
struct Digits {
    bytes: [u8; 24],
    len: usize,
}

impl Digits {
    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.len]).unwrap_or_default()
    }
}

impl Write for Digits {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.len + text.len();
        self.bytes.get_mut(self.len..end).ok_or(std::fmt::Error)?.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}
