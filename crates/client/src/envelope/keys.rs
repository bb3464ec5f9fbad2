//! Whom an envelope gets its data key from.

use std::{collections::BTreeMap, error::Error as StdError};

use strongroom_crypto::{Context, EnvelopeDataKey};
use zeroize::Zeroizing;

use super::header::WrappedKey;
use crate::{
    Client, Code, Error,
    proto::{DataKeySpec, DecryptRequest, EncryptRequest, GenerateDataKeyRequest},
    reason,
};

/// Why a data key was not made, wrapped or unwrapped.
pub type KeyError = Box<dyn StdError + Send + Sync>;

/// A new data key, in the clear and wrapped.
pub struct GeneratedKey {
    /// The data key.
    pub data_key: EnvelopeDataKey,
    /// The same, wrapped.
    pub wrapped: WrappedKey,
}

/// A data key that was unwrapped.
pub struct UnwrappedKey {
    /// The data key.
    pub data_key: EnvelopeDataKey,
    /// Id or ARN of the key that it was wrapped under, as the cluster says it.
    pub key_id: String,
}

/// Why a data key was not unwrapped.
#[derive(Debug, thiserror::Error)]
pub enum UnwrapError {
    /// Not with this key; another of the list may do.
    #[error("refused")]
    Refused(#[source] KeyError),
    /// Nor would it be with any other: no answer, say.
    #[error("failed")]
    Failed(#[source] KeyError),
}

/// Makes, wraps and unwraps data keys, each bound to an encryption context.
///
/// [`Client`] is one. Another may keep data keys for several messages: the keys of
/// a message are derived with an id of its own.
pub trait KeySource: Sync {
    /// Makes a data key under a key.
    fn new_data_key(
        &self,
        key_id: &str,
        context: &Context,
    ) -> impl Future<Output = Result<GeneratedKey, KeyError>> + Send;

    /// Wraps a data key under one more key.
    fn wrap_data_key(
        &self,
        key_id: &str,
        context: &Context,
        data_key: &EnvelopeDataKey,
    ) -> impl Future<Output = Result<WrappedKey, KeyError>> + Send;

    /// Unwraps a data key. Where `key_id` is given, one that was wrapped under
    /// another key must be refused.
    fn unwrap_data_key(
        &self,
        blob: &[u8],
        context: &Context,
        key_id: Option<&str>,
    ) -> impl Future<Output = Result<UnwrappedKey, UnwrapError>> + Send;
}

/// The cluster answered with a data key of another length.
#[derive(Debug, thiserror::Error)]
#[error("the data key has {bytes} bytes, not {}", EnvelopeDataKey::LEN)]
struct DataKeyLength {
    bytes: usize,
}

impl KeySource for Client {
    async fn new_data_key(
        &self,
        key_id: &str,
        context: &Context,
    ) -> Result<GeneratedKey, KeyError> {
        let request = GenerateDataKeyRequest {
            key_id: key_id.to_owned(),
            encryption_context: pairs(context),
            key_spec: DataKeySpec::Aes256.into(),
            number_of_bytes: 0,
        };
        let answer = self.generate_data_key(request).await?;
        let data_key = data_key(answer.plaintext)?;
        let wrapped = WrappedKey { key_id: answer.key_id, blob: answer.ciphertext_blob };
        Ok(GeneratedKey { data_key, wrapped })
    }

    async fn wrap_data_key(
        &self,
        key_id: &str,
        context: &Context,
        data_key: &EnvelopeDataKey,
    ) -> Result<WrappedKey, KeyError> {
        let request = EncryptRequest {
            key_id: key_id.to_owned(),
            // Leaves this process under TLS, for the cluster that unwraps it later.
            plaintext: data_key.expose().to_vec(),
            encryption_context: pairs(context),
        };
        let answer = self.encrypt(request).await?;
        Ok(WrappedKey { key_id: answer.key_id, blob: answer.ciphertext_blob })
    }

    async fn unwrap_data_key(
        &self,
        blob: &[u8],
        context: &Context,
        key_id: Option<&str>,
    ) -> Result<UnwrappedKey, UnwrapError> {
        let request = DecryptRequest {
            ciphertext_blob: blob.to_vec(),
            encryption_context: pairs(context),
            key_id: key_id.unwrap_or_default().to_owned(),
        };
        let answer = self.decrypt(request).await.map_err(|error| {
            if concerns_this_key(&error) {
                UnwrapError::Refused(error.into())
            } else {
                UnwrapError::Failed(error.into())
            }
        })?;
        let data_key =
            data_key(answer.plaintext).map_err(|error| UnwrapError::Refused(error.into()))?;
        Ok(UnwrappedKey { data_key, key_id: answer.key_id })
    }
}

fn pairs(context: &Context) -> BTreeMap<String, String> {
    context.pairs().iter().cloned().collect()
}

fn data_key(plaintext: Vec<u8>) -> Result<EnvelopeDataKey, DataKeyLength> {
    let plaintext = Zeroizing::new(plaintext);
    let bytes: &[u8; EnvelopeDataKey::LEN] =
        plaintext[..].try_into().map_err(|_| DataKeyLength { bytes: plaintext.len() })?;
    Ok(EnvelopeDataKey::init_with(|key| key.copy_from_slice(bytes)))
}

/// Whether the refusal is of this key or blob, so that another may fare better.
fn concerns_this_key(error: &Error) -> bool {
    let state_of_node = [reason::SEALED, reason::UNINITIALISED, reason::CLIENT_CONFIGURATION];
    let of_key = matches!(
        error.code(),
        Code::NotFound | Code::PermissionDenied | Code::InvalidArgument | Code::FailedPrecondition
    );
    of_key && !state_of_node.contains(&error.reason())
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, time::Duration};

    use tonic::Status;
    use tonic_types::{ErrorDetails, StatusExt as _};

    use super::*;

    fn refused(code: Code, reason: &str) -> Error {
        let details = ErrorDetails::with_error_info(reason, "strongroom", HashMap::new());
        Error::from_status(&Status::with_error_details(code, "no", details), Duration::ZERO)
    }

    #[test]
    fn the_next_key_is_tried_after_a_refusal_of_this_one_only() {
        for (code, reason) in [
            (Code::Unavailable, reason::NO_QUORUM),
            (Code::DeadlineExceeded, reason::DEADLINE_EXCEEDED),
            (Code::FailedPrecondition, reason::SEALED),
            (Code::Unauthenticated, "UNAUTHENTICATED"),
            (Code::Internal, "INTERNAL"),
        ] {
            assert!(!concerns_this_key(&refused(code, reason)), "{reason}");
        }
        for (code, reason) in [
            (Code::NotFound, "KEY_NOT_FOUND"),
            (Code::FailedPrecondition, "KEY_DISABLED"),
            (Code::InvalidArgument, "INVALID_CIPHERTEXT"),
            (Code::PermissionDenied, "ACCESS_DENIED"),
        ] {
            assert!(concerns_this_key(&refused(code, reason)), "{reason}");
        }
    }

    #[test]
    fn a_data_key_of_another_length_is_refused() {
        for bytes in [0, 16, 31, 33] {
            assert_eq!(data_key(vec![7; bytes]).err().map(|error| error.bytes), Some(bytes));
        }
        assert_eq!(data_key(vec![7; 32]).ok().unwrap().expose(), &[7; 32]);
    }
}
