//! What one update does to the numbers of one stream, without branches.

use std::fmt::Debug;

use serde::Serialize;

use super::lanes::{Kernel, Lanes, Step};
use crate::Result;
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
    ($detector:ident, $settings:ident, $kernel:ident, $columns:literal, $name:literal, $domain:ident) => {
        impl Banked for $detector {
            type Settings = $settings;
        }

        impl Sealed for $detector {
            type Kernel = Lanes<$kernel, $columns>;
            const NAME: &'static str = $name;
            const DOMAIN: (f64, f64) = $domain;

            fn prepare(settings: &$settings) -> Result<(Self, Self::Kernel)> {
                Ok((Self::new(settings.clone())?, Lanes($kernel::new(settings))))
            }
        }
    };
}

banked!(Ddm, DdmSettings, DdmKernel, 4, "ddm", RATES);
banked!(PageHinkley, PageHinkleySettings, PageHinkleyKernel, 7, "page_hinkley", NUMBERS);
banked!(Cusum, CusumSettings, CusumKernel, 3, "cusum", NUMBERS);
banked!(Gma, GmaSettings, GmaKernel, 3, "gma", NUMBERS);
banked!(Ecdd, EcddSettings, EcddKernel, 4, "ecdd", RATES);
banked!(HddmA, HddmASettings, HddmAKernel, 9, "hddm_a", RATES);

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

impl Step<4> for DdmKernel {
    fn start(&self) -> [f64; 4] {
        [0.0, 0.0, f64::INFINITY, f64::INFINITY]
    }

    #[inline(always)]
    fn step(&self, [count, rate, least_rate, least_deviation]: [f64; 4], value: f64) -> ([f64; 4], f64) {
        let count = count + 1.0;
        let rate = rate + (value - rate) / count;
        let deviation = (rate * (1.0 - rate) / count).sqrt();
        let sum = rate + deviation;
        let active = count > self.first_minimum;
        let lower = active & (sum <= least_rate + least_deviation);
        let least_rate = if lower { rate } else { least_rate };
        let least_deviation = if lower { deviation } else { least_deviation };
        let warns = active & (sum > least_rate + self.warning * least_deviation);
        let drifts = (count > self.warm_up) & (sum > least_rate + self.drift * least_deviation);
        ([count, rate, least_rate, least_deviation], level(warns, drifts))
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
