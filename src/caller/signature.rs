//! The check of a JWT's signature (RFC 7518 §3), with keys that are read once: an HMAC key that is already mixed in, an RSA
//! modulus with its Montgomery form, a point that was proved to lie on its curve. Each is for one algorithm and checks no
//! other. It knows nothing of what was signed.

use aws_lc_rs::{
    hmac,
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
        RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384,
        RSA_PSS_2048_8192_SHA512, RsaParameters, RsaPublicKeyComponents, VerificationAlgorithm,
    },
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::{AlgorithmParameters, RSAKeyParameters};

use crate::config::Algorithm;

/// A key, ready to check signatures by one algorithm.
pub(super) enum Verifier {
    /// A shared secret. What is made of it is zeroed when it is dropped.
    Secret(Box<hmac::Key>),
    /// A public key.
    Public(ParsedPublicKey),
}

impl Verifier {
    /// For HS*; `None` for any other algorithm.
    pub(super) fn from_secret(secret: &[u8], algorithm: Algorithm) -> Option<Self> {
        let hash = match algorithm {
            Algorithm::HS256 => hmac::HMAC_SHA256,
            Algorithm::HS384 => hmac::HMAC_SHA384,
            Algorithm::HS512 => hmac::HMAC_SHA512,
            _ => return None,
        };
        Some(Self::Secret(Box::new(hmac::Key::new(hash, secret))))
    }

    /// For signatures by the holder of this public key's other half; `None` where the key is none, or not for this
    /// algorithm.
    pub(super) fn from_public(key: &AlgorithmParameters, algorithm: Algorithm) -> Option<Self> {
        let parsed = match key {
            AlgorithmParameters::RSA(key) => rsa(key, rsa_parameters(algorithm)?),
            AlgorithmParameters::EllipticCurve(point) => {
                let algorithm: &'static dyn VerificationAlgorithm = match algorithm {
                    Algorithm::ES256 => &ECDSA_P256_SHA256_FIXED,
                    Algorithm::ES384 => &ECDSA_P384_SHA384_FIXED,
                    _ => return None,
                };
                // Uncompressed (SEC 1 §2.3.3).
                let point = [&[4][..], &decoded(&point.x)?, &decoded(&point.y)?].concat();
                ParsedPublicKey::new(algorithm, point).ok()
            }
            AlgorithmParameters::OctetKeyPair(pair) if algorithm == Algorithm::EdDSA => {
                ParsedPublicKey::new(&ED25519, decoded(&pair.x)?).ok()
            }
            _ => None,
        };
        parsed.map(Self::Public)
    }

    /// Whether this is the signature of `message`.
    pub(super) fn accepts(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Secret(key) => hmac::verify(key, message, signature).is_ok(),
            Self::Public(key) => key.verify_sig(message, signature).is_ok(),
        }
    }
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

fn rsa(key: &RSAKeyParameters, parameters: &'static RsaParameters) -> Option<ParsedPublicKey> {
    let number = |text: &str| {
        let bytes = decoded(text)?;
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        Some(bytes[zeros..].to_vec())
    };
    RsaPublicKeyComponents { n: number(&key.n)?, e: number(&key.e)? }.to_parsed_public_key(parameters).ok()
}

fn rsa_parameters(algorithm: Algorithm) -> Option<&'static RsaParameters> {
    Some(match algorithm {
        Algorithm::RS256 => &RSA_PKCS1_2048_8192_SHA256,
        Algorithm::RS384 => &RSA_PKCS1_2048_8192_SHA384,
        Algorithm::RS512 => &RSA_PKCS1_2048_8192_SHA512,
        Algorithm::PS256 => &RSA_PSS_2048_8192_SHA256,
        Algorithm::PS384 => &RSA_PSS_2048_8192_SHA384,
        Algorithm::PS512 => &RSA_PSS_2048_8192_SHA512,
        _ => return None,
    })
}
