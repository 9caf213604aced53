//! Signatures (Ed25519, RFC 8032) under keys that come from the shared root secret: whoever reads the store can check them,
//! and who doesn't have the vault's key can't make any.

use std::fmt;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use data_encoding::HEXLOWER;
use zeroize::Zeroizing;

/// Bytes of a signature.
pub const SIGNATURE: usize = 64;

/// Signs.
pub struct Signer(Ed25519KeyPair);

impl Signer {
    pub(super) fn from_seed(seed: &Zeroizing<[u8; 32]>) -> Self {
        Self(Ed25519KeyPair::from_seed_unchecked(&**seed).expect("any 32 bytes are a seed"))
    }

    /// What checks its signatures; no secret.
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.0.public_key().as_ref().try_into().expect("an Ed25519 key has 32 bytes"))
    }

    /// The signature of these bytes.
    pub fn sign(&self, message: &[u8]) -> [u8; SIGNATURE] {
        self.0.sign(message).as_ref().try_into().expect("an Ed25519 signature has 64 bytes")
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.public_key())
    }
}

/// Checks signatures.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// Whether this is the signature of these bytes.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(message, signature).is_ok()
    }
}

/// Sixty-four hexadecimal digits.
impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        HEXLOWER.encode_write(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Root;

    #[test]
    fn a_signature_is_good_for_its_bytes_its_key_and_its_label() {
        let signer = Root::from_bytes([7; 32]).signer("one");
        let (key, signature) = (signer.public_key(), signer.sign(b"said"));
        assert!(key.verifies(b"said", &signature));
        assert!(!key.verifies(b"sald", &signature) && !key.verifies(b"said", &signature[1..]));
        for other in [Root::from_bytes([7; 32]).signer("two"), Root::from_bytes([8; 32]).signer("one")] {
            assert!(!other.public_key().verifies(b"said", &signature));
        }
        assert_eq!(key.to_string(), "8e5a026f75e0ddfddc25fe178e9783ae912c833652559548890076aab8e19c14");
    }
}
