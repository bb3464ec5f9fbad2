//! Headers on their way: what a caller may send, what a node is told, what comes
//! back.

use std::{net::IpAddr, time::Duration};

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{
        CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, DATE, HOST, TE, TRANSFER_ENCODING, UPGRADE,
    },
};
use rand::random;
use strongroom_base::{RequestId, limits};
use strongroom_net::{PeerIdentity, Role};
use tonic::Status;

use crate::errors;

/// Metadata entry of the request id.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Begin of the entries that only a front may write.
const FORWARDED: &str = "strongroom-forwarded-";
const FORWARDED_FOR: HeaderName = HeaderName::from_static("strongroom-forwarded-for");
const FORWARDED_IDENTITY: HeaderName = HeaderName::from_static("strongroom-forwarded-identity");
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
/// What is of one connection (RFC 9110, section 7.6.1), and what each side writes
/// itself.
const OF_ONE_HOP: [HeaderName; 11] = [
    CONNECTION,
    TRANSFER_ENCODING,
    UPGRADE,
    TE,
    HOST,
    CONTENT_LENGTH,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("proxy-authenticate"),
    HeaderName::from_static("proxy-authorization"),
    HeaderName::from_static("trailer"),
];

/// The id under which a call is known: the caller's, or a fresh one.
///
/// # Errors
///
/// `INVALID_ARGUMENT` for one that is no UUID.
pub(crate) fn request_id(headers: &HeaderMap) -> Result<RequestId, Status> {
    match headers.get(REQUEST_ID) {
        None => Ok(RequestId::from_random(random())),
        Some(value) => value
            .to_str()
            .ok()
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| errors::invalid_argument("x-request-id", "must be a UUID")),
    }
}

/// # Errors
///
/// `PERMISSION_DENIED`, as at a node, for words that only a front may say.
pub(crate) fn refuse_forwarded(headers: &HeaderMap) -> Result<(), Status> {
    let forged = headers.keys().any(|name| name.as_str().starts_with(FORWARDED));
    if forged { Err(errors::forwarded_by_caller()) } else { Ok(()) }
}

/// True for gRPC (gRPC over HTTP/2, `Content-Type`).
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|text| text.starts_with("application/grpc"))
}

/// What goes to a node of `headers`, but for what each attempt adds.
///
/// The caller's own credentials (`authorization`) are among it, as they came.
/// Whoever shows an operator's, a node's or a front's certificate is nobody's
/// client: nothing is said of it.
pub(crate) fn forwarded(
    headers: &HeaderMap,
    source: IpAddr,
    identity: Option<&PeerIdentity>,
) -> HeaderMap {
    let mut forwarded = headers.clone();
    for name in OF_ONE_HOP.iter().chain([&GRPC_TIMEOUT, &REQUEST_ID]) {
        forwarded.remove(name);
    }
    forwarded.insert(TE, HeaderValue::from_static("trailers"));
    forwarded.insert(FORWARDED_FOR, ascii(&source.to_canonical().to_string()));
    if let Some(identity) = identity.filter(|identity| matches!(identity.role, Role::Client(_))) {
        forwarded.insert(FORWARDED_IDENTITY, ascii(&identity.to_string()));
    }
    forwarded
}

/// Adds what one attempt says: its id, and its time where it has one.
pub(crate) fn of_attempt(headers: &mut HeaderMap, id: RequestId, time: Option<Duration>) {
    headers.insert(REQUEST_ID, ascii(&id.to_string()));
    if let Some(time) = time {
        headers.insert(GRPC_TIMEOUT, ascii(&timeout(time)));
    }
}

/// Makes a node's headers those of the answer under `id`.
pub(crate) fn returned(headers: &mut HeaderMap, id: RequestId) {
    for name in OF_ONE_HOP.iter().chain([&DATE]) {
        headers.remove(name);
    }
    headers.insert(REQUEST_ID, ascii(&id.to_string()));
}

fn ascii(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("ids, addresses, URIs and digits are visible ASCII")
}

/// Time that a caller gave a call (`grpc-timeout`), bounded; `None` where it gave
/// none that can be read.
pub(crate) fn time_given(headers: &HeaderMap) -> Option<Duration> {
    let given = headers.get(GRPC_TIMEOUT)?.to_str().ok().and_then(parse_timeout)?;
    Some(given.min(Duration::from_millis(limits::DEADLINE_MAX_MS)))
}

