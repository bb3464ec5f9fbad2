//! Which of several nodes gets the next attempt. Decides only.

use std::time::Instant;

use super::{health::Condition, load::Load};

/// Costs closer than this factor are equal: noise must not send everything to
/// whichever node happened to answer fastest.
const ALIKE: f64 = 2.0;

/// A node as the choice sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    /// Latency and calls under way.
    pub(crate) load: Load,
    /// Health.
    pub(crate) condition: Condition,
    /// Counts picks of the whole client; when this node was picked last.
    pub(crate) picked: u64,
    /// Whether it was tried in this round.
    pub(crate) tried: bool,
}

/// Indexes of the nodes that the next attempt may go to: the healthy ones that
/// were not tried; or, where none is healthy at all, the least bad of those
/// that were not tried, unless `healthy_only`.
///
/// While a node is healthy, one that isn't is not worth the time; and while one
/// answers at all, one that is lost is not: it is better to wait for the next
/// round.
pub(crate) fn eligible(nodes: &[Look], healthy_only: bool, now: Instant) -> Vec<usize> {
    let where_not_tried = |wanted: &dyn Fn(&Look) -> bool| {
        let fits = |(index, node): (usize, &Look)| (!node.tried && wanted(node)).then_some(index);
        nodes.iter().enumerate().filter_map(fits).collect()
    };
    if nodes.iter().any(|node| node.condition.is_healthy(now)) {
        return where_not_tried(&|node| node.condition.is_healthy(now));
    }
    let is_lost = |node: &Look| node.condition.probed().is_lost();
    let all_lost = nodes.iter().all(is_lost);
    let worth = |node: &Look| !healthy_only && (all_lost || !is_lost(node));
    let rank = |node: &Look| node.condition.rank(now);
    let least = nodes.iter().filter(|node| !node.tried && worth(node)).map(rank).min();
    where_not_tried(&|node| worth(node) && Some(rank(node)) == least)
}

/// The better of two: the one that costs less, or, where they cost about the
/// same, the one that was picked longer ago. True for `a`.
pub(crate) fn first_is_better(a: &Look, b: &Look, now: Instant) -> bool {
    let (of_a, of_b) = Load::costs(&a.load, &b.load, now);
    if of_a * ALIKE <= of_b {
        true
    } else if of_b * ALIKE <= of_a {
        false
    } else {
        a.picked <= b.picked
    }
}

/// Two different indexes below `count`, each pair as likely as any other;
/// the same one twice only where there is but one.
///
/// # Panics
///
/// Panics when `count` is zero.
pub(crate) fn two_of(count: usize, random: u64) -> (usize, usize) {
    assert!(count > 0, "somebody must be there to choose from");
    let (low, high) = (random as u32 as usize, (random >> 32) as usize);
    let first = low % count;
    if count == 1 {
        return (first, first);
    }
    let second = (first + 1 + high % (count - 1)) % count;
    (first, second)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "a moment to count from")]

    use std::time::Duration;

    use super::{super::health::Health, *};

    fn look(load: Load, health: Health, picked: u64) -> Look {
        let mut condition = Condition::default();
        condition.probed_as(health);
        Look { load, condition, picked, tried: false }
    }

    #[test]
    fn a_node_that_is_not_healthy_is_tried_only_where_none_is() {
        let now = Instant::now();
        let node = |health| look(Load::new(now), health, 0);
        let mut nodes = [Health::Silent, Health::Serving, Health::Unknown].map(node);
        assert_eq!(eligible(&nodes, false, now), [1, 2]);
        (nodes[1].tried, nodes[2].tried) = (true, true);
        assert!(eligible(&nodes, false, now).is_empty(), "the round is over");

        let mut nodes = [Health::Silent, Health::NotServing, Health::NotServing].map(node);
        assert!(eligible(&nodes, true, now).is_empty());
        assert_eq!(eligible(&nodes, false, now), [1, 2]);
        (nodes[1].tried, nodes[2].tried) = (true, true);
        assert!(eligible(&nodes, false, now).is_empty(), "two answer, one is lost");

        let mut nodes = [Health::Silent, Health::Unreachable].map(node);
        assert_eq!(eligible(&nodes, false, now), [1]);
        nodes[1].tried = true;
        assert_eq!(eligible(&nodes, false, now), [0]);
        nodes[0].tried = true;
        assert!(eligible(&nodes, false, now).is_empty());
    }

    /// A day of calls: `latencies` of the nodes, calls under way at a time.
    /// Gives the calls that each node got.
    fn simulate(latencies: &[Duration], at_once: usize, calls: usize) -> Vec<usize> {
        let mut now = Instant::now();
        let mut loads: Vec<Load> = latencies.iter().map(|_| Load::new(now)).collect();
        let (mut picked, mut counts) = (vec![0; loads.len()], vec![0; loads.len()]);
        let mut under_way: Vec<(Instant, usize, Duration)> = Vec::new();
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        };
        for call in 1..=calls {
            while under_way.len() >= at_once {
                let next = (0..under_way.len()).min_by_key(|&index| under_way[index].0).unwrap();
                let (ends, node, took) = under_way.swap_remove(next);
                now = now.max(ends);
                loads[node].answered(now, took);
            }
            let (a, b) = two_of(loads.len(), random());
            let look = |index: usize| look(loads[index], Health::Serving, picked[index]);
            let node = if first_is_better(&look(a), &look(b), now) { a } else { b };
            picked[node] = call as u64;
            counts[node] += 1;
            loads[node].begin(now);
            // A quarter more or less, as latencies are.
            let took = latencies[node].mul_f64(0.75 + (random() % 512) as f64 / 1024.0);
            under_way.push((now + took, node, took));
        }
        counts
    }

    #[test]
    fn equal_nodes_get_the_same_within_a_tenth_whatever_is_under_way() {
        let latencies = [Duration::from_millis(4); 3];
        for at_once in [1, 3, 64, 256] {
            let counts = simulate(&latencies, at_once, 6000);
            for count in &counts {
                assert!((1800..=2200).contains(count), "{at_once} at once: {counts:?}");
            }
        }
    }

    #[test]
    fn a_slow_node_gets_less() {
        let latencies = [4, 4, 40].map(Duration::from_millis);
        for at_once in [1, 3, 64, 256] {
            let counts = simulate(&latencies, at_once, 6000);
            assert!(counts[2] < counts[0] / 2, "{at_once} at once: {counts:?}");
            assert!(counts[2] > 0, "it is tried again: {counts:?}");
        }
    }

    #[test]
    fn every_pair_is_drawn_and_none_with_itself() {
        let mut seen = std::collections::BTreeSet::new();
        for low in 0..4_u64 {
            for high in 0..3_u64 {
                let (a, b) = two_of(4, low | high << 32);
                assert_ne!(a, b);
                seen.insert((a, b));
            }
        }
        assert_eq!(seen.len(), 12);
        assert_eq!(two_of(1, 77), (0, 0));
    }
}
