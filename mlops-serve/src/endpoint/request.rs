//! What is asked, and what is answered.

use std::sync::Arc;

use mlops_core::RequestId;
use twox_hash::XxHash3_64;

use super::Origin;
use crate::batch::Call;

/// Who asks, and what for.
///
/// ```
/// use mlops_core::RequestId;
/// use mlops_serve::endpoint::Request;
///
/// // All visits of one visitor fall into the same arm.
/// let request = Request::new(RequestId::from_key("visit-1")).key(b"visitor-17").candidates(&["hat", "scarf"]);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub(super) id: RequestId,
    pub(super) key: Option<&'a [u8]>,
    pub(super) candidates: &'a [&'a str],
    pub(super) call: Option<&'a Call<'a>>,
}

impl<'a> Request<'a> {
    /// A request that falls into an arm by its id.
    pub fn new(id: RequestId) -> Self {
        Self { id, key: None, candidates: &[], call: None }
    }

    /// Chooses the arm by this key: requests with equal keys fall into the same arm.
    #[must_use]
    pub fn key(mut self, key: &'a [u8]) -> Self {
        self.key = Some(key);
        self
    }

    /// Records what could have been answered. With as many rows, each is the row of one candidate.
    #[must_use]
    pub fn candidates(mut self, candidates: &'a [&'a str]) -> Self {
        self.candidates = candidates;
        self
    }

    /// Says until when, in whose name and unless it is called off it is to be answered.
    ///
    /// One that is too late already, or was called off, is given to no model. A model that batches, one computed by a
    /// [`BatchRuntime`](crate::batch::BatchRuntime), turns away what it cannot answer in time; others answer at once,
    /// and once asked do not look at it. In an [`Endpoint::score_batch`](super::Endpoint::score_batch) the rows with
    /// the nearest deadlines go first, with no more beside them than their deadlines allow.
    ///
    /// A request that is too late or turned away is rescued as one whose arm fails, by a default score for instance, and
    /// counts as a failure of the arm, not of the model: its circuit stays closed. Each model that is asked in another's
    /// place has the whole time of [`within`](Call::within). A request that was called off asks nobody else, and is
    /// counted nowhere.
    #[must_use]
    pub fn call(mut self, call: &'a Call<'a>) -> Self {
        self.call = Some(call);
        self
    }

    /// The id in the record of one of several rows, by which its label joins: that of the request for the
    /// first row, a hash of it and the index for the others. It stays the same from version to version.
    pub fn row_id(&self, index: usize) -> RequestId {
        if index == 0 {
            return self.id;
        }
        let id = self.id.as_u128().to_le_bytes();
        let half = |seed| u128::from(XxHash3_64::oneshot_with_seed(seed, &id));
        RequestId::from_u128(half(index as u64) << 64 | half(!(index as u64)))
    }
}

impl From<RequestId> for Request<'_> {
    fn from(id: RequestId) -> Self {
        Self::new(id)
    }
}

/// The answer to one request.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Answer {
    /// The score.
    pub score: f64,
    /// Whether the score reaches the threshold of the version that answered, for a default score that of the arm's
    /// model ([`Loader::THRESHOLD_FILE`](super::Loader::THRESHOLD_FILE)); `None` if it has none.
    pub decision: Option<bool>,
    /// The arm, the version and the propensity: what the record of the request says.
    pub origin: Arc<Origin>,
    /// From the call to the answer, in microseconds; 0 without timing. In a batch: of the batch that its arm
    /// computed.
    pub latency_us: f64,
}
