//! Numbers in messages.

use std::fmt;

/// A number as people read it: four digits that count, and no zeros behind them. Of numbers from 10 000 to 10^15 all
/// digits before the point; with an exponent from there on, and below 10^-6.
///
/// ```
/// use mlops_core::Rounded;
///
/// assert_eq!(Rounded(1.0 / 3.0).to_string(), "0.3333");
/// assert_eq!(Rounded(0.5).to_string(), "0.5");
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rounded(pub f64);

impl fmt::Display for Rounded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.0;
        let magnitude = value.abs().log10().floor();
        // Zero, NaN and infinities, and what more digits than these would not be read for.
        if !(-6.0..15.0).contains(&magnitude) {
            return if value == 0.0 || !value.is_finite() {
                write!(f, "{value}")
            } else {
                write!(f, "{value:.3e}")
            };
        }
        let digits = (3.0 - magnitude).max(0.0) as usize;
        let text = format!("{value:.digits$}");
        f.write_str(if digits > 0 { text.trim_end_matches('0').trim_end_matches('.') } else { &text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_digits_count() {
        for (value, want) in [
            (1.0 / 3.0, "0.3333"),
            (0.5, "0.5"),
            (1.0, "1"),
            (100.0, "100"),
            (-12.345_678, "-12.35"),
            (123_456.7, "123457"),
            (8.016_321e-5, "0.00008016"),
            (0.99999, "1"),
            (1e-9, "1.000e-9"),
            (0.0, "0"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(Rounded(value).to_string(), want);
        }
    }
}
