//! Where callers can be reached: the mail address and language that their JWTs name. Personal data: kept sealed under names
//! that say nothing, never printed, and forgotten a year after a caller was last seen. Taken when a JWT is verified for
//! the first time, which is rare and off the way of calls that memory answers; written in the background.

use std::{
    collections::BTreeMap,
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use lettre::Address;
use quick_cache::sync::Cache;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::runtime::Handle;

use super::Surroundings;
use crate::{
    clock::{Clock, Timestamp},
    config::{CallerIssuer, Language},
    id::{CallerId, Issuer},
    secret::{self, SecretString},
    store::{self, Claim, Store},
    vault::{Purpose, Root},
};

/// Forgotten this long after a caller was last seen.
const KEPT: Duration = Duration::from_secs(400 * 86_400);
/// What has not changed is written again after this, so that it is kept.
const RENEWED: Duration = Duration::from_secs(30 * 86_400);
/// What a caller's JWTs say is compared with the store again after this.
const LOOK_AGAIN: Duration = Duration::from_secs(3600);
/// How often a change is tried again when another replica was quicker.
const ATTEMPTS: u32 = 4;

/// Where one caller can be reached.
#[derive(Clone)]
pub struct Contact {
    /// Their mail address.
    pub address: Option<SecretString>,
    /// Their language, where it is known.
    pub language: Option<Language>,
}

/// A contact at rest.
#[derive(Serialize, Deserialize)]
struct Stored {
    #[serde(rename = "a", serialize_with = "secret::reveal", default, skip_serializing_if = "Option::is_none")]
    address: Option<SecretString>,
    #[serde(rename = "l", default, skip_serializing_if = "Option::is_none")]
    language: Option<Language>,
    /// The end of the JWT that said so: an older JWT does not take back what a newer one said.
    #[serde(rename = "e", with = "crate::clock::seconds")]
    vouched_until: Timestamp,
    /// When it was written.
    #[serde(rename = "w", with = "crate::clock::seconds")]
    written: Timestamp,
}

/// Which claims hold what, for one issuer.
#[derive(Debug, Clone)]
struct Claims {
    email: String,
    language: Option<String>,
}

/// All callers' contacts. Cheap to clone.
#[derive(Clone)]
pub struct Contacts(Arc<Inner>);

struct Inner {
    claims: BTreeMap<Issuer, Claims>,
    store: Arc<dyn Store>,
    surroundings: Arc<dyn Surroundings>,
    clock: Clock,
    handle: Handle,
    /// What this process last saw of a caller, and when.
    seen: Cache<CallerId, (u64, Timestamp)>,
}

impl Contacts {
    /// Takes note of callers of issuers with an `email_claim`. `remembered` callers are not looked up each time.
    pub fn new(
        issuers: &[CallerIssuer],
        remembered: usize,
        store: Arc<dyn Store>,
        surroundings: Arc<dyn Surroundings>,
        clock: Clock,
        handle: Handle,
    ) -> Self {
        let claims = issuers
            .iter()
            .filter_map(|issuer| {
                let claims = Claims { email: issuer.email_claim.clone()?, language: issuer.language_claim.clone() };
                Some((issuer.issuer.clone(), claims))
            })
            .collect();
        Self(Arc::new(Inner { claims, store, surroundings, clock, handle, seen: Cache::new(remembered) }))
    }

    /// Takes note of what a verified JWT says of its caller; `claims` are read only where an address is looked for, and
    /// `vouched_until` is the JWT's `exp`. Never waits.
    pub fn note<'c>(
        &self,
        caller: &CallerId,
        claims: impl FnOnce() -> &'c Map<String, Value>,
        vouched_until: Timestamp,
    ) {
        let Some(names) = self.0.claims.get(&caller.issuer) else { return };
        let claims = claims();
        // A JWT that speaks of no address takes none back.
        if !claims.contains_key(&names.email) {
            return;
        }
        let contact = read(claims, names);
        let now = self.0.clock.now();
        let mut hasher = DefaultHasher::new();
        contact.address.as_ref().map(SecretString::expose).hash(&mut hasher);
        contact.language.map(|language| language as u8).hash(&mut hasher);
        let seen = hasher.finish();
        if self.0.seen.get(caller).is_some_and(|(before, when)| before == seen && now.since(when) < LOOK_AGAIN) {
            return;
        }
        self.0.seen.insert(caller.clone(), (seen, now));
        let (contacts, caller) = (self.clone(), caller.clone());
        self.0.handle.spawn(async move {
            if contacts.keep(&caller, &contact, vouched_until, now).await.is_none() {
                // The next JWT tries again.
                contacts.0.seen.remove(&caller);
            }
        });
    }

    /// Where this caller can be reached; `Err`: that can't be known now.
    ///
    /// # Errors
    /// While the store or the keys are away.
    pub(super) async fn find(&self, root: &Root, caller: &CallerId) -> Result<Contact, store::Error> {
        let name = name(root, caller);
        let stored = self.0.store.peek(&name).await?.and_then(|sealed| open(root, &name, &sealed));
        Ok(stored.map_or(Contact { address: None, language: None }, |stored| Contact {
            address: stored.address,
            language: stored.language,
        }))
    }

    /// Forgets a caller.
    ///
    /// # Errors
    /// While the store is away.
    pub async fn forget(&self, root: &Root, caller: &CallerId) -> Result<(), store::Error> {
        self.0.seen.remove(caller);
        self.0.store.take(&name(root, caller)).await.map(drop)
    }

    async fn keep(&self, caller: &CallerId, contact: &Contact, vouched_until: Timestamp, now: Timestamp) -> Option<()> {
        let root = self.0.surroundings.root().await?;
        let name = name(&root, caller);
        let new = Stored { address: contact.address.clone(), language: contact.language, vouched_until, written: now };
        let plain = zeroize::Zeroizing::new(serde_json::to_vec(&new).ok()?);
        let sealed = root.seal(Purpose::Event, &plain, &[name.as_bytes()]).ok()?;
        let mut before = self.0.store.peek(&name).await.ok()?;
        for _ in 0..ATTEMPTS {
            let Some(old) = before.take() else {
                if new.address.is_none() {
                    return Some(());
                }
                match self.0.store.put_once(&name, sealed.as_bytes(), Some(KEPT)).await.ok()? {
                    Claim::Mine => return Some(()),
                    Claim::Theirs(theirs) => {
                        before = Some(theirs);
                        continue;
                    }
                }
            };
            if let Some(stored) = open(&root, &name, &old) {
                let [before, after] = [&stored, &new].map(|stored| stored.address.as_ref().map(SecretString::expose));
                let same = before == after && stored.language == new.language;
                let is_recent = now.since(stored.written) < RENEWED;
                if (same && is_recent) || (!same && stored.vouched_until > vouched_until) {
                    return Some(());
                }
            }
            if self.0.store.replace(&name, &old, sealed.as_bytes(), Some(KEPT)).await.ok()? {
                return Some(());
            }
            before = self.0.store.peek(&name).await.ok()?;
        }
        None
    }
}

