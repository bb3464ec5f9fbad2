//! What guarded transactions promise, one law a test.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use prost::Message;
use strongroom_audit::{Frontier, verify_consistency, verify_inclusion};
use strongroom_base::{AuditSequence, BarrierEpoch, LogIndex, UnixMillis, limits};
use strongroom_format::store::{
    Batch, ClusterRecord, Command, EpochKind, Guard, PlainName, Transaction, command,
};
use strongroom_state::{
    Applied, CLUSTER_VERSION_MAX, MapTables, Order, Outcome, RefusalCause, StoredRow, Table,
    Tables, TablesError, Verdict, apply, audit_size, cluster_time, consistency_proof,
    first_leaf_not_before, inclusion_proof, leaf, leaves_page, plain as plain_record, row,
    rows_page, rows_under, tree_root,
};
use support::build::{
    absent, batch, command, delete, plain, put, put_plain, record, sealed, transaction, unused,
    version,
};

/// One node's batches, one entry each.
#[derive(Default)]
struct Log {
    tables: MapTables,
    index: u64,
    sequence: u64,
    stamp_ms: u64,
}

impl Log {
    fn commit(&mut self, guards: Vec<Guard>, transactions: Vec<Transaction>) -> Applied {
        self.sequence += 1;
        self.index += 1;
        let batch = batch(self.sequence, guards, transactions);
        apply(&mut self.tables, LogIndex(self.index), &command(self.stamp_ms, &batch)).unwrap()
    }

    fn verdicts(&mut self, guards: Vec<Guard>, transactions: Vec<Transaction>) -> Vec<Verdict> {
        match self.commit(guards, transactions).outcome {
            Outcome::Batch(outcome) => outcome.verdicts,
            other => panic!("{other:?}"),
        }
    }

    /// Verdict on a transaction decided on the present state.
    fn verdict(
        &mut self,
        guards: Vec<Guard>,
        writes: Vec<strongroom_format::store::Write>,
    ) -> Verdict {
        let reads = u32::try_from(guards.len()).unwrap();
        let decided = transaction(self.index, reads, writes);
        self.verdicts(guards, vec![decided])[0]
    }

    fn row(&self, table: u32, id: &[u8]) -> StoredRow {
        row(&self.tables, table, id).unwrap().unwrap()
    }

    fn refusal(&mut self, command: &[u8]) -> RefusalCause {
        let before = self.tables.clone();
        self.index += 1;
        let applied = apply(&mut self.tables, LogIndex(self.index), command).unwrap();
        assert_eq!(self.tables, before, "a refused command leaves nothing");
        match applied.outcome {
            Outcome::Refused(refusal) => refusal.cause,
            other => panic!("{other:?}"),
        }
    }
}

/// The tables but for what every batch writes: time and marks.
fn effect(tables: &MapTables) -> Vec<(Table, Vec<u8>, Vec<u8>)> {
    let all = Table::ALL.into_iter().flat_map(|table| {
        tables.entries(table).map(move |(key, value)| (table, key.to_vec(), value.to_vec()))
    });
    all.filter(|(table, key, _)| {
        *table != Table::Deduplication && (*table != Table::Meta || key != &[1])
    })
    .collect()
}

#[test]
fn what_breaks_a_rule_of_form_is_malformed_and_leaves_nothing() {
    let mut log = Log::default();
    assert_eq!(
        log.verdict(vec![absent(1, b"a")], vec![put(1, b"a", sealed(1, 1))]),
        Verdict::Admitted
    );
    let present = version(1, b"a", &log.row(1, b"a"));
    let guards = || vec![present.clone(), absent(1, b"b"), Guard { expect: None }];
    let write = || put(1, b"a", sealed(1, 2));
    let good = |writes| transaction(1, 2, writes);
    let with = |change: &dyn Fn(&mut Transaction)| {
        let mut spoilt = good(vec![write()]);
        change(&mut spoilt);
        spoilt
    };
    let short_body = || {
        let mut record = record(1, 1, 1, 1);
        record.body.truncate(20);
        record
    };
    let malformed = vec![
        ("decided at the entry itself", with(&|it| it.decided_at = 2)),
        ("reads out of order", with(&|it| it.reads = vec![1, 0])),
        ("a read given twice", with(&|it| it.reads = vec![0, 0])),
        ("a read of nothing", with(&|it| it.reads = vec![0, 3])),
        ("a read of an empty guard", with(&|it| it.reads = vec![0, 2])),
        ("a write that is not guarded", with(&|it| it.reads = vec![1])),
        ("a deletion guarded by absence", good(vec![delete(1, b"b")])),
        ("a row written twice", good(vec![write(), write()])),
        ("a row too short to be sealed", good(vec![put(1, b"a", vec![1; 20])])),
        ("a row of epoch 0", good(vec![put(1, b"a", sealed(0, 1))])),
        ("a row too large", good(vec![put(1, b"a", vec![1; limits::ROW_BYTES_MAX + 1])])),
        ("an empty write", good(vec![Default::default()])),
        ("a record without a leaf", with(&|it| it.records = vec![Default::default()])),
        ("a body too short to be sealed", with(&|it| it.records = vec![short_body()])),
    ];
    let before = effect(&log.tables);
    for (what, transaction) in malformed {
        assert_eq!(log.verdicts(guards(), vec![transaction]), [Verdict::Malformed], "{what}");
        assert_eq!(effect(&log.tables), before, "{what}");
        // The entry's index moves on, and with it what may be decided on.
        log.index = 1;
    }
    assert_eq!(log.verdicts(guards(), vec![good(vec![write()])]), [Verdict::Admitted]);
}

