//! Names to addresses without blocking a phase (Pingora's own constructor blocks and panics): asked of the system, kept
//! for half a minute, and used beyond that while the resolver fails. Addresses that are no API's (link-local, metadata)
//! are refused here, after resolution, so that no answer can lead there.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::time::timeout;

use crate::outbound;

const FRESH: Duration = Duration::from_secs(30);
const PATIENCE: Duration = Duration::from_secs(5);

/// The addresses of upstreams.
#[derive(Debug, Default)]
pub struct Names(Mutex<HashMap<(String, u16), Known>>);

#[derive(Debug, Clone)]
struct Known {
    addresses: Arc<[SocketAddr]>,
    until: Instant,
}

/// No address can be had for a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the upstream's name could not be resolved")]
pub struct Unresolved;

impl Names {
    /// The addresses of `host` (a name, or a literal; IPv6 in brackets), never empty.
    ///
    /// # Errors
    /// Where the resolver has no usable answer and none is remembered.
    pub async fn resolve(&self, host: &str, port: u16) -> Result<Arc<[SocketAddr]>, Unresolved> {
        if let Ok(address) = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            return usable(std::iter::once(SocketAddr::new(address, port)));
        }
        let key = (host.to_owned(), port);
        let known = self.0.lock().get(&key).cloned();
        if let Some(known) = &known
            && Instant::now() < known.until
        {
            return Ok(Arc::clone(&known.addresses));
        }
        let answer = match timeout(PATIENCE, tokio::net::lookup_host((host, port))).await {
            Ok(Ok(addresses)) => usable(addresses),
            Ok(Err(_)) | Err(_) => Err(Unresolved),
        };
        match answer {
            Ok(addresses) => {
                let until = Instant::now() + FRESH;
                self.0.lock().insert(key, Known { addresses: Arc::clone(&addresses), until });
                Ok(addresses)
            }
            Err(unresolved) => known.map(|known| known.addresses).ok_or(unresolved),
        }
    }
}

fn usable(addresses: impl Iterator<Item = SocketAddr>) -> Result<Arc<[SocketAddr]>, Unresolved> {
    let usable: Arc<[SocketAddr]> = addresses.filter(|address| outbound::may_be_called(address.ip())).collect();
    if usable.is_empty() { Err(Unresolved) } else { Ok(usable) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn literals_need_no_resolver() {
        let names = Names::default();
        assert_eq!(names.resolve("127.0.0.1", 80).await.unwrap()[0], "127.0.0.1:80".parse().unwrap());
        assert_eq!(names.resolve("[::1]", 81).await.unwrap()[0], "[::1]:81".parse().unwrap());
    }

    #[tokio::test]
    async fn metadata_addresses_are_refused() {
        assert_eq!(Names::default().resolve("169.254.169.254", 80).await, Err(Unresolved));
    }

    #[tokio::test]
    async fn an_unknown_name_is_no_panic() {
        assert_eq!(Names::default().resolve("no-such-host.invalid", 443).await, Err(Unresolved));
    }
}
