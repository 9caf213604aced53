//! The keys of persons: each has one, in the store, sealed by the vault under the owner's blind name. Under it goes what an
//! entry says of them. Erasing somebody takes the key away, and with it what the log says of them; the entries stay as they
//! are, and so does the chain over them. In its place a mark is left for a day, so that what a replica has yet to write of an
//! erased person makes them no new key.

use std::{sync::Arc, time::Duration};

use quick_cache::sync::Cache;
use zeroize::Zeroizing;

use crate::{
    clock::{Clock, Timestamp},
    events::Kind,
    store::{self, Claim, OwnerId, Store},
    vault::{self, Context, PersonalKey, Purpose, Vault},
};

/// How many are held in memory, …
const HELD: usize = 10_000;
/// … and for how long: a replica that doesn't hear of an erasure goes on using a key no longer than this.
const BELIEVED: Duration = Duration::from_secs(60);
/// How long a key outlives the last event about its person, beyond the time for which entries are kept, …
const BEYOND: Duration = Duration::from_secs(60 * 86_400);
/// … and after which time it is written again, so that it does.
const RENEWED: Duration = Duration::from_secs(30 * 86_400);
/// How long it is marked that somebody was erased.
const MARKED: Duration = Duration::from_secs(86_400);
/// How often a key is looked for again when another replica was quicker.
const ATTEMPTS: u32 = 8;

const IS_KEY: u8 = 1;
const IS_MARK: u8 = 0;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The store is away.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The vault doesn't open what is there, or seals nothing.
    #[error(transparent)]
    Vault(#[from] vault::Error),
    /// Other replicas change it all the while.
    #[error("a person's key changes all the while")]
    Busy,
}

/// What to do where a person has no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// They get one, and again after they were erased: they are back.
    Begin,
    /// They get one, unless they were erased.
    Make,
    /// Nobody is to learn whom it was about: a key that isn't kept.
    Anonymous,
}

impl Missing {
    /// Where this happened.
    pub const fn of(kind: Kind) -> Self {
        match kind {
            Kind::Connected | Kind::ApiKeyStored => Self::Begin,
            // Of somebody without a key only these are told after the end.
            Kind::Erased | Kind::RevocationFailed => Self::Anonymous,
            _ => Self::Make,
        }
    }
}

/// What stands in the store.
enum Standing {
    Key(PersonalKey, Timestamp),
    Erased,
}

/// All persons' keys.
pub struct PersonalKeys {
    store: Arc<dyn Store>,
    vault: Arc<Vault>,
    clock: Clock,
    /// How long entries are kept.
    kept: Duration,
    held: Cache<OwnerId, (PersonalKey, Timestamp)>,
}

impl PersonalKeys {
    /// In this store; entries are kept for so long.
    pub fn new(store: Arc<dyn Store>, vault: Arc<Vault>, clock: Clock, kept: Duration) -> Self {
        Self { store, vault, clock, kept, held: Cache::new(HELD) }
    }

    /// The owner's key, where it is there and good for a while: makes and changes nothing.
    ///
    /// # Errors
    /// While the store is away.
    pub async fn at_hand(&self, owner: &OwnerId) -> Result<Option<PersonalKey>, KeyError> {
        let now = self.clock.now();
        if let Some(key) = self.held(owner, now) {
            return Ok(Some(key));
        }
        let Some(sealed) = self.store.peek(&name(owner)).await? else { return Ok(None) };
        match self.open(owner, &sealed) {
            Ok(Standing::Key(key, written)) if !self.is_due(&sealed, written, now) => {
                self.held.insert(*owner, (key.clone(), now));
                Ok(Some(key))
            }
            _ => Ok(None),
        }
    }

    /// The key under which to seal what happened to this owner.
    ///
    /// # Errors
    /// While the store is away; where the vault doesn't open what is there.
    pub async fn to_seal(&self, owner: &OwnerId, missing: Missing) -> Result<PersonalKey, KeyError> {
        let now = self.clock.now();
        if let Some(key) = self.held(owner, now) {
            return Ok(key);
        }
        let name = name(owner);
        for _ in 0..ATTEMPTS {
            let stored = self.store.peek(&name).await?;
            let standing = match stored.as_ref().map(|sealed| self.open(owner, sealed)).transpose() {
                Ok(standing) => standing,
                // Erasing is not kept from anybody by a key that is damaged.
                Err(_) if missing == Missing::Anonymous => return Ok(PersonalKey::generate()?),
                Err(error) => return Err(error.into()),
            };
            let key = match (standing, missing) {
                (Some(Standing::Key(key, written)), _) => {
                    let sealed = stored.as_deref().unwrap_or_default();
                    let is_due = self.is_due(sealed, written, now);
                    if is_due && !self.store.replace(&name, sealed, &self.seal(owner, &key, now)?, self.life()).await? {
                        continue;
                    }
                    key
                }
                (None | Some(Standing::Erased), Missing::Anonymous) | (Some(Standing::Erased), Missing::Make) => {
                    return Ok(PersonalKey::generate()?);
                }
                (None, Missing::Begin | Missing::Make) => {
                    let key = PersonalKey::generate()?;
                    match self.store.put_once(&name, &self.seal(owner, &key, now)?, self.life()).await? {
                        Claim::Mine => key,
                        Claim::Theirs(theirs) => match self.open(owner, &theirs)? {
                            Standing::Key(key, _) => key,
                            Standing::Erased => continue,
                        },
                    }
                }
                (Some(Standing::Erased), Missing::Begin) => {
                    let (key, mark) = (PersonalKey::generate()?, stored.unwrap_or_default());
                    if !self.store.replace(&name, &mark, &self.seal(owner, &key, now)?, self.life()).await? {
                        continue;
                    }
                    key
                }
            };
            self.held.insert(*owner, (key.clone(), now));
            return Ok(key);
        }
        Err(KeyError::Busy)
    }

