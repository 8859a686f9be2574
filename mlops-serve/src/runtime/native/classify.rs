//! How the classifiers of `ai.onnx.ml` turn scores into probabilities and a winner: ONNX Runtime's rules, which
//! the standard leaves open where a binary model has one score.

use super::link::Activation;

/// What follows the scores.
#[derive(Clone, Debug)]
pub(super) struct Classify {
    /// Elements of a row of probabilities.
    pub(super) classes: usize,
    pub(super) transform: Activation,
    pub(super) rule: Rule,
}

/// How scores become classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// One score a class: the largest wins.
    Largest,
    /// Two scores: the second class wins if its score is above zero.
    Second,
    /// One score for the second class, a probability: it wins above one half.
    Probability,
    /// One score for the second class, of any sign: it wins above zero.
    Margin,
}

impl Classify {
    #[inline]
    pub(super) fn probabilities(&self, scores: &[f32], y: &mut [f32]) {
        match (self.rule, scores, &mut *y) {
            (Rule::Largest | Rule::Second, scores, y) => {
                y.copy_from_slice(scores);
                self.transform.apply(y);
            }
            (Rule::Probability, [score], [no, yes]) => {
                *yes = *score;
                *no = 1.0 - *score;
            }
            (Rule::Margin, [score], [no, yes]) => {
                *yes = *score;
                *no = -*score;
                self.transform.apply(y);
            }
            // The compiler of the plan builds no other.
            _ => y.fill(f32::NAN),
        }
    }

    #[inline]
    pub(super) fn winner(&self, scores: &[f32]) -> i64 {
        match self.rule {
            Rule::Largest => {
                let mut best = 0;
                for (place, score) in scores.iter().enumerate() {
                    if *score > scores[best] {
                        best = place;
                    }
                }
                best as i64
            }
            Rule::Second => i64::from(scores.get(1).is_some_and(|score| *score > 0.0)),
            Rule::Probability => i64::from(scores.first().is_some_and(|score| *score > 0.5)),
            Rule::Margin => i64::from(scores.first().is_some_and(|score| *score > 0.0)),
        }
    }
}
