//! Outcomes beside what was known of the same units before.

use serde::{Deserialize, Serialize};

use super::moments::{Moments, ROWS_MAX, VALUE_MAX, rows_together};
use super::two_arm::{Arm, TwoArm};
use crate::version::Version;
use crate::{Error, Result};

/// The joint moments of an outcome and a covariate that was known *before* the experiment, such as the same outcome
/// in the weeks before: what CUPED takes variance out by.
///
/// [`TwoArm::adjusted`] turns two arms of these into [`Moments`] of the adjusted outcome, which every test of this
/// crate reads. Streams, merges, serialises; ten numbers whatever the rows.
///
/// Values must be finite and at most [`VALUE_MAX`] in size. Merging in any order gives the same count bit for bit, and
/// the rest up to rounding.
///
/// Sources: A. Deng, Y. Xu, R. Kohavi, T. Walker, "Improving the sensitivity of online controlled experiments by
/// utilizing pre-experiment data", 2013; sums of third order as in P. Pébay, 2008.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Wire")]
pub struct Covaried {
    version: Version<1>,
    rows: u64,
    /// Of the covariate and the outcome.
    mean: [f64; 2],
    /// Sums of products of deviations: of the covariate twice, once, and not at all.
    squares: [f64; 3],
    /// The same of three: of the covariate three times, twice, once, and not at all.
    cubes: [f64; 4],
}

impl Covaried {
    /// Takes one unit.
    ///
    /// # Errors
    /// `Invalid` if a value is NaN, infinite or above [`VALUE_MAX`] in size; the state is then unchanged.
    pub fn push(&mut self, covariate: f64, outcome: f64) -> Result<()> {
        for (what, value) in [("covariate", covariate), ("outcome", outcome)] {
            if !(-VALUE_MAX..=VALUE_MAX).contains(&value) {
                return Err(Error::invalid(format!(
                    "{what} {value:?} is not a number of at most {VALUE_MAX:e} in size: drop the unit or clip it"
                )));
            }
        }
        self.merge(&Self { rows: 1, mean: [covariate, outcome], ..Self::default() })
    }

    /// Takes the rows of another state.
    ///
    /// # Errors
    /// `Invalid` if the two together have more than [`ROWS_MAX`] rows; the state is then unchanged.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        let rows = rows_together(self.rows, other.rows)?;
        if self.rows == 0 || other.rows == 0 {
            *self = if self.rows == 0 { *other } else { *self };
            return Ok(());
        }
        let (n, m, all) = (self.rows as f64, other.rows as f64, rows as f64);
        let (n_share, m_share) = (n / all, m / all);
        let apart = [0, 1].map(|of| other.mean[of] - self.mean[of]);
        // Which of the two variables each factor of a product is.
        let squared = |at: usize| [usize::from(at > 1), usize::from(at > 0)];
        for at in 0..4 {
            let of = [usize::from(at > 2), usize::from(at > 1), usize::from(at > 0)];
            let between = apart[of[0]] * apart[of[1]] * apart[of[2]] * (n * m_share * (n_share - m_share));
            let within = [[0, 1, 2], [1, 0, 2], [2, 0, 1]].map(|[one, a, b]| {
                let square = of[a] + of[b];
                apart[of[one]] * (n_share * other.squares[square] - m_share * self.squares[square])
            });
            self.cubes[at] += other.cubes[at] + between + within.iter().sum::<f64>();
        }
        for at in 0..3 {
            let [a, b] = squared(at);
            self.squares[at] += other.squares[at] + apart[a] * apart[b] * (n * m_share);
        }
        for of in [0, 1] {
            self.mean[of] += apart[of] * m_share;
        }
        self.rows = rows;
        Ok(())
    }

    /// How many units were taken.
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    /// The slope of the outcome over the covariate: covariance over variance. `None` if the covariate is constant.
    pub fn theta(&self) -> Option<f64> {
        (self.squares[0] > 0.0).then(|| self.squares[1] / self.squares[0]).filter(|theta| theta.is_finite())
    }

    /// The share of the outcome's variance that the covariate explains, in 0..=1: the squared correlation, which is
    /// what the adjustment takes away. `None` if one of the two is constant.
    pub fn explained(&self) -> Option<f64> {
        let share = self.theta()? * self.squares[1] / self.squares[2];
        (self.squares[2] > 0.0 && share.is_finite()).then(|| share.clamp(0.0, 1.0))
    }

    /// The moments of `outcome - theta (covariate - center)`.
    fn adjusted(&self, theta: f64, center: f64) -> Result<Moments> {
        let [xx, xy, yy] = self.squares;
        let [xxx, xxy, xyy, yyy] = self.cubes;
        if self.rows == 0 {
            return Ok(Moments::new());
        }
        let mean = self.mean[1] - theta * (self.mean[0] - center);
        let squares = yy - theta * (2.0 * xy - theta * xx);
        // Less than the rounding of the terms is none: the covariate says all.
        let squares = if squares > self.rows as f64 * f64::EPSILON * yy { squares } else { 0.0 };
        let cubes = yyy - theta * (3.0 * xyy - theta * (3.0 * xxy - theta * xxx));
        let cubes = if squares == 0.0 { 0.0 } else { cubes };
        Moments::of_sums(self.rows, mean, squares, cubes).map_err(|error| {
            Error::data(format!(
                "theta {theta} takes the outcomes beyond {VALUE_MAX:e} (mean {mean}, squared deviations {squares}): use \
                 a covariate that varies more, or scale the outcomes down"
            ))
            .with_source(error)
        })
    }
}

