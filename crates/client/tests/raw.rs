//! A forwarder of bytes on the balancing of this crate: what a front is.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::time::Duration;

use http::uri::PathAndQuery;
use strongroom_client::{
    Config,
    balance::{Attempt, Plan, Pool, Repeat},
};
use support::{Answer, CLUSTER, Ca, Server};
use tonic::{
    Request, Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

/// Messages are their bytes.
#[derive(Clone, Copy, Default)]
struct Bytes;

impl Codec for Bytes {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        bytes::BufMut::put_slice(to, &item);
        Ok(())
    }
}

impl Decoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let mut item = vec![0; bytes::Buf::remaining(from)];
        bytes::Buf::copy_to_slice(from, &mut item);
        Ok(Some(item))
    }
}

async fn forward(pool: &Pool, path: &'static str, message: &[u8]) -> Result<Vec<u8>, Status> {
    let plan = Plan::new(Repeat::of_path(path), Duration::from_secs(10));
    let send = |attempt: Attempt| async move {
        let mut grpc = tonic::client::Grpc::new(attempt.connection);
        let mut request = Request::new(message.to_vec());
        request.set_timeout(attempt.time);
        let metadata = request.metadata_mut();
        metadata.insert("x-request-id", attempt.request_id.to_string().parse().unwrap());
        grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
        let path = PathAndQuery::from_static(path);
        grpc.unary(request, path, Bytes).await.map(tonic::Response::into_inner)
    };
    pool.call(&plan, send).await.map_err(|error| {
        error.status().cloned().unwrap_or_else(|| Status::unavailable(error.to_string()))
    })
}

#[tokio::test]
async fn bytes_are_forwarded_past_a_sealed_node_and_a_refusal_comes_back_as_it_was() {
    let ca = Ca::new();
    let sealed = Server::node(&ca, CLUSTER, vec![]).await;
    sealed.set_answer(Some(Answer::sealed()));
    let good = Server::node(&ca, CLUSTER, vec![]).await;
    let config = Config::new([&sealed.address, &good.address], ca.pem()).unwrap();
    let pool = Pool::new(&config).unwrap();
    while sealed.calls() == 0 {
        let path = "/strongroom.v1.Keys/DescribeKey";
        assert_eq!(forward(&pool, path, b"\x0a\x01k").await.unwrap(), Vec::<u8>::new());
    }
    let denied = Answer::Refuse(tonic::Code::PermissionDenied, "ACCESS_DENIED", None);
    good.set_answer(Some(denied));
    let status = forward(&pool, "/strongroom.v1.Keys/CreateKey", b"").await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::PermissionDenied);
    assert!(!status.details().is_empty());
}