impl fmt::Debug for Contacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Contacts")
    }
}

fn name(root: &Root, caller: &CallerId) -> String {
    format!("contact.{}", URL_SAFE_NO_PAD.encode(root.blind("contact", &caller.parts())))
}

fn open(root: &Root, name: &str, sealed: &[u8]) -> Option<Stored> {
    let text = std::str::from_utf8(sealed).ok()?;
    let plain = root.open(Purpose::Event, text, &[name.as_bytes()]).ok()?;
    serde_json::from_slice(plain.expose()).ok()
}

/// What the claims say. An address counts only where it parses, and where nobody says that it is unverified (`email_verified`,
/// OpenID Connect Core §5.1; some issuers send it as a text).
fn read(claims: &Map<String, Value>, names: &Claims) -> Contact {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let is_unverified = match claims.get("email_verified") {
        Some(Value::Bool(verified)) => !verified,
        Some(Value::String(text)) => text.eq_ignore_ascii_case("false"),
        _ => false,
    };
    let address = text(&names.email)
        .filter(|address| !is_unverified && address.len() <= 254 && address.parse::<Address>().is_ok())
        .map(SecretString::from);
    let language = names.language.as_deref().and_then(text).and_then(Language::of_tag);
    Contact { address, language }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::id::Subject;

    fn of(claims: Value) -> (Option<String>, Option<Language>) {
        let names = Claims { email: "email".into(), language: Some("locale".into()) };
        let contact = read(claims.as_object().unwrap(), &names);
        (contact.address.map(|address| address.expose().clone()), contact.language)
    }

    #[test]
    fn an_address_counts_where_it_is_one_and_nobody_says_it_is_unverified() {
        let ada = Some("ada@example.com".to_owned());
        assert_eq!(of(json!({ "email": "ada@example.com", "locale": "de-AT" })), (ada.clone(), Some(Language::De)));
        assert_eq!(of(json!({ "email": "ada@example.com", "email_verified": true })), (ada.clone(), None));
        assert_eq!(of(json!({ "email": "ada@example.com", "email_verified": "true", "locale": "fr" })), (ada, None));
        for claims in [
            json!({ "email": "ada@example.com", "email_verified": false }),
            json!({ "email": "ada@example.com", "email_verified": "false" }),
            json!({ "email": "ada" }),
            json!({ "email": "ada@example.com\r\nBcc: eve@example.com" }),
            json!({ "email": "Ada <ada@example.com>, eve@example.com" }),
            json!({ "email": ["ada@example.com"] }),
            json!({}),
        ] {
            assert_eq!(of(claims.clone()).0, None, "{claims}");
        }
    }

    #[test]
    fn names_at_rest_stay_what_they_are() {
        let caller = CallerId { issuer: Issuer::parse("https://i/").unwrap(), subject: Subject::parse("ada").unwrap() };
        assert_eq!(name(&Root::from_bytes([7; 32]), &caller), "contact.tkPl-fnbuHd47no4fnicaw");
    }
}
