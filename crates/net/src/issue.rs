//! A development CA: certificates for trials, tests and small set-ups.
//!
//! Its key lies unprotected in a directory; whoever reads it can issue itself
//! any identity. For production, have the organisation's CA issue certificates
//! with the identities of [`PeerIdentity`].
//!
//! Keys are ECDSA P-256. Certificates begin 24 hours early, so that clocks that
//! disagree don't refuse them, and end with the CA at the latest. Files appear
//! complete or not at all, private keys with mode 0600, and nothing is
//! overwritten.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    net::IpAddr,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PublicKeyData as _, SanType, date_time_ymd,
};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use strongroom_base::{ClusterId, NodeId, UnixMillis};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer as _};
use zeroize::Zeroizing;

use crate::{
    clock::{date, now},
    credentials::times_of,
    identity::{IdentityError, PeerIdentity, Role},
};

const CA_CERT: &str = "ca.pem";
const CA_KEY: &str = "ca-key.pem";
/// What precedes the cluster id in the CA certificate's URI.
const CA_URI: &str = "strongroom://cluster/";
const DAY: Duration = Duration::from_secs(86_400);

/// Why nothing was issued.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IssueError {
    /// The file is there already and is left alone.
    #[error("{} exists already and is not overwritten", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The file can't be read or written.
    #[error("can't read or write {}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The directory's CA is no CA that this module made.
    #[error("{} is not the certificate of a development CA", path.display())]
    NotDevelopmentCa {
        /// The file.
        path: PathBuf,
    },
    /// The CA has ended, and so would whatever it issued.
    #[error("the CA in {} ended on {}: make a new one", path.display(), date(*ended))]
    CaEnded {
        /// Its certificate's file.
        path: PathBuf,
        /// When it ended.
        ended: UnixMillis,
    },
    /// The CA's key is another CA's.
    #[error("the private key in {} does not belong to the CA beside it", path.display())]
    KeyMismatch {
        /// The file.
        path: PathBuf,
    },
    /// A client's or operator's name that a certificate can't carry.
    #[error("a name has 1 to 64 of the characters A-Z a-z 0-9 + = , . @ _ -")]
    Name(#[source] IdentityError),
    /// A validity that ends before it begins, or beyond the year 9999.
    #[error("the validity must begin before it ends, between 1970 and 9999")]
    Validity,
    /// A DNS name that a certificate can't carry, or a fault of the library.
    #[error("the certificate can't be made")]
    Certificate(#[source] rcgen::Error),
}

/// From when to when a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// First moment, to the second.
    pub not_before: SystemTime,
    /// Last moment, to the second.
    pub not_after: SystemTime,
}

impl Validity {
    /// Days of a CA certificate: ten years.
    pub const CA_DAYS: u32 = 3650;
    /// Days of a node's, client's or operator's certificate: what browsers and
    /// public CAs settled on (CA/Browser Forum ballot SC-31: 398 at most).
    pub const LEAF_DAYS: u32 = 397;

    /// From 24 hours before `now` to `days` days after it.
    #[must_use]
    pub fn days(now: SystemTime, days: u32) -> Self {
        Self { not_before: now - DAY, not_after: now + DAY * days }
    }

    /// Both moments in whole seconds since 1970.
    fn seconds(self) -> Result<(Duration, Duration), IssueError> {
        // Dates of X.509 end with the year 9999 (RFC 5280, section 4.1.2.5).
        const LAST_SECOND: u64 = 253_402_300_799;
        let seconds = |time: SystemTime| match time.duration_since(UNIX_EPOCH) {
            Ok(since) if since.as_secs() <= LAST_SECOND => Ok(Duration::from_secs(since.as_secs())),
            _ => Err(IssueError::Validity),
        };
        let (from, to) = (seconds(self.not_before)?, seconds(self.not_after)?);
        if from < to { Ok((from, to)) } else { Err(IssueError::Validity) }
    }
}

