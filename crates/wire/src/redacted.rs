//! `Debug` of messages that must never be printed.

use std::fmt;

use crate::v1;

macro_rules! redacted {
    ($($message:ident),+ $(,)?) => {
        $(
            impl fmt::Debug for v1::$message {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.debug_struct(stringify!($message)).finish_non_exhaustive()
                }
            }
        )+
    };
}

// The build script leaves the derived `Debug` out for exactly these; one too
// few or too many here doesn't compile.
redacted!(
    CreateTokenResponse,
    DataKeyPair,
    DecryptRequest,
    DecryptResponse,
    EncryptRequest,
    GenerateDataKeyRequest,
    GenerateDataKeyResponse,
    GenerateDataKeyWithoutPlaintextRequest,
    GenerateDataKeysRequest,
    GenerateRandomResponse,
    InitRequest,
    InitResponse,
    ReEncryptRequest,
    SubmitShareRequest,
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plaintext_is_never_printed_not_even_within_other_messages() {
        let pair = v1::DataKeyPair { ciphertext_blob: vec![1], plaintext: b"canary".to_vec() };
        let keys = v1::GenerateDataKeysResponse { data_keys: vec![pair], ..Default::default() };
        let text = format!("{keys:?}");
        assert!(text.contains("DataKeyPair"), "{text}");
        assert!(!text.contains("99, 97"), "{text}");
    }

    #[test]
    fn a_share_is_never_printed() {
        let request = v1::SubmitShareRequest { share: "canary".to_owned() };
        assert!(!format!("{request:?}").contains("canary"));
    }
}
