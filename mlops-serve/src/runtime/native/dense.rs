//! Dense layers: rows times a matrix, plus a bias.

use super::simd::{dispatch, multiply_add};

/// `y = x W + b` for rows of 32-bit floats.
///
/// Every element is summed over the inputs in the same order, whatever the number of rows, so that a row's
/// answer does not depend on its batch.
#[derive(Debug)]
pub(super) struct Dense {
    inputs: usize,
    outputs: usize,
    weights: Weights,
    bias: Vec<f32>,
}

#[derive(Debug)]
enum Weights {
    /// A row for each output: for few outputs, each is a dot product.
    Rows(Vec<f32>),
    /// Tiles of [`TILE`] outputs; in each, [`TILE`] weights for every input. The last is filled with zeros.
    Tiles(Vec<f32>),
}

/// Outputs that are summed side by side: two 512-bit registers, four of 256 bits.
const TILE: usize = 32;
/// Rows that share the loads of the weights.
const ROWS: usize = 4;
/// Tiles that one row goes through side by side.
const ASIDE: usize = 4;
/// Independent sums of a dot product.
const LANES: usize = 32;
/// Below this many outputs each is a dot product; so many independent sums has one of few inputs.
const FEW: usize = 8;

impl Dense {
    /// `weights` is `[inputs, outputs]`, row-major; `bias` has one element for each output.
    pub(super) fn new(inputs: usize, outputs: usize, weights: &[f32], bias: Vec<f32>) -> Self {
        debug_assert_eq!(weights.len(), inputs * outputs);
        debug_assert_eq!(bias.len(), outputs);
        let weights = if outputs < FEW {
            let at = |output: usize| (0..inputs).map(move |input| weights[input * outputs + output]);
            Weights::Rows((0..outputs).flat_map(at).collect())
        } else {
            let tiles = outputs.div_ceil(TILE);
            let mut packed = vec![0.0; tiles * inputs * TILE];
            for (input, row) in weights.chunks_exact(outputs).enumerate() {
                for (tile, part) in row.chunks(TILE).enumerate() {
                    let place = (tile * inputs + input) * TILE;
                    packed[place..place + part.len()].copy_from_slice(part);
                }
            }
            Weights::Tiles(packed)
        };
        Self { inputs, outputs, weights, bias }
    }

    pub(super) fn inputs(&self) -> usize {
        self.inputs
    }

    pub(super) fn outputs(&self) -> usize {
        self.outputs
    }

    pub(super) fn bias_mut(&mut self) -> &mut [f32] {
        &mut self.bias
    }

    pub(super) fn memory_usage(&self) -> usize {
        let (Weights::Rows(weights) | Weights::Tiles(weights)) = &self.weights;
        (weights.len() + self.bias.len()) * size_of::<f32>()
    }

    /// Fills `y` with a row of outputs for each row of `x`.
    #[inline]
    pub(super) fn run(&self, x: &[f32], y: &mut [f32]) {
        match &self.weights {
            Weights::Rows(weights) => dots(weights, &self.bias, x, y),
            Weights::Tiles(weights) => tiles(weights, &self.bias, self.inputs, x, y),
        }
    }
}

dispatch!(fn dots(weights: &[f32], bias: &[f32], x: &[f32], y: &mut [f32]) = dots_kernel);

#[inline(always)]
fn dots_kernel<const FUSED: bool>(weights: &[f32], bias: &[f32], x: &[f32], y: &mut [f32]) {
    // One row and one output, as for a score: without the divisions below.
    if let ([bias], [y]) = (bias, &mut *y) {
        *y = dot::<FUSED>(x, weights) + bias;
        return;
    }
    let outputs = bias.len();
    if outputs == 0 {
        return;
    }
    let inputs = weights.len() / outputs;
    if inputs == 0 {
        y.chunks_exact_mut(outputs).for_each(|y| y.copy_from_slice(bias));
        return;
    }
    for (x, y) in x.chunks_exact(inputs).zip(y.chunks_exact_mut(outputs)) {
        for ((y, weights), bias) in y.iter_mut().zip(weights.chunks_exact(inputs)).zip(bias) {
            *y = dot::<FUSED>(x, weights) + bias;
        }
    }
}

