//! What a check found, column by column.

use mlops_core::{Event, EventKind, Severity, Timestamp};
use serde::{Deserialize, Serialize};

use super::column::{ColumnReference, Grid, LiveColumn, LiveCounts};
use super::options::{Bands, CheckOptions};
use super::rule::{Compared, Decision, Rule};
use super::text::p_value;
use crate::distance::{jensen_shannon_distance_base2, jensen_shannon_divergence_nats, psi, smoothed};
use crate::special::{chi_squared_sf, chi_squared_upper_quantile};
use crate::two_sample::{self, compare_rates};
use crate::{Error, ErrorKind, Result};

/// One window against its baseline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DriftReport {
    /// The version of this layout.
    #[serde(deserialize_with = "readable")]
    pub version: u32,
    /// How many rows the window had.
    pub rows: u64,
    /// How it was judged.
    pub options: CheckOptions,
    /// A part for each column of the baseline, in its order.
    pub columns: Vec<ColumnReport>,
}

fn readable<'de, D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<u32, D::Error> {
    let version = u32::deserialize(deserializer)?;
    if version == VERSION {
        return Ok(version);
    }
    let message = format!("the stored report has version {version}, this build reads {VERSION}");
    Err(serde::de::Error::custom(Error::unsupported(message)))
}

/// One column of a window. Each number is there if it could be computed, whatever befell the others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ColumnReport {
    /// The column's name in the table.
    pub column: String,
    /// Cells of the reference and of the window.
    pub rows: (u64, u64),
    /// How far the distribution of present, finite values moved: population stability index over buckets
    /// that the reference fixed, with [`smoothed`] counts; neighbours are joined until five values are expected in
    /// each. Its limit is what 1 - alpha of unchanged windows of these sizes stay below. Where that would leave one
    /// bucket it is of the two that differ most: a size without a law, so limit 0 and p 1, and the test alone is evidence.
    pub psi: Option<Measure>,
    /// Jensen-Shannon distance, base 2, over the same buckets, with its limit likewise.
    pub jensen_shannon_distance_base2: Option<Measure>,
    /// Numbers: Kolmogorov-Smirnov's D on the values themselves, negative if the window's tend to be
    /// smaller. Its limit is that of large samples.
    pub kolmogorov_smirnov: Option<Measure>,
    /// Categories: Pearson's chi-squared on counts of both sides. Where two buckets are left, as for a Boolean column, and
    /// for rare categories, the p-value is that of Fisher's test (z for large counts).
    pub chi_squared: Option<Measure>,
    /// The rate of missing cells (Fisher's test, z for large counts); its limit is the reference's rate.
    pub missing_rate: Option<Measure>,
    /// The rate of NaN and infinite cells among the present ones, likewise.
    pub non_finite_rate: Option<Measure>,
    /// What judged the column, if its [`Rule`] chose another test or distance than the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
    /// Live values outside of all that the reference held: beyond its range, or of a new category.
    pub unseen: u64,
    /// Whether the distribution changed, and how soon somebody has to look.
    pub drift: Option<Severity>,
    /// Whether the rate of missing or non-finite cells changed.
    pub quality: Option<Severity>,
    /// Why the column, or a part of it, could not be compared.
    pub problem: Option<Problem>,
}

/// A number, what to hold it against, and how likely it is if nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measure {
    /// The value.
    pub value: f64,
    /// What it was held against.
    pub limit: f64,
    /// The p-value on its own.
    pub p_value: f64,
    /// The p-value adjusted over all that the check tested; the plain one for what decides nothing.
    pub p_adjusted: f64,
}

/// An error as a value that can be stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Problem {
    /// What can be done about it.
    pub kind: ErrorKind,
    /// What went wrong.
    pub message: String,
}

impl From<&Error> for Problem {
    fn from(error: &Error) -> Self {
        Self { kind: error.kind(), message: format!("{error:#}") }
    }
}

