//! Laws of share entry and unsealing.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Counted, cluster, copy, init, same_keys};
use proptest::{prelude::*, sample::subsequence};
use strongroom_barrier::{
    KeyringError, Nonces, Sealed, Share, ShareRefusal, Step, UnsealError, UnsealProgress, unseal,
};
use strongroom_base::{Revision, SealEpoch};

const REVISION: Revision = Revision(7);

/// n, k and the positions of exactly k shares, in random order.
fn quorum() -> impl Strategy<Value = (u32, u32, Vec<usize>)> {
    (1..=12_u32).prop_flat_map(|n| (Just(n), if n == 1 { 1..=1_u32 } else { 2..=n })).prop_flat_map(
        |(n, k)| {
            let chosen = subsequence((0..n as usize).collect::<Vec<_>>(), k as usize);
            (Just(n), Just(k), chosen.prop_shuffle())
        },
    )
}

/// Ways in which a share is a bad one, with the refusal that names it.
#[derive(Clone, Copy, Debug)]
enum Bad {
    NotAShare,
    Mistyped,
    Foreign,
    Old,
    Future,
    WrongScheme,
    Wrong,
    Repeated,
}

impl Bad {
    const ALL: [Self; 8] = [
        Self::NotAShare,
        Self::Mistyped,
        Self::Foreign,
        Self::Old,
        Self::Future,
        Self::WrongScheme,
        Self::Wrong,
        Self::Repeated,
    ];

    /// The text of such a share, where `given` was accepted before.
    fn text(self, shares: u32, threshold: u32, given: &Share) -> String {
        let of = |cluster, epoch, n, k| {
            let index = usize::from(given.index()) - 1;
            init(99, cluster, epoch, n, k).shares[index].expose_text().expose().to_owned()
        };
        match self {
            Self::NotAShare => "correct horse battery staple".to_owned(),
            Self::Mistyped => {
                let text = given.expose_text();
                let at = text.expose().len() - 20;
                let wrong = if &text.expose()[at..=at] == "7" { "8" } else { "7" };
                [&text.expose()[..at], wrong, &text.expose()[at + 1..]].concat()
            }
            Self::Foreign => of(cluster(2), 5, shares, threshold),
            Self::Old => of(cluster(1), 4, shares, threshold),
            Self::Future => of(cluster(1), 6, shares, threshold),
            Self::WrongScheme => of(cluster(1), 5, shares + 1, 2),
            Self::Wrong => of(cluster(1), 5, shares, threshold),
            Self::Repeated => given.expose_text().expose().to_owned(),
        }
    }

