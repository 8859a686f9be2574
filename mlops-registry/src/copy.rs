//! Versions that are copied to another model or another registry.

use mlops_core::{Digest, ModelVersion, Result};

use crate::content::Content;
use crate::registry::Registry;
use crate::{Commit, CopyOf, NewVersion};

impl Registry {
    /// A copy of a version, to be registered under a model of this registry or of another one: from staging to
    /// production.
    ///
    /// It has the same files, whose digests are checked on the way, and what is known of the version now; what it is a
    /// copy of is recorded. Bytes that the other registry holds already are not copied. Parents, reviews, stage
    /// and aliases belong to the original and do not come along. A pickle has to be
    /// [allowed](NewVersion::allow_pickle) again.
    ///
    /// ```
    /// use mlops_registry::{Draft, NewVersion, blocking::Registry};
    ///
    /// let (staging, production) = (Registry::open("memory:")?, Registry::open("memory:")?);
    /// let tried = NewVersion::new("shop-candidate").file("model.bin", "weights").metric("auc", 0.93);
    /// let receipt = staging.commit(Draft::new("trainer", "May").register(tried))?;
    /// let copy = staging.copy_of(receipt.version().unwrap(), "shop")?;
    /// let receipt = production.commit(Draft::new("ann", "passed staging").register(copy))?;
    /// let id = receipt.version().unwrap();
    /// assert_eq!(production.read(id, "model.bin")?, "weights");
    /// let state = production.snapshot();
    /// let copied = state.version(id)?.record.copy_of.as_ref().unwrap();
    /// assert_eq!(copied.to_string(), "shop-candidate/1 of memory:");
    /// # Ok::<(), mlops_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` if there is no such version or its files are gone, `Unavailable` if the storage is out of reach.
    pub async fn copy_of(&self, version: &ModelVersion, model: impl Into<String>) -> Result<NewVersion> {
        let found = self.stored(version).await?;
        let record = &found.record;
        let mut copy = NewVersion::new(model);
        for (name, file) in &record.files {
            copy.files.insert(name.clone(), Content::Stored(self.inner.blobs.clone(), file.clone()));
        }
        copy.signature = record.signature.clone();
        copy.framework.clone_from(&record.framework);
        copy.metrics.clone_from(&found.metrics);
        copy.tags.clone_from(&found.tags);
        copy.description.clone_from(&found.description);
        copy.run.clone_from(&record.run);
        copy.data.clone_from(&record.data);
        copy.code.clone_from(&record.code);
        copy.baseline.clone_from(&record.baseline);
        copy.evaluation.clone_from(&record.evaluation);
        let state = self.state();
        copy.copy_of = Some(Original {
            version: found.id().clone(),
            first_name: state.first_name(&version.name).to_owned(),
            location: self.inner.location.clone(),
            sequence: state.sequence(),
            head: state.head(),
        });
        Ok(copy)
    }

    /// What is recorded of an original: the registry too, unless it is this one.
    ///
    /// It is this one if the log holds the very entry that the original's log ended with when the copy was asked for,
    /// which proves all entries before it: however often it was opened and however its place is written.
    pub(crate) async fn origin(&self, of: &Original) -> Result<CopyOf> {
        let entry = self.inner.log.read(of.sequence, 1).await?.pop();
        let same = entry.and_then(|entry| Commit::seal(&entry)) == Some(of.head);
        Ok(CopyOf { version: of.version.clone(), registry: (!same).then(|| of.location.clone()) })
    }
}

/// What a version is a copy of: where it was found, and the log's end by then.
#[derive(Clone, Debug)]
pub(crate) struct Original {
    version: ModelVersion,
    /// The name that its model was made with: the same copy, whatever it is called when it is asked for.
    pub(crate) first_name: String,
    location: String,
    sequence: u64,
    head: Digest,
}
