//! Who is calling: a JWT becomes a [`Caller`], or [`Unauthenticated`]. It owns the trust in issuers: which algorithms, keys,
//! audiences and times are believed, all from the configuration and none from the token itself (RFC 8725). It never sees
//! a provider's token, and never lets a caller's JWT out again, not into a log nor an error; it keeps the bytes of those it
//! verified, as secrets, to know them again.
//!
//! `token` finds the JWT in headers; `unverified` reads from it only what picks issuer and key; `issuer`, `keys` and `jwks`
//! hold what verifies; `signature` and `verify` check signature and claims; `cache` remembers what was verified.

mod cache;
mod error;
mod issuer;
mod jwks;
mod keys;
mod signature;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
pub mod token;
mod unverified;
mod verify;

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use http::{HeaderMap, HeaderName};
use serde_json::{Map, Value};
use tokio::runtime::Handle;

pub use self::error::{IssuerError, IssuerProblem, Reason, Unauthenticated};
pub use self::token::{likely, presented};
use self::{
    cache::VerifiedTokens,
    error::Doubt,
    issuer::TrustedIssuer,
    jwks::Pace,
    unverified::{Claims, JoseHeader, Unverified},
};
use crate::{
    clock::Timestamp,
    config::CallerIssuer,
    id::{CallerId, Issuer},
    outbound::Outbound,
    secret::Secret,
    store::OwnerId,
    telemetry::Metrics,
};

/// How far clocks may be apart, in seconds.
pub const LEEWAY: Duration = Duration::from_secs(60);

/// Somebody whose JWT was verified, or for whom such a one acts.
pub struct Caller {
    /// Who it is.
    pub id: CallerId,
    /// When the JWT expires, without leeway.
    pub expires_at: Timestamp,
    proof: Proof,
    claims: OnceLock<Box<Map<String, Value>>>,
    owner: OnceLock<OwnerId>,
    /// The issuer's set of keys that vouched; another set means to verify again.
    epoch: u32,
}

/// Whose JWT stands for a caller.
enum Proof {
    /// Their own.
    Own(Secret<Box<str>>),
    /// That of somebody who acts for them.
    Of(Arc<Caller>),
}

impl Caller {
    fn new(id: CallerId, expires_at: Timestamp, epoch: u32, token: &str) -> Self {
        Self::proven_by(Proof::Own(Secret::new(token.into())), id, expires_at, epoch)
    }

    /// A person for whom `by` acts; whether `by` may is somebody else's question.
    pub fn acting(by: &Arc<Self>, person: CallerId) -> Self {
        Self::proven_by(Proof::Of(Arc::clone(by)), person, by.expires_at, by.epoch)
    }

    fn proven_by(proof: Proof, id: CallerId, expires_at: Timestamp, epoch: u32) -> Self {
        Self { id, expires_at, proof, claims: OnceLock::new(), owner: OnceLock::new(), epoch }
    }

    /// Who acts for them, where it isn't they themselves.
    pub fn actor(&self) -> Option<&CallerId> {
        match &self.proof {
            Proof::Own(_) => None,
            Proof::Of(actor) => Some(&actor.id),
        }
    }

    /// All claims of the JWT, which is the actor's where somebody acts for them. Most calls need none of them, so they are read
    /// when they are first asked for.
    pub fn claims(&self) -> &Map<String, Value> {
        match &self.proof {
            Proof::Own(token) => {
                self.claims.get_or_init(|| Box::new(unverified::claims(token.expose()).unwrap_or_default()))
            }
            Proof::Of(actor) => actor.claims(),
        }
    }

    /// The caller's name in the store: kept here once `find` knows it, for as long as the JWT is remembered.
    pub fn owner(&self, find: impl FnOnce(&CallerId) -> Option<OwnerId>) -> Option<OwnerId> {
        if let Some(owner) = self.owner.get() {
            return Some(*owner);
        }
        let owner = find(&self.id)?;
        Some(*self.owner.get_or_init(|| owner))
    }

    /// Their own JWT. Somebody for whom another acts has none, and so is never found by that other's.
    fn token(&self) -> &[u8] {
        match &self.proof {
            Proof::Own(token) => token.expose().as_bytes(),
            Proof::Of(_) => &[],
        }
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller").field("id", &self.id).field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// Who is told of each JWT that was verified and not remembered.
type Observer = Box<dyn Fn(&Caller) + Send + Sync>;

/// All issuers that are believed, and what they have vouched for lately.
pub struct Callers {
    issuers: Vec<Arc<TrustedIssuer>>,
    /// As they were configured.
    configured: Vec<CallerIssuer>,
    /// Whether any of their callers may act for others.
    actors: bool,
    verified: VerifiedTokens,
    observer: Option<Observer>,
    metrics: Option<Arc<Metrics>>,
    longest: Option<u64>,
}

impl fmt::Debug for Callers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callers").field("issuers", &self.issuers).finish_non_exhaustive()
    }
}

