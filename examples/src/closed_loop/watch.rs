//! What to tell at the end of a month, and whether to train a new model.

use std::collections::BTreeMap;

use mlops_core::{Error, Event, EventKind, ModelPackage, Result, Severity, Timestamp};
use mlops_drift::alert::{AlertPolicy, AlertState};
use mlops_drift::monitor::{Baseline, CheckOptions, ColumnReport, DriftReport, Measure};

use super::month::Served;
use super::state::LoopState;
use super::summary::{FeatureDrift, MonthSummary, Quality};
use super::training::BASELINE_FILE;
use crate::shop::Month;

/// How much more log loss than at registration counts as decay.
const DECAY: f64 = 0.05;

/// Fewer answers than this say little of their mean.
const DECAY_ROWS_MIN: usize = 100;

/// What the monitors find: features against the champion's baseline, the stream of its errors, and its quality
/// against the one that was registered with it.
pub(super) fn look(
    package: &ModelPackage,
    registered_log_loss: Option<f64>,
    served: &Served,
) -> Result<(DriftReport, Vec<Event>)> {
    let baseline: Baseline = serde_json::from_slice(&package.read(BASELINE_FILE)?)
        .map_err(|error| Error::data("the champion's baseline is damaged").with_source(error))?;
    let report = baseline.check(&served.records, &CheckOptions::default())?;
    let mut events = report.events(served.closed);
    events.extend(served.events.iter().cloned());
    let champion = package.id.version;
    let (labels, scores): (Vec<bool>, Vec<f64>) = (served.labels.iter().zip(&served.scores))
        .zip(&served.versions)
        .filter_map(|((label, score), version)| (*version == champion).then_some((*label, *score)))
        .unzip();
    let quality = Quality::of(&labels, &scores)?;
    if let (Some(before), Some(now)) = (registered_log_loss, quality.log_loss)
        && now > before + DECAY
        && labels.len() >= DECAY_ROWS_MIN
    {
        let event =
            Event::new(served.closed, Severity::Warning, EventKind::ModelQuality, "log loss of the champion");
        events.push(event.measured("log_loss", now, before + DECAY));
    }
    Ok((report, events))
}

/// Those of the events that somebody should be told now.
pub(super) fn tell(alerts: &mut AlertState, now: Timestamp, events: &[Event]) -> Vec<Event> {
    AlertPolicy::default().step(alerts, now, events)
}

/// The month in numbers.
pub(super) fn summary(
    state: &LoopState,
    month: &Month,
    served: &Served,
    report: &DriftReport,
    alerts: Vec<Event>,
) -> Result<MonthSummary> {
    let sessions = served.labels.len();
    let bought = served.labels.iter().filter(|label| **label).count();
    Ok(MonthSummary {
        year: state.year,
        month: month.name.to_owned(),
        sessions,
        conversion: bought as f64 / sessions.max(1) as f64,
        champion: state.champion.version,
        of_loop: Quality::of(&served.labels, &served.scores)?,
        frozen: Quality::of(&served.labels, &served.frozen_scores)?,
        latency_us: served.latency_us,
        features: report.columns.iter().map(|column| (column.column.clone(), drift(column))).collect(),
        alerts,
        retrained: None,
    })
}

fn drift(column: &ColumnReport) -> FeatureDrift {
    let value = |measure: Option<Measure>| measure.map(|measure| measure.value);
    FeatureDrift {
        psi: value(column.psi),
        jensen_shannon_distance_base2: value(column.jensen_shannon_distance_base2),
        kolmogorov_smirnov: value(column.kolmogorov_smirnov),
        missing_rate: value(column.missing_rate),
    }
}

/// Why a new model should be trained: what was alerted, in a few words. Broken data is no reason: a model of
/// it would be broken too.
pub(super) fn reason_to_train(alerts: &[Event]) -> Option<String> {
    const REASONS: [EventKind; 3] = [EventKind::DataDrift, EventKind::ConceptDrift, EventKind::ModelQuality];
    let mut by_kind: BTreeMap<EventKind, Vec<&str>> = BTreeMap::new();
    for alert in alerts.iter().filter(|alert| REASONS.contains(&alert.kind)) {
        by_kind.entry(alert.kind).or_default().push(&alert.subject);
    }
    let reasons: Vec<String> = by_kind
        .into_iter()
        .map(|(kind, subjects)| match subjects[..] {
            [subject] => format!("{kind}: {subject}"),
            _ => format!("{kind}: {} and {} more", subjects[0], subjects.len() - 1),
        })
        .collect();
    (!reasons.is_empty()).then(|| reasons.join("; "))
}
