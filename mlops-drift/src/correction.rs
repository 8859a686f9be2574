//! p-values of many columns at once.

use mlops_core::experiment::correction;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

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
    /// assert_eq!(Correction::Holm.adjust(&p)?, [0.03, 0.06, 0.06]);
    /// assert_eq!(Correction::Bonferroni.adjust(&p)?, [0.03, 0.12, 0.09]);
    /// # Ok::<(), mlops_drift::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Invalid` if a number lies outside of 0..=1.
    pub fn adjust(self, p_values: &[f64]) -> Result<Vec<f64>> {
        if let Some(p) = p_values.iter().find(|p| **p < 0.0 || **p > 1.0) {
            return Err(Error::invalid(format!("{p} is no p-value: want 0 to 1")));
        }
        let tested: Vec<usize> = (0..p_values.len()).filter(|index| !p_values[*index].is_nan()).collect();
        let values: Vec<f64> = tested.iter().map(|index| p_values[*index]).collect();
        let corrected = match self {
            Self::None => Ok(values),
            Self::Bonferroni => correction::bonferroni(&values),
            Self::Holm => correction::holm(&values),
            Self::BenjaminiHochberg => correction::benjamini_hochberg(&values),
            Self::BenjaminiYekutieli => correction::benjamini_yekutieli(&values),
        }?;
        let mut adjusted = vec![f64::NAN; p_values.len()];
        tested.into_iter().zip(corrected).for_each(|(index, p_value)| adjusted[index] = p_value);
        Ok(adjusted)
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
            for (got, want) in correction.adjust(&p).unwrap().into_iter().zip(want) {
                assert!((got - want).abs() < 1e-15, "{correction:?}: {got} {want}");
            }
        }
    }

    #[test]
    fn nan_is_no_hypothesis() {
        let adjusted = Correction::Bonferroni.adjust(&[f64::NAN, 0.2]).unwrap();
        assert!(adjusted[0].is_nan());
        assert_eq!(adjusted[1], 0.2);
        assert!(Correction::Holm.adjust(&[]).unwrap().is_empty());
        assert!(Correction::Holm.adjust(&[-0.1]).is_err());
        assert!(Correction::None.adjust(&[0.5, 1.5]).is_err());
    }
}
