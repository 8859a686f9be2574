//! Independent steps at the same time.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Scope};

use super::engine::{Engine, Halt};
use super::handle::Source;

/// Settles all needed nodes, each after those that it takes values from.
///
/// The caller's thread works too; helpers come when a node is ready and nobody is free, and are told of the
/// end.
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
    thread::scope(|scope| crew.work(scope));
    match crew.board.into_inner().unwrap_or_else(PoisonError::into_inner).halt {
        Some(halt) => Err(halt),
        None => Ok(()),
    }
}

#[derive(Default)]
struct Board {
    /// How many nodes each node still waits for.
    open: Vec<usize>,
    ready: BTreeSet<usize>,
    left: usize,
    idle: usize,
    halt: Option<Halt>,
}

struct Crew<'e> {
    engine: &'e Engine<'e>,
    followers: Vec<Vec<usize>>,
    board: Mutex<Board>,
    changed: Condvar,
}

impl<'e> Crew<'e> {
    fn work<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>) {
        let mut board = self.lock();
        while board.left > 0 && board.halt.is_none() {
            let Some(index) = board.ready.pop_first() else {
                board.idle += 1;
                board = self.changed.wait(board).unwrap_or_else(PoisonError::into_inner);
                board.idle -= 1;
                continue;
            };
            if !board.ready.is_empty() && board.idle == 0 {
                self.call_helper(scope);
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

    fn call_helper<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>) {
        let permits = &self.engine.permits;
        let take = |free: usize| free.checked_sub(1);
        if permits.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_ok() {
            // A thread that cannot be had is no error: those that there are do the work.
            let helper = thread::Builder::new().name("pipeline".to_owned());
            if helper.spawn_scoped(scope, || self.work(scope)).is_err() {
                permits.fetch_add(1, Ordering::SeqCst);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
