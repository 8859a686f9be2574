//! What goes wrong with one call of a store or a log, and waiting for what it does to the callers.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::task::Poll;

use futures_util::task::AtomicWaker;
use mlops_core::driver::Driver;

/// What goes wrong with one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It fails and does nothing.
    Fails,
    /// It is done, and the answer is lost.
    AnswerLost,
    /// It fails, and is done all the same just before the next call.
    Late,
    /// It fails, and is done all the same long after.
    VeryLate,
    /// It is done twice, as by a proxy that tries again.
    Twice,
    /// Half of it is written, where the store does not promise better: objects that are overwritten. Half of it is
    /// read.
    Torn,
    /// It never answers, and the caller gives up.
    Stops,
    /// It is done and never answers, and the caller gives up.
    StopsAfter,
    /// The process dies before it.
    DiesBefore,
    /// The process dies after it.
    DiesAfter,
    /// The disk is full from here on.
    DiskFull,
    /// Nothing can be written from here on.
    ReadOnly,
}

impl Fault {
    pub(crate) const ALL: [Self; 12] = [
        Self::Fails,
        Self::AnswerLost,
        Self::Late,
        Self::VeryLate,
        Self::Twice,
        Self::Torn,
        Self::Stops,
        Self::StopsAfter,
        Self::DiesBefore,
        Self::DiesAfter,
        Self::DiskFull,
        Self::ReadOnly,
    ];
}

/// Which call goes wrong, and how; it counts the calls.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) at: u64,
    pub(crate) fault: Fault,
    calls: AtomicU64,
    stopped: AtomicBool,
    /// Whoever waits for a caller of a call that never answers, which may be on another thread.
    waiting: AtomicWaker,
}

impl Plan {
    pub(crate) fn new(at: u64, fault: Fault) -> Arc<Self> {
        let (calls, stopped) = (AtomicU64::new(0), AtomicBool::new(false));
        Arc::new(Self { at, fault, calls, stopped, waiting: AtomicWaker::new() })
    }

    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    /// What goes wrong with this call.
    pub(crate) fn next(&self, writes: bool) -> Option<Fault> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        match self.fault {
            Fault::DiesAfter if call > self.at => Some(Fault::Fails),
            Fault::DiesBefore if call >= self.at => Some(Fault::Fails),
            Fault::DiskFull | Fault::ReadOnly if call >= self.at => writes.then_some(self.fault),
            fault if call == self.at => Some(fault),
            _ => None,
        }
    }

    /// The error of a fault; never, if the call never answers.
    pub(crate) async fn failed(&self, fault: Fault) -> object_store::Error {
        if matches!(fault, Fault::Stops | Fault::StopsAfter) {
            self.stopped.store(true, Ordering::SeqCst);
            self.waiting.wake();
            std::future::pending::<()>().await;
        }
        let cause = match fault {
            Fault::DiskFull => io::Error::from(io::ErrorKind::StorageFull),
            Fault::ReadOnly => io::Error::from(io::ErrorKind::ReadOnlyFilesystem),
            _ => io::Error::other("injected"),
        };
        object_store::Error::Generic { store: "faulty", source: cause.into() }
    }

    /// Waits for a future; `None` if a call that it made never answers, after which it is dropped.
    pub(crate) fn drive<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        static DRIVER: LazyLock<Driver> = LazyLock::new(|| Driver::new().unwrap());
        let mut future = Box::pin(future);
        DRIVER.wait(std::future::poll_fn(|context| {
            self.waiting.register(context.waker());
            match future.as_mut().poll(context) {
                Poll::Ready(output) => Poll::Ready(Some(output)),
                Poll::Pending if self.stopped.load(Ordering::SeqCst) => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }
        }))
    }
}

/// Waits for a future that nothing stops.
pub(crate) fn now<T>(future: impl Future<Output = T>) -> T {
    Plan::new(u64::MAX, Fault::Fails).drive(future).unwrap()
}
