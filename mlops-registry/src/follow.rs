//! A registry that is refreshed in the background.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use mlops_core::{Error, Result, Timestamp};

use crate::Commit;
use crate::blocking::Registry;

/// A thread that refreshes a registry, so that [`Registry::state`] stays fresh and its readers never wait.
///
/// It stops when it is dropped; a refresh under way is waited for. While refreshes fail, the state stays as it was
/// and the thread asks less and less often, every 32 intervals at the least.
///
/// A panic on the thread ends it: [`failures`](Self::failures) and [`take_error`](Self::take_error) tell so.
///
/// ```
/// use std::time::Duration;
/// use mlops_registry::{Draft, NewVersion, blocking::Registry};
///
/// let folder = tempfile::tempdir().unwrap();
/// let location = folder.path().to_str().unwrap();
/// let (writer, reader) = (Registry::open(location)?, Registry::open(location)?);
/// let follower = reader.follow(Duration::from_millis(2))?;
/// writer.commit(Draft::new("ann", "first").register(NewVersion::new("shop").file("model.bin", "weights")))?;
/// while reader.state().sequence() == 0 {
///     std::thread::yield_now();
/// }
/// assert_eq!(follower.failures(), 0);
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Follower {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    failures: AtomicU64,
    refreshed_us: AtomicI64,
    error: Mutex<Option<Error>>,
}

impl Shared {
    fn fail(&self, error: Error) {
        *self.error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        self.failures.fetch_add(1, Ordering::Relaxed);
    }
}

impl Registry {
    /// Starts a thread that refreshes this registry, and all of its clones, so often.
    ///
    /// # Errors
    /// `Invalid` if the interval is zero, `Unavailable` if the system gives no thread.
    pub fn follow(&self, interval: Duration) -> Result<Follower> {
        self.follower(interval, |registry, _| registry.refresh().map(drop))
    }

    /// Starts a thread that refreshes this registry so often and hands over each commit after a place in the log, in
    /// order and once; 0 is its start.
    ///
    /// A drop of the follower waits for the commit that is handed over, not for those behind it. It may be dropped by
    /// the callback itself. A callback that panics ends the feed, and the follower tells so.
    ///
    /// ```
    /// use std::{sync::mpsc, time::Duration};
    /// use mlops_registry::{Draft, NewVersion, blocking::Registry};
    ///
    /// let registry = Registry::open("memory:")?;
    /// let (send, receive) = mpsc::channel();
    /// let follower = registry.feed(0, Duration::from_millis(2), move |commit| drop(send.send(commit)))?;
    /// registry.commit(Draft::new("ann", "first").register(NewVersion::new("shop").file("model.bin", "weights")))?;
    /// assert_eq!(receive.recv().unwrap().reason, "first");
    /// # drop(follower);
    /// # Ok::<(), mlops_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`follow`](Self::follow).
    pub fn feed(
        &self,
        after: u64,
        interval: Duration,
        mut each: impl FnMut(Commit) + Send + 'static,
    ) -> Result<Follower> {
        let mut watch = self.watch(after);
        self.follower(interval, move |registry, stop| {
            registry.refresh()?;
            loop {
                let commits = registry.poll(&mut watch)?;
                if commits.is_empty() {
                    return Ok(());
                }
                for commit in commits {
                    if stop.load(Ordering::Acquire) {
                        return Ok(());
                    }
                    each(commit);
                }
            }
        })
    }

    fn follower(
        &self,
        interval: Duration,
        step: impl FnMut(&Self, &AtomicBool) -> Result<()> + Send + 'static,
    ) -> Result<Follower> {
        if interval.is_zero() {
            return Err(Error::invalid("the interval is 0 s: want more, or call `refresh`"));
        }
        let shared = Arc::new(Shared::default());
        shared.refreshed_us.store(self.registry().clock().now().as_micros(), Ordering::Relaxed);
        let (registry, seen) = (self.clone(), shared.clone());
        let thread = std::thread::Builder::new()
            .name("mlops-registry follower".to_owned())
            .spawn(move || run(&registry, interval, &seen, step))
            .map_err(|error| {
                Error::unavailable("cannot start a thread for the registry").with_source(error)
            })?;
        Ok(Follower { shared, thread: Some(thread) })
    }
}

fn run(
    registry: &Registry,
    interval: Duration,
    shared: &Shared,
    mut step: impl FnMut(&Registry, &AtomicBool) -> Result<()>,
) {
    while !shared.stop.load(Ordering::Acquire) {
        // What a panic leaves half done is never called again.
        match catch_unwind(AssertUnwindSafe(|| step(registry, &shared.stop))) {
            Ok(Ok(())) => {
                shared.refreshed_us.store(registry.registry().clock().now().as_micros(), Ordering::Relaxed);
                shared.failures.store(0, Ordering::Relaxed);
            }
            Ok(Err(error)) => shared.fail(error),
            Err(panic) => {
                let what = panic.downcast_ref::<&str>().copied();
                let what = what.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
                return shared.fail(Error::internal(format!(
                    "the thread that follows the registry panicked and has ended ({}): mend its callback, and start it \
                     again after the last commit that was handled",
                    what.unwrap_or("no message")
                )));
            }
        }
        let failures = u32::try_from(shared.failures.load(Ordering::Relaxed)).unwrap_or(u32::MAX);
        // It may wake up early, which costs a read.
        std::thread::park_timeout(interval.saturating_mul(1 << failures.min(BACK_OFF_DOUBLINGS_MAX)));
    }
}

impl Follower {
    /// How many refreshes failed since the last one that did not, a panic too.
    pub fn failures(&self) -> u64 {
        self.shared.failures.load(Ordering::Relaxed)
    }

    /// The last error, which is taken out of here.
    pub fn take_error(&self) -> Option<Error> {
        self.shared.error.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// When the state was last known to be fresh, by the registry's clock.
    pub fn refreshed(&self) -> Timestamp {
        Timestamp::from_micros(self.shared.refreshed_us.load(Ordering::Relaxed))
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // Its own callback may drop it: then it ends once that returns.
            if thread.thread().id() != std::thread::current().id() {
                // What a panic was is stored; there is nobody left to tell.
                let _ = thread.join();
            }
        }
    }
}

const BACK_OFF_DOUBLINGS_MAX: u32 = 5;
