//! Functions of one number or one row, applied in place.

/// A function of each element, or of each row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Activation {
    Identity,
    Relu,
    LeakyRelu(f32),
    Tanh,
    /// 1 / (1 + exp(-x)), exact to the last digits over the whole range. ONNX Runtime approximates the
    /// `Sigmoid` operator with an absolute error of up to 1.2e-7, so small probabilities differ.
    Logistic,
    /// The same function as ONNX Runtime computes it in the operators of `ai.onnx.ml`, bit for bit.
    LogisticMl,
    /// exp(x - max) / sum, over rows of this width.
    Softmax(usize),
    /// x / sum of |x|, over rows of this width.
    NormalizeL1(usize),
    /// x / sqrt of the sum of squares, over rows of this width.
    NormalizeL2(usize),
    /// x / max of |x|, over rows of this width.
    NormalizeMax(usize),
}

impl Activation {
    #[inline]
    pub(super) fn apply(self, values: &mut [f32]) {
        match self {
            Self::Identity => {}
            // NaN stays NaN: `max` would hide it.
            Self::Relu => values.iter_mut().for_each(|x| *x = if *x < 0.0 { 0.0 } else { *x }),
            Self::LeakyRelu(slope) => {
                values.iter_mut().filter(|x| **x < 0.0).for_each(|x| *x *= slope);
            }
            Self::Tanh => values.iter_mut().for_each(|x| *x = x.tanh()),
            Self::Logistic => values.iter_mut().for_each(|x| *x = logistic(*x)),
            Self::LogisticMl => values.iter_mut().for_each(|x| *x = logistic_ml(*x)),
            Self::Softmax(width) => values.chunks_exact_mut(width).for_each(softmax),
            Self::NormalizeL1(width) => {
                values.chunks_exact_mut(width).for_each(|row| scale(row, row.iter().map(|x| x.abs()).sum()));
            }
            Self::NormalizeL2(width) => {
                let norm = |row: &[f32]| row.iter().map(|x| x * x).sum::<f32>().sqrt();
                values.chunks_exact_mut(width).for_each(|row| scale(row, norm(row)));
            }
            Self::NormalizeMax(width) => {
                let norm = |row: &[f32]| row.iter().fold(0.0, |max: f32, x| max.max(x.abs()));
                values.chunks_exact_mut(width).for_each(|row| scale(row, norm(row)));
            }
        }
    }
}

#[inline]
pub(super) fn logistic(x: f32) -> f32 {
    // The branch keeps the exponential small, so that neither end overflows nor loses digits.
    let e = (-x.abs()).exp();
    if x < 0.0 { e / (1.0 + e) } else { 1.0 / (1.0 + e) }
}

#[inline]
pub(super) fn logistic_ml(x: f32) -> f32 {
    let v = 1.0 / (1.0 + (-x.abs()).exp());
    if x < 0.0 { 1.0 - v } else { v }
}

fn softmax(row: &mut [f32]) {
    let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    row.iter_mut().for_each(|x| *x = (*x - max).exp());
    scale(row, row.iter().sum());
}

/// A row of zeros stays as it is.
fn scale(row: &mut [f32], norm: f32) {
    if norm != 0.0 {
        row.iter_mut().for_each(|x| *x /= norm);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logistic_is_exact_at_both_ends() {
        for x in [-87.0_f32, -20.0, -1.0, -0.0, 0.5, 20.0, 100.0] {
            let want = 1.0 / (1.0 + (-f64::from(x)).exp());
            let got = f64::from(logistic(x));
            assert!((got - want).abs() <= want * 3e-7, "{x}: {got} {want}");
            assert!((f64::from(logistic_ml(x)) - want).abs() < 1.2e-7);
        }
        assert!(logistic(f32::NAN).is_nan());
    }

    #[test]
    fn rows_of_zeros_stay() {
        let mut row = [0.0; 3];
        Activation::NormalizeL1(3).apply(&mut row);
        assert_eq!(row, [0.0; 3]);
        let mut row = [1000.0, 1000.0];
        Activation::Softmax(2).apply(&mut row);
        assert_eq!(row, [0.5, 0.5]);
    }
}
