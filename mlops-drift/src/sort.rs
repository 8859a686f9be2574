//! Sorting many floats.

/// Sorts by [`f64::total_cmp`]: a radix sort for long lists, whose time grows with n alone.
/// Needs three times the memory while it runs.
pub(crate) fn sort(values: Vec<f64>) -> Vec<f64> {
    if values.len() < RADIX_FROM {
        let mut values = values;
        values.sort_unstable_by(f64::total_cmp);
        return values;
    }
    let mut keys: Vec<u64> = values.iter().map(|value| key(*value)).collect();
    let mut other = vec![0u64; keys.len()];
    let mut counts = vec![[0usize; BUCKETS]; DIGITS];
    for key in &keys {
        for (digit, counts) in counts.iter_mut().enumerate() {
            counts[bucket(*key, digit)] += 1;
        }
    }
    for (digit, counts) in counts.iter_mut().enumerate() {
        if counts.contains(&keys.len()) {
            // All keys share this digit.
            continue;
        }
        let mut start = 0;
        for count in counts.iter_mut() {
            start += std::mem::replace(count, start);
        }
        for key in &keys {
            let place = &mut counts[bucket(*key, digit)];
            other[*place] = *key;
            *place += 1;
        }
        std::mem::swap(&mut keys, &mut other);
    }
    let mut values = values;
    values.iter_mut().zip(keys).for_each(|(value, key)| *value = number(key));
    values
}

/// The same order as whole numbers: negative numbers with all bits flipped, others with the sign bit.
fn key(value: f64) -> u64 {
    let bits = value.to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

fn number(key: u64) -> f64 {
    f64::from_bits(if key >> 63 == 1 { key & !(1 << 63) } else { !key })
}

fn bucket(key: u64, digit: usize) -> usize {
    (key >> (digit * DIGIT_BITS)) as usize & (BUCKETS - 1)
}

const DIGIT_BITS: usize = 11;
const DIGITS: usize = 6;
const BUCKETS: usize = 1 << DIGIT_BITS;
const RADIX_FROM: usize = 20_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SplitMix64;

    #[test]
    fn long_lists_are_ordered_as_total_cmp_orders_them() {
        let mut random = SplitMix64::new(9);
        let mut values: Vec<f64> = (0..RADIX_FROM + 7).map(|_| f64::from_bits(random.next())).collect();
        values.extend([0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 1.0, 1.0]);
        let mut want = values.clone();
        want.sort_by(f64::total_cmp);
        let got = sort(values);
        assert!(got.iter().zip(&want).all(|(got, want)| got.to_bits() == want.to_bits()));
        let same = vec![2.5; RADIX_FROM];
        assert_eq!(sort(same.clone()), same);
    }
}
