//! What one update does to the numbers of one stream, without branches.

use std::fmt::Debug;

use serde::Serialize;

use super::lanes::{Kernel, Lanes, Step, UNFINISHED};
use crate::Result;
use crate::detector::ddm::{Errors, Limits, sum_of_rate};
use crate::detector::hddm_a::HddmABounds;
use crate::detector::{
    Cusum, CusumSettings, Ddm, DdmSettings, Decrease, Detector, Direction, Ecdd, EcddSettings, Gma,
    GmaSettings, HddmA, HddmASettings, PageHinkley, PageHinkleyOrigin, PageHinkleySettings,
};

/// A detector whose state is a few numbers, so that a [`DetectorBank`](super::DetectorBank) can keep it in
/// columns: [`Ddm`], [`PageHinkley`], [`Cusum`], [`Gma`], [`Ecdd`] and [`HddmA`].
pub trait Banked: Detector + Sealed {
    /// The settings of the detector.
    type Settings: Clone + Debug + PartialEq + Serialize;
}

/// What the bank needs of a detector.
pub trait Sealed: Sized {
    type Kernel: Kernel + Clone + Debug + PartialEq;
    const NAME: &'static str;
    /// What is compared with its limit.
    const STATISTIC: &'static str;
    /// The least and the largest value that is taken.
    const DOMAIN: (f64, f64);

    /// A single detector, which knows its domain, and the kernel.
    fn prepare(settings: &<Self as Banked>::Settings) -> Result<(Self, Self::Kernel)>
    where
        Self: Banked;
}

const RATES: (f64, f64) = (0.0, 1.0);
const NUMBERS: (f64, f64) = (f64::MIN, f64::MAX);

macro_rules! banked {
    ($detector:ident, $settings:ident, $kernel:ident, $columns:literal, $name:literal, $domain:ident, $statistic:literal) => {
        impl Banked for $detector {
            type Settings = $settings;
        }

        impl Sealed for $detector {
            type Kernel = Lanes<$kernel, $columns>;
            const NAME: &'static str = $name;
            const STATISTIC: &'static str = $statistic;
            const DOMAIN: (f64, f64) = $domain;

            fn prepare(settings: &$settings) -> Result<(Self, Self::Kernel)> {
                Ok((Self::new(settings.clone())?, Lanes($kernel::new(settings))))
            }
        }
    };
}

banked!(Ddm, DdmSettings, DdmKernel, 5, "ddm", RATES, "error rate plus its standard deviation");
banked!(
    PageHinkley,
    PageHinkleySettings,
    PageHinkleyKernel,
    7,
    "page_hinkley",
    NUMBERS,
    "distance of the sum of deviations from its extreme"
);
banked!(Cusum, CusumSettings, CusumKernel, 3, "cusum", NUMBERS, "cumulative sum of deviations");
banked!(Gma, GmaSettings, GmaKernel, 3, "gma", NUMBERS, "geometric moving average of deviations");
banked!(Ecdd, EcddSettings, EcddKernel, 4, "ecdd", RATES, "weighted error rate");
banked!(HddmA, HddmASettings, HddmAKernel, 9, "hddm_a", RATES, "change of the mean");

#[derive(Clone, Debug, PartialEq)]
pub struct DdmKernel {
    warm_up: f64,
    first_minimum: f64,
    warning: f64,
    drift: f64,
}

impl DdmKernel {
    fn new(settings: &DdmSettings) -> Self {
        let DdmSettings { warm_up, warning, drift, early_minimum } = *settings;
        let warm_up = f64::from(warm_up);
        Self { warm_up, first_minimum: warm_up - f64::from(u8::from(early_minimum)), warning, drift }
    }
}

impl DdmKernel {
    #[inline(always)]
    fn judge(&self, [count, sum, _, warning, drift]: [f64; 5]) -> f64 {
        let errors = Errors { count, sum };
        level(errors.above(warning), (count > self.warm_up) & errors.above(drift))
    }
}

impl Step<5> for DdmKernel {
    fn start(&self) -> [f64; 5] {
        let Limits { least, warning, drift } = Limits::NONE;
        [0.0, 0.0, least, warning, drift]
    }

    #[inline(always)]
    fn step(&self, [count, sum, least, warning, drift]: [f64; 5], value: f64) -> ([f64; 5], f64) {
        let errors = Errors { count, sum }.and(value);
        let row = [errors.count, errors.sum, least, warning, drift];
        let lower = (errors.count > self.first_minimum) & errors.below(least);
        (row, if lower { UNFINISHED } else { self.judge(row) })
    }

    /// With the limits of a new least sum.
    fn finish(&self, [count, sum, ..]: [f64; 5]) -> ([f64; 5], f64) {
        let Limits { least, warning, drift } = Limits::of(Errors { count, sum }, self.warning, self.drift);
        let row = [count, sum, least, warning, drift];
        (row, self.judge(row))
    }

