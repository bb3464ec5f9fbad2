//! The queue between those who submit and the one I/O thread, and that thread.
//!
//! One mutex guards everything in memory; it is never held during I/O, nor
//! while a completion runs.

use std::{
    collections::VecDeque,
    panic::{self, AssertUnwindSafe},
    time::{Duration, Instant},
};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use rocksdb::WriteBatch;

use super::{
    Done, LogEntry, LogOptions,
    database::{self, LogDatabase, Recovered},
    tail::{Bounds, Tail},
    watermark::{Mark, Watermark},
};
use crate::error::{Damage, Fatal, StorageError};

/// What a submission makes the I/O thread write.
pub(super) enum Work {
    Append {
        entries: Vec<LogEntry>,
        starts: bool,
    },
    Vote {
        number: u64,
        vote: Bytes,
    },
    Truncate {
        from: u64,
        next: u64,
        empties: bool,
    },
    Purge {
        index: u64,
        last_purged: Bytes,
    },
    /// Already so: only completed in its turn.
    Nothing,
}

/// A submission that waits.
struct Job {
    work: Work,
    bytes: usize,
    submitted: Instant,
    done: Done,
}

/// What is known in memory, and what waits.
pub(super) struct Queue {
    pub(super) tail: Tail,
    pub(super) vote: Option<Bytes>,
    /// Number of that vote.
    pub(super) votes: u64,
    pub(super) purged: Option<(u64, Bytes)>,
    /// Everything below is durable.
    pub(super) durable_next: u64,
    /// Bytes that wait or are being written.
    pub(super) bytes: usize,
    jobs: VecDeque<Job>,
    /// First indexes of the truncations that wait or are being written: what
    /// was appended before them must not count as durable from there on.
    truncations: VecDeque<u64>,
    /// Raised by each truncation and purge, so that a read notices one.
    reshaped: u64,
    /// When the oldest submission that is being written was made.
    writing_since: Option<Instant>,
    closing: bool,
    ended: bool,
    counts: Counts,
}

#[derive(Clone, Copy, Default)]
struct Counts {
    writes: u64,
    submissions: u64,
    entries: u64,
    bytes: u64,
    overloaded: u64,
    write_last: Duration,
    write_total: Duration,
}

/// What a Raft log holds and how its disk keeps up.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct LogStats {
    /// Index of the first entry; equal to `next_index` where there is none.
    pub first_index: u64,
    /// Index of the next entry.
    pub next_index: u64,
    /// Everything below is durable.
    pub durable_next: u64,
    /// Bytes of entries in memory.
    pub cached_bytes: usize,
    /// Bytes of table files.
    pub table_bytes: u64,
    /// Submissions that wait or are being written.
    pub queued: usize,
    /// Their bytes.
    pub queued_bytes: usize,
    /// Age of the oldest of them: how far the disk lags.
    pub oldest_unsynced_age: Duration,
    /// Synced writes so far.
    pub writes: u64,
    /// Submissions that they completed.
    pub submissions: u64,
    /// Entries that they appended.
    pub entries: u64,
    /// Bytes that they carried.
    pub bytes: u64,
    /// Appends refused because too many bytes waited; each that is tried again
    /// counts again.
    pub overloaded: u64,
    /// Duration of the last synced write.
    pub write_last: Duration,
    /// Duration of all of them.
    pub write_total: Duration,
    /// Background work of the database that failed.
    pub background_errors: u64,
}

impl Queue {
    /// A queue for a log as a start found it.
    pub(super) fn new(found: Recovered) -> Self {
        let Recovered { bounds, vote, votes, purged } = found;
        Self {
            tail: Tail::new(bounds),
            vote,
            votes,
            purged,
            durable_next: bounds.map_or(0, |bounds| bounds.next),
            bytes: 0,
            jobs: VecDeque::new(),
            truncations: VecDeque::new(),
            reshaped: 0,
            writing_since: None,
            closing: false,
            ended: false,
            counts: Counts::default(),
        }
    }