impl DriftReport {
    /// The part of the column of this name.
    ///
    /// # Errors
    /// `NotFound` if the baseline has no such column.
    pub fn column(&self, name: &str) -> Result<&ColumnReport> {
        self.columns
            .iter()
            .find(|column| column.column == name)
            .ok_or_else(|| Error::not_found(format!("the report has no column `{name}`")))
    }

    /// The columns whose distribution changed.
    pub fn drifted(&self) -> impl Iterator<Item = &ColumnReport> {
        self.columns.iter().filter(|column| column.drift.is_some())
    }

    /// The share of columns whose distribution changed; those that could not be compared are not among them.
    pub fn drifted_share(&self) -> f64 {
        self.drifted().count() as f64 / self.columns.len().max(1) as f64
    }

    /// What somebody should know: one event for each column that drifted, for each whose missing or
    /// non-finite cells changed, and for each that could not be compared: critical if no row of it could, else a
    /// warning. A window without rows is one warning, whatever the number of columns.
    pub fn events(&self, time: Timestamp) -> Vec<Event> {
        if self.rows == 0 {
            let empty = Event::new(time, Severity::Warning, EventKind::DataQuality, "window");
            return vec![empty.message("the window holds no rows: nothing was compared")];
        }
        self.columns.iter().flat_map(|column| column.events(time, self)).collect()
    }
}

impl ColumnReport {
    fn events(&self, time: Timestamp, report: &DriftReport) -> Vec<Event> {
        let subject = format!("feature `{}`", self.column);
        let event =
            |severity, kind| Event::new(time, severity, kind, subject.clone()).detail("rows", self.rows.1);
        let mut events = Vec::new();
        if let (Some(severity), Some(decision)) = (self.drift, &self.decision) {
            let event = event(severity, EventKind::DataDrift);
            events.push(match decision.p_adjusted {
                Some(p) => event
                    .measured(format!("p of {}", decision.by), p, decision.limit)
                    .detail("statistic", format!("{:.4}", decision.value)),
                None => event.measured(&decision.by, decision.value, decision.limit),
            });
        } else if let (Some(severity), Some(index)) = (self.drift, self.psi) {
            let band = if severity == Severity::Critical {
                report.options.psi.critical
            } else {
                report.options.psi.warning
            };
            let limit = if report.options.alpha < 1.0 { band.max(index.limit) } else { band };
            let mut event = event(severity, EventKind::DataDrift).measured("psi", index.value, limit);
            if let Some(ks) = self.kolmogorov_smirnov {
                event = event.detail("ks", format!("{:.4}", ks.value)).detail("p", p_value(ks.p_adjusted));
            }
            if let Some(chi_squared) = self.chi_squared {
                event = event.detail("p", p_value(chi_squared.p_adjusted));
            }
            if self.unseen > 0 {
                event = event.detail("unseen", self.unseen);
            }
            events.push(event);
        }
        if let Some(severity) = self.quality {
            let named = [("missing_rate", self.missing_rate), ("non_finite_rate", self.non_finite_rate)];
            let worst = named
                .into_iter()
                .filter_map(|(name, measure)| measure.map(|measure| (name, measure)))
                .max_by(|a, b| (a.1.value - a.1.limit).abs().total_cmp(&(b.1.value - b.1.limit).abs()));
            if let Some((name, measure)) = worst {
                events.push(
                    event(severity, EventKind::DataQuality)
                        .measured(name, measure.value, measure.limit)
                        .detail("p", p_value(measure.p_adjusted)),
                );
            }
        }
        if let Some(problem) = &self.problem {
            let severity = if self.rows.1 == 0 { Severity::Critical } else { Severity::Warning };
            let mut event = event(severity, EventKind::DataQuality).message(&problem.message);
            if self.rows.1 < report.rows {
                event = event.detail("skipped_rows", report.rows - self.rows.1);
            }
            events.push(event);
        }
        events
    }
}

