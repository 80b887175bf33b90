//! Where a node can be reached: `host:port`, checked once, when it is read.
//!
//! One address stands for both transports: TCP and QUIC (UDP) on the same port number.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};

/// Longest host name that DNS can carry, in bytes of its textual form (RFC 1035 §2.3.4).
const MAX_HOST_LEN: usize = 253;
/// Longest label of a host name, in bytes (RFC 1035 §2.3.4).
const MAX_LABEL_LEN: usize = 63;

/// A validated `host:port`, such as `127.0.0.1:7701`, `[::1]:7701` or `relay.example:7701`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Address {
    host: Host,
    port: u16,
}

/// The host part of an [`Address`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Host {
    /// A literal address.
    Ip(IpAddr),
    /// A name that DNS resolves anew at each attempt, in lower case.
    Name(String),
}

/// Why a text is not an [`Address`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum AddressError {
    /// There is no `:port` at the end.
    #[error("an address needs a port, as in relay.example:7701 or [::1]:7701")]
    NoPort,
    /// The port is not a number from 0 to 65535.
    #[error("the port of an address is a number from 0 to 65535")]
    BadPort,
    /// The host is neither a literal address nor a host name.
    #[error("the host of an address is an IPv4 address, an IPv6 address in brackets, or a host name")]
    BadHost,
}

impl Address {
    /// The address of a socket at `ip` and `port`.
    pub(crate) fn from_ip(ip: IpAddr, port: u16) -> Self {
        Self { host: Host::Ip(ip), port }
    }

    pub(crate) fn host(&self) -> &Host {
        &self.host
    }

    /// The port, for TCP and UDP alike. 0 has a meaning only to a listener: any free one.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (host, port) = text.rsplit_once(':').ok_or(AddressError::NoPort)?;
        // `u16::from_str` would take a sign.
        if port.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(AddressError::BadPort);
        }
        let port = port.parse().map_err(|_| AddressError::BadPort)?;
        let host = if let Some(inner) = host.strip_prefix('[') {
            let inner = inner.strip_suffix(']').ok_or(AddressError::BadHost)?;
            let ip: Ipv6Addr = inner.parse().map_err(|_| AddressError::BadHost)?;
            Host::Ip(ip.into())
        } else if host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
            Host::Ip(IpAddr::V4(host.parse().map_err(|_| AddressError::BadHost)?))
        } else if is_host_name(host) {
            Host::Name(host.to_ascii_lowercase())
        } else {
            return Err(AddressError::BadHost);
        };
        Ok(Self { host, port })
    }
}

fn is_host_name(host: &str) -> bool {
    host.len() <= MAX_HOST_LEN
        && host.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= MAX_LABEL_LEN
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        })
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip(IpAddr::V4(ip)) => write!(f, "{ip}:{}", self.port),
            Host::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]:{}", self.port),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_forms_are_read_and_written_alike() {
        for text in ["127.0.0.1:7701", "[::1]:7701", "relay.example:7701"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        assert_eq!("Relay.Example:1".parse::<Address>().unwrap(), "relay.example:1".parse().unwrap());
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "relay.example",
            "127.0.0.1",
            "127.0.0.1:",
            "127.0.0.1:+7",
            "127.0.0.1:65536",
            "300.0.0.1:7",
            "127.1:7",
            "::1:7701",
            "[::1:7701",
            "[relay]:7701",
            ":7701",
            "-a.example:7",
            "a..example:7",
            "a b:7",
            "relay.example/tcp:7",
            "r\u{e9}lay:7",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text} was taken");
        }
        let long = format!("{}:7", "a.".repeat(127) + "a");
        assert!(long.parse::<Address>().is_err());
    }
}
