//! Sealing and opening: turns plaintext into bytes that say nothing, and back, under keys that the operator configured.
//! What is sealed is bound to a [`Context`]: bytes that are moved to another caller, service or use don't open. Owns the
//! envelope's layout, the key ring, the keys derived from the shared root secret and those of single persons. Never stores anything, never logs,
//! never tries a key that an envelope does not name (GCM commits to no key), and takes no plaintext for sealed.
//!
//! # The envelope, version 1
//!
//! | bytes | what |
//! | --- | --- |
//! | 1 | version, `1` |
//! | 1 | length of the key id |
//! | 1 to 64 | key id, `[A-Za-z0-9._-]`, in clear |
//! | 2 | length of the wrapped data key, big endian |
//! | as said | wrapped data key; the key ring's is salt (32) ‖ nonce (12) ‖ key (32) ‖ tag (16) |
//! | 12 | nonce |
//! | the rest | ciphertext ‖ tag (16), AES-256-GCM under the data key |
//!
//! Each sealing has a data key of its own, so its nonce never meets another under the same key. The key ring wraps it,
//! AES-256-GCM again, under HKDF-SHA256(ring key, salt), so that the limit of 2^32 random nonces under one key (NIST SP
//! 800-38D §8.3) is never near. The associated data of both are, each with its length before it: what is sealed (`data`
//! or `key`), the version, the key id, the purpose and the context's parts.

use crate::{
    config,
    secret::{Secret, SecretBytes},
};

mod aead;
mod derive;
mod envelope;
mod personal;
mod ring;
mod sign;
#[cfg(test)]
mod tests;

pub use derive::Root;
use envelope::Envelope;
pub use personal::PersonalKey;
use ring::{DataKey, KeyRing};
pub use sign::{PublicKey, SIGNATURE, Signer};

/// What a sealed value is for. A value sealed for one purpose never opens for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// A connection's record: grant or API key.
    Record,
    /// The secret from which [`Root`] derives keys.
    Root,
    /// A connect link.
    Ticket,
    /// What waits for a provider's callback.
    State,
    /// A browser's session or binding.
    Session,
    /// An event, or where somebody can be reached.
    Event,
    /// The key of one person's events.
    PersonalKey,
    /// A person's word that pods may act for them.
    Allowance,
    /// Which connections an operator has counted, to give them up.
    Survey,
    /// How many connections there are.
    Census,
}

impl Purpose {
    /// The name that goes into associated data and key derivation. Part of the format: never change one.
    fn label(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::Root => "root",
            Self::Ticket => "ticket",
            Self::State => "state",
            Self::Session => "session",
            Self::Event => "event",
            Self::PersonalKey => "personal key",
            Self::Allowance => "allowance",
            Self::Survey => "survey",
            Self::Census => "census",
        }
    }
}

/// What a sealed value belongs to. Opening needs the very context of sealing.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// What it is for.
    pub purpose: Purpose,
    /// Whose and which it is, in a fixed order: issuer, subject, service, account, …. Each part is length-prefixed, so
    /// `["a", "bc"]` is not `["ab", "c"]`.
    pub parts: &'a [&'a [u8]],
}

/// Why something was not sealed or not opened. Holds nothing of what was sealed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No key of this id is configured. The value is as good as ever: never a reason to ask its owner to connect again.
    #[error("no sealing key with the id {id:?} is configured")]
    UnknownKey {
        /// The key that the envelope names.
        id: String,
    },
    /// Not an envelope, changed, or sealed in another context.
    #[error("a sealed value is damaged or stands where it does not belong")]
    Corrupt,
    /// Of a version that this program doesn't know, or no envelope at all.
    #[error("a sealed value has the unsupported version {0}")]
    UnsupportedVersion(u8),
    /// More than one text holds.
    #[error("what is to be sealed is too long")]
    TooLong,
    /// The system gave no random bytes.
    #[error("the system's random source failed")]
    NoRandomness,
}

/// Seals with the first key, opens with any.
#[derive(Debug, Clone)]
pub struct Vault {
    keys: KeyRing,
}

impl Vault {
    /// A vault over the configured key ring.
    pub fn new(config: &config::Vault) -> Self {
        Self { keys: KeyRing::new(&config.keys) }
    }

    /// Seals under a fresh data key, wrapped by the first key.
    ///
    /// # Errors
    /// [`Error::NoRandomness`]; [`Error::TooLong`].
    pub fn seal(&self, context: &Context<'_>, plaintext: &[u8]) -> Result<Vec<u8>, Error> {
        let key_id = self.keys.primary();
        let data_key: DataKey = Secret::new(random()?);
        let wrapped = self.keys.wrap(&data_key, &associated("key", key_id, context))?;
        let nonce = random()?;
        let ciphertext = aead::seal(data_key.expose(), &nonce, &associated("data", key_id, context), plaintext)?;
        Envelope { key_id, wrapped: &wrapped, nonce: &nonce, ciphertext: &ciphertext }.to_bytes()
    }

    /// Opens what was sealed in this context.
    ///
    /// # Errors
    /// [`Error::UnknownKey`] where the named key is not in the ring, [`Error::UnsupportedVersion`], else
    /// [`Error::Corrupt`].
    pub fn open(&self, context: &Context<'_>, sealed: &[u8]) -> Result<SecretBytes, Error> {
        let envelope = Envelope::parse(sealed)?;
        let key_id = envelope.key_id;
        let data_key = self.keys.unwrap(key_id, envelope.wrapped, &associated("key", key_id, context))?;
        aead::open(data_key.expose(), envelope.nonce, &associated("data", key_id, context), envelope.ciphertext)
    }

    /// Whether another key than the first sealed this, so that it should be opened and sealed again. What is no
    /// envelope needs none.
    pub fn needs_rewrap(&self, sealed: &[u8]) -> bool {
        key_id(sealed).is_ok_and(|id| id != self.keys.primary())
    }
}

/// The id of the key that sealed this, as its header says; not proved before it is opened.
///
/// # Errors
/// Where it is no envelope of a known version.
pub fn key_id(sealed: &[u8]) -> Result<&str, Error> {
    Envelope::parse(sealed).map(|envelope| envelope.key_id)
}

/// The associated data: every field with its length before it.
fn associated(layer: &str, key_id: &str, context: &Context<'_>) -> Vec<u8> {
    let head: [&[u8]; 4] =
        [layer.as_bytes(), &[envelope::VERSION], key_id.as_bytes(), context.purpose.label().as_bytes()];
    prefixed(head.into_iter().chain(context.parts.iter().copied()))
}

/// Each field after its length (64 bits, big endian): two lists of fields give the same bytes only if they are the same.
fn prefixed<'a>(fields: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(128);
    for field in fields {
        bytes.extend_from_slice(&(field.len() as u64).to_be_bytes());
        bytes.extend_from_slice(field);
    }
    bytes
}

/// Bytes of the system's random source.
fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| Error::NoRandomness)?;
    Ok(bytes)
}
