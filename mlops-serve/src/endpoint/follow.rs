//! Models from where they are kept: fetched once, or followed.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mlops_core::{Error, ErrorKind, ModelRef, ModelSource, ModelVersion, Result, Selector, Severity};

use super::{ArmSpec, Endpoint, Loader, Model, ModelCache, isolate};

impl Loader {
    /// Fetches and loads what the reference points at now.
    ///
    /// Loading computes for a while without giving way: in an async service, run it on a blocking thread, or
    /// call [`fetch_blocking`](Self::fetch_blocking) from a thread of your own.
    ///
    /// # Errors
    /// What the source gives, and as [`load`](Self::load).
    pub async fn fetch(&self, source: &dyn ModelSource, model: &ModelRef) -> Result<Arc<Model>> {
        let version = source.resolve(model).await?;
        let package = source.fetch(&version).await?;
        self.load(&package)
    }

    /// As [`fetch`](Self::fetch), for callers without an async runtime: waits on the calling thread. The
    /// source must not need a runtime of its own kind around it; sources on local disks and in memory do not.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub fn fetch_blocking(&self, source: &dyn ModelSource, model: &ModelRef) -> Result<Arc<Model>> {
        block_on(self.fetch(source, model))
    }
}

/// Keeps an endpoint's champion at what a reference points at, or offers it as challenger.
///
/// The host calls [`poll`](Self::poll) as often as it likes, from a timer or after a notice of the registry.
/// A version that failed to load, or is in quarantine, is not tried again until the reference has moved on,
/// so that a poisoned model costs one attempt; after [`Endpoint::release`], call [`retry`](Self::retry).
/// Out-of-reach sources are tried every time, and so is what is not there yet.
///
/// What the reference says wins: a promotion by [`Endpoint::promote`] or [`Endpoint::apply`] alone is undone at the
/// next poll. Where a [`Rollout`](crate::rollout::Rollout) decides, move the alias first,
/// then [`poll`](Self::poll), then `apply`; `examples/src/canary.rs` in the repository shows it whole. An alias that
/// moves to a third version meanwhile deploys that one, and `apply` refuses the rollout from then on: drop it.
#[derive(Debug)]
pub struct Follower {
    models: Models,
    model: ModelRef,
    /// What share a new version gets as challenger; without one it becomes champion.
    share: Option<f64>,
    /// Failed, or offered as challenger: not again.
    refused: Mutex<BTreeSet<ModelVersion>>,
}

/// How a follower comes by models.
#[derive(Debug)]
enum Models {
    Loaded(Loader, Arc<dyn ModelSource>),
    OnDemand(Arc<ModelCache>),
}

impl Follower {
    /// Follows what this reference points at.
    ///
    /// # Errors
    /// `Invalid` if the reference names a version: it never moves.
    pub fn new(loader: Loader, source: Arc<dyn ModelSource>, model: ModelRef) -> Result<Self> {
        Self::of(Models::Loaded(loader, source), model)
    }

