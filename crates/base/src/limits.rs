//! Every bound of the product, each with its reason.
//!
//! A bound that callers see is AWS KMS's where AWS KMS has one. All sizes are
//! in bytes, all times in milliseconds, unless the name says otherwise.

/// Largest plaintext of `Encrypt` (AWS KMS API, `Encrypt`).
pub const PLAINTEXT_BYTES_MAX: usize = 4096;
/// Largest ciphertext blob accepted by `Decrypt` (AWS KMS API, `Decrypt`).
pub const BLOB_BYTES_MAX: usize = 6144;
/// Largest `number_of_bytes` of data keys and of `GenerateRandom` (AWS KMS API).
pub const RANDOM_BYTES_MAX: usize = 1024;
/// Most pairs of an encryption context; AWS bounds the total size only.
pub const CONTEXT_PAIRS_MAX: usize = 64;
/// Largest canonical encryption context (AWS KMS: 8,192 for its JSON form).
pub const CONTEXT_BYTES_MAX: usize = 8192;
/// Longest description of a key (AWS KMS API, `CreateKey`).
pub const DESCRIPTION_CHARS_MAX: usize = 8192;
/// Longest text that names a key: id or ARN (AWS KMS API, `KeyIdType`).
pub const KEY_ID_CHARS_MAX: usize = 2048;
/// Longest idempotency token (`client_token`); a UUID and a prefix fit.
pub const CLIENT_TOKEN_BYTES_MAX: usize = 128;
/// Longest name of a principal (AWS IAM user names: 64).
pub const PRINCIPAL_NAME_BYTES_MAX: usize = 64;
/// Most items of one batch call (`GenerateDataKeys`, `DecryptBatch`).
pub const BATCH_ITEMS_MAX: usize = 256;
/// Largest page of keys (AWS KMS API, `ListKeys`: `Limit` up to 1,000).
pub const KEYS_PAGE_MAX: usize = 1000;
/// Page of keys when none is asked for (AWS KMS API, `ListKeys`).
pub const KEYS_PAGE_DEFAULT: usize = 100;
/// Largest page of audit events: some 1 MiB at 1 KiB an event.
pub const EVENTS_PAGE_MAX: usize = 1000;
/// A page of audit events ends with the one that reaches this size, so that
/// large ones (events of batches) fit a message, too.
pub const EVENTS_PAGE_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Searches of the audit log of one node at a time: each keeps a thread busy.
pub const SEARCHES_MAX: usize = 8;
/// Page of audit events when none is asked for (AWS CloudTrail, `LookupEvents`: 50).
pub const EVENTS_PAGE_DEFAULT: usize = 50;
/// Audit leaves looked at for one page, so that a rare filter stays cheap; the
/// page then ends early with a token to go on.
pub const EVENTS_SCAN_MAX: usize = 20_000;
/// Largest page of tokens and principals.
pub const TOKENS_PAGE_MAX: usize = 1000;

/// Wrapped data keys of one envelope: each may open it.
pub const ENVELOPE_KEYS_MAX: usize = 16;
/// Largest header of an envelope: the longest context and the most keys, each
/// with the longest id and blob, take 139,414 bytes.
pub const ENVELOPE_HEADER_BYTES_MAX: usize = 144 * 1024;
/// Shortest chunk of an envelope, so that overhead stays below two per cent.
pub const ENVELOPE_CHUNK_BYTES_MIN: usize = 1024;
/// Longest chunk of an envelope: a reader holds a few of them in memory.
pub const ENVELOPE_CHUNK_BYTES_MAX: usize = 1024 * 1024;
/// Chunk of an envelope when none is asked for.
pub const ENVELOPE_CHUNK_BYTES_DEFAULT: usize = 128 * 1024;
/// Chunks of one envelope: invocations of AES-GCM under one key (NIST SP
/// 800-38D, section 8.3). 512 TiB in chunks of the default length.
pub const ENVELOPE_CHUNKS_MAX: u64 = 1 << 32;

