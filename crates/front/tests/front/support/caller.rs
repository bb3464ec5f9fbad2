//! A caller that speaks HTTP/2 and bytes, and decodes no message.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _};
use strongroom_front::Front;
use strongroom_net::IssuedFiles;
use tokio::{net::TcpStream, task::AbortHandle};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::Pki;

/// One connection to a front. Clones share it.
#[derive(Clone)]
pub(crate) struct Caller {
    sender: http2::SendRequest<Full<Bytes>>,
    connection: AbortHandle,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) http: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) status: Option<Status>,
}

impl Reply {
    pub(crate) fn code(&self) -> Code {
        self.status.as_ref().map_or(Code::Unknown, Status::code)
    }

    /// The reason, and its metadata.
    pub(crate) fn reason(&self) -> String {
        self.info().map(|info| info.reason).unwrap_or_default()
    }

    pub(crate) fn info(&self) -> Option<tonic_types::ErrorInfo> {
        self.status.as_ref()?.get_details_error_info()
    }

    pub(crate) fn message(&self) -> &str {
        self.status.as_ref().map(Status::message).unwrap_or_default()
    }

    /// The message of an answer, without its prefix.
    pub(crate) fn payload(&self) -> &[u8] {
        self.body.get(5..).unwrap_or_default()
    }

    pub(crate) fn request_id(&self) -> String {
        self.headers["x-request-id"].to_str().unwrap().to_owned()
    }
}

pub(crate) fn framed(payload: &[u8]) -> Bytes {
    let mut bytes = vec![0];
    bytes.extend(u32::try_from(payload.len()).unwrap().to_be_bytes());
    bytes.extend(payload);
    bytes.into()
}

/// A TLS connection to a front, on which nothing was said.
pub(crate) async fn tls(
    pki: &Pki,
    front: &Front,
    identity: Option<&IssuedFiles>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(pki.ca_path()).unwrap()).unwrap();
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(files) => {
            let chain: Result<Vec<_>, _> =
                CertificateDer::pem_file_iter(&files.cert).unwrap().collect();
            let key = PrivateKeyDer::from_pem_file(&files.key).unwrap();
            builder.with_client_auth_cert(chain.unwrap(), key).unwrap()
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    let tcp = TcpStream::connect(front.client_address()).await?;
    tcp.set_nodelay(true)?;
    TlsConnector::from(Arc::new(config))
        .connect(ServerName::try_from("localhost").unwrap(), tcp)
        .await
}

impl Caller {
    /// Connects to `front`, with a certificate where one is given.
    pub(crate) async fn connect(pki: &Pki, front: &Front, identity: Option<&IssuedFiles>) -> Self {
        Self::with(pki, front, identity, |_| {}).await
    }

    /// As [`Caller::connect`], with HTTP/2 as `change` likes it.
    pub(crate) async fn with(
        pki: &Pki,
        front: &Front,
        identity: Option<&IssuedFiles>,
        change: impl FnOnce(&mut http2::Builder<TokioExecutor>),
    ) -> Self {
        let tls = tls(pki, front, identity).await.unwrap();
        let mut builder = http2::Builder::new(TokioExecutor::new());
        change(&mut builder);
        let (sender, connection) = builder.handshake(TokioIo::new(tls)).await.unwrap();
        let connection = tokio::spawn(async move { drop(connection.await) }).abort_handle();
        Self { sender, connection }
    }

    /// True where the front ended the connection.
    pub(crate) fn is_closed(&self) -> bool {
        self.connection.is_finished()
    }

    /// Sends one request; `path` without its leading `/strongroom.v1.`.
    pub(crate) async fn send(
        &self,
        path: &str,
        headers: &[(&'static str, &str)],
        body: Bytes,
    ) -> Result<Response<Incoming>, hyper::Error> {
        let path =
            if path.starts_with('/') { path.to_owned() } else { format!("/strongroom.v1.{path}") };
        let mut request =
            Request::post(format!("https://localhost{path}")).header("te", "trailers");
        if !headers.iter().any(|(name, _)| *name == "content-type") {
            request = request.header("content-type", "application/grpc");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut sender = self.sender.clone();
        sender.ready().await?;
        sender.send_request(request.body(Full::new(body)).unwrap()).await
    }

    /// Makes a call with one message and reads the answer to its end.
    pub(crate) async fn try_call(
        &self,
        path: &str,
        headers: &[(&'static str, &str)],
        body: Bytes,
    ) -> Result<Reply, hyper::Error> {
        let (parts, body) = self.send(path, headers, body).await?.into_parts();
        let whole = body.collect().await?;
        let trailers = whole.trailers().cloned().unwrap_or_default();
        let status =
            Status::from_header_map(&trailers).or_else(|| Status::from_header_map(&parts.headers));
        Ok(Reply { http: parts.status, headers: parts.headers, body: whole.to_bytes(), status })
    }

    pub(crate) async fn call_with(
        &self,
        path: &str,
        headers: &[(&'static str, &str)],
        payload: &[u8],
    ) -> Reply {
        self.try_call(path, headers, framed(payload)).await.unwrap()
    }

    pub(crate) async fn call(&self, path: &str, payload: &[u8]) -> Reply {
        self.call_with(path, &[], payload).await
    }
}