impl TwoArm<Covaried> {
    /// Takes the outcome of one unit, with its covariate of before.
    ///
    /// # Errors
    /// As [`Covaried::push`].
    pub fn record(&mut self, arm: Arm, covariate: f64, outcome: f64) -> Result<()> {
        self.arm_mut(arm).push(covariate, outcome)
    }

    /// Takes the outcomes of another shard.
    ///
    /// # Errors
    /// As [`Covaried::merge`]; the state is then unchanged.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        let mut merged = *self;
        merged.control.merge(&other.control)?;
        merged.treatment.merge(&other.treatment)?;
        *self = merged;
        Ok(())
    }

    /// Both arms as one sample: its [`theta`](Covaried::theta) is the one that CUPED takes, and its
    /// [`explained`](Covaried::explained) the share of variance that goes.
    ///
    /// # Errors
    /// As [`Covaried::merge`].
    pub fn pooled(&self) -> Result<Covaried> {
        let mut pooled = self.control;
        pooled.merge(&self.treatment)?;
        Ok(pooled)
    }

    /// CUPED: the moments of `outcome - theta (covariate - its mean)`, with theta and mean of both arms together. The
    /// difference of the means estimates the same effect as without, since chance gave both arms the same covariates,
    /// with `1 - rho^2` of the variance: a test needs that share of the rows. Without any variance in the covariate the
    /// outcomes are left as they are.
    ///
    /// **Asymptotic**: theta is estimated from the same rows, which costs one degree of freedom in all. The covariate
    /// must be from *before* the unit was assigned: one that the treatment changes takes the effect away.
    ///
    /// ```
    /// use mlops_core::experiment::fixed::Welch;
    /// use mlops_core::experiment::{Arm, Covaried, Moments, TwoArm};
    ///
    /// let (mut plain, mut arms) = (TwoArm::<Moments>::default(), TwoArm::<Covaried>::default());
    /// for user in 0..200_u32 {
    ///     let arm = if user % 2 == 0 { Arm::Control } else { Arm::Treatment };
    ///     let before = f64::from(user * 37 % 101);
    ///     let effect = if arm == Arm::Treatment { 5.0 } else { 0.0 };
    ///     let spent = 2.0 * before + f64::from(user * 17 % 11) + effect;
    ///     plain.record(arm, spent)?;
    ///     arms.record(arm, before, spent)?;
    /// }
    /// assert!(arms.pooled()?.explained().unwrap() > 0.99);
    /// assert!(Welch::default().compare(&plain)?.p_value > 0.4);
    /// assert!(Welch::default().compare(&arms.adjusted()?)?.p_value < 1e-9);
    /// # Ok::<(), mlops_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Data` if the mean of the adjusted outcomes is beyond [`VALUE_MAX`] or their squares overflow; `Invalid` if both
    /// arms together have more than [`ROWS_MAX`] rows.
    pub fn adjusted(&self) -> Result<TwoArm<Moments>> {
        let pooled = self.pooled()?;
        let (theta, center) = (pooled.theta().unwrap_or(0.0), pooled.mean[0]);
        Ok(TwoArm::new(self.control.adjusted(theta, center)?, self.treatment.adjusted(theta, center)?))
    }
}

#[derive(Deserialize)]
struct Wire {
    version: Version<1>,
    rows: u64,
    mean: [f64; 2],
    squares: [f64; 3],
    cubes: [f64; 4],
}

impl TryFrom<Wire> for Covaried {
    type Error = Error;

    fn try_from(wire: Wire) -> Result<Self> {
        let Wire { version, rows, mean, squares, cubes } = wire;
        let [xx, xy, yy] = squares;
        let constant = squares == [0.0; 3] && cubes == [0.0; 4];
        let empty = rows == 0 && mean == [0.0; 2] && constant;
        // Covariances are bounded by the variances, up to rounding.
        let joint = xy.abs() <= (xx.sqrt() * yy.sqrt()) * (1.0 + 1e-6) + f64::MIN_POSITIVE;
        let filled = mean.iter().all(|mean| mean.abs() <= VALUE_MAX)
            && [xx, yy].iter().all(|square| (0.0..f64::INFINITY).contains(square))
            && cubes.iter().all(|cube| cube.is_finite());
        if rows <= ROWS_MAX && filled && joint && (empty || (rows == 1 && constant) || rows > 1) {
            return Ok(Self { version, rows, mean, squares, cubes });
        }
        Err(Error::data(format!("no values have {rows} rows, means {mean:?} and products {squares:?}")))
    }
}
