//! What a client needs to know.

use std::{fmt, num::NonZeroUsize, time::Duration};

use zeroize::Zeroizing;

use crate::{
    address::{Address, AddressError},
    balance::Resolver,
    dialer::{Dialer, Windows},
    token::Token,
};

/// Deadline of a call where none is configured.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
/// Time for resolving, connecting and the TLS handshake together.
const CONNECT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(3);

/// HTTP/2 connections to one node at most.
const CONNECTIONS_DEFAULT: NonZeroUsize = NonZeroUsize::new(4).expect("four is not zero");
/// Between two probes of a node, and the time that one has: a node that stops
/// is left within a second.
const PROBE_INTERVAL_DEFAULT: Duration = Duration::from_millis(500);
const PROBE_TIMEOUT_DEFAULT: Duration = Duration::from_millis(500);
/// Between two probes while nobody calls: thousands of idle clients should cost
/// a node nothing.
const PROBE_IDLE_INTERVAL_DEFAULT: Duration = Duration::from_secs(10);
/// Between two look-ups of names.
const RESOLVE_INTERVAL_DEFAULT: Duration = Duration::from_secs(30);

/// Why a configuration can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// No address at all.
    #[error("no address of a node is given")]
    NoAddress,
    /// An address that is none.
    #[error("{text:?} is not an address")]
    Address {
        /// The text.
        text: String,
        /// What is wrong with it.
        source: AddressError,
    },
    /// The CA's PEM holds no certificate.
    #[error("the CA file holds no certificate in PEM form")]
    NoCa,
    /// A certificate of the CA's PEM can't serve as a CA.
    #[error("the CA certificate can't be used")]
    Ca(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The client certificate or its key can't be used.
    #[error("the client certificate or its private key can't be used")]
    Identity(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A timeout of zero.
    #[error("the timeout must be longer than zero")]
    Timeout,
}

/// A client or operator certificate with its private key, both PEM.
pub struct ClientIdentity {
    /// The certificate, then any intermediate certificates.
    pub certificate_pem: Vec<u8>,
    /// The private key: PKCS #8, SEC 1 or PKCS #1.
    pub key_pem: Zeroizing<Vec<u8>>,
}

/// What a client needs to know.
pub struct Config {
    /// Nodes, or fronts. Calls are spread over them; a name stands for all its
    /// addresses.
    pub addresses: Vec<Address>,
    /// CA certificates that servers are verified against, PEM.
    pub ca_pem: Vec<u8>,
    /// Client certificate; `Init` needs an operator's.
    pub identity: Option<ClientIdentity>,
    /// Bearer token; calls that need no login work without.
    pub token: Option<Token>,
    /// Time that a call may take over all its attempts.
    pub timeout: Duration,
    /// Time for resolving, connecting and the TLS handshake together.
    pub connect_timeout: Duration,
    /// HTTP/2 connections to one node at most; another one is opened when those
    /// that there are have many calls under way.
    pub connections: NonZeroUsize,
    /// When no answer to a `Decrypt` came for this long, a second attempt goes
    /// to another node and the first answer counts. Each has its own audit
    /// record, under the same request id. `None`: never.
    pub hedge_decrypt_after: Option<Duration>,
    /// A call ends with the first round in which no node could be reached or
    /// none is unsealed; otherwise it tries until its deadline.
    pub fail_fast: bool,
    /// Between two probes of a node while calls are made.
    pub probe_interval: Duration,
    /// The same while nobody calls.
    pub probe_idle_interval: Duration,
    /// Time that a probe has; a node that answers nothing for longer is left.
    pub probe_timeout: Duration,
    /// Between two look-ups of names; sooner when attempts fail.
    pub resolve_interval: Duration,
    /// How names become addresses.
    pub resolver: Resolver,
    /// Makes the connections, where this crate is not to: then CA and certificate
    /// above are not looked at.
    pub dialer: Option<Dialer>,
    /// What nodes may send before it is read; `None`: as much as the library lets
    /// them.
    pub windows: Option<Windows>,
}

impl Config {
    /// Addresses and CA; no certificate, no token, a timeout of 10 seconds.
    ///
    /// # Errors
    ///
    /// [`ConfigError::NoAddress`] and [`ConfigError::Address`].
    pub fn new<A: AsRef<str>>(
        addresses: impl IntoIterator<Item = A>,
        ca_pem: impl Into<Vec<u8>>,
    ) -> Result<Self, ConfigError> {
        let addresses = addresses
            .into_iter()
            .map(|text| {
                let text = text.as_ref();
                text.parse()
                    .map_err(|source| ConfigError::Address { text: text.to_owned(), source })
            })
            .collect::<Result<Vec<_>, _>>()?;
        if addresses.is_empty() {
            return Err(ConfigError::NoAddress);
        }
        Ok(Self {
            addresses,
            ca_pem: ca_pem.into(),
            identity: None,
            token: None,
            timeout: TIMEOUT_DEFAULT,
            connect_timeout: CONNECT_TIMEOUT_DEFAULT,
            connections: CONNECTIONS_DEFAULT,
            hedge_decrypt_after: None,
            fail_fast: false,
            probe_interval: PROBE_INTERVAL_DEFAULT,
            probe_idle_interval: PROBE_IDLE_INTERVAL_DEFAULT,
            probe_timeout: PROBE_TIMEOUT_DEFAULT,
            resolve_interval: RESOLVE_INTERVAL_DEFAULT,
            resolver: Resolver::system(),
            dialer: None,
            windows: None,
        })
    }

    /// With a token.
    #[must_use]
    pub fn with_token(mut self, token: Token) -> Self {
        self.token = Some(token);
        self
    }

    /// With a client or operator certificate.
    #[must_use]
    pub fn with_identity(mut self, identity: ClientIdentity) -> Self {
        self.identity = Some(identity);
        self
    }

    /// With another timeout of calls.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Whether a call ends with the first round in which no node could be
    /// reached: for tools that people wait for.
    #[must_use]
    pub fn with_fail_fast(mut self, fail_fast: bool) -> Self {
        self.fail_fast = fail_fast;
        self
    }

    /// With a second attempt of each `Decrypt` that has no answer after `delay`.
    #[must_use]
    pub fn with_hedged_decrypt(mut self, delay: Duration) -> Self {
        self.hedge_decrypt_after = Some(delay);
        self
    }
}

impl fmt::Debug for Config {
    /// Addresses and times; of token and certificate only whether they are there.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("addresses", &self.addresses)
            .field("identity", &self.identity.is_some())
            .field("token", &self.token.is_some())
            .field("timeout", &self.timeout)
            .field("connect_timeout", &self.connect_timeout)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_address_and_a_bad_one_are_refused() {
        let none: [&str; 0] = [];
        assert!(matches!(Config::new(none, ""), Err(ConfigError::NoAddress)));
        let error = Config::new(["a:1", "b:x"], "").unwrap_err();
        assert!(matches!(error, ConfigError::Address { ref text, .. } if text == "b:x"), "{error}");
    }

    #[test]
    fn a_configuration_prints_neither_token_nor_key() {
        let identity = ClientIdentity {
            certificate_pem: b"cert-canary".to_vec(),
            key_pem: Zeroizing::new(b"key-canary".to_vec()),
        };
        let config = Config::new(["a:1"], "ca-canary")
            .unwrap()
            .with_token(Token::new("srt_canary").unwrap())
            .with_identity(identity);
        assert!(!format!("{config:?}").contains("canary"));
    }
}
