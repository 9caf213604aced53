//! One issuer that is believed: its rules and its keys, from the configuration.

use tokio::runtime::Handle;
use url::Url;

use super::{
    Caller, IssuerProblem, Reason,
    error::Doubt,
    jwks::{Jwks, Pace, Place},
    keys::{Found, KeyRing, is_hmac},
    unverified::{Claims, Unverified},
    verify::Rules,
};
use crate::{
    clock::Timestamp,
    config::{Algorithm, CallerIssuer, ClusterKeys, IssuerKeys, loopback::is_loopback},
    id::Issuer,
    outbound::Outbound,
};

/// An issuer that is believed.
#[derive(Debug)]
pub(super) struct TrustedIssuer {
    rules: Rules,
    keys: Keys,
    application: Option<String>,
}

#[derive(Debug)]
enum Keys {
    /// Known at start, and for good.
    Fixed(KeyRing),
    /// Behind a URL.
    Remote(Jwks),
}

/// Keys as configured, as far as they can be had without fetching.
enum Configured<'c> {
    Fixed(KeyRing),
    Remote(&'c Url, Option<&'c ClusterKeys>),
}

/// Checks an issuer's configuration without fetching anything.
pub(super) fn check(config: &CallerIssuer) -> Result<(), IssuerProblem> {
    configured(config).map(|_| ())
}

fn configured(config: &CallerIssuer) -> Result<Configured<'_>, IssuerProblem> {
    let allowed = &config.algorithms;
    if allowed.is_empty() {
        return Err(IssuerProblem::NoAlgorithms);
    }
    let with_secret = matches!(config.keys, IssuerKeys::Secret(_));
    if allowed.iter().any(|algorithm| is_hmac(*algorithm) != with_secret) {
        return Err(IssuerProblem::SecretMismatch);
    }
    match &config.keys {
        IssuerKeys::Secret(secret) => KeyRing::from_secret(secret, allowed).map(Configured::Fixed),
        IssuerKeys::PublicKey(pem) => KeyRing::from_pem(pem, allowed).map(Configured::Fixed),
        IssuerKeys::Jwks(json) => {
            let ring = KeyRing::from_jwks(json.as_bytes(), allowed)?;
            if ring.is_empty() { Err(IssuerProblem::NoUsableKey) } else { Ok(Configured::Fixed(ring)) }
        }
        IssuerKeys::JwksUrl(url) if is_secure(url) => Ok(Configured::Remote(url, None)),
        IssuerKeys::Cluster(keys) if is_secure(&keys.url) => Ok(Configured::Remote(&keys.url, Some(keys))),
        IssuerKeys::JwksUrl(_) | IssuerKeys::Cluster(_) => Err(IssuerProblem::InsecureUrl),
    }
}

/// Whether keys may be fetched from there; `outbound` has the last word, with every call.
fn is_secure(url: &Url) -> bool {
    url.scheme() == "https" || (url.scheme() == "http" && is_loopback(url))
}

impl TrustedIssuer {
    /// Makes ready; keys behind a URL are fetched from now on.
    pub(super) fn new(
        config: &CallerIssuer,
        outbound: &Outbound,
        runtime: &Handle,
        pace: Pace,
    ) -> Result<Self, IssuerProblem> {
        let keys = match configured(config)? {
            Configured::Fixed(ring) => Keys::Fixed(ring),
            Configured::Remote(url, cluster) => {
                let outbound = match cluster.and_then(|keys| keys.ca.as_deref()) {
                    Some(ca) => outbound.trusting_only(ca).map_err(|_| IssuerProblem::UnreadableAuthority)?,
                    None => outbound.clone(),
                };
                let place = Place { url: url.clone(), token_file: cluster.map(|keys| keys.token_file.clone()) };
                Keys::Remote(Jwks::start(config, place, outbound, runtime, pace))
            }
        };
        Ok(Self { rules: Rules::new(config), keys, application: config.application.clone() })
    }

    /// Its name.
    pub(super) fn name(&self) -> &Issuer {
        self.rules.issuer()
    }

    /// The application it stands for.
    pub(super) fn application(&self) -> Option<&str> {
        self.application.as_deref()
    }

    /// Whether its tokens may be signed by this algorithm.
    pub(super) fn allows(&self, algorithm: Algorithm) -> bool {
        self.rules.allows(algorithm)
    }

    /// All algorithms that may sign its tokens.
    pub(super) fn algorithms(&self) -> &[Algorithm] {
        self.rules.algorithms()
    }

    /// Whether its keys have been there once.
    pub(super) fn ready(&self) -> bool {
        match &self.keys {
            Keys::Fixed(_) => true,
            Keys::Remote(jwks) => jwks.answered(),
        }
    }

    /// Whether its keys could not be fetched at the last attempt.
    pub(super) fn failing(&self) -> bool {
        match &self.keys {
            Keys::Fixed(_) => false,
            Keys::Remote(jwks) => jwks.failing(),
        }
    }

    /// Which set of its keys is current.
    pub(super) fn epoch(&self) -> u32 {
        match &self.keys {
            Keys::Fixed(_) => 0,
            Keys::Remote(jwks) => jwks.epoch(),
        }
    }

    /// The key that a token names.
    pub(super) async fn key(&self, id: Option<&str>, algorithm: Algorithm) -> Result<Found, Reason> {
        match &self.keys {
            Keys::Fixed(ring) => {
                let key = ring.find(id, algorithm).ok_or(Reason::Invalid)?;
                Ok(Found { key, epoch: 0 })
            }
            Keys::Remote(jwks) => jwks.find(id, algorithm).await,
        }
    }

    /// The caller that a token speaks of.
    pub(super) fn verify(
        &self,
        token: &str,
        claims: Unverified<Claims>,
        found: &Found,
        now: Timestamp,
    ) -> Result<Caller, Doubt> {
        let verdict = self.rules.verify(token, claims, &found.key, now)?;
        Ok(Caller::new(verdict.id, verdict.expires_at, found.epoch, token))
    }
}
