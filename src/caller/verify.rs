//! Signature and claims of a JWT, checked by the issuer's rules. Pure: the key is found and the time is given.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::{
    LEEWAY, Reason,
    error::Doubt,
    signature::Verifier,
    unverified::{Claims, Unverified},
};
use crate::{
    clock::Timestamp,
    config::{Algorithm, CallerIssuer, Pods},
    id::{CallerId, Issuer, Subject},
};

/// What an issuer's tokens must say.
#[derive(Debug)]
pub(super) struct Rules {
    issuer: Issuer,
    audience: String,
    user_claim: String,
    /// Where callers are pods: which.
    pods: Option<Pods>,
    algorithms: Vec<Algorithm>,
}

/// What a good token says.
#[derive(Debug)]
pub(super) struct Verdict {
    /// Who it speaks of.
    pub(super) id: CallerId,
    /// Its `exp`.
    pub(super) expires_at: Timestamp,
}

impl Rules {
    /// The rules as configured.
    pub(super) fn new(config: &CallerIssuer) -> Self {
        Self {
            issuer: config.issuer.clone(),
            audience: config.audience.as_str().to_owned(),
            user_claim: config.user_claim.clone(),
            pods: config.pods.clone(),
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

    /// The algorithms that may sign tokens.
    pub(super) fn algorithms(&self) -> &[Algorithm] {
        &self.algorithms
    }

    /// Checks a token; the times come last, so that only a token that was good tells that it has expired.
    ///
    /// # Errors
    /// [`Reason::Expired`], [`Reason::NotYetValid`], and [`Reason::Invalid`] for all the rest.
    pub(super) fn verify(
        &self,
        token: &str,
        claims: Unverified<Claims>,
        key: &Verifier,
        now: Timestamp,
    ) -> Result<Verdict, Doubt> {
        let claims = claims
            .verified(token, key)
            .map_err(|reason| Doubt::new(reason, "signature", "another", format!("one by a key of {}", self.issuer)))?;
        let invalid = |check, found: &str, wanted: &str| Doubt::new(Reason::Invalid, check, found, wanted);
        if claims.get("iss").and_then(Value::as_str) != Some(self.issuer.as_str()) {
            return Err(invalid("issuer", &told(claims.get("iss")), self.issuer.as_str()));
        }
        if !is_for(&self.audience, claims.get("aud")) {
            return Err(invalid("audience", &told(claims.get("aud")), &self.audience));
        }
        let claim = claims.get(&self.user_claim);
        let wanted = || format!("a text of 1 to 255 bytes, or an integer, in `{}`", self.user_claim);
        let subject = claim.and_then(user).ok_or_else(|| invalid("user claim", kind(claim), &wanted()))?;
        let subject =
            Subject::parse(&subject).map_err(|_| invalid("user claim", "a text that can't be a name", &wanted()))?;
        if let Some(pods) = self.pods.as_ref().filter(|pods| !pods.include(subject.as_str())) {
            let known: Vec<String> = pods.accounts.iter().map(ToString::to_string).collect();
            return Err(invalid("service account", subject.as_str(), &known.join(", ")));
        }
        let expires_at = check_times(&claims, now)?;
        let id = CallerId { issuer: self.issuer.clone(), subject };
        Ok(Verdict { id, expires_at })
    }
}

/// The user that a claim names: a text, or an integer as its decimal text.
fn user(claim: &Value) -> Option<Cow<'_, str>> {
    match claim {
        Value::String(text) => Some(text.into()),
        Value::Number(number) if number.is_i64() || number.is_u64() => Some(number.to_string().into()),
        _ => None,
    }
}

/// What kind of value a claim has, without the value.
fn kind(claim: Option<&Value>) -> &'static str {
    match claim {
        None => "nothing",
        Some(Value::Null) => "null",
        Some(Value::Bool(_)) => "a boolean",
        Some(Value::Number(_)) => "a number that is no integer",
        Some(Value::String(_)) => "a text",
        Some(Value::Array(_)) => "a list",
        Some(Value::Object(_)) => "an object",
    }
}

/// A claim for the log.
fn told(claim: Option<&Value>) -> String {
    match claim {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
        other => kind(other).to_owned(),
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
fn check_times(claims: &Map<String, Value>, now: Timestamp) -> Result<Timestamp, Doubt> {
    let date = |name: &'static str| {
        numeric_date(claims, name)
            .map_err(|reason| Doubt::new(reason, name, kind(claims.get(name)), "seconds since 1970, UTC"))
    };
    let expires_at =
        date("exp")?.ok_or_else(|| Doubt::new(Reason::Invalid, "exp", "nothing", "seconds since 1970, UTC"))?;
    let (begins_at, issued_at) = (date("nbf")?, date("iat")?);
    if has_expired(expires_at, now) {
        return Err(Doubt::new(
            Reason::Expired,
            "exp",
            &expires_at.seconds().to_string(),
            format!("after {}", now.seconds()),
        ));
    }
    let latest = now.plus(LEEWAY);
    for (name, at) in [("nbf", begins_at), ("iat", issued_at)] {
        if let Some(at) = at.filter(|at| *at > latest) {
            let (at, latest) = (at.seconds().to_string(), latest.seconds());
            return Err(Doubt::new(Reason::NotYetValid, name, &at, format!("not after {latest}")));
        }
    }
    Ok(expires_at)
}

/// Whether a token that expires then has expired by now, clocks being [`LEEWAY`] apart.
pub(super) fn has_expired(expires_at: Timestamp, now: Timestamp) -> bool {
    expires_at.plus(LEEWAY).reached(now)
}

/// A `NumericDate`, which may have a fraction (RFC 7519 §2), to the second.
fn numeric_date(claims: &Map<String, Value>, name: &str) -> Result<Option<Timestamp>, Reason> {
    let Some(value) = claims.get(name) else {
        return Ok(None);
    };
    let fraction = || value.as_f64().filter(|seconds| (0.0..9e15).contains(seconds));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in range, as was just checked")]
    let seconds = value.as_u64().or_else(|| fraction().map(|seconds| seconds as u64));
    seconds.map(|seconds| Some(Timestamp::from_seconds(seconds))).ok_or(Reason::Invalid)
}
