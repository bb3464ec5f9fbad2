//! Service `strongroom.v1.Crypto`: uses of keys.

use std::sync::Arc;

use strongroom_base::limits;
use strongroom_crypto::SecretBytes;
use strongroom_model::{
    self as model, DataKeyPair, DataKeys, DataKeysRequest, DecryptBatchRequest, DecryptRequest,
    Decrypted, EncryptRequest, RandomRequest, ReEncryptRequest, Refusal,
};
use strongroom_wire::v1::{self, crypto_server::Crypto};
use tonic::{Request, Response, Status};
use zeroize::Zeroize;

use super::convert::{context, key, number, optional_key};
use crate::{
    attempt::{Effect, commit},
    caller::Caller,
    core::Core,
    errors,
};

/// Service `strongroom.v1.Crypto`.
#[derive(Clone)]
pub(crate) struct CryptoService {
    core: Arc<Core>,
}

impl CryptoService {
    /// Serves `core`.
    #[must_use]
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    async fn data_keys(
        &self,
        caller: &Caller,
        request: &DataKeysRequest,
    ) -> Result<DataKeys, Status> {
        commit(&self.core, caller, Effect::Use, |basis, by, entropy| {
            model::generate_data_keys(basis, by, request, entropy)
        })
        .await
    }
}

fn refused(refusal: Refusal) -> Status {
    errors::refused(&refusal)
}

/// The plaintext for the message. The transport keeps its own copy of it until
/// it is sent, which no type of ours can wipe.
fn released(secret: &[u8]) -> Vec<u8> {
    secret.to_vec()
}

fn plaintext_of(pair: &DataKeyPair) -> Vec<u8> {
    pair.plaintext.as_ref().map(|key| released(key.expose())).unwrap_or_default()
}

fn decrypt_request(request: v1::DecryptRequest) -> Result<DecryptRequest, Status> {
    let context = context("encryption_context", request.encryption_context)?;
    let key = optional_key("key_id", &request.key_id)?;
    DecryptRequest::new(request.ciphertext_blob, context, key).map_err(refused)
}

fn decrypt_response(decrypted: &Decrypted) -> v1::DecryptResponse {
    v1::DecryptResponse {
        plaintext: released(decrypted.plaintext.expose()),
        key_id: decrypted.key.arn.clone(),
        key_material_id: decrypted.key.material.to_string(),
    }
}

