//! The bounds of a node that may be hit, as labels of a metric.

/// A bound; what is over it is refused, dropped or made to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    /// Connections of the client listener.
    ClientConnections,
    /// Connections of the peer listener.
    PeerConnections,
    /// Calls under way.
    Calls,
    /// Calls of operators and probes under way.
    ReservedCalls,
    /// Streams.
    Streams,
    /// Bytes of requests held, or of one stream's.
    RequestBytes,
    /// Bytes of operators' and probes' requests held.
    ReservedBytes,
    /// Bytes of large answers that are not read.
    AnswerBytes,
    /// Attempts, or their bytes, that wait in the ledger.
    Ledger,
    /// Times that an attempt is decided again.
    Decisions,
    /// Denials of one principal.
    Denials,
    /// Shares entered in a second.
    ShareEntries,
    /// Searches of the audit log; whoever came waited for its deadline.
    Searches,
    /// Streams of events.
    EventStreams,
    /// Time in which a stream of events takes nothing.
    EventStall,
    /// Batches and hash points in a second that come without a MAC.
    UnprovenEntries,
    /// Free bytes that are kept for revoking.
    DiskReserve,
    /// Bytes that wait for the disk of the Raft log.
    RaftLogQueue,
}

impl Bound {
    /// Every bound.
    pub(crate) const ALL: [Self; 18] = [
        Self::ClientConnections,
        Self::PeerConnections,
        Self::Calls,
        Self::ReservedCalls,
        Self::Streams,
        Self::RequestBytes,
        Self::ReservedBytes,
        Self::AnswerBytes,
        Self::Ledger,
        Self::Decisions,
        Self::Denials,
        Self::ShareEntries,
        Self::Searches,
        Self::EventStreams,
        Self::EventStall,
        Self::UnprovenEntries,
        Self::DiskReserve,
        Self::RaftLogQueue,
    ];

    /// Its value as a label.
    #[must_use]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::ClientConnections => "client_connections",
            Self::PeerConnections => "peer_connections",
            Self::Calls => "calls",
            Self::ReservedCalls => "reserved_calls",
            Self::Streams => "streams",
            Self::RequestBytes => "request_bytes",
            Self::ReservedBytes => "reserved_request_bytes",
            Self::AnswerBytes => "answer_bytes",
            Self::Ledger => "ledger",
            Self::Decisions => "decisions",
            Self::Denials => "denials",
            Self::ShareEntries => "share_entries",
            Self::Searches => "searches",
            Self::EventStreams => "event_streams",
            Self::EventStall => "event_stall",
            Self::UnprovenEntries => "unproven_entries",
            Self::DiskReserve => "disk_reserve",
            Self::RaftLogQueue => "raft_log_queue",
        }
    }
}