/// Largest gRPC request on the client listener: `DecryptBatch` of 256 blobs of
/// 6 KiB with their contexts of a few hundred bytes each. The library takes the
/// memory for a message as soon as its size is announced.
pub const CLIENT_MESSAGE_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Largest header list (HTTP/2 `SETTINGS_MAX_HEADER_LIST_SIZE`).
pub const HEADER_LIST_BYTES_MAX: u32 = 16 * 1024;
/// Streams of one client connection at a time.
pub const CLIENT_STREAMS_MAX: u32 = 1024;
/// Client connections of one node at a time.
pub const CLIENT_CONNECTIONS_MAX: usize = 8192;
/// Connections that may be in their TLS handshake at a time.
pub const HANDSHAKES_MAX: usize = 256;
/// A TLS handshake that takes longer is dropped.
pub const HANDSHAKE_TIMEOUT_MS: u64 = 10_000;
/// Requests a node works on at a time; more are refused with a retry delay.
pub const REQUESTS_IN_FLIGHT_MAX: usize = 4096;
/// Bytes of request bodies that a node holds at a time, over all connections:
/// most of the growth of memory that hostile callers can cause. Six of the
/// largest requests at a time, or thousands of usual ones.
pub const REQUEST_BYTES_IN_FLIGHT_MAX: usize = 24 * 1024 * 1024;
/// Calls of the services Seal and Health beside the others, so that operators
/// get through to a node that is flooded.
pub const RESERVED_CALLS_MAX: usize = 64;
/// Bytes of their request bodies.
pub const RESERVED_BYTES_MAX: usize = 1024 * 1024;
/// Calls that answer with a stream (events, health, reflection) of one node at a
/// time: each holds a task for as long as its caller likes.
pub const STREAMS_MAX: usize = 1024;
/// Bytes of all messages that one caller sends in one stream.
pub const STREAM_REQUEST_BYTES_MAX: usize = 256 * 1024;
/// Answers up to this size are not counted: the window of a stream takes them.
pub const SMALL_ANSWER_BYTES_MAX: usize = 16 * 1024;
/// Bytes of larger answers that wait to be read, over all connections.
pub const ANSWER_BYTES_IN_FLIGHT_MAX: usize = 16 * 1024 * 1024;
/// A connection on which a large answer is not read for this long is closed.
pub const ANSWER_STALL_MS: u64 = 30_000;
/// Deadline of a call that brings none.
pub const DEADLINE_DEFAULT_MS: u64 = 10_000;
/// Longest deadline that is honoured.
pub const DEADLINE_MAX_MS: u64 = 60_000;
/// A call answers this long before its deadline, so that the answer arrives.
pub const DEADLINE_MARGIN_MS: u64 = 200;
/// `TailEvents` streams of one node at a time.
pub const TAILS_MAX: usize = 64;

/// Transactions of one batch of the ledger: bounds the verdicts kept for
/// deduplication and the work of one `apply`.
pub const BATCH_TRANSACTIONS_MAX: usize = 1024;
/// Guards of one batch.
pub const BATCH_GUARDS_MAX: usize = 8192;
/// Bytes of one batch, and so of one Raft log entry.
pub const BATCH_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of one transaction; a larger one is refused before it is proposed.
pub const TRANSACTION_BYTES_MAX: usize = 512 * 1024;
/// Transactions that wait in a node's ledger.
pub const LEDGER_QUEUE_MAX: usize = 8192;
/// Bytes of transactions that wait in a node's ledger.
pub const LEDGER_QUEUE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Times that a superseded attempt is decided again before `CONTENTION`.
pub const DECISIONS_MAX: usize = 12;
/// Batches per node whose verdicts are kept to answer a repeat.
pub const DEDUPLICATION_WINDOW: usize = 64;
/// Longest row id.
pub const ROW_ID_BYTES_MAX: usize = 64;
/// Largest sealed row.
pub const ROW_BYTES_MAX: usize = 64 * 1024;
/// Largest plain record: a keyring of all epochs fits many times.
pub const PLAIN_BYTES_MAX: usize = 256 * 1024;
/// Largest audit leaf.
pub const LEAF_BYTES_MAX: usize = 4096;
/// Largest sealed audit body: `GenerateDataKeys` with a full encryption context.
pub const BODY_BYTES_MAX: usize = 64 * 1024;
/// Barrier epochs that a keyring may hold at a time.
pub const KEYRING_EPOCHS_MAX: usize = 256;

/// Bytes of entries in one AppendEntries; below the peer message bound with
/// room for one entry of the largest size on top.
pub const APPEND_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Largest gRPC message between peers.
pub const PEER_MESSAGE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bytes of one chunk of a snapshot.
pub const SNAPSHOT_CHUNK_BYTES: usize = 256 * 1024;
/// Bytes of Raft log entries kept in memory for followers and `apply`.
pub const LOG_CACHE_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Members of a cluster.
pub const MEMBERS_MAX: usize = 9;
/// Nodes or fronts that one client spreads its calls over; each costs it probes
/// and connections.
pub const CLIENT_NODES_MAX: usize = 64;
/// Data keys that one cache of a client keeps, for encryption and decryption
/// each: a blob, a context and a key are some 1 KiB.
pub const DATA_KEY_CACHE_ENTRIES_MAX: usize = 100_000;

