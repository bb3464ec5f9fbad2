//! One consistent set of certificate, private key and CA certificates.
//!
//! A set is complete or isn't made: the key belongs to the certificate, the
//! certificate names an identity and chains to the CA file. A CA certificate
//! that has ended is not trusted: no verifier looks at the time of what it
//! trusts. The validity of the node's own certificate is left to those who verify
//! it, so that a node whose clock is off says so in its log and still starts.

use std::{
    fmt,
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustls::{
    CertificateError, RootCertStore, ServerConfig, crypto::aws_lc_rs::sign::any_supported_type,
    sign::CertifiedKey,
};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer, UnixTime,
    pem::{self, PemObject as _},
};
use strongroom_base::UnixMillis;
use tokio_util::sync::CancellationToken;
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _};
use zeroize::Zeroizing;

use crate::{
    acceptor::Listener,
    clock::{date, now},
    handshake,
    identity::{IdentityError, PeerIdentity},
    verify,
};

/// Largest file that is read: hundreds of CA certificates fit.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Where a node's certificate, key and CA are, in PEM (RFC 7468).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsPaths {
    /// The node's certificate, then any intermediate certificates.
    pub cert: PathBuf,
    /// Its private key: PKCS #8, SEC 1 or PKCS #1.
    pub key: PathBuf,
    /// The CA certificates that peers and clients are verified against; those
    /// that have ended are left out. Two stand here while the CA is being
    /// replaced.
    pub ca: PathBuf,
}

/// Why certificate files are not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file can't be read.
    #[error("can't read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// More than 1 MiB.
    #[error("{} is larger than 1 MiB", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// Not PEM, or cut short.
    #[error("{} is not PEM", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What the PEM reader found.
        source: pem::Error,
    },
    /// No `CERTIFICATE` section.
    #[error("{} holds no certificate", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// No private key section.
    #[error("{} holds no private key", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// A key of a kind that isn't supported, or damaged.
    #[error("the private key in {} can't be used", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What the TLS library found.
        source: rustls::Error,
    },
    /// The private key is another certificate's.
    #[error("the private key in {} does not belong to the certificate in {}", key.display(), cert.display())]
    KeyMismatch {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// A CA certificate that is no trust anchor.
    #[error("a certificate in {} can't serve as a CA", path.display())]
    Ca {
        /// The file.
        path: PathBuf,
        /// What the TLS library found.
        source: rustls::Error,
    },
    /// Every CA certificate has ended, as far as the clock of this machine can
    /// be believed.
    #[error("no CA certificate in {} is valid any more: {subject} ended on {}", path.display(), date(*ended))]
    CaEnded {
        /// The file.
        path: PathBuf,
        /// Subject of the certificate that ended last.
        subject: String,
        /// When it ended.
        ended: UnixMillis,
    },
    /// A validity that no moment lies in.
    #[error("the certificate in {} ends before it begins", path.display())]
    Validity {
        /// The file.
        path: PathBuf,
    },
    /// The certificate names no identity.
    #[error("{}: the certificate names no identity of this product", path.display())]
    Identity {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: IdentityError,
    },
    /// The certificate doesn't chain to the CA file, or lacks a key usage.
    #[error("the certificate in {} is not one that the CA in {} issued for this use", cert.display(), ca.display())]
    NotFromCa {
        /// The certificate's file.
        cert: PathBuf,
        /// The CA's file.
        ca: PathBuf,
        /// What the verifier found.
        source: rustls::Error,
    },
    /// On reload: the certificate of somebody else.
    #[error("{} names {got}, this node is {expected}", path.display())]
    IdentityChanged {
        /// The file.
        path: PathBuf,
        /// Who the node is.
        expected: Box<PeerIdentity>,
        /// Who the certificate names.
        got: Box<PeerIdentity>,
    },
    /// On reload: outside its validity, while the present certificate is inside.
    #[error("the certificate in {} is not valid at this time, the present one is", path.display())]
    NotValidNow {
        /// The file.
        path: PathBuf,
    },
    /// The TLS library refuses the set.
    #[error("the certificate files don't make a TLS configuration")]
    Config {
        /// What the TLS library found.
        source: rustls::Error,
    },
}

impl LoadError {
    /// The file to look at first, where there is one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Read { path, .. }
            | Self::TooLarge { path }
            | Self::Pem { path, .. }
            | Self::NoCertificate { path }
            | Self::NoKey { path }
            | Self::Key { path, .. }
            | Self::Ca { path, .. }
            | Self::CaEnded { path, .. }
            | Self::Validity { path }
            | Self::Identity { path, .. }
            | Self::IdentityChanged { path, .. }
            | Self::NotValidNow { path } => Some(path),
            Self::KeyMismatch { key, .. } => Some(key),
            Self::NotFromCa { cert, .. } => Some(cert),
            Self::Config { .. } => None,
        }
    }
}

