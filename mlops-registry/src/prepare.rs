//! What a draft means before it meets a state: its files measured, its request named by a digest.

use std::collections::BTreeMap;

use mlops_core::{Digest, Error, ModelVersion, Result};

use crate::builder::Limits;
use crate::content::Content;
use crate::draft::Step;
use crate::measure::{Measured, measure};
use crate::registry::Registry;
use crate::{Change, Draft, Expect, FileRecord, Format, NewVersion, UploadId, VersionRecord};

/// A draft whose files were measured.
pub(crate) struct Prepared {
    pub(crate) records: Vec<VersionRecord>,
    pub(crate) digest: Digest,
}

pub(crate) async fn prepare(draft: &Draft, registry: &Registry) -> Result<Prepared> {
    let mut records = Vec::new();
    let mut digester = mlops_core::Digester::new();
    let state = registry.state();
    // A second try may name a model otherwise, if it was renamed since the first.
    let first = |name: &str| state.first_name(name).to_owned();
    for step in &draft.steps {
        match step {
            Step::Change(Change::Register(_)) => {
                return Err(Error::invalid(
                    "a version is registered with its files: take `Draft::register` instead of a change",
                ));
            }
            Step::Change(Change::Watermark { .. }) => {
                return Err(Error::invalid("the watermark of uploads is moved by `Registry::sweep` alone"));
            }
            Step::Change(change) => {
                let mut goal = goal(change);
                if let Some(model) = goal.model_mut() {
                    *model = first(model);
                }
                digester.field(json(&goal)?);
            }
            Step::Watermark(upload) => digester.field(format!("sweep {upload}")),
            // What has to hold before is read anew by a second try.
            Step::Unchanged(_) => {}
            Step::RollBack { model, alias, at } => {
                let model = model.as_deref().map(first);
                let of = alias.as_ref().map_or(String::new(), |alias| format!(" {alias:?}"));
                digester.field(format!("roll back {model:?} {at:?}{of}"));
            }
            Step::Register(version) => {
                let mut files = BTreeMap::new();
                if let Some(name) = &version.twice {
                    return Err(Error::invalid(format!(
                        "file `{}` is given twice to the version of `{}`: give it once",
                        name.escape_debug(),
                        version.model.escape_debug()
                    )));
                }
                let limits = registry.inner.limits;
                check_size(version, limits)?;
                let mut total: u64 = 0;
                for (name, content) in &version.files {
                    crate::name::check_file(name)?;
                    let upload = UploadId::default();
                    let file = match content {
                        Content::File(file) => {
                            let Measured { sha256, size_bytes, format, external } = measure(file, name)?;
                            check_external(version, name, &external)?;
                            FileRecord { sha256, size_bytes, format, upload }
                        }
                        // What it reaches for lies beside it, as where it comes from.
                        Content::Stored(_, file) => FileRecord { upload, ..file.clone() },
                    };
                    // It may have grown since its length was asked for.
                    total = total.saturating_add(file.size_bytes);
                    limits.check(name, file.size_bytes, total)?;
                    check_format(version, name, file.format)?;
                    files.insert(name.clone(), file);
                }
                let copy_of = match &version.copy_of {
                    Some(original) => Some(registry.origin(original).await?),
                    None => None,
                };
                let record = VersionRecord {
                    id: ModelVersion::new(&version.model, 0),
                    files,
                    signature: version.signature.clone(),
                    framework: version.framework.clone(),
                    metrics: version.metrics.clone(),
                    tags: version.tags.clone(),
                    description: version.description.clone(),
                    parents: version.parents.clone(),
                    run: version.run.clone(),
                    data: version.data.clone(),
                    code: version.code.clone(),
                    baseline: version.baseline.clone(),
                    evaluation: version.evaluation.clone(),
                    copy_of,
                };
                let mut goal = record.clone();
                goal.id.name = first(&goal.id.name);
                goal.parents.iter_mut().for_each(|parent| parent.name = first(&parent.name));
                if let (Some(copy), Some(original)) = (&mut goal.copy_of, &version.copy_of) {
                    copy.version.name.clone_from(&original.first_name);
                }
                digester.field(json(&goal)?);
                records.push(record);
            }
        }
    }
    Ok(Prepared { records, digest: digester.finish() })
}

/// Whether the files of a version are within the limits of this process, before they are read.
fn check_size(version: &NewVersion, limits: Limits) -> Result<()> {
    let mut total: u64 = 0;
    for (name, content) in &version.files {
        let bytes = content.size_bytes()?;
        total = total.saturating_add(bytes);
        limits.check(name, bytes, total)?;
    }
    Ok(())
}

impl Limits {
    /// Whether a file, and the files of a version up to it, are within the limits.
    fn check(self, name: &str, bytes: u64, total: u64) -> Result<()> {
        let name = name.escape_debug();
        let (what, limit, way_out) = if bytes > self.file_bytes {
            (format!("file `{name}` has {bytes} bytes"), self.file_bytes, "file_bytes_max")
        } else if total > self.version_bytes {
            (format!("the files up to `{name}` have {total} bytes"), self.version_bytes, "version_bytes_max")
        } else {
            return Ok(());
        };
        Err(Error::invalid(format!("{what}: the limit is {limit}; raise it by `Builder::{way_out}`")))
    }
}

/// Whether a file may be in a version.
fn check_format(version: &NewVersion, name: &str, format: Format) -> Result<()> {
    let why = match format {
        _ if version.pickle => return Ok(()),
        Format::Pickle => "is a pickle, which runs code when it is loaded: export ONNX or safetensors",
        Format::Compressed => {
            "is compressed and may hide a pickle, which runs code when it is loaded: unpack it"
        }
        _ => return Ok(()),
    };
    Err(Error::invalid(format!("file `{name}` {why}, or allow it by `NewVersion::allow_pickle`")))
}

/// Whether the external data of an ONNX model lies among the files of the version, and nowhere else.
fn check_external(version: &NewVersion, model: &str, external: &[String]) -> Result<()> {
    let folder = model.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
    for location in external {
        crate::name::check_file(location).map_err(|error| {
            error.context(format!("ONNX model `{model}` reaches for data outside its folder"))
        })?;
        if !version.files.contains_key(&format!("{folder}{location}")) {
            return Err(Error::invalid(format!(
                "ONNX model `{model}` keeps data in `{folder}{location}`: add that file to the version"
            )));
        }
    }
    Ok(())
}

/// A change without its expectation, which a second try reads anew: after the first one succeeded, another holds.
fn goal(change: &Change) -> Change {
    let mut goal = change.clone();
    if let Change::MoveAlias { expect, .. } = &mut goal {
        *expect = Expect::Any;
    }
    goal
}

fn json(value: &impl serde::Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|error| Error::internal("a change has no JSON form").with_source(error))
}