/// Names of its host that a server's certificate carries: for clients of other
/// makes. Ours, and nodes, look at the identity alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// DNS names.
    pub dns: Vec<String>,
    /// Addresses.
    pub ips: Vec<IpAddr>,
}

/// The files of one certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuedFiles {
    /// The certificate, PEM.
    pub cert: PathBuf,
    /// Its private key, PKCS #8 in PEM, mode 0600.
    pub key: PathBuf,
}

/// A CA of one cluster, kept in a directory (`ca.pem`, `ca-key.pem`).
pub struct DevelopmentCa {
    cluster: ClusterId,
    cert: PathBuf,
    not_after: UnixMillis,
    issuer: Issuer<'static, KeyPair>,
}

impl DevelopmentCa {
    /// Makes the CA of `cluster` in `directory`, which is made if need be.
    ///
    /// # Errors
    ///
    /// [`IssueError::Exists`] when there is a CA already.
    pub fn create(
        directory: &Path,
        cluster: ClusterId,
        validity: Validity,
    ) -> Result<Self, IssueError> {
        let mut params = params(&format!("Strongroom development CA of {cluster}"), validity)?;
        let (_, not_after) = validity.seconds()?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.subject_alt_names.push(uri(format!("{CA_URI}{cluster}"))?);
        let key = KeyPair::generate().map_err(IssueError::Certificate)?;
        let certificate = params.self_signed(&key).map_err(IssueError::Certificate)?;
        let files = IssuedFiles { cert: directory.join(CA_CERT), key: directory.join(CA_KEY) };
        write_pair(&files, &certificate.pem(), &key)?;
        let issuer = Issuer::new(params, key);
        Ok(Self { cluster, cert: files.cert, not_after: millis(not_after), issuer })
    }

    /// Opens the CA that [`DevelopmentCa::create`] made in `directory`.
    ///
    /// # Errors
    ///
    /// [`IssueError`] names the file that is missing or not the CA's;
    /// [`IssueError::CaEnded`].
    pub fn load(directory: &Path) -> Result<Self, IssueError> {
        let (cert, key_path) = (directory.join(CA_CERT), directory.join(CA_KEY));
        let not_ours = || IssueError::NotDevelopmentCa { path: cert.clone() };
        let read = |path: &Path| fs::read_to_string(path).map_err(|source| io_error(path, source));
        let der =
            CertificateDer::from_pem_slice(read(&cert)?.as_bytes()).map_err(|_| not_ours())?;
        let key = KeyPair::from_pem(&Zeroizing::new(read(&key_path)?))
            .map_err(|_| IssueError::KeyMismatch { path: key_path.clone() })?;
        let (_, parsed) = X509Certificate::from_der(&der).map_err(|_| not_ours())?;
        if parsed.public_key().raw != key.subject_public_key_info() {
            return Err(IssueError::KeyMismatch { path: key_path });
        }
        let cluster = ca_cluster(&parsed).ok_or_else(not_ours)?;
        let (_, not_after) = times_of(&parsed);
        let issuer = Issuer::from_ca_cert_der(&der, key).map_err(|_| not_ours())?;
        let ca = Self { cluster, cert, not_after, issuer };
        ca.require_not_ended()?;
        Ok(ca)
    }

    /// The cluster that this CA issues for.
    #[must_use]
    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// The CA's certificate file.
    #[must_use]
    pub fn cert_path(&self) -> &Path {
        &self.cert
    }

    /// Issues `node-<id>.pem` and `node-<id>-key.pem` in `directory`: a server
    /// found under `names`, and a client to its peers.
    ///
    /// # Errors
    ///
    /// [`IssueError`].
    pub fn issue_node(
        &self,
        directory: &Path,
        node: NodeId,
        names: &Names,
        validity: Validity,
    ) -> Result<IssuedFiles, IssueError> {
        self.issue(directory, &PeerIdentity::node(self.cluster, node), names, validity)
    }

