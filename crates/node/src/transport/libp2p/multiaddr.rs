//! Our `host:port` addresses in libp2p's notation, and back.

use std::net::IpAddr;

use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};

use crate::transport::{Address, Carrier, address::Host};

/// `address` over `carrier`.
pub(super) fn multiaddr(address: &Address, carrier: Carrier) -> Multiaddr {
    let host = match address.host() {
        Host::Ip(IpAddr::V4(ip)) => Protocol::Ip4(*ip),
        Host::Ip(IpAddr::V6(ip)) => Protocol::Ip6(*ip),
        Host::Name(name) => Protocol::Dns(name.into()),
    };
    let base = Multiaddr::empty().with(host);
    match carrier {
        Carrier::Tcp => base.with(Protocol::Tcp(address.port())),
        Carrier::Quic => base.with(Protocol::Udp(address.port())).with(Protocol::QuicV1),
    }
}

/// The address of the circuits of `relay`, which is connected at `base`.
pub(super) fn circuit(base: &Multiaddr, relay: PeerId) -> Multiaddr {
    base.clone().with(Protocol::P2p(relay)).with(Protocol::P2pCircuit)
}

/// What stands before `/p2p-circuit` in the local address of an inbound circuit: the address at which we are
/// connected to the relay that carries it.
pub(super) fn before_circuit(address: &Multiaddr) -> Multiaddr {
    address.iter().take_while(|part| !matches!(part, Protocol::P2pCircuit | Protocol::P2p(_))).collect()
}

/// The IP address in `address`.
pub(super) fn ip(address: &Multiaddr) -> Option<IpAddr> {
    address.iter().find_map(|part| match part {
        Protocol::Ip4(ip) => Some(ip.into()),
        Protocol::Ip6(ip) => Some(ip.into()),
        _ => None,
    })
}

/// The TCP or UDP port in `address`.
pub(super) fn port(address: &Multiaddr) -> Option<u16> {
    address.iter().find_map(|part| match part {
        Protocol::Tcp(port) | Protocol::Udp(port) => Some(port),
        _ => None,
    })
}

/// Whether a direct connection at `address` is QUIC. A circuit never is, whatever carries it.
pub(super) fn is_quic(address: &Multiaddr) -> bool {
    let mut parts = address.iter();
    parts.any(|part| matches!(part, Protocol::QuicV1))
        && !parts.any(|part| matches!(part, Protocol::P2pCircuit))
}

/// `address` for a log or an operator: `host:port` where there is one.
pub(super) fn readable(address: &Multiaddr) -> String {
    match (ip(address), port(address)) {
        (Some(ip), Some(port)) => Address::from_ip(ip, port).to_string(),
        _ => address.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_has_its_two_multiaddrs() {
        let cases = [
            ("127.0.0.1:7701", "/ip4/127.0.0.1/tcp/7701", "/ip4/127.0.0.1/udp/7701/quic-v1"),
            ("[::1]:7701", "/ip6/::1/tcp/7701", "/ip6/::1/udp/7701/quic-v1"),
            ("relay.example:7701", "/dns/relay.example/tcp/7701", "/dns/relay.example/udp/7701/quic-v1"),
        ];
        for (text, tcp, quic) in cases {
            let address: Address = text.parse().unwrap();
            assert_eq!(multiaddr(&address, Carrier::Tcp).to_string(), tcp);
            assert_eq!(multiaddr(&address, Carrier::Quic).to_string(), quic);
        }
    }

    #[test]
    fn a_circuit_leads_back_to_its_relay() {
        let base: Multiaddr = "/ip4/127.0.0.1/tcp/1".parse().unwrap();
        let circuit = circuit(&base, PeerId::random());
        assert_eq!(before_circuit(&circuit), base);
        let quic: Multiaddr = "/ip4/127.0.0.1/udp/1/quic-v1".parse().unwrap();
        assert!(is_quic(&quic) && !is_quic(&base));
        assert!(!is_quic(&super::circuit(&quic, PeerId::random())));
        assert_eq!(readable(&base), "127.0.0.1:1");
    }
}
