//! How connections to nodes are made: by this crate, or by its user.

use std::{fmt, future::Future, sync::Arc};

use futures::future::{BoxFuture, FutureExt as _};
use http::Uri;
use hyper::rt::{Read, Write};

use crate::{
    config::{Config, ConfigError},
    tls::{self, ConnectError},
};

/// What HTTP/2 is spoken on.
pub(crate) trait Io: Read + Write + Send + Unpin {}

impl<T: Read + Write + Send + Unpin> Io for T {}

/// A connection, however it was made.
pub(crate) type Stream = Box<dyn Io>;

type Dial = dyn Fn(Uri) -> BoxFuture<'static, Result<Stream, ConnectError>> + Send + Sync;

/// Makes connections in this crate's stead: for whoever shows and checks
/// certificates of its own, as a front does.
///
/// What it gives must be trusted: a node of the cluster, over TLS, that agreed
/// on HTTP/2.
#[derive(Clone)]
pub struct Dialer(Arc<Dial>);

impl Dialer {
    /// Calls `dial` with `https://host:port` for each connection.
    pub fn new<S, F>(dial: impl Fn(Uri) -> F + Send + Sync + 'static) -> Self
    where
        S: Read + Write + Send + Unpin + 'static,
        F: Future<Output = Result<S, ConnectError>> + Send + 'static,
    {
        Self(Arc::new(move |uri| {
            let dialled = dial(uri);
            async move { dialled.await.map(|stream| Box::new(stream) as Stream) }.boxed()
        }))
    }
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dialer")
    }
}

/// Bytes that a node may send before they are read (HTTP/2 flow control).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// In one stream.
    pub stream_bytes: u32,
    /// In all streams of a connection together.
    pub connection_bytes: u32,
}

/// Dials nodes. Clones share what there is to share.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    how: How,
    windows: Option<Windows>,
}

#[derive(Clone, Debug)]
enum How {
    Own(tls::Connector),
    Given(Dialer),
}

impl Connector {
    pub(crate) fn new(config: &Config) -> Result<Self, ConfigError> {
        let how = match &config.dialer {
            Some(dialer) => How::Given(dialer.clone()),
            None => How::Own(tls::Connector::new(config)?),
        };
        Ok(Self { how, windows: config.windows })
    }

    /// The same, for what no front may see. Whoever dials by itself sees to that.
    pub(crate) fn nodes_only(self) -> Self {
        let how = match self.how {
            How::Own(own) => How::Own(own.nodes_only()),
            given @ How::Given(_) => given,
        };
        Self { how, ..self }
    }

    /// Windows of what is dialled, where they are not the library's.
    pub(crate) fn windows(&self) -> Option<Windows> {
        self.windows
    }

    pub(crate) async fn connect(self, uri: Uri) -> Result<Stream, ConnectError> {
        match self.how {
            How::Own(own) => own.connect(uri).await.map(|stream| Box::new(stream) as Stream),
            How::Given(dialer) => (dialer.0)(uri).await,
        }
    }
}
