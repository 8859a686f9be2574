//! Predictable mixtures: exact sequences for bounded values in constant memory.

use serde::{Deserialize, Serialize};

use super::Sequence;
use super::bets::Bets;
use super::bounded::Bounded;
use crate::experiment::comparison::Comparison;
use crate::experiment::interval::Interval;
use crate::version::Version;
use crate::{Error, Result};

/// A predictable-mixture confidence sequence for the mean of bounded values.
///
/// With bets `l_t` that depend on earlier values only, and penalties `p_t`, the interval at level `1 - alpha` is
/// `(sum l x -+ (ln(2 / alpha) + sum p)) / sum l` on the scale of [0, 1]:
///
/// - [`hoeffding`](Self::hoeffding): `l = min(1, sqrt(8 ln(2/alpha) / (t ln(1+t))))`, `p = l^2 / 8`. Blind to
///   the variance; the width is the same for every stream.
/// - [`empirical_bernstein`](Self::empirical_bernstein): `l = min(1/2, sqrt(2 ln(2/alpha) / (t ln(1+t) var)))`,
///   `p = (x - mean)^2 (-ln(1 - l) - l)`, with mean and variance of the earlier values. Much narrower where the
///   variance is small.
///
/// **Domain** values within the range of the settings whose mean does not depend on the past; independence is
/// not needed. **Exact**. One-sided: alpha instead of half of it. **Without rows** the interval is the range.
/// **Cost** constant in time and memory. **How to read it** as [`Comparison`] says.
///
/// Source: I. Waudby-Smith, A. Ramdas, "Estimating means of bounded random variables by betting", 2024. The
/// numbers are those of the authors' package confseq, whose first deviation is taken from the end of the range.
///
/// ```
/// use mlops_core::experiment::sequence::{Bounded, PredictableMixture, Sequence};
///
/// let mut rating = PredictableMixture::empirical_bernstein(Bounded { low: 1.0, high: 5.0, ..Default::default() })?;
/// for i in 0..1000 {
///     rating.push(f64::from(i % 3) + 3.0)?;
/// }
/// let interval = rating.interval();
/// assert!(interval.contains(4.0) && interval.width() < 0.3);
/// assert!(rating.compare(3.5)?.rejects());
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Wire")]
pub struct PredictableMixture {
    version: Version<1>,
    settings: Bounded,
    method: Method,
    bets: Bets,
    weight: f64,
    weighted: f64,
    /// The penalties of the evidence that the mean is above and below a candidate.
    penalty: [f64; 2],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Method {
    Hoeffding,
    EmpiricalBernstein,
}

impl PredictableMixture {
    /// The sequence that is blind to the variance.
    ///
    /// # Errors
    /// `Invalid` if a setting is outside its range.
    pub fn hoeffding(settings: Bounded) -> Result<Self> {
        Self::new(settings, Method::Hoeffding)
    }

    /// The sequence that follows the variance.
    ///
    /// # Errors
    /// `Invalid` if a setting is outside its range.
    pub fn empirical_bernstein(settings: Bounded) -> Result<Self> {
        Self::new(settings, Method::EmpiricalBernstein)
    }

    fn new(settings: Bounded, method: Method) -> Result<Self> {
        settings.check()?;
        let bets = Bets::default();
        Ok(Self { version: Version, settings, method, bets, weight: 0.0, weighted: 0.0, penalty: [0.0; 2] })
    }
}

impl Sequence for PredictableMixture {
    fn push(&mut self, value: f64) -> Result<()> {
        let x = self.settings.unit(value)?;
        let log = self.settings.log_threshold();
        let (bet, penalty) = match self.method {
            Method::Hoeffding => {
                let bet = self.bets.hoeffding(log);
                (bet, [bet * bet / 8.0; 2])
            }
            Method::EmpiricalBernstein => {
                let bet = self.bets.empirical_bernstein(log).min(0.5);
                // Each side starts at its own end of the range.
                let guess = self.bets.mean().map_or([0.0, 1.0], |mean| [mean; 2]);
                let psi = -(-bet).ln_1p() - bet;
                (bet, guess.map(|guess| (x - guess).powi(2) * psi))
            }
        };
        self.weight += bet;
        self.weighted += bet * x;
        self.penalty[0] += penalty[0];
        self.penalty[1] += penalty[1];
        self.bets.push(x);
        Ok(())
    }

    fn merge(&mut self, other: &Self) -> Result<()> {
        self.settings.check_same(&other.settings)?;
        if self.method != other.method {
            return Err(Error::invalid(format!(
                "{:?} and {:?} sequences do not merge",
                self.method, other.method
            )));
        }
        self.bets.merge(&other.bets)?;
        self.weight += other.weight;
        self.weighted += other.weighted;
        self.penalty[0] += other.penalty[0];
        self.penalty[1] += other.penalty[1];
        Ok(())
    }

    fn rows(&self) -> u64 {
        self.bets.rows()
    }

    fn interval(&self) -> Interval {
        if self.weight == 0.0 {
            return self.settings.interval(0.0, 1.0);
        }
        let log = self.settings.log_threshold();
        let (center, radius) = (self.weighted / self.weight, |penalty: f64| (log + penalty) / self.weight);
        let (lower, upper) = (center - radius(self.penalty[0]), center + radius(self.penalty[1]));
        self.settings.interval(lower.max(0.0), upper.min(1.0))
    }

    fn settings(&self) -> &Bounded {
        &self.settings
    }

    fn evidence(&self, value: f64) -> Result<[f64; 2]> {
        let lead = self.weighted - self.settings.unit(value)? * self.weight;
        Ok([lead - self.penalty[0], -lead - self.penalty[1]])
    }

    fn compare(&self, null: f64) -> Result<Comparison> {
        let [above, below] = self.evidence(null)?;
        Ok(self.settings.answer(null, self.bets.mean(), self.interval(), above, below))
    }
}

#[derive(Deserialize)]
struct Wire {
    version: Version<1>,
    settings: Bounded,
    method: Method,
    bets: Bets,
    weight: f64,
    weighted: f64,
    penalty: [f64; 2],
}

impl TryFrom<Wire> for PredictableMixture {
    type Error = Error;

    fn try_from(wire: Wire) -> Result<Self> {
        let Wire { version, settings, method, bets, weight, weighted, penalty } = wire;
        settings.check()?;
        let most = bets.rows() as f64;
        let started = (weight > 0.0) == (bets.rows() > 0);
        if started
            && weight <= most
            && (0.0..=weight).contains(&weighted)
            && penalty.iter().all(|p| (0.0..=most).contains(p))
        {
            return Ok(Self { version, settings, method, bets, weight, weighted, penalty });
        }
        Err(Error::data(format!("no {most} bets weigh {weight} and {weighted} with penalties {penalty:?}")))
    }
}