/// Computes all columns, adjusts their p-values together and decides.
pub(crate) fn judge<'a>(
    rows: u64,
    columns: impl Iterator<Item = (&'a LiveColumn, &'a ColumnReference, &'a Grid, Option<Problem>)>,
    options: &CheckOptions,
) -> Result<DriftReport> {
    let mut rules = Vec::new();
    let mut columns: Vec<ColumnReport> = columns
        .map(|(live, reference, grid, problem)| {
            let rule = options.rule(&reference.name, matches!(grid, Grid::Numbers { .. }));
            rules.push(rule);
            let mut report = ColumnReport::empty(live, reference, problem);
            if let Err(error) = report.compare(live, reference, grid, options.alpha, rule) {
                report.problem.get_or_insert_with(|| Problem::from(&error));
            }
            report
        })
        .collect();
    let mut deciding: Vec<(f64, &mut f64)> =
        columns.iter_mut().zip(&rules).flat_map(|(column, rule)| column.deciding(*rule)).collect();
    let p_values: Vec<f64> = deciding.iter().map(|(p_value, _)| *p_value).collect();
    for ((_, place), p_adjusted) in deciding.iter_mut().zip(options.correction.adjust(&p_values)?) {
        **place = p_adjusted;
    }
    columns.iter_mut().zip(rules).for_each(|(column, rule)| column.decide(options, rule));
    Ok(DriftReport { version: VERSION, rows, options: options.clone(), columns })
}

impl ColumnReport {
    fn empty(live: &LiveColumn, reference: &ColumnReference, problem: Option<Problem>) -> Self {
        Self {
            column: reference.name.clone(),
            rows: (reference.cells.rows, live.cells.rows),
            psi: None,
            jensen_shannon_distance_base2: None,
            kolmogorov_smirnov: None,
            chi_squared: None,
            missing_rate: None,
            non_finite_rate: None,
            decision: None,
            unseen: 0,
            drift: None,
            quality: None,
            problem,
        }
    }

    fn compare(
        &mut self,
        live: &LiveColumn,
        reference: &ColumnReference,
        grid: &Grid,
        alpha: f64,
        rule: Rule,
    ) -> Result<()> {
        let (was, is) = (reference.cells, live.cells);
        if was.rows == 0 || is.rows == 0 {
            if self.problem.is_none() {
                return Err(Error::data(format!(
                    "column `{}` has {} reference rows and {} rows in the window: nothing to compare",
                    self.column, was.rows, is.rows
                )));
            }
            return Ok(());
        }
        self.missing_rate = Some(rate((was.missing, was.rows), (is.missing, is.rows))?);
        let (was_present, is_present) = (was.present(), is.present());
        if was_present == 0 || is_present == 0 {
            // The missing rate says it all.
            return Ok(());
        }
        self.non_finite_rate = Some(rate((was.non_finite, was_present), (is.non_finite, is_present))?);
        let (n, m) = (was_present - was.non_finite, is_present - is.non_finite);
        if n == 0 || m == 0 {
            return Ok(());
        }
        let buckets = live.buckets(reference, grid)?;
        let decision = Compared { live, reference, grid, buckets: &buckets }.decide(rule);
        self.unseen = buckets.unseen();
        let (pooled, chosen) = buckets.coarse()?;
        // What was chosen for its size has no law.
        let freedom = if chosen { 0.0 } else { pooled.live.len() as f64 - 1.0 };
        let (p, q) = (smoothed(&pooled.reference), smoothed(&pooled.live));
        let scale = 1.0 / n as f64 + 1.0 / m as f64;
        let null = |value: f64, unit: f64| {
            let limit = if freedom > 0.0 { unit * chi_squared_upper_quantile(alpha, freedom) } else { 0.0 };
            let p_value = if freedom > 0.0 { chi_squared_sf(value / unit, freedom) } else { 1.0 };
            Measure { value, limit, p_value, p_adjusted: p_value }
        };
        self.psi = Some(null(psi(&p, &q)?, scale));
        let divergence = null(jensen_shannon_divergence_nats(&p, &q)?, scale / 8.0);
        self.jensen_shannon_distance_base2 = Some(Measure {
            value: jensen_shannon_distance_base2(&p, &q)?,
            limit: (divergence.limit / std::f64::consts::LN_2).sqrt(),
            ..divergence
        });
        match (&live.counts, grid) {
            (LiveCounts::Numbers(counts), Grid::Numbers { points, .. }) => {
                let (value, p_value) = counts.kolmogorov_smirnov(points)?;
                let limit = (-(alpha / 2.0).ln() / 2.0 * scale).sqrt();
                self.kolmogorov_smirnov = Some(Measure { value, limit, p_value, p_adjusted: p_value });
            }
            _ => {
                let statistic = pearson(&pooled.reference, &pooled.live, n as f64, m as f64);
                let mut chi_squared = null(statistic, 1.0);
                chi_squared.p_value = pooled.p_value(chosen, two_sample::chi_squared)?;
                chi_squared.p_adjusted = chi_squared.p_value;
                self.chi_squared = Some(chi_squared);
            }
        }
        self.decision = decision?;
        Ok(())
    }

