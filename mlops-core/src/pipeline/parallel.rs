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
    if count < 2 || engine.runner.threads == 1 {
        return (0..count).map(work).collect();
    }
    let items = Items { engine, count, next: AtomicUsize::new(0), results: Mutex::default(), work };
    thread::scope(|scope| {
        for _ in 1..count.min(engine.runner.threads) {
            let helper = thread::Builder::new().name("pipeline".to_owned());
            // One that cannot be had is no error: the others do the work.
            if helper.spawn_scoped(scope, || items.help()).is_err() {
                break;
            }
        }
        items.work(&|| false);
        engine.permits.wake();
    });
    items.results.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect()
}

/// The items of a map, taken by whoever is free.
struct Items<'e, T> {
    engine: &'e Engine<'e>,
    count: usize,
    next: AtomicUsize,
    results: Mutex<BTreeMap<usize, Result<T, Halt>>>,
    work: &'e (dyn Fn(usize) -> Result<T, Halt> + Sync),
}

impl<T: Send> Items<'_, T> {
    /// Does items while there are any and nobody says to leave.
    fn work(&self, leave: &dyn Fn() -> bool) {
        while let place = self.next.fetch_add(1, Ordering::SeqCst)
            && place < self.count
        {
            let result = (self.work)(place);
            if result.is_err() {
                self.next.store(self.count, Ordering::SeqCst);
            }
            self.results.lock().unwrap_or_else(PoisonError::into_inner).insert(place, result);
            if leave() {
                return;
            }
        }
    }

    /// Does items whenever one more thread may work and no step needs its place.
    fn help(&self) {
        let permits = &self.engine.permits;
        while permits.take_unless(|| self.next.load(Ordering::SeqCst) >= self.count) {
            self.work(&|| permits.is_wanted());
            permits.give();
        }
    }
}

/// Starts a thread, if one more is allowed. One that cannot be had is no error: the others do the work.
fn call_helper<'scope>(
    engine: &'scope Engine<'_>,
    scope: &'scope Scope<'scope, '_>,
    work: impl FnOnce() + Send + 'scope,
) {
    let permits = &engine.permits;
    if !permits.try_take() {
        return;
    }
    let work = move || {
        work();
        permits.give();
    };
    if thread::Builder::new().name("pipeline".to_owned()).spawn_scoped(scope, work).is_err() {
        permits.give();
    }
}

/// How many more threads may work at once.
#[derive(Debug)]
pub(super) struct Permits {
    counts: Mutex<Counts>,
    given: Condvar,
}

#[derive(Debug)]
struct Counts {
    free: usize,
    /// How many threads wait for one.
    wanted: usize,
}

impl Permits {
    pub(super) fn new(free: usize) -> Self {
        Self { counts: Mutex::new(Counts { free, wanted: 0 }), given: Condvar::new() }
    }

    /// Takes one, if one is free that nobody waits for.
    fn try_take(&self) -> bool {
        let mut counts = self.lock();
        let is_free = counts.free > counts.wanted;
        counts.free -= usize::from(is_free);
        is_free
    }

    /// Takes one for a step as soon as one is free.
    fn take(&self) {
        let mut counts = self.lock();
        counts.wanted += 1;
        while counts.free == 0 {
            counts = self.given.wait(counts).unwrap_or_else(PoisonError::into_inner);
        }
        counts.free -= 1;
        counts.wanted -= 1;
    }

    /// Takes one as soon as one is free that no step waits for; false if it is over before.
    fn take_unless(&self, is_over: impl Fn() -> bool) -> bool {
        let mut counts = self.lock();
        while !is_over() {
            if counts.free > counts.wanted {
                counts.free -= 1;
                return true;
            }
            counts = self.given.wait(counts).unwrap_or_else(PoisonError::into_inner);
        }
        false
    }

    fn give(&self) {
        self.lock().free += 1;
        self.given.notify_all();
    }

    /// Lets those that wait see that something is over.
    fn wake(&self) {
        drop(self.lock());
        self.given.notify_all();
    }

    fn is_wanted(&self) -> bool {
        let counts = self.lock();
        counts.wanted > counts.free
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
                // Meanwhile another thread may work in the caller's place, at the items of a map.
                board.caller_waits = true;
                self.engine.permits.give();
                while board.ready.is_empty() && board.left > 0 && board.halt.is_none() {
                    board = self.changed.wait(board).unwrap_or_else(PoisonError::into_inner);
                }
                drop(board);
                self.engine.permits.take();
                board = self.lock();
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
