//! A usable credential: the ready-made headers for one service, where calls with it go, when it expires, what it allows, and what has been seen of
//! it. The value is marked sensitive, so that no `Debug` prints it. Knows nothing of how it came about.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use http::{HeaderName, HeaderValue};

use crate::{
    clock::Timestamp,
    connection::model::AuthKind,
    id::ConnectionId,
    provider::{ScopeSet, Upstream},
    store::Version,
};

use super::few::Few;

/// A credential that calls can carry.
pub struct Credential {
    /// The connection it belongs to; shared by all credentials that rest on it.
    pub id: Arc<ConnectionId>,
    /// Token or key.
    pub kind: AuthKind,
    /// Where calls with it go.
    pub upstream: Arc<Upstream>,
    /// The headers that carry it; their values are marked sensitive.
    pub headers: Few<(Arc<HeaderName>, HeaderValue)>,
    /// Tells it from its predecessors and successors.
    pub token_version: Version,
    /// When it was issued, or stored.
    pub issued_at: Option<Timestamp>,
    /// When it expires, as far as is known.
    pub expires_at: Option<Timestamp>,
    /// From then on it is renewed in the background.
    pub refresh_at: Option<Timestamp>,
    /// Whether there is a refresh token.
    pub refreshable: bool,
    /// When this process got it.
    pub at_hand: Timestamp,
    /// What was granted, where that is known.
    pub scopes: Option<ScopeSet>,
    /// It was renewed because the one before it was refused, and no call has been accepted with it yet.
    pub(in crate::connection) on_trial: AtomicBool,
    /// When a renewal was last started for it, in seconds since the epoch.
    pub(in crate::connection) renewal: AtomicU32,
    /// When calls used it.
    pub(in crate::connection) seen: Seen,
}

/// When calls used a credential; a new one, never. What is smaller than a moment lies in the credential itself, where it
/// fills a gap: there may be tens of thousands of them.
#[derive(Default)]
pub struct Seen {
    /// The latest begin of a call that the upstream accepted, in milliseconds since the epoch.
    accepted: AtomicU64,
    /// When a call last used the connection by a predecessor, and what of all uses the store knows, in milliseconds since
    /// the epoch; 0 for nothing.
    used_before: AtomicU64,
    use_written: AtomicU64,
}

