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

use crate::{
    config::loopback::{is_loopback_address, is_loopback_name},
    outbound,
};

const FRESH: Duration = Duration::from_secs(30);
const PATIENCE: Duration = Duration::from_secs(5);
/// Addresses that are no longer fresh serve for so long while the resolver is asked again: nobody waits for it.
const STALE: Duration = Duration::from_secs(600);

/// The addresses of one upstream. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Name(Arc<Inner>);

#[derive(Debug)]
struct Inner {
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
        let known = literal.and_then(|address| usable(&host, std::iter::once(address)).ok());
        let known = known.map(|addresses| Arc::new(Known { addresses, until: None }));
        Self(Arc::new(Inner { host, port, known: ArcSwapOption::new(known), asking: AtomicBool::new(false) }))
    }

    /// One of the addresses, without waiting: the one to try after `tried` others. `None` where the resolver must be asked
    /// first.
    pub fn at_once(&self, tried: usize, now: Instant) -> Option<SocketAddr> {
        let known = self.0.known.load();
        let known = known.as_ref()?;
        if let Some(until) = known.until
            && now >= until
        {
            if now >= until + STALE {
                return None;
            }
            self.ask_again();
        }
        Some(known.addresses[tried % known.addresses.len()])
    }

    /// Asks the resolver in the background, unless somebody does.
    fn ask_again(&self) {
        if let Some(asking) = Asking::begin(&self.0) {
            tokio::spawn(async move { asking.0.ask().await });
        }
    }

    /// The addresses, never empty.
    ///
    /// # Errors
    /// Where the resolver has no usable answer and none is remembered.
    pub async fn resolve(&self) -> Result<Arc<[SocketAddr]>, Unresolved> {
        let known = self.0.known.load_full();
        if let Some(known) = &known
            && known.until.is_none_or(|until| Instant::now() < until)
        {
            return Ok(Arc::clone(&known.addresses));
        }
        if self.0.host.parse::<IpAddr>().is_ok() {
            return Err(Unresolved);
        }
        self.0.ask().await
    }
}

impl Inner {
    /// Asks the resolver. What is known serves on where it has no answer, and it isn't asked again at once.
    async fn ask(&self) -> Result<Arc<[SocketAddr]>, Unresolved> {
        let answer = match timeout(PATIENCE, tokio::net::lookup_host((self.host.as_str(), self.port))).await {
            Ok(Ok(addresses)) => usable(&self.host, addresses),
            Ok(Err(_)) | Err(_) => Err(Unresolved),
        };
        let (addresses, fresh_for) = match (answer, self.known.load_full()) {
            (Ok(addresses), _) => (addresses, FRESH),
            (Err(_), Some(known)) => (Arc::clone(&known.addresses), PATIENCE),
            (Err(unresolved), None) => return Err(unresolved),
        };
        let until = Some(Instant::now() + fresh_for);
        self.known.store(Some(Arc::new(Known { addresses: Arc::clone(&addresses), until })));
        Ok(addresses)
    }
}

/// The one who asks. Takes the mark back, also when it goes away.
struct Asking(Arc<Inner>);

impl Asking {
    /// `None`: somebody else does.
    fn begin(name: &Arc<Inner>) -> Option<Self> {
        if name.asking.load(Ordering::Relaxed) || name.asking.swap(true, Ordering::Relaxed) {
            return None;
        }
        Some(Self(Arc::clone(name)))
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.asking.store(false, Ordering::Relaxed);
    }
}

/// The addresses that may be called. A name that means loopback leads nowhere else (RFC 6761 §6.3): plain `http` is let
/// through to it.
fn usable(host: &str, addresses: impl Iterator<Item = SocketAddr>) -> Result<Arc<[SocketAddr]>, Unresolved> {
    let local = is_loopback_name(host);
    let may_be_called =
        |address: &SocketAddr| outbound::may_be_called(address.ip()) && (!local || is_loopback_address(address.ip()));
    let usable: Arc<[SocketAddr]> = addresses.filter(may_be_called).collect();
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
        // Whoever finds them stale has them asked for again, and nobody waits.
        let later = Instant::now() + FRESH;
        assert_eq!(name.at_once(0, later), Some(addresses[0]));
        assert!(name.0.asking.load(Ordering::Relaxed));
        assert_eq!(name.at_once(0, later), Some(addresses[0]), "while somebody asks, too");
        while name.0.asking.load(Ordering::Relaxed) {
            tokio::task::yield_now().await;
        }
        assert!(name.0.known.load().as_ref().unwrap().until.unwrap() >= later, "they are fresh again");
        assert_eq!(name.at_once(0, later + FRESH + STALE), None, "very old ones are not believed unasked");
    }

    #[tokio::test]
    async fn what_is_known_serves_on_while_the_resolver_fails() {
        let name = Name::new("no-such-host.invalid", 443);
        let known: Arc<[SocketAddr]> = Arc::new(["127.0.0.1:443".parse().unwrap()]);
        let long_ago = Instant::now().checked_sub(STALE + STALE).unwrap();
        name.0.known.store(Some(Arc::new(Known { addresses: Arc::clone(&known), until: Some(long_ago) })));
        assert_eq!(name.at_once(0, Instant::now()), None);
        assert_eq!(name.resolve().await, Ok(Arc::clone(&known)));
        assert_eq!(
            name.at_once(0, Instant::now()),
            Some(known[0]),
            "the next call doesn't wait for the resolver again"
        );
    }

    #[test]
    fn a_loopback_name_leads_to_loopback_only() {
        let found = || ["10.0.0.1:80", "127.0.0.1:80"].into_iter().map(|text| text.parse().unwrap());
        for host in ["crm.localhost", "localhost", "CRM.LocalHost."] {
            assert_eq!(usable(host, found()).unwrap().len(), 1, "{host}");
            assert_eq!(usable(host, found().take(1)), Err(Unresolved), "{host}");
        }
        assert_eq!(usable("crm.example", found()).unwrap().len(), 2);
    }
}
