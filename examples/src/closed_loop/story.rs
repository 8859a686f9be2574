//! The story as it is told on a terminal, a line at a time.

use std::collections::BTreeMap;

use mlops_core::{Event, ModelVersion, Timestamp};
use mlops_registry::{Change, Commit};

use super::summary::{MonthSummary, Move, Quality, Summary};

/// Where the lines of the story go.
pub struct Story<'a>(&'a mut dyn FnMut(&str));

impl std::fmt::Debug for Story<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Story")
    }
}

impl<'a> Story<'a> {
    /// Tells each line to `tell`.
    pub fn new(tell: &'a mut dyn FnMut(&str)) -> Self {
        Self(tell)
    }

    fn say(&mut self, line: impl AsRef<str>) {
        (self.0)(line.as_ref());
    }

    pub(super) fn begin(&mut self, source: &str) {
        self.say(format!("Traffic: {source}"));
    }

    pub(super) fn resume(&mut self, year: usize, month: &str, champion: &ModelVersion) {
        self.say(format!("Going on in {month} of year {year} with {champion} as champion"));
    }

    pub(super) fn trained(&mut self, version: &ModelVersion, metrics: &BTreeMap<&str, f64>) {
        let shown = ["auc", "log_loss", "f1", "ece", "parity"];
        let shown = shown.iter().filter_map(|name| {
            let value = metrics.get(name)?;
            Some(if *name == "parity" { format!("{name} {value:.0e}") } else { format!("{name} {value:.3}") })
        });
        self.say(format!("  trained {version}: {}", shown.collect::<Vec<_>>().join(", ")));
    }

    pub(super) fn promoted_first(&mut self, version: &ModelVersion) {
        self.say(format!("  approved {version} and made it champion"));
    }

    pub(super) fn adopted(&mut self, champion: &ModelVersion) {
        self.say(format!("  the alias was moved by hand: {champion} is champion now"));
    }

    pub(super) fn refused(&mut self, reason: &str) {
        self.say(format!("  there is no new model: {reason}"));
    }

    pub(super) fn on_trial(&mut self, version: &ModelVersion, reason: &str) {
        self.say(format!("  {version} goes on trial ({reason})"));
    }

    pub(super) fn trial_ended(&mut self, end: &Move, promoted: bool) {
        let verb = if promoted { "PROMOTED" } else { "ROLLED BACK" };
        self.say(format!("  {} {verb} on {}: {}", end.challenger, date(end.time), end.reason));
    }

    pub(super) fn month(&mut self, month: &MonthSummary) {
        let MonthSummary { year, month: name, sessions, conversion, champion, latency_us, .. } = month;
        self.say(format!(
            "{name:<4} year {year}  {sessions:>5} sessions, {:.1} % bought  champion {champion:>2}  loop {}  \
             frozen {}  {latency_us:.1} us an answer",
            conversion * 100.0,
            quality(&month.of_loop),
            quality(&month.frozen),
        ));
        const SHOWN: usize = 3;
        for alert in month.alerts.iter().take(SHOWN) {
            self.say(format!("  alert: {}", brief(alert)));
        }
        if month.alerts.len() > SHOWN {
            self.say(format!("  alert: and {} more", month.alerts.len() - SHOWN));
        }
    }

    pub(super) fn end(&mut self, summary: &Summary, history: &[Commit]) {
        let compared = summary.over_drifted_months();
        self.say(String::new());
        self.say(format!(
            "{} requests answered, {} of them by the champion in place of a failing challenger; {} failed",
            summary.requests_answered, summary.requests_fallback, summary.requests_failed
        ));
        self.say(format!(
            "{} versions registered, {} promoted, {} rolled back",
            summary.versions.len(),
            summary.promotions.len(),
            summary.roll_backs.len()
        ));
        if compared.months == 0 {
            self.say("No drift was found: there is nothing to compare with the frozen champion");
        } else {
            self.say(format!(
                "Over {} drifted months: log loss {:.4} (frozen {:.4}), AUC {:.4} (frozen {:.4})",
                compared.months,
                compared.log_loss,
                compared.frozen_log_loss,
                compared.roc_auc,
                compared.frozen_roc_auc
            ));
        }
        self.say("Who moved the champion, when and why:");
        for commit in history.iter().filter(|commit| commit.changes.iter().any(moves_champion)) {
            let (date, Commit { actor, reason, .. }) = (date(commit.time), commit);
            let to = commit.changes.iter().find_map(|change| match change {
                Change::MoveAlias { to: Some(to), .. } if moves_champion(change) => Some(to),
                _ => None,
            });
            let to = to.map_or_else(|| "nothing".to_owned(), |to| format!("version {to}"));
            self.say(format!("  {date}  champion -> {to}  by {actor}: {reason}"));
        }
    }
}

fn moves_champion(change: &Change) -> bool {
    matches!(change, Change::MoveAlias { alias, .. } if alias == mlops_serve::CHAMPION)
}

fn quality(quality: &Quality) -> String {
    let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"));
    format!("AUC {} log loss {}", number(quality.roc_auc), number(quality.log_loss))
}

fn brief(event: &Event) -> String {
    let Event { severity, kind, subject, measurement, .. } = event;
    let measured = measurement.as_ref().map_or_else(String::new, |measured| {
        format!(": {} {:.3} (limit {:.3})", measured.name, measured.value, measured.limit)
    });
    format!("{severity} {kind} {subject}{measured}")
}

fn date(time: Timestamp) -> String {
    time.to_string().chars().take_while(|c| *c != 'T').collect()
}
