//! Histories of concurrent writers: whether calls made one after the other explain every answer.
//!
//! The log gives a total order. A history is linearizable if that order explains every answer and never puts a call
//! before one that had returned when it was made (M. Herlihy and J. Wing, *Linearizability*, 1990).

use std::collections::BTreeMap;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};

use mlops_core::{Error, ErrorKind, ModelVersion, Result, Seed};
use rand::RngExt as _;

use super::holds;
use super::plain::{Action, Plain};
use crate::blocking::Registry;

/// One call of a writer, between two ticks of a clock that all share.
#[derive(Clone, Debug)]
struct Call {
    called: u64,
    returned: u64,
    answer: Answer,
}

#[derive(Clone, Debug, PartialEq)]
enum Answer {
    /// It is done, at this place in the log; a registration tells its version.
    Done { action: Action, at: u64, version: Option<ModelVersion> },
    /// It is a conflict, or something in it does not exist.
    Refused { action: Action },
    /// The state after a refresh, and its place in the log.
    Read { state: Plain, at: u64 },
}

impl Answer {
    fn place(&self) -> Option<u64> {
        match self {
            Self::Done { at, .. } | Self::Read { at, .. } => Some(*at),
            Self::Refused { .. } => None,
        }
    }
}

/// Lets eight writers register, tag, delete and restore versions, move aliases, and rename, delete and restore models,
/// all at once and as chance will have it; then holds every answer against a registry that does one call at a time.
///
/// [`check`](super::check) does it with a few calls for each. No one else may commit meanwhile.
///
/// # Errors
/// `Internal` with the call that no order explains, or the error of a call that is neither done nor refused.
pub fn check_history(open: impl Fn() -> Result<Registry> + Sync, calls_each: u64, seed: Seed) -> Result<()> {
    let before = open()?.snapshot();
    let start = (before.sequence(), Plain::of(&before));
    let (clock, barrier) = (AtomicU64::new(0), Barrier::new(WRITERS));
    // Opened before the threads start: they wait for each other.
    let registries = (0..WRITERS).map(|_| open()).collect::<Result<Vec<_>>>()?;
    let histories: Vec<Result<Vec<Call>>> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0_u64..)
            .zip(registries)
            .map(|(writer, registry)| {
                let (clock, barrier) = (&clock, &barrier);
                scope.spawn(move || {
                    let mut rng = seed.derive(&format!("writer {writer}")).rng();
                    barrier.wait();
                    let tick = || clock.fetch_add(1, Ordering::SeqCst);
                    let mut calls = Vec::new();
                    for number in 0..calls_each {
                        let action = (rng.random_range(0..4) > 0)
                            .then(|| Action::random(&Plain::of(&registry.state()), &mut rng));
                        let called = tick();
                        let answer = call(&registry, action, &format!("{writer} {number}"))?;
                        calls.push(Call { called, returned: tick(), answer });
                    }
                    Ok(calls)
                })
            })
            .collect();
        let gone = || Err(Error::internal("a writer panicked"));
        writers.into_iter().map(|writer| writer.join().unwrap_or_else(|_| gone())).collect()
    });
    let calls: Vec<Call> = histories.into_iter().collect::<Result<Vec<_>>>()?.concat();
    let (end, last) = explain(start, &calls)?;
    let found = open()?.snapshot();
    let same = found.sequence() == end && Plain::of(&found) == last;
    holds(same, "what was answered is what is recorded, and nothing else")
}

fn call(registry: &Registry, action: Option<Action>, content: &str) -> Result<Answer> {
    let Some(action) = action else {
        let state = registry.refresh()?;
        return Ok(Answer::Read { state: Plain::of(&state), at: state.sequence() });
    };
    match registry.commit(action.draft(content)) {
        Ok(receipt) => {
            Ok(Answer::Done { at: receipt.commit.sequence, version: receipt.version().cloned(), action })
        }
        Err(error) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::NotFound) => {
            Ok(Answer::Refused { action })
        }
        Err(error) => Err(error.context(format!("{action:?}"))),
    }
}

