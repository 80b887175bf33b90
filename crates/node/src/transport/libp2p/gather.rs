//! A multiplexer that writes each of its frames at once.
//!
//! yamux hands a frame's header and its body to the connection one after the other, and TLS makes a record of each: 22
//! bytes, an encryption and a system call more for every message. Here both wait in a buffer until the multiplexer
//! flushes, which it does whenever it has nothing else to send. (Noise, under a circuit's multiplexer, gathers by itself.)

use futures::io::BufWriter;
use libp2p::{
    core::{
        UpgradeInfo,
        upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade},
    },
    yamux,
};

/// yamux over a connection whose writes are gathered.
#[derive(Clone)]
pub(super) struct Gathered(pub(super) yamux::Config);

impl UpgradeInfo for Gathered {
    type Info = &'static str;
    type InfoIter = std::iter::Once<&'static str>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.0.protocol_info()
    }
}

impl<C> InboundConnectionUpgrade<C> for Gathered
where
    C: futures::AsyncWrite,
    yamux::Config: InboundConnectionUpgrade<BufWriter<C>>,
{
    type Output = <yamux::Config as InboundConnectionUpgrade<BufWriter<C>>>::Output;
    type Error = <yamux::Config as InboundConnectionUpgrade<BufWriter<C>>>::Error;
    type Future = <yamux::Config as InboundConnectionUpgrade<BufWriter<C>>>::Future;

    fn upgrade_inbound(self, socket: C, info: Self::Info) -> Self::Future {
        self.0.upgrade_inbound(BufWriter::new(socket), info)
    }
}

impl<C> OutboundConnectionUpgrade<C> for Gathered
where
    C: futures::AsyncWrite,
    yamux::Config: OutboundConnectionUpgrade<BufWriter<C>>,
{
    type Output = <yamux::Config as OutboundConnectionUpgrade<BufWriter<C>>>::Output;
    type Error = <yamux::Config as OutboundConnectionUpgrade<BufWriter<C>>>::Error;
    type Future = <yamux::Config as OutboundConnectionUpgrade<BufWriter<C>>>::Future;

    fn upgrade_outbound(self, socket: C, info: Self::Info) -> Self::Future {
        self.0.upgrade_outbound(BufWriter::new(socket), info)
    }
}
