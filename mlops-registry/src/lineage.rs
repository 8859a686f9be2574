//! What a version was made from, and what was made from it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use mlops_core::{ModelVersion, Result};
use serde::Serialize;

use crate::CopyOf;
use crate::state::{Snapshot, Version};

/// The versions above and below one version, and the data, runs and code that made them.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Lineage {
    /// The version that was asked for.
    pub of: ModelVersion,
    /// The versions that it was made from, directly or not.
    pub ancestors: BTreeSet<ModelVersion>,
    /// The versions that were made from it, directly or not.
    pub descendants: BTreeSet<ModelVersion>,
    /// Each of these versions with what it was made from.
    pub nodes: BTreeMap<String, Origin>,
}

/// What one version was made from.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Origin {
    /// Its parents in this registry; what it is a copy of counts as one.
    pub parents: Vec<ModelVersion>,
    /// The run that made it.
    pub run: Option<String>,
    /// The digests of the data that made it, by role.
    pub data: BTreeMap<String, String>,
    /// The code that made it.
    pub code: Option<String>,
    /// What it is a copy of.
    pub copy_of: Option<CopyOf>,
}

impl Snapshot {
    /// The lineage of a version. Deleted versions are part of it.
    ///
    /// # Errors
    /// `NotFound` if there is no such version.
    pub fn lineage(&self, of: &ModelVersion) -> Result<Lineage> {
        let of = self.version(of)?.id();
        let all = || self.models().flat_map(|model| &model.versions).map(|version| &version.record);
        let mut children: BTreeMap<&ModelVersion, Vec<&ModelVersion>> = BTreeMap::new();
        for record in all() {
            for parent in record.made_from() {
                children.entry(parent).or_default().push(&record.id);
            }
        }
        let parents = |id: &ModelVersion| {
            let of = |version: &Arc<Version>| version.record.made_from().cloned().collect();
            self.version(id).map(of).unwrap_or_default()
        };
        let ancestors = reach(of, parents);
        let descendants = reach(of, |id| children.get(id).into_iter().flatten().copied().cloned().collect());
        let kin = ancestors.iter().chain([of]).chain(&descendants);
        let nodes = kin.filter_map(|id| {
            let record = &self.version(id).ok()?.record;
            let data = record.data.iter().map(|(role, digest)| (role.clone(), digest.to_string())).collect();
            let (parents, run, code) =
                (record.made_from().cloned().collect(), record.run.clone(), record.code.clone());
            let copy_of = record.copy_of.clone();
            Some((id.to_string(), Origin { parents, run, data, code, copy_of }))
        });
        Ok(Lineage { of: of.clone(), nodes: nodes.collect(), ancestors, descendants })
    }
}

fn reach(from: &ModelVersion, next: impl Fn(&ModelVersion) -> Vec<ModelVersion>) -> BTreeSet<ModelVersion> {
    let (mut reached, mut left) = (BTreeSet::new(), next(from));
    while let Some(id) = left.pop() {
        if reached.insert(id.clone()) {
            left.extend(next(&id));
        }
    }
    reached
}

impl Lineage {
    /// A drawing for Markdown pages: a `mermaid` flow chart, the asked version in bold.
    ///
    /// ```
    /// use mlops_registry::{Draft, NewVersion, blocking::Registry};
    ///
    /// let registry = Registry::open("memory:")?;
    /// let base = NewVersion::new("base").file("model.bin", "weights").run("pretrain");
    /// let base = registry.commit(Draft::new("ann", "base").register(base))?.version().unwrap().clone();
    /// let tuned = NewVersion::new("shop").file("model.bin", "tuned").parent(base.clone());
    /// registry.commit(Draft::new("ann", "tuned").register(tuned))?;
    /// let drawing = registry.snapshot().lineage(&base)?.to_mermaid();
    /// assert_eq!(drawing, "flowchart TD\n  n0[\"<b>base/1</b>\"]\n  s0([\"run: pretrain\"]) --> n0\n  \
    ///                      n1[\"shop/1\"]\n  n0 --> n1\n");
    /// # Ok::<(), mlops_core::Error>(())
    /// ```
    pub fn to_mermaid(&self) -> String {
        let mut text = String::from("flowchart TD\n");
        let names: BTreeMap<&str, usize> = self.nodes.keys().map(String::as_str).zip(0..).collect();
        let mut sources: BTreeMap<String, usize> = BTreeMap::new();
        for (index, (id, origin)) in self.nodes.iter().enumerate() {
            let label =
                if *id == self.of.to_string() { format!("<b>{}</b>", quoted(id)) } else { quoted(id) };
            // Writing to a string cannot fail.
            let _ = writeln!(text, "  n{index}[\"{label}\"]");
            for parent in &origin.parents {
                if let Some(parent) = names.get(parent.to_string().as_str()) {
                    let _ = writeln!(text, "  n{parent} --> n{index}");
                }
            }
            let data = origin
                .data
                .iter()
                .map(|(role, digest)| format!("{role}: {}", &digest[..digest.len().min(12)]));
            let made_by = origin.run.iter().map(|run| format!("run: {run}"));
            let code = origin.code.iter().map(|code| format!("code: {code}"));
            let foreign = origin.copy_of.iter().filter(|copy| copy.registry.is_some());
            let copied = foreign.map(|copy| format!("copy of {copy}"));
            for source in made_by.chain(data).chain(code).chain(copied) {
                let count = sources.len();
                let number = *sources.entry(source.clone()).or_insert(count);
                let _ = writeln!(text, "  s{number}([\"{}\"]) --> n{index}", quoted(&source));
            }
        }
        text
    }
}

/// Text inside a quoted label.
fn quoted(text: &str) -> String {
    let mut label = String::new();
    for c in text.chars() {
        match c {
            '"' | '<' | '>' | '&' | '#' | ';' => {
                let _ = write!(label, "#{};", u32::from(c));
            }
            c if c.is_control() => label.push(' '),
            c => label.push(c),
        }
    }
    label
}