    /// Issues `client-<name>.pem` and `client-<name>-key.pem` in `directory`.
    ///
    /// # Errors
    ///
    /// [`IssueError`].
    pub fn issue_client(
        &self,
        directory: &Path,
        name: &str,
        validity: Validity,
    ) -> Result<IssuedFiles, IssueError> {
        let role = Role::Client(name.to_owned());
        let identity = PeerIdentity { cluster: self.cluster, role };
        self.issue(directory, &identity, &Names::default(), validity)
    }

    /// Issues `operator-<name>.pem` and `operator-<name>-key.pem` in
    /// `directory`: what `init` requires.
    ///
    /// # Errors
    ///
    /// [`IssueError`].
    pub fn issue_operator(
        &self,
        directory: &Path,
        name: &str,
        validity: Validity,
    ) -> Result<IssuedFiles, IssueError> {
        let role = Role::Operator(name.to_owned());
        let identity = PeerIdentity { cluster: self.cluster, role };
        self.issue(directory, &identity, &Names::default(), validity)
    }

    /// Issues `front-<name>.pem` and `front-<name>-key.pem` in `directory`, for a
    /// front that callers reach under `names`.
    ///
    /// # Errors
    ///
    /// [`IssueError`].
    pub fn issue_front(
        &self,
        directory: &Path,
        name: &str,
        names: &Names,
        validity: Validity,
    ) -> Result<IssuedFiles, IssueError> {
        let role = Role::Front(name.to_owned());
        let identity = PeerIdentity { cluster: self.cluster, role };
        self.issue(directory, &identity, names, validity)
    }

    /// Issues a certificate for any identity, one of another cluster included,
    /// under the names that [`DevelopmentCa::issue_node`] and its like give.
    ///
    /// # Errors
    ///
    /// [`IssueError`].
    pub fn issue(
        &self,
        directory: &Path,
        identity: &PeerIdentity,
        names: &Names,
        validity: Validity,
    ) -> Result<IssuedFiles, IssueError> {
        let stem = stem(identity);
        let files = IssuedFiles {
            cert: directory.join(format!("{stem}.pem")),
            key: directory.join(format!("{stem}-key.pem")),
        };
        self.issue_to(&files, identity, names, validity)?;
        Ok(files)
    }

