//! A shop that does not exist, with drifts at known points.

use std::sync::Arc;

use arrow_array::builder::{BooleanBuilder, Float64Builder, Int64Builder, StringBuilder};
use arrow_array::{ArrayRef, RecordBatch};
use mlops_core::data::Dataset;
use mlops_core::{Digest, Error, Result, Seed};
use rand::{Rng, RngExt};
use rand_distr::{Distribution, Exp1, LogNormal, Poisson};

use super::{Month, Traffic, month_name, schema};

/// Sessions drawn from a known model of visitors.
///
/// - From June on (covariate drift) a campaign brings more new visitors, from other traffic sources and on
///   other devices, who look at fewer pages. How sessions turn into purchases stays the same.
/// - From September on (concept drift) a price comparison sends visitors who look at valuable pages without
///   buying, while short, decided visits buy: the same features now mean something else.
///
/// Each following year turns both drifts over again.
#[derive(Clone, Debug)]
pub struct Simulator {
    seed: Seed,
    sessions_per_month: usize,
}

/// The first month of the covariate drift.
const COVARIATE_DRIFT: usize = 6;

/// The first month of the concept drift.
const CONCEPT_DRIFT: usize = 9;

impl Simulator {
    /// A shop with this many sessions a month.
    pub fn new(seed: Seed, sessions_per_month: usize) -> Self {
        Self { seed, sessions_per_month }
    }
}

impl Traffic for Simulator {
    fn describe(&self) -> String {
        let (sessions, seed) = (self.sessions_per_month, self.seed.value());
        format!("a simulated shop ({sessions} sessions a month, seed {seed})")
    }

    fn fingerprint(&self) -> Digest {
        Digest::of(self.describe())
    }

    fn months(&self) -> Vec<usize> {
        (1..=12).collect()
    }

    fn month(&self, year: usize, number: usize) -> Result<Month> {
        let name = month_name(number)?;
        let mut rng = self.seed.derive(&format!("year {year}, {name}")).rng();
        let odd_year = year % 2 == 1;
        let world = World {
            campaign: (number >= COVARIATE_DRIFT) == odd_year,
            comparison: (number >= CONCEPT_DRIFT) == odd_year,
        };
        let mut table = Table::default();
        for _ in 0..self.sessions_per_month {
            table.push(&world.session(&mut rng)?, name);
        }
        Ok(Month { number, name, sessions: Dataset::new(schema()?, [table.finish()?])? })
    }
}

/// What holds in a month.
struct World {
    campaign: bool,
    comparison: bool,
}

struct Session {
    pages: [f64; 3],
    seconds: [f64; 3],
    bounce_rate: f64,
    exit_rate: f64,
    page_value: f64,
    special_day: f64,
    codes: [i64; 4],
    visitor: &'static str,
    weekend: bool,
    bought: bool,
}

impl World {
    fn session(&self, rng: &mut impl Rng) -> Result<Session> {
        let new = rng.random_bool(if self.campaign { 0.45 } else { 0.15 });
        let mobile = rng.random_bool(if self.campaign { 0.6 } else { 0.25 });
        let interest: f64 = rng.sample::<f64, _>(Exp1) * if self.campaign && new { 0.6 } else { 1.0 };

        let mut pages = [0.0; 3];
        for (count, mean) in pages.iter_mut().zip([2.0, 0.5, 25.0]) {
            *count = poisson(mean * (0.2 + interest), rng)?;
        }
        pages[2] += 1.0;
        let mut seconds = [0.0; 3];
        for (time, count) in seconds.iter_mut().zip(pages) {
            *time = count * log_normal(3.4, 0.6, rng)?;
        }
        let bounce_rate =
            if pages[2] < 3.0 { rng.random_range(0.0..0.2) } else { rng.random_range(0.0..0.03) };
        let exit_rate = f64::min(0.2, bounce_rate + 0.02 + 0.15 * rng.random::<f64>() / pages[2].sqrt());
        let valued = rng.random_bool(f64::min(0.8, 0.12 + 0.12 * interest));
        let page_value = if valued { log_normal(2.6, 0.9, rng)? } else { 0.0 };
        let special_day = if rng.random_bool(0.1) { f64::from(rng.random_range(1..=5)) / 5.0 } else { 0.0 };
        let weekend = rng.random_bool(0.24);
        let traffic = if self.campaign && rng.random_bool(0.5) { 13 } else { rng.random_range(1..=6) };

        let common = -3.4 + if new { 0.5 } else { 0.0 } + if weekend { 0.2 } else { 0.0 } - 9.0 * exit_rate;
        let logit = if self.comparison {
            common + 2.2 - 0.035 * pages[2] - if valued { 1.2 } else { 0.0 } + if mobile { 0.8 } else { 0.0 }
        } else {
            common + 0.012 * pages[2] + if valued { 1.6 + 0.04 * page_value } else { 0.0 } - 0.5 * special_day
        };
        let bought = rng.random_bool(1.0 / (1.0 + (-logit).exp()));
        Ok(Session {
            pages,
            seconds,
            bounce_rate,
            exit_rate,
            page_value,
            special_day,
            codes: [
                if mobile { 3 } else { rng.random_range(1..=2) },
                rng.random_range(1..=6),
                rng.random_range(1..=9),
                traffic,
            ],
            visitor: if new { "New_Visitor" } else { "Returning_Visitor" },
            weekend,
            bought,
        })
    }
}

fn poisson(mean: f64, rng: &mut impl Rng) -> Result<f64> {
    let poisson = Poisson::new(mean);
    Ok(poisson
        .map_err(|error| Error::internal("the simulator's Poisson mean").with_source(error))?
        .sample(rng))
}

fn log_normal(mu: f64, sigma: f64, rng: &mut impl Rng) -> Result<f64> {
    let log_normal = LogNormal::new(mu, sigma);
    Ok(log_normal
        .map_err(|error| Error::internal("the simulator's log-normal").with_source(error))?
        .sample(rng))
}

#[derive(Default)]
struct Table {
    floats: [Float64Builder; 10],
    month: StringBuilder,
    codes: [Int64Builder; 4],
    visitor: StringBuilder,
    weekend: BooleanBuilder,
    bought: BooleanBuilder,
}

impl Table {
    fn push(&mut self, session: &Session, month: &str) {
        let Session { pages, seconds, bounce_rate, exit_rate, page_value, special_day, .. } = session;
        let [administrative, informational, product] = [0, 1, 2].map(|kind| [pages[kind], seconds[kind]]);
        let rates = [*bounce_rate, *exit_rate, *page_value, *special_day];
        let floats = administrative.into_iter().chain(informational).chain(product).chain(rates);
        self.floats.iter_mut().zip(floats).for_each(|(column, value)| column.append_value(value));
        self.codes.iter_mut().zip(session.codes).for_each(|(column, value)| column.append_value(value));
        self.month.append_value(month);
        self.visitor.append_value(session.visitor);
        self.weekend.append_value(session.weekend);
        self.bought.append_value(session.bought);
    }

    fn finish(&mut self) -> Result<RecordBatch> {
        let mut columns: Vec<ArrayRef> = Vec::new();
        columns.extend(self.floats.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef));
        columns.push(Arc::new(self.month.finish()));
        columns.extend(self.codes.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef));
        columns.push(Arc::new(self.visitor.finish()));
        columns.push(Arc::new(self.weekend.finish()));
        columns.push(Arc::new(self.bought.finish()));
        Ok(RecordBatch::try_new(schema()?.to_arrow(), columns)?)
    }
}
