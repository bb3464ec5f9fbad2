//! Messages as bytes: a request read whole, within its bounds.
//!
//! Of a message only its prefix is looked at (gRPC over HTTP/2,
//! `Length-Prefixed-Message`): one byte that tells whether it is compressed, then
//! four of its length, big endian. What follows passes through.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt as _;
use tonic::Status;

use crate::{
    budget::{Budget, Share},
    errors,
};

/// Length of the prefix.
const PREFIX_BYTES: usize = 5;
/// First buffer of a message: most fit.
const FIRST_BYTES: usize = 1024;

/// One request message, prefix included, counted until dropped.
#[derive(Debug)]
pub(crate) struct Message {
    bytes: Bytes,
    _held: [Share; 2],
}

impl Message {
    /// The bytes, prefix included. Clones share them.
    pub(crate) fn bytes(&self) -> Bytes {
        self.bytes.clone()
    }
}

/// The message without its prefix, where it is not compressed.
pub(crate) fn plain(message: &[u8]) -> Option<&[u8]> {
    match message.split_at_checked(PREFIX_BYTES) {
        Some(([0, ..], rest)) => Some(rest),
        _ => None,
    }
}

/// Length that a prefix announces, itself included.
fn announced(prefix: &[u8]) -> Option<usize> {
    let length = prefix.get(1..PREFIX_BYTES)?.try_into().ok().map(u32::from_be_bytes)?;
    Some(PREFIX_BYTES.saturating_add(length as usize))
}

/// Reads one message of at most `bytes_max` (without its prefix) to its end. What
/// it holds meanwhile counts against both budgets; nothing is held for what is
/// merely announced.
///
/// # Errors
///
/// The refusal: too large, no room, or not exactly one message.
pub(crate) async fn read<B>(
    mut body: B,
    bytes_max: usize,
    budgets: [&Arc<Budget>; 2],
) -> Result<Message, Status>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut held = budgets.map(Budget::nothing);
    let mut buffer = BytesMut::new();
    while let Some(frame) = body.frame().await {
        // The connection or the stream broke: nobody reads the answer.
        let Ok(data) = frame.map_err(|_| errors::malformed_message())?.into_data() else { break };
        let length = buffer.len() + data.len();
        if length > bytes_max + PREFIX_BYTES {
            return Err(errors::message_too_large(bytes_max));
        }
        if length > buffer.capacity() {
            let capacity = length.max(buffer.capacity() * 2).max(FIRST_BYTES);
            for share in &mut held {
                if !share.grow(capacity - buffer.capacity()) {
                    return Err(errors::overloaded("request bytes"));
                }
            }
            // Copied: the data that comes in shares its memory with the frames
            // around it, so that one byte may hold many.
            let mut larger = BytesMut::with_capacity(capacity);
            larger.extend_from_slice(&buffer);
            buffer = larger;
        }
        buffer.extend_from_slice(&data);
        match announced(&buffer) {
            Some(whole) if whole > bytes_max + PREFIX_BYTES => {
                return Err(errors::message_too_large(bytes_max));
            }
            Some(whole) if buffer.len() > whole => return Err(errors::malformed_message()),
            _ => {}
        }
    }
    if announced(&buffer) != Some(buffer.len()) {
        return Err(errors::malformed_message());
    }
    Ok(Message { bytes: buffer.freeze(), _held: held })
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body::Frame;
    use http_body_util::StreamBody;
    use tonic_types::StatusExt as _;

    use super::*;

    fn framed(payload: usize) -> Vec<u8> {
        let mut bytes = vec![0];
        bytes.extend(u32::try_from(payload).unwrap().to_be_bytes());
        bytes.resize(PREFIX_BYTES + payload, 7);
        bytes
    }

    async fn read_in_parts(
        bytes: &[u8],
        part: usize,
        budgets: [&Arc<Budget>; 2],
    ) -> Result<Message, String> {
        let frames: Vec<Result<Frame<Bytes>, Infallible>> =
            bytes.chunks(part).map(|part| Ok(Frame::data(Bytes::copy_from_slice(part)))).collect();
        let body = StreamBody::new(tokio_stream::iter(frames));
        read(body, 5000, budgets).await.map_err(|status| {
            status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
        })
    }

    #[tokio::test]
    async fn what_is_not_one_whole_message_is_refused() {
        let budget = Budget::new(usize::MAX);
        let whole = framed(100);
        let twice = [whole.as_slice(), &whole].concat();
        for wrong in [&[][..], &whole[..3], &whole[..50], &twice] {
            let refused = read_in_parts(wrong, 16, [&budget, &budget]).await;
            assert_eq!(refused.unwrap_err(), "MALFORMED_MESSAGE");
        }
        assert_eq!(budget.held(), 0);
    }

    #[tokio::test]
    async fn a_message_over_its_bound_is_refused_when_it_is_announced() {
        let budget = Budget::new(usize::MAX);
        let large = framed(5001);
        let refused = read_in_parts(&large[..PREFIX_BYTES], 16, [&budget, &budget]).await;
        assert_eq!(refused.unwrap_err(), "MESSAGE_TOO_LARGE");
    }

    #[tokio::test]
    async fn a_message_counts_until_it_is_dropped_and_is_refused_without_room() {
        let (all, own) = (Budget::new(10_000), Budget::new(6000));
        for part in [1, 7, 10_000] {
            let message = read_in_parts(&framed(4000), part, [&all, &own]).await.unwrap();
            assert_eq!(message.bytes(), framed(4000));
            assert!((4000..10_000).contains(&all.held()));
            let refused = read_in_parts(&framed(4000), part, [&all, &own]).await;
            assert_eq!(refused.unwrap_err(), "OVERLOADED");
        }
        assert_eq!((all.held(), own.held()), (0, 0));
    }

    #[test]
    fn a_compressed_message_is_not_looked_into() {
        assert_eq!(plain(&[0, 0, 0, 0, 1, 9]), Some(&[9][..]));
        assert_eq!(plain(&[1, 0, 0, 0, 1, 9]), None);
        assert_eq!(plain(&[0, 0]), None);
    }
}