    pub(super) fn truncate_from(&mut self, index: u64) -> Work {
        let before = self.tail.truncate_from(index, self.purged.is_some());
        let Some(Bounds { first, next }) = before else { return Work::Nothing };
        let from = index.max(first);
        if from >= next {
            return Work::Nothing;
        }
        self.reshaped += 1;
        self.durable_next = self.durable_next.min(from);
        self.truncations.push_back(from);
        Work::Truncate { from, next, empties: self.tail.bounds().is_none() }
    }

    pub(super) fn purge_to(&mut self, index: u64, last_purged: Bytes) -> Work {
        if self.purged.as_ref().is_some_and(|(purged, _)| *purged >= index) {
            return Work::Nothing;
        }
        self.tail.purge_to(index);
        self.reshaped += 1;
        self.purged = Some((index, last_purged.clone()));
        Work::Purge { index, last_purged }
    }

    /// Takes note of an append that found too much waiting.
    pub(super) fn refuse(&mut self) {
        self.counts.overloaded += 1;
    }

    /// Age of the oldest submission that is not durable.
    pub(super) fn oldest_unsynced_age(&self) -> Duration {
        let oldest = self.writing_since.or(self.jobs.front().map(|job| job.submitted));
        oldest.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Takes the jobs of one write.
    fn take(&mut self, bytes_max: usize) -> Vec<Job> {
        let mut bytes = 0;
        let mut taken = Vec::new();
        while let Some(job) = self.jobs.pop_front_if(|job| {
            bytes += job.bytes;
            taken.is_empty() || bytes <= bytes_max
        }) {
            taken.push(job);
        }
        self.writing_since = taken.first().map(|job| job.submitted);
        taken
    }

    /// Takes note of the jobs of a synced write.
    fn settle(&mut self, jobs: &[Job], cache_bytes_max: usize) {
        for job in jobs {
            self.bytes -= job.bytes;
            self.counts.submissions += 1;
            self.counts.bytes += job.bytes as u64;
            match &job.work {
                Work::Append { entries, .. } => {
                    self.counts.entries += entries.len() as u64;
                    if let Some(last) = entries.last() {
                        self.durable_next = last.index + 1;
                    }
                }
                Work::Truncate { from, .. } => {
                    self.truncations.pop_front();
                    self.durable_next = self.durable_next.min(*from);
                }
                Work::Purge { index, .. } => {
                    self.durable_next = self.durable_next.max(index.saturating_add(1));
                }
                Work::Vote { .. } | Work::Nothing => {}
            }
        }
        let pending = self.truncations.iter().copied();
        self.durable_next = pending.fold(self.durable_next, u64::min);
        self.writing_since = None;
        self.tail.evict(self.durable_next, cache_bytes_max);
    }
}

/// What the handles and the I/O thread share.
pub(super) struct Shared {
    pub(super) queue: Mutex<Queue>,
    database: LogDatabase,
    /// Something waits for the I/O thread, or it is to end.
    work: Condvar,
    /// The durable index rose, or the thread ended.
    settled: Condvar,
    fatal: Fatal,
    options: LogOptions,
}

impl Shared {
    pub(super) fn new(
        database: LogDatabase,
        queue: Queue,
        fatal: Fatal,
        options: LogOptions,
    ) -> Self {
        Self {
            queue: Mutex::new(queue),
            database,
            work: Condvar::new(),
            settled: Condvar::new(),
            fatal,
            options,
        }
    }

    pub(super) fn submit(
        &self,
        bytes: usize,
        done: Done,
        make: impl FnOnce(&mut Queue, &LogOptions) -> Result<Work, StorageError>,
    ) {
        let mut queue = self.queue.lock();
        let made = if queue.closing || queue.ended {
            Err(StorageError::Stopped)
        } else {
            make(&mut queue, &self.options)
        };
        match made {
            Ok(work) => {
                queue.bytes += bytes;
                queue.jobs.push_back(Job { work, bytes, submitted: Instant::now(), done });
                drop(queue);
                self.work.notify_one();
            }
            Err(error) => {
                drop(queue);
                done(Err(error));
            }
        }
    }