    /// The owner's key, where they have one; none where it doesn't open.
    ///
    /// # Errors
    /// While the store is away.
    pub async fn find(&self, owner: &OwnerId) -> Result<Option<PersonalKey>, store::Error> {
        let stored = self.store.peek(&name(owner)).await?;
        Ok(stored.and_then(|sealed| match self.open(owner, &sealed) {
            Ok(Standing::Key(key, _)) => Some(key),
            Ok(Standing::Erased) | Err(_) => None,
        }))
    }

    /// Takes the owner's key away for good.
    ///
    /// # Errors
    /// While the store is away. Then the key may be there still.
    pub async fn destroy(&self, owner: &OwnerId) -> Result<(), KeyError> {
        let (name, mark) = (name(owner), self.seal_bytes(owner, &[IS_MARK])?);
        for _ in 0..ATTEMPTS {
            let done = match self.store.peek(&name).await? {
                None => self.store.put_once(&name, &mark, Some(MARKED)).await? == Claim::Mine,
                Some(stored) if matches!(self.open(owner, &stored), Ok(Standing::Erased)) => true,
                Some(stored) => self.store.replace(&name, &stored, &mark, Some(MARKED)).await?,
            };
            if done {
                self.held.remove(owner);
                return Ok(());
            }
        }
        Err(KeyError::Busy)
    }

    /// Something of this owner's has changed elsewhere, and their key may have.
    pub fn changed(&self, owner: &OwnerId) {
        self.held.remove(owner);
    }

    /// Word of changes may have been lost.
    pub fn all_changed(&self) {
        self.held.clear();
    }

    fn held(&self, owner: &OwnerId, now: Timestamp) -> Option<PersonalKey> {
        self.held.get(owner).filter(|(_, since)| now.since(*since) < BELIEVED).map(|(key, _)| key)
    }

    /// Whether it is to be written again.
    fn is_due(&self, sealed: &[u8], written: Timestamp, now: Timestamp) -> bool {
        now.since(written) > RENEWED || self.vault.needs_rewrap(sealed)
    }

    fn life(&self) -> Option<Duration> {
        Some(self.kept.saturating_add(BEYOND))
    }

    fn seal(&self, owner: &OwnerId, key: &PersonalKey, now: Timestamp) -> Result<Vec<u8>, vault::Error> {
        let mut plain = Zeroizing::new(vec![IS_KEY]);
        plain.extend_from_slice(&now.millis().to_be_bytes());
        plain.extend_from_slice(key.expose());
        self.seal_bytes(owner, &plain)
    }

    fn seal_bytes(&self, owner: &OwnerId, plain: &[u8]) -> Result<Vec<u8>, vault::Error> {
        self.vault.seal(&Context { purpose: Purpose::PersonalKey, parts: &[&owner.0] }, plain)
    }

    fn open(&self, owner: &OwnerId, sealed: &[u8]) -> Result<Standing, vault::Error> {
        open(&self.vault, owner, sealed)
    }
}

fn open(vault: &Vault, owner: &OwnerId, sealed: &[u8]) -> Result<Standing, vault::Error> {
    let plain = vault.open(&Context { purpose: Purpose::PersonalKey, parts: &[&owner.0] }, sealed)?;
    match plain.expose().split_first() {
        Some((&IS_MARK, [])) => Ok(Standing::Erased),
        Some((&IS_KEY, rest)) => {
            let (written, key) = rest.split_first_chunk().ok_or(vault::Error::Corrupt)?;
            let key = <[u8; 32]>::try_from(key).map_err(|_| vault::Error::Corrupt)?;
            Ok(Standing::Key(PersonalKey::from_bytes(key), Timestamp::from_millis(u64::from_be_bytes(*written))))
        }
        _ => Err(vault::Error::Corrupt),
    }
}

/// The name of the one-time value that holds it.
fn name(owner: &OwnerId) -> String {
    format!("audit-key-{owner}")
}

/// The key in what was once stored for this owner, also where it is there no more: for judges of tests.
#[cfg(test)]
pub fn once_stored(vault: &Vault, owner: &OwnerId, sealed: &[u8]) -> Option<PersonalKey> {
    match open(vault, owner, sealed) {
        Ok(Standing::Key(key, _)) => Some(key),
        Ok(Standing::Erased) | Err(_) => None,
    }
}
