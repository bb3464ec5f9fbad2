//! Addresses of nodes: `host:port`.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

/// Port of the client listener where an address names none.
const PORT_DEFAULT: u16 = 7400;
/// What may stand before a name that is to be resolved (gRPC, naming).
const DNS: &str = "dns:///";

/// Why a text is no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// Nothing stands before the port.
    #[error("an address is host:port, and the host is missing")]
    NoHost,
    /// A scheme, path or user name, or a character that no host has.
    #[error("an address is host:port, without scheme or path (an IPv6 address in brackets)")]
    NotHost,
    /// Not a number from 1 to 65535.
    #[error("the port of an address is a number from 1 to 65535")]
    Port,
}

/// Where a node listens for callers: a DNS name or IP address and a port.
///
/// Text form: `host:port`, an IPv6 address in brackets; port 7400 where none is
/// given. `dns:///` may stand before it. A name that has several addresses
/// stands for as many nodes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    host: String,
    port: u16,
}

impl Address {
    /// Host: a name, an IPv4 address, or an IPv6 address without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// False where the host is a name.
    pub(crate) fn is_ip(&self) -> bool {
        self.host.parse::<IpAddr>().is_ok()
    }
}

impl From<SocketAddr> for Address {
    fn from(at: SocketAddr) -> Self {
        Self { host: at.ip().to_string(), port: at.port() }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let text = text.trim();
        let text = text.strip_prefix(DNS).unwrap_or(text);
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']').ok_or(AddressError::NotHost)?;
                host.parse::<Ipv6Addr>().map_err(|_| AddressError::NotHost)?;
                match rest.strip_prefix(':') {
                    Some(port) => (host, Some(port)),
                    None if rest.is_empty() => (host, None),
                    None => return Err(AddressError::NotHost),
                }
            }
            None => match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        if host.is_empty() {
            return Err(AddressError::NoHost);
        }
        let named = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if !text.starts_with('[') && !host.bytes().all(named) {
            return Err(AddressError::NotHost);
        }
        let port = match port {
            None => PORT_DEFAULT,
            // Two colons and more: a scheme, or an IPv6 address without brackets.
            Some(port) if port.contains([':', '/']) => return Err(AddressError::NotHost),
            Some(port) => match port.parse() {
                Ok(port) if port > 0 => port,
                _ => return Err(AddressError::Port),
            },
        };
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<String, AddressError> {
        text.parse::<Address>().map(|address| address.to_string())
    }

    #[test]
    fn what_is_no_host_and_port_is_refused() {
        assert_eq!(parsed(""), Err(AddressError::NoHost));
        assert_eq!(parsed(":7400"), Err(AddressError::NoHost));
        assert_eq!(parsed("https://kms:7400"), Err(AddressError::NotHost));
        assert_eq!(parsed("kms:7400/path"), Err(AddressError::NotHost));
        assert_eq!(parsed("user@kms:7400"), Err(AddressError::NotHost));
        assert_eq!(parsed("::1:7400"), Err(AddressError::NoHost));
        assert_eq!(parsed("fe80::1"), Err(AddressError::NotHost));
        assert_eq!(parsed("[kms]:7400"), Err(AddressError::NotHost));
        assert_eq!(parsed("[::1]7400"), Err(AddressError::NotHost));
        assert_eq!(parsed("kms:0"), Err(AddressError::Port));
        assert_eq!(parsed("kms:65536"), Err(AddressError::Port));
        assert_eq!(parsed("kms:"), Err(AddressError::Port));
    }

    #[test]
    fn a_missing_port_is_7400() {
        assert_eq!(parsed("kms.example.com"), Ok("kms.example.com:7400".to_owned()));
        assert_eq!(parsed("[::1]"), Ok("[::1]:7400".to_owned()));
    }

    #[test]
    fn the_scheme_of_names_is_dropped() {
        assert_eq!(parsed("dns:///kms.example.com:7410"), Ok("kms.example.com:7410".to_owned()));
        assert_eq!(parsed("dns://server/kms"), Err(AddressError::NotHost));
    }

    #[test]
    fn host_and_port_are_kept_as_given() {
        assert_eq!(parsed(" 127.0.0.1:41 "), Ok("127.0.0.1:41".to_owned()));
        assert_eq!(parsed("[2001:db8::1]:7410"), Ok("[2001:db8::1]:7410".to_owned()));
    }
}