    pub(super) fn read(
        &self,
        from: u64,
        to: u64,
        bytes_max: usize,
    ) -> Result<Vec<LogEntry>, StorageError> {
        self.read_around(from, to, bytes_max, || ())
    }

    /// Reads, and calls `between` after each read of a range of the disk, before
    /// the look at the entry that follows it.
    fn read_around(
        &self,
        from: u64,
        to: u64,
        bytes_max: usize,
        mut between: impl FnMut(),
    ) -> Result<Vec<LogEntry>, StorageError> {
        loop {
            let queue = self.queue.lock();
            let Some(bounds) = queue.tail.bounds() else { return Ok(Vec::new()) };
            let (from, to) = (from.max(bounds.first), to.min(bounds.next));
            if from >= to {
                return Ok(Vec::new());
            }
            let in_memory = queue.tail.first_in_memory().unwrap_or(bounds.next);
            let newest = queue.tail.copy(from.max(in_memory), to, bytes_max);
            let reshaped = queue.reshaped;
            drop(queue);
            if from >= in_memory {
                return Ok(newest);
            }
            let end = to.min(in_memory);
            let read = self.database.read(from, end, bytes_max);
            between();
            let joined = read.and_then(|read| self.join(read, from, end, newest, bytes_max));
            // Compared after the last look at the disk: what a truncation or a
            // purge took away since the bounds were read is no hole.
            if self.queue.lock().reshaped != reshaped {
                continue;
            }
            // The log can't be read any more: the node must not go on.
            return joined.inspect_err(|error| self.fatal.report(error));
        }
    }

    /// Entries read from disk for `from..end`, then the newer ones in memory.
    fn join(
        &self,
        mut read: Vec<LogEntry>,
        from: u64,
        end: u64,
        newest: Vec<LogEntry>,
        bytes_max: usize,
    ) -> Result<Vec<LogEntry>, StorageError> {
        let mut bytes: usize = read.iter().map(LogEntry::bytes).sum();
        let next = from + read.len() as u64;
        let full = next < end;
        if read.is_empty() {
            return Err(self.database.corrupt(Damage::Hole { index: from }));
        }
        if full && !self.database.holds(next)? {
            return Err(self.database.corrupt(Damage::Hole { index: next }));
        }
        for entry in newest {
            bytes += entry.bytes();
            if full || bytes > bytes_max {
                break;
            }
            read.push(entry);
        }
        Ok(read)
    }

    pub(super) fn wait_durable(&self, index: u64) -> Result<(), StorageError> {
        let mut queue = self.queue.lock();
        while queue.durable_next <= index {
            if queue.ended {
                return Err(StorageError::Stopped);
            }
            self.settled.wait(&mut queue);
        }
        Ok(())
    }

    pub(super) fn stats(&self) -> LogStats {
        let (table_bytes, background_errors) =
            (self.database.table_bytes(), self.database.background_errors());
        let queue = self.queue.lock();
        let bounds = queue.tail.bounds().unwrap_or(Bounds { first: 0, next: 0 });
        let counts = queue.counts;
        LogStats {
            first_index: bounds.first,
            next_index: bounds.next,
            durable_next: queue.durable_next,
            cached_bytes: queue.tail.bytes(),
            table_bytes,
            queued: queue.jobs.len() + usize::from(queue.writing_since.is_some()),
            queued_bytes: queue.bytes,
            oldest_unsynced_age: queue.oldest_unsynced_age(),
            writes: counts.writes,
            submissions: counts.submissions,
            entries: counts.entries,
            bytes: counts.bytes,
            overloaded: counts.overloaded,
            write_last: counts.write_last,
            write_total: counts.write_total,
            background_errors,
        }
    }

