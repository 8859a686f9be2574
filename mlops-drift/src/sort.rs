//! Sorting many floats.

/// Sorts by [`f64::total_cmp`]. Long lists are first dealt into cells of equal width, some dozens of numbers each, that
/// are then sorted in the cache; where they crowd some cells, into cells by the leading bits in which they differ. What
/// still crowds a cell costs no more than sorting it. Needs twice the memory while it runs.
pub(crate) fn sort(values: Vec<f64>) -> Vec<f64> {
    let mut values = values;
    if values.len() < CELLS_FROM {
        values.sort_unstable_by(f64::total_cmp);
        return values;
    }
    let cells = values.len() / CELL;
    let fold =
        |(low, high, sum): (f64, f64, f64), value: &f64| (low.min(*value), high.max(*value), sum + value);
    let (low, high, sum) = values.iter().fold((f64::INFINITY, f64::NEG_INFINITY, 0.0), fold);
    let scale = cells as f64 / (high - low);
    if scale.is_normal() && !sum.is_nan() {
        // Never falls as the value grows, rounding included.
        let cell = |value: f64| (((value - low) * scale) as usize).min(cells - 1);
        let counts = count(&values, cells, cell);
        if counts.iter().map(|count| count * count).sum::<usize>() < CROWDED * CELL * values.len() {
            return deal(values, counts, cell);
        }
    }
    let fold = |(low, high): (u64, u64), value: &f64| (low.min(key(*value)), high.max(key(*value)));
    let (low, high) = values.iter().fold((u64::MAX, 0), fold);
    let bits = cells.ilog2();
    let shift = (u64::BITS - (high - low).leading_zeros()).saturating_sub(bits);
    let cell = |value: f64| ((key(value) - low) >> shift) as usize;
    let counts = count(&values, 1 << bits, cell);
    deal(values, counts, cell)
}

fn count(values: &[f64], cells: usize, cell: impl Fn(f64) -> usize) -> Vec<usize> {
    let mut counts = vec![0; cells];
    values.iter().for_each(|value| counts[cell(*value)] += 1);
    counts
}

fn deal(values: Vec<f64>, counts: Vec<usize>, cell: impl Fn(f64) -> usize) -> Vec<f64> {
    let mut ends = counts;
    let mut start = 0usize;
    for end in &mut ends {
        start += std::mem::replace(end, start);
    }
    let mut dealt = vec![0; values.len()];
    for value in values {
        let end = &mut ends[cell(value)];
        dealt[*end] = key(value);
        *end += 1;
    }
    let mut start = 0;
    for end in ends {
        dealt[start..end].sort_unstable();
        start = end;
    }
    dealt.into_iter().map(number).collect()
}

/// The same order as whole numbers: negative numbers with all bits flipped, others with the sign bit.
fn key(value: f64) -> u64 {
    let bits = value.to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

fn number(key: u64) -> f64 {
    f64::from_bits(if key >> 63 == 1 { key & !(1 << 63) } else { !key })
}

/// Shorter lists are sorted as they are.
const CELLS_FROM: usize = 20_000;
/// Numbers for each cell, on average.
const CELL: usize = 32;
/// So many times the comparisons of even cells are not worth it.
const CROWDED: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SplitMix64;

    #[test]
    fn long_lists_are_ordered_as_total_cmp_orders_them() {
        let mut random = SplitMix64::new(9);
        let mut values: Vec<f64> = (0..CELLS_FROM + 7).map(|_| f64::from_bits(random.next())).collect();
        values.extend([0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 1.0, 1.0]);
        check(&values);
        let uniform: Vec<f64> = (0..CELLS_FROM).map(|_| random.uniform()).chain([-0.0, 0.0]).collect();
        check(&uniform);
        check(&uniform.iter().map(|u| (40.0 * u).exp() - 1e9).collect::<Vec<_>>());
        check(&uniform.iter().map(|u| (u * 3.0).floor()).chain([f64::MAX, f64::MIN]).collect::<Vec<_>>());
        check(&vec![2.5; CELLS_FROM]);
    }

    fn check(values: &[f64]) {
        let mut want = values.to_vec();
        want.sort_by(f64::total_cmp);
        let got = sort(values.to_vec());
        assert!(got.iter().zip(&want).all(|(got, want)| got.to_bits() == want.to_bits()));
    }
}
