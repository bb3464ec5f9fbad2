//! A scripted node: real TLS and gRPC, answers from a list, health as told.

#![allow(dead_code, reason = "each test program uses a part")]

mod gate;
pub(crate) mod load;

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use strongroom_client::{
    Code,
    proto::{
        self,
        audit_server::{Audit, AuditServer},
        crypto_server::{Crypto, CryptoServer},
        keys_server::{Keys, KeysServer},
        seal_server::{Seal, SealServer},
    },
    reason,
};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};
use tokio_stream::{
    StreamExt as _,
    wrappers::{ReceiverStream, TcpListenerStream},
};
use tonic::{
    Request, Response, Status,
    metadata::MetadataMap,
    transport::{self, Identity, ServerTlsConfig},
};
use tonic_health::{ServingStatus, server::HealthReporter};
use tonic_types::{ErrorDetails, StatusExt as _};

use gate::{Gate, Gated, Mode};

pub(crate) const CLUSTER: &str = "5b0c1d9e-0a1b-4c2d-8e3f-405162738495";

/// A CA with its key.
pub(crate) struct Ca {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Ca {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    fn issue(&self, uris: &[String]) -> Identity {
        let mut params = CertificateParams::default();
        let uri = |uri: &String| SanType::URI(uri.as_str().try_into().unwrap());
        params.subject_alt_names = uris.iter().map(uri).collect();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity::from_pem(certificate.pem(), key.serialize_pem())
    }
}

/// How a scripted node answers a call on a key; it succeeds when none is left.
#[derive(Clone)]
pub(crate) enum Answer {
    Refuse(Code, &'static str, Option<Duration>),
    Silence,
}

impl Answer {
    pub(crate) fn sealed() -> Self {
        Self::Refuse(Code::FailedPrecondition, reason::SEALED, None)
    }
}

#[derive(Default)]
struct State {
    answers: VecDeque<Answer>,
    /// When no answer is left; `None`: success.
    always: Option<Answer>,
    delay: Duration,
    seen: Vec<MetadataMap>,
}

#[derive(Clone, Default)]
struct Script(Arc<Mutex<State>>);

impl Script {
    async fn answer<M, A: Default>(&self, request: Request<M>) -> Result<Response<A>, Status> {
        let (answer, delay) = {
            let mut state = self.0.lock().unwrap();
            state.seen.push(request.metadata().clone());
            (state.answers.pop_front().or_else(|| state.always.clone()), state.delay)
        };
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        match answer {
            None => Ok(Response::new(A::default())),
            Some(Answer::Silence) => std::future::pending().await,
            Some(Answer::Refuse(code, reason, retry)) => {
                let mut details = ErrorDetails::new();
                details.set_error_info(reason, "strongroom", [("k".to_owned(), "v".to_owned())]);
                if retry.is_some() {
                    details.set_retry_info(retry);
                }
                Err(Status::with_error_details(code, "scripted", details))
            }
        }
    }
}

/// A scripted node; gone when dropped.
pub(crate) struct Server {
    pub(crate) address: String,
    listen: SocketAddr,
    script: Script,
    gate: Gate,
    connections: Arc<AtomicUsize>,
    health: HealthReporter,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn node(ca: &Ca, cluster: &str, answers: Vec<Answer>) -> Self {
        Self::start(ca, &[format!("strongroom://cluster/{cluster}/node/1")], answers).await
    }

    pub(crate) async fn start(ca: &Ca, uris: &[String], answers: Vec<Answer>) -> Self {
        Self::listen("127.0.0.1:0".parse().unwrap(), ca.issue(uris), answers).await
    }

    /// Ends this server, connections too.
    pub(crate) async fn kill(&mut self) {
        self.stop.take();
        self.gate.set(Mode::Broken);
        self.task.abort();
        let _ = (&mut self.task).await;
    }

    /// Ends this server and starts another at the same address.
    pub(crate) async fn restart(mut self, ca: &Ca) -> Self {
        self.kill().await;
        Self::at(self.listen, ca).await
    }

    /// A node at this address.
    pub(crate) async fn at(listen: SocketAddr, ca: &Ca) -> Self {
        let identity = ca.issue(&[format!("strongroom://cluster/{CLUSTER}/node/1")]);
        Self::listen(listen, identity, vec![]).await
    }

    async fn listen(at: SocketAddr, identity: Identity, answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind(at).await.unwrap();
        let listen = listener.local_addr().unwrap();
        let script = Script::default();
        script.0.lock().unwrap().answers = answers.into();
        let (stop, stopped) = oneshot::channel::<()>();
        let (health, health_service) = tonic_health::server::health_reporter();
        let router = transport::Server::builder()
            .tls_config(ServerTlsConfig::new().identity(identity))
            .unwrap()
            .add_service(health_service)
            .add_service(KeysServer::new(script.clone()))
            .add_service(CryptoServer::new(script.clone()))
            .add_service(SealServer::new(script.clone()))
            .add_service(AuditServer::new(script.clone()));
        let gate = Gate::default();
        let gated = gate.clone();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        let task = tokio::spawn(async move {
            let incoming = TcpListenerStream::new(listener).map(move |tcp| {
                counted.fetch_add(1, Ordering::Relaxed);
                tcp.map(|tcp| Gated { tcp, gate: gated.clone() })
            });
            let stop = async { drop(stopped.await) };
            router.serve_with_incoming_shutdown(incoming, stop).await.unwrap();
        });
        let address = listen.to_string();
        Self { address, listen, script, gate, connections, health, stop: Some(stop), task }
    }

