//! Model cards: a version told to people, from what is recorded.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::sync::Arc;

use mlops_core::evaluation::Evaluation;
use mlops_core::{ModelSignature, ModelVersion, Result};
use serde::Serialize;

use crate::gate::signature_text;
use crate::state::{Model, Review, Snapshot, Stamp};
use crate::{Approval, Format, GateResult};

/// All that the registry knows of one version. Serialises to JSON; [`to_markdown`](Self::to_markdown) is for
/// people.
///
/// Sections as in M. Mitchell et al., *Model Cards for Model Reporting*, 2019, as far as they are recorded.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ModelCard {
    /// Its name and number.
    pub id: ModelVersion,
    /// The names that its model had before, oldest first.
    pub former_names: Vec<String>,
    /// What the model is for.
    pub model_description: String,
    /// The tags of the model.
    pub model_tags: BTreeMap<String, String>,
    /// The commit that deleted the model, if it is deleted.
    pub model_deleted: Option<Arc<Stamp>>,
    /// The commit that deleted this version, if it is deleted.
    pub deleted: Option<Arc<Stamp>>,
    /// The commit that gave up its files, if they are gone.
    pub purged: Option<Arc<Stamp>>,
    /// What this version is.
    pub description: String,
    /// Who registered it, when and why.
    pub registered: Arc<Stamp>,
    /// Whether it may serve.
    pub approval: Approval,
    /// Who said so.
    pub reviews: Vec<Review>,
    /// The stage that it is in.
    pub stage: Option<String>,
    /// The aliases that point at it.
    pub aliases: Vec<String>,
    /// When aliases pointed at it, by alias and time.
    pub served: Vec<CardService>,
    /// How it fares at the gates of its model now, by alias.
    pub gates: BTreeMap<String, Vec<GateResult>>,
    /// What it takes and gives.
    pub signature: ModelSignature,
    /// What wrote it.
    pub framework: Option<String>,
    /// Its numbers.
    pub metrics: BTreeMap<String, f64>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// The versions that it was made from.
    pub parents: Vec<String>,
    /// What it is a copy of.
    pub copy_of: Option<String>,
    /// How it did on rows that it had not seen.
    pub evaluation: Option<Arc<Evaluation>>,
    /// The run that made it.
    pub run: Option<String>,
    /// The digests of the data that made it, by role.
    pub data: BTreeMap<String, String>,
    /// The code that made it.
    pub code: Option<String>,
    /// The profile that its inputs are compared with.
    pub baseline: Option<String>,
    /// Its files.
    pub files: BTreeMap<String, CardFile>,
}

/// A span of time in which an alias pointed at a version.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct CardService {
    /// The alias.
    pub alias: String,
    /// The commit that pointed it there.
    pub from: Arc<Stamp>,
    /// The commit that pointed it elsewhere; `None` if it still points there.
    pub until: Option<Arc<Stamp>>,
}

/// The spans of time in which aliases of a model pointed at a version of it.
fn served(model: &Model, version: u64) -> Vec<CardService> {
    let mut spans: Vec<CardService> = Vec::new();
    for (name, alias) in &model.aliases {
        let mut open: Option<CardService> = None;
        for step in &alias.moves {
            match (&mut open, step.to == Some(version)) {
                (None, true) => {
                    open = Some(CardService { alias: name.clone(), from: step.by.clone(), until: None });
                }
                (Some(_), false) => {
                    let until = Some(step.by.clone());
                    spans.extend(open.take().map(|span| CardService { until, ..span }));
                }
                _ => {}
            }
        }
        spans.extend(open);
    }
    spans
}

/// One file of a model card.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct CardFile {
    /// Its format.
    pub format: Format,
    /// Its length.
    pub size_bytes: u64,
    /// Its digest.
    pub sha256: String,
}

impl Snapshot {
    /// The card of a version.
    ///
    /// # Errors
    /// `NotFound` if there is no such version.
    pub fn card(&self, id: &ModelVersion) -> Result<ModelCard> {
        let model = self.model(&id.name)?;
        let version = self.version(id)?;
        let record = &version.record;
        let pointing = model.aliases.iter().filter(|(_, alias)| alias.version == Some(id.version));
        let gates = model.policy.gates.keys();
        let gates =
            gates.map(|alias| Ok((alias.clone(), self.gates(&model.name, alias, version.id().version)?)));
        let file = |file: &crate::FileRecord| CardFile {
            format: file.format,
            size_bytes: file.size_bytes,
            sha256: file.sha256.to_string(),
        };
        Ok(ModelCard {
            id: version.id().clone(),
            former_names: model.former.iter().map(|former| former.name.clone()).collect(),
            model_description: model.description.clone(),
            model_tags: model.tags.clone(),
            model_deleted: model.deleted.clone(),
            deleted: version.deleted.clone(),
            purged: version.purged.clone(),
            description: version.description.clone(),
            registered: version.registered.clone(),
            approval: version.approval,
            reviews: version.reviews.clone(),
            stage: model.stage_of(version).map(str::to_owned),
            aliases: pointing.map(|(name, _)| name.clone()).collect(),
            served: served(model, version.id().version),
            gates: gates.collect::<Result<_>>()?,
            signature: record.signature.clone(),
            framework: record.framework.clone(),
            metrics: version.metrics.clone(),
            tags: version.tags.clone(),
            parents: record.parents.iter().map(ToString::to_string).collect(),
            copy_of: record.copy_of.as_ref().map(ToString::to_string),
            evaluation: record.evaluation.clone(),
            run: record.run.clone(),
            data: record.data.iter().map(|(role, digest)| (role.clone(), digest.to_string())).collect(),
            code: record.code.clone(),
            baseline: record.baseline.clone(),
            files: record.files.iter().map(|(name, found)| (name.clone(), file(found))).collect(),
        })
    }
}