    /// Follows what this reference points at in the cache's source, with models that the cache keeps in memory
    /// [on demand](ModelCache::on_demand): many endpoints follow their models within one budget. The cache's
    /// source must work without an async runtime around it.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn on_demand(cache: Arc<ModelCache>, model: ModelRef) -> Result<Self> {
        Self::of(Models::OnDemand(cache), model)
    }

    fn of(models: Models, model: ModelRef) -> Result<Self> {
        if let Selector::Version(_) = model.selector {
            return Err(Error::invalid(format!("`{model}` never moves: follow an alias, or deploy it once")));
        }
        Ok(Self { models, model, share: None, refused: Mutex::default() })
    }

    /// Makes a new version the challenger with this share of the traffic, in [0, 1], for a
    /// [`Rollout`](crate::rollout::Rollout) to decide on. Each version is offered once: one that was rolled back
    /// is not offered again before [`retry`](Self::retry). One that comes while others are on trial, in a rollout or
    /// in an [`experiment`](crate::rollout::experiment), waits until the endpoint has one arm. A reference that points
    /// at nothing is no error: there is no challenger then. An endpoint without a model gets its champion.
    ///
    /// What was offered is forgotten with the follower. After a restart the first poll offers the version again, as
    /// it should in the middle of a rollout: then [`Endpoint::apply`] the stored rollout, which sets the split. One
    /// that is over ends before that poll, with the removal of its alias: see [`rollout`](crate::rollout).
    ///
    /// # Errors
    /// `Invalid` if the share is not within [0, 1].
    pub fn as_challenger(mut self, share: f64) -> Result<Self> {
        if !(0.0..=1.0).contains(&share) {
            return Err(Error::invalid(format!("a new version's share is {share}: want 0 to 1")));
        }
        self.share = Some(share);
        Ok(self)
    }

    /// Looks where the reference points. If that is another version than the champion's, loads it, deploys it
    /// or makes it the challenger, and gives it; the endpoint answers with the old one meanwhile, and if anything
    /// fails. Loading computes without giving way: among async tasks, prefer [`spawn`](Self::spawn).
    ///
    /// # Errors
    /// What the source gives, and as [`Loader::load`]; of a version that failed, once.
    pub async fn poll(&self, endpoint: &Endpoint) -> Result<Option<ModelVersion>> {
        let version = match self.models.source().resolve(&self.model).await {
            Err(error) if self.offers(endpoint) && error.kind() == ErrorKind::NotFound => return Ok(None),
            resolved => resolved?,
        };
        let arms = endpoint.arms();
        let share = self.share.filter(|_| !arms.is_empty());
        let is_there = |arm: &ArmSpec| *arm.model.version() == version;
        let is_on_trial = share.is_some() && arms.len() > 1;
        if arms.first().is_some_and(is_there) || is_on_trial || self.refused().contains(&version) {
            return Ok(None);
        }
        let offer = |model| match share {
            Some(share) => endpoint.offer(model, share),
            None => endpoint.deploy(model).map(|()| true),
        };
        match self.models.model(&version).await.and_then(offer) {
            Ok(false) => Ok(None),
            Ok(true) => {
                let mut refused = self.refused();
                match share {
                    Some(_) => {
                        refused.insert(version.clone());
                    }
                    None => refused.clear(),
                }
                Ok(Some(version))
            }
            Err(error) => {
                if !error.is_retryable() && error.kind() != ErrorKind::NotFound {
                    let message = format!("is refused, where `{}` points: {error:#}", self.model);
                    endpoint.tell(Severity::Warning, version.to_string(), message);
                    self.refused().insert(version);
                }
                Err(error)
            }
        }
    }

    /// Lets a version that failed be tried again; the cache of [`on_demand`](Self::on_demand) forgets its failure, too.
    pub fn retry(&self) {
        let refused = std::mem::take(&mut *self.refused());
        if let Models::OnDemand(cache) = &self.models {
            refused.iter().for_each(|version| cache.forget(version));
        }
    }

    /// As [`poll`](Self::poll), for callers without an async runtime. See [`Loader::fetch_blocking`].
    ///
    /// # Errors
    /// As [`poll`](Self::poll).
    pub fn poll_blocking(&self, endpoint: &Endpoint) -> Result<Option<ModelVersion>> {
        block_on(self.poll(endpoint))
    }

    /// Follows in a thread of its own, which ends when the handle is dropped. Errors go to `failed`, a panic
    /// of the source as one.
    ///
    /// # Errors
    /// `Unavailable` if the system gives no thread.
    pub fn spawn(
        self: &Arc<Self>,
        endpoint: Arc<Endpoint>,
        interval: Duration,
        failed: impl Fn(&Error) + Send + 'static,
    ) -> Result<crate::Background> {
        let follower = Arc::clone(self);
        crate::Background::spawn("mlops-follow", interval, move || {
            if let Err(error) = isolate(&follower.model, || follower.poll_blocking(&endpoint)) {
                failed(&error);
            }
        })
    }

    fn offers(&self, endpoint: &Endpoint) -> bool {
        self.share.is_some() && endpoint.is_ready()
    }

    fn refused(&self) -> std::sync::MutexGuard<'_, BTreeSet<ModelVersion>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Models {
    fn source(&self) -> &dyn ModelSource {
        match self {
            Self::Loaded(_, source) => &**source,
            Self::OnDemand(cache) => cache.source(),
        }
    }

    async fn model(&self, version: &ModelVersion) -> Result<Arc<Model>> {
        match self {
            Self::Loaded(loader, source) => loader.load(&source.fetch(version).await?),
            Self::OnDemand(cache) => cache.on_demand(version),
        }
    }
}

/// Runs a future on this thread.
pub(super) fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let mut future = std::pin::pin!(future);
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut context = std::task::Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            std::task::Poll::Ready(value) => return value,
            std::task::Poll::Pending => std::thread::park(),
        }
    }
}
