//! Adaptive windowing.

use serde::{Deserialize, Serialize};

use super::{Detector, Direction, Reason, Signal, finite, probability};
use crate::{Error, Result};

/// Settings of [`Adwin`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdwinSettings {
    /// Confidence of one comparison, in 0..1: smaller means fewer false alarms and later detection.
    pub delta: f64,
    /// Look for a cut every this many updates, from 1.
    pub clock: u32,
    /// Buckets of one size before the two oldest are joined, 2 to 254: more means finer cuts.
    pub max_buckets: u8,
    /// Values that each part of the window needs.
    pub min_window_length: u32,
    /// Look for a cut only while the window holds more than this many values.
    pub grace_period: u32,
    /// How large a difference of means is tolerated.
    pub bound: AdwinBound,
    /// Whether a drift empties the whole window, as river 0.26 does, or keeps the recent part, as the paper
    /// does.
    pub empty_on_drift: bool,
    /// Which changes of the mean are reported; the window shrinks at all of them.
    pub direction: Direction,
    /// Whether a part needs one value more than `min_window_length`, as in MOA.
    pub strict_minimum: bool,
}

/// The limit on the difference of the means of two sub-windows of n0 and n1 values, W together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdwinBound {
    /// sqrt(2 m v d) + 2/3 m d with d = ln(2 ln W / delta), m = 1/(n0-L+1) + 1/(n1-L+1), v the window's
    /// variance and L `min_window_length`: what river and MOA compute.
    #[default]
    LogWidth,
    /// The same with d = ln(2 W / delta) and m = 1/n0 + 1/n1: the bound of the paper's theorem, more
    /// cautious in long windows.
    Width,
}

impl Default for AdwinSettings {
    fn default() -> Self {
        Self {
            delta: 0.002,
            clock: 32,
            max_buckets: 5,
            min_window_length: 5,
            grace_period: 10,
            bound: AdwinBound::LogWidth,
            empty_on_drift: false,
            direction: Direction::Both,
            strict_minimum: false,
        }
    }
}

impl AdwinSettings {
    /// What river 0.26 computes, update by update.
    pub fn river() -> Self {
        Self { empty_on_drift: true, ..Self::default() }
    }

    /// What MOA computes, update by update.
    pub fn moa() -> Self {
        Self { strict_minimum: true, ..Self::default() }
    }
}

/// ADWIN: a window that grows while the mean stands still and drops its old part when it moves (A. Bifet,
/// R. Gavalda, Learning from Time-Changing Data with Adaptive Windowing, 2007).
///
/// * Domain: finite numbers of any scale. The false-alarm guarantee of the paper is for values in 0..=1; the
///   bound's second term is 2/3 m d in the data's own unit, so rescale data whose spread is far from 1.
/// * The window is an exponential histogram: O(M log(W/M)) buckets of total and variance, amortised O(1) an
///   update plus one scan of the buckets every `clock` updates.
/// * After a drift the part after the cut stays. Cuts lie between buckets, so that it may still hold values from before
///   the change: its mean approaches that of the new regime over the next updates, and one change may be reported more
///   than once. Put an alert policy with a cooldown behind it, or call `reset`.
/// * Fires in both directions unless told otherwise; has no warning zone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct Adwin {
    settings: AdwinSettings,
    histogram: Histogram,
    until_check: u32,
    drift: Option<(f64, f64)>,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    settings: AdwinSettings,
    histogram: Histogram,
    until_check: u32,
    drift: Option<(f64, f64)>,
}

/// Buckets of 1, 2, 4, ... values, each with its total and its sum of squared deviations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Histogram {
    /// Room for buckets in a row: one more than `max_buckets`.
    room: usize,
    /// Buckets in each row, the smallest first.
    lengths: Vec<u8>,
    /// `room` a row, the oldest of a row first.
    buckets: Vec<(f64, f64)>,
    width: f64,
    total: f64,
    variance: f64,
}