/// Certificate, key and CA of this node, checked against one another.
pub struct Credentials {
    identity: PeerIdentity,
    not_before: UnixMillis,
    not_after: UnixMillis,
    key: Arc<CertifiedKey>,
    roots: Arc<RootCertStore>,
    cas: CaTimes,
    /// Cancelled when one of the CAs is trusted no longer.
    trust: CancellationToken,
    peer: Arc<ServerConfig>,
    client: Arc<ServerConfig>,
}

/// What the clock said of the CA file.
#[derive(Clone, Copy)]
struct CaTimes {
    /// Certificates left out because they have ended.
    ended: usize,
    /// First end of one that is trusted.
    next_end: UnixMillis,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("identity", &self.identity)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

impl Credentials {
    /// Reads and checks the three files. Blocks on the disk.
    ///
    /// # Errors
    ///
    /// [`LoadError`] names the file.
    pub fn load(paths: &TlsPaths) -> Result<Self, LoadError> {
        let chain = read_certificates(&paths.cert)?;
        let key = read_key(&paths.key)?;
        let (roots, cas) = read_roots(&paths.ca, now())?;
        let roots = Arc::new(roots);
        let key = Arc::new(pair(chain, &key, paths)?);
        let leaf = &key.cert[0];
        let identity = PeerIdentity::from_certificate(leaf)
            .map_err(|source| LoadError::Identity { path: paths.cert.clone(), source })?;
        let (not_before, not_after) = validity(leaf)
            .map_err(|source| LoadError::Identity { path: paths.cert.clone(), source })?;
        if not_before > not_after {
            return Err(LoadError::Validity { path: paths.cert.clone() });
        }
        require_chain(&key.cert, &roots, &identity, (not_before, not_after)).map_err(|source| {
            LoadError::NotFromCa { cert: paths.cert.clone(), ca: paths.ca.clone(), source }
        })?;
        let config = |listener| {
            handshake::server_config(listener, &key, &roots, identity.cluster)
                .map(Arc::new)
                .map_err(|source| LoadError::Config { source })
        };
        Ok(Self {
            peer: config(Listener::Peer)?,
            client: config(Listener::Client)?,
            identity,
            not_before,
            not_after,
            key,
            roots,
            cas,
            trust: CancellationToken::new(),
        })
    }

    /// Who the certificate names.
    #[must_use]
    pub fn identity(&self) -> &PeerIdentity {
        &self.identity
    }

    /// First moment at which the certificate is valid.
    #[must_use]
    pub fn not_before(&self) -> UnixMillis {
        self.not_before
    }

    /// Last moment at which the certificate is valid.
    #[must_use]
    pub fn not_after(&self) -> UnixMillis {
        self.not_after
    }

    /// Whether the certificate is valid at `time`.
    #[must_use]
    pub fn is_valid_at(&self, time: UnixMillis) -> bool {
        (self.not_before..=self.not_after).contains(&time)
    }

    pub(crate) fn key(&self) -> &Arc<CertifiedKey> {
        &self.key
    }

    pub(crate) fn roots(&self) -> &Arc<RootCertStore> {
        &self.roots
    }

    /// CA certificates of the file that are not trusted, because they have ended.
    pub(crate) fn cas_ended(&self) -> usize {
        self.cas.ended
    }

    /// First end of a CA certificate that is trusted.
    pub(crate) fn next_ca_end(&self) -> UnixMillis {
        self.cas.next_end
    }

    /// Lives as long as every CA of this set is trusted: what ends a connection
    /// whose peer was verified under it is a child of this.
    pub(crate) fn trust(&self) -> &CancellationToken {
        &self.trust
    }

    /// Goes on with the trust of `before`, where every CA that was trusted there
    /// still is: each chain that was verified would be again.
    pub(crate) fn go_on_from(&mut self, before: &Self) {
        if before.roots.roots.iter().all(|ca| self.roots.roots.contains(ca)) {
            self.trust = before.trust.clone();
        }
    }

