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

/// Two numbers that people compare: rounded if they still differ then, else with all their digits.
pub(crate) fn told_apart(a: f64, b: f64) -> [String; 2] {
    let rounded = [a, b].map(|number| Rounded(number).to_string());
    if a == b || rounded[0] != rounded[1] { rounded } else { [exact(a), exact(b)] }
}

/// The fewest digits that give the number back; with an exponent where it would have many zeros.
fn exact(value: f64) -> String {
    if value == 0.0 || (1e-6..1e15).contains(&value.abs()) { value.to_string() } else { format!("{value:e}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_differ_never_look_the_same() {
        for (a, b, want) in [
            (0.49996, 0.5, ["0.49996", "0.5"]),
            (0.12, 0.5, ["0.12", "0.5"]),
            (0.5, 0.5, ["0.5", "0.5"]),
            (1e-9, 1.00001e-9, ["1e-9", "1.00001e-9"]),
            (1e300, 1.00001e300, ["1e300", "1.00001e300"]),
            (0.3, 0.1 + 0.2, ["0.3", "0.30000000000000004"]),
            (f64::NAN, f64::NAN, ["NaN", "NaN"]),
        ] {
            assert_eq!(told_apart(a, b), want);
        }
    }

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
