//! Finding versions.

use std::ops::Bound;
use std::ops::RangeBounds;
use std::sync::Arc;

use mlops_core::{Digest, ModelVersion, Timestamp};

use crate::state::{Model, Snapshot, Version};
use crate::{Approval, name};

/// A question for versions: all that is asked for has to hold.
///
/// ```
/// use mlops_registry::{Draft, NewVersion, Query, blocking::Registry};
///
/// let registry = Registry::open("memory:")?;
/// for auc in [0.90, 0.94, 0.92] {
///     let version = NewVersion::new("shop").file("model.bin", auc.to_string()).metric("auc", auc).tag("market", "eu");
///     registry.commit(Draft::new("trainer", "sweep").register(version))?;
/// }
/// let query = Query::new().model("shop").tag("market", "eu").metric("auc", 0.91..).best_first("auc", true);
/// let found: Vec<_> = registry.snapshot().search(&query).iter().map(|found| found.id().version).collect();
/// assert_eq!(found, [2, 3]);
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Query {
    model: Option<String>,
    prefix: Option<String>,
    alias: Option<String>,
    tags: Vec<(String, Option<String>)>,
    metrics: Vec<(String, Bound<f64>, Bound<f64>)>,
    time: Option<(Bound<Timestamp>, Bound<Timestamp>)>,
    actor: Option<String>,
    approval: Option<Approval>,
    stage: Option<String>,
    run: Option<String>,
    code: Option<String>,
    framework: Option<String>,
    ancestor: Option<ModelVersion>,
    data: Option<Digest>,
    file: Option<Digest>,
    parent: Option<ModelVersion>,
    text: Option<String>,
    deleted: bool,
    order: Order,
    skip: usize,
    limit: Option<usize>,
}

#[derive(Clone, Debug, Default)]
enum Order {
    #[default]
    NameAndNumber,
    NewestFirst,
    BestFirst {
        metric: String,
        higher_is_better: bool,
    },
}

impl Query {
    /// All versions that are not deleted, by name and number.
    pub fn new() -> Self {
        Self::default()
    }

    /// Of this model.
    #[must_use]
    pub fn model(mut self, name: impl Into<String>) -> Self {
        self.model = Some(name.into());
        self
    }

