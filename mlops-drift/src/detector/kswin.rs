//! Kolmogorov-Smirnov windowing.

use serde::{Deserialize, Serialize};

use super::python::PythonRandom;
use super::{Detector, Reason, Signal, finite, probability};
use crate::random::SplitMix64;
use crate::two_sample::{Alternative, Method, kolmogorov_smirnov_p_value};
use crate::version::readable;
use crate::{Error, Result};
use mlops_core::Seed;

/// Settings of [`Kswin`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KswinSettings {
    /// The p-value at or below which it fires, in 0..1. Default `0.005`.
    pub alpha: f64,
    /// How many values the window holds, up to 65 535. Default `100`.
    pub window: u16,
    /// How many of them are recent, 1 to half of the window. Default `30`.
    pub recent: u16,
    /// A drift also needs a Kolmogorov-Smirnov distance above this. Default `0.1`.
    pub least_distance: f64,
    /// Of the draws from the older values. Default `Seed::new(0)`.
    pub seed: Seed,
    /// river's draws, which are those of Python's `random.Random(seed)`; and, as there, a drift empties the
    /// window instead of keeping the recent values. Default `false`.
    pub river_draws: bool,
}

impl Default for KswinSettings {
    fn default() -> Self {
        Self {
            alpha: 0.005,
            window: 100,
            recent: 30,
            least_distance: 0.1,
            seed: Seed::new(0),
            river_draws: false,
        }
    }
}

impl KswinSettings {
    /// What river 0.26 computes with this seed, update by update.
    pub fn river(seed: u64) -> Self {
        Self { seed: Seed::new(seed), river_draws: true, ..Self::default() }
    }
}

/// KSWIN: are the last values distributed as a random draw of the older ones in the window? (C. Raab, M.
/// Heusinger, F.-M. Schleif, Reactive Soft Prototype Computing for Concept Drift Streams, 2020.)
///
/// * Domain: finite numbers; finds changes of any kind, not of the mean alone.
/// * Exact two-sample p-value, as a bound on the distance that is computed once.
/// * Memory: the window, kept in order of value too, so that an update costs O(window) moves and no sort.
///   After a drift the recent values stay as the start of the new window.
/// * It tests at every update, so `alpha` is not its rate of false alarms: ask for a calibrated one.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct Kswin {
    settings: KswinSettings,
    /// A ring.
    values: Vec<f64>,
    next: usize,
    /// Places in the ring, ascending by value.
    order: Vec<u16>,
    /// The least difference of counts that fires.
    least_gap: u32,
    random: Random,
    /// Whether the place is drawn, by place.
    drawn: Vec<bool>,
    /// Room for the draws to work in.
    pool: Vec<u16>,
    distance: f64,
    signal: Signal,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Random {
    SplitMix(SplitMix64),
    Python(PythonRandom),
}

/// The values from the oldest to the newest.
#[derive(Serialize, Deserialize)]
struct Stored {
    #[serde(default = "crate::version::first")]
    version: u32,
    settings: KswinSettings,
    values: Vec<f64>,
    random: Random,
    distance: f64,
    signal: Signal,
}

impl Kswin {
    /// A detector that has seen nothing.
    ///
    /// # Errors
    /// `Invalid` if a setting is out of range.
    pub fn new(settings: KswinSettings) -> Result<Self> {
        probability("alpha", settings.alpha)?;
        let KswinSettings { window, recent, least_distance, .. } = settings;
        if recent == 0 || u32::from(window) < 2 * u32::from(recent) || !(0.0..1.0).contains(&least_distance) {
            return Err(Error::invalid(format!(
                "recent {recent} of window {window} beyond distance {least_distance} is out of range: \
                 want 1 to half of the window, and 0 to 1"
            )));
        }
        let size = u64::from(recent);
        let fires = |gap: u64| {
            let p = kolmogorov_smirnov_p_value(
                u128::from(gap) * u128::from(size),
                size,
                size,
                Alternative::TwoSided,
                Method::Exact,
            )?;
            Ok::<bool, Error>(p <= settings.alpha && gap as f64 / size as f64 > least_distance)
        };
        // The p-value falls with the gap.
        let (mut low, mut high) = (0, size + 1);
        while low + 1 < high {
            let middle = (low + high) / 2;
            if fires(middle)? {
                high = middle;
            } else {
                low = middle;
            }
        }
        if high > size {
            let least = kolmogorov_smirnov_p_value(
                u128::from(size) * u128::from(size),
                size,
                size,
                Alternative::TwoSided,
                Method::Exact,
            )?;
            return Err(Error::invalid(format!(
                "alpha {} can never be reached: the least p-value of {recent} and {recent} values is {least:.2e}; raise \
                 alpha or recent",
                settings.alpha
            )));
        }
        let room = usize::from(window);
        Ok(Self {
            random: Random::new(&settings),
            values: Vec::with_capacity(room),
            next: 0,
            order: Vec::with_capacity(room),
            least_gap: high as u32,
            drawn: vec![false; room],
            pool: Vec::with_capacity(room),
            distance: 0.0,
            signal: Signal::Stable,
            settings,
        })
    }

    /// The settings.
    pub fn settings(&self) -> &KswinSettings {
        &self.settings
    }

    fn push(&mut self, value: f64) {
        let place = self.next;
        if self.values.len() < usize::from(self.settings.window) {
            self.values.push(value);
        } else {
            let old = self.values[place];
            let values = &self.values;
            let start = self.order.partition_point(|other| values[usize::from(*other)] < old);
            let at = self.order[start..].iter().position(|other| usize::from(*other) == place);
            // The place is in the order, at or after the first of its equals.
            if let Some(offset) = at {
                self.order.remove(start + offset);
            }
            self.values[place] = value;
        }
        self.rank(place);
        self.next = if place + 1 == usize::from(self.settings.window) { 0 } else { place + 1 };
    }

