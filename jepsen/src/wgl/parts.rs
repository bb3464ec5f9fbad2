//! Objects that are independent of one another: each is searched by itself
//! (Herlihy and Wing: a history is linearizable where its parts are).

use super::{Event, Model, Search, Stuck, search};

/// Configurations of a part in the first round; each later round has this many
/// times more.
const FIRST: usize = 2_000;
const FACTOR: usize = 8;

/// What a search of all parts found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartsVerdict<K, S> {
    /// Every part has an order.
    Linearizable,
    /// This part has none.
    Not(K, Stuck<S>),
    /// No part was found to have none, and of these it was not found out.
    GaveUp(Vec<K>),
}

/// A part: its name, its model, its operations.
pub type Part<K, M> = (K, M, Vec<Event<<M as Model>::Input, <M as Model>::Output>>);

/// Searches every part, easy ones first: the bound of each part grows from round
/// to round up to `configurations_max`, so that a part which is easily refuted is
/// not hidden behind one that can't be searched.
pub fn search_parts<K: Clone, M: Model>(
    parts: &[Part<K, M>],
    configurations_max: usize,
) -> PartsVerdict<K, M::State> {
    let mut left: Vec<_> = parts.iter().collect();
    let mut bound = FIRST.min(configurations_max);
    loop {
        let mut hard = Vec::new();
        for part in left {
            let (name, model, events) = part;
            match search(model, events, bound) {
                Search::Linearizable(_) => {}
                Search::Not(stuck) => return PartsVerdict::Not(name.clone(), stuck),
                Search::GaveUp { .. } => hard.push(part),
            }
        }
        if hard.is_empty() {
            return PartsVerdict::Linearizable;
        }
        if bound >= configurations_max {
            return PartsVerdict::GaveUp(hard.iter().map(|(name, ..)| name.clone()).collect());
        }
        bound = bound.saturating_mul(FACTOR).min(configurations_max);
        left = hard;
    }
}
