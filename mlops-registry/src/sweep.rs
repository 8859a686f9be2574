//! Garbage collection: removes uploads that no version refers to.

use std::time::{Duration, SystemTime};

use mlops_core::{Error, Result};

use crate::telemetry::{self, Amount, Call};
use crate::{Draft, Registry, Snapshot, UploadId};

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Swept {
    /// How many uploads it removed.
    pub uploads: u64,
    /// How many bytes they had.
    pub bytes: u64,
    /// How many bytes of half-written files it removed, which killed writers left on a local disk.
    pub staged_bytes: u64,
}

impl Registry {
    /// Removes the uploads that no version refers to: those of purged versions, and the orphans of writers that
    /// died before their commit.
    ///
    /// Safe at any time, beside any writers, with any clock: before anything is removed, a watermark in the log
    /// forbids new references to what may be removed. A writer whose upload is older uploads it again. `grace`
    /// is a kindness to slow writers alone: uploads younger than that are left, by the clocks of the machines
    /// that made them. Interrupted, it is simply run again.
    ///
    /// On a local disk it also removes what killed writers left half written, when nobody has touched it for
    /// `grace`, an hour at least. A cloud keeps the parts of unfinished uploads out of sight and on the bill: give
    /// the bucket a lifecycle rule that aborts them after some days (`AbortIncompleteMultipartUpload` on S3 and
    /// Google Cloud; Azure drops them by itself after a week).
    ///
    /// # Errors
    /// As for [`commit`](Self::commit); `Data` if entries of the log are lost, whose files would be taken for orphans;
    /// `Unsupported` if the storage does not let it delete.
    pub async fn sweep(&self, actor: &str, reason: &str, grace: Duration) -> Result<Swept> {
        let remove = self.remove_orphans(actor, reason, grace);
        let swept = telemetry::told(&self.inner, Call::Sweep, telemetry::ok, remove).await?;
        telemetry::add(&self.inner, Amount::BytesSwept, swept.bytes + swept.staged_bytes);
        Ok(swept)
    }

    async fn remove_orphans(&self, actor: &str, reason: &str, grace: Duration) -> Result<Swept> {
        let state = self.refresh_whole().await?;
        let blobs = self.blobs();
        let untouched_since = SystemTime::UNIX_EPOCH
            .checked_add(Duration::from_micros(u64::try_from(self.clock().now().as_micros()).unwrap_or(0)))
            .and_then(|now| now.checked_sub(grace.max(STAGED_GRACE_MIN)))
            .unwrap_or(SystemTime::UNIX_EPOCH);
        let mut swept = Swept { staged_bytes: blobs.remove_staged(untouched_since)?, ..Swept::default() };
        let oldest_ms =
            self.clock().now().as_micros() / 1000 - i64::try_from(grace.as_millis()).unwrap_or(i64::MAX);
        let watermark = UploadId::floor(u64::try_from(oldest_ms).unwrap_or(0)).max(state.watermark());
        // What speaks for lost entries is taken before the log is read again, which others go on to write.
        let listed = blobs.list().await?;
        let checkpoint = self.log().checkpoint(u64::MAX).await?.map(|(sequence, _)| sequence);
        let state = self.refresh_whole().await?;
        if state.sequence() == 0 && listed.iter().any(|(_, upload, _)| *upload < watermark) {
            return Err(Error::data(format!(
                "the log is empty, but there are {} uploads: it is lost or was not restored yet, or their writer died before \
                 the first commit; nothing is swept, commit first if the registry is new",
                listed.len()
            )));
        }
        if let Some(sequence) = checkpoint.filter(|sequence| *sequence >= state.sequence()) {
            return Err(Error::data(format!(
                "the log ends at {}, but there is a checkpoint after {sequence} commits: entries are lost; restore them, \
                 or remove the checkpoints if an older log was restored on purpose. Nothing is swept",
                state.sequence()
            )));
        }
        let is_orphan = |state: &Snapshot, (sha256, upload, _): &(_, UploadId, _)| {
            *upload < watermark && state.upload(sha256) != Some(*upload)
        };
        if !listed.iter().any(|upload| is_orphan(&state, upload)) {
            return Ok(swept);
        }
        if state.watermark() < watermark {
            self.commit(Draft::new(actor, reason).watermark(watermark)).await?;
        }
        // From here on nobody can refer to them anew: what this state does not need, no later one does.
        let state = self.snapshot();
        for upload in listed.iter().filter(|upload| is_orphan(&state, upload)) {
            blobs.delete(&upload.0, upload.1).await?;
            swept.uploads += 1;
            swept.bytes += upload.2;
        }
        Ok(swept)
    }
}

/// A writer that is alive adds to its file more often.
const STAGED_GRACE_MIN: Duration = Duration::from_secs(3600);
