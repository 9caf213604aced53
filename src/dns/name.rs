//! One name and its addresses. They are at hand without waiting, allocating or locking once they are known, and asked for
//! again in the background when they are no longer fresh. While the resolver fails, the last good ones serve; an answer
//! that names only forbidden ones is an answer, and ends them.

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

use super::forbidden::permitted;

/// How long an answer is fresh. The system's resolver tells no TTL.
const FRESH: Duration = Duration::from_secs(30);
/// How long the resolver may take, and how long it is left alone after it failed.
const PATIENCE: Duration = Duration::from_secs(5);
/// The same where somebody waits for it and there are addresses to go on with: well within the time for a connection.
const PATIENCE_WHILE_KNOWN: Duration = Duration::from_secs(1);
/// How long addresses that are no longer fresh serve while the resolver is asked again in the background.
const STALE: Duration = Duration::from_secs(600);

/// The addresses of one name and port. Cheap to clone.
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
pub enum Unresolved {
    /// The resolver has no answer, and none is remembered.
    #[error("the name could not be resolved")]
    Unknown,
    /// Each of its addresses is one that may not be called.
    #[error("the name leads to an address that may not be called")]
    Forbidden,
}

impl Name {
    /// Resolves nothing yet. `host` is a name, or a literal; IPv6 in brackets.
    pub fn new(host: &str, port: u16) -> Self {
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let literal = host.parse::<IpAddr>().ok().map(|address| SocketAddr::new(address, port));
        let addresses: Arc<[SocketAddr]> = permitted(&host, literal.into_iter().collect()).into();
        let known = (!addresses.is_empty()).then(|| Arc::new(Known { addresses, until: None }));
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
            tokio::spawn(async move { asking.0.ask(PATIENCE).await });
        }
    }

    /// The addresses, never empty, and fresh where the resolver answers.
    ///
    /// # Errors
    /// Where the resolver has no answer and none is remembered, or the answer holds nothing that may be called.
    pub async fn resolve(&self) -> Result<Arc<[SocketAddr]>, Unresolved> {
        let known = self.0.known.load_full();
        if let Some(known) = &known
            && known.until.is_none_or(|until| Instant::now() < until)
        {
            return Ok(Arc::clone(&known.addresses));
        }
        if self.0.host.parse::<IpAddr>().is_ok() {
            return Err(Unresolved::Forbidden);
        }
        self.0.ask(if known.is_some() { PATIENCE_WHILE_KNOWN } else { PATIENCE }).await
    }
}

impl Inner {
    async fn ask(&self, patience: Duration) -> Result<Arc<[SocketAddr]>, Unresolved> {
        let answer = match timeout(patience, tokio::net::lookup_host((self.host.as_str(), self.port))).await {
            Ok(Ok(addresses)) => Some(addresses.collect()),
            Ok(Err(_)) | Err(_) => None,
        };
        self.learn(answer, Instant::now())
    }

    /// Takes an answer in. Where there is none, what is known serves on, and the resolver isn't asked again at once.
    fn learn(&self, answer: Option<Vec<SocketAddr>>, now: Instant) -> Result<Arc<[SocketAddr]>, Unresolved> {
        let (addresses, fresh_for): (Arc<[SocketAddr]>, _) = match answer.filter(|found| !found.is_empty()) {
            Some(found) => (permitted(&self.host, found).into(), FRESH),
            None => (Arc::clone(&self.known.load_full().ok_or(Unresolved::Unknown)?.addresses), PATIENCE),
        };
        if addresses.is_empty() {
            self.known.store(None);
            return Err(Unresolved::Forbidden);
        }
        self.known.store(Some(Arc::new(Known { addresses: Arc::clone(&addresses), until: Some(now + fresh_for) })));
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
        assert_eq!(name.resolve().await, Err(Unresolved::Forbidden));
    }

    #[tokio::test]
    async fn an_unknown_name_is_no_panic() {
        assert_eq!(Name::new("no-such-host.invalid", 443).resolve().await, Err(Unresolved::Unknown));
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
    fn an_answer_of_forbidden_addresses_ends_what_is_known_and_a_failure_does_not() {
        let (name, now) = (Name::new("crm.example", 443), Instant::now());
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let good = name.0.learn(Some(vec![address("192.0.2.1:443"), address("169.254.1.1:443")]), now).unwrap();
        assert_eq!(*good, [address("192.0.2.1:443")]);
        assert_eq!(name.0.learn(None, now + FRESH), Ok(good));
        assert_eq!(name.at_once(0, now + FRESH), Some(address("192.0.2.1:443")));
        assert_eq!(name.0.learn(Some(vec![address("169.254.1.1:443")]), now + FRESH), Err(Unresolved::Forbidden));
        assert_eq!(name.at_once(0, now + FRESH), None);
        assert_eq!(name.0.learn(None, now), Err(Unresolved::Unknown), "what was ended is not remembered");
        assert_eq!(name.0.learn(Some(vec![]), now), Err(Unresolved::Unknown));
    }
}