impl Credential {
    /// Whether it has expired. A token that the provider calls good for another second is used for that second.
    pub fn has_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| end.reached(now))
    }

    /// Whether it should be renewed while it is still good.
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.refreshable && self.refresh_at.is_some_and(|time| time.reached(now))
    }

    /// A call that began at `began` was accepted with it. Says whether that is news: once a second at most.
    pub fn accepted(&self, began: Timestamp) -> bool {
        let before = self.seen.accepted.fetch_max(began.millis(), Ordering::Relaxed);
        // Read first: every call comes by here, and hardly any has something to change.
        if self.is_on_trial() {
            self.on_trial.store(false, Ordering::Relaxed);
        }
        began.millis() >= before.saturating_add(1000)
    }

    /// It was renewed because the one before it was refused: a refusal of this one, too, is the end of the grant.
    pub fn put_on_trial(&self) {
        if self.seen.accepted.load(Ordering::Relaxed) == 0 {
            self.on_trial.store(true, Ordering::Relaxed);
        }
    }

    /// Whether that is so, and no call has been accepted with it since.
    pub fn is_on_trial(&self) -> bool {
        self.on_trial.load(Ordering::Relaxed)
    }

    /// When a call last used the connection, by this credential or one before it, as far as this process knows.
    pub fn last_used(&self) -> Option<Timestamp> {
        let here = self.seen.accepted.load(Ordering::Relaxed);
        moment(here.max(self.seen.used_before.load(Ordering::Relaxed)))
    }

    /// What of that the store knows.
    pub fn use_written(&self) -> Option<Timestamp> {
        moment(self.seen.use_written.load(Ordering::Relaxed))
    }

    /// The store knows this time of use, or a later one.
    pub fn set_use_written(&self, at: Timestamp) {
        self.seen.use_written.fetch_max(at.millis(), Ordering::Relaxed);
    }

    /// It takes the place of `other`: what is known of the connection's use goes over to it. That says nothing of whether
    /// it is alive.
    pub fn succeeds(&self, other: &Self) {
        // Read again from the store, it is the same token.
        if other.token_version == self.token_version && other.is_on_trial() {
            self.put_on_trial();
        }
        if let Some(used) = other.last_used() {
            self.seen.used_before.fetch_max(used.millis(), Ordering::Relaxed);
        }
        self.seen.use_written.fetch_max(other.seen.use_written.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Whether this call is the one to start a renewal: one a second is enough. A clock that was set back since is no
    /// reason to wait until it has caught up.
    pub fn claim_renewal(&self, now: Timestamp) -> bool {
        let now = u32::try_from(now.seconds()).unwrap_or(u32::MAX);
        let last = self.renewal.load(Ordering::Relaxed);
        now != last && self.renewal.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Whether a call begun after `began` was accepted with it: proof, at `now`, that a refusal is the upstream's own.
    /// Not once it is due for renewal, when it may well have ended between the two; nor by an acceptance that lies ahead
    /// of a clock that was set back.
    pub fn proven_alive(&self, began: Timestamp, now: Timestamp) -> bool {
        let accepted = self.seen.accepted.load(Ordering::Relaxed);
        accepted > began.millis() && accepted <= now.millis() && !self.is_due(now) && !self.has_expired(now)
    }
}

fn moment(millis: u64) -> Option<Timestamp> {
    (millis > 0).then(|| Timestamp::from_millis(millis))
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("id", &self.id)
            .field("kind", &self.kind)
            .field("token_version", &self.token_version)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// When a token is to be renewed ahead of its end: `window` before it, but never in the first four fifths of its life.
pub fn refresh_at(issued: Option<Timestamp>, expires: Option<Timestamp>, window: Duration) -> Option<Timestamp> {
    let end = expires?;
    let window = match issued {
        Some(issued) => window.min(end.since(issued) / 5),
        None => window,
    };
    Some(Timestamp::from_millis(end.millis().saturating_sub(u64::try_from(window.as_millis()).unwrap_or(u64::MAX))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        id::{Account, CallerId, Issuer, ServiceName, Subject},
        provider::BaseUrl,
    };

    fn credential(refresh_at: u64) -> Credential {
        let (issuer, subject) = (Issuer::parse("https://app.example/").unwrap(), Subject::parse("ada").unwrap());
        let service = ServiceName::parse("crm").unwrap();
        let id = ConnectionId { caller: CallerId { issuer, subject }, service, account: Account::default() };
        let [issued, due, end] = [1000, refresh_at, 4600].map(|at| Some(Timestamp::from_seconds(at)));
        let header = (Arc::new(http::header::AUTHORIZATION), HeaderValue::from_static("Bearer t"));
        let upstream = Upstream::new(BaseUrl::parse("https://api.example.com", false).unwrap());
        Credential {
            id: Arc::new(id),
            kind: AuthKind::OAuth,
            upstream,
            headers: Few::One(header),
            token_version: Version(1),
            issued_at: issued,
            expires_at: end,
            refresh_at: due,
            refreshable: true,
            at_hand: Timestamp::from_seconds(1000),
            scopes: None,
            on_trial: AtomicBool::default(),
            renewal: AtomicU32::default(),
            seen: Seen::default(),
        }
    }

    #[test]
    fn a_later_calls_success_proves_life_until_the_token_is_due() {
        let at = Timestamp::from_seconds;
        let credential = credential(4300);
        assert!(!credential.proven_alive(at(2000), at(2003)), "nothing has been seen yet");
        credential.accepted(at(2001));
        assert!(credential.proven_alive(at(2000), at(2003)));
        assert!(!credential.proven_alive(at(2001), at(2003)), "not by a call that began no later");
        assert!(!credential.proven_alive(at(2000), at(4300)), "it may have ended between the two");
        assert!(!credential.proven_alive(at(1000), at(1003)), "the clock was set back");
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_hold_renewals_up() {
        let credential = credential(4300);
        assert!(credential.claim_renewal(Timestamp::from_seconds(9000)));
        assert!(!credential.claim_renewal(Timestamp::from_millis(9_000_500)));
        assert!(credential.claim_renewal(Timestamp::from_seconds(4400)));
    }

    #[test]
    fn a_successor_knows_of_the_connections_use_and_not_of_its_own_life() {
        let at = Timestamp::from_seconds;
        let (before, after) = (credential(4300), credential(4300));
        assert_eq!(before.last_used(), None);
        before.accepted(at(2001));
        before.set_use_written(at(1500));
        after.succeeds(&before);
        assert_eq!((after.last_used(), after.use_written()), (Some(at(2001)), Some(at(1500))));
        assert!(!after.proven_alive(at(2000), at(2003)));
        after.accepted(at(2002));
        assert_eq!(after.last_used(), Some(at(2002)));
    }

    #[test]
    fn a_renewed_token_is_on_trial_until_a_call_is_accepted_with_it() {
        let (renewed, read_again) = (credential(4300), credential(4300));
        renewed.put_on_trial();
        read_again.succeeds(&renewed);
        assert!(read_again.is_on_trial());
        read_again.accepted(Timestamp::from_seconds(2001));
        assert!(!read_again.is_on_trial());
        read_again.put_on_trial();
        assert!(!read_again.is_on_trial(), "it has been accepted meanwhile");
    }

    #[test]
    fn short_lived_tokens_are_renewed_in_the_last_fifth_of_their_life() {
        let (issued, window) = (Timestamp::from_seconds(1000), Duration::from_secs(300));
        let at = |life: u64| refresh_at(Some(issued), Some(Timestamp::from_seconds(1000 + life)), window);
        assert_eq!(at(10), Some(Timestamp::from_seconds(1008)));
        assert_eq!(at(3600), Some(Timestamp::from_seconds(1000 + 3300)));
        assert_eq!(refresh_at(Some(issued), None, window), None);
    }
}
