//! Calls that tests make often, each one attempt.

use std::collections::BTreeMap;

use strongroom_wire::v1::{
    CreateKeyRequest, CreateTokenRequest, CreateTokenResponse, DataKeySpec, DecryptRequest,
    DescribeKeyRequest, DisableKeyRequest, EnableKeyRequest, EncryptRequest,
    GenerateDataKeyRequest, KeyState, RevokeTokenRequest, Role, revoke_token_request,
};
use tonic::Status;

use super::Caller;

impl Caller {
    /// Makes a key; gives its id.
    ///
    /// # Errors
    ///
    /// The refusal.
    pub async fn create_key(&self, description: &str) -> Result<String, Status> {
        let request =
            CreateKeyRequest { description: description.to_owned(), ..CreateKeyRequest::default() };
        let response = self.keys().create_key(request).await?.into_inner();
        Ok(response.key_metadata.unwrap_or_default().key_id)
    }

    /// Enables or disables a key.
    ///
    /// # Errors
    ///
    /// The refusal.
    pub async fn set_enabled(&self, key_id: &str, enabled: bool) -> Result<(), Status> {
        let key_id = key_id.to_owned();
        if enabled {
            self.keys().enable_key(EnableKeyRequest { key_id }).await.map(drop)
        } else {
            self.keys().disable_key(DisableKeyRequest { key_id }).await.map(drop)
        }
    }

    /// State of a key.
    ///
    /// # Errors
    ///
    /// The refusal.
    pub async fn key_state(&self, key_id: &str) -> Result<KeyState, Status> {
        let request = DescribeKeyRequest { key_id: key_id.to_owned() };
        let response = self.keys().describe_key(request).await?.into_inner();
        Ok(response.key_metadata.unwrap_or_default().key_state())
    }

    /// Makes a token that never expires.
    ///
    /// # Errors
    ///
    /// The refusal.
    pub async fn create_token(
        &self,
        name: &str,
        role: Role,
    ) -> Result<CreateTokenResponse, Status> {
        let request = CreateTokenRequest {
            principal_name: name.to_owned(),
            role: role.into(),
            ttl_seconds: 0,
        };
        Ok(self.access().create_token(request).await?.into_inner())
    }

    /// Revokes one token.
    ///
    /// # Errors
    ///
    /// The refusal.
    pub async fn revoke_token(&self, token_id: &str) -> Result<(), Status> {
        let target = revoke_token_request::Target::TokenId(token_id.to_owned());
        let request = RevokeTokenRequest { target: Some(target) };
        self.access().revoke_token(request).await.map(drop)
    }

    /// A data key of 32 bytes: the blob and the key.
    ///
    /// # Errors
    ///
    /// The refusal.
    pub async fn data_key(
        &self,
        key_id: &str,
        context: &[(&str, &str)],
    ) -> Result<(Vec<u8>, Vec<u8>), Status> {
        let request = GenerateDataKeyRequest {
            key_id: key_id.to_owned(),
            encryption_context: pairs(context),
            key_spec: DataKeySpec::Aes256.into(),
            number_of_bytes: 0,
        };
        let response = self.crypto().generate_data_key(request).await?.into_inner();
        Ok((response.ciphertext_blob, response.plaintext))
    }

    /// Encrypts.
    ///
    /// # Errors
    ///
    /// The refusal.
    pub async fn encrypt(
        &self,
        key_id: &str,
        plaintext: &[u8],
        context: &[(&str, &str)],
    ) -> Result<Vec<u8>, Status> {
        let request = EncryptRequest {
            key_id: key_id.to_owned(),
            plaintext: plaintext.to_vec(),
            encryption_context: pairs(context),
        };
        Ok(self.crypto().encrypt(request).await?.into_inner().ciphertext_blob)
    }

    /// Decrypts.
    ///
    /// # Errors
    ///
    /// The refusal.
    pub async fn decrypt(&self, blob: &[u8], context: &[(&str, &str)]) -> Result<Vec<u8>, Status> {
        let request = DecryptRequest {
            ciphertext_blob: blob.to_vec(),
            encryption_context: pairs(context),
            key_id: String::new(),
        };
        Ok(self.crypto().decrypt(request).await?.into_inner().plaintext)
    }
}

fn pairs(context: &[(&str, &str)]) -> BTreeMap<String, String> {
    context.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}
