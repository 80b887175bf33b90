//! Ports for mediators on loopback.

use std::{
    net::{TcpListener, UdpSocket},
    sync::atomic::{AtomicU16, Ordering},
};

/// Below what the kernel gives to outgoing connections: while a mediator is down, nothing else may sit on its port, not even a
/// capital's own call to it.
const RANGE: std::ops::Range<u16> = 20_000..32_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A port that is free for TCP and for UDP now, and not given out before by this process.
pub fn free() -> u16 {
    let span = u32::from(RANGE.end - RANGE.start);
    for _ in 0..span {
        let step = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        // Test processes that run at the same time begin far from each other.
        let offset = (std::process::id().wrapping_mul(7919) + step) % span;
        let port = RANGE.start + u16::try_from(offset).expect("below the span");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() && UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port in {RANGE:?}")
}
