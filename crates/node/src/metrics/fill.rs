//! Fills in what is read when metrics are asked for: from memory, without
//! waiting for a disk, a database or a peer.

use std::time::Duration;

use strongroom_net::AcceptorStats;
use strongroom_raft::{RaftRole, RaftStatus};

use super::{Bound, Metrics, count, gauges::Gauges};
use crate::{
    clock, core::Core, keys_by_state, lifecycle::Phase, monitor, samples, server::Running,
};

/// A time that there is none of.
const NONE: f64 = -1.0;

fn whole(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

/// Milliseconds as seconds; exact for 285,000 years.
fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

fn age(since: Option<Duration>) -> f64 {
    since.map_or(NONE, |since| since.as_secs_f64())
}

/// Fills in everything, for one reading.
pub(crate) fn fill(node: &Running, metrics: &Metrics, gauges: &Gauges) {
    let raft = node.core.raft.status();
    fill_calls(node, metrics, gauges);
    fill_seal(node, gauges);
    fill_ledger(&node.core, metrics, gauges);
    fill_raft(&node.core, &raft, gauges);
    fill_storage(&node.core, metrics, gauges);
    fill_surroundings(&node.core, &raft, gauges);
}

fn fill_calls(node: &Running, metrics: &Metrics, gauges: &Gauges) {
    let held = node.calls.held();
    gauges.calls_in_flight.set(whole(held.calls));
    gauges.streams.set(whole(held.streams));
    gauges.request_bytes.set(whole(held.request_bytes));
    gauges.answer_bytes.set(whole(held.answer_bytes));
    for (bound, hits) in node.calls.hits() {
        metrics.set_hits(bound, hits);
    }
    let listeners = [
        ("client", Bound::ClientConnections, &node.client_stats),
        ("peer", Bound::PeerConnections, &node.peer_stats),
    ];
    for (listener, bound, stats) in listeners {
        fill_listener(listener, bound, stats, metrics, gauges);
    }
}

fn fill_listener(
    listener: &str,
    bound: Bound,
    stats: &AcceptorStats,
    metrics: &Metrics,
    gauges: &Gauges,
) {
    let counts = stats.counts();
    gauges.connections.with_label_values(&[listener]).set(whole(counts.open));
    count(&gauges.connections_accepted.with_label_values(&[listener]), counts.accepted);
    let causes = [
        ("refused", counts.handshake_failed),
        ("timeout", counts.handshake_timeout),
        ("system", counts.accept_failed),
    ];
    for (cause, number) in causes {
        count(&gauges.handshakes_failed.with_label_values(&[listener, cause]), number);
    }
    metrics.set_hits(bound, counts.refused_over_limit);
}

fn fill_seal(node: &Running, gauges: &Gauges) {
    let core = &node.core;
    gauges.ready.set(monitor::why_not_ready(node).is_none().into());
    let present = core.lifecycle.phase();
    for phase in [Phase::Uninitialised, Phase::Sealed, Phase::Verifying, Phase::Unsealed] {
        gauges.seal_state.with_label_values(&[phase.name()]).set((phase == present).into());
    }
    gauges.shares_given.set(core.lifecycle.shares_given().into());
    gauges.shares_threshold.set(whole(core.samples.threshold()));
    gauges.state_verified.set(core.verification.is_complete().into());
    let counts = core.keys_by_state.counts();
    gauges.keys_counted.set(counts.is_some().into());
    gauges.keys.reset();
    if let Some(counts) = counts {
        for (state, number) in keys_by_state::STATES.iter().zip(counts) {
            gauges.keys.with_label_values(&[state.name()]).set(whole(number));
        }
    }
}

fn fill_ledger(core: &Core, metrics: &Metrics, gauges: &Gauges) {
    let ledger = core.ledger.stats();
    gauges.ledger_queue.set(whole(ledger.queued));
    gauges.ledger_queue_bytes.set(whole(ledger.queued_bytes));
    gauges.ledger_oldest.set(ledger.oldest.as_secs_f64());
    metrics.set_hits(Bound::Ledger, ledger.refused);
    count(&gauges.batch_resends, core.proposer.resends());
    let (hits, misses) = core.rows.counts();
    count(&gauges.row_cache.with_label_values(&["hit"]), hits);
    count(&gauges.row_cache.with_label_values(&["miss"]), misses);
}

fn fill_raft(core: &Core, raft: &RaftStatus, gauges: &Gauges) {
    for role in [RaftRole::Leader, RaftRole::Follower, RaftRole::Candidate, RaftRole::Learner] {
        gauges.raft_role.with_label_values(&[role.name()]).set((role == raft.role).into());
    }
    gauges.raft_term.set(whole(raft.term.0));
    gauges.raft_leader_id.set(raft.leader.map_or(0, |leader| whole(leader.value())));
    let indexes = [
        ("last", raft.last_log),
        ("committed", raft.committed),
        ("applied", Some(core.raft.applied())),
        ("snapshot", raft.snapshot),
        ("purged", raft.purged),
    ];
    for (kind, index) in indexes {
        let index = index.map_or(0, |index| whole(index.0));
        gauges.raft_index.with_label_values(&[kind]).set(index);
    }
    gauges.quorum_ack_age.set(age(raft.since_quorum_ack));
    gauges.leader_heard_age.set(age(raft.since_leader_heard));
    gauges.log_unsynced_age.set(core.log.flush_lag().as_secs_f64());
    gauges.follower_lag.reset();
    gauges.follower_ack_age.reset();
    for member in raft.members.iter().filter(|member| member.member.node != core.node) {
        let label = member.member.node.to_string();
        if let Some(lag) = member.lag {
            gauges.follower_lag.with_label_values(&[&label]).set(whole(lag));
        }
        if raft.role == RaftRole::Leader {
            gauges.follower_ack_age.with_label_values(&[&label]).set(age(member.heard_ago));
        }
    }
}

fn fill_storage(core: &Core, metrics: &Metrics, gauges: &Gauges) {
    count(&gauges.audit_records, *core.audit_size.borrow());
    gauges.audit_last_record.set(seconds(whole(core.samples.last_record().0)));
    for (part, bytes) in samples::PARTS.iter().zip(core.samples.bytes()) {
        gauges.storage_bytes.with_label_values(&[part]).set(whole(bytes));
    }
    metrics.set_hits(Bound::RaftLogQueue, core.samples.log_overloaded());
    gauges.disk_free_bytes.set(whole(core.disk.free_bytes()));
    gauges.disk_reserve_bytes.set(whole(core.config.limits.disk_reserve_bytes));
    gauges.disk_low.set(core.disk.is_low().into());
}

fn fill_surroundings(core: &Core, raft: &RaftStatus, gauges: &Gauges) {
    gauges.certificate_not_after.set(seconds(whole(core.certificates.not_after().0)));
    let reloads = core.certificates.counts();
    count(&gauges.certificate_reloads.with_label_values(&["taken"]), reloads.reloaded);
    count(&gauges.certificate_reloads.with_label_values(&["refused"]), reloads.failed);
    let leader = raft.leader.and_then(|leader| {
        if leader == core.node {
            return Some(0);
        }
        core.reports.of(leader).filter(|report| report.is_fresh()).map(|r| -r.clock_offset_ms)
    });
    let median = core.reports.median_clock(raft.members.len());
    let median = median.map(|median| whole(clock::wall_now().0) - whole(median.0));
    gauges.clock_offset.reset();
    for (to, offset_ms) in [("leader", leader), ("median", median)] {
        if let Some(offset_ms) = offset_ms {
            gauges.clock_offset.with_label_values(&[to]).set(seconds(offset_ms));
        }
    }
    let arena = strongroom_secmem::arena_status();
    gauges.secret_bytes.set(whole(arena.bytes_in_use));
    gauges.secret_memory_locked.set(arena.locked.into());
}
