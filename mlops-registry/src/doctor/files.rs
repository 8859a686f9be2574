//! Every file of every version: whether its bytes are there and have their digest.

use std::collections::{BTreeMap, BTreeSet};

use mlops_core::{Digest, ModelVersion, Severity};

use super::{Checkup, Report};
use crate::blocking::Registry;
use crate::{FileRecord, Snapshot, UploadId};

type Uploads = BTreeMap<Digest, BTreeMap<UploadId, u64>>;

impl Registry {
    pub(super) fn check_files(&self, state: &Snapshot, checkup: Checkup, report: &mut Report) {
        let mut uploads = Uploads::new();
        match self.wait(self.registry().blobs().list()) {
            Ok(found) => {
                for (sha256, upload, size_bytes) in found {
                    uploads.entry(sha256).or_default().insert(upload, size_bytes);
                }
            }
            Err(error) => {
                report.add(Severity::Critical, format!("the files cannot be listed: {error:#}"));
                return;
            }
        }
        let mut seen = BTreeSet::new();
        let versions = state.models().flat_map(|model| &model.versions);
        for version in versions.filter(|version| version.purged.is_none()) {
            for (name, file) in &version.record.files {
                if !seen.insert(file.sha256) {
                    continue;
                }
                report.files += 1;
                report.bytes += file.size_bytes;
                if let Some(fault) = self.fault(file, &uploads, checkup)
                    && self.is_needed(version.id())
                {
                    self.add_fault(version.id(), name, file, &fault, &uploads, checkup, report);
                }
            }
        }
        let all = uploads.iter().flat_map(|(sha256, of)| of.iter().map(move |(id, size)| (sha256, id, size)));
        let orphans: Vec<u64> = all
            .filter(|(sha256, id, _)| state.upload(sha256) != Some(**id))
            .map(|(_, _, size)| *size)
            .collect();
        if !orphans.is_empty() {
            let (count, bytes) = (orphans.len(), orphans.iter().sum::<u64>());
            let lost = report.findings.iter().any(|finding| finding.severity == Severity::Critical);
            let advice = if lost { "keep them until what is critical is mended" } else { "sweep them" };
            report.add(
                Severity::Info,
                format!("{count} uploads with {bytes} bytes belong to no version that is known: {advice}"),
            );
        }
    }

    /// What is wrong with a file.
    fn fault(&self, file: &FileRecord, uploads: &Uploads, checkup: Checkup) -> Option<String> {
        match uploads.get(&file.sha256).and_then(|uploads| uploads.get(&file.upload)) {
            None => Some("it is gone".to_owned()),
            Some(size) if *size != file.size_bytes => Some(format!("it has {size} bytes")),
            Some(_) if checkup.digests => {
                self.wait(self.registry().blobs().fault(file)).map(|error| format!("{error:#}"))
            }
            Some(_) => None,
        }
    }

    /// Whether a version was not purged since the log was walked.
    fn is_needed(&self, id: &ModelVersion) -> bool {
        // While the log cannot be read, what the walk saw holds.
        self.refresh().map_or(true, |now| now.version(id).is_ok_and(|version| version.purged.is_none()))
    }

    #[allow(clippy::too_many_arguments, reason = "one finding in all its parts")]
    fn add_fault(
        &self,
        id: &ModelVersion,
        name: &str,
        file: &FileRecord,
        fault: &str,
        uploads: &Uploads,
        checkup: Checkup,
        report: &mut Report,
    ) {
        let mut others = uploads.get(&file.sha256).into_iter().flat_map(BTreeMap::keys);
        let mut failure = String::new();
        let mut restore = |from: &UploadId| {
            let restored = self.wait(self.registry().blobs().restore(file, *from));
            restored.unwrap_or_else(|error| {
                failure = format!("; it could not be repaired: {error:#}");
                false
            })
        };
        let repaired = checkup.repair && others.any(|from| *from != file.upload && restore(from));
        let way_out = match repaired {
            true => String::new(),
            false => format!("{failure}; bring its bytes back from a copy by `Registry::mend`"),
        };
        report
            .add(Severity::Critical, format!("file `{name}` of {id} is damaged ({fault}){way_out}"))
            .repaired = repaired;
    }
}