#[test]
fn what_breaks_a_bound_of_the_batch_is_refused_as_a_whole() {
    let mut log = Log::default();
    let transactions = vec![Transaction::default(); limits::BATCH_TRANSACTIONS_MAX + 1];
    let many = batch(1, vec![], transactions);
    assert_eq!(log.refusal(&command(0, &many)), RefusalCause::Malformed);
    let many = batch(1, vec![absent(1, b"a"); limits::BATCH_GUARDS_MAX + 1], vec![]);
    assert_eq!(log.refusal(&command(0, &many)), RefusalCause::Malformed);
    let records = vec![record(1, 1, 1, 1); 10_000];
    let large = Transaction { records, ..Transaction::default() };
    let large = batch(1, vec![], vec![large]);
    assert!(large.encoded_len() > limits::BATCH_BYTES_MAX);
    assert_eq!(log.refusal(&command(0, &large)), RefusalCause::Malformed);
    for (node_id, boot_count, sequence) in [(0, 1, 1), (1 << 32, 1, 1), (1, 0, 1), (1, 1, 0)] {
        let unnamed = Batch { node_id, boot_count, sequence, ..Batch::default() };
        assert_eq!(log.refusal(&command(0, &unnamed)), RefusalCause::Malformed);
    }
}

#[test]
fn what_this_version_does_not_know_is_refused() {
    let mut log = Log::default();
    let known = command(0, &batch(1, vec![], vec![]));
    let unknown_field = [&known[..], &[0x78, 1]].concat();
    assert_eq!(log.refusal(&unknown_field), RefusalCause::Undecodable);
    let inner = [&batch(1, vec![], vec![]).encode_to_vec()[..], &[0x78, 1]].concat();
    let body = Some(command::Body::Batch(inner));
    let unknown_field = Command { format: 1, body, ..Command::default() }.encode_to_vec();
    assert_eq!(log.refusal(&unknown_field), RefusalCause::Undecodable);
    assert_eq!(log.refusal(b"\xff"), RefusalCause::Undecodable);
    let newer = Command { format: 2, stamp_ms: 5, ..Command::default() }.encode_to_vec();
    assert_eq!(log.refusal(&newer), RefusalCause::UnknownCommand);
    let no_body = Command { format: 1, ..Command::default() }.encode_to_vec();
    assert_eq!(log.refusal(&no_body), RefusalCause::UnknownCommand);
    let late = command(UnixMillis::MAX.0 + 1, &batch(1, vec![], vec![]));
    assert_eq!(log.refusal(&late), RefusalCause::Malformed);
}

#[test]
fn a_cluster_version_beyond_this_program_stops_it_before_anything_is_kept() {
    let mut log = Log::default();
    let cluster = |version| ClusterRecord { version, ..ClusterRecord::default() }.encode_to_vec();
    let write = |version| put_plain(PlainName::Cluster, &cluster(version));
    let known = vec![write(CLUSTER_VERSION_MAX)];
    assert_eq!(log.verdict(vec![plain(PlainName::Cluster, 0)], known), Verdict::Admitted);
    let guard = plain(PlainName::Cluster, 1);
    let newer = transaction(1, 1, vec![write(CLUSTER_VERSION_MAX + 1)]);
    let entry = command(0, &batch(2, vec![guard.clone()], vec![newer]));
    let error = apply(&mut log.tables, LogIndex(2), &entry).unwrap_err();
    let cluster = CLUSTER_VERSION_MAX + 1;
    assert!(matches!(error, TablesError::ProgramTooOld { cluster: it, .. } if it == cluster));
    let undecodable = transaction(1, 1, vec![put_plain(PlainName::Cluster, b"\xff")]);
    assert_eq!(log.verdicts(vec![guard], vec![undecodable]), [Verdict::Malformed]);
}

