//! The log against a naive reference, with restarts in between.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::collections::BTreeMap;

use proptest::prelude::*;
use strongroom_storage::{LogEntry, LogOptions, RaftLog};
use support::{directory, entries, never, wait};

#[derive(Clone, Debug)]
enum Step {
    /// Appends so many entries.
    Append(u64),
    Vote(u8),
    /// Truncates so many entries from the end.
    Truncate(u64),
    /// Purges so many entries from the start, or beyond the end.
    Purge(u64),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0_u64..40).prop_map(Step::Append),
        1 => any::<u8>().prop_map(Step::Vote),
        2 => (0_u64..30).prop_map(Step::Truncate),
        1 => (0_u64..60).prop_map(Step::Purge),
        1 => Just(Step::Restart),
    ]
}

/// What the log should hold, the simple way.
#[derive(Default)]
struct Reference {
    entries: BTreeMap<u64, LogEntry>,
    vote: Option<u8>,
    purged: Option<u64>,
}

impl Reference {
    fn next(&self) -> u64 {
        let after = self.entries.last_key_value().map(|(index, _)| index + 1);
        after.or(self.purged.map(|index| index + 1)).unwrap_or(1)
    }

    fn assert_holds(&self, log: &RaftLog) {
        let expected: Vec<LogEntry> = self.entries.values().cloned().collect();
        assert_eq!(log.read(0, u64::MAX, usize::MAX).unwrap(), expected);
        assert_eq!(log.first_index(), self.entries.first_key_value().map(|(index, _)| *index));
        assert_eq!(log.last().unwrap(), expected.last().cloned());
        assert_eq!(log.vote().map(|vote| vote[0]), self.vote);
        assert_eq!(log.last_purged().map(|(index, _)| index), self.purged);
        if let (Some(first), Some(last)) = (log.first_index(), log.last_index()) {
            let middle = first + (last - first) / 2;
            let page = log.read(middle, last, 2_000).unwrap();
            let from = (middle - first) as usize;
            assert_eq!(page, expected[from..from + page.len()]);
            assert!(!page.is_empty() || middle == last);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn the_log_is_the_reference_after_every_step(steps in prop::collection::vec(step(), 1..40)) {
        let (_root, directory) = directory();
        let open = || {
            let options = LogOptions { cache_bytes_max: 2_000, ..LogOptions::default() };
            RaftLog::open(&directory, options, never()).unwrap()
        };
        let mut log = open();
        let mut reference = Reference::default();
        for (term, step) in (1_u64..).zip(steps) {
            match step {
                Step::Append(count) => {
                    let new = entries(reference.next()..reference.next() + count, term);
                    reference.entries.extend(new.iter().map(|e| (e.index, e.clone())));
                    log.append(new, Box::new(|result| result.unwrap()));
                }
                Step::Vote(vote) => {
                    reference.vote = Some(vote);
                    log.save_vote(vec![vote], Box::new(|result| result.unwrap()));
                }
                Step::Truncate(count) => {
                    let from = reference.next().saturating_sub(count);
                    reference.entries.split_off(&from);
                    log.truncate_from(from, Box::new(|result| result.unwrap()));
                }
                Step::Purge(count) => {
                    let first = reference.entries.first_key_value().map(|(index, _)| *index);
                    let to = first.unwrap_or(reference.next()) + count;
                    reference.entries = reference.entries.split_off(&(to + 1));
                    reference.purged = Some(to);
                    wait(|done| log.purge_to(to, vec![], done)).unwrap();
                }
                Step::Restart => {
                    log.close();
                    drop(log);
                    log = open();
                }
            }
            reference.assert_holds(&log);
        }
    }
}
