//! Building a batch: the union of the read sets, once.

use std::collections::HashMap;

use prost::Message;
use strongroom_base::{BootId, NodeId};
use strongroom_format::store;

use super::Attempt;

/// Serialises a batch of `attempts`, in their order.
pub(crate) fn encode<'a>(
    node: NodeId,
    boot: BootId,
    sequence: u64,
    attempts: impl Iterator<Item = &'a mut Attempt>,
) -> Vec<u8> {
    let mut guards: Vec<store::Guard> = Vec::new();
    let mut known: HashMap<store::Guard, u32> = HashMap::new();
    let mut transactions = Vec::new();
    for attempt in attempts {
        let places: Vec<u32> = attempt
            .guards
            .drain(..)
            .map(|guard| {
                *known.entry(guard).or_insert_with_key(|guard| {
                    let place = u32::try_from(guards.len()).expect("guards of a batch are bounded");
                    guards.push(guard.clone());
                    place
                })
            })
            .collect();
        let mut transaction = std::mem::take(&mut attempt.transaction);
        transaction.reads = transaction
            .reads
            .iter()
            .filter_map(|own| places.get(usize::try_from(*own).ok()?).copied())
            .collect();
        transaction.reads.sort_unstable();
        transaction.reads.dedup();
        transactions.push(transaction);
    }
    store::Batch {
        node_id: node.value(),
        boot_count: boot.count,
        boot_nonce: boot.nonce,
        sequence,
        guards,
        transactions,
    }
    .encode_to_vec()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn plain(revision: u64) -> store::Guard {
        let name = i32::from(store::PlainName::Keyring);
        store::Guard {
            expect: Some(store::guard::Expect::Plain(store::PlainVersion { name, revision })),
        }
    }

    fn attempt(guards: Vec<store::Guard>) -> Attempt {
        let reads = (0..u32::try_from(guards.len()).unwrap()).collect();
        Attempt {
            transaction: store::Transaction { reads, ..Default::default() },
            guards,
            deadline: Instant::now(),
        }
    }

    #[test]
    fn shared_guards_stand_once_and_each_transaction_keeps_its_own() {
        let mut attempts = [attempt(vec![plain(1), plain(2)]), attempt(vec![plain(3), plain(1)])];
        let bytes =
            encode(NodeId::new(3).unwrap(), BootId { count: 2, nonce: 9 }, 7, attempts.iter_mut());
        let batch = store::Batch::decode(bytes.as_slice()).unwrap();
        assert_eq!(batch.guards, vec![plain(1), plain(2), plain(3)]);
        assert_eq!(batch.transactions[0].reads, vec![0, 1]);
        assert_eq!(batch.transactions[1].reads, vec![0, 2]);
        assert_eq!((batch.node_id, batch.boot_count, batch.sequence), (3, 2, 7));
    }
}