impl ModelCard {
    /// The card as a Markdown page. Recorded text is escaped: it cannot add markup, links or HTML.
    pub fn to_markdown(&self) -> String {
        let mut page = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut page);
        page
    }

    fn write(&self, page: &mut String) -> fmt::Result {
        writeln!(page, "# {}\n", Plain(&self.id.to_string()))?;
        for text in [&self.model_description, &self.description] {
            if !text.is_empty() {
                writeln!(page, "{}\n", Plain(text))?;
            }
        }
        let by = |stamp: &Stamp| format!("{} on {}: {}", stamp.actor, stamp.time, stamp.reason);
        let no_service = match (&self.purged, &self.deleted, &self.model_deleted) {
            (Some(_), ..) => Some("no: its files are gone"),
            (None, None, None) if self.approval != Approval::Rejected => None,
            (None, None, None) => Some("no alias can be pointed at it: it was rejected"),
            _ => Some("no: it is deleted, and no alias can point at it until it is restored"),
        };
        let facts = [
            ("Can serve", no_service.map(str::to_owned)),
            ("Former names", (!self.former_names.is_empty()).then(|| self.former_names.join(", "))),
            ("Registered by", Some(by(&self.registered))),
            ("Model deleted by", self.model_deleted.as_deref().map(by)),
            ("Deleted by", self.deleted.as_deref().map(by)),
            ("Files given up by", self.purged.as_deref().map(by)),
            ("Approval", Some(self.approval.to_string())),
            ("Stage", self.stage.clone()),
            ("Aliases", (!self.aliases.is_empty()).then(|| self.aliases.join(", "))),
            ("Framework", self.framework.clone()),
            ("Signature", Some(signature_text(&self.signature))),
            ("Run", self.run.clone()),
            ("Code", self.code.clone()),
            ("Parents", (!self.parents.is_empty()).then(|| self.parents.join(", "))),
            ("Copy of", self.copy_of.clone()),
            ("Baseline", self.baseline.clone()),
        ];
        writeln!(page, "| | |\n|---|---|")?;
        for (name, value) in facts.iter().filter_map(|(name, value)| Some((name, value.as_ref()?))) {
            writeln!(page, "| {name} | {} |", Plain(value))?;
        }
        let mut table = |title: &str, rows: Vec<(&str, String)>| -> fmt::Result {
            if rows.is_empty() {
                return Ok(());
            }
            writeln!(page, "\n## {title}\n\n| | |\n|---|---|")?;
            rows.iter().try_for_each(|(name, value)| writeln!(page, "| {} | {} |", Plain(name), Plain(value)))
        };
        let text = |map: &'_ BTreeMap<String, String>| -> Vec<(String, String)> {
            map.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
        };
        table(
            "Metrics",
            self.metrics.iter().map(|(name, value)| (name.as_str(), value.to_string())).collect(),
        )?;
        if let Some(evaluation) = &self.evaluation {
            let mut rows = Vec::new();
            let slices =
                evaluation.slices.iter().map(|(name, slice)| (Some(name), slice.rows, &slice.metrics));
            for (slice, count, metrics) in
                [(None, evaluation.rows, &evaluation.metrics)].into_iter().chain(slices)
            {
                for (name, metric) in metrics {
                    let of = slice.map_or(name.clone(), |slice| format!("{name} on {slice}"));
                    let error = metric.std_error.map_or(String::new(), |error| format!(" ± {error}"));
                    rows.push((of, format!("{}{error} ({count} rows)", metric.value)));
                }
            }
            table("Evaluation", rows.iter().map(|(of, value)| (of.as_str(), value.clone())).collect())?;
        }
        table("Reviews", {
            let said = |Review { verdict, by }: &Review| format!("{verdict} on {}: {}", by.time, by.reason);
            self.reviews.iter().map(|review| (review.by.actor.as_str(), said(review))).collect()
        })?;
        let span = |span: &CardService| {
            let until = span.until.as_deref().map_or("now".to_owned(), by);
            format!("from {}; until {until}", by(&span.from))
        };
        table("Served as", self.served.iter().map(|found| (found.alias.as_str(), span(found))).collect())?;
        let gates = self
            .gates
            .iter()
            .flat_map(|(alias, gates)| gates.iter().map(move |gate| (alias.as_str(), gate.to_string())));
        table("Gates", gates.collect())?;
        let model_tags = text(&self.model_tags);
        table(
            "Tags of the model",
            model_tags.iter().map(|(name, value)| (name.as_str(), value.clone())).collect(),
        )?;
        let (data, tags) = (text(&self.data), text(&self.tags));
        table("Data", data.iter().map(|(role, digest)| (role.as_str(), digest.clone())).collect())?;
        table("Tags", tags.iter().map(|(name, value)| (name.as_str(), value.clone())).collect())?;
        let files = self.files.iter().map(|(name, file)| {
            (name.as_str(), format!("{}, {} bytes, sha256 {}", file.format, file.size_bytes, file.sha256))
        });
        table("Files", files.collect())
    }
}

/// Text that stays text in Markdown.
struct Plain<'a>(&'a str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, c) in self.0.char_indices() {
            match c {
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '&' => f.write_str("&amp;")?,
                // Some readers make links of bare addresses and names.
                '@' => f.write_str("&#64;")?,
                ':' if self.0[place..].starts_with("://") => f.write_str("&#58;")?,
                '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '!' | '~' => {
                    f.write_char('\\')?;
                    f.write_char(c)?;
                }
                c if c.is_control() => f.write_char(' ')?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}
