//! p-values of many columns at once.

use serde::{Deserialize, Serialize};

/// What a bound on false alarms means when many hypotheses are tested together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Correction {
    /// Each p-value as it is: the more columns, the more false alarms.
    None,
    /// p times the number of hypotheses (C. Bonferroni, 1936): bounds the chance of any false alarm.
    Bonferroni,
    /// Step-down Bonferroni (S. Holm, 1979): the same bound, never less powerful.
    #[default]
    Holm,
    /// Step-up (Y. Benjamini, Y. Hochberg, 1995): bounds the expected share of false alarms among all
    /// alarms, for independent or positively dependent columns.
    BenjaminiHochberg,
    /// The same under any dependence (Y. Benjamini, D. Yekutieli, 2001).
    BenjaminiYekutieli,
}

impl Correction {
    /// Adjusted p-values, in the order given: reject where they are at most alpha.
    ///
    /// NaN stays NaN and does not count as a hypothesis. Cost: O(k log k).
    ///
    /// ```
    /// use mlops_drift::Correction;
    ///
    /// let p = [0.01, 0.04, 0.03];
    /// assert_eq!(Correction::Holm.adjust(&p), [0.03, 0.06, 0.06]);
    /// assert_eq!(Correction::Bonferroni.adjust(&p), [0.03, 0.12, 0.09]);
    /// ```
    pub fn adjust(self, p_values: &[f64]) -> Vec<f64> {
        let mut order: Vec<usize> = (0..p_values.len()).filter(|index| !p_values[*index].is_nan()).collect();
        order.sort_by(|a, b| p_values[*a].total_cmp(&p_values[*b]));
        let count = order.len() as f64;
        let mut adjusted = vec![f64::NAN; p_values.len()];
        let harmonic: f64 = (1..=order.len()).map(|rank| 1.0 / rank as f64).sum();
        let factor = |rank: usize| match self {
            Self::None => 1.0,
            Self::Bonferroni => count,
            Self::Holm => count - rank as f64,
            Self::BenjaminiHochberg => count / (rank + 1) as f64,
            Self::BenjaminiYekutieli => harmonic * count / (rank + 1) as f64,
        };
        let scaled = |rank: usize| (p_values[order[rank]] * factor(rank)).min(1.0);
        match self {
            Self::BenjaminiHochberg | Self::BenjaminiYekutieli => {
                let mut least = 1.0f64;
                for rank in (0..order.len()).rev() {
                    least = least.min(scaled(rank));
                    adjusted[order[rank]] = least;
                }
            }
            _ => {
                let mut most = 0.0f64;
                for rank in 0..order.len() {
                    most = most.max(scaled(rank));
                    adjusted[order[rank]] = most;
                }
            }
        }
        adjusted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `p.adjust` of R 4.5 on these five values.
    #[test]
    fn as_r_adjusts() {
        let p = [0.01, 0.02, 0.03, 0.04, 0.05];
        let cases = [
            (Correction::None, [0.01, 0.02, 0.03, 0.04, 0.05]),
            (Correction::Bonferroni, [0.05, 0.1, 0.15, 0.2, 0.25]),
            (Correction::Holm, [0.05, 0.08, 0.09, 0.09, 0.09]),
            (Correction::BenjaminiHochberg, [0.05; 5]),
            (Correction::BenjaminiYekutieli, [0.114_166_666_666_666_67; 5]),
        ];
        for (correction, want) in cases {
            for (got, want) in correction.adjust(&p).into_iter().zip(want) {
                assert!((got - want).abs() < 1e-15, "{correction:?}: {got} {want}");
            }
        }
    }

    #[test]
    fn nan_is_no_hypothesis() {
        let adjusted = Correction::Bonferroni.adjust(&[f64::NAN, 0.2]);
        assert!(adjusted[0].is_nan());
        assert_eq!(adjusted[1], 0.2);
        assert!(Correction::Holm.adjust(&[]).is_empty());
    }
}
