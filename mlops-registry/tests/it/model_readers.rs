//! Readers and checkpoints, checked in every interleaving: writers that commit and save checkpoints, early or late or
//! never, beside readers that open and refresh, in a store where a checkpoint of another log was left behind.

use std::collections::BTreeMap;

use stateright::{Checker as _, Model, Property};

/// The rules that the check can take away.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Without {
    Nothing,
    /// Believing a checkpoint only if the entry after it states its digest.
    Statement,
    /// Reading on to the end of the log.
    End,
}

struct Protocol {
    without: Without,
}

/// What the log adds up to: the numbers of its commits.
type Sum = Vec<u8>;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    log: Vec<Entry>,
    checkpoints: BTreeMap<usize, Sum>,
    writers: Vec<Writer>,
    readers: Vec<Reader>,
    next_commit: u8,
    /// How long the log is as far as anybody was told.
    told: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Entry {
    commit: u8,
    /// The digest of the checkpoint before it, for which the sum itself stands here.
    states: Option<Sum>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Writer {
    Ready { commits: u8 },
    Validated { sum: Sum, commits: u8 },
    Committed { before: Sum, commits: u8 },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Reader {
    Closed,
    /// It has to see so many commits when it is done.
    Reading {
        sum: Sum,
        told: usize,
    },
    Done {
        sum: Sum,
        told: usize,
    },
}

impl State {
    fn sum(&self) -> Sum {
        self.log.iter().map(|entry| entry.commit).collect()
    }
}

impl Protocol {
    fn writer_steps(state: &State, index: usize, add: &mut impl FnMut(&'static str, State)) {
        let with = |step: &dyn Fn(&mut State) -> Writer| {
            let mut next = state.clone();
            next.writers[index] = step(&mut next);
            next
        };
        match &state.writers[index] {
            Writer::Ready { commits: 0 } => {}
            Writer::Ready { commits } => {
                add("read", with(&|next| Writer::Validated { sum: next.sum(), commits: commits - 1 }));
            }
            Writer::Validated { sum, commits } if state.log.len() > sum.len() => {
                add("taken", with(&|_| Writer::Ready { commits: commits + 1 }));
            }
            Writer::Validated { sum, commits } => {
                for states in [None, Some(sum.clone())] {
                    let put = |next: &mut State| {
                        next.log.push(Entry { commit: next.next_commit, states: states.clone() });
                        next.next_commit += 1;
                        next.told = next.log.len();
                    };
                    let stated = states.is_some();
                    let done = |next: &mut State| {
                        put(next);
                        if stated {
                            return Writer::Committed { before: sum.clone(), commits: *commits };
                        }
                        Writer::Ready { commits: *commits }
                    };
                    add("put", with(&done));
                }
            }
            Writer::Committed { before, commits } => {
                let save = |next: &mut State| {
                    next.checkpoints.insert(before.len(), before.clone());
                    Writer::Ready { commits: *commits }
                };
                add("save the checkpoint", with(&save));
                add("die before", with(&|_| Writer::Ready { commits: 0 }));
            }
        }
    }

    fn reader_steps(&self, state: &State, index: usize, add: &mut impl FnMut(&'static str, State)) {
        let mut step = |label, reader| {
            let mut next = state.clone();
            next.readers[index] = reader;
            add(label, next);
        };
        match &state.readers[index] {
            Reader::Closed => {
                let stated = |(place, sum): &(&usize, &Sum)| {
                    let next = state.log.get(**place);
                    self.without == Without::Statement
                        || next.is_some_and(|next| next.states.as_ref() == Some(sum))
                };
                let checkpoint = state.checkpoints.iter().rev().find(stated);
                let sum = checkpoint.map_or_else(Sum::new, |(_, sum)| sum.clone());
                step("open", Reader::Reading { sum, told: state.told });
            }
            Reader::Reading { sum, told } => match state.log.get(sum.len()) {
                Some(next) if self.without != Without::End => {
                    let sum = [&sum[..], &[next.commit]].concat();
                    step("read an entry", Reader::Reading { sum, told: *told });
                }
                _ => step("end", Reader::Done { sum: sum.clone(), told: *told }),
            },
            // It knows more than it did: there is an end to that.
            Reader::Done { sum, .. } if sum.len() < state.log.len() => {
                step("refresh", Reader::Reading { sum: sum.clone(), told: state.told });
            }
            Reader::Done { .. } => {}
        }
    }
}

impl Model for Protocol {
    type State = State;
    type Action = (&'static str, State);

    fn init_states(&self) -> Vec<State> {
        vec![State {
            log: Vec::new(),
            // Left behind when an older log was restored from a backup.
            checkpoints: [(2, vec![100, 101])].into(),
            writers: vec![Writer::Ready { commits: 2 }; 2],
            readers: vec![Reader::Closed],
            next_commit: 1,
            told: 0,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Self::Action>) {
        let mut add = |label, next| actions.push((label, next));
        (0..state.writers.len()).for_each(|index| Self::writer_steps(state, index, &mut add));
        (0..state.readers.len()).for_each(|index| self.reader_steps(state, index, &mut add));
    }

    fn next_state(&self, _: &State, (_, next): Self::Action) -> Option<State> {
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("what is read is the beginning of the log", |_: &Self, state: &State| {
                let log = state.sum();
                state.readers.iter().all(|reader| match reader {
                    Reader::Closed => true,
                    Reader::Reading { sum, .. } | Reader::Done { sum, .. } => log.starts_with(sum),
                })
            }),
            Property::always("what had returned before is seen", |_: &Self, state: &State| {
                let missed =
                    |reader: &Reader| matches!(reader, Reader::Done { sum, told } if sum.len() < *told);
                !state.readers.iter().any(missed)
            }),
            Property::sometimes("a checkpoint is started at", |_: &Self, state: &State| {
                let started =
                    |reader: &Reader| matches!(reader, Reader::Reading { sum, .. } if sum.len() > 1);
                state.readers.iter().any(started)
            }),
        ]
    }
}

/// The properties that do not hold.
fn violations(without: Without) -> Vec<&'static str> {
    let checker = Protocol { without }.checker().spawn_bfs().join();
    assert!(checker.unique_state_count() > 50, "{} states", checker.unique_state_count());
    let found: Vec<_> = checker.discoveries().into_keys().collect();
    let (met, violated) =
        found.into_iter().partition::<Vec<_>, _>(|name| *name == "a checkpoint is started at");
    assert_eq!(met.len(), 1, "checkpoints are used");
    violated
}

#[test]
fn readers_see_the_log_and_nothing_else() {
    let nothing: [&str; 0] = [];
    assert_eq!(violations(Without::Nothing), nothing);
}

#[test]
fn every_rule_of_readers_is_needed() {
    assert!(violations(Without::Statement).contains(&"what is read is the beginning of the log"));
    assert!(violations(Without::End).contains(&"what had returned before is seen"));
}