    /// Tells the thread to end and waits for it until `deadline`; true: it has.
    /// Without a deadline, only tells it.
    pub(super) fn close(&self, deadline: Option<Instant>) -> bool {
        let mut queue = self.queue.lock();
        queue.closing = true;
        self.work.notify_one();
        while !queue.ended {
            let Some(deadline) = deadline else { return false };
            if self.settled.wait_until(&mut queue, deadline).timed_out() {
                break;
            }
        }
        queue.ended
    }

    /// Waits for the jobs of one write; `None`: the log is closed and empty.
    fn next(&self) -> Option<Vec<Job>> {
        let mut queue = self.queue.lock();
        while queue.jobs.is_empty() {
            if queue.closing {
                return None;
            }
            self.work.wait(&mut queue);
        }
        Some(queue.take(self.options.write_bytes_max))
    }

    /// Writes and syncs the jobs, then notes how far the log has come. Gives
    /// whether there was anything to write.
    fn write(
        &self,
        jobs: &[Job],
        watermark: &mut Watermark,
        mark: &mut Mark,
    ) -> Result<bool, StorageError> {
        let mut batch = WriteBatch::default();
        for job in jobs {
            match &job.work {
                Work::Append { entries, starts } => database::append(&mut batch, entries, *starts),
                Work::Vote { number, vote } => {
                    mark.votes = *number;
                    database::vote(&mut batch, *number, vote);
                }
                Work::Truncate { from, next, empties } => {
                    database::truncate(&mut batch, *from, *next, *empties);
                }
                Work::Purge { index, last_purged } => {
                    mark.purged = index.saturating_add(1);
                    database::purge(&mut batch, *index, last_purged);
                }
                Work::Nothing => {}
            }
        }
        if batch.is_empty() {
            return Ok(false);
        }
        self.fatal.check()?;
        if let Some(before_sync) = &self.options.before_sync {
            before_sync()?;
        }
        self.database.write(batch)?;
        mark.sequence = self.database.sequence();
        watermark.note(*mark)?;
        Ok(true)
    }

    /// Fails all that waits, now and later.
    fn stop(&self) {
        let mut queue = self.queue.lock();
        queue.ended = true;
        let jobs = std::mem::take(&mut queue.jobs);
        drop(queue);
        self.settled.notify_all();
        for job in jobs {
            (job.done)(Err(StorageError::Stopped));
        }
    }
}

/// The I/O thread.
pub(super) fn run(shared: &Shared, watermark: Watermark, mark: Mark) {
    let ran = panic::catch_unwind(AssertUnwindSafe(|| work(shared, watermark, mark)));
    match ran {
        Ok(Ok(())) => {}
        Ok(Err(error)) => shared.fatal.report(&error),
        Err(_) => shared.fatal.report(&StorageError::Stopped),
    }
    // A completion that panics here too ends the thread, with nothing left.
    shared.stop();
}

fn work(shared: &Shared, mut watermark: Watermark, mut mark: Mark) -> Result<(), StorageError> {
    while let Some(jobs) = shared.next() {
        let start = Instant::now();
        let wrote = match shared.write(&jobs, &mut watermark, &mut mark) {
            Ok(wrote) => wrote,
            Err(error) => {
                // The node is told first: nobody may act on what may be durable.
                shared.fatal.report(&error);
                jobs.into_iter().for_each(|job| (job.done)(Err(error.clone())));
                return Err(error);
            }
        };
        let took = start.elapsed();
        let mut queue = shared.queue.lock();
        queue.counts.writes += 1;
        queue.counts.write_last = took;
        queue.counts.write_total += took;
        queue.settle(&jobs, shared.options.cache_bytes_max);
        drop(queue);
        shared.settled.notify_all();
        jobs.into_iter().for_each(|job| (job.done)(Ok(())));
        if let (true, Some(after_sync)) = (wrote, &shared.options.after_sync) {
            after_sync(took);
        }
    }
    watermark.sync()
}

#[cfg(test)]
mod tests;
