//! What to tell at the end of a month, and whether to train a new model.

use std::collections::BTreeMap;

use mlops_core::{Error, Event, EventKind, ModelPackage, Result, Severity, Timestamp};
use mlops_drift::alert::{AlertPolicy, AlertState};
use mlops_drift::monitor::{Baseline, CheckOptions};

use super::month::Served;
use super::state::LoopState;
use super::summary::{MonthSummary, Quality};
use super::training::BASELINE_FILE;
use crate::shop::Month;

/// How much more log loss than at registration counts as decay.
const DECAY: f64 = 0.05;

/// What the monitors find: features against the champion's baseline, the stream of its errors, and its quality
/// against the one that was registered with it.
pub(super) fn look(
    champion: &ModelPackage,
    registered_log_loss: Option<f64>,
    served: &Served,
) -> Result<Vec<Event>> {
    let baseline: Baseline = serde_json::from_slice(&champion.read(BASELINE_FILE)?)
        .map_err(|error| Error::data("the champion's baseline is damaged").with_source(error))?;
    let report = baseline.check(&served.records, &CheckOptions::default())?;
    let mut events = report.events(served.closed);
    events.extend(served.events.iter().cloned());
    let (labels, scores): (Vec<bool>, Vec<f64>) = (served.labels.iter().zip(&served.scores))
        .zip(&served.by_champion)
        .filter_map(|((label, score), by_champion)| by_champion.then_some((*label, *score)))
        .unzip();
    let quality = Quality::of(&labels, &scores)?;
    if let (Some(before), Some(now)) = (registered_log_loss, quality.log_loss)
        && now > before + DECAY
    {
        let event =
            Event::new(served.closed, Severity::Warning, EventKind::ModelQuality, "log loss of the champion");
        events.push(event.measured("log_loss", now, before + DECAY));
    }
    Ok(events)
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
        alerts,
        retrained: None,
    })
}

/// Why a new model should be trained: what was alerted, in a few words.
pub(super) fn reason_to_train(alerts: &[Event]) -> Option<String> {
    let mut by_kind: BTreeMap<EventKind, Vec<&str>> = BTreeMap::new();
    for alert in alerts {
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
