//! The window of ADWIN as an exponential histogram.

use serde::{Deserialize, Serialize};

use super::{AdwinBound, AdwinSettings};

/// Buckets of 1, 2, 4, ... values, each with its total and its sum of squared deviations.
#[derive(Clone, Debug)]
pub(super) struct Histogram {
    /// Room for buckets in a row: one more than `max_buckets`.
    room: usize,
    /// The smallest buckets first.
    rows: Vec<Row>,
    /// A ring for each row, of the next power of two from `room` on. A scan reads the totals alone.
    totals: Vec<f64>,
    variances: Vec<f64>,
    width: f64,
    total: f64,
    variance: f64,
}

/// Where the oldest bucket of a row lies in its ring, and how many there are.
#[derive(Clone, Copy, Debug, Default)]
struct Row {
    start: usize,
    len: usize,
}

impl Histogram {
    pub(super) fn new(settings: &AdwinSettings) -> Self {
        let room = usize::from(settings.max_buckets) + 1;
        let mut histogram = Self {
            room,
            rows: Vec::new(),
            totals: Vec::new(),
            variances: Vec::new(),
            width: 0.0,
            total: 0.0,
            variance: 0.0,
        };
        histogram.clear();
        histogram
    }

    /// Forgets all values, but keeps the memory.
    pub(super) fn clear(&mut self) {
        self.rows.clear();
        self.add_row();
        (self.width, self.total, self.variance) = (0.0, 0.0, 0.0);
    }

    pub(super) fn width(&self) -> f64 {
        self.width
    }

    pub(super) fn total(&self) -> f64 {
        self.total
    }

    /// NaN while it is empty.
    pub(super) fn mean(&self) -> f64 {
        self.total / self.width
    }

    pub(super) fn variance(&self) -> f64 {
        self.variance
    }

    pub(super) fn insert(&mut self, value: f64) {
        if self.width > 0.0 {
            let deviation = value - self.total / self.width;
            self.variance += self.width * deviation * deviation / (self.width + 1.0);
        }
        self.width += 1.0;
        self.total += value;
        self.push(0, value, 0.0);
        let mut row = 0;
        while self.rows[row].len == self.room {
            if row + 1 == self.rows.len() {
                self.add_row();
            }
            let (total1, variance1) = self.pop(row);
            let (total2, variance2) = self.pop(row);
            // Sizes are powers of two, so that products with their reciprocals are quotients.
            let size = row_size(row);
            let share = 1.0 / size;
            let difference = total1 * share - total2 * share;
            let between = size * size * difference * difference * (0.5 * share);
            row += 1;
            self.push(row, total1 + total2, variance1 + variance2 + between);
        }
    }