/// `TimeoutValue TimeoutUnit`: at most eight digits, then one of `HMSmun`.
fn parse_timeout(text: &str) -> Option<Duration> {
    let split = text.len().checked_sub(1).filter(|at| text.is_char_boundary(*at))?;
    let (digits, unit) = text.split_at(split);
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let value: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(value * 3600),
        "M" => Duration::from_secs(value * 60),
        "S" => Duration::from_secs(value),
        "m" => Duration::from_millis(value),
        "u" => Duration::from_micros(value),
        "n" => Duration::from_nanos(value),
        _ => return None,
    })
}

/// `time` as a timeout of eight digits at most, rounded down.
fn timeout(time: Duration) -> String {
    let micros = time.as_micros();
    if micros < 100_000_000 { format!("{micros}u") } else { format!("{}m", time.as_millis()) }
}

#[cfg(test)]
mod tests {
    use strongroom_base::{ClusterId, NodeId};

    use super::*;

    fn headers(entries: &[(&'static str, &'static str)]) -> HeaderMap {
        entries
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn forged_words_of_a_front_are_refused_whatever_they_are() {
        for name in [
            "strongroom-forwarded-for",
            "strongroom-forwarded-identity",
            "strongroom-forwarded-new",
        ] {
            assert!(refuse_forwarded(&headers(&[(name, "x")])).is_err(), "{name}");
        }
        assert!(refuse_forwarded(&headers(&[("forwarded", "x")])).is_ok());
    }

    #[test]
    fn credentials_pass_and_what_is_of_one_hop_does_not() {
        let incoming = headers(&[
            ("authorization", "Bearer srt_x"),
            ("connection", "close"),
            ("te", "gzip"),
            ("grpc-timeout", "1S"),
            ("host", "front"),
            ("trace-bin", "AAAA"),
        ]);
        let out = forwarded(&incoming, "::ffff:192.0.2.1".parse().unwrap(), None);
        let expected = headers(&[
            ("authorization", "Bearer srt_x"),
            ("te", "trailers"),
            ("strongroom-forwarded-for", "192.0.2.1"),
            ("trace-bin", "AAAA"),
        ]);
        assert_eq!(out, expected);
    }

    #[test]
    fn only_a_client_is_spoken_for() {
        let cluster = ClusterId::from_random([1; 16]);
        let source = "192.0.2.1".parse().unwrap();
        let said = |role| {
            let identity = PeerIdentity { cluster, role };
            let out = forwarded(&HeaderMap::new(), source, Some(&identity));
            out.get(FORWARDED_IDENTITY).map(|uri| uri.to_str().unwrap().to_owned())
        };
        let uri = format!("strongroom://cluster/{cluster}/client/app");
        assert_eq!(said(Role::Client("app".to_owned())), Some(uri));
        for other in [
            Role::Operator("alice".to_owned()),
            Role::Front("edge".to_owned()),
            Role::Node(NodeId::new(1).unwrap()),
        ] {
            assert_eq!(said(other), None);
        }
    }

    #[test]
    fn a_malformed_timeout_is_no_timeout_and_a_long_one_is_bounded() {
        for text in ["", "S", "123456789S", "-1S", "1", "1x"] {
            assert_eq!(parse_timeout(text), None, "{text}");
        }
        let most = Duration::from_millis(limits::DEADLINE_MAX_MS);
        assert_eq!(time_given(&headers(&[("grpc-timeout", "99999999H")])), Some(most));
        assert_eq!(time_given(&headers(&[])), None);
    }

    #[test]
    fn a_timeout_is_written_as_it_is_read() {
        for time in [1, 999, 99_999_999, 100_000_000, 60_000_000_000].map(Duration::from_micros) {
            let text = timeout(time);
            assert!(text.len() <= 9, "{text}");
            let read = parse_timeout(&text).unwrap();
            assert!(read <= time && time - read < Duration::from_millis(1), "{text}");
        }
    }

    #[test]
    fn a_request_id_is_kept_or_drawn_and_never_anything_else() {
        let id = "0195f3a0-0000-4000-8000-000000000001";
        assert_eq!(request_id(&headers(&[("x-request-id", id)])).unwrap().to_string(), id);
        assert!(request_id(&headers(&[("x-request-id", "mine")])).is_err());
        let drawn = || request_id(&HeaderMap::new()).unwrap();
        assert_ne!(drawn(), drawn());
    }
}
