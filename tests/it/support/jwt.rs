//! Callers' JWTs, good and bad, in every algorithm that issuers may use.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use super::canary;

/// The issuer that the configuration of the tests trusts.
pub(crate) const ISSUER: &str = "https://app.example/";
/// The audience that it demands.
pub(crate) const AUDIENCE: &str = "valetkey";
/// Its secret for HS256.
pub(crate) const SECRET: &str = "the tests' own secret of more than thirty-two bytes";

/// Seconds since 1970.
#[expect(clippy::disallowed_methods, reason = "issuers of JWTs have a clock of their own")]
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_secs()).expect("before the sun dies")
}

/// The claims of a valid JWT for `user`.
pub(crate) fn claims(user: &str) -> Value {
    json!({ "iss": ISSUER, "aud": AUDIENCE, "sub": user, "iat": now(), "exp": now() + 3600 })
}

/// A valid HS256 JWT for `user`.
pub(crate) fn of(user: &str) -> String {
    hs256(&claims(user))
}

/// These claims, signed with the tests' secret.
pub(crate) fn hs256(claims: &Value) -> String {
    canary::secret("the callers' secret", SECRET);
    sign(&Header::new(Algorithm::HS256), claims, &EncodingKey::from_secret(SECRET.as_bytes()))
}

/// A JWT with any header and key.
pub(crate) fn sign(header: &Header, claims: &Value, key: &EncodingKey) -> String {
    let token = jsonwebtoken::encode(header, claims, key).expect("claims can be signed");
    if let Some((_, signature)) = token.rsplit_once('.') {
        canary::secret("the signature of a caller's JWT", signature);
    }
    token
}

/// The claims under the private key of `tests/it/fixtures/{name}.pem`.
pub(crate) fn asymmetric(algorithm: Algorithm, kid: Option<&str>, claims: &Value) -> String {
    let header = Header { kid: kid.map(str::to_owned), ..Header::new(algorithm) };
    sign(&header, claims, &private_key(algorithm))
}

/// The private key for an algorithm.
pub(crate) fn private_key(algorithm: Algorithm) -> EncodingKey {
    match algorithm {
        Algorithm::RS256 | Algorithm::PS256 => EncodingKey::from_rsa_pem(include_bytes!("../fixtures/rsa.pem")),
        Algorithm::ES256 => EncodingKey::from_ec_pem(include_bytes!("../fixtures/ec.pem")),
        Algorithm::EdDSA => EncodingKey::from_ed_pem(include_bytes!("../fixtures/ed.pem")),
        other => panic!("no key for {other:?}"),
    }
    .expect("the fixture is a key")
}

/// The public key in PEM for an algorithm.
pub(crate) fn public_pem(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::RS256 | Algorithm::PS256 => include_str!("../fixtures/rsa.pub.pem"),
        Algorithm::ES256 => include_str!("../fixtures/ec.pub.pem"),
        Algorithm::EdDSA => include_str!("../fixtures/ed.pub.pem"),
        other => panic!("no key for {other:?}"),
    }
}

/// All public keys as a JWK set: kids `rsa`, `ec` and `ed`.
pub(crate) fn jwks() -> Value {
    serde_json::from_str(include_str!("../fixtures/jwks.json")).expect("the fixture is JSON")
}

/// A JWT put together by hand: any header, any claims, any signature.
pub(crate) fn forged(header: &Value, claims: &Value, signature: &[u8]) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{}", part(header), part(claims), URL_SAFE_NO_PAD.encode(signature))
}