    /// Of models whose name starts so.
    #[must_use]
    pub fn model_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = Some(prefix.into());
        self
    }

    /// At which this alias points.
    #[must_use]
    pub fn alias(mut self, alias: impl Into<String>) -> Self {
        self.alias = Some(alias.into());
        self
    }

    /// With this tag at this value.
    #[must_use]
    pub fn tag(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.push((name.into(), Some(value.into())));
        self
    }

    /// With this tag at any value.
    #[must_use]
    pub fn tagged(mut self, name: impl Into<String>) -> Self {
        self.tags.push((name.into(), None));
        self
    }

    /// With this metric in a range. A bound that is not a number finds nothing.
    #[must_use]
    pub fn metric(mut self, name: impl Into<String>, range: impl RangeBounds<f64>) -> Self {
        self.metrics.push((name.into(), range.start_bound().cloned(), range.end_bound().cloned()));
        self
    }

    /// Registered in this span of time.
    #[must_use]
    pub fn registered(mut self, range: impl RangeBounds<Timestamp>) -> Self {
        self.time = Some((range.start_bound().cloned(), range.end_bound().cloned()));
        self
    }

    /// Registered by this actor.
    #[must_use]
    pub fn actor(mut self, actor: impl Into<String>) -> Self {
        self.actor = Some(actor.into());
        self
    }

    /// With this approval.
    #[must_use]
    pub fn approval(mut self, approval: Approval) -> Self {
        self.approval = Some(approval);
        self
    }

    /// In this [stage](crate::Model::stage_of).
    #[must_use]
    pub fn stage(mut self, stage: impl Into<String>) -> Self {
        self.stage = Some(stage.into());
        self
    }

    /// Made by this run.
    #[must_use]
    pub fn run(mut self, run: impl Into<String>) -> Self {
        self.run = Some(run.into());
        self
    }

    /// Made by this code.
    #[must_use]
    pub fn code(mut self, code: impl Into<String>) -> Self {
        self.code = Some(code.into());
        self
    }

    /// Written by this framework.
    #[must_use]
    pub fn framework(mut self, framework: impl Into<String>) -> Self {
        self.framework = Some(framework.into());
        self
    }

    /// Made from this version, directly or not.
    #[must_use]
    pub fn descends_from(mut self, ancestor: ModelVersion) -> Self {
        self.ancestor = Some(ancestor);
        self
    }

    /// Made from data with this fingerprint, in any role.
    #[must_use]
    pub fn data(mut self, fingerprint: Digest) -> Self {
        self.data = Some(fingerprint);
        self
    }

    /// With a file of these bytes.
    #[must_use]
    pub fn file(mut self, sha256: Digest) -> Self {
        self.file = Some(sha256);
        self
    }

    /// Made directly from this version.
    #[must_use]
    pub fn parent(mut self, parent: ModelVersion) -> Self {
        self.parent = Some(parent);
        self
    }

    /// With this text in its description, whatever the case.
    #[must_use]
    pub fn text(mut self, text: impl AsRef<str>) -> Self {
        self.text = Some(text.as_ref().to_lowercase());
        self
    }

    /// The deleted ones too, and those of deleted models.
    #[must_use]
    pub fn with_deleted(mut self) -> Self {
        self.deleted = true;
        self
    }

    /// The one registered last comes first.
    #[must_use]
    pub fn newest_first(mut self) -> Self {
        self.order = Order::NewestFirst;
        self
    }

    /// The one with the best metric comes first; those without it come last.
    #[must_use]
    pub fn best_first(mut self, metric: impl Into<String>, higher_is_better: bool) -> Self {
        self.order = Order::BestFirst { metric: metric.into(), higher_is_better };
        self
    }

    /// Without so many first ones: the pages before. On one snapshot pages neither miss nor repeat a version.
    #[must_use]
    pub fn skip(mut self, count: usize) -> Self {
        self.skip = count;
        self
    }

    /// So many at most.
    #[must_use]
    pub fn limit(mut self, count_max: usize) -> Self {
        self.limit = Some(count_max);
        self
    }

    fn wants_model(&self, model: &Model) -> bool {
        (self.deleted || model.deleted.is_none())
            && self.prefix.as_ref().is_none_or(|prefix| model.name.starts_with(prefix))
    }

    fn wants(&self, model: &Model, version: &Version) -> bool {
        let record = &version.record;
        (self.deleted || version.deleted.is_none())
            && self.tags.iter().all(|(name, value)| {
                version.tags.get(name).is_some_and(|found| value.as_ref().is_none_or(|value| value == found))
            })
            && self.metrics.iter().all(|(name, from, to)| {
                version.metrics.get(name).is_some_and(|found| (*from, *to).contains(found))
            })
            && self.time.is_none_or(|range| range.contains(&version.registered.time))
            && self.actor.as_ref().is_none_or(|actor| *actor == version.registered.actor)
            && self.approval.is_none_or(|approval| approval == version.approval)
            && self.stage.as_deref().is_none_or(|stage| model.stage_of(version) == Some(stage))
            && (self.run.is_none() || self.run == record.run)
            && (self.code.is_none() || self.code == record.code)
            && (self.framework.is_none() || self.framework == record.framework)
            && self.data.is_none_or(|data| record.data.values().any(|found| *found == data))
            && self.file.is_none_or(|file| record.files.values().any(|found| found.sha256 == file))
            && self.text.as_ref().is_none_or(|text| version.description.to_lowercase().contains(text))
            && self.alias.as_ref().is_none_or(|alias| {
                model.aliases.get(alias).is_some_and(|alias| alias.version == Some(version.id().version))
            })
    }
}

impl Snapshot {
    /// The versions that a query asks for; none for a model that does not exist. Scans the models that it names: about
    /// 0.1 us for each version (2026-11, 10 000 versions by a tag, one core).
    pub fn search(&self, query: &Query) -> Vec<&Arc<Version>> {
        let models: Vec<&Model> = match &query.model {
            // A name that no model can have finds nothing.
            Some(name) if name::check_model(name).is_err() => Vec::new(),
            Some(name) => self.model(name).into_iter().collect(),
            None => self.models().collect(),
        };
        let wanted = models.into_iter().filter(|model| query.wants_model(model));
        // By the name that its model has now; one that does not exist is nobody's parent.
        let parent = query.parent.as_ref().map(|id| self.version(id).map_or(id, |found| found.id()));
        let kin = query.ancestor.as_ref().map(|id| self.lineage(id).map(|lineage| lineage.descendants));
        let kin = kin.map(Result::unwrap_or_default);
        let mut found: Vec<_> = wanted
            .flat_map(|model| model.versions.iter().filter(|version| query.wants(model, version)))
            .filter(|version| parent.is_none_or(|parent| version.record.parents.contains(parent)))
            .filter(|version| kin.as_ref().is_none_or(|kin| kin.contains(version.id())))
            .collect();
        match &query.order {
            Order::NameAndNumber => {}
            Order::NewestFirst => found.sort_by_key(|version| std::cmp::Reverse(version.registered.sequence)),
            Order::BestFirst { metric, higher_is_better } => found.sort_by(|a, b| {
                let (a, b) = (a.metrics.get(metric), b.metrics.get(metric));
                match (a, b) {
                    (Some(a), Some(b)) if *higher_is_better => b.total_cmp(a),
                    (Some(a), Some(b)) => a.total_cmp(b),
                    (a, b) => b.is_some().cmp(&a.is_some()),
                }
            }),
        }
        found.drain(..query.skip.min(found.len()));
        found.truncate(query.limit.unwrap_or(usize::MAX));
        found
    }
}