    /// The largest difference of counts between the recent values and a draw from the older ones.
    fn gap(&mut self) -> u32 {
        let (window, recent) = (usize::from(self.settings.window), usize::from(self.settings.recent));
        let older = window - recent;
        self.drawn.fill(false);
        let oldest = self.next;
        let place =
            |index: usize| if oldest + index < window { oldest + index } else { oldest + index - window };
        match &mut self.random {
            Random::SplitMix(random) => {
                self.pool.clear();
                self.pool.extend(0..older as u16);
                for chosen in 0..recent {
                    let other = chosen + random.below((older - chosen) as u64) as usize;
                    self.pool.swap(chosen, other);
                    self.drawn[place(usize::from(self.pool[chosen]))] = true;
                }
            }
            Random::Python(random) => random.sample(older, recent, &mut self.pool, |index| {
                self.drawn[place(index)] = true;
            }),
        }
        let is_recent = |at: usize| {
            let age = if at >= oldest { at - oldest } else { at + window - oldest };
            age >= older
        };
        // Which values were drawn is chance, so that branches on it would be guessed wrong.
        let (mut difference, mut gap) = (0i32, 0);
        let mut last = f64::NAN;
        for at in &self.order {
            let at = usize::from(*at);
            let value = self.values[at];
            gap = if value == last { gap } else { gap.max(difference.unsigned_abs()) };
            last = value;
            difference += i32::from(is_recent(at)) - i32::from(self.drawn[at]);
        }
        gap.max(difference.unsigned_abs())
    }

    /// Puts the value at a place where it belongs among those in order.
    fn rank(&mut self, place: usize) {
        let (values, value) = (&self.values, self.values[place]);
        let at = self.order.partition_point(|other| values[usize::from(*other)] < value);
        self.order.insert(at, place as u16);
    }

    /// Forgets all but the recent values of a full window.
    fn keep_recent(&mut self) {
        let kept = if self.settings.river_draws { 0 } else { usize::from(self.settings.recent) };
        self.values.rotate_left(self.next);
        self.values.drain(..self.values.len() - kept);
        self.next = kept;
        self.order.clear();
        (0..kept).for_each(|place| self.rank(place));
        if self.settings.river_draws {
            self.random.seed(&self.settings);
        }
    }

    /// The values from the oldest to the newest.
    fn in_order(&self) -> Vec<f64> {
        let full = self.values.len() == usize::from(self.settings.window);
        let (newer, older) = self.values.split_at(if full { self.next } else { 0 });
        [older, newer].concat()
    }

    fn clear(&mut self) {
        self.values.clear();
        self.order.clear();
        self.next = 0;
    }
}

impl Detector for Kswin {
    fn check(&self, value: f64) -> Result<()> {
        finite(value).map(drop)
    }

    fn update(&mut self, value: f64) -> Result<Signal> {
        let value = finite(value)?;
        if self.signal == Signal::Drift {
            self.keep_recent();
        }
        self.push(value);
        self.signal = Signal::Stable;
        if self.values.len() == usize::from(self.settings.window) {
            let gap = self.gap();
            self.distance = f64::from(gap) / f64::from(self.settings.recent);
            if gap >= self.least_gap {
                self.signal = Signal::Drift;
            }
        }
        Ok(self.signal)
    }

    fn signal(&self) -> Signal {
        self.signal
    }

    fn reason(&self) -> Option<Reason> {
        (self.signal == Signal::Drift).then_some(Reason {
            statistic: "Kolmogorov-Smirnov distance",
            value: self.distance,
            limit: f64::from(self.least_gap - 1) / f64::from(self.settings.recent),
        })
    }

    fn reset(&mut self) {
        self.clear();
        self.random.seed(&self.settings);
        self.distance = 0.0;
        self.signal = Signal::Stable;
    }
}

impl Random {
    fn new(settings: &KswinSettings) -> Self {
        if settings.river_draws {
            Self::Python(PythonRandom::new(settings.seed.value()))
        } else {
            Self::SplitMix(SplitMix64::new(settings.seed.value()))
        }
    }

    /// Starts over.
    fn seed(&mut self, settings: &KswinSettings) {
        match self {
            Self::SplitMix(random) => *random = SplitMix64::new(settings.seed.value()),
            Self::Python(random) => random.seed(settings.seed.value()),
        }
    }
}

/// Where in the ring the values lie does not matter.
impl PartialEq for Kswin {
    fn eq(&self, other: &Self) -> bool {
        self.settings == other.settings
            && self.in_order() == other.in_order()
            && self.random == other.random
            && self.distance == other.distance
            && self.signal == other.signal
    }
}

impl TryFrom<Stored> for Kswin {
    type Error = Error;

    fn try_from(Stored { version, settings, values, random, distance, signal }: Stored) -> Result<Self> {
        readable("detector", version, VERSION)?;
        let mut detector = Self::new(settings)?;
        let fits = values.len() <= usize::from(detector.settings.window)
            && (signal != Signal::Drift || values.len() == usize::from(detector.settings.window))
            && values.iter().all(|value| value.is_finite())
            && matches!(random, Random::Python(_)) == detector.settings.river_draws;
        if !fits {
            return Err(Error::data("the stored window of a detector is damaged: start with a new one"));
        }
        for value in values {
            detector.push(value);
        }
        Ok(Self { random, distance, signal, ..detector })
    }
}

impl From<Kswin> for Stored {
    fn from(detector: Kswin) -> Self {
        let values = detector.in_order();
        let Kswin { settings, random, distance, signal, .. } = detector;
        Self { version: VERSION, settings, values, random, distance, signal }
    }
}

const VERSION: u32 = 1;