/// A dot product with [`LANES`] independent sums, then [`FEW`], then one for what is left over.
#[inline(always)]
fn dot<const FUSED: bool>(a: &[f32], b: &[f32]) -> f32 {
    let (a_chunks, a_rest) = a.as_chunks::<LANES>();
    let (b_chunks, b_rest) = b.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    if !a_chunks.is_empty() {
        for (a, b) in a_chunks.iter().zip(b_chunks) {
            add_products::<FUSED>(a, b, &mut sums);
        }
        fold(&mut sums, FEW);
    }
    let (a_chunks, a_rest) = a_rest.as_chunks::<FEW>();
    let (b_chunks, b_rest) = b_rest.as_chunks::<FEW>();
    for (a, b) in a_chunks.iter().zip(b_chunks) {
        add_products::<FUSED>(a, b, &mut sums[..FEW]);
    }
    fold(&mut sums[..FEW], 1);
    let mut sum = sums[0];
    for (a, b) in a_rest.iter().zip(b_rest) {
        sum = multiply_add::<FUSED>(*a, *b, sum);
    }
    sum
}

#[inline(always)]
fn add_products<const FUSED: bool>(a: &[f32], b: &[f32], sums: &mut [f32]) {
    for ((a, b), sum) in a.iter().zip(b).zip(sums) {
        *sum = multiply_add::<FUSED>(*a, *b, *sum);
    }
}

/// Adds the second half of the sums to the first until `width` are left: the additions stay parallel.
#[inline(always)]
fn fold(sums: &mut [f32], width: usize) {
    let mut half = sums.len() / 2;
    while half >= width {
        for lane in 0..half {
            sums[lane] += sums[lane + half];
        }
        half /= 2;
    }
}

dispatch!(fn tiles(weights: &[f32], bias: &[f32], inputs: usize, x: &[f32], y: &mut [f32]) = tiles_kernel);

#[inline(always)]
fn tiles_kernel<const FUSED: bool>(weights: &[f32], bias: &[f32], inputs: usize, x: &[f32], y: &mut [f32]) {
    let outputs = bias.len();
    if inputs == 0 {
        y.chunks_exact_mut(outputs).for_each(|y| y.copy_from_slice(bias));
        return;
    }
    let rows = y.len() / outputs;
    let whole = rows - rows % ROWS;
    for (tile, weights) in weights.chunks_exact(inputs * TILE).enumerate() {
        let from = tile * TILE;
        let width = TILE.min(outputs - from);
        let mut start = [0.0; TILE];
        start[..width].copy_from_slice(&bias[from..from + width]);
        let (weights, _) = weights.as_chunks::<TILE>();
        for row in (0..rows).step_by(ROWS) {
            let x = &x[row * inputs..];
            let y = y[row * outputs..].chunks_exact_mut(outputs).map(|y| &mut y[from..from + width]);
            match rows - row {
                1 | 2 => {}
                3 => tile_kernel::<FUSED, 3>(weights, &start, inputs, x, y),
                _ => tile_kernel::<FUSED, ROWS>(weights, &start, inputs, x, y),
            }
        }
    }
    if rows - whole < 3 {
        let rows =
            x[whole * inputs..].chunks_exact(inputs).zip(y[whole * outputs..].chunks_exact_mut(outputs));
        // No closure, which would not be compiled for these instructions.
        for (x, y) in rows {
            lone_row::<FUSED>(weights, bias, x, y);
        }
    }
}

