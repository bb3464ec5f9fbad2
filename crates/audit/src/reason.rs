//! Why something was refused: one list for events and for the wire.

use std::fmt;

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal;)*) => {
        /// Why an attempt was refused.
        ///
        /// Its text is the `reason` of `google.rpc.ErrorInfo`. The numbers are a
        /// stored format: never changed, never reused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        #[non_exhaustive]
        pub enum Reason {
            $($(#[$doc])* $name = $number,)*
        }

        impl Reason {
            /// Every reason, ascending by number.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The reason with this number.
            #[must_use]
            pub const fn from_number(number: u16) -> Option<Self> {
                match number {
                    $($number => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// Its text, as in `ErrorInfo`.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

reasons! {
    /// The node is sealed.
    Sealed = 1, "SEALED";
    /// The node belongs to no formed cluster yet.
    Uninitialised = 2, "UNINITIALISED";
    /// No quorum can be reached, and nothing was proposed.
    NoQuorum = 3, "NO_QUORUM";
    /// Proposed, and whether it took effect is not known.
    OutcomeUnknown = 4, "OUTCOME_UNKNOWN";
    /// What the decision read kept changing.
    Contention = 5, "CONTENTION";
    /// The node has too much to do.
    Overloaded = 6, "OVERLOADED";
    /// The disk is nearly full.
    DiskReserve = 7, "DISK_RESERVE";
    /// The deadline passed.
    DeadlineExceeded = 8, "DEADLINE_EXCEEDED";
    /// The node is shutting down.
    ShuttingDown = 9, "SHUTTING_DOWN";
    /// A defect of the program.
    Internal = 10, "INTERNAL";
    /// The node's state differs from the quorum's, or is not compared yet.
    StateUnverified = 11, "STATE_UNVERIFIED";
    /// This node does not lead.
    NotLeader = 12, "NOT_LEADER";

    /// A field breaks its bound or form.
    InvalidArgument = 64, "INVALID_ARGUMENT";
    /// A bound on size or number is passed.
    LimitExceeded = 65, "LIMIT_EXCEEDED";
    /// The client token was used for another request.
    IdempotencyMismatch = 66, "IDEMPOTENCY_MISMATCH";
    /// The page token is none, or of another listing.
    InvalidPageToken = 67, "INVALID_PAGE_TOKEN";
    /// Not supported by this version.
    Unsupported = 68, "UNSUPPORTED";

    /// No valid credentials.
    Unauthenticated = 128, "UNAUTHENTICATED";
    /// The caller may not do this.
    AccessDenied = 129, "ACCESS_DENIED";
    /// Too many denials of this principal in a short time.
    DenialLimit = 130, "DENIAL_LIMIT";
    /// It would leave nobody who can administer.
    LastAdministrator = 131, "LAST_ADMINISTRATOR";
    /// No such principal.
    PrincipalNotFound = 132, "PRINCIPAL_NOT_FOUND";
    /// No such token.
    TokenNotFound = 133, "TOKEN_NOT_FOUND";
    /// The operation needs a certificate of an operator.
    OperatorCertificateRequired = 134, "OPERATOR_CERTIFICATE_REQUIRED";
    /// The principal doesn't have the role.
    RoleNotAttached = 135, "ROLE_NOT_ATTACHED";

    /// No such key.
    KeyNotFound = 192, "KEY_NOT_FOUND";
    /// The key is disabled.
    KeyDisabled = 193, "KEY_DISABLED";
    /// The key's state does not allow this.
    KeyStateInvalid = 194, "KEY_STATE_INVALID";
    /// The key is of another usage.
    InvalidKeyUsage = 195, "INVALID_KEY_USAGE";
    /// The ciphertext does not open: tampered, of another context or key.
    InvalidCiphertext = 196, "INVALID_CIPHERTEXT";
    /// The blob is of another key than the named one.
    IncorrectKey = 197, "INCORRECT_KEY";

    /// A typing error in a share.
    ShareMistyped = 256, "SHARE_MISTYPED";
    /// The share was given before.
    ShareRepeated = 257, "SHARE_REPEATED";
    /// The share is of another cluster.
    ShareForeignCluster = 258, "SHARE_FOREIGN_CLUSTER";
    /// The share is of an earlier root key.
    ShareOldEpoch = 259, "SHARE_OLD_EPOCH";
    /// Well formed, and no share of this cluster's present root key.
    ShareUnknown = 260, "SHARE_UNKNOWN";
    /// No share's text.
    ShareMalformed = 261, "SHARE_MALFORMED";
    /// The share is of a newer format.
    ShareUnsupportedFormat = 262, "SHARE_UNSUPPORTED_FORMAT";
    /// The shares do not open the keyring.
    UnsealFailed = 263, "UNSEAL_FAILED";
    /// Too many share entries in a short time.
    ShareRateLimit = 264, "SHARE_RATE_LIMIT";

    /// The cluster is formed already.
    AlreadyInitialised = 320, "ALREADY_INITIALISED";
    /// A configured member can't be reached.
    MemberUnreachable = 321, "MEMBER_UNREACHABLE";
    /// The init token is another one than that of the first `init`.
    InitTokenMismatch = 322, "INIT_TOKEN_MISMATCH";
    /// Something is still sealed under the epoch, or it is the newest.
    EpochInUse = 323, "EPOCH_IN_USE";
    /// No such epoch.
    EpochNotFound = 324, "EPOCH_NOT_FOUND";
    /// The node is unsealed already.
    AlreadyUnsealed = 325, "ALREADY_UNSEALED";
    /// No such member.
    MemberNotFound = 326, "MEMBER_NOT_FOUND";
}

impl Reason {
    /// Its number, as leaves carry it; never 0.
    #[must_use]
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// The reason with this text.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.text() == text)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_numbers_lead_back_to_their_reason() {
        assert_eq!(Reason::from_number(0), None);
        assert_eq!(Reason::from_text(""), None);
        for reason in Reason::ALL {
            assert_eq!(Reason::from_number(reason.number()), Some(*reason));
            assert_eq!(Reason::from_text(reason.text()), Some(*reason));
        }
        assert!(Reason::ALL.is_sorted_by_key(|reason| reason.number()));
    }
}