impl Callers {
    /// Makes ready to authenticate callers of these issuers, at most `cache_size` of them remembered. Keys behind URLs are
    /// fetched from now on, by tasks on `runtime` that end with this value.
    ///
    /// # Errors
    /// Where an issuer's keys and algorithms can't serve; the first such issuer is told.
    pub fn new(
        issuers: &[CallerIssuer],
        cache_size: usize,
        outbound: Outbound,
        runtime: Handle,
    ) -> Result<Self, IssuerError> {
        Self::with_pace(issuers, cache_size, &outbound, &runtime, Pace::default())
    }

    /// The same for other issuers, in place of these: those that are configured as before keep the keys that were fetched.
    ///
    /// # Errors
    /// Where an issuer's keys and algorithms can't serve; the first such issuer is told.
    pub fn replaced(
        &self,
        issuers: &[CallerIssuer],
        cache_size: usize,
        outbound: Outbound,
        runtime: Handle,
    ) -> Result<Self, IssuerError> {
        Self::beside(self.kept(), issuers, cache_size, (&outbound, &runtime, Pace::default()))
    }

    /// Issuers that are believed already, with what is configured of them.
    fn kept(&self) -> Vec<(&CallerIssuer, &Arc<TrustedIssuer>)> {
        self.configured.iter().zip(&self.issuers).collect()
    }

    fn with_pace(
        issuers: &[CallerIssuer],
        cache_size: usize,
        outbound: &Outbound,
        runtime: &Handle,
        pace: Pace,
    ) -> Result<Self, IssuerError> {
        Self::beside(Vec::new(), issuers, cache_size, (outbound, runtime, pace))
    }

    fn beside(
        kept: Vec<(&CallerIssuer, &Arc<TrustedIssuer>)>,
        configured: &[CallerIssuer],
        cache_size: usize,
        (outbound, runtime, pace): (&Outbound, &Handle, Pace),
    ) -> Result<Self, IssuerError> {
        let issuer = |(index, config): (usize, &CallerIssuer)| {
            if let Some((_, same)) = kept.iter().find(|(before, _)| *before == config) {
                return Ok(Arc::clone(same));
            }
            let issuer = TrustedIssuer::new(config, outbound, runtime, pace);
            issuer.map(Arc::new).map_err(|problem| IssuerError { index, issuer: config.issuer.clone(), problem })
        };
        let issuers = configured.iter().enumerate().map(issuer).collect::<Result<_, _>>()?;
        let verified = VerifiedTokens::new(cache_size);
        let actors = configured.iter().any(acts_for_others);
        Ok(Self {
            issuers,
            configured: configured.to_vec(),
            actors,
            verified,
            observer: None,
            metrics: None,
            longest: None,
        })
    }

    /// Also tells of each JWT when it is verified, which is once for as long as it is remembered. What is told must not
    /// wait.
    #[must_use]
    pub fn telling(mut self, observer: impl Fn(&Caller) + Send + Sync + 'static) -> Self {
        self.observer = Some(Box::new(observer));
        self
    }

    /// Counts there who is not believed.
    #[must_use]
    pub fn counting(mut self, metrics: Arc<Metrics>) -> Self {
        self.metrics = Some(metrics);
        self
    }

    /// Takes no JWT of more bytes.
    #[must_use]
    pub fn no_longer_than(mut self, bytes: Option<u64>) -> Self {
        self.longest = bytes;
        self
    }

    /// Every problem that [`Callers::new`] would meet, without fetching anything.
    pub fn check(issuers: &[CallerIssuer]) -> Vec<IssuerError> {
        let problem = |(index, config): (usize, &CallerIssuer)| {
            let problem = issuer::check(config).err()?;
            Some(IssuerError { index, issuer: config.issuer.clone(), problem })
        };
        issuers.iter().enumerate().filter_map(problem).collect()
    }

    /// The caller whose JWT this is, if it was verified before and is still good: no I/O, no waiting.
    pub fn cached(&self, token: &[u8], now: Timestamp) -> Option<Arc<Caller>> {
        let caller = self.verified.get(token)?;
        let same_keys = self.issuer(&caller.id.issuer).is_some_and(|issuer| issuer.epoch() == caller.epoch);
        if same_keys && !verify::has_expired(caller.expires_at, now) {
            return Some(caller);
        }
        self.verified.remove(token);
        None
    }

