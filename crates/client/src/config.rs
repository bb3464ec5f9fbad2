//! What a client needs to know.

use std::{fmt, time::Duration};

use zeroize::Zeroizing;

use crate::{
    address::{Address, AddressError},
    token::Token,
};

/// Deadline of a call where none is configured.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
/// Time for resolving, connecting and the TLS handshake together.
const CONNECT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(3);

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
    /// Nodes, or fronts; tried in this order, beginning with the one that
    /// answered last.
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
