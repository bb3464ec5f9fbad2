//! One caller of the load.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use rand::{Rng as _, RngExt as _, SeedableRng as _, rngs::StdRng};
use sha2::{Digest as _, Sha256};
use strongroom_wire::v1::{DataKeySpec, DecryptRequest, EncryptRequest, GenerateDataKeyRequest};
use tokio::sync::watch;
use tonic::Code;
use uuid::Uuid;

use super::{Attempt, Operation, Outcome, Shared};
use crate::caller::{Caller, Failure, StatusExt as _, request_with_id};

/// Pause after a failure, so that a node that is down isn't asked without end.
const BACKOFF: Duration = Duration::from_millis(20);
/// Results of its own that a caller decrypts again.
const KEPT: usize = 256;

pub(super) struct Worker {
    shared: Arc<Shared>,
    nodes: Vec<Caller>,
    key_id: String,
    /// Node that is called.
    node: usize,
    kept: Vec<(Vec<u8>, [u8; 32], Uuid)>,
    random: StdRng,
}

impl Worker {
    pub(super) fn new(
        shared: Arc<Shared>,
        nodes: Vec<Caller>,
        key_id: String,
        position: usize,
    ) -> Self {
        let node = position % nodes.len();
        Self {
            shared,
            nodes,
            key_id,
            node,
            kept: Vec::new(),
            random: StdRng::from_rng(&mut rand::rng()),
        }
    }

    pub(super) async fn run(mut self, stop: watch::Receiver<bool>) {
        while !*stop.borrow() && self.shared.wrong.lock().is_none() {
            let operation = match self.random.random_range(0..10) {
                0..6 => Operation::GenerateDataKey,
                6..8 => Operation::Encrypt,
                _ if self.kept.is_empty() => Operation::GenerateDataKey,
                _ => Operation::Decrypt,
            };
            let request = Uuid::from_bytes(self.random.random());
            let called = self.shared.started.elapsed();
            let caller = self.nodes[self.node].clone();
            let result = match operation {
                Operation::GenerateDataKey => self.generate(&caller, request).await,
                Operation::Encrypt => self.encrypt(&caller, request).await,
                Operation::Decrypt => self.decrypt(&caller, request).await,
            };
            let answered = self.shared.started.elapsed();
            let failed = result.is_err();
            let outcome = result.unwrap_or_else(|status| Outcome::Failed(status.failure()));
            let retry = match &outcome {
                Outcome::Failed(failure) => moves_on(failure),
                Outcome::Released { .. } => false,
            };
            let node = caller.node;
            self.shared.record(Attempt { request, operation, node, called, answered, outcome });
            if retry {
                self.node = (self.node + 1) % self.nodes.len();
            }
            if failed {
                tokio::time::sleep(BACKOFF).await;
            }
        }
    }

    async fn generate(&mut self, caller: &Caller, id: Uuid) -> Result<Outcome, tonic::Status> {
        let message = GenerateDataKeyRequest {
            key_id: self.key_id.clone(),
            encryption_context: context(id),
            key_spec: DataKeySpec::Aes256.into(),
            number_of_bytes: 0,
        };
        let response = caller.crypto().generate_data_key(request_with_id(id, message)).await?;
        let response = response.into_inner();
        if response.plaintext.len() != 32 {
            self.wrong(format!("request {id}: a data key of {} bytes", response.plaintext.len()));
        }
        Ok(self.keep(response.ciphertext_blob, digest(&response.plaintext), id))
    }

    async fn encrypt(&mut self, caller: &Caller, id: Uuid) -> Result<Outcome, tonic::Status> {
        let mut plaintext = vec![0; self.random.random_range(1..512)];
        self.random.fill_bytes(&mut plaintext);
        let digest = digest(&plaintext);
        let message = EncryptRequest {
            key_id: self.key_id.clone(),
            plaintext,
            encryption_context: context(id),
        };
        let response = caller.crypto().encrypt(request_with_id(id, message)).await?;
        Ok(self.keep(response.into_inner().ciphertext_blob, digest, id))
    }

    async fn decrypt(&mut self, caller: &Caller, id: Uuid) -> Result<Outcome, tonic::Status> {
        let (blob, expected, made_by) =
            self.kept[self.random.random_range(0..self.kept.len())].clone();
        let message = DecryptRequest {
            ciphertext_blob: blob.clone(),
            encryption_context: context(made_by),
            key_id: String::new(),
        };
        let response = caller.crypto().decrypt(request_with_id(id, message)).await?;
        let digest = digest(&response.into_inner().plaintext);
        if digest != expected {
            self.wrong(format!("request {id}: the blob of request {made_by} decrypts wrongly"));
        }
        Ok(Outcome::Released { blob, digest, context: made_by })
    }

    fn keep(&mut self, blob: Vec<u8>, digest: [u8; 32], context: Uuid) -> Outcome {
        let entry = (blob.clone(), digest, context);
        if self.kept.len() < KEPT {
            self.kept.push(entry);
        } else {
            self.kept[self.random.random_range(0..KEPT)] = entry;
        }
        Outcome::Released { blob, digest, context }
    }

    fn wrong(&self, what: String) {
        self.shared.wrong.lock().get_or_insert(what);
    }
}

/// Whether the next node may do better.
fn moves_on(failure: &Failure) -> bool {
    failure.may_be_recorded() || failure.code == Code::Unavailable || failure.reason == "VERIFYING"
}

/// The encryption context of what request `id` made.
pub(super) fn context(id: Uuid) -> BTreeMap<String, String> {
    BTreeMap::from([("request".to_owned(), id.to_string())])
}

pub(super) fn digest(plaintext: &[u8]) -> [u8; 32] {
    Sha256::digest(plaintext).into()
}