    pub(crate) fn listens_at(&self) -> SocketAddr {
        self.listen
    }

    /// Connections that were made so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// As SIGSTOP does: connections stay, nothing is answered.
    pub(crate) fn pause(&self) {
        self.gate.set(Mode::Paused);
    }

    pub(crate) fn resume(&self) {
        self.gate.set(Mode::Open);
    }

    /// What the health service says, and nothing else.
    pub(crate) async fn set_serving(&self, serving: bool) {
        let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        self.health.set_service_status("", status).await;
    }

    /// Each call takes this long.
    pub(crate) fn set_delay(&self, delay: Duration) {
        self.script.0.lock().unwrap().delay = delay;
    }

    /// From now on the answer to each call; `None`: success.
    pub(crate) fn set_answer(&self, answer: Option<Answer>) {
        self.script.0.lock().unwrap().always = answer;
    }

    /// Nothing is left of what the next calls were to be answered.
    pub(crate) fn forget_answers(&self) {
        self.script.0.lock().unwrap().answers.clear();
    }

    /// The next calls are answered so.
    pub(crate) fn push_answer(&self, answer: Answer) {
        self.script.0.lock().unwrap().answers.push_back(answer);
    }

    /// Calls on keys that arrived.
    pub(crate) fn calls(&self) -> usize {
        self.script.0.lock().unwrap().seen.len()
    }

    pub(crate) fn request_ids(&self) -> Vec<String> {
        let id = |metadata: &MetadataMap| {
            metadata.get("x-request-id").unwrap().to_str().unwrap().to_owned()
        };
        self.script.0.lock().unwrap().seen.iter().map(id).collect()
    }

    pub(crate) fn last_metadata(&self) -> MetadataMap {
        self.script.0.lock().unwrap().seen.last().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.gate.set(Mode::Broken);
        self.task.abort();
    }
}

/// An address at which nobody listens.
pub(crate) async fn closed_port() -> String {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string()
}

macro_rules! scripted {
    ($service:ident { $($name:ident($request:ident) -> $answer:ident;)+ }) => {
        #[tonic::async_trait]
        impl $service for Script {
            $(
                async fn $name(
                    &self,
                    request: Request<proto::$request>,
                ) -> Result<Response<proto::$answer>, Status> {
                    self.answer(request).await
                }
            )+
        }
    };
}

scripted!(Keys {
    create_key(CreateKeyRequest) -> CreateKeyResponse;
    describe_key(DescribeKeyRequest) -> DescribeKeyResponse;
    list_keys(ListKeysRequest) -> ListKeysResponse;
    enable_key(EnableKeyRequest) -> EnableKeyResponse;
    disable_key(DisableKeyRequest) -> DisableKeyResponse;
});

scripted!(Crypto {
    generate_data_key(GenerateDataKeyRequest) -> GenerateDataKeyResponse;
    generate_data_key_without_plaintext(GenerateDataKeyWithoutPlaintextRequest)
        -> GenerateDataKeyWithoutPlaintextResponse;
    generate_data_keys(GenerateDataKeysRequest) -> GenerateDataKeysResponse;
    encrypt(EncryptRequest) -> EncryptResponse;
    decrypt(DecryptRequest) -> DecryptResponse;
    decrypt_batch(DecryptBatchRequest) -> DecryptBatchResponse;
    re_encrypt(ReEncryptRequest) -> ReEncryptResponse;
    generate_random(GenerateRandomRequest) -> GenerateRandomResponse;
});

scripted!(Seal {
    init(InitRequest) -> InitResponse;
    submit_share(SubmitShareRequest) -> SubmitShareResponse;
    reset_unseal(ResetUnsealRequest) -> ResetUnsealResponse;
    seal_node(SealNodeRequest) -> SealNodeResponse;
    seal_status(SealStatusRequest) -> SealStatusResponse;
});

#[tonic::async_trait]
impl Audit for Script {
    async fn list_events(
        &self,
        request: Request<proto::ListEventsRequest>,
    ) -> Result<Response<proto::ListEventsResponse>, Status> {
        self.answer(request).await
    }

    type TailEventsStream = ReceiverStream<Result<proto::TailEventsResponse, Status>>;

    /// Two events from the sequence number asked for, then the end.
    async fn tail_events(
        &self,
        request: Request<proto::TailEventsRequest>,
    ) -> Result<Response<Self::TailEventsStream>, Status> {
        let first = request.into_inner().from_sequence;
        let (sender, receiver) = tokio::sync::mpsc::channel(2);
        for sequence in [first, first + 1] {
            let event = proto::Event { sequence, ..Default::default() };
            let part =
                proto::TailEventsResponse { events: vec![event], next_sequence: sequence + 1 };
            sender.send(Ok(part)).await.unwrap();
        }
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}
