//! The largest elements of a row.

use std::cmp::Ordering;

/// The place of the first of the largest elements; 0 if all are NaN.
pub(super) fn arg_max(row: &[f32]) -> usize {
    let mut best = 0;
    for (place, value) in row.iter().enumerate() {
        if *value > row[best] || row[best].is_nan() && !value.is_nan() {
            best = place;
        }
    }
    best
}

/// Fills `places` with those of the largest elements, the largest first, equals in their order, NaN last.
///
/// Few are kept in order; many in a heap whose root is the worst, so that time grows with their logarithm.
pub(super) fn top(row: &[f32], places: &mut [i64]) {
    if places.len() > TOP_IN_ORDER {
        return top_by_heap(row, places);
    }
    let key = key_in(row);
    let count = places.len().min(row.len());
    let Some(last) = count.checked_sub(1) else { return };
    // Of the places that are held, so that a comparison does not have to look for it.
    let mut keys = [0.0; TOP_IN_ORDER];
    let mut insert = |held: usize, place: usize| {
        let value = key(place as i64);
        let mut at = held.min(last);
        while at > 0 && keys[at - 1] < value {
            keys[at] = keys[at - 1];
            places[at] = places[at - 1];
            at -= 1;
        }
        keys[at] = value;
        places[at] = place as i64;
        keys[last]
    };
    let least = (0..count).fold(0.0, |_, place| insert(place, place));
    for_each_above(row, count, least, |place| insert(count, place));
}

/// Up to so many, moving them along is faster than a heap.
const TOP_IN_ORDER: usize = 64;

/// What a place is ranked by: no NaN.
fn key_in(row: &[f32]) -> impl Fn(i64) -> f32 {
    |place| {
        let value = row[place as usize];
        if value.is_nan() { f32::NEG_INFINITY } else { value }
    }
}

/// Calls `each` for the places, from this one on, of elements above a limit that it gives anew.
fn for_each_above(row: &[f32], from: usize, mut limit: f32, mut each: impl FnMut(usize) -> f32) {
    for (index, block) in row[from..].chunks(16).enumerate() {
        // Most blocks hold none; without a way out in the middle, the comparisons are made side by side.
        if !block.iter().fold(false, |found, value| found | (*value > limit)) {
            continue;
        }
        for (place, value) in (from + 16 * index..).zip(block) {
            if *value > limit {
                limit = each(place);
            }
        }
    }
}

fn top_by_heap(row: &[f32], places: &mut [i64]) {
    let key = key_in(row);
    let rank = |a: &i64, b: &i64| key(*b).partial_cmp(&key(*a)).unwrap_or(Ordering::Equal).then(a.cmp(b));
    let worse = |a: i64, b: i64| rank(&a, &b).is_gt();
    // Sinks the element at `at` to where its children are better.
    let sink = |heap: &mut [i64], mut at: usize| loop {
        let left = 2 * at + 1;
        let Some(mut child) = heap.get(left).map(|_| left) else { return };
        if heap.get(left + 1).is_some_and(|right| worse(*right, heap[left])) {
            child = left + 1;
        }
        if !worse(heap[child], heap[at]) {
            return;
        }
        heap.swap(at, child);
        at = child;
    };
    let count = places.len();
    if count == 0 {
        return;
    }
    (0..).zip(&mut *places).for_each(|(place, slot)| *slot = place);
    (0..count / 2).rev().for_each(|at| sink(places, at));
    // Of equals the earlier ones stay: a later place has to be above.
    for_each_above(row, count, key(places[0]), |place| {
        places[0] = place as i64;
        sink(places, 0);
        key(places[0])
    });
    places.sort_unstable_by(rank);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn top_of_many_treats_zeros_and_gaps_as_top_of_few() {
        let row = [0.0, f32::NAN, -0.0, f32::NEG_INFINITY, 1.0, -0.0, 0.0, f32::NAN];
        for count in 1..=row.len() {
            let (mut few, mut many) = (vec![-1; count], vec![-1; count]);
            top(&row, &mut few);
            top_by_heap(&row, &mut many);
            assert_eq!(few, many);
        }
    }

    proptest! {
        #[test]
        fn top_is_a_stable_sort(values in prop::collection::vec(-4_i8..4, 1..40), count in 0_usize..40) {
            let row: Vec<f32> = values.iter().map(|value| f32::from(*value)).collect();
            let count = count.min(row.len());
            let mut want: Vec<i64> = (0..row.len() as i64).collect();
            want.sort_by(|a, b| row[*b as usize].total_cmp(&row[*a as usize]));
            let mut got = vec![-1; count];
            top(&row, &mut got);
            prop_assert_eq!(&got[..], &want[..count]);
            if count > 0 {
                top_by_heap(&row, &mut got);
                prop_assert_eq!(&got[..], &want[..count]);
            }
        }
    }
}