    /// Issues a certificate for any identity into the files that the caller
    /// names, both in one directory. It ends with the CA, where `validity` goes
    /// on for longer.
    ///
    /// # Errors
    ///
    /// [`IssueError`], [`IssueError::CaEnded`] among them.
    pub fn issue_to(
        &self,
        files: &IssuedFiles,
        identity: &PeerIdentity,
        names: &Names,
        validity: Validity,
    ) -> Result<(), IssueError> {
        let text = identity.to_string();
        text.parse::<PeerIdentity>().map_err(IssueError::Name)?;
        let validity = self.within(validity)?;
        let mut purposes = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if identity.role.serves() {
            purposes.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        self.issue_with(files, &stem(identity), vec![text], purposes, names, validity)
    }

    fn require_not_ended(&self) -> Result<(), IssueError> {
        if self.not_after < now() {
            return Err(IssueError::CaEnded { path: self.cert.clone(), ended: self.not_after });
        }
        Ok(())
    }

    /// As much of `validity` as this CA lasts.
    fn within(&self, validity: Validity) -> Result<Validity, IssueError> {
        self.require_not_ended()?;
        validity.seconds()?;
        let end = UNIX_EPOCH + Duration::from_millis(self.not_after.0);
        Ok(Validity { not_after: validity.not_after.min(end), ..validity })
    }

    /// Issues what it is told, well-formed identities or not, whether the CA has
    /// ended or not.
    pub(crate) fn issue_with(
        &self,
        files: &IssuedFiles,
        common_name: &str,
        uris: Vec<String>,
        purposes: Vec<ExtendedKeyUsagePurpose>,
        names: &Names,
        validity: Validity,
    ) -> Result<(), IssueError> {
        let mut params = params(common_name, validity)?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = purposes;
        params.use_authority_key_identifier_extension = true;
        for text in uris {
            params.subject_alt_names.push(uri(text)?);
        }
        for name in &names.dns {
            let name = name.as_str().try_into().map_err(IssueError::Certificate)?;
            params.subject_alt_names.push(SanType::DnsName(name));
        }
        params.subject_alt_names.extend(names.ips.iter().copied().map(SanType::IpAddress));
        let key = KeyPair::generate().map_err(IssueError::Certificate)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(IssueError::Certificate)?;
        write_pair(files, &certificate.pem(), &key)
    }
}

/// Name of a certificate's files, and its subject's common name.
fn stem(identity: &PeerIdentity) -> String {
    match &identity.role {
        Role::Node(node) => format!("node-{node}"),
        Role::Client(name) => format!("client-{name}"),
        Role::Operator(name) => format!("operator-{name}"),
        Role::Front(name) => format!("front-{name}"),
    }
}

fn uri(text: String) -> Result<SanType, IssueError> {
    text.try_into().map(SanType::URI).map_err(IssueError::Certificate)
}

fn params(common_name: &str, validity: Validity) -> Result<CertificateParams, IssueError> {
    let (from, to) = validity.seconds()?;
    let mut params = CertificateParams::default();
    params.not_before = date_time_ymd(1970, 1, 1) + from;
    params.not_after = date_time_ymd(1970, 1, 1) + to;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    Ok(params)
}

/// The cluster in a CA certificate that this module made.
fn ca_cluster(certificate: &X509Certificate<'_>) -> Option<ClusterId> {
    let names = certificate.subject_alternative_name().ok()??;
    if !certificate.is_ca() {
        return None;
    }
    names.value.general_names.iter().find_map(|name| match name {
        GeneralName::URI(uri) => uri.strip_prefix(CA_URI)?.parse().ok(),
        _ => None,
    })
}

fn millis(since_1970: Duration) -> UnixMillis {
    UnixMillis(since_1970.as_secs().saturating_mul(1000))
}

fn io_error(path: &Path, source: io::Error) -> IssueError {
    IssueError::Io { path: path.to_owned(), source }
}

/// Writes key, then certificate; neither where one of them exists, and no key
/// where the certificate can't be written.
fn write_pair(files: &IssuedFiles, cert: &str, key: &KeyPair) -> Result<(), IssueError> {
    for path in [&files.cert, &files.key] {
        if path.symlink_metadata().is_ok() {
            return Err(IssueError::Exists { path: path.clone() });
        }
    }
    let directory = directory_of(&files.cert);
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|source| io_error(directory, source))?;
    let key = Zeroizing::new(key.serialize_pem());
    write_new(&files.key, key.as_bytes(), 0o600)?;
    let written = write_new(&files.cert, cert.as_bytes(), 0o644);
    if written.is_err() {
        // Alone it serves nobody, and would be in the way of the next attempt.
        let _ = fs::remove_file(&files.key);
    }
    written?;
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(|source| io_error(directory, source))
}

/// Where a file lies: `.` for one that is named without a directory.
fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Writes a new file: complete under its name, or not there.
fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), IssueError> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.tmp", std::process::id()));
    let temporary = PathBuf::from(temporary);
    let write = || {
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        // A link refuses to replace what is there; a rename would not.
        fs::hard_link(&temporary, path)
    };
    let written = write();
    // Left behind only by a crash; the link, if made, is the file.
    let removed = fs::remove_file(&temporary);
    match written {
        Ok(()) => removed.map_err(|source| {
            let _ = fs::remove_file(path);
            io_error(&temporary, source)
        }),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(IssueError::Exists { path: path.to_owned() })
        }
        Err(source) => Err(io_error(path, source)),
    }
}

#[cfg(test)]
mod tests;