#[tonic::async_trait]
impl Crypto for CryptoService {
    async fn generate_data_key(
        &self,
        request: Request<v1::GenerateDataKeyRequest>,
    ) -> Result<Response<v1::GenerateDataKeyResponse>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let asked = DataKeysRequest::one(
            key("key_id", &request.key_id)?,
            context("encryption_context", request.encryption_context)?,
            number(request.key_spec),
            request.number_of_bytes,
        )
        .map_err(refused)?;
        let mut done = self.data_keys(&caller, &asked).await?;
        let pair = done.data_keys.pop().ok_or_else(none_made)?;
        Ok(Response::new(v1::GenerateDataKeyResponse {
            plaintext: plaintext_of(&pair),
            ciphertext_blob: pair.blob,
            key_id: done.key.arn,
            key_material_id: done.key.material.to_string(),
        }))
    }

    async fn generate_data_key_without_plaintext(
        &self,
        request: Request<v1::GenerateDataKeyWithoutPlaintextRequest>,
    ) -> Result<Response<v1::GenerateDataKeyWithoutPlaintextResponse>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let asked = DataKeysRequest::without_plaintext(
            key("key_id", &request.key_id)?,
            context("encryption_context", request.encryption_context)?,
            number(request.key_spec),
            request.number_of_bytes,
        )
        .map_err(refused)?;
        let mut done = self.data_keys(&caller, &asked).await?;
        let pair = done.data_keys.pop().ok_or_else(none_made)?;
        Ok(Response::new(v1::GenerateDataKeyWithoutPlaintextResponse {
            ciphertext_blob: pair.blob,
            key_id: done.key.arn,
            key_material_id: done.key.material.to_string(),
        }))
    }

    async fn generate_data_keys(
        &self,
        request: Request<v1::GenerateDataKeysRequest>,
    ) -> Result<Response<v1::GenerateDataKeysResponse>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let asked = DataKeysRequest::many(
            key("key_id", &request.key_id)?,
            context("encryption_context", request.encryption_context)?,
            number(request.key_spec),
            request.number_of_bytes,
            request.count,
        )
        .map_err(refused)?;
        let done = self.data_keys(&caller, &asked).await?;
        let data_keys = done.data_keys.into_iter().map(|pair| v1::DataKeyPair {
            plaintext: plaintext_of(&pair),
            ciphertext_blob: pair.blob,
        });
        Ok(Response::new(v1::GenerateDataKeysResponse {
            data_keys: data_keys.collect(),
            key_id: done.key.arn,
            key_material_id: done.key.material.to_string(),
        }))
    }

    async fn encrypt(
        &self,
        request: Request<v1::EncryptRequest>,
    ) -> Result<Response<v1::EncryptResponse>, Status> {
        let caller = Caller::of(&request)?;
        let mut request = request.into_inner();
        let len = request.plaintext.len().min(limits::PLAINTEXT_BYTES_MAX + 1);
        let plaintext =
            SecretBytes::init_with(len, |bytes| bytes.copy_from_slice(&request.plaintext[..len]));
        request.plaintext.zeroize();
        let asked = EncryptRequest::new(
            key("key_id", &request.key_id)?,
            plaintext,
            context("encryption_context", request.encryption_context)?,
        )
        .map_err(refused)?;
        let done = commit(&self.core, &caller, Effect::Use, |basis, by, entropy| {
            model::encrypt(basis, by, &asked, entropy)
        })
        .await?;
        Ok(Response::new(v1::EncryptResponse { ciphertext_blob: done.blob, key_id: done.key.arn }))
    }

    async fn decrypt(
        &self,
        request: Request<v1::DecryptRequest>,
    ) -> Result<Response<v1::DecryptResponse>, Status> {
        let caller = Caller::of(&request)?;
        let asked = decrypt_request(request.into_inner())?;
        let done = commit(&self.core, &caller, Effect::Use, |basis, by, _| {
            model::decrypt(basis, by, &asked)
        })
        .await?;
        Ok(Response::new(decrypt_response(&done)))
    }

    async fn decrypt_batch(
        &self,
        request: Request<v1::DecryptBatchRequest>,
    ) -> Result<Response<v1::DecryptBatchResponse>, Status> {
        use v1::decrypt_batch_result::Result as ItemResult;
        let caller = Caller::of(&request)?;
        let items = request.into_inner().items;
        if items.len() > limits::BATCH_ITEMS_MAX {
            let problem = format!("must hold at most {} items", limits::BATCH_ITEMS_MAX);
            return Err(errors::invalid_argument("items", &problem));
        }
        let items = items.into_iter().map(decrypt_request).collect::<Result<Vec<_>, _>>()?;
        let asked = DecryptBatchRequest::new(items).map_err(refused)?;
        let done = commit(&self.core, &caller, Effect::Use, |basis, by, _| {
            model::decrypt_batch(basis, by, &asked)
        })
        .await?;
        let results = done.items.iter().map(|item| v1::DecryptBatchResult {
            result: Some(match item {
                Ok(decrypted) => ItemResult::Success(decrypt_response(decrypted)),
                Err(refusal) => ItemResult::Error(v1::ItemError {
                    code: errors::code_of(refusal.class()).into(),
                    reason: refusal.reason().text().to_owned(),
                    message: refusal.to_string(),
                }),
            }),
        });
        Ok(Response::new(v1::DecryptBatchResponse { results: results.collect() }))
    }

    async fn re_encrypt(
        &self,
        request: Request<v1::ReEncryptRequest>,
    ) -> Result<Response<v1::ReEncryptResponse>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let source = DecryptRequest::new(
            request.ciphertext_blob,
            context("source_encryption_context", request.source_encryption_context)?,
            optional_key("source_key_id", &request.source_key_id)?,
        )
        .map_err(refused)?;
        let destination = key("destination_key_id", &request.destination_key_id)?;
        let to_context =
            context("destination_encryption_context", request.destination_encryption_context)?;
        let asked = ReEncryptRequest::new(source, destination, to_context);
        let done = commit(&self.core, &caller, Effect::Use, |basis, by, entropy| {
            model::re_encrypt(basis, by, &asked, entropy)
        })
        .await?;
        Ok(Response::new(v1::ReEncryptResponse {
            ciphertext_blob: done.blob,
            source_key_id: done.source.arn,
            key_id: done.destination.arn,
        }))
    }

    async fn generate_random(
        &self,
        request: Request<v1::GenerateRandomRequest>,
    ) -> Result<Response<v1::GenerateRandomResponse>, Status> {
        let caller = Caller::of(&request)?;
        let asked = RandomRequest::new(request.into_inner().number_of_bytes).map_err(refused)?;
        let done = commit(&self.core, &caller, Effect::Use, |basis, by, entropy| {
            Ok(model::generate_random(basis, by, asked, entropy))
        })
        .await?;
        Ok(Response::new(v1::GenerateRandomResponse { plaintext: released(done.expose()) }))
    }
}

fn none_made() -> Status {
    errors::fault("a decision made no data key")
}
