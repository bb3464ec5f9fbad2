//! Values of labels: fixed lists, so that nobody makes a series by a call.

use strongroom_audit::Reason;
use tonic::Code;

/// Why shares are refused.
pub(super) const SHARE_REASONS: [Reason; 8] = [
    Reason::ShareMistyped,
    Reason::ShareRepeated,
    Reason::ShareForeignCluster,
    Reason::ShareOldEpoch,
    Reason::ShareUnknown,
    Reason::ShareMalformed,
    Reason::ShareUnsupportedFormat,
    Reason::UnsealFailed,
];

/// Operations: the methods of the client listener's services. What a caller
/// invents is [`OTHER`].
pub(super) const OPERATIONS: &[&str] = &[
    "CreateKey",
    "DescribeKey",
    "ListKeys",
    "EnableKey",
    "DisableKey",
    "GenerateDataKey",
    "GenerateDataKeyWithoutPlaintext",
    "GenerateDataKeys",
    "Encrypt",
    "Decrypt",
    "DecryptBatch",
    "ReEncrypt",
    "GenerateRandom",
    "Init",
    "SubmitShare",
    "ResetUnseal",
    "SealNode",
    "SealStatus",
    "ListMembers",
    "NodeStatus",
    "RotateBarrier",
    "DropEpoch",
    "ListEpochs",
    "TransferLeader",
    "TakeSnapshot",
    "ListEvents",
    "TailEvents",
    "CreateToken",
    "ListTokens",
    "RevokeToken",
    "AttachRole",
    "DetachRole",
    "WhoAmI",
    "Check",
    "Watch",
    "ServerReflectionInfo",
];

/// Any operation that there isn't.
const OTHER: &str = "other";

/// The operation of a path `/package.Service/Operation`.
#[must_use]
pub(crate) fn operation_of(path: &str) -> &'static str {
    let name = path.rsplit('/').next().unwrap_or_default();
    OPERATIONS.iter().find(|known| **known == name).copied().unwrap_or(OTHER)
}

/// The name of a code as the gRPC specification writes it.
#[must_use]
pub(super) fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prost::Message as _;

    use super::*;

    #[test]
    fn what_a_caller_invents_is_no_label() {
        assert_eq!(operation_of("/strongroom.v1.Crypto/Decrypt"), "Decrypt");
        assert_eq!(operation_of("/strongroom.v1.Crypto/Invented"), OTHER);
        assert_eq!(operation_of(""), OTHER);
    }

    /// A new method would be counted among the others without anybody's notice.
    #[test]
    fn every_method_that_is_served_has_its_own_label() {
        let served = [strongroom_wire::FILE_DESCRIPTOR_SET, tonic_health::pb::FILE_DESCRIPTOR_SET];
        let mut methods: BTreeSet<String> = BTreeSet::from(["ServerReflectionInfo".to_owned()]);
        for descriptors in served {
            let files = prost_types::FileDescriptorSet::decode(descriptors).unwrap().file;
            let public = |name: &str| name == "strongroom.v1" || name == "grpc.health.v1";
            let services = files.into_iter().filter(|file| public(file.package()));
            let services = services.flat_map(|file| file.service);
            methods.extend(services.flat_map(|s| s.method).map(|method| method.name().to_owned()));
        }
        assert!(methods.len() > 30);
        assert_eq!(methods, OPERATIONS.iter().map(|name| (*name).to_owned()).collect());
    }
}