#[test]
fn a_delayed_proposal_never_lands_on_a_row_deleted_and_created_again() {
    let mut log = Log::default();
    let create = |content| vec![put(1, b"a", sealed(1, content))];
    assert_eq!(log.verdict(vec![absent(1, b"a")], create(1)), Verdict::Admitted);
    let first = log.row(1, b"a");
    let delayed = transaction(1, 1, create(9));
    let delete_first = vec![delete(1, b"a")];
    assert_eq!(log.verdict(vec![version(1, b"a", &first)], delete_first), Verdict::Admitted);

    // Decided before the deletion, on the row's absence or on its version.
    let early = transaction(0, 1, create(2));
    assert_eq!(log.verdicts(vec![absent(1, b"a")], vec![early]), [Verdict::Superseded]);
    let other = transaction(0, 1, vec![put(1, b"b", sealed(1, 2))]);
    assert_eq!(log.verdicts(vec![absent(1, b"b")], vec![other]), [Verdict::Superseded]);

    assert_eq!(log.verdict(vec![absent(1, b"a")], create(1)), Verdict::Admitted);
    let again = log.row(1, b"a");
    assert_eq!(again.value, first.value);
    assert!(again.revision > first.revision);
    let guard = version(1, b"a", &first);
    assert_eq!(log.verdicts(vec![guard], vec![delayed]), [Verdict::Superseded]);
    assert_eq!(log.row(1, b"a"), again);
}

#[test]
fn a_tag_alone_tells_two_versions_apart() {
    let mut log = Log::default();
    log.verdict(vec![absent(1, b"a")], vec![put(1, b"a", sealed(1, 1))]);
    let forged = StoredRow { value: sealed(1, 2), ..log.row(1, b"a") };
    let write = vec![put(1, b"a", sealed(1, 3))];
    assert_eq!(log.verdict(vec![version(1, b"a", &forged)], write), Verdict::Superseded);
}

#[test]
fn of_two_administrators_in_one_batch_one_wins() {
    let mut log = Log::default();
    log.verdict(vec![absent(1, b"a")], vec![put(1, b"a", sealed(1, 1))]);
    let guards = vec![version(1, b"a", &log.row(1, b"a"))];
    let change = |content| transaction(1, 1, vec![put(1, b"a", sealed(1, content))]);
    let both = vec![change(2), change(3)];
    let verdicts = log.verdicts(guards, both);
    assert_eq!(verdicts, [Verdict::Admitted, Verdict::Superseded]);
    assert_eq!(log.row(1, b"a").value, sealed(1, 2));
}

#[test]
fn what_an_earlier_transaction_of_the_batch_wrote_is_checked_again() {
    let mut log = Log::default();
    let guards = vec![absent(1, b"set"), absent(1, b"member"), plain(PlainName::Keyring, 0)];
    // Read by all, written by the second, and by the fourth once more.
    let reader = || transaction(0, 3, vec![]);
    let insert =
        transaction(0, 2, vec![put(1, b"set", sealed(1, 1)), put(1, b"member", sealed(1, 2))]);
    let mut rotate = transaction(0, 0, vec![put_plain(PlainName::Keyring, b"ring")]);
    rotate.reads = vec![2];
    let mut keyring_reader = transaction(0, 0, vec![]);
    keyring_reader.reads = vec![2];
    let transactions =
        vec![reader(), insert, reader(), keyring_reader.clone(), rotate, keyring_reader];
    let (yes, no) = (Verdict::Admitted, Verdict::Superseded);
    assert_eq!(log.verdicts(guards, transactions), [yes, yes, no, yes, yes, no]);
}

#[test]
fn one_bad_transaction_spoils_no_other() {
    let mut log = Log::default();
    let good = || Transaction { records: vec![record(1, 1, 1, 1)], ..Transaction::default() };
    let bad = Transaction { decided_at: 77, ..good() };
    let applied = log.commit(vec![], vec![good(), bad, good()]);
    let Outcome::Batch(outcome) = applied.outcome else { panic!() };
    let (yes, no) = (Verdict::Admitted, Verdict::Malformed);
    assert_eq!(outcome.verdicts, [yes, no, yes]);
    assert_eq!((applied.first_sequence, applied.records), (AuditSequence(0), 2));
}

