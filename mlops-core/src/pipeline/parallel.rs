//! Independent steps at the same time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Scope};

use super::engine::{Engine, Halt};
use super::handle::Source;

/// Settles all needed nodes, each after those that it takes values from.
///
/// The caller's thread works too; a helper comes when a node is ready and nobody is free.
pub(super) fn settle_all(engine: &Engine<'_>) -> Result<(), Halt> {
    let nodes = &engine.pipeline.nodes;
    let mut board = Board { open: vec![0; nodes.len()], ..Board::default() };
    let mut followers = vec![Vec::new(); nodes.len()];
    for (index, node) in nodes.iter().enumerate().filter(|(index, _)| engine.needed[*index]) {
        board.left += 1;
        let slots = node.sources.iter().flat_map(Source::slots);
        let slots = slots.copied().chain(node.guards.iter().map(|guard| guard.slot));
        let before: BTreeSet<usize> = slots.map(|slot| engine.pipeline.slots[slot].0).collect();
        for earlier in before.into_iter().filter(|earlier| engine.needed[*earlier]) {
            followers[earlier].push(index);
            board.open[index] += 1;
        }
        if board.open[index] == 0 {
            board.ready.insert(index);
        }
    }
    let crew = Crew { engine, followers, board: Mutex::new(board), changed: Condvar::new() };
    thread::scope(|scope| crew.work(scope, true));
    match crew.board.into_inner().unwrap_or_else(PoisonError::into_inner).halt {
        Some(halt) => Err(halt),
        None => Ok(()),
    }
}

/// Does `work` for every place from 0 and gives what it gave, in order; after an error nothing new starts.
pub(super) fn each<T: Send>(
    engine: &Engine<'_>,
    count: usize,
    work: &(dyn Fn(usize) -> Result<T, Halt> + Sync),
) -> Result<Vec<T>, Halt> {
    if count < 2 || engine.permits.load(Ordering::SeqCst) == 0 {
        return (0..count).map(work).collect();
    }
    let next = AtomicUsize::new(0);
    let results = Mutex::new(BTreeMap::new());
    let turn = || {
        while let place = next.fetch_add(1, Ordering::SeqCst)
            && place < count
        {
            let result = work(place);
            if result.is_err() {
                next.store(count, Ordering::SeqCst);
            }
            results.lock().unwrap_or_else(PoisonError::into_inner).insert(place, result);
        }
    };
    thread::scope(|scope| {
        for _ in 1..count {
            if !call_helper(engine, scope, turn) {
                break;
            }
        }
        turn();
    });
    results.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect()
}

/// Starts a thread, if one more is allowed. One that cannot be had is no error: the others do the work.
fn call_helper<'scope>(
    engine: &'scope Engine<'_>,
    scope: &'scope Scope<'scope, '_>,
    work: impl FnOnce() + Send + 'scope,
) -> bool {
    let permits = &engine.permits;
    let take = |free: usize| free.checked_sub(1);
    if permits.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_err() {
        return false;
    }
    let work = move || {
        work();
        permits.fetch_add(1, Ordering::SeqCst);
    };
    let started = thread::Builder::new().name("pipeline".to_owned()).spawn_scoped(scope, work).is_ok();
    if !started {
        permits.fetch_add(1, Ordering::SeqCst);
    }
    started
}

#[derive(Default)]
struct Board {
    /// How many nodes each node still waits for.
    open: Vec<usize>,
    ready: BTreeSet<usize>,
    left: usize,
    /// Whether the caller's thread has nothing to do.
    caller_waits: bool,
    halt: Option<Halt>,
}

struct Crew<'e> {
    engine: &'e Engine<'e>,
    followers: Vec<Vec<usize>>,
    board: Mutex<Board>,
    changed: Condvar,
}

impl<'e> Crew<'e> {
    /// Settles what is ready. With nothing ready a helper leaves, so that its place is free for the items of
    /// a map; the caller's thread stays to the end.
    fn work<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>, is_caller: bool) {
        let mut board = self.lock();
        while board.left > 0 && board.halt.is_none() {
            let Some(index) = board.ready.pop_first() else {
                if !is_caller {
                    return;
                }
                board.caller_waits = true;
                board = self.changed.wait(board).unwrap_or_else(PoisonError::into_inner);
                board.caller_waits = false;
                continue;
            };
            if !board.ready.is_empty() && !board.caller_waits {
                call_helper(self.engine, scope, || self.work(scope, false));
            }
            drop(board);
            let settled = self.engine.settle(index);
            board = self.lock();
            board.left -= 1;
            match settled {
                Ok(()) => {
                    for follower in &self.followers[index] {
                        board.open[*follower] -= 1;
                        if board.open[*follower] == 0 {
                            board.ready.insert(*follower);
                        }
                    }
                }
                Err(halt) => board.halt = board.halt.take().or(Some(halt)),
            }
            self.changed.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
