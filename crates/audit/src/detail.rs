//! Public facts of ceremonies and administration, shown by the leaf itself.
//!
//! Encoded one after another, strictly ascending by number, at most
//! [`Detail::BYTES_MAX`] bytes together:
//!
//! | number | fact |
//! |---|---|
//! | 1 to 127 | number (1) ‖ value (8, big endian) |
//! | 128 to 255 | number (1) ‖ id (16) |

use std::fmt;

macro_rules! facts {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal;)*) => {
        /// What a fact is about.
        ///
        /// The numbers are a stored format: never changed, never reused. From
        /// 128 on the value is an id of 16 bytes, below it an integer.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        #[non_exhaustive]
        pub enum FactName {
            $($(#[$doc])* $name = $number,)*
        }

        impl FactName {
            /// Every name, ascending by number.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            const fn from_number(number: u8) -> Option<Self> {
                match number {
                    $($number => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// Its name, as events show it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

facts! {
    /// Index of a share.
    ShareIndex = 1, "share_index";
    /// Shares made.
    Shares = 2, "shares";
    /// Shares that unseal.
    Threshold = 3, "threshold";
    /// Shares given so far.
    Progress = 4, "progress";
    /// Counts root keys.
    SealEpoch = 5, "seal_epoch";
    /// A barrier epoch.
    BarrierEpoch = 6, "barrier_epoch";
    /// An audit epoch.
    AuditEpoch = 7, "audit_epoch";
    /// The node that was acted on, or that was named.
    Node = 8, "node";
    /// A role (numbers: `strongroom.v1.Role`).
    Role = 9, "role";
    /// How often it happened; the record stands for that many.
    Count = 10, "count";
    /// A Raft log index.
    LogIndex = 11, "log_index";
    /// End of a validity, Unix milliseconds.
    ExpiresMs = 12, "expires_ms";

    /// The principal that was acted on.
    Principal = 128, "principal";
    /// The token that was acted on.
    Token = 129, "token";
    /// A cluster.
    Cluster = 130, "cluster";
    /// The key that a ciphertext was under before.
    SourceKey = 131, "source_key";
}

impl FactName {
    const fn is_id(self) -> bool {
        self as u8 >= 128
    }
}

/// One public fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact {
    /// An integer, of a name below 128.
    Number(FactName, u64),
    /// An id, of a name from 128 on.
    Id(FactName, [u8; 16]),
}

impl Fact {
    /// What it is about.
    #[must_use]
    pub const fn name(&self) -> FactName {
        match self {
            Self::Number(name, _) | Self::Id(name, _) => *name,
        }
    }

    const fn encoded_bytes(&self) -> usize {
        match self {
            Self::Number(..) => 9,
            Self::Id(..) => 17,
        }
    }
}

/// The value as events show it: a decimal integer or a hyphenated UUID.
impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(_, value) => value.fmt(f),
            Self::Id(_, id) => strongroom_base::KeyId::from_bytes(*id).fmt(f),
        }
    }
}

/// Why facts are no detail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DetailError {
    /// A name given twice.
    #[error("a fact is given twice")]
    Repeated,
    /// An id under the name of a number, or the other way round.
    #[error("a fact has a value of the wrong kind")]
    WrongKind,
    /// More than fits.
    #[error("the facts take more than {} bytes", Detail::BYTES_MAX)]
    TooLong,
    /// Bytes that are no encoding of facts that this program knows.
    #[error("the bytes are no facts of a known kind")]
    Undecodable,
}

/// Public facts, each at most once, ascending by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Detail(Vec<Fact>);

impl Detail {
    /// Most bytes of the encoding.
    pub const BYTES_MAX: usize = 256;

    /// Takes facts in any order.
    ///
    /// # Errors
    ///
    /// [`DetailError`], but never `Undecodable`.
    pub fn new(mut facts: Vec<Fact>) -> Result<Self, DetailError> {
        if facts.iter().map(Fact::encoded_bytes).sum::<usize>() > Self::BYTES_MAX {
            return Err(DetailError::TooLong);
        }
        facts.sort_by_key(Fact::name);
        if facts.windows(2).any(|pair| pair[0].name() == pair[1].name()) {
            return Err(DetailError::Repeated);
        }
        if facts.iter().any(|fact| matches!(fact, Fact::Id(..)) != fact.name().is_id()) {
            return Err(DetailError::WrongKind);
        }
        Ok(Self(facts))
    }

    /// The facts, ascending by name.
    #[must_use]
    pub fn facts(&self) -> &[Fact] {
        &self.0
    }

    /// The integer under a name.
    #[must_use]
    pub fn number(&self, name: FactName) -> Option<u64> {
        self.0.iter().find_map(|fact| match fact {
            Fact::Number(found, value) if *found == name => Some(*value),
            _ => None,
        })
    }

    /// The id under a name.
    #[must_use]
    pub fn id(&self, name: FactName) -> Option<[u8; 16]> {
        self.0.iter().find_map(|fact| match fact {
            Fact::Id(found, value) if *found == name => Some(*value),
            _ => None,
        })
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.0.iter().map(Fact::encoded_bytes).sum());
        for fact in &self.0 {
            bytes.push(fact.name() as u8);
            match fact {
                Fact::Number(_, value) => bytes.extend(value.to_be_bytes()),
                Fact::Id(_, id) => bytes.extend(id),
            }
        }
        bytes
    }

    pub(crate) fn decode(mut bytes: &[u8]) -> Result<Self, DetailError> {
        let mut facts: Vec<Fact> = Vec::new();
        while let Some((number, rest)) = bytes.split_first() {
            let name = FactName::from_number(*number).ok_or(DetailError::Undecodable)?;
            if facts.last().is_some_and(|last| last.name() >= name) {
                return Err(DetailError::Undecodable);
            }
            let fact;
            if name.is_id() {
                let (id, rest) = rest.split_first_chunk().ok_or(DetailError::Undecodable)?;
                (fact, bytes) = (Fact::Id(name, *id), rest);
            } else {
                let (value, rest) = rest.split_first_chunk().ok_or(DetailError::Undecodable)?;
                (fact, bytes) = (Fact::Number(name, u64::from_be_bytes(*value)), rest);
            }
            facts.push(fact);
        }
        Self::new(facts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_mixed_up_and_too_many_facts_are_refused() {
        let share = Fact::Number(FactName::ShareIndex, 3);
        assert_eq!(Detail::new(vec![share, share]), Err(DetailError::Repeated));
        let swapped = [Fact::Id(FactName::Shares, [1; 16]), Fact::Number(FactName::Token, 1)];
        for fact in swapped {
            assert_eq!(Detail::new(vec![fact]), Err(DetailError::WrongKind));
        }
        let most = Detail::BYTES_MAX / share.encoded_bytes();
        assert_eq!(Detail::new(vec![share; most + 1]), Err(DetailError::TooLong));
        assert_eq!(Detail::new(vec![share; most]), Err(DetailError::Repeated));
    }

    #[test]
    fn descending_truncated_and_unknown_facts_are_refused() {
        let number = |name: u8| [&[name][..], &[0; 8]].concat();
        for bytes in [
            [number(2), number(1)].concat(),
            [number(2), number(2)].concat(),
            number(1)[..8].to_vec(),
            number(127),
            number(0),
        ] {
            assert_eq!(Detail::decode(&bytes), Err(DetailError::Undecodable));
        }
    }

    #[test]
    fn every_fact_is_shown_as_it_was_given() {
        let facts = FactName::ALL.iter().map(|name| match name.is_id() {
            false => Fact::Number(*name, 7),
            true => Fact::Id(*name, [7; 16]),
        });
        let detail = Detail::new(facts.rev().collect()).unwrap();
        assert_eq!(Detail::decode(&detail.encode()), Ok(detail.clone()));
        assert_eq!(detail.number(FactName::Progress), Some(7));
        assert_eq!(detail.id(FactName::Token), Some([7; 16]));
        let token = detail.facts().iter().find(|fact| fact.name() == FactName::Token).unwrap();
        assert_eq!(token.to_string(), "07070707-0707-0707-0707-070707070707");
    }
}
