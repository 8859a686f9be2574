//! Whether a version may be registered as it is described.

use mlops_core::{Error, Result};

use super::{Refusal, Snapshot};
use crate::name::{check_file, check_model, check_text};
use crate::{CopyOf, VersionRecord};

impl Snapshot {
    pub(super) fn check_register(&self, record: &mut VersionRecord) -> Result<(), Refusal> {
        check_model(&record.id.name)?;
        let versions = self.known(&record.id.name).map_or(0, |model| model.versions.len());
        record.id.version = versions as u64 + 1;
        let id = &record.id.name;
        if record.files.is_empty() {
            return Err(
                Error::invalid(format!("the version of `{id}` has no files: add at least one")).into()
            );
        }
        if record.files.len() > FILES_MAX {
            let count = record.files.len();
            return Err(Error::invalid(format!(
                "the version of `{id}` has {count} files: the limit is {FILES_MAX}"
            ))
            .into());
        }
        let mut folded = std::collections::BTreeMap::new();
        for name in record.files.keys() {
            check_file(name)?;
            if let Some(other) = folded.insert(name.to_lowercase(), name) {
                return Err(Error::invalid(format!(
                    "files `{other}` and `{name}` are one file where case does not count: rename one"
                ))
                .into());
            }
        }
        for name in record.files.keys() {
            for (cut, _) in name.match_indices('/') {
                if let Some(file) = folded.get(&name[..cut].to_lowercase()) {
                    return Err(Error::invalid(format!(
                        "`{file}` is both a file and the folder of `{name}`"
                    ))
                    .into());
                }
            }
        }
        check_metrics(&record.metrics)?;
        record.tags.iter().try_for_each(|(key, value)| check_tag(key, value))?;
        if !record.description.is_empty() {
            check_text("description", &record.description, TEXT_BYTES_MAX)?;
        }
        for (what, text) in [
            ("framework", &record.framework),
            ("run", &record.run),
            ("code", &record.code),
            ("baseline", &record.baseline),
        ] {
            if let Some(text) = text {
                check_text(what, text, TEXT_BYTES_MAX)?;
            }
        }
        for role in record.data.keys() {
            check_text("role of the data", role, KEY_BYTES_MAX)?;
        }
        if let Some(CopyOf { registry: Some(registry), .. }) = &record.copy_of {
            check_text("place of the registry that is copied from", registry, TEXT_BYTES_MAX)?;
        }
        for parent in record.made_from_mut() {
            let found = self
                .version(parent)
                .map_err(|error| error.context(format!("parent {parent} is not registered")))?;
            // By the name that its model has now.
            parent.clone_from(found.id());
        }
        for file in record.files.values_mut() {
            match self.blobs.get(&file.sha256) {
                Some(blob) => file.upload = blob.upload,
                None if file.upload < self.watermark => return Err(Refusal::UploadExpired(file.sha256)),
                None => {}
            }
        }
        // Two files of one version with the same bytes share the first one's upload.
        let mut shared = std::collections::BTreeMap::new();
        for file in record.files.values_mut() {
            file.upload = *shared.entry(file.sha256).or_insert(file.upload);
        }
        Ok(())
    }
}

pub(super) fn check_metrics(metrics: &std::collections::BTreeMap<String, f64>) -> Result<()> {
    for (name, value) in metrics {
        check_text("name of the metric", name, KEY_BYTES_MAX)?;
        if !value.is_finite() {
            return Err(Error::invalid(format!("metric `{name}` is {value}: want a finite number")));
        }
    }
    Ok(())
}

pub(super) fn check_tag(key: &str, value: &str) -> Result<()> {
    check_text("name of the tag", key, KEY_BYTES_MAX)?;
    if value.is_empty() { Ok(()) } else { check_text("value of the tag", value, TEXT_BYTES_MAX) }
}

const FILES_MAX: usize = 10_000;
pub(super) const KEY_BYTES_MAX: usize = 256;
pub(super) const TEXT_BYTES_MAX: usize = 64 << 10;
