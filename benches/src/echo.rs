//! A bare gRPC service with the messages of `GenerateDataKey`.
//!
//! It answers at once with constant bytes of the real sizes: no key, no policy,
//! no disk, no other node. What it reaches is the limit of any gRPC service on
//! the same cores with the same TLS.

use std::{collections::BTreeMap, future::Future, sync::Arc};

use strongroom_base::limits;
use strongroom_net::{AcceptorLimits, CertStore, Incoming, Listener};
use strongroom_wire::v1::{
    DataKeySpec, DecryptBatchRequest, DecryptBatchResponse, DecryptRequest, DecryptResponse,
    EncryptRequest, EncryptResponse, GenerateDataKeyRequest, GenerateDataKeyResponse,
    GenerateDataKeyWithoutPlaintextRequest, GenerateDataKeyWithoutPlaintextResponse,
    GenerateDataKeysRequest, GenerateDataKeysResponse, GenerateRandomRequest,
    GenerateRandomResponse, ReEncryptRequest, ReEncryptResponse,
    crypto_server::{Crypto, CryptoServer},
};
use tokio::net::TcpListener;
use tonic::{Request, Response, Status, transport::Server};

/// Length of a data key (`AES_256`).
const DATA_KEY_BYTES: usize = 32;
/// Length of the ciphertext blob of such a data key: a header of 50 bytes, the
/// data key, a tag of 16.
const BLOB_BYTES: usize = 50 + DATA_KEY_BYTES + 16;
/// An ARN with the region and the account of a cluster of its own.
const ARN: &str = "arn:aws:kms:local:000000000000:key/3b241101-e2bb-4255-8caf-4136c566a962";
/// Hexadecimal digits of a material id.
const MATERIAL_ID_DIGITS: usize = 64;

/// The request that is measured: a small encryption context, one data key of
/// 256 bits.
#[must_use]
pub fn request(key_id: &str) -> GenerateDataKeyRequest {
    GenerateDataKeyRequest {
        key_id: key_id.to_owned(),
        encryption_context: BTreeMap::from([("table".to_owned(), "customers".to_owned())]),
        key_spec: DataKeySpec::Aes256.into(),
        number_of_bytes: 0,
    }
}

/// The service.
#[derive(Clone, Copy, Debug, Default)]
pub struct Echo;

/// What every other operation answers.
fn absent<T>() -> Result<T, Status> {
    Err(Status::unimplemented("the echo answers GenerateDataKey only"))
}

#[tonic::async_trait]
impl Crypto for Echo {
    async fn generate_data_key(
        &self,
        request: Request<GenerateDataKeyRequest>,
    ) -> Result<Response<GenerateDataKeyResponse>, Status> {
        // Read like a real one, so that it is decoded and not optimised away.
        if request.get_ref().key_id.is_empty() {
            return Err(Status::invalid_argument("key_id is missing"));
        }
        Ok(Response::new(GenerateDataKeyResponse {
            ciphertext_blob: vec![0xa5; BLOB_BYTES],
            plaintext: vec![0x5a; DATA_KEY_BYTES],
            key_id: ARN.to_owned(),
            key_material_id: "7".repeat(MATERIAL_ID_DIGITS),
        }))
    }

    async fn generate_data_key_without_plaintext(
        &self,
        _: Request<GenerateDataKeyWithoutPlaintextRequest>,
    ) -> Result<Response<GenerateDataKeyWithoutPlaintextResponse>, Status> {
        absent()
    }

    async fn generate_data_keys(
        &self,
        _: Request<GenerateDataKeysRequest>,
    ) -> Result<Response<GenerateDataKeysResponse>, Status> {
        absent()
    }

    async fn encrypt(
        &self,
        _: Request<EncryptRequest>,
    ) -> Result<Response<EncryptResponse>, Status> {
        absent()
    }

    async fn decrypt(
        &self,
        _: Request<DecryptRequest>,
    ) -> Result<Response<DecryptResponse>, Status> {
        absent()
    }

    async fn decrypt_batch(
        &self,
        _: Request<DecryptBatchRequest>,
    ) -> Result<Response<DecryptBatchResponse>, Status> {
        absent()
    }

    async fn re_encrypt(
        &self,
        _: Request<ReEncryptRequest>,
    ) -> Result<Response<ReEncryptResponse>, Status> {
        absent()
    }

    async fn generate_random(
        &self,
        _: Request<GenerateRandomRequest>,
    ) -> Result<Response<GenerateRandomResponse>, Status> {
        absent()
    }
}

/// Serves on `listener` until `ended`, with the TLS acceptor of a node's client
/// listener and the HTTP/2 bounds that matter to one small call.
///
/// # Errors
///
/// What the transport reports.
pub async fn serve(
    listener: TcpListener,
    certificates: Arc<CertStore>,
    ended: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error> {
    let limits = AcceptorLimits::of(Listener::Client);
    let incoming = Incoming::new(listener, Listener::Client, certificates, limits, Arc::default());
    Server::builder()
        .max_concurrent_streams(limits::CLIENT_STREAMS_MAX)
        .initial_stream_window_size(64 * 1024)
        .initial_connection_window_size(512 * 1024)
        .tcp_nodelay(true)
        .add_service(
            CryptoServer::new(Echo).max_decoding_message_size(limits::CLIENT_MESSAGE_BYTES_MAX),
        )
        .serve_with_incoming_shutdown(incoming, ended)
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_without_a_key_is_refused_and_a_real_one_has_real_sizes() {
        let refused = Echo.generate_data_key(Request::new(request(""))).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::InvalidArgument);
        let answer = Echo.generate_data_key(Request::new(request("k"))).await.unwrap().into_inner();
        assert_eq!((answer.ciphertext_blob.len(), answer.plaintext.len()), (98, 32));
        assert_eq!(answer.key_material_id.len(), 64);
    }
}
