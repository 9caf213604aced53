//! Signature and claims of a JWT, checked by the issuer's rules. Pure: the key is found and the time is given.

use serde_json::{Map, Value};

use super::{
    LEEWAY, Reason,
    signature::Verifier,
    unverified::{Claims, Unverified},
};
use crate::{
    config::{Algorithm, CallerIssuer},
    id::{CallerId, Issuer, Subject},
};

/// What an issuer's tokens must say.
#[derive(Debug)]
pub(super) struct Rules {
    issuer: Issuer,
    audience: String,
    user_claim: String,
    algorithms: Vec<Algorithm>,
}

/// What a good token says.
#[derive(Debug)]
pub(super) struct Verdict {
    /// Who it speaks of.
    pub(super) id: CallerId,
    /// Its `exp`.
    pub(super) expires_at: u64,
}

impl Rules {
    /// The rules as configured.
    pub(super) fn new(config: &CallerIssuer) -> Self {
        Self {
            issuer: config.issuer.clone(),
            audience: config.audience.as_str().to_owned(),
            user_claim: config.user_claim.clone(),
            algorithms: config.algorithms.clone(),
        }
    }

    /// The issuer they are for.
    pub(super) fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    /// Whether tokens may be signed by this algorithm.
    pub(super) fn allows(&self, algorithm: Algorithm) -> bool {
        self.algorithms.contains(&algorithm)
    }

    /// Checks a token; the times come last, so that only a token that was good tells that it is over.
    ///
    /// # Errors
    /// [`Reason::Expired`], [`Reason::NotYetValid`], and [`Reason::Invalid`] for all the rest.
    pub(super) fn verify(
        &self,
        token: &str,
        claims: Unverified<Claims>,
        key: &Verifier,
        now: u64,
    ) -> Result<Verdict, Reason> {
        let claims = claims.verified(token, key)?;
        if claims.get("iss").and_then(Value::as_str) != Some(self.issuer.as_str())
            || !is_for(&self.audience, claims.get("aud"))
        {
            return Err(Reason::Invalid);
        }
        let subject = claims.get(&self.user_claim).and_then(Value::as_str).ok_or(Reason::Invalid)?;
        let subject = Subject::parse(subject).map_err(|_| Reason::Invalid)?;
        let expires_at = check_times(&claims, now)?;
        let id = CallerId { issuer: self.issuer.clone(), subject };
        Ok(Verdict { id, expires_at })
    }
}

/// Whether `aud`, a text or a list of texts (RFC 7519 §4.1.3), names this audience.
fn is_for(audience: &str, aud: Option<&Value>) -> bool {
    match aud {
        Some(Value::String(one)) => one == audience,
        Some(Value::Array(list)) => {
            list.iter().all(Value::is_string) && list.iter().any(|one| one.as_str() == Some(audience))
        }
        _ => false,
    }
}

/// Checks `exp`, `nbf` and `iat` (RFC 7519 §4.1.4 to 4.1.6) and tells `exp`.
fn check_times(claims: &Map<String, Value>, now: u64) -> Result<u64, Reason> {
    let expires_at = numeric_date(claims, "exp")?.ok_or(Reason::Invalid)?;
    let begins_at = numeric_date(claims, "nbf")?.unwrap_or(0);
    let issued_at = numeric_date(claims, "iat")?.unwrap_or(0);
    if has_expired(expires_at, now) {
        return Err(Reason::Expired);
    }
    if begins_at.max(issued_at) > now.saturating_add(LEEWAY) {
        return Err(Reason::NotYetValid);
    }
    Ok(expires_at)
}

/// Whether a token that expires then is over now, clocks being [`LEEWAY`] apart.
pub(super) fn has_expired(expires_at: u64, now: u64) -> bool {
    now >= expires_at.saturating_add(LEEWAY)
}

/// A `NumericDate`, which may have a fraction (RFC 7519 §2), in whole seconds.
fn numeric_date(claims: &Map<String, Value>, name: &str) -> Result<Option<u64>, Reason> {
    let Some(value) = claims.get(name) else {
        return Ok(None);
    };
    let fraction = || value.as_f64().filter(|seconds| (0.0..9e15).contains(seconds));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in range, as was just checked")]
    let seconds = value.as_u64().or_else(|| fraction().map(|seconds| seconds as u64));
    seconds.map(Some).ok_or(Reason::Invalid)
}