/// Most shares (x-coordinates of GF(2^8) without zero).
pub const SHARES_MAX: u8 = 255;
/// Share entries a second that one node takes, all peers together: above what
/// operators type, below what refusing costs anybody.
pub const SHARE_ENTRIES_PER_SECOND: u32 = 60;
/// Share entries a second that one node takes from one address (IPv6: from one
/// /64 network), so that no single peer uses up the node's rate.
pub const SHARE_ENTRIES_PER_PEER_PER_SECOND: u32 = 20;
/// Addresses whose share entries are counted at a time on one node; beyond them
/// the node's own rate is the bound.
pub const SHARE_PEERS_MAX: usize = 4096;
/// Ceremony events kept durably while no quorum is there; later ones of the
/// same kind are counted into the last.
pub const CEREMONY_BACKLOG_MAX: usize = 256;
/// Denials a second that one principal may cause to be recorded on one node.
pub const DENIALS_PER_SECOND: u32 = 50;
/// Denials above the rate that one principal may cause in a burst.
pub const DENIALS_BURST: u32 = 200;
/// Principals whose denials are counted at a time on one node.
pub const DENIAL_PRINCIPALS_MAX: usize = 16_384;
/// Keys that an unsealed node counts by state, for metrics: their states take at
/// most 20 MiB of its memory. Beyond, there is no count.
pub const KEYS_COUNTED_MAX: usize = 1_000_000;
/// Opened rows in a node's cache.
pub const ROW_CACHE_ROWS_MAX: usize = 65_536;

/// Longest life of a bearer token: ten years.
pub const TOKEN_TTL_SECONDS_MAX: u64 = 10 * 366 * 86_400;

/// Largest header list that a front takes: what it adds (address and identity of
/// the caller, deadline, request id) still fits a node's bound.
pub const FRONT_HEADER_LIST_BYTES_MAX: u32 = HEADER_LIST_BYTES_MAX - 2048;
/// Connections of one front at a time, where none is configured. An idle one
/// costs some 60 KiB: 1 GiB for all of them.
pub const FRONT_CONNECTIONS_MAX: usize = 16_384;
/// The same from one address (IPv6: from one /64 network): one caller, however
/// busy, leaves most of a front to the others.
pub const FRONT_CONNECTIONS_PER_SOURCE: usize = 2048;
/// Requests that a front works on at a time: what three nodes work on. Each holds
/// a task of some 10 KiB.
pub const FRONT_REQUESTS_MAX: usize = 3 * REQUESTS_IN_FLIGHT_MAX;
/// The same from one address: half, so that the other half stays for the others.
pub const FRONT_REQUESTS_PER_SOURCE: usize = FRONT_REQUESTS_MAX / 2;
/// Requests a second from one address: above what one process can send for good
/// reason, below what refusing costs a front.
pub const FRONT_RATE_PER_SOURCE: u32 = 20_000;
/// Addresses without a connection whose rate is remembered; beyond them the ones
/// that were quiet for longest are forgotten. Some 200 bytes each.
pub const FRONT_SOURCES_KEPT: usize = 16_384;
/// Bytes of request messages that a front holds at a time, over all connections.
pub const FRONT_REQUEST_BYTES_MAX: usize = 2 * REQUEST_BYTES_IN_FLIGHT_MAX;
/// The same of one connection: three of the largest messages at a time.
pub const FRONT_CONNECTION_BYTES_MAX: usize = 3 * CLIENT_MESSAGE_BYTES_MAX;
/// Largest answer that a front holds, which it does until the answer is whole: a
/// full page of events with room. What the client takes is larger.
pub const FRONT_ANSWER_MESSAGE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bytes of answers that a front holds at a time, from the node's first byte to
/// the caller's last.
pub const FRONT_ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Streams (events, health, reflection) through one front at a time.
pub const FRONT_STREAMS_MAX: usize = 1024;
/// The same from one address, where its requests are bounded at all.
pub const FRONT_STREAMS_PER_SOURCE: usize = FRONT_STREAMS_MAX / 4;
/// Probes (health) from one address under way at a time, where its requests are
/// bounded at all: one of several balancers' checks that hang leaves the others'.
pub const FRONT_PROBES_PER_SOURCE: usize = RESERVED_CALLS_MAX / 4;
/// A probe is answered at once; one whose request doesn't come whole in this time
/// is given up.
pub const FRONT_PROBE_MS: u64 = 1000;
/// Bytes that a node may send into one stream before its caller reads them. The
/// connection's window is that of all streams, so that one which isn't read stops
/// no other.
pub const FRONT_STREAM_WINDOW_BYTES: u32 = 64 * 1024;
/// A front's answer comes this long before the deadline; the node is given less by
/// as much, and keeps its own margin ([`DEADLINE_MARGIN_MS`]) beside it.
pub const FRONT_DEADLINE_MARGIN_MS: u64 = 20;
/// A connection on which no request is under way is closed after this long, where
/// no other time is configured; callers dial again on their next request.
pub const FRONT_IDLE_MS: u64 = 600_000;