/// Finds the order that explains all calls after a state; gives the last place and the last state.
fn explain((start, before): (u64, Plain), calls: &[Call]) -> Result<(u64, Plain)> {
    let mut done = BTreeMap::new();
    for call in calls {
        if let Answer::Done { at, .. } = &call.answer {
            holds(done.insert(*at, call).is_none(), &format!("a place is taken once: {call:?}"))?;
        }
    }
    let places = (start + 1..).take(done.len());
    holds(done.keys().copied().eq(places), "every commit was answered, and every answer is a commit")?;
    // The state after each commit.
    let mut states = vec![before];
    for call in done.values() {
        let Answer::Done { action, version, .. } = &call.answer else { continue };
        let mut next = states[states.len() - 1].clone();
        let registered = next.apply(action);
        holds(registered.as_ref() == Some(version), &format!("the state before allows it: {call:?}"))?;
        states.push(next);
    }
    let state = |at: u64| at.checked_sub(start).and_then(|place| states.get(usize::try_from(place).ok()?));
    for call in calls {
        let holds = match &call.answer {
            Answer::Done { .. } => true,
            Answer::Read { state: found, at } => state(*at) == Some(found),
            Answer::Refused { action } => {
                // Some state between call and return refuses it.
                let last = |of: &dyn Fn(&&Call) -> bool| {
                    calls.iter().filter(of).filter_map(|other| other.answer.place()).max().unwrap_or(start)
                };
                let from = last(&|other| other.returned < call.called);
                let to = last(&|other| other.called < call.returned);
                let refuses = |at| state(at).is_some_and(|state| state.clone().apply(action).is_none());
                (from..=to).any(refuses)
            }
        };
        super::holds(holds, &format!("some state explains the answer: {call:?}"))?;
    }
    // What had returned is seen by what is called later.
    for earlier in calls {
        for later in calls.iter().filter(|later| later.called > earlier.returned) {
            let (Some(before), Some(after)) = (earlier.answer.place(), later.answer.place()) else {
                continue;
            };
            let writes = matches!(later.answer, Answer::Done { .. });
            let in_order = before < after || (before == after && !writes);
            holds(in_order, &format!("the order is that of real time: {earlier:?} then {later:?}"))?;
        }
    }
    let end = start + done.len() as u64;
    Ok((end, states.pop().unwrap_or_default()))
}

const WRITERS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn done(called: u64, at: u64, action: Action) -> Call {
        let id = |model: &str| ModelVersion::new(model, 1);
        let version = if let Action::Register { model } = &action { Some(id(model)) } else { None };
        Call { called, returned: called + 1, answer: Answer::Done { action, at, version } }
    }

    fn register(model: &str) -> Action {
        Action::Register { model: model.to_owned() }
    }

    fn delete(model: &str) -> Action {
        Action::DeleteModel { model: model.to_owned() }
    }

    #[test]
    fn what_no_order_explains_is_seen() {
        let start = || (5, Plain::default());
        let read = |called, at, actions: &[Action]| {
            let mut state = Plain::default();
            assert!(actions.iter().all(|action| state.apply(action).is_some()));
            Call { called, returned: called + 1, answer: Answer::Read { state, at } }
        };
        let refused =
            |called, action| Call { called, returned: called + 1, answer: Answer::Refused { action } };
        let good = [
            done(0, 6, register("a")),
            read(2, 6, &[register("a")]),
            done(4, 7, delete("a")),
            refused(6, register("a")),
        ];
        assert_eq!(explain(start(), &good).unwrap().0, 7);
        let with = |change: &dyn Fn(&mut Vec<Call>)| {
            let mut calls = good.to_vec();
            change(&mut calls);
            explain(start(), &calls).unwrap_err().to_string()
        };
        for (change, why) in [
            (
                &(|calls: &mut Vec<Call>| calls[2] = done(4, 6, delete("a"))) as &dyn Fn(&mut Vec<Call>),
                "taken once",
            ),
            (&|calls| calls[2] = done(4, 8, delete("a")), "every commit was answered"),
            (&|calls| drop(calls.remove(0)), "every commit was answered"),
            (&|calls| calls[2] = done(4, 7, delete("b")), "the state before allows it"),
            (&|calls| calls[2] = done(4, 7, register("a")), "the state before allows it"),
            (&|calls| calls[1] = read(2, 7, &[register("a")]), "some state explains the answer"),
            (&|calls| calls[1] = read(2, 9, &[]), "some state explains the answer"),
            (&|calls| calls[3] = refused(6, register("b")), "some state explains the answer"),
            // It was refused before there was a reason.
            (&|calls| calls[3] = refused(2, register("a")), "some state explains the answer"),
            // A stale read, and a commit that overtook one that had returned.
            (&|calls| calls[1] = read(2, 5, &[]), "the order is that of real time"),
            (&|calls| calls[0] = done(20, 6, register("a")), "the order is that of real time"),
        ] {
            let error = with(change);
            assert!(error.contains(why), "{why}: {error}");
        }
    }
}