    /// The caller whose JWT these headers present ([`presented`]).
    ///
    /// # Errors
    /// As [`Callers::authenticate`], and where there is none, or more than one.
    pub async fn presented_by(
        &self,
        headers: &HeaderMap,
        service_header: Option<&HeaderName>,
        now: Timestamp,
    ) -> Result<Arc<Caller>, Unauthenticated> {
        let token = presented(headers, service_header).inspect_err(|error| self.count(*error))?;
        self.authenticate(&token, now).await
    }

    fn count(&self, error: Unauthenticated) {
        if let Some(metrics) = &self.metrics {
            metrics.caller_rejected(error.reason.rejection());
        }
    }

    /// The caller whose JWT this is. Waits, for some seconds at most, where the issuer's
    /// keys have to be fetched first.
    ///
    /// # Errors
    /// Where the JWT is not believed, or the keys to tell are not to be had ([`Reason::KeysUnavailable`]).
    pub async fn authenticate(&self, token: &str, now: Timestamp) -> Result<Arc<Caller>, Unauthenticated> {
        if let Some(caller) = self.cached(token.as_bytes(), now) {
            return Ok(caller);
        }
        let verified = self.verify(token, now).await;
        verified.inspect_err(|error| self.count(*error))
    }

    async fn verify(&self, token: &str, now: Timestamp) -> Result<Arc<Caller>, Unauthenticated> {
        if self.longest.is_some_and(|longest| token.len() as u64 > longest) {
            return Err(Reason::TooLong.into());
        }
        if !token::is_well_formed(token) {
            return Err(Reason::Malformed.into());
        }
        let caller = self.believed(token, now).await.map_err(|doubt| {
            doubt.log();
            doubt.reason
        })?;
        let caller = Arc::new(caller);
        if let Some(observer) = &self.observer {
            observer(&caller);
        }
        self.verified.insert(caller.clone(), now);
        Ok(caller)
    }

    async fn believed(&self, token: &str, now: Timestamp) -> Result<Caller, Doubt> {
        let claims = Unverified::<Claims>::read(token)?;
        let issuer = self.issuer_of(&claims)?;
        let header = Unverified::<JoseHeader>::read(token)?;
        let algorithm = header.algorithm().filter(|algorithm| issuer.allows(*algorithm));
        let algorithm = algorithm.ok_or_else(|| {
            Doubt::new(Reason::Invalid, "algorithm", header.named_algorithm(), format!("{:?}", issuer.algorithms()))
        })?;
        let key_id = header.key_id();
        let found = issuer.key(key_id, algorithm).await.map_err(|reason| {
            let wanted = format!("a key of {} for {algorithm:?}", issuer.name());
            Doubt::new(reason, "kid", key_id.unwrap_or("none"), wanted)
        })?;
        issuer.verify(token, claims, &found, now)
    }

    /// Whether every issuer's keys have been there once.
    pub fn ready(&self) -> bool {
        self.issuers.iter().all(|issuer| issuer.ready())
    }

    /// Issuers whose keys could not be fetched at the last attempt; those fetched before still serve.
    pub fn failing(&self) -> Vec<Issuer> {
        self.issuers.iter().filter(|issuer| issuer.failing()).map(|issuer| issuer.name().clone()).collect()
    }

    /// Whether the operator lets this issuer's callers act for others.
    pub fn may_act_for_others(&self, issuer: &Issuer) -> bool {
        self.configured.iter().find(|known| known.issuer == *issuer).is_some_and(acts_for_others)
    }

    /// Whether the operator lets anybody act for others.
    pub fn anybody_may_act(&self) -> bool {
        self.actors
    }

    /// Whether callers of this issuer are believed.
    pub fn knows(&self, issuer: &Issuer) -> bool {
        self.issuer(issuer).is_some()
    }

    /// The application's name for callers of this issuer, where it has one of its own.
    pub fn application(&self, issuer: &Issuer) -> Option<&str> {
        self.issuer(issuer)?.application()
    }

    /// The issuer of this name; the first decides.
    fn issuer(&self, name: &Issuer) -> Option<&TrustedIssuer> {
        self.issuers.iter().find(|issuer| issuer.name() == name).map(AsRef::as_ref)
    }

    /// The issuer that the token names; the first of that name decides.
    fn issuer_of(&self, claims: &Unverified<Claims>) -> Result<&TrustedIssuer, Doubt> {
        let named = claims.issuer();
        self.issuers.iter().find(|issuer| Some(issuer.name().as_str()) == named).map(AsRef::as_ref).ok_or_else(|| {
            let known: Vec<&str> = self.issuers.iter().map(|issuer| issuer.name().as_str()).collect();
            Doubt::new(Reason::Invalid, "issuer", named.unwrap_or("none"), known.join(", "))
        })
    }
}

fn acts_for_others(issuer: &CallerIssuer) -> bool {
    issuer.pods.as_ref().is_some_and(|pods| pods.on_behalf_of)
}
