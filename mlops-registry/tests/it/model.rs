//! The commit protocol, checked in every interleaving: writers that register, others that promote, a garbage
//! collector; each may die anywhere, each put may lose its answer or land late. Taking away any one rule of the
//! protocol is noticed.

use std::collections::BTreeSet;

use stateright::{Checker as _, Model, Property};

/// The rules of the protocol that the check can take away.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Without {
    Nothing,
    /// Reading the entry back after anything but a clear success.
    ReadBack,
    /// The watermark before a sweep.
    Watermark,
    /// The expectation of a promotion.
    Expectation,
}

struct Protocol {
    writers: usize,
    promoters: usize,
    sweeps: u8,
    without: Without,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    log: Vec<Entry>,
    blobs: BTreeSet<u8>,
    writers: Vec<Writer>,
    promoters: Vec<Promoter>,
    sweeper: Sweeper,
    /// The next upload's number: the order that ULIDs give.
    next_upload: u8,
    told_registered: Vec<bool>,
    told_promoted: u8,
    /// A put that failed for its caller and may still land.
    late: Option<(usize, Entry)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Entry {
    Register { writer: usize, upload: u8 },
    Promote { promoter: usize },
    Watermark(u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Writer {
    Start { tries: u8 },
    Uploaded { upload: u8, tries: u8 },
    Validated { upload: u8, at: usize, tries: u8 },
    Unsure { upload: u8, at: usize, tries: u8 },
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Promoter {
    Start,
    Validated { at: usize },
    Ended,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Sweeper {
    Idle,
    Listed { uploads: Vec<u8>, before: u8, at: usize },
    Sweeping { uploads: Vec<u8> },
    Ended,
}

impl State {
    fn registered(&self, writer: usize) -> usize {
        self.log
            .iter()
            .filter(|entry| matches!(entry, Entry::Register { writer: by, .. } if *by == writer))
            .count()
    }

    fn needed(&self) -> BTreeSet<u8> {
        let uploads = self.log.iter().filter_map(|entry| match entry {
            Entry::Register { upload, .. } => Some(*upload),
            _ => None,
        });
        uploads.collect()
    }

    fn watermark(&self) -> u8 {
        let marks = self.log.iter().filter_map(|entry| match entry {
            Entry::Watermark(upload) => Some(*upload),
            _ => None,
        });
        marks.max().unwrap_or(0)
    }

    fn promotions(&self) -> usize {
        self.log.iter().filter(|entry| matches!(entry, Entry::Promote { .. })).count()
    }
}

impl Protocol {
    fn writer_steps(&self, state: &State, index: usize, add: &mut impl FnMut(&'static str, State)) {
        let with = |step: &dyn Fn(&mut State) -> Writer| {
            let mut next = state.clone();
            next.writers[index] = step(&mut next);
            next
        };
        let done = |next: &mut State| {
            next.told_registered[index] = true;
            Writer::Ended
        };
        match state.writers[index] {
            Writer::Ended => return,
            Writer::Start { tries } if tries < 2 => add(
                "upload",
                with(&|next| {
                    let upload = next.next_upload;
                    next.next_upload += 1;
                    next.blobs.insert(upload);
                    Writer::Uploaded { upload, tries }
                }),
            ),
            Writer::Start { .. } => {}
            Writer::Uploaded { upload, tries } => {
                if self.without != Without::ReadBack && state.registered(index) > 0 {
                    add("own operation met", with(&done));
                } else if upload < state.watermark() && self.without != Without::Watermark {
                    add("upload expired", with(&|_| Writer::Start { tries: tries + 1 }));
                } else {
                    add("validate", with(&|next| Writer::Validated { upload, at: next.log.len(), tries }));
                }
            }
            Writer::Validated { upload, at, tries } => {
                let entry = Entry::Register { writer: index, upload };
                if state.log.len() == at {
                    let put = |next: &mut State| next.log.push(entry);
                    add(
                        "put",
                        with(&|next| {
                            put(next);
                            done(next)
                        }),
                    );
                    add(
                        "put, answer lost",
                        with(&|next| {
                            put(next);
                            Writer::Unsure { upload, at, tries }
                        }),
                    );
                } else if self.without != Without::ReadBack && state.log[at] == entry {
                    add("taken by itself", with(&done));
                } else {
                    add("taken", with(&|_| Writer::Uploaded { upload, tries }));
                }
                if state.late.is_none() {
                    add(
                        "put under way",
                        with(&|next| {
                            next.late = Some((at, entry));
                            Writer::Unsure { upload, at, tries }
                        }),
                    );
                }
            }
            Writer::Unsure { upload, at, tries } => {
                if self.without == Without::ReadBack {
                    add("blind retry", with(&|_| Writer::Uploaded { upload, tries }));
                } else if state.log.len() == at {
                    add("read back: nothing", with(&|_| Writer::Validated { upload, at, tries }));
                } else if state.log[at] == (Entry::Register { writer: index, upload }) {
                    add("read back: itself", with(&done));
                } else {
                    add("read back: another", with(&|_| Writer::Uploaded { upload, tries }));
                }
            }
        }
        add("die", with(&|_| Writer::Ended));
    }

    fn promoter_steps(&self, state: &State, index: usize, add: &mut impl FnMut(&'static str, State)) {
        let with = |promoter: Promoter, step: &dyn Fn(&mut State)| {
            let mut next = state.clone();
            next.promoters[index] = promoter;
            step(&mut next);
            next
        };
        match state.promoters[index] {
            Promoter::Ended => return,
            Promoter::Start if state.needed().is_empty() => {}
            Promoter::Start if state.promotions() > 0 && self.without != Without::Expectation => {
                add("refused", with(Promoter::Ended, &|_| {}));
            }
            Promoter::Start => add("validate", with(Promoter::Validated { at: state.log.len() }, &|_| {})),
            Promoter::Validated { at } if state.log.len() == at => add(
                "promote",
                with(Promoter::Ended, &|next| {
                    next.log.push(Entry::Promote { promoter: index });
                    next.told_promoted += 1;
                }),
            ),
            Promoter::Validated { .. } => add("taken", with(Promoter::Start, &|_| {})),
        }
        add("die", with(Promoter::Ended, &|_| {}));
    }

    fn sweeper_steps(&self, state: &State, add: &mut impl FnMut(&'static str, State)) {
        let with = |sweeper: Sweeper, step: &dyn Fn(&mut State)| {
            let mut next = state.clone();
            next.sweeper = sweeper;
            step(&mut next);
            next
        };
        match &state.sweeper {
            Sweeper::Ended => {}
            Sweeper::Idle => {
                let uploads = state.blobs.iter().copied().collect();
                let (before, at) = (state.next_upload, state.log.len());
                add("list", with(Sweeper::Listed { uploads, before, at }, &|_| {}));
            }
            Sweeper::Listed { uploads, before, at } => {
                let orphans = |state: &State| -> Vec<u8> {
                    let needed = state.needed();
                    uploads.iter().copied().filter(|upload| !needed.contains(upload)).collect()
                };
                if self.without == Without::Watermark {
                    add("no watermark", with(Sweeper::Sweeping { uploads: orphans(state) }, &|_| {}));
                } else if state.log.len() == *at {
                    let sweeping = Sweeper::Sweeping { uploads: orphans(state) };
                    add("watermark", with(sweeping, &|next| next.log.push(Entry::Watermark(*before))));
                } else {
                    add(
                        "taken",
                        with(
                            Sweeper::Listed {
                                uploads: uploads.clone(),
                                before: *before,
                                at: state.log.len(),
                            },
                            &|_| {},
                        ),
                    );
                }
            }
            Sweeper::Sweeping { uploads } => match uploads.split_first() {
                Some((upload, rest)) => {
                    let rest = Sweeper::Sweeping { uploads: rest.to_vec() };
                    add("delete", with(rest, &|next| next.blobs.retain(|blob| blob != upload)));
                    add("die", with(Sweeper::Ended, &|_| {}));
                }
                None => add("swept", with(Sweeper::Ended, &|_| {})),
            },
        }
    }
}

impl Model for Protocol {
    type State = State;
    type Action = (&'static str, State);

    fn init_states(&self) -> Vec<State> {
        vec![State {
            log: Vec::new(),
            blobs: BTreeSet::new(),
            writers: vec![Writer::Start { tries: 0 }; self.writers],
            promoters: vec![Promoter::Start; self.promoters],
            sweeper: if self.sweeps > 0 { Sweeper::Idle } else { Sweeper::Ended },
            next_upload: 1,
            told_registered: vec![false; self.writers],
            told_promoted: 0,
            late: None,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Self::Action>) {
        let mut add = |label, next| actions.push((label, next));
        if let Some((at, entry)) = state.late
            && state.log.len() >= at
        {
            let mut next = state.clone();
            next.late = None;
            if next.log.len() == at {
                next.log.push(entry);
            }
            add("a late put lands", next);
        }
        (0..self.writers).for_each(|index| self.writer_steps(state, index, &mut add));
        (0..self.promoters).for_each(|index| self.promoter_steps(state, index, &mut add));
        self.sweeper_steps(state, &mut add);
    }

    fn next_state(&self, _: &State, (_, next): Self::Action) -> Option<State> {
        Some(next)
    }

    /// Without a rule the log may grow for ever; with all of them it never gets that long.
    fn within_boundary(&self, state: &State) -> bool {
        state.log.len() <= 6
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("what a version needs is there", |_: &Self, state: &State| {
                state.needed().is_subset(&state.blobs)
            }),
            Property::always(
                "what was acknowledged is recorded once, and nothing twice",
                |_: &Self, state: &State| {
                    let told = state.told_registered.iter().enumerate();
                    told.into_iter().all(|(writer, told)| {
                        let count = state.registered(writer);
                        count <= 1 && (!told || count == 1)
                    })
                },
            ),
            Property::always("one promotion of many wins", |_: &Self, state: &State| {
                state.told_promoted <= 1 && state.promotions() <= 1
            }),
        ]
    }
}

fn violations(protocol: Protocol) -> Vec<&'static str> {
    let checker = protocol.checker().spawn_bfs().join();
    assert!(checker.unique_state_count() > 50, "{} states", checker.unique_state_count());
    checker.discoveries().into_keys().collect()
}

#[test]
fn the_protocol_holds() {
    let nothing: [&str; 0] = [];
    let check =
        |writers, promoters, sweeps| Protocol { writers, promoters, sweeps, without: Without::Nothing };
    assert_eq!(violations(check(2, 0, 1)), nothing);
    assert_eq!(violations(check(1, 2, 0)), nothing);
    assert_eq!(violations(check(1, 1, 1)), nothing);
}

#[test]
fn every_rule_is_needed() {
    let without =
        |without, promoters, sweeps| violations(Protocol { writers: 1, promoters, sweeps, without });
    let twice = "what was acknowledged is recorded once, and nothing twice";
    assert!(without(Without::ReadBack, 0, 0).contains(&twice));
    assert!(without(Without::Watermark, 0, 1).contains(&"what a version needs is there"));
    assert!(without(Without::Expectation, 2, 0).contains(&"one promotion of many wins"));
}