#[test]
fn a_superseded_transaction_leaves_nothing() {
    let mut log = Log::default();
    let before = effect(&log.tables);
    let mut lost = transaction(0, 2, vec![put(1, b"a", sealed(1, 1))]);
    lost.records = vec![record(1, 1, 1, 1)];
    let guards = vec![absent(1, b"a"), plain(PlainName::Keyring, 3)];
    let applied = log.commit(guards, vec![lost]);
    assert_eq!(effect(&log.tables), before);
    assert!(applied.rows_changed.is_empty() && applied.records == 0);
}

#[test]
fn an_epoch_in_use_is_not_unused_and_a_late_write_supersedes_its_drop() {
    let mut log = Log::default();
    let guard = || vec![unused(EpochKind::Barrier, 1)];
    log.verdict(vec![absent(1, b"a")], vec![put(1, b"a", sealed(1, 1))]);
    assert_eq!(log.verdict(guard(), vec![]), Verdict::Superseded);
    let present = version(1, b"a", &log.row(1, b"a"));
    assert_eq!(log.verdict(vec![present], vec![put(1, b"a", sealed(2, 1))]), Verdict::Admitted);
    assert_eq!(log.verdict(guard(), vec![]), Verdict::Admitted);
    assert_eq!(rows_under(&log.tables, EpochKind::Barrier, BarrierEpoch(2)).unwrap(), 1);

    // In one batch: a write under the epoch comes first.
    let guards = vec![absent(1, b"b"), unused(EpochKind::Barrier, 1), unused(EpochKind::Audit, 5)];
    let mut write = transaction(log.index, 1, vec![put(1, b"b", sealed(1, 1))]);
    write.records = vec![record(1, 1, 1, 5)];
    let mut drop_barrier = transaction(log.index, 0, vec![]);
    drop_barrier.reads = vec![1];
    let mut drop_audit = drop_barrier.clone();
    drop_audit.reads = vec![2];
    let transactions =
        vec![drop_barrier.clone(), drop_audit.clone(), write, drop_barrier, drop_audit];
    let (yes, no) = (Verdict::Admitted, Verdict::Superseded);
    assert_eq!(log.verdicts(guards, transactions), [yes, yes, yes, no, no]);
}

#[test]
fn one_transaction_may_delete_rows_and_create_others() {
    let mut log = Log::default();
    log.verdict(vec![absent(1, b"old")], vec![put(1, b"old", sealed(1, 1))]);
    let guards = vec![version(1, b"old", &log.row(1, b"old")), absent(1, b"new")];
    let writes = vec![delete(1, b"old"), put(1, b"new", sealed(1, 2))];
    assert_eq!(log.verdict(guards, writes), Verdict::Admitted);
    let page = rows_page(&log.tables, 1, None, 10).unwrap();
    assert_eq!(page.into_iter().map(|(id, _)| id).collect::<Vec<_>>(), [b"new"]);
}

#[test]
fn a_decision_on_a_state_older_than_the_row_is_superseded() {
    let mut log = Log { index: 10, ..Log::default() };
    log.verdict(vec![absent(1, b"a")], vec![put(1, b"a", sealed(1, 1))]);
    let guards = vec![version(1, b"a", &log.row(1, b"a"))];
    let older = transaction(10, 1, vec![put(1, b"a", sealed(1, 2))]);
    assert_eq!(log.verdicts(guards.clone(), vec![older]), [Verdict::Superseded]);
    let newer = transaction(11, 1, vec![put(1, b"a", sealed(1, 2))]);
    assert_eq!(log.verdicts(guards, vec![newer]), [Verdict::Admitted]);
}

#[test]
fn times_are_compared_with_cluster_time_that_never_goes_back() {
    let mut log = Log { stamp_ms: 100, ..Log::default() };
    let at = |not_before_ms, not_after_ms| {
        vec![Transaction { not_before_ms, not_after_ms, ..Transaction::default() }]
    };
    assert_eq!(log.verdicts(vec![], at(101, 0)), [Verdict::TooEarly]);
    assert_eq!(log.verdicts(vec![], at(0, 99)), [Verdict::TooLate]);
    log.stamp_ms = 50;
    assert_eq!(log.verdicts(vec![], at(100, 100)), [Verdict::Admitted]);
    assert_eq!(cluster_time(&log.tables).unwrap(), UnixMillis(100));
}

#[test]
fn a_repeat_is_answered_as_the_first_time_and_counts_once() {
    let mut log = Log::default();
    let uses = || vec![Transaction { records: vec![record(1, 1, 1, 1)], ..Transaction::default() }];
    let first = log.commit(vec![], uses());
    log.sequence -= 1;
    let again = log.commit(vec![], uses());
    let (Outcome::Batch(mut first), Outcome::Batch(again)) = (first.outcome, again.outcome) else {
        panic!()
    };
    assert!(again.repeated && !first.repeated);
    first.repeated = true;
    assert_eq!(first, again);
    assert_eq!(audit_size(&log.tables).unwrap(), 1);
}