    fn reason(&self, [count, sum, _, warning, drift]: [f64; 5], is_drift: bool) -> (f64, f64) {
        let errors = Errors { count, sum };
        (errors.rate() + errors.deviation(), if is_drift { drift } else { warning })
    }

    /// Then rate and deviation where their sum was least.
    fn upgrade(&self, row: &[f64]) -> Option<[f64; 5]> {
        let [count, rate, least_rate, least_deviation] = *row else { return None };
        let Limits { least, warning, drift } =
            Limits::new(least_rate, least_deviation, self.warning, self.drift);
        Some([count, sum_of_rate(count, rate), least, warning, drift])
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct PageHinkleyKernel {
    warm_up: f64,
    alpha: f64,
    delta: f64,
    threshold: f64,
    standardised: bool,
    /// Whether the extremes move, and whether rises and falls count.
    moves: bool,
    rises: bool,
    falls: bool,
    start: [f64; 7],
}

impl PageHinkleyKernel {
    fn new(settings: &PageHinkleySettings) -> Self {
        let PageHinkleySettings { warm_up, delta, threshold, alpha, direction, standardised, origin } =
            *settings;
        let (lowest, highest) = origin.extremes();
        Self {
            warm_up: f64::from(warm_up),
            alpha,
            delta,
            threshold,
            standardised,
            moves: origin != PageHinkleyOrigin::Zero,
            rises: direction != Direction::Down,
            falls: direction != Direction::Up,
            start: [0.0, 0.0, 0.0, 0.0, lowest, 0.0, highest],
        }
    }
}

impl Step<7> for PageHinkleyKernel {
    fn start(&self) -> [f64; 7] {
        self.start
    }

    #[inline(always)]
    fn step(&self, row: [f64; 7], value: f64) -> ([f64; 7], f64) {
        let [count, mean, squares, rising, lowest, falling, highest] = row;
        let count = count + 1.0;
        let before = value - mean;
        let mean = mean + before / count;
        let mut deviation = value - mean;
        let mut squares = squares;
        if self.standardised {
            squares += before * deviation;
            let sigma = (squares / count).sqrt();
            deviation = if sigma > 0.0 { deviation / sigma } else { 0.0 };
        }
        let rising = self.alpha * rising + (deviation - self.delta);
        let falling = self.alpha * falling + (deviation + self.delta);
        let lowest = if self.moves & (rising < lowest) { rising } else { lowest };
        let highest = if self.moves & (falling > highest) { falling } else { highest };
        let up = self.rises & (rising - lowest > self.threshold);
        let down = self.falls & (highest - falling > self.threshold);
        let drifts = (count >= self.warm_up) & (up | down);
        ([count, mean, squares, rising, lowest, falling, highest], level(false, drifts))
    }

    fn reason(&self, [_, _, _, rising, lowest, falling, highest]: [f64; 7], _: bool) -> (f64, f64) {
        let (up, down) = (rising - lowest, highest - falling);
        let value = match (self.rises, self.falls) {
            (true, false) => up,
            (false, true) => down,
            _ => up.max(down),
        };
        (value, self.threshold)
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct CusumKernel {
    warm_up: f64,
    delta: f64,
    threshold: f64,
}

impl CusumKernel {
    fn new(settings: &CusumSettings) -> Self {
        let CusumSettings { warm_up, delta, threshold } = *settings;
        Self { warm_up: f64::from(warm_up), delta, threshold }
    }
}

impl Step<3> for CusumKernel {
    fn start(&self) -> [f64; 3] {
        [0.0; 3]
    }

    #[inline(always)]
    fn step(&self, [count, mean, sum]: [f64; 3], value: f64) -> ([f64; 3], f64) {
        let count = count + 1.0;
        let mean = mean + (value - mean) / count;
        let sum = (sum + (value - mean) - self.delta).max(0.0);
        ([count, mean, sum], level(false, (count >= self.warm_up) & (sum > self.threshold)))
    }

    fn reason(&self, [.., sum]: [f64; 3], _: bool) -> (f64, f64) {
        (sum, self.threshold)
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct GmaKernel {
    warm_up: f64,
    alpha: f64,
    threshold: f64,
}

impl GmaKernel {
    fn new(settings: &GmaSettings) -> Self {
        let GmaSettings { warm_up, alpha, threshold } = *settings;
        Self { warm_up: f64::from(warm_up), alpha, threshold }
    }
}

impl Step<3> for GmaKernel {
    fn start(&self) -> [f64; 3] {
        [0.0; 3]
    }

    #[inline(always)]
    fn step(&self, [count, mean, sum]: [f64; 3], value: f64) -> ([f64; 3], f64) {
        let count = count + 1.0;
        let mean = mean + (value - mean) / count;
        let sum = self.alpha * sum + (1.0 - self.alpha) * (value - mean);
        ([count, mean, sum], level(false, (count >= self.warm_up) & (sum > self.threshold)))
    }

    fn reason(&self, [.., sum]: [f64; 3], _: bool) -> (f64, f64) {
        (sum, self.threshold)
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct EcddKernel {
    settings: EcddSettings,
    warm_up: f64,
}

impl EcddKernel {
    fn new(settings: &EcddSettings) -> Self {
        Self { settings: settings.clone(), warm_up: f64::from(settings.warm_up) }
    }
}

impl Step<4> for EcddKernel {
    fn start(&self) -> [f64; 4] {
        [0.0, 0.0, 0.0, 1.0]
    }

    #[inline(always)]
    fn step(&self, [count, sum, average, decay]: [f64; 4], value: f64) -> ([f64; 4], f64) {
        let lambda = self.settings.lambda;
        let (count, sum) = (count + 1.0, sum + value);
        let average = average + lambda * (value - average);
        let decay = decay * ((1.0 - lambda) * (1.0 - lambda));
        let p = sum / count;
        let reach = self.settings.reach(p, decay);
        let drifts = (count > self.warm_up) & (average > p + reach);
        let warns = (count >= self.warm_up) & (average > p + 0.5 * reach);
        ([count, sum, average, decay], level(warns, drifts))
    }

    fn reason(&self, [count, sum, average, decay]: [f64; 4], is_drift: bool) -> (f64, f64) {
        let p = sum / count;
        let reach = self.settings.reach(p, decay);
        (average, p + if is_drift { reach } else { 0.5 * reach })
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct HddmAKernel {
    bounds: HddmABounds,
    decrease: Decrease,
}

impl HddmAKernel {
    fn new(settings: &HddmASettings) -> Self {
        Self { bounds: HddmABounds::new(settings), decrease: settings.decrease }
    }

    /// What a change since a cut after `cut` of `count` values means.
    #[inline(always)]
    fn judge(&self, count: f64, cut: f64, change: f64) -> f64 {
        let (drift, warning) = self.bounds.limits(count, cut);
        let counts = (cut != count) & (change > 0.0);
        level(counts & (change >= warning), counts & (change >= drift))
    }
}

impl Step<9> for HddmAKernel {
    fn start(&self) -> [f64; 9] {
        [0.0; 9]
    }

    #[inline(always)]
    fn step(&self, row: [f64; 9], value: f64) -> ([f64; 9], f64) {
        let [count, mean, _, low_count, low, low_bound, high_count, high, high_bound] = row;
        let count = count + 1.0;
        let mean = mean + (value - mean) / count;
        let bound = self.bounds.bound(count);
        let lower = (low_count == 0.0) | (low + low_bound >= mean + bound);
        let higher = (high_count == 0.0) | (high - high_bound <= mean - bound);
        let pick = |take: bool, new: f64, old: f64| if take { new } else { old };
        let low_count = pick(lower, count, low_count);
        let (low, low_bound) = (pick(lower, mean, low), pick(lower, bound, low_bound));
        let high_count = pick(higher, count, high_count);
        let (high, high_bound) = (pick(higher, mean, high), pick(higher, bound, high_bound));
        let rise = self.judge(count, low_count, mean - low);
        let new = [count, mean, bound, low_count, low, low_bound, high_count, high, high_bound];
        match self.decrease {
            Decrease::Ignore => (new, rise),
            Decrease::Report => (new, rise.max(self.judge(count, high_count, high - mean))),
            Decrease::Restart => {
                let over = (self.judge(count, high_count, high - mean) == 2.0) & (rise != 2.0);
                (new.map(|number| pick(over, 0.0, number)), rise)
            }
        }
    }

    fn reason(&self, row: [f64; 9], is_drift: bool) -> (f64, f64) {
        let [count, mean, _, low_count, low, _, high_count, high, _] = row;
        let (rise, fall) = (mean - low, mean - high);
        let (change, cut) = match self.decrease {
            Decrease::Report if self.judge(count, high_count, -fall) > self.judge(count, low_count, rise) => {
                (fall, high_count)
            }
            _ => (rise, low_count),
        };
        // A restart on a falling mean keeps a warning for one update, without the numbers behind it.
        let (drift, warning) = if cut > 0.0 { self.bounds.limits(count, cut) } else { (0.0, 0.0) };
        (change, if is_drift { drift } else { warning }.copysign(change))
    }
}

#[inline(always)]
fn level(warns: bool, drifts: bool) -> f64 {
    if drifts {
        2.0
    } else if warns {
        1.0
    } else {
        0.0
    }
}
