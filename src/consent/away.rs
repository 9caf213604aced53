//! Whether pods may act for a person while that person is away: the person's own word, given and taken back on the dashboard,
//! sealed under a name that says nothing. It is one word for all pods that the operator lets act for others, and it lasts until
//! it is taken back or the person is erased. Calls ask for it, so it is remembered, for seconds: where it is taken back, this
//! process knows at once, and every other within [`FRESH`]. A store that is away says no to nobody and yes to nobody.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use data_encoding::HEXLOWER;
use quick_cache::sync::Cache;
use serde::{Deserialize, Serialize};

use crate::{
    clock::Timestamp,
    connection::{Roots, Unavailable},
    id::CallerId,
    store::{Claim, Store},
    vault::{Purpose, Root},
};

/// How long a person's word is believed before the store is asked again.
pub const FRESH: Duration = Duration::from_secs(5);
/// Whose words are remembered at most.
const REMEMBERED: usize = 50_000;
/// How often to try to write it when someone else was quicker.
const ATTEMPTS: u32 = 4;

/// Who lets pods act for them while they are away.
#[derive(Clone)]
pub struct Allowances {
    roots: Roots,
    store: Arc<dyn Store>,
    known: Arc<Known>,
}

/// What this process has heard.
struct Known {
    words: Cache<CallerId, Word>,
    /// How many words were taken back here.
    withdrawn: AtomicU64,
}

/// What a person was last known to say.
#[derive(Debug, Clone, Copy)]
struct Word {
    allowed: bool,
    /// When the store was asked: before it answered.
    asked: Timestamp,
}

impl Word {
    fn counts(self, now: Timestamp) -> bool {
        // A clock that was set back makes nothing younger.
        self.asked.reached(now) && now.since(self.asked) < FRESH
    }
}

/// An allowance at rest. That it is there and opens is what counts.
#[derive(Serialize, Deserialize)]
struct Stored {
    #[serde(rename = "s", with = "crate::clock::seconds")]
    since: Timestamp,
}

impl Allowances {
    pub(super) fn new(roots: Roots, store: Arc<dyn Store>) -> Self {
        Self { roots, store, known: Arc::new(Known { words: Cache::new(REMEMBERED), withdrawn: AtomicU64::new(0) }) }
    }

    /// Whether pods may act for this person now. A word that was heard within [`FRESH`] is believed.
    ///
    /// # Errors
    /// While store or keys are away and nothing is remembered.
    pub async fn allowed(&self, person: &CallerId, now: Timestamp) -> Result<bool, Unavailable> {
        match self.known.words.get(person) {
            Some(word) if word.counts(now) => Ok(word.allowed),
            Some(_) | None => self.ask(person, now).await,
        }
    }

    /// The same, as the store has it now.
    ///
    /// # Errors
    /// While store or keys are away.
    pub async fn ask(&self, person: &CallerId, now: Timestamp) -> Result<bool, Unavailable> {
        let root = self.roots.get().await?;
        let (name, before) = (name(&root, person), self.known.withdrawn.load(Ordering::SeqCst));
        let allowed = self.store.peek(&name).await?.is_some_and(|sealed| opens(&root, &name, &sealed));
        self.known.words.insert(person.clone(), Word { allowed, asked: now });
        if self.known.withdrawn.load(Ordering::SeqCst) != before {
            // Perhaps this very word, after the store had answered.
            self.known.words.remove(person);
        }
        Ok(allowed)
    }

    /// From now on pods may act for this person.
    ///
    /// # Errors
    /// While store or keys are away.
    pub async fn allow(&self, person: &CallerId, now: Timestamp) -> Result<(), Unavailable> {
        let root = self.roots.get().await?;
        let name = name(&root, person);
        let plain = serde_json::to_vec(&Stored { since: now }).expect("a number is JSON");
        let sealed = root.seal(Purpose::Allowance, &plain, &[name.as_bytes()])?;
        for _ in 0..ATTEMPTS {
            let stored = match self.store.put_once(&name, sealed.as_bytes(), None).await? {
                Claim::Mine => true,
                Claim::Theirs(before) if opens(&root, &name, &before) => true,
                // Nothing that counts: it is written over.
                Claim::Theirs(before) => self.store.replace(&name, &before, sealed.as_bytes(), None).await?,
            };
            if stored {
                self.known.words.remove(person);
                return Ok(());
            }
        }
        Err(Unavailable::Busy)
    }