impl Adwin {
    /// A detector that has seen nothing.
    ///
    /// # Errors
    /// `Invalid` if a setting is out of range.
    pub fn new(settings: AdwinSettings) -> Result<Self> {
        probability("delta", settings.delta)?;
        if settings.clock == 0 || settings.min_window_length == 0 || !(2..255).contains(&settings.max_buckets)
        {
            return Err(Error::invalid(format!(
                "clock {}, min_window_length {} and max_buckets {} are out of range: want at least 1, 1 and 2 to 254",
                settings.clock, settings.min_window_length, settings.max_buckets
            )));
        }
        let histogram = Histogram::new(usize::from(settings.max_buckets) + 1);
        Ok(Self { until_check: settings.clock, settings, histogram, drift: None })
    }

    /// The settings.
    pub fn settings(&self) -> &AdwinSettings {
        &self.settings
    }

    /// How many values the window holds.
    pub fn width(&self) -> u64 {
        self.histogram.width as u64
    }

    /// The sum of the values in the window.
    pub fn total(&self) -> f64 {
        self.histogram.total
    }

    /// The mean of the window; `None` while it is empty.
    pub fn mean(&self) -> Option<f64> {
        (self.histogram.width > 0.0).then(|| self.histogram.total / self.histogram.width)
    }

    /// The sum of squared deviations from the mean in the window, as the histogram tracks it.
    pub fn sum_of_squares(&self) -> f64 {
        self.histogram.variance
    }

    fn shrink(&mut self, mean_before: f64) {
        self.drift = None;
        if self.histogram.width <= f64::from(self.settings.grace_period) {
            return;
        }
        while let Some(cut) = self.histogram.find_cut(&self.settings) {
            self.drift = Some(cut);
            self.histogram.drop_oldest();
        }
        let mean = self.histogram.total / self.histogram.width;
        if self.drift.is_some() && self.settings.empty_on_drift {
            self.histogram = Histogram::new(self.histogram.room);
        }
        if !self.settings.direction.includes(mean - mean_before) {
            self.drift = None;
        }
    }
}

impl Detector for Adwin {
    fn check(&self, value: f64) -> Result<()> {
        finite(value).map(drop)
    }

    fn update(&mut self, value: f64) -> Result<Signal> {
        let value = finite(value)?;
        self.until_check -= 1;
        if self.until_check == 0 {
            self.until_check = self.settings.clock;
            let mean_before = self.histogram.total / self.histogram.width;
            self.histogram.insert(value);
            self.shrink(mean_before);
        } else {
            self.histogram.insert(value);
            self.drift = None;
        }
        Ok(self.signal())
    }

    fn signal(&self) -> Signal {
        if self.drift.is_some() { Signal::Drift } else { Signal::Stable }
    }

    fn reason(&self) -> Option<Reason> {
        self.drift.map(|(value, limit)| Reason { statistic: "difference of window means", value, limit })
    }

    fn reset(&mut self) {
        self.histogram = Histogram::new(self.histogram.room);
        self.until_check = self.settings.clock;
        self.drift = None;
    }
}

impl Histogram {
    fn new(room: usize) -> Self {
        Self {
            room,
            lengths: vec![0],
            buckets: vec![(0.0, 0.0); room],
            width: 0.0,
            total: 0.0,
            variance: 0.0,
        }
    }

    fn insert(&mut self, value: f64) {
        if self.width > 0.0 {
            let deviation = value - self.total / self.width;
            self.variance += self.width * deviation * deviation / (self.width + 1.0);
        }
        self.width += 1.0;
        self.total += value;
        // Rows are kept below `room` buckets, so there is a place.
        self.buckets[usize::from(self.lengths[0])] = (value, 0.0);
        self.lengths[0] += 1;
        let mut row = 0;
        while usize::from(self.lengths[row]) == self.room {
            if row + 1 == self.lengths.len() {
                self.lengths.push(0);
                self.buckets.resize(self.buckets.len() + self.room, (0.0, 0.0));
            }
            let start = row * self.room;
            let ((total1, variance1), (total2, variance2)) = (self.buckets[start], self.buckets[start + 1]);
            let size = row_size(row);
            let difference = total1 / size - total2 / size;
            let variance = variance1 + variance2 + size * size * difference * difference / (size + size);
            self.buckets.copy_within(start + 2..start + self.room, start);
            self.lengths[row] -= 2;
            row += 1;
            self.buckets[row * self.room + usize::from(self.lengths[row])] = (total1 + total2, variance);
            self.lengths[row] += 1;
        }
    }

