//! A map from digests that is cheap to copy.

use std::sync::Arc;

use mlops_core::Digest;

/// A map from digests, in 256 parts by their first byte, which copies of the map share until one is changed.
///
/// A copy costs 256 counters, a change the copy of one part: both are small beside a write to a disk, with a million
/// entries too.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DigestMap<V: Copy> {
    /// Each sorted by digest.
    parts: Vec<Arc<Vec<(Digest, V)>>>,
}

impl<V: Copy> Default for DigestMap<V> {
    fn default() -> Self {
        Self { parts: vec![Arc::default(); PARTS] }
    }
}

impl<V: Copy> DigestMap<V> {
    pub(crate) fn len(&self) -> usize {
        self.parts.iter().map(|part| part.len()).sum()
    }

    pub(crate) fn get(&self, key: &Digest) -> Option<&V> {
        let part = &self.parts[part_of(key)];
        part.binary_search_by_key(key, |(found, _)| *found).ok().map(|place| &part[place].1)
    }

    /// Sets a value; gives the one before.
    pub(crate) fn insert(&mut self, key: Digest, value: V) -> Option<V> {
        let part = Arc::make_mut(&mut self.parts[part_of(&key)]);
        match part.binary_search_by_key(&key, |(found, _)| *found) {
            Ok(place) => Some(std::mem::replace(&mut part[place].1, value)),
            Err(place) => {
                part.insert(place, (key, value));
                None
            }
        }
    }

    pub(crate) fn remove(&mut self, key: &Digest) {
        let part = Arc::make_mut(&mut self.parts[part_of(key)]);
        if let Ok(place) = part.binary_search_by_key(key, |(found, _)| *found) {
            part.remove(place);
        }
    }

    /// All entries in the order of their digests.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &(Digest, V)> {
        self.parts.iter().flat_map(|part| part.iter())
    }
}

fn part_of(key: &Digest) -> usize {
    usize::from(key.as_bytes()[0])
}

const PARTS: usize = 256;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    proptest::proptest! {
        #[test]
        fn it_is_a_map(steps: Vec<(u8, Option<u32>)>) {
            let (mut map, mut model) = (DigestMap::default(), BTreeMap::new());
            for (key, value) in steps {
                let key = Digest::of([key]);
                let before = map.clone();
                match value {
                    Some(value) => assert_eq!(map.insert(key, value), model.insert(key, value)),
                    None => {
                        map.remove(&key);
                        model.remove(&key);
                    }
                }
                assert_eq!(map.get(&key), model.get(&key));
                assert!(before.len().abs_diff(map.len()) <= 1);
                assert_eq!(map.iter().copied().collect::<Vec<_>>(), model.clone().into_iter().collect::<Vec<_>>());
            }
        }
    }
}
