//! A control chart of the exponentially weighted error rate.

use serde::{Deserialize, Serialize};

use super::{Detector, Reason, Signal, positive, probability, rate};
use crate::Result;
use crate::version::versioned;

/// Settings of [`Ecdd`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EcddSettings {
    /// Values before the first warning; a drift needs one more. Default `29`.
    pub warm_up: u32,
    /// The weight of the newest value, in 0..1. Default `0.2`.
    pub lambda: f64,
    /// Scales the limit of the paper's polynomial, which was fitted to one false alarm in 400 updates. Default `1.0`.
    pub limit_scale: f64,
}

impl Default for EcddSettings {
    fn default() -> Self {
        Self { warm_up: 29, lambda: 0.2, limit_scale: 1.0 }
    }
}

impl EcddSettings {
    /// What MOA computes, update by update; river has no ECDD.
    pub fn moa() -> Self {
        Self::default()
    }

    /// How far above p the average may go: L s.
    #[inline(always)]
    pub(super) fn reach(&self, p: f64, decay: f64) -> f64 {
        let lambda = self.lambda;
        let deviation = (p * (1.0 - p) * lambda * (1.0 - decay) / (2.0 - lambda)).sqrt();
        let square = p * p;
        let polynomial = 3.97 - 6.56 * p + p * square * (48.73 + square * (848.18 * square - 330.13));
        self.limit_scale * polynomial * deviation
    }
}

/// ECDD: the exponentially weighted error rate leaves its control limits (G. Ross, N. Adams, D. Tasoulis, D.
/// Hand, Exponentially Weighted Moving Average Charts for Detecting Concept Drift, 2012).
///
/// * Domain: 0 for right, 1 for wrong, or a rate between; finds rises. The polynomial was fitted for rates up to about
///   0.5 and grows without sense beyond.
/// * Fires if z > p + L s, with s^2 = p (1-p) lambda (1 - (1-lambda)^2n) / (2 - lambda) and L the paper's
///   polynomial in p; warns at half of L.
/// * Constant memory and time. After a drift the next update starts over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct Ecdd {
    settings: EcddSettings,
    count: f64,
    sum: f64,
    average: f64,
    /// (1 - lambda)^2n.
    decay: f64,
    limit: f64,
    signal: Signal,
}

impl Ecdd {
    /// A detector that has seen nothing.
    ///
    /// # Errors
    /// `Invalid` if a setting is out of range.
    pub fn new(settings: EcddSettings) -> Result<Self> {
        probability("lambda", settings.lambda)?;
        positive("limit_scale", settings.limit_scale)?;
        Ok(Self {
            settings,
            count: 0.0,
            sum: 0.0,
            average: 0.0,
            decay: 1.0,
            limit: 0.0,
            signal: Signal::Stable,
        })
    }

    /// The settings.
    pub fn settings(&self) -> &EcddSettings {
        &self.settings
    }

    /// Whether this is a state that updates could have led to.
    fn validate(&self) -> Result<()> {
        Self::new(self.settings.clone()).map(drop)
    }
}

versioned!(Ecdd, "detector", Ecdd::validate);

impl Detector for Ecdd {
    fn check(&self, value: f64) -> Result<()> {
        rate(value).map(drop)
    }

    fn update(&mut self, value: f64) -> Result<Signal> {
        let value = rate(value)?;
        if self.signal == Signal::Drift {
            self.reset();
        }
        let lambda = self.settings.lambda;
        self.count += 1.0;
        self.sum += value;
        self.average += lambda * (value - self.average);
        self.decay *= (1.0 - lambda) * (1.0 - lambda);
        let p = self.sum / self.count;
        let reach = self.settings.reach(p, self.decay);
        let warm_up = f64::from(self.settings.warm_up);
        (self.signal, self.limit) = if self.count > warm_up && self.average > p + reach {
            (Signal::Drift, p + reach)
        } else if self.count >= warm_up && self.average > p + 0.5 * reach {
            (Signal::Warning, p + 0.5 * reach)
        } else {
            (Signal::Stable, p + reach)
        };
        Ok(self.signal)
    }

    fn signal(&self) -> Signal {
        self.signal
    }

    fn reason(&self) -> Option<Reason> {
        (self.signal != Signal::Stable).then_some(Reason {
            statistic: "weighted error rate",
            value: self.average,
            limit: self.limit,
        })
    }

    fn reset(&mut self) {
        self.count = 0.0;
        self.sum = 0.0;
        self.average = 0.0;
        self.decay = 1.0;
        self.limit = 0.0;
        self.signal = Signal::Stable;
    }
}