    fn refusal(self, given: &Share) -> ShareRefusal {
        let (index, at) = (given.index(), SealEpoch(5));
        match self {
            Self::NotAShare => ShareRefusal::NotAShare,
            Self::Mistyped => ShareRefusal::Mistyped,
            Self::Foreign => ShareRefusal::ForeignCluster(cluster(2)),
            Self::Old => ShareRefusal::OldEpoch { share: SealEpoch(4), cluster: at },
            Self::Future => ShareRefusal::FutureEpoch { share: SealEpoch(6), cluster: at },
            Self::WrongScheme => ShareRefusal::WrongScheme,
            Self::Wrong => ShareRefusal::WrongShare { index },
            Self::Repeated => ShareRefusal::Repeated { index },
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_k_of_n_shares_in_any_order_unseal((n, k, chosen) in quorum(), seed: u64) {
        let new = init(seed, cluster(1), 5, n, k);
        let record = new.wrap_keyring(REVISION, Nonces::draw(&mut Counted(!seed)));
        let mut sealed = Sealed::new(new.config.clone());
        let mut complete = None;
        for (count, &at) in (1..).zip(&chosen) {
            match sealed.submit_text(new.shares[at].expose_text().expose()).unwrap() {
                Step::NeedShares { missing } => {
                    prop_assert_eq!(u32::from(missing), k - count);
                    prop_assert_eq!(u32::from(sealed.progress().gathered()), count);
                }
                Step::Combine(shares) => complete = Some((count, shares)),
            }
        }
        let (count, shares) = complete.unwrap();
        prop_assert_eq!(count, k);
        prop_assert_eq!(sealed.progress().gathered(), 0, "a full set never stays in memory");
        // A record that is at fault costs nobody a share but the last one.
        let last = new.shares[*chosen.last().unwrap()].index();
        let damaged = [&record[..record.len() - 1], &[record[record.len() - 1] ^ 1]].concat();
        prop_assert!(sealed.unseal(&shares, REVISION, &damaged).is_err());
        prop_assert!(sealed.unseal(&shares, Revision(REVISION.0 + 1), &record).is_err());
        sealed.put_back(shares, last);
        prop_assert_eq!(u32::from(sealed.progress().gathered()), k - 1);
        let again = new.shares.iter().find(|share| share.index() == last).unwrap();
        let Ok(Step::Combine(shares)) = sealed.submit_text(again.expose_text().expose()) else {
            panic!("the last share completes the set again");
        };
        let unsealed = sealed.unseal(&shares, REVISION, &record).unwrap_or_else(|e| panic!("{e}"));
        prop_assert!(same_keys(unsealed.keyring(), &new.keyring));
        prop_assert_eq!(unsealed.keyring_revision(), REVISION);
        let sealed = unsealed.seal();
        prop_assert_eq!(sealed.progress().gathered(), 0);
        prop_assert_eq!(sealed.config(), &new.config);
    }

    #[test]
    fn fewer_than_k_shares_do_not_unseal((n, k, chosen) in quorum()) {
        prop_assume!(k > 1);
        let new = init(1, cluster(1), 5, n, k);
        let record = new.wrap_keyring(REVISION, Nonces::draw(&mut Counted(2)));
        let few: Vec<Share> = chosen[1..].iter().map(|&at| copy(&new.shares[at])).collect();
        let mut progress = UnsealProgress::new(new.config.clone());
        for share in &few {
            let step = progress.submit(copy(share)).unwrap();
            prop_assert!(matches!(step, Step::NeedShares { missing: 1.. }), "complete too early");
        }
        let outcome = unseal(&few, &new.config, REVISION, &record);
        prop_assert!(matches!(outcome, Err(UnsealError::Combine(_))));
    }

    #[test]
    fn every_kind_of_bad_share_is_refused_by_name_and_progress_kept(
        (n, k, chosen) in quorum(),
        bad in proptest::collection::vec(proptest::sample::select(&Bad::ALL[..]), 1..12),
    ) {
        prop_assume!(k > 1);
        let new = init(1, cluster(1), 5, n, k);
        let record = new.wrap_keyring(REVISION, Nonces::draw(&mut Counted(2)));
        let mut progress = UnsealProgress::new(new.config.clone());
        let mut complete = None;
        for (count, &at) in (1..).zip(&chosen) {
            match progress.submit(copy(&new.shares[at])).unwrap() {
                Step::Combine(shares) => {
                    complete = Some(shares);
                    continue;
                }
                Step::NeedShares { missing } => prop_assert_eq!(u32::from(missing), k - count),
            }
            let before: Vec<u8> = progress.indexes().collect();
            for bad in &bad {
                let text = bad.text(n, k, &new.shares[at]);
                let refusal = progress.submit_text(&text).err();
                prop_assert_eq!(refusal, Some(bad.refusal(&new.shares[at])), "{:?}", bad);
                prop_assert_eq!(progress.indexes().collect::<Vec<_>>(), before.clone());
            }
        }
        let outcome = unseal(&complete.unwrap(), &new.config, REVISION, &record);
        prop_assert!(outcome.is_ok());
    }
}

#[test]
fn shares_that_belong_together_but_elsewhere_do_not_unseal() {
    let new = init(1, cluster(1), 5, 3, 2);
    let record = new.wrap_keyring(REVISION, Nonces::draw(&mut Counted(2)));
    for (other, expected) in [
        (init(3, cluster(2), 5, 3, 2), UnsealError::WrongShares),
        (init(3, cluster(1), 4, 3, 2), UnsealError::WrongShares),
        (init(3, cluster(1), 5, 3, 2), UnsealError::Keyring(KeyringError::NotAuthentic)),
    ] {
        let outcome = unseal(&other.shares, &new.config, REVISION, &record);
        assert_eq!(outcome.err(), Some(expected));
    }
}

#[test]
fn a_keyring_put_back_from_another_revision_does_not_unseal() {
    let new = init(1, cluster(1), 5, 1, 1);
    let record = new.wrap_keyring(REVISION, Nonces::draw(&mut Counted(2)));
    let outcome = unseal(&new.shares, &new.config, REVISION.next(), &record);
    let expected = UnsealError::Keyring(KeyringError::OtherRevision(REVISION));
    assert_eq!(outcome.err(), Some(expected));
}

#[test]
fn reset_and_another_configuration_forget_progress_and_the_same_one_keeps_it() {
    let new = init(1, cluster(1), 5, 5, 3);
    let mut sealed = Sealed::new(new.config.clone());
    let give = |sealed: &mut Sealed| {
        sealed.submit_text(new.shares[0].expose_text().expose()).map(|_| ()).unwrap();
        assert_eq!(sealed.progress().gathered(), 1);
    };
    give(&mut sealed);
    sealed.reset();
    assert_eq!(sealed.progress().gathered(), 0);
    give(&mut sealed);
    sealed.reconfigure(new.config.clone());
    assert_eq!(sealed.progress().gathered(), 1);
    sealed.reconfigure(init(2, cluster(1), 6, 5, 3).config);
    assert_eq!(sealed.progress().gathered(), 0);
    let refusal = sealed.submit_text(new.shares[0].expose_text().expose()).err();
    let (share, cluster) = (SealEpoch(5), SealEpoch(6));
    assert_eq!(refusal, Some(ShareRefusal::OldEpoch { share, cluster }));
}
