//! Free loopback ports for servers that cannot choose their own.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A port that nothing listens on now. Each test process looks in a window of its own, below the ports that the kernel
/// gives to outgoing connections, so that no other test takes it between this look and its use.
pub(crate) fn free_port() -> u16 {
    let window = 10_000 + (std::process::id() % 550) * 40;
    for _ in 0..2_000 {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = u16::try_from(10_000 + (window - 10_000 + step) % 22_000).expect("below 32,000");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port");
}