    /// The first cut, from the oldest on, whose means differ by more than the bound: the difference and the
    /// bound.
    ///
    /// With n0 and n1 values, totals u0 and u1, slack s and m = (W-2s)/((n0-s)(n1-s)), a difference of the
    /// means d beyond sqrt(2 m v log) + 2/3 m log has d^2 > 2 m v log + (2/3 m log)^2. So most cuts are
    /// ruled out by products alone, with room for all rounding; what is left is computed as it is defined.
    pub(super) fn find_cut(&self, settings: &AdwinSettings) -> Option<(f64, f64)> {
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
        let inner = self.width - 2.0 * slack;
        let linear = 2.0 * variance * log * inner * SURE;
        let constant = (2.0 / 3.0 * log * inner).powi(2) * SURE;
        let (stride, mask) = (self.stride(), self.stride() - 1);
        let (mut n0, mut n1, mut u0, mut u1) = (0.0, self.width, 0.0, self.total);
        for (row, Row { start, len }) in self.rows.iter().enumerate().rev() {
            let size = row_size(row);
            let len = len - usize::from(row == 0 && *len > 0);
            let totals = &self.totals[row * stride..][..stride];
            for index in *start..start + len {
                let total = totals[index & mask];
                n0 += size;
                n1 -= size;
                u0 += total;
                u1 -= total;
                let (left, right, product) = (u0 * n1, u1 * n0, n0 * n1);
                let most = (left - right).abs() + ROUNDING * (left.abs() + right.abs());
                let slacks = (n0 - slack) * (n1 - slack);
                let scaled = most * slacks;
                if scaled * scaled < product * product * (linear * slacks + constant)
                    || n1 < least
                    || n0 < least
                {
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

    pub(super) fn drop_oldest(&mut self) {
        let row = self.rows.len() - 1;
        let (total, variance) = self.pop(row);
        let size = row_size(row);
        self.width -= size;
        self.total -= total;
        let difference = total / size - self.total / self.width;
        self.variance -= variance + size * self.width * difference * difference / (size + self.width);
        if self.rows[row].len == 0 {
            self.rows.pop();
        }
    }

    fn stride(&self) -> usize {
        self.room.next_power_of_two()
    }

    fn add_row(&mut self) {
        self.rows.push(Row::default());
        let places = self.rows.len() * self.stride();
        if self.totals.len() < places {
            self.totals.resize(places, 0.0);
            self.variances.resize(places, 0.0);
        }
    }

    /// Adds the newest bucket of a row, which has room.
    fn push(&mut self, row: usize, total: f64, variance: f64) {
        let stride = self.stride();
        let Row { start, len } = &mut self.rows[row];
        let place = row * stride + ((*start + *len) & (stride - 1));
        *len += 1;
        self.totals[place] = total;
        self.variances[place] = variance;
    }

    /// Takes out the oldest bucket of a row, which has one.
    fn pop(&mut self, row: usize) -> (f64, f64) {
        let stride = self.stride();
        let Row { start, len } = &mut self.rows[row];
        let place = row * stride + *start;
        *start = (*start + 1) & (stride - 1);
        *len -= 1;
        (self.totals[place], self.variances[place])
    }

    /// The buckets of a row, the oldest first.
    fn row(&self, row: usize) -> impl Iterator<Item = (f64, f64)> + '_ {
        let (stride, Row { start, len }) = (self.stride(), self.rows[row]);
        let place = move |index: usize| row * stride + (index & (stride - 1));
        (start..start + len).map(move |index| (self.totals[place(index)], self.variances[place(index)]))
    }

    /// The stored histogram, if its parts fit together and to the settings.
    pub(super) fn restore(stored: &StoredHistogram, settings: &AdwinSettings) -> Option<Self> {
        let mut histogram = Self::new(settings);
        let StoredHistogram { room, lengths, buckets, width, total, variance } = stored;
        let rows = lengths.len();
        let counted: f64 = lengths.iter().enumerate().map(|(row, n)| f64::from(*n) * row_size(row)).sum();
        let is_sound = *room == histogram.room
            && (1..=64).contains(&rows)
            && buckets.len() == rows * room
            && lengths.iter().all(|length| usize::from(*length) < *room)
            && (rows == 1 || !lengths.contains(&0))
            && counted == *width
            && [*total, *variance].iter().all(|number| number.is_finite());
        if !is_sound {
            return None;
        }
        for (row, (length, buckets)) in lengths.iter().zip(buckets.chunks_exact(*room)).enumerate() {
            if row > 0 {
                histogram.add_row();
            }
            for (total, variance) in &buckets[..usize::from(*length)] {
                histogram.push(row, *total, *variance);
            }
        }
        (histogram.width, histogram.total, histogram.variance) = (*width, *total, *variance);
        Some(histogram)
    }
}

/// Where in their rings the buckets lie does not matter.
impl PartialEq for Histogram {
    fn eq(&self, other: &Self) -> bool {
        self.room == other.room
            && self.rows.len() == other.rows.len()
            && (0..self.rows.len()).all(|row| self.row(row).eq(other.row(row)))
            && (self.width, self.total, self.variance) == (other.width, other.total, other.variance)
    }
}

/// `room` buckets a row, the smallest row first, the oldest of a row first.
#[derive(Serialize, Deserialize)]
pub(super) struct StoredHistogram {
    room: usize,
    lengths: Vec<u8>,
    buckets: Vec<(f64, f64)>,
    width: f64,
    total: f64,
    variance: f64,
}

impl From<Histogram> for StoredHistogram {
    fn from(histogram: Histogram) -> Self {
        let Histogram { room, width, total, variance, .. } = histogram;
        let rows = 0..histogram.rows.len();
        let padded =
            |row| histogram.row(row).chain(std::iter::repeat((0.0, 0.0))).take(room).collect::<Vec<_>>();
        Self {
            room,
            lengths: histogram.rows.iter().map(|row| row.len as u8).collect(),
            buckets: rows.flat_map(padded).collect(),
            width,
            total,
            variance,
        }
    }
}

/// How many values a bucket of this row holds.
fn row_size(row: usize) -> f64 {
    // 64 rows would take 2^64 values.
    (1u64 << row.min(63)) as f64
}

/// Of a product, more than all rounding in it.
const SURE: f64 = 1.0 - 1e-12;
/// Of a difference of quotients, in parts of both, likewise.
const ROUNDING: f64 = 1e-15;