    /// The first cut, from the oldest on, whose means differ by more than the bound: the difference and the
    /// bound.
    fn find_cut(&self, settings: &AdwinSettings) -> Option<(f64, f64)> {
        let least = f64::from(settings.min_window_length);
        let (least, slack) = match settings.bound {
            _ if settings.strict_minimum => (least + 2.0, least - 1.0),
            AdwinBound::LogWidth => (least, least - 1.0),
            AdwinBound::Width => (least, 0.0),
        };
        let log = match settings.bound {
            AdwinBound::LogWidth => (2.0 * self.width.ln() / settings.delta).ln(),
            AdwinBound::Width => (2.0 * self.width / settings.delta).ln(),
        };
        // Rounding may leave the tracked variance just below 0.
        let variance = (self.variance / self.width).max(0.0);
        let (mut n0, mut n1, mut u0, mut u1) = (0.0, self.width, 0.0, self.total);
        for (row, length) in self.lengths.iter().enumerate().rev() {
            let size = row_size(row);
            let length = usize::from(*length) - usize::from(row == 0 && *length > 0);
            for (total, _) in &self.buckets[row * self.room..row * self.room + length] {
                n0 += size;
                n1 -= size;
                u0 += total;
                u1 -= total;
                if n1 < least || n0 < least {
                    continue;
                }
                let difference = (u0 / n0 - u1 / n1).abs();
                let m = 1.0 / (n0 - slack) + 1.0 / (n1 - slack);
                let bound = (2.0 * m * variance * log).sqrt() + 2.0 / 3.0 * log * m;
                if difference > bound {
                    return Some((difference, bound));
                }
            }
        }
        None
    }

    fn drop_oldest(&mut self) {
        let row = self.lengths.len() - 1;
        let start = row * self.room;
        let (total, variance) = self.buckets[start];
        let size = row_size(row);
        self.width -= size;
        self.total -= total;
        let difference = total / size - self.total / self.width;
        self.variance -= variance + size * self.width * difference * difference / (size + self.width);
        self.buckets.copy_within(start + 1..start + self.room, start);
        self.lengths[row] -= 1;
        if self.lengths[row] == 0 {
            self.lengths.pop();
            self.buckets.truncate(start);
        }
    }

    /// Whether stored parts fit together, so that no index can miss.
    fn is_sound(&self, settings: &AdwinSettings) -> bool {
        let rows = self.lengths.len();
        let counted: f64 =
            self.lengths.iter().enumerate().map(|(row, n)| f64::from(*n) * row_size(row)).sum();
        self.room == usize::from(settings.max_buckets) + 1
            && (1..=64).contains(&rows)
            && self.buckets.len() == rows * self.room
            && self.lengths.iter().all(|length| usize::from(*length) < self.room)
            && (rows == 1 || !self.lengths.contains(&0))
            && counted == self.width
    }
}

/// How many values a bucket of this row holds.
fn row_size(row: usize) -> f64 {
    // 64 rows would take 2^64 values.
    (1u64 << row.min(63)) as f64
}

impl TryFrom<Stored> for Adwin {
    type Error = Error;

    fn try_from(Stored { settings, histogram, until_check, drift }: Stored) -> Result<Self> {
        let fresh = Self::new(settings)?;
        if !histogram.is_sound(&fresh.settings) || !(1..=fresh.settings.clock).contains(&until_check) {
            return Err(Error::data("the stored window of a detector is damaged: start with a new one"));
        }
        Ok(Self { histogram, until_check, drift, ..fresh })
    }
}

impl From<Adwin> for Stored {
    fn from(Adwin { settings, histogram, until_check, drift }: Adwin) -> Self {
        Self { settings, histogram, until_check, drift }
    }
}
