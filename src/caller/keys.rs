//! The keys that verify an issuer's signatures, each pinned to the algorithms that its kind, the issuer's configuration and
//! its own `alg` leave it. It never holds a key for two families, and takes no symmetric key from a key set.

use std::{fmt, sync::Arc};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{
    DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse, RSAKeyParameters},
};
use serde::Deserialize;

use super::{IssuerProblem, signature::Verifier};
use crate::{config::Algorithm, secret::SecretString};

/// The most keys a key set may have.
const MAX_KEYS: usize = 100;

/// The shortest HMAC secret, in bytes.
const MIN_SECRET: usize = 32;

/// The least and the most bits of an RSA modulus; more than that only costs time.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// An issuer's keys.
#[derive(Debug, Default)]
pub(super) struct KeyRing {
    keys: Vec<Key>,
}

/// A key, made ready for each algorithm that it may serve.
struct Key {
    id: Option<String>,
    verifiers: Vec<(Algorithm, Arc<Verifier>)>,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let algorithms: Vec<_> = self.verifiers.iter().map(|(algorithm, _)| algorithm).collect();
        f.debug_struct("Key").field("id", &self.id).field("algorithms", &algorithms).finish_non_exhaustive()
    }
}

impl KeyRing {
    /// One shared secret, for HS* alone.
    pub(super) fn from_secret(secret: &SecretString, allowed: &[Algorithm]) -> Result<Self, IssuerProblem> {
        if !allowed.iter().copied().all(is_hmac) {
            return Err(IssuerProblem::SecretMismatch);
        }
        if secret.expose().len() < MIN_SECRET {
            return Err(IssuerProblem::ShortSecret);
        }
        let verifier = |algorithm| Verifier::from_secret(secret.expose().as_bytes(), algorithm);
        Ok(Self { keys: vec![Key::new(None, allowed, verifier).ok_or(IssuerProblem::SecretMismatch)?] })
    }

    /// One public key in PEM.
    pub(super) fn from_pem(pem: &str, allowed: &[Algorithm]) -> Result<Self, IssuerProblem> {
        let pem = pem.as_bytes();
        let first = *allowed.first().ok_or(IssuerProblem::NoAlgorithms)?;
        let decoding = match first {
            Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => return Err(IssuerProblem::SecretMismatch),
            Algorithm::RS256
            | Algorithm::RS384
            | Algorithm::RS512
            | Algorithm::PS256
            | Algorithm::PS384
            | Algorithm::PS512 => DecodingKey::from_rsa_pem(pem),
            Algorithm::ES256 | Algorithm::ES384 => DecodingKey::from_ec_pem(pem),
            Algorithm::EdDSA => DecodingKey::from_ed_pem(pem),
        };
        let decoding = decoding.map_err(|_| IssuerProblem::UnreadableKey)?;
        let jwk = Jwk::from_decoding_key(&decoding, None).map_err(|_| IssuerProblem::UnreadableKey)?;
        let native = native_algorithms(&jwk.algorithm)?;
        if allowed.iter().any(|algorithm| !native.contains(algorithm)) {
            return Err(IssuerProblem::UnfitAlgorithm);
        }
        let verifier = |algorithm| Verifier::from_public(&jwk.algorithm, algorithm);
        Ok(Self { keys: vec![Key::new(None, allowed, verifier).ok_or(IssuerProblem::UnreadableKey)?] })
    }

    /// The usable keys of a key set (RFC 7517 §5), which may be none; keys that can't be read are passed over, as they
    /// may be of kinds yet to come.
    pub(super) fn from_jwks(json: &[u8], allowed: &[Algorithm]) -> Result<Self, IssuerProblem> {
        #[derive(Deserialize)]
        struct KeySet {
            keys: Vec<serde_json::Value>,
        }
        let set: KeySet = serde_json::from_slice(json).map_err(|_| IssuerProblem::UnreadableKeySet)?;
        if set.keys.len() > MAX_KEYS {
            return Err(IssuerProblem::TooManyKeys);
        }
        let keys = set.keys.into_iter().filter_map(|value| Key::from_jwk(value, allowed)).collect();
        Ok(Self { keys })
    }