    /// From now on none may: here at once, in every other process within [`FRESH`]. Also what erases this person's word.
    ///
    /// # Errors
    /// While store or keys are away: then pods may go on.
    pub async fn withdraw(&self, person: &CallerId) -> Result<(), Unavailable> {
        let root = self.roots.get().await?;
        self.store.take(&name(&root, person)).await?;
        self.known.withdrawn.fetch_add(1, Ordering::SeqCst);
        self.known.words.remove(person);
        Ok(())
    }
}

fn name(root: &Root, person: &CallerId) -> String {
    format!("away.{}", HEXLOWER.encode(&root.blind("away", &person.parts())))
}

fn opens(root: &Root, name: &str, sealed: &[u8]) -> bool {
    let opened = std::str::from_utf8(sealed).ok().and_then(|text| {
        let plain = root.open(Purpose::Allowance, text, &[name.as_bytes()]).ok()?;
        serde_json::from_slice::<Stored>(plain.expose()).ok()
    });
    opened.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consent::testing::{Break, Rig, START, caller};

    fn at(seconds: u64) -> Timestamp {
        START.plus(Duration::from_secs(seconds))
    }

    impl Rig {
        /// Another process on the same store.
        fn elsewhere(&self) -> Allowances {
            Allowances::new(self.roots.clone(), Arc::clone(&self.store))
        }
    }

    #[tokio::test]
    async fn a_word_is_known_here_at_once_and_elsewhere_within_seconds() {
        let rig = Rig::new();
        let (here, there) = (&rig.consent.allowances, rig.elsewhere());
        let (ada, bob) = (caller("ada"), caller("bob"));
        assert!(!here.allowed(&ada, at(0)).await.unwrap() && !there.allowed(&ada, at(0)).await.unwrap());
        here.allow(&ada, at(0)).await.unwrap();
        here.allow(&ada, at(0)).await.unwrap();
        assert!(here.allowed(&ada, at(0)).await.unwrap() && !here.allowed(&bob, at(0)).await.unwrap());
        assert!(there.allowed(&ada, at(5)).await.unwrap());
        here.withdraw(&ada).await.unwrap();
        assert!(!here.allowed(&ada, at(5)).await.unwrap());
        assert!(there.allowed(&ada, at(9)).await.unwrap(), "it was heard four seconds ago");
        assert!(!there.allowed(&ada, at(10)).await.unwrap());
        here.withdraw(&ada).await.unwrap();
    }

    #[tokio::test]
    async fn a_clock_that_is_set_back_keeps_no_word_alive() {
        let rig = Rig::new();
        let (here, there, ada) = (&rig.consent.allowances, rig.elsewhere(), caller("ada"));
        here.allow(&ada, at(0)).await.unwrap();
        assert!(there.allowed(&ada, at(3600)).await.unwrap());
        here.withdraw(&ada).await.unwrap();
        assert!(!there.allowed(&ada, at(0)).await.unwrap());
    }

    #[tokio::test]
    async fn while_the_store_is_away_nobody_says_yes() {
        let rig = Rig::new();
        let (allowances, ada) = (&rig.consent.allowances, caller("ada"));
        allowances.allow(&ada, at(0)).await.unwrap();
        assert!(allowances.allowed(&ada, at(0)).await.unwrap());
        rig.brittle.break_after(0, Break::Before);
        assert!(allowances.allowed(&ada, at(4)).await.unwrap());
        assert_eq!(allowances.allowed(&ada, at(5)).await, Err(Unavailable::Store));
        assert_eq!(allowances.withdraw(&ada).await, Err(Unavailable::Store));
    }

    #[tokio::test]
    async fn one_persons_word_says_nothing_under_another_name() {
        let rig = Rig::new();
        let (allowances, ada, bob) = (&rig.consent.allowances, caller("ada"), caller("bob"));
        let root = rig.roots.get().await.unwrap();
        allowances.allow(&ada, at(0)).await.unwrap();
        let word = rig.store.peek(&name(&root, &ada)).await.unwrap().unwrap();
        rig.store.put_once(&name(&root, &bob), &word, None).await.unwrap();
        assert!(!allowances.allowed(&bob, at(0)).await.unwrap());
        allowances.allow(&bob, at(0)).await.unwrap();
        assert!(allowances.allowed(&bob, at(0)).await.unwrap());
    }

    #[test]
    fn names_at_rest_stay_what_they_are() {
        assert_eq!(name(&Root::from_bytes([7; 32]), &caller("ada")), "away.2a2294f1df6fae34e098ec7ab7f3065c");
    }
}
