//! What the host's exporters hear of a registry.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};
use mlops_core::{ModelVersion, Result};
use mlops_registry::blocking::Registry;
use mlops_registry::doctor::Checkup;
use mlops_registry::{Draft, Expect, NewVersion};
use tracing::Level;

/// The counts and gauges by name and labels; of a histogram how many values it took.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heard(Arc<Mutex<BTreeMap<String, u64>>>, Arc<Mutex<BTreeSet<String>>>);

struct Cell(Heard, String);

impl Cell {
    fn set(&self, value: impl FnOnce(u64) -> u64) {
        let mut heard = self.0.0.lock().unwrap();
        let found = heard.entry(self.1.clone()).or_default();
        *found = value(*found);
    }
}

impl CounterFn for Cell {
    fn increment(&self, count: u64) {
        self.set(|found| found + count);
    }

    fn absolute(&self, _: u64) {}
}

impl GaugeFn for Cell {
    fn increment(&self, _: f64) {}
    fn decrement(&self, _: f64) {}
    fn set(&self, value: f64) {
        self.set(|_| value as u64);
    }
}

impl HistogramFn for Cell {
    fn record(&self, value: f64) {
        assert!(value >= 0.0);
        self.set(|found| found + 1);
    }
}

impl Heard {
    /// What was counted under a name and labels.
    pub(crate) fn count(&self, name: &str) -> u64 {
        self.0.lock().unwrap().get(name).copied().unwrap_or_default()
    }

    fn describe(&self, name: &KeyName) {
        self.1.lock().unwrap().insert(name.as_str().to_owned());
    }

    fn cell(&self, key: &Key) -> Arc<Cell> {
        assert!(self.1.lock().unwrap().contains(key.name()), "{} is not described", key.name());
        let labels: Vec<_> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        let name = key.name().strip_prefix("mlops_registry_").unwrap();
        Arc::new(Cell(self.clone(), format!("{name}{{{}}}", labels.join(","))))
    }
}

impl Recorder for Heard {
    fn describe_counter(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
        self.describe(&name);
    }

    fn describe_gauge(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
        self.describe(&name);
    }

    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
        assert_eq!(unit, Some(Unit::Seconds));
        self.describe(&name);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.cell(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.cell(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.cell(key))
    }
}

/// The spans in the order in which they were made, and what was recorded on them later.
#[derive(Debug, Default)]
pub(crate) struct Spans {
    made: Mutex<Vec<(&'static str, Level)>>,
    recorded: Mutex<Vec<(&'static str, String)>>,
}

impl Spans {
    pub(crate) fn recorded(&self) -> Vec<(&'static str, String)> {
        self.recorded.lock().unwrap().clone()
    }
}

struct Fields(String);

impl tracing::field::Visit for Fields {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        self.0 = format!("{field}={value:?}");
    }
}

impl tracing::Subscriber for Spans {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        let mut made = self.made.lock().unwrap();
        made.push((span.metadata().name(), *span.metadata().level()));
        tracing::span::Id::from_u64(made.len() as u64)
    }

    fn record(&self, span: &tracing::span::Id, values: &tracing::span::Record<'_>) {
        let name = self.made.lock().unwrap()[span.into_u64() as usize - 1].0;
        let mut fields = Fields(String::new());
        values.record(&mut fields);
        self.recorded.lock().unwrap().push((name, fields.0));
    }

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

/// What a work tells, the second time. If a test to which nobody listens comes upon a span first, `tracing` takes it that
/// nobody ever will, until another subscriber comes.
pub(crate) fn listen(work: impl Fn()) -> (Heard, Arc<Spans>) {
    let once = || {
        let (heard, spans) = (Heard::default(), Arc::new(Spans::default()));
        metrics::with_local_recorder(&heard, || tracing::subscriber::with_default(spans.clone(), &work));
        (heard, spans)
    };
    once();
    once()
}

fn work() -> Result<()> {
    let registry = Registry::open("memory:")?;
    let draft = || {
        let version = NewVersion::new("shop").file("model.bin", "weights");
        Draft::new("ann", "first").key("once").register(version)
    };
    let id = registry.commit(draft())?.version().unwrap().clone();
    assert!(registry.commit(draft())?.replayed);
    registry.commit(Draft::new("ann", "go").alias("champion", &id, Expect::Version(7))).unwrap_err();
    registry.commit(Draft::new("", "go").alias("champion", &id, Expect::Absent)).unwrap_err();
    registry.commit(Draft::new("ann", "go").alias("champion", &id, Expect::Absent))?;
    for _ in 0..1000 {
        // What a server asks for every request is told to nobody.
        assert!(registry.state().alias("shop", "champion").is_some());
    }
    registry.fetch(&id)?;
    registry.read(&id, "model.bin")?;
    registry.fetch(&ModelVersion::new("shop", 9)).unwrap_err();
    registry.commit(
        Draft::new("ann", "old").remove_alias("shop", "champion", Expect::Any).delete(&id).purge(&id),
    )?;
    registry.sweep("ann", "disk", Duration::ZERO)?;
    let mut checkup = Checkup::default();
    checkup.races = 0;
    assert!(registry.doctor(checkup)?.is_healthy());
    Ok(())
}

#[test]
fn calls_are_counted_and_are_spans() {
    let (heard, spans) = listen(|| work().unwrap());
    let mut heard = heard.0.lock().unwrap().clone();
    let refreshes = heard.remove("refreshes_total{registry=memory:,outcome=ok}").unwrap();
    assert_eq!(heard.remove("refresh_seconds{registry=memory:}"), Some(refreshes));
    assert!((9..20).contains(&refreshes), "{refreshes}");
    let expected = [
        ("checkup_seconds{registry=memory:}", 1),
        ("checkups_total{registry=memory:,outcome=healthy}", 1),
        ("commit_seconds{registry=memory:}", 7),
        ("commits_total{registry=memory:,outcome=committed}", 4),
        ("commits_total{registry=memory:,outcome=conflict}", 1),
        ("commits_total{registry=memory:,outcome=invalid}", 1),
        ("commits_total{registry=memory:,outcome=replayed}", 1),
        ("fetch_seconds{registry=memory:}", 3),
        ("fetched_bytes_total{registry=memory:}", 14),
        ("fetches_total{registry=memory:,outcome=not_found}", 1),
        ("fetches_total{registry=memory:,outcome=ok}", 2),
        ("open_seconds{registry=memory:}", 1),
        ("opens_total{registry=memory:,outcome=ok}", 1),
        ("sequence{registry=memory:}", 4),
        ("sweep_seconds{registry=memory:}", 1),
        ("sweeps_total{registry=memory:,outcome=ok}", 1),
        ("swept_bytes_total{registry=memory:}", 7),
        ("uploaded_bytes_total{registry=memory:}", 7),
    ];
    assert_eq!(heard, expected.map(|(name, count)| (name.to_owned(), count)).into());
    let [open, commit, fetch] = ["registry_open", "registry_commit", "registry_fetch"];
    let expected =
        [&[open][..], &[commit; 5], &[fetch; 3], &[commit, "registry_sweep", commit, "registry_doctor"]];
    // Every call refreshes, at a level of its own.
    let (refreshes, others): (Vec<_>, Vec<_>) =
        spans.made.lock().unwrap().iter().copied().partition(|(name, _)| *name == "registry_refresh");
    assert!(refreshes.len() > 9 && refreshes.iter().all(|(_, level)| *level == Level::DEBUG));
    assert!(others.iter().all(|(_, level)| *level == Level::INFO));
    assert!(others.into_iter().map(|(name, _)| name).eq(expected.concat()));
}