    /// Whether it holds no key.
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The key that a token names, if it fits the algorithm. A token without a key id, and a key without one, count only
    /// where no other key could be meant.
    pub(super) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Option<Arc<Verifier>> {
        let mut fitting = self.keys.iter().filter(|key| key.verifier(algorithm).is_some());
        let key = match (id, self.keys.as_slice()) {
            (Some(_), [only]) if only.id.is_none() => fitting.next(),
            (Some(id), _) => fitting.find(|key| key.id.as_deref() == Some(id)),
            (None, _) => match (fitting.next(), fitting.next()) {
                (first, None) => first,
                _ => None,
            },
        };
        key.and_then(|key| key.verifier(algorithm).cloned())
    }
}

impl Key {
    /// The key, if it is one for signatures by an allowed algorithm.
    fn from_jwk(value: serde_json::Value, allowed: &[Algorithm]) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(value).ok()?;
        let common = &jwk.common;
        if common.public_key_use.as_ref().is_some_and(|usage| *usage != PublicKeyUse::Signature) {
            return None;
        }
        if common.key_operations.as_ref().is_some_and(|operations| !operations.contains(&KeyOperations::Verify)) {
            return None;
        }
        let mut algorithms = native_algorithms(&jwk.algorithm).ok()?;
        algorithms.retain(|algorithm| allowed.contains(algorithm));
        if let Some(own) = common.key_algorithm {
            algorithms.retain(|algorithm| KeyAlgorithm::from(library(*algorithm)) == own);
        }
        if algorithms.is_empty() {
            return None;
        }
        let verifier = |algorithm| Verifier::from_public(&jwk.algorithm, algorithm);
        Self::new(jwk.common.key_id.clone(), &algorithms, verifier)
    }

    fn new(
        id: Option<String>,
        algorithms: &[Algorithm],
        verifier: impl Fn(Algorithm) -> Option<Verifier>,
    ) -> Option<Self> {
        let ready = |algorithm: &Algorithm| Some((*algorithm, Arc::new(verifier(*algorithm)?)));
        Some(Self { id, verifiers: algorithms.iter().map(ready).collect::<Option<_>>()? })
    }

    fn verifier(&self, algorithm: Algorithm) -> Option<&Arc<Verifier>> {
        self.verifiers.iter().find(|(own, _)| *own == algorithm).map(|(_, verifier)| verifier)
    }
}

/// The algorithms that a public key can serve by its kind, size and curve.
fn native_algorithms(key: &AlgorithmParameters) -> Result<Vec<Algorithm>, IssuerProblem> {
    match key {
        AlgorithmParameters::RSA(rsa) => {
            let bits = modulus_bits(rsa).ok_or(IssuerProblem::UnreadableKey)?;
            if bits < *RSA_BITS.start() {
                return Err(IssuerProblem::ShortRsaKey);
            }
            if bits > *RSA_BITS.end() {
                return Err(IssuerProblem::UnreadableKey);
            }
            Ok(vec![
                Algorithm::RS256,
                Algorithm::RS384,
                Algorithm::RS512,
                Algorithm::PS256,
                Algorithm::PS384,
                Algorithm::PS512,
            ])
        }
        AlgorithmParameters::EllipticCurve(point) => {
            let (size, algorithm) = match point.curve {
                EllipticCurve::P256 => (32, Algorithm::ES256),
                EllipticCurve::P384 => (48, Algorithm::ES384),
                _ => return Err(IssuerProblem::UnreadableKey),
            };
            if has_bytes(&point.x, size) && has_bytes(&point.y, size) {
                Ok(vec![algorithm])
            } else {
                Err(IssuerProblem::UnreadableKey)
            }
        }
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 && has_bytes(&pair.x, 32) => {
            Ok(vec![Algorithm::EdDSA])
        }
        _ => Err(IssuerProblem::UnreadableKey),
    }
}

fn has_bytes(encoded: &str, count: usize) -> bool {
    URL_SAFE_NO_PAD.decode(encoded).is_ok_and(|bytes| bytes.len() == count)
}

fn modulus_bits(key: &RSAKeyParameters) -> Option<usize> {
    let modulus = URL_SAFE_NO_PAD.decode(&key.n).ok()?;
    let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
    let first = modulus.get(zeros)?;
    Some((modulus.len() - zeros) * 8 - first.leading_zeros() as usize)
}