#[test]
fn pages_of_rows_follow_one_another_without_gap_or_overlap() {
    let mut log = Log::default();
    let ids: [&[u8]; 5] = [b"a", b"a\0", b"ab", b"b", b"\xff"];
    for id in ids {
        log.verdict(
            vec![absent(1, id), absent(2, id)],
            vec![put(1, id, sealed(1, 1)), put(2, id, sealed(1, 1))],
        );
    }
    let mut seen: Vec<Vec<u8>> = Vec::new();
    loop {
        let page = rows_page(&log.tables, 1, seen.last().map(Vec::as_slice), 2).unwrap();
        if page.is_empty() {
            break;
        }
        seen.extend(page.into_iter().map(|(id, _)| id));
    }
    assert_eq!(seen, ids);
    assert_eq!(rows_page(&log.tables, 255, None, 9).unwrap(), []);
    assert_eq!(rows_page(&log.tables, 257, None, 9).unwrap(), []);
    assert_eq!(row(&log.tables, 257, b"a").unwrap(), None);
    assert_eq!(plain_record(&log.tables, PlainName::Unspecified).unwrap(), None);
}

#[test]
fn records_are_found_by_time_and_proved() {
    let mut log = Log::default();
    let mut roots = vec![tree_root(&log.tables).unwrap()];
    for number in 0..20 {
        log.stamp_ms = 1000 + number / 3 * 10;
        let records = vec![record(number, 1, 1, 1)];
        log.commit(vec![], vec![Transaction { records, ..Transaction::default() }]);
        roots.push(tree_root(&log.tables).unwrap());
    }
    let first = |ms| first_leaf_not_before(&log.tables, UnixMillis(ms)).unwrap().0;
    assert_eq!([first(0), first(1001), first(1010), first(1060), first(1061)], [0, 3, 3, 18, 20]);
    for size in 1..=20_usize {
        for sequence in 0..size as u64 {
            let at = AuditSequence(sequence);
            let path = inclusion_proof(&log.tables, at, size as u64).unwrap();
            let hash = leaf(&log.tables, at).unwrap().unwrap().hash(at);
            assert!(verify_inclusion(&hash, sequence, size as u64, &path, &roots[size]));
        }
        let path = consistency_proof(&log.tables, size as u64, 20).unwrap();
        assert!(verify_consistency(size as u64, &roots[size], 20, &roots[20], &path));
    }
    assert!(inclusion_proof(&log.tables, AuditSequence(3), 21).is_err());
    let newest = leaves_page(&log.tables, AuditSequence(5)..AuditSequence(9), Order::Descending, 2);
    assert_eq!(newest.unwrap().iter().map(|(at, _)| at.0).collect::<Vec<_>>(), [8, 7]);
}

#[test]
fn damaged_tables_are_an_error_and_no_panic() {
    let mut honest = Log::default();
    let mut first = transaction(0, 1, vec![put(1, b"a", sealed(1, 1))]);
    first.records = vec![record(1, 1, 1, 1)];
    honest.verdicts(vec![absent(1, b"a")], vec![first]);
    let frontier = Frontier::new().encode();
    let mark = [0, 0, 0, 0, 0, 0, 0, 1, 0];
    for (table, key, value) in [
        (Table::Meta, &[1][..], &[1][..]),
        (Table::Meta, &[2], &frontier[..7]),
        (Table::Meta, &[3], &[0; 7]),
        (Table::Rows, &[1, b'a'], &[0; 7]),
        (Table::Epochs, &[1, 0, 0, 0, 1], &[0; 7]),
        (Table::Epochs, &[1, 0, 0, 0, 1], &[0; 8]),
        (Table::Deduplication, &mark, &[0; 7]),
    ] {
        let mut tables = honest.tables.clone();
        let guards = vec![version(1, b"a", &honest.row(1, b"a"))];
        let change = transaction(1, 1, vec![put(1, b"a", sealed(2, 2))]);
        tables.put(table, key, value).unwrap();
        let entry = command(0, &batch(2, guards, vec![change]));
        let applied = apply(&mut tables, LogIndex(2), &entry);
        let damaged =
            matches!(&applied, Err(TablesError::Damaged { table: it, .. }) if *it == table);
        assert!(damaged, "{table:?} {key:?}: {applied:?}");
    }
}