    pub(crate) fn server_config(&self, listener: Listener) -> &Arc<ServerConfig> {
        match listener {
            Listener::Peer => &self.peer,
            Listener::Client => &self.client,
        }
    }
}

/// Reads a whole file into memory that is wiped afterwards.
fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, LoadError> {
    let failed = |source| LoadError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let expected = file.metadata().map_err(failed)?.len().min(FILE_BYTES_MAX);
    // One byte over, so that the buffer isn't moved (and left behind) by the
    // read that finds the end.
    let capacity = usize::try_from(expected).expect("1 MiB fits") + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(capacity));
    let read = file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if read as u64 > FILE_BYTES_MAX {
        return Err(LoadError::TooLarge { path: path.to_owned() });
    }
    Ok(bytes)
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, LoadError> {
    let bytes = read(path)?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<_, _>>()
        .map_err(|source| LoadError::Pem { path: path.to_owned(), source })?;
    if certificates.is_empty() {
        return Err(LoadError::NoCertificate { path: path.to_owned() });
    }
    Ok(certificates)
}

/// Reads a key whose DER is wiped afterwards. The text that the PEM decoder keeps
/// meanwhile is its own.
fn read_key(path: &Path) -> Result<Zeroizing<PrivateKeyDer<'static>>, LoadError> {
    let bytes = read(path)?;
    PrivateKeyDer::from_pem_slice(&bytes).map(Zeroizing::new).map_err(|source| match source {
        pem::Error::NoItemsFound => LoadError::NoKey { path: path.to_owned() },
        source => LoadError::Pem { path: path.to_owned(), source },
    })
}

/// Reads the CA certificates that have not ended at `now`: at least one.
fn read_roots(path: &Path, now: UnixMillis) -> Result<(RootCertStore, CaTimes), LoadError> {
    let refused = |source| LoadError::Ca { path: path.to_owned(), source };
    let mut roots = RootCertStore::empty();
    let mut times = CaTimes { ended: 0, next_end: UnixMillis::MAX };
    let mut last_ended: Option<(UnixMillis, String)> = None;
    for certificate in read_certificates(path)? {
        let not_after = {
            let (_, parsed) = X509Certificate::from_der(&certificate)
                .map_err(|_| refused(CertificateError::BadEncoding.into()))?;
            let (_, not_after) = times_of(&parsed);
            if not_after < now && last_ended.as_ref().is_none_or(|(last, _)| *last < not_after) {
                last_ended = Some((not_after, parsed.subject().to_string()));
            }
            not_after
        };
        if not_after < now {
            times.ended += 1;
        } else {
            times.next_end = times.next_end.min(not_after);
            roots.add(certificate).map_err(refused)?;
        }
    }
    match last_ended {
        Some((ended, subject)) if roots.is_empty() => {
            Err(LoadError::CaEnded { path: path.to_owned(), subject, ended })
        }
        _ => Ok((roots, times)),
    }
}

fn pair(
    chain: Vec<CertificateDer<'static>>,
    key: &PrivateKeyDer<'static>,
    paths: &TlsPaths,
) -> Result<CertifiedKey, LoadError> {
    let key = any_supported_type(key)
        .map_err(|source| LoadError::Key { path: paths.key.clone(), source })?;
    let pair = CertifiedKey::new(chain, key);
    pair.keys_match().map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            LoadError::KeyMismatch { cert: paths.cert.clone(), key: paths.key.clone() }
        }
        _ => LoadError::Identity { path: paths.cert.clone(), source: IdentityError::Unparsable },
    })?;
    Ok(pair)
}

/// First and last moment at which a certificate is valid.
pub(crate) fn validity(
    certificate: &CertificateDer<'_>,
) -> Result<(UnixMillis, UnixMillis), IdentityError> {
    let (_, parsed) =
        X509Certificate::from_der(certificate).map_err(|_| IdentityError::Unparsable)?;
    Ok(times_of(&parsed))
}

/// As [`validity`], of a certificate already parsed.
pub(crate) fn times_of(certificate: &X509Certificate<'_>) -> (UnixMillis, UnixMillis) {
    let validity = certificate.validity();
    // Years before 1970 count as 1970: no clock of ours shows them.
    let millis =
        |seconds: i64| UnixMillis(u64::try_from(seconds).unwrap_or(0).saturating_mul(1000));
    (millis(validity.not_before.timestamp()), millis(validity.not_after.timestamp()))
}

/// Finds the mix-ups of set-up (another CA's certificate, a server certificate
/// without client authentication) at home, where they can be named, instead of
/// in each peer's refusal.
fn require_chain(
    chain: &[CertificateDer<'static>],
    roots: &Arc<RootCertStore>,
    identity: &PeerIdentity,
    (not_before, not_after): (UnixMillis, UnixMillis),
) -> Result<(), rustls::Error> {
    let now = UnixTime::now().as_secs().clamp(not_before.0 / 1000, not_after.0 / 1000);
    let at = UnixTime::since_unix_epoch(Duration::from_secs(now));
    let (leaf, intermediates) = chain.split_first().expect("a chain that was read has a leaf");
    if identity.role.serves() {
        verify::require_server(leaf, intermediates, roots, at)?;
    }
    verify::require_client(leaf, intermediates, roots, at)
}

#[cfg(test)]
mod tests;