/// Whether whoever verifies by this algorithm could also sign.
pub(super) fn is_hmac(algorithm: Algorithm) -> bool {
    matches!(algorithm, Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512)
}

/// The algorithm as the JWT library calls it.
pub(super) fn library(algorithm: Algorithm) -> jsonwebtoken::Algorithm {
    match algorithm {
        Algorithm::HS256 => jsonwebtoken::Algorithm::HS256,
        Algorithm::HS384 => jsonwebtoken::Algorithm::HS384,
        Algorithm::HS512 => jsonwebtoken::Algorithm::HS512,
        Algorithm::RS256 => jsonwebtoken::Algorithm::RS256,
        Algorithm::RS384 => jsonwebtoken::Algorithm::RS384,
        Algorithm::RS512 => jsonwebtoken::Algorithm::RS512,
        Algorithm::PS256 => jsonwebtoken::Algorithm::PS256,
        Algorithm::PS384 => jsonwebtoken::Algorithm::PS384,
        Algorithm::PS512 => jsonwebtoken::Algorithm::PS512,
        Algorithm::ES256 => jsonwebtoken::Algorithm::ES256,
        Algorithm::ES384 => jsonwebtoken::Algorithm::ES384,
        Algorithm::EdDSA => jsonwebtoken::Algorithm::EdDSA,
    }
}

/// A key, and which set of the issuer's keys it is from.
pub(super) struct Found {
    /// The key.
    pub(super) key: Arc<Verifier>,
    /// The set.
    pub(super) epoch: u32,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::caller::testing::{Pair, jwks};

    const RSA_1024: &str = include_str!("testdata/rsa1024.pub.pem");

    fn ring(keys: serde_json::Value, allowed: &[Algorithm]) -> KeyRing {
        KeyRing::from_jwks(json!({ "keys": keys }).to_string().as_bytes(), allowed).unwrap()
    }

    #[test]
    fn keys_of_a_set_are_pinned_to_their_own_algorithms() {
        let ring = ring(json!([Pair::Rsa.jwk("r"), Pair::P256.jwk("e")]), &[Algorithm::RS256, Algorithm::ES256]);
        assert!(ring.find(Some("r"), Algorithm::RS256).is_some());
        assert!(ring.find(Some("e"), Algorithm::ES256).is_some());
        for (id, algorithm) in
            [("r", Algorithm::ES256), ("r", Algorithm::PS256), ("e", Algorithm::RS256), ("e", Algorithm::ES384)]
        {
            assert!(ring.find(Some(id), algorithm).is_none(), "{id} {algorithm:?}");
        }
    }

