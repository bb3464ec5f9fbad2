use super::*;

fn header() -> Header {
    let pairs = [("tenant".to_owned(), "42".to_owned())];
    let key = |id: &str| WrappedKey { key_id: id.to_owned(), blob: vec![7; 98] };
    Header {
        suite: EnvelopeSuite::Aes256GcmKbkdfSha256,
        chunk_bytes: 4096,
        message_id: [9; 32],
        context: Context::new(pairs).unwrap(),
        keys: vec![key("one"), key("two")],
    }
}

/// The encoded header with `change` made at `offset`.
fn changed(offset: usize, change: &[u8]) -> Vec<u8> {
    let mut bytes = header().encode().unwrap();
    bytes[offset..offset + change.len()].copy_from_slice(change);
    bytes
}

fn refusal(bytes: &[u8]) -> HeaderError {
    Header::decode(bytes).unwrap_err()
}

#[test]
fn what_does_not_begin_as_an_envelope_is_named_so() {
    assert_eq!(rest_bytes(b""), Err(HeaderError::NotEnvelope));
    assert_eq!(rest_bytes(b"age-encryption.o"), Err(HeaderError::NotEnvelope));
    assert_eq!(rest_bytes(b"\x81SRENW"), Err(HeaderError::NotEnvelope));
    assert_eq!(rest_bytes(b"\x81SRE"), Err(HeaderError::Truncated));
    assert_eq!(rest_bytes(b"\x81SRENV\0\x01\0\0\0\0\0\0\0"), Err(HeaderError::Truncated));
}

#[test]
fn another_format_or_suite_is_refused_by_name() {
    let format = HeaderError::UnsupportedFormat { format: 0x82 };
    assert_eq!(refusal(&changed(0, &[0x82])), format);
    assert_eq!(refusal(&changed(6, &[0, 2])), HeaderError::UnsupportedSuite { suite: 2 });
}

#[test]
fn bounds_are_checked_before_anything_is_read() {
    for bytes in [0, 85, 144 * 1024 + 1, u32::MAX] {
        let prefix = &changed(8, &bytes.to_be_bytes())[..PREFIX_BYTES];
        assert_eq!(rest_bytes(prefix), Err(HeaderError::HeaderBytes { bytes }));
    }
    for bytes in [0, 1023, 1024 * 1024 + 1, u32::MAX] {
        let prefix = &changed(12, &bytes.to_be_bytes())[..PREFIX_BYTES];
        assert_eq!(rest_bytes(prefix), Err(HeaderError::ChunkBytes { bytes }));
    }
    let count_at = 52 + header().context.canonical_bytes().len();
    assert_eq!(refusal(&changed(count_at, &[0, 0])), HeaderError::KeyCount { count: 0 });
    assert_eq!(refusal(&changed(count_at, &[0, 17])), HeaderError::KeyCount { count: 17 });
    assert_eq!(refusal(&changed(48, &[0xff; 4])), HeaderError::Malformed);
}

#[test]
fn parts_that_do_not_fill_the_header_are_refused() {
    let bytes = header().encode().unwrap();
    assert_eq!(refusal(&bytes[..bytes.len() - 1]), HeaderError::Malformed);
    assert_eq!(refusal(&[&bytes[..], &[0]].concat()), HeaderError::Malformed);
    // One byte more, and the length that says so.
    let mut longer = [&bytes[..], &[0]].concat();
    let len = u32::try_from(longer.len() + ENVELOPE_COMMITMENT_BYTES).unwrap();
    longer[8..12].copy_from_slice(&len.to_be_bytes());
    assert_eq!(refusal(&longer), HeaderError::Malformed);
}

#[test]
fn a_wrapped_key_without_id_or_blob_is_neither_written_nor_read() {
    for (key_id, blob) in [("", 98), ("one", 0), ("one", BLOB_BYTES_MAX + 1)] {
        let mut header = header();
        header.keys[0] = WrappedKey { key_id: key_id.to_owned(), blob: vec![7; blob] };
        assert_eq!(header.encode(), Err(HeaderError::WrappedKey));
    }
    let id_at = 52 + header().context.canonical_bytes().len() + 4;
    assert_eq!(refusal(&changed(id_at, &[0xff])), HeaderError::WrappedKey);
}

#[test]
fn the_largest_header_is_written_and_read() {
    let key = WrappedKey { key_id: "k".repeat(KEY_ID_CHARS_MAX), blob: vec![7; BLOB_BYTES_MAX] };
    let pair = ("k".to_owned(), "v".repeat(CONTEXT_BYTES_MAX - 13));
    let mut header = header();
    header.context = Context::new([pair]).unwrap();
    header.keys = vec![key; ENVELOPE_KEYS_MAX];
    let bytes = header.encode().unwrap();
    assert_eq!(bytes.len() + ENVELOPE_COMMITMENT_BYTES, 139_414);
    assert_eq!(rest_bytes(&bytes[..PREFIX_BYTES]), Ok(139_414 - PREFIX_BYTES));
    assert_eq!(Header::decode(&bytes), Ok(header));
}