/// One tile of outputs for `N` rows.
#[inline(always)]
fn tile_kernel<'y, const FUSED: bool, const N: usize>(
    weights: &[[f32; TILE]],
    start: &[f32; TILE],
    inputs: usize,
    x: &[f32],
    y: impl Iterator<Item = &'y mut [f32]>,
) {
    let rows: [&[f32]; N] = std::array::from_fn(|row| &x[row * inputs..(row + 1) * inputs]);
    let mut sums = [*start; N];
    for (input, weights) in weights[..inputs].iter().enumerate() {
        for (row, sums) in rows.iter().zip(&mut sums) {
            let x = row[input];
            for (sum, weight) in sums.iter_mut().zip(weights) {
                *sum = multiply_add::<FUSED>(x, *weight, *sum);
            }
        }
    }
    for (sums, y) in sums.iter().zip(y) {
        y.copy_from_slice(&sums[..y.len()]);
    }
}

/// All outputs of one row.
#[inline(always)]
fn lone_row<const FUSED: bool>(weights: &[f32], bias: &[f32], x: &[f32], y: &mut [f32]) {
    let tile = x.len() * TILE;
    let parts = weights.chunks(tile * ASIDE).zip(bias.chunks(TILE * ASIDE)).zip(y.chunks_mut(TILE * ASIDE));
    for ((weights, bias), y) in parts {
        match weights.len() / tile {
            1 => row_kernel::<FUSED, 1>(weights, bias, x, y),
            2 => row_kernel::<FUSED, 2>(weights, bias, x, y),
            3 => row_kernel::<FUSED, 3>(weights, bias, x, y),
            _ => row_kernel::<FUSED, ASIDE>(weights, bias, x, y),
        }
    }
}

/// `T` tiles of outputs for one row: with one alone, each addition would wait for the one before.
#[inline(always)]
fn row_kernel<const FUSED: bool, const T: usize>(weights: &[f32], bias: &[f32], x: &[f32], y: &mut [f32]) {
    let (weights, _) = weights.as_chunks::<TILE>();
    let inputs = x.len();
    let tiles: [&[[f32; TILE]]; T] = std::array::from_fn(|tile| &weights[tile * inputs..][..inputs]);
    let mut start = [[0.0; TILE]; T];
    start.as_flattened_mut()[..bias.len()].copy_from_slice(bias);
    // An array of its own, whose address nobody takes, stays in registers.
    let mut sums = start;
    for (input, x) in x.iter().enumerate() {
        for (tile, sums) in tiles.iter().zip(&mut sums) {
            for (sum, weight) in sums.iter_mut().zip(&tile[input]) {
                *sum = multiply_add::<FUSED>(*x, *weight, *sum);
            }
        }
    }
    let sums = sums;
    y.copy_from_slice(&sums.as_flattened()[..y.len()]);
}

#[cfg(test)]
mod tests {
    use mlops_core::Seed;
    use rand::RngExt;

    use super::*;

    #[test]
    fn any_size_agrees_with_the_definition_and_with_itself_in_any_batch() {
        let mut rng = Seed::new(1).rng();
        for (inputs, outputs) in
            [(0, 1), (1, 1), (5, 3), (31, 7), (64, 8), (33, 32), (100, 33), (7, 65), (0, 9)]
        {
            let mut random = |n: usize| (0..n).map(|_| rng.random::<f32>() - 0.5).collect::<Vec<_>>();
            let (weights, bias, x) = (random(inputs * outputs), random(outputs), random(9 * inputs));
            let dense = Dense::new(inputs, outputs, &weights, bias.clone());
            let mut y = vec![f32::NAN; 9 * outputs];
            dense.run(&x, &mut y);
            for row in 0..9 {
                for output in 0..outputs {
                    let terms = (0..inputs)
                        .map(|k| f64::from(x[row * inputs + k]) * f64::from(weights[k * outputs + output]));
                    let want = f64::from(bias[output]) + terms.sum::<f64>();
                    let got = f64::from(y[row * outputs + output]);
                    assert!((got - want).abs() < 1e-5, "{inputs}x{outputs}: {got} {want}");
                }
            }
            for rows in 1..9 {
                let mut part = vec![f32::NAN; rows * outputs];
                dense.run(&x[..rows * inputs], &mut part);
                assert_eq!(part, y[..rows * outputs], "{inputs}x{outputs}, {rows} rows");
            }
        }
    }
}