    #[test]
    fn keys_that_are_not_for_these_signatures_are_passed_over() {
        let with = |name: &str, value: serde_json::Value| {
            let mut jwk = Pair::Rsa.jwk("k");
            jwk[name] = value;
            jwk
        };
        for key in [
            with("use", json!("enc")),
            with("use", json!("other")),
            with("key_ops", json!(["encrypt"])),
            with("alg", json!("PS256")),
            with("alg", json!("RSA-OAEP")),
            with("alg", json!("XX999")),
            with("kty", json!("oct")),
            with("n", json!("AQAB")),
            with("n", json!("!")),
            json!({"kty": "oct", "kid": "k", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA", "alg": "HS256"}),
            json!({"kty": "EC", "kid": "k", "crv": "P-521", "x": "AA", "y": "AA"}),
            json!({"kty": "EC", "kid": "k", "crv": "P-256", "x": "AA", "y": "AA"}),
            json!({"kty": "new"}),
            json!(7),
        ] {
            let ring = ring(json!([key]), &[Algorithm::RS256, Algorithm::ES256, Algorithm::HS256]);
            assert!(ring.is_empty(), "{key}");
        }
    }

    #[test]
    fn a_key_that_cannot_be_read_does_not_spoil_the_set() {
        let ring = ring(json!([{"kty": "new"}, 7, Pair::P256.jwk("e")]), &[Algorithm::ES256]);
        assert!(ring.find(Some("e"), Algorithm::ES256).is_some());
    }

    #[test]
    fn a_missing_key_id_counts_only_where_one_key_can_be_meant() {
        let nameless = |pair: Pair| {
            let mut jwk = pair.jwk("");
            jwk.as_object_mut().unwrap().remove("kid");
            jwk
        };
        let allowed = [Algorithm::RS256, Algorithm::ES256];
        let two = ring(json!([Pair::Rsa.jwk("a"), Pair::RsaOther.jwk("b")]), &allowed);
        assert!(two.find(None, Algorithm::RS256).is_none());
        assert!(two.find(Some("c"), Algorithm::RS256).is_none());
        let one_of_a_kind = ring(json!([Pair::Rsa.jwk("a"), Pair::P256.jwk("b")]), &allowed);
        assert!(one_of_a_kind.find(None, Algorithm::RS256).is_some());
        let only_nameless = ring(json!([nameless(Pair::Rsa)]), &allowed);
        assert!(only_nameless.find(Some("any"), Algorithm::RS256).is_some());
        let nameless_among_others = ring(json!([nameless(Pair::Rsa), Pair::P256.jwk("b")]), &allowed);
        assert!(nameless_among_others.find(Some("any"), Algorithm::RS256).is_none());
    }

    #[test]
    fn a_set_has_at_most_100_keys() {
        let many = |count: usize| json!({"keys": vec![Pair::P256.jwk("e"); count]}).to_string();
        assert!(KeyRing::from_jwks(many(100).as_bytes(), &[Algorithm::ES256]).is_ok());
        let refused = KeyRing::from_jwks(many(101).as_bytes(), &[Algorithm::ES256]);
        assert_eq!(refused.unwrap_err(), IssuerProblem::TooManyKeys);
    }

    #[test]
    fn what_is_no_key_set_is_refused() {
        for json in ["", "{}", "[]", r#"{"keys":7}"#, "<html>"] {
            let refused = KeyRing::from_jwks(json.as_bytes(), &[Algorithm::ES256]);
            assert_eq!(refused.unwrap_err(), IssuerProblem::UnreadableKeySet, "{json}");
        }
        assert!(KeyRing::from_jwks(jwks(&[]).as_bytes(), &[Algorithm::ES256]).unwrap().is_empty());
    }

    #[test]
    fn short_keys_are_refused() {
        let rsa = KeyRing::from_pem(RSA_1024, &[Algorithm::RS256]);
        assert_eq!(rsa.unwrap_err(), IssuerProblem::ShortRsaKey);
        let secret = |length: usize| KeyRing::from_secret(&"s".repeat(length).into(), &[Algorithm::HS256]);
        assert_eq!(secret(31).unwrap_err(), IssuerProblem::ShortSecret);
        assert!(secret(32).is_ok());
    }

    #[test]
    fn algorithms_must_fit_the_key() {
        use Algorithm::{ES256, ES384, EdDSA, HS256, PS512, RS256};
        let pem = |pair: Pair, allowed: &[Algorithm]| KeyRing::from_pem(pair.public_pem(), allowed).err();
        assert_eq!(pem(Pair::Rsa, &[RS256, PS512]), None);
        assert_eq!(pem(Pair::P384, &[ES384]), None);
        assert_eq!(pem(Pair::Ed25519, &[EdDSA]), None);
        assert_eq!(pem(Pair::Rsa, &[RS256, ES256]), Some(IssuerProblem::UnfitAlgorithm));
        assert_eq!(pem(Pair::P256, &[ES384]), Some(IssuerProblem::UnfitAlgorithm));
        assert_eq!(pem(Pair::P256, &[RS256]), Some(IssuerProblem::UnreadableKey));
        assert_eq!(pem(Pair::Rsa, &[HS256]), Some(IssuerProblem::SecretMismatch));
        assert_eq!(pem(Pair::Rsa, &[RS256, HS256]), Some(IssuerProblem::UnfitAlgorithm));
        assert_eq!(pem(Pair::Rsa, &[]), Some(IssuerProblem::NoAlgorithms));
        let secret = KeyRing::from_secret(&"s".repeat(32).into(), &[HS256, RS256]);
        assert_eq!(secret.unwrap_err(), IssuerProblem::SecretMismatch);
    }
}
