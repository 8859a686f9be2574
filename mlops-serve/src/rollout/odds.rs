//! An exact, always-valid test that the odds of an event are no more than they should be.

/// The factors by which the odds may be too high that the mixture looks for, each with the same weight.
const FACTORS_ABOVE: [f64; 10] = [1.02, 1.05, 1.1, 1.2, 1.5, 2.0, 4.0, 8.0, 32.0, 128.0];

/// How strong is the evidence that events are more frequent than `null` allows?
///
/// Given batches `(null, hits, trials)`: of `trials` independent trials, `hits` showed the event, whose
/// probability was at most `null` if nothing is wrong. The answer is the logarithm of an e-value: under the
/// null its expectation is at most 1 whenever it is looked at, so that it ever exceeds `1 / alpha` with
/// probability at most `alpha` (Ville 1939), however often one looks, and whatever happens to `null`
/// between trials as long as it does not depend on their outcome.
///
/// The e-value is the mean over odds factors `k` of the likelihood ratios between `k * null / (1 - null)`
/// and `null / (1 - null)`. Exact, not asymptotic: three failures count for what they are. Merging two
/// disjoint records is concatenating their batches.
///
/// Sources: Ramdas, Grünwald, Vovk and Shafer, *Game-theoretic statistics and safe anytime-valid inference*,
/// 2023; Lindon and Malek, *Anytime-valid inference for multinomial count data*, 2022.
pub(super) fn log_e_above(batches: &(impl Iterator<Item = Batch> + Clone)) -> f64 {
    log_mean_exp(FACTORS_ABOVE.iter().map(|factor| log_likelihood_ratio(batches.clone(), *factor)))
}

/// As [`log_e_above`], against an event that is more frequent or less frequent than `null`.
pub(super) fn log_e_either(batches: &(impl Iterator<Item = Batch> + Clone)) -> f64 {
    let factors = FACTORS_ABOVE.iter().flat_map(|factor| [*factor, 1.0 / factor]);
    log_mean_exp(factors.map(|factor| log_likelihood_ratio(batches.clone(), factor)))
}

/// Trials of which each shows the event with probability `null` (at most, or exactly) if nothing is wrong.
#[derive(Clone, Copy, Debug)]
pub(super) struct Batch {
    pub(super) null: f64,
    pub(super) hits: u64,
    pub(super) trials: u64,
}

/// `sum hits * ln(q / p) + misses * ln((1 - q) / (1 - p))`, with `q` the probability at `factor` times the odds of `p`.
fn log_likelihood_ratio(batches: impl Iterator<Item = Batch>, factor: f64) -> f64 {
    let one = |Batch { null, hits, trials }: Batch| {
        if null <= 0.0 || null >= 1.0 {
            return 0.0;
        }
        // q / p = factor / c and (1 - q) / (1 - p) = 1 / c, with c = 1 + p (factor - 1).
        hits as f64 * factor.ln() - trials as f64 * (null * (factor - 1.0)).ln_1p()
    };
    batches.map(one).sum()
}

fn log_mean_exp(values: impl Iterator<Item = f64>) -> f64 {
    let values: Vec<f64> = values.collect();
    let max = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = values.iter().map(|value| (value - max).exp()).sum();
    max + (sum / values.len() as f64).ln()
}

#[cfg(test)]
mod tests {
    use mlops_core::Seed;
    use rand::RngExt;

    use super::*;

    fn above(null: f64, hits: u64, trials: u64) -> f64 {
        log_e_above(&[Batch { null, hits, trials }].into_iter())
    }

    #[test]
    fn equals_the_mean_of_likelihood_ratios() {
        let (null, hits, trials) = (0.2_f64, 7_i32, 20_i32);
        let ratio = |factor: f64| {
            let q = factor * null / (1.0 - null + factor * null);
            (q / null).powi(hits) * ((1.0 - q) / (1.0 - null)).powi(trials - hits)
        };
        let mean = FACTORS_ABOVE.map(ratio).iter().sum::<f64>() / FACTORS_ABOVE.len() as f64;
        assert!((above(0.2, 7, 20) - mean.ln()).abs() < 1e-12);
    }

    #[test]
    fn no_trials_and_impossible_nulls_are_no_evidence() {
        assert!(above(0.1, 0, 0).abs() < 1e-12);
        assert!(above(0.0, 5, 5).abs() < 1e-12);
        assert!(above(1.0, 5, 5).abs() < 1e-12);
        assert!(log_e_either(&std::iter::empty()).abs() < 1e-12);
    }

    #[test]
    fn huge_counts_stay_finite() {
        assert!(above(0.001, 1 << 60, 1 << 61).is_finite());
        assert!(above(0.5, 0, u64::MAX) < 0.0);
    }

    #[test]
    fn two_failures_of_two_at_one_in_a_thousand_convince() {
        assert!(above(0.001, 2, 2) > 20_f64.ln());
        assert!(above(0.001, 1, 1000) < 20_f64.ln());
    }

    /// Looked at after every trial, at most `alpha` of the null's paths may ever cross `1 / alpha`.
    #[test]
    fn false_alarms_keep_to_alpha_under_constant_looking() {
        let mut rng = Seed::new(7).rng();
        let (paths, alpha) = (1000, 0.05_f64);
        let mut crossed = [0; 2];
        for _ in 0..paths {
            let mut batches =
                [Batch { null: 0.05, hits: 0, trials: 0 }, Batch { null: 0.3, hits: 0, trials: 0 }];
            let mut crosses = [false; 2];
            for trial in 0..200 {
                let batch = &mut batches[usize::from(trial >= 100)];
                batch.trials += 1;
                batch.hits += u64::from(rng.random_bool(batch.null));
                crosses[0] |= log_e_above(&batches.into_iter()) >= -alpha.ln();
                crosses[1] |= log_e_either(&batches.into_iter()) >= -alpha.ln();
            }
            (0..2).for_each(|test| crossed[test] += i32::from(crosses[test]));
        }
        // Up to five standard deviations above 50; well above 0, or the test would have no power at all.
        assert!(crossed.iter().all(|count| (3..=84).contains(count)), "{crossed:?}");
    }
}
