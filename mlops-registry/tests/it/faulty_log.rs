//! Logs one call of which goes wrong, around real ones.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use mlops_core::{BoxFuture, Error, ErrorKind, Result};
use mlops_registry::log::{Appended, Capabilities, Log};

use crate::faulty::{Fault, Plan};

/// A log one call of which goes wrong.
#[derive(Debug)]
pub(crate) struct FaultyLog {
    inner: Arc<dyn Log>,
    plan: Arc<Plan>,
    late: Mutex<Vec<(u64, Bytes)>>,
}

impl FaultyLog {
    pub(crate) fn new(inner: Arc<dyn Log>, plan: Arc<Plan>) -> Self {
        Self { inner, plan, late: Mutex::default() }
    }

    /// What was under way arrives.
    pub(crate) async fn settle(&self) {
        let late = std::mem::take(&mut *self.late.lock().unwrap());
        for (sequence, entry) in late {
            let _ = self.inner.append(sequence, entry).await;
        }
    }

    /// Makes a call, or goes wrong.
    async fn call<'a, T>(
        &'a self,
        writes: bool,
        call: impl Fn() -> BoxFuture<'a, Result<T>> + Send,
    ) -> Result<T> {
        if self.plan.fault == Fault::Late {
            self.settle().await;
        }
        match self.plan.next(writes) {
            None | Some(Fault::DiesAfter) => call().await,
            Some(Fault::Twice) => {
                let _ = call().await;
                call().await
            }
            Some(fault) => {
                if matches!(fault, Fault::AnswerLost | Fault::StopsAfter) {
                    let _ = call().await;
                }
                let kind = match fault {
                    Fault::ReadOnly => ErrorKind::Unsupported,
                    _ => ErrorKind::Unavailable,
                };
                let message = match fault {
                    Fault::DiskFull => "the disk is full; free some space",
                    _ => "injected",
                };
                Err(Error::new(kind, message).with_source(self.plan.failed(fault).await))
            }
        }
    }
}

impl Log for FaultyLog {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn append(&self, sequence: u64, entry: Bytes) -> BoxFuture<'_, Result<Appended>> {
        Box::pin(async move {
            let appended = self.call(true, || self.inner.append(sequence, entry.clone())).await;
            if matches!(self.plan.fault, Fault::Late | Fault::VeryLate)
                && self.plan.calls() == self.plan.at + 1
            {
                self.late.lock().unwrap().push((sequence, entry));
            }
            appended
        })
    }

    fn read(&self, from: u64, count_max: usize) -> BoxFuture<'_, Result<Vec<Bytes>>> {
        Box::pin(self.call(false, move || self.inner.read(from, count_max)))
    }

    fn highest(&self, above: u64) -> BoxFuture<'_, Result<Option<u64>>> {
        Box::pin(self.call(false, move || self.inner.highest(above)))
    }

    fn sync(&self, sequence: u64) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.call(false, move || self.inner.sync(sequence)))
    }

    fn save_checkpoint(&self, sequence: u64, state: Bytes) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.call(true, move || self.inner.save_checkpoint(sequence, state.clone())))
    }

    fn checkpoint(&self, before: u64) -> BoxFuture<'_, Result<Option<(u64, Bytes)>>> {
        Box::pin(self.call(false, move || self.inner.checkpoint(before)))
    }

    fn scratch(&self, name: &str) -> Arc<dyn Log> {
        self.inner.scratch(name)
    }

    fn discard(&self) -> BoxFuture<'_, Result<()>> {
        self.inner.discard()
    }
}