    /// The p-values that decide, with the places of the adjusted ones.
    fn deciding(&mut self, rule: Rule) -> impl Iterator<Item = (f64, &mut f64)> {
        let by_default = rule == Rule::EvidenceAndSize;
        let tests = [&mut self.kolmogorov_smirnov, &mut self.chi_squared];
        let rates = [&mut self.missing_rate, &mut self.non_finite_rate];
        let measures = tests.into_iter().filter(move |_| by_default).chain(rates).flatten();
        let chosen =
            self.decision.as_mut().and_then(|chosen| Some((chosen.p_value?, chosen.p_adjusted.as_mut()?)));
        measures.map(|measure| (measure.p_value, &mut measure.p_adjusted)).chain(chosen)
    }

    fn decide(&mut self, options: &CheckOptions, rule: Rule) {
        let significant = |measure: &Measure| measure.p_adjusted <= options.alpha;
        self.drift = match (&self.decision, rule) {
            (_, Rule::EvidenceAndSize) => {
                let test = self.kolmogorov_smirnov.as_ref().or(self.chi_squared.as_ref());
                let moved = test.is_some_and(significant);
                self.psi
                    .filter(|index| moved && (options.alpha >= 1.0 || index.value >= index.limit))
                    .and_then(|index| options.psi.severity(index.value))
            }
            (Some(decision), Rule::Distance { bands, .. }) => bands.severity(decision.value),
            (Some(Decision { p_adjusted: Some(p), limit, .. }), _) => {
                // Evidently's p-values have to lie below their limit.
                let moved = if rule == Rule::Evidently { p < limit } else { p <= limit };
                moved.then_some(Severity::Warning)
            }
            (Some(decision), _) => (decision.value >= decision.limit).then_some(Severity::Warning),
            (None, _) => None,
        };
        self.quality = [self.missing_rate, self.non_finite_rate]
            .into_iter()
            .flatten()
            .filter(significant)
            .filter_map(|measure| options.missing_rate.severity((measure.value - measure.limit).abs()))
            .max();
    }
}

impl Bands {
    fn severity(self, value: f64) -> Option<Severity> {
        // No distance at all is no change, whatever the limit.
        if value <= 0.0 {
            None
        } else if value >= self.critical {
            Some(Severity::Critical)
        } else if value >= self.warning {
            Some(Severity::Warning)
        } else {
            None
        }
    }
}

fn rate(was: (u64, u64), is: (u64, u64)) -> Result<Measure> {
    let p_value = compare_rates(was, is)?.p_value;
    Ok(Measure {
        value: is.0 as f64 / is.1 as f64,
        limit: was.0 as f64 / was.1 as f64,
        p_value,
        p_adjusted: p_value,
    })
}

/// Pearson's statistic of a 2 x k table.
fn pearson(reference: &[u64], live: &[u64], n: f64, m: f64) -> f64 {
    let term = |(a, b): (&u64, &u64)| {
        let (a, b) = (*a as f64, *b as f64);
        (a * m - b * n).powi(2) / (a + b)
    };
    reference.iter().zip(live).map(term).sum::<f64>() / (n * m)
}

const VERSION: u32 = 1;
