//! The sections of the text.

use std::collections::HashMap;
use std::str::FromStr;

use crate::{Error, Result};

/// Lines up to an empty one: names, with values where there are any.
pub(super) struct Section<'a>(HashMap<&'a str, &'a str>);

impl<'a> Section<'a> {
    pub(super) fn read(lines: &mut impl Iterator<Item = (usize, &'a str)>) -> Result<Self> {
        let mut fields = HashMap::new();
        for (index, line) in lines {
            let line = line.trim_end();
            if line.is_empty() {
                if fields.is_empty() {
                    continue;
                }
                break;
            }
            let (name, value) = line.split_once('=').unwrap_or((line, ""));
            if fields.insert(name, value).is_some() {
                return Err(Error::data(format!("line {} repeats `{name}`", index + 1)));
            }
        }
        Ok(Self(fields))
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(super) fn optional(&self, name: &str) -> Option<&'a str> {
        self.0.get(name).copied()
    }

    pub(super) fn text(&self, name: &str) -> Result<&'a str> {
        self.optional(name).ok_or_else(|| Error::data(format!("`{name}` is missing")))
    }

    pub(super) fn one<T: FromStr>(&self, name: &str) -> Result<T> {
        parse(name, self.text(name)?)
    }

    pub(super) fn list<T: FromStr>(&self, name: &str) -> Result<Vec<T>> {
        self.optional(name)
            .unwrap_or_default()
            .split_ascii_whitespace()
            .map(|word| parse(name, word))
            .collect()
    }

    pub(super) fn list_of<T: FromStr>(&self, name: &str, length: usize) -> Result<Vec<T>> {
        let list = self.list(name)?;
        if list.len() == length {
            return Ok(list);
        }
        Err(Error::data(format!("`{name}` has {} entries, want {length}", list.len())))
    }
}

pub(super) fn parse<T: FromStr>(name: &str, word: &str) -> Result<T> {
    word.parse().map_err(|_| Error::data(format!("`{name}` is `{word}`: want a number")))
}
