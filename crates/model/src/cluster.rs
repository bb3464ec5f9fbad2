//! Identity of the cluster, and how it names its keys.
//!
//! Fixed by `init`, replicated in the clear, immutable but for the version.

use strongroom_base::{AccountId, ClusterId, HistoryId, KeyId};
use strongroom_format::{self as format, FormatError, store};

/// Identity of the cluster (plain record `CLUSTER`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// UUID, as in the nodes' certificates.
    pub id: ClusterId,
    /// History of the state: every row's seal is bound to it.
    pub history: HistoryId,
    /// Account that owns its keys and principals.
    pub account: AccountId,
    /// Region, as it stands in ARNs.
    pub region: Region,
    /// What every member is known to understand, from 1.
    pub version: u32,
}

/// Region of the cluster: 1 to 64 of `a-z`, `0-9` and `-`, as in ARNs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region(String);

/// Not a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a region is 1 to 64 characters of a-z, 0-9 and -")]
pub struct RegionError;

/// Why a plain record or a row can't be understood: found only where another
/// version wrote it, or nobody did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The bytes are no such message.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// A field's value has no meaning in this version.
    #[error("{record} has no valid {field}")]
    Field {
        /// The message.
        record: &'static str,
        /// The field.
        field: &'static str,
    },
}

/// How a configuration differs from the cluster.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the configuration says {field} {configured}, the cluster was made with {fixed}")]
pub struct Disagreement {
    /// What differs.
    pub field: &'static str,
    /// What the configuration says.
    pub configured: String,
    /// What `init` fixed.
    pub fixed: String,
}

impl Region {
    /// Checks the characters.
    ///
    /// # Errors
    ///
    /// [`RegionError`].
    pub fn new(region: impl Into<String>) -> Result<Self, RegionError> {
        let region = region.into();
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if (1..=64).contains(&region.len()) && region.bytes().all(fits) {
            Ok(Self(region))
        } else {
            Err(RegionError)
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Cluster {
    /// Newest cluster version that this program understands.
    pub const VERSION_KNOWN: u32 = 1;

    /// ARN of a key: `arn:aws:kms:<region>:<account>:key/<key id>`.
    #[must_use]
    pub fn arn(&self, key: KeyId) -> String {
        format!("arn:aws:kms:{}:{}:key/{key}", self.region.as_str(), self.account)
    }

    /// The bytes of the plain record.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        format::encode(&store::ClusterRecord {
            cluster_id: self.id.as_bytes().to_vec(),
            history_id: self.history.as_bytes().to_vec(),
            account: self.account.as_str().to_owned(),
            region: self.region.as_str().to_owned(),
            version: self.version,
        })
    }

    /// Reads the plain record.
    ///
    /// # Errors
    ///
    /// [`RecordError`]; a version beyond [`Cluster::VERSION_KNOWN`] is none:
    /// the node compares and stops.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        const RECORD: &str = "ClusterRecord";
        let record: store::ClusterRecord = format::decode(RECORD, bytes)?;
        let field = |field| RecordError::Field { record: RECORD, field };
        Ok(Self {
            id: format::cluster_id("cluster_id", &record.cluster_id)?,
            history: format::history_id("history_id", &record.history_id)?,
            account: record.account.parse().map_err(|_| field("account"))?,
            region: Region::new(record.region).map_err(|_| field("region"))?,
            version: if record.version == 0 {
                return Err(field("version"));
            } else {
                record.version
            },
        })
    }

    /// Whether a node's configuration means this cluster.
    ///
    /// # Errors
    ///
    /// [`Disagreement`] with the first difference: the node must not start.
    pub fn agrees_with(
        &self,
        id: ClusterId,
        account: &AccountId,
        region: &Region,
    ) -> Result<(), Disagreement> {
        let pairs = [
            ("cluster id", id.to_string(), self.id.to_string()),
            ("account", account.to_string(), self.account.to_string()),
            ("region", region.0.clone(), self.region.0.clone()),
        ];
        match pairs.into_iter().find(|(_, configured, fixed)| configured != fixed) {
            None => Ok(()),
            Some((field, configured, fixed)) => Err(Disagreement { field, configured, fixed }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster() -> Cluster {
        Cluster {
            id: ClusterId::from_bytes([1; 16]),
            history: HistoryId::from_bytes([2; 16]),
            account: "000000000000".parse().unwrap(),
            region: Region::new("local").unwrap(),
            version: 1,
        }
    }

    #[test]
    fn a_record_without_version_or_with_a_foreign_field_is_refused() {
        let mut unversioned = cluster();
        unversioned.version = 0;
        let refused = RecordError::Field { record: "ClusterRecord", field: "version" };
        assert_eq!(Cluster::decode(&unversioned.encode()), Err(refused));
        let mut longer = cluster().encode();
        longer.extend_from_slice(&[0x78, 1]);
        assert!(Cluster::decode(&longer).is_err());
    }

    #[test]
    fn the_record_round_trips() {
        assert_eq!(Cluster::decode(&cluster().encode()), Ok(cluster()));
    }

    #[test]
    fn a_configuration_of_another_region_is_told_by_name() {
        let other = Region::new("eu-1").unwrap();
        let told = cluster().agrees_with(cluster().id, &cluster().account, &other).unwrap_err();
        assert_eq!(told.field, "region");
        assert!(cluster().agrees_with(cluster().id, &cluster().account, &cluster().region).is_ok());
    }

    #[test]
    fn regions_have_their_characters_only() {
        assert_eq!(Region::new(""), Err(RegionError));
        assert_eq!(Region::new("EU"), Err(RegionError));
        assert_eq!(Region::new("a:b"), Err(RegionError));
        assert_eq!(Region::new("x".repeat(65)), Err(RegionError));
    }

    #[test]
    fn an_arn_is_as_aws_writes_it() {
        let arn = cluster().arn(KeyId::from_bytes([0; 16]));
        assert_eq!(arn, "arn:aws:kms:local:000000000000:key/00000000-0000-0000-0000-000000000000");
    }
}
