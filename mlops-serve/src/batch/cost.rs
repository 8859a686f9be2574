//! What a call costs, learned while it is called.

/// The time of a call of `b` rows as `a + c b`, fitted by least squares with exponential forgetting.
///
/// Every observation multiplies the weight of the older ones by 0.99, so that about the last hundred count.
/// Durations above eight times the prediction (a page fault, a preemption) count as eight times it. Both
/// coefficients are at least 0. Without observations the cost is unknown; with a single batch size so far,
/// all of it is put down to the rows. Constant time and memory.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CostCurve {
    weight: f64,
    rows: f64,
    ns: f64,
    rows_squared: f64,
    rows_ns: f64,
}

const FORGET: f64 = 0.99;
const OUTLIER: f64 = 8.0;

impl CostCurve {
    pub(crate) fn observe(&mut self, rows: usize, ns: u64) {
        let (rows, mut ns) = (rows as f64, ns as f64);
        // A few observations first, or the first outlier would be the measure of all.
        if self.weight > 8.0 {
            ns = ns.min(OUTLIER * self.predict_ns(rows).max(1.0));
        }
        for (sum, value) in [
            (&mut self.weight, 1.0),
            (&mut self.rows, rows),
            (&mut self.ns, ns),
            (&mut self.rows_squared, rows * rows),
            (&mut self.rows_ns, rows * ns),
        ] {
            *sum = FORGET * *sum + value;
        }
    }

    /// Nanoseconds that a call of this many rows will take; 0 while nothing is known.
    pub(crate) fn predict_ns(&self, rows: f64) -> f64 {
        let (a, c) = self.coefficients();
        a + c * rows
    }

    /// `a` in nanoseconds and `c` in nanoseconds a row.
    pub(crate) fn coefficients(&self) -> (f64, f64) {
        if self.weight == 0.0 {
            return (0.0, 0.0);
        }
        let (rows, ns) = (self.rows / self.weight, self.ns / self.weight);
        let variance = self.rows_squared / self.weight - rows * rows;
        let through_zero = (0.0, ns / rows);
        if variance <= 1e-9 * rows * rows {
            return through_zero;
        }
        let c = (self.rows_ns / self.weight - rows * ns) / variance;
        match ns - c * rows {
            a if c >= 0.0 && a >= 0.0 => (a, c),
            _ if c < 0.0 => (ns, 0.0),
            _ => through_zero,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_and_followed_when_it_moves() {
        let mut curve = CostCurve::default();
        assert_eq!(curve.predict_ns(5.0), 0.0);
        curve.observe(4, 4000);
        assert_eq!(curve.predict_ns(1.0), 1000.0);
        for (a, c) in [(5700, 315), (2000, 900)] {
            for step in 0..2000_u64 {
                let rows = 1 + step % 16;
                curve.observe(rows as usize, a + c * rows);
            }
            let (found_a, found_c) = curve.coefficients();
            assert!(
                (found_a - a as f64).abs() < 1.0 && (found_c - c as f64).abs() < 0.1,
                "{found_a} {found_c}"
            );
        }
    }

    #[test]
    fn an_outlier_moves_it_little_and_nonsense_stays_non_negative() {
        let mut curve = CostCurve::default();
        (0..100).for_each(|step| curve.observe(1 + step % 4, 10_000));
        curve.observe(1, u64::MAX);
        assert!(curve.predict_ns(1.0) < 30_000.0, "{}", curve.predict_ns(1.0));
        (0..100).for_each(|step| curve.observe(1 + step, 1000 / (1 + step as u64)));
        let (a, c) = curve.coefficients();
        assert!(a >= 0.0 && c >= 0.0 && (a + c).is_finite());
    }
}
