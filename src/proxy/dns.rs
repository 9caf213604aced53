//! Names to addresses without blocking a phase (Pingora's own constructor blocks and panics): asked of the system, kept
//! for half a minute, and used beyond that while the resolver fails. Addresses that are no API's (link-local, metadata)
//! are refused here, after resolution, so that no answer can lead there.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use tokio::time::timeout;

use crate::outbound;

const FRESH: Duration = Duration::from_secs(30);
const PATIENCE: Duration = Duration::from_secs(5);

/// The addresses of one upstream.
#[derive(Debug)]
pub struct Name {
    /// A name, or a literal; IPv6 without brackets.
    host: String,
    port: u16,
    known: ArcSwapOption<Known>,
    /// Somebody is asking again; whoever comes meanwhile takes what is known.
    asking: AtomicBool,
}

/// Addresses, and until when they are fresh; literals always are.
#[derive(Debug)]
struct Known {
    addresses: Arc<[SocketAddr]>,
    until: Option<Instant>,
}

/// No address can be had for a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the upstream's name could not be resolved")]
pub struct Unresolved;

impl Name {
    /// Resolves nothing yet. `host` is a name, or a literal; IPv6 in brackets.
    pub fn new(host: &str, port: u16) -> Self {
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let literal = host.parse::<IpAddr>().ok().map(|address| SocketAddr::new(address, port));
        let known = literal.and_then(|address| usable(std::iter::once(address)).ok());
        let known = known.map(|addresses| Arc::new(Known { addresses, until: None }));
        Self { host, port, known: ArcSwapOption::new(known), asking: AtomicBool::new(false) }
    }

    /// One of the addresses, without waiting: the one to try after `tried` others. `None` where the resolver must be asked.
    pub fn at_once(&self, tried: usize, now: Instant) -> Option<SocketAddr> {
        let known = self.known.load();
        let known = known.as_ref()?;
        let fresh = known.until.is_none_or(|until| now < until);
        (fresh || self.asking.load(Ordering::Relaxed)).then(|| known.addresses[tried % known.addresses.len()])
    }

    /// The addresses, never empty.
    ///
    /// # Errors
    /// Where the resolver has no usable answer and none is remembered.
    pub async fn resolve(&self) -> Result<Arc<[SocketAddr]>, Unresolved> {
        let known = self.known.load_full();
        if let Some(known) = &known
            && known.until.is_none_or(|until| Instant::now() < until)
        {
            return Ok(Arc::clone(&known.addresses));
        }
        if self.host.parse::<IpAddr>().is_ok() {
            return Err(Unresolved);
        }
        let _asking = Asking::begin(&self.asking);
        let answer = match timeout(PATIENCE, tokio::net::lookup_host((self.host.as_str(), self.port))).await {
            Ok(Ok(addresses)) => usable(addresses),
            Ok(Err(_)) | Err(_) => Err(Unresolved),
        };
        match answer {
            Ok(addresses) => {
                let until = Some(Instant::now() + FRESH);
                self.known.store(Some(Arc::new(Known { addresses: Arc::clone(&addresses), until })));
                Ok(addresses)
            }
            Err(unresolved) => known.map(|known| Arc::clone(&known.addresses)).ok_or(unresolved),
        }
    }
}

/// Takes the mark back, also when the asker goes away.
struct Asking<'a>(&'a AtomicBool);

impl<'a> Asking<'a> {
    fn begin(mark: &'a AtomicBool) -> Self {
        mark.store(true, Ordering::Relaxed);
        Self(mark)
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
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
        for (host, port, expected) in [("127.0.0.1", 80, "127.0.0.1:80"), ("[::1]", 81, "[::1]:81")] {
            let name = Name::new(host, port);
            assert_eq!(name.at_once(0, Instant::now()), Some(expected.parse().unwrap()));
            assert_eq!(name.resolve().await.unwrap()[0], expected.parse().unwrap());
        }
    }

    #[tokio::test]
    async fn metadata_addresses_are_refused() {
        let name = Name::new("169.254.169.254", 80);
        assert_eq!(name.at_once(0, Instant::now()), None);
        assert_eq!(name.resolve().await, Err(Unresolved));
    }

    #[tokio::test]
    async fn an_unknown_name_is_no_panic() {
        assert_eq!(Name::new("no-such-host.invalid", 443).resolve().await, Err(Unresolved));
    }

    #[tokio::test]
    async fn addresses_are_remembered_for_a_while_and_the_next_one_is_tried_after_a_failure() {
        let now = Instant::now();
        let name = Name::new("localhost", 80);
        assert_eq!(name.at_once(0, now), None, "nobody has asked yet");
        let addresses = name.resolve().await.unwrap();
        for tried in 0..3 {
            assert_eq!(name.at_once(tried, now), Some(addresses[tried % addresses.len()]));
        }
        let later = Instant::now() + FRESH;
        assert_eq!(name.at_once(0, later), None, "they are asked for again");
        name.asking.store(true, Ordering::Relaxed);
        assert_eq!(name.at_once(0, later), Some(addresses[0]), "but by one call only");
    }
}
