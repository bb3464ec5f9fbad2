//! A process killed while it writes: what it was told is durable is there.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::{
    env,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    sync::mpsc,
};

use strongroom_base::LogIndex;
use strongroom_state::{Order, Table, Tables, TablesReader};
use support::{entries, entry, log, open, state, wait};

/// Names the directory that the child writes to; absent in the parent.
const CHILD: &str = "STORAGE_CRASH_CHILD";

/// Runs this test again as a process of its own, reads `lines` lines of what it
/// says, and kills it.
fn kill_after(test: &str, directory: &Path, lines: usize) -> Vec<String> {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads", "1"])
        .env(CHILD, directory)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let told = output.lines().map(Result::unwrap).filter(|line| line.starts_with("durable "));
    let mut told: Vec<String> = told.take(lines).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(told.len(), lines, "the child ended by itself");
    told.iter_mut().for_each(|line| *line = line.split_off("durable ".len()));
    told
}

fn child() -> Option<std::path::PathBuf> {
    env::var_os(CHILD).map(Into::into)
}

fn say(words: std::fmt::Arguments<'_>) {
    let mut output = std::io::stdout().lock();
    writeln!(output, "durable {words}").unwrap();
    output.flush().unwrap();
}

/// Appends, votes and purges without end; says what is durable.
fn write_log(path: &Path) -> ! {
    let directory = open(path).unwrap();
    let log = log(&directory);
    let (sender, receiver) = mpsc::channel();
    let mut next = log.last_index().map_or(1, |last| last + 1);
    loop {
        for _ in 0..20 {
            let sender = sender.clone();
            let last = next + 2;
            log.append(
                entries(next..last + 1, 1),
                Box::new(move |result| {
                    result.unwrap();
                    sender.send(last).unwrap();
                }),
            );
            next = last + 1;
        }
        let vote = next.to_be_bytes().to_vec();
        wait(|done| log.save_vote(vote, done)).unwrap();
        if next.is_multiple_of(50) && next > 400 {
            wait(|done| log.purge_to(next - 400, b"purged".to_vec(), done)).unwrap();
        }
        receiver.try_iter().for_each(|last| say(format_args!("entry {last}")));
        say(format_args!("vote {next}"));
    }
}

#[test]
fn what_was_acknowledged_survives_a_kill() {
    if let Some(path) = child() {
        write_log(&path);
    }
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("data");
    let test = "what_was_acknowledged_survives_a_kill";
    let mut vote = 0;
    for round in 0..12_usize {
        let told = kill_after(test, &path, 10 + round * 17);
        let newest = |kind: &str| {
            let numbers = told.iter().filter_map(|line| line.strip_prefix(kind));
            numbers.filter_map(|number| number.trim().parse::<u64>().ok()).max()
        };
        vote = newest("vote").unwrap_or(vote);
        let directory = open(&path).unwrap();
        let log = log(&directory);
        let last = log.last_index().unwrap();
        assert!(Some(last) >= newest("entry"), "round {round}: {last}, {told:?}");
        let found = log.vote().map(|vote| u64::from_be_bytes(vote[..].try_into().unwrap()));
        assert!(found >= Some(vote), "round {round}: vote {found:?}, {vote} was durable");
        let first = log.last_purged().map_or(1, |(index, _)| index + 1);
        let expected: Vec<_> = (first..=last).map(|index| entry(index, 1)).collect();
        assert_eq!(log.read(0, u64::MAX, usize::MAX).unwrap(), expected, "round {round}");
    }
}

/// Changes three tables in step with the index, without end; flushes at times.
fn write_state(path: &Path) -> ! {
    let directory = open(path).unwrap();
    let state = state(&directory);
    let mut index = state.applied_index().map_or(0, |index| index.0);
    loop {
        index += 1;
        let mut batch = state.begin();
        let key = (index % 97).to_be_bytes();
        for table in [Table::Rows, Table::Leaves, Table::Meta] {
            batch.put(table, &key, &index.to_be_bytes()).unwrap();
            batch.put(table, b"newest", &index.to_be_bytes()).unwrap();
            batch.delete(table, &((index + 50) % 97).to_be_bytes()).unwrap();
        }
        batch.commit(LogIndex(index)).unwrap();
        if index.is_multiple_of(60) {
            state.flush().unwrap();
            say(format_args!("state {}", state.flushed_index().unwrap()));
        }
    }
}

#[test]
fn after_a_kill_all_tables_are_as_of_one_index_not_below_the_flushed_one() {
    if let Some(path) = child() {
        write_state(&path);
    }
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("data");
    let test = "after_a_kill_all_tables_are_as_of_one_index_not_below_the_flushed_one";
    for round in 0..8 {
        let told = kill_after(test, &path, 3 + round * 5);
        let flushed: u64 = told.last().unwrap()["state ".len()..].parse().unwrap();
        let directory = open(&path).unwrap();
        let state = state(&directory);
        let applied = state.applied_index().unwrap().0;
        assert!(applied >= flushed, "round {round}: {applied} < {flushed}");
        assert_eq!(state.flushed_index(), state.applied_index());
        for table in [Table::Rows, Table::Leaves, Table::Meta] {
            let newest = state.latest().get(table, b"newest").unwrap().unwrap();
            assert_eq!(newest, applied.to_be_bytes(), "round {round}: {}", table.name());
            let rest = state.latest().range(table, b"", None, Order::Ascending, 999).unwrap();
            let of_rows =
                state.latest().range(Table::Rows, b"", None, Order::Ascending, 999).unwrap();
            assert_eq!(rest, of_rows);
        }
    }
}
