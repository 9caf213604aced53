//! STAND-IN. What an authorization server must remember: codes, grants and the tokens that came of them, with PKCE
//! (RFC 7636), one-time codes, rotating refresh tokens and the revocation of a whole grant when one is used twice
//! (RFC 9700 §4.14.2). All in memory, with the time as an argument; it never speaks HTTP and never touches a disk.
//! Each access token has a number, so that people (and the walk) can tell tokens apart without seeing any.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

use super::{
    ACCESS_TOKEN_PREFIX, REFRESH_TOKEN_PREFIX,
    journal::{Happening, Journal},
};

/// How long an authorization code may wait for its exchange; RFC 6749 §4.1.2 asks for ten minutes at most.
const CODE_LIFETIME: Duration = Duration::from_secs(60);

/// The one OAuth client that the stand-in knows.
pub struct Client {
    /// Its id.
    pub id: String,
    /// Its secret, for `client_secret_basic`.
    pub secret: String,
    /// Where codes may be sent: this and nothing else.
    pub redirect_uri: String,
}

/// An authorization request (RFC 6749 §4.1.1) of the client that the stand-in knows.
#[derive(Clone)]
pub struct Request {
    /// What the client asks for, space-separated.
    pub scope: String,
    /// Given back with the code.
    pub state: String,
    /// `BASE64URL(SHA256(verifier))` (RFC 7636 §4.2).
    pub challenge: String,
}

/// A token answer (RFC 6749 §5.1).
pub struct Issued {
    /// Opaque.
    pub access_token: String,
    /// Replaces the one that was sent, if any.
    pub refresh_token: String,
    /// Lifetime of the access token.
    pub expires_in: Duration,
    /// What was granted.
    pub scope: String,
}

/// Why a token request is refused (RFC 6749 §5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Unknown client or wrong secret.
    #[error("invalid_client")]
    Client,
    /// A code or refresh token that is unknown, used, expired, revoked, or whose PKCE verifier is wrong.
    #[error("invalid_grant")]
    Grant,
}

/// A live access token, as the API sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Live {
    /// Its number, counted from 1.
    pub number: u64,
    /// What it allows.
    pub scope: String,
}

struct Code {
    request: Request,
    expires_at: Instant,
    /// Set once exchanged: a second use revokes what the first one got (RFC 6749 §4.1.2).
    spent_for: Option<u64>,
}

struct Family {
    scope: String,
    revoked: bool,
}

struct Access {
    family: u64,
    number: u64,
    expires_at: Instant,
}

struct Refresh {
    family: u64,
    spent: bool,
}

/// Everything the stand-in has granted since it started.
pub struct Grants {
    client: Client,
    lifetime: Duration,
    codes: HashMap<String, Code>,
    families: HashMap<u64, Family>,
    access: HashMap<String, Access>,
    refresh: HashMap<String, Refresh>,
    /// What has happened, for people and for the walk.
    pub journal: Journal,
    numbers: u64,
}

impl Grants {
    /// Nothing granted yet; access tokens will live for `lifetime`.
    pub fn new(client: Client, lifetime: Duration) -> Self {
        Self {
            client,
            lifetime,
            codes: HashMap::new(),
            families: HashMap::new(),
            access: HashMap::new(),
            refresh: HashMap::new(),
            journal: Journal::default(),
            numbers: 0,
        }
    }

    /// Whether the stand-in knows this client and may send its codes there. A page, not a redirect, must answer where it
    /// doesn't (RFC 6749 §4.1.2.1).
    pub fn knows(&self, client_id: &str, redirect_uri: &str) -> bool {
        client_id == self.client.id && redirect_uri == self.client.redirect_uri
    }

    /// The only place where codes are sent.
    pub fn redirect_uri(&self) -> &str {
        &self.client.redirect_uri
    }

    /// A code for a request that a person has allowed. `code` is fresh chance.
    pub fn allow(&mut self, request: Request, code: &str, now: Instant) {
        self.journal.add(Happening::Consented);
        let expires_at = now + CODE_LIFETIME;
        self.codes.insert(code.to_owned(), Code { request, expires_at, spent_for: None });
    }

    /// Notes that a person has refused.
    pub fn deny(&mut self) {
        self.journal.add(Happening::Denied);
    }

    /// Whether these are the client's own id and secret.
    ///
    /// # Errors
    /// [`Refused::Client`] where they aren't.
    pub fn authenticate(&self, id: &str, secret: &str) -> Result<(), Refused> {
        // Pretend secrets on loopback: nobody measures how long this takes.
        if (id, secret) == (&*self.client.id, &*self.client.secret) { Ok(()) } else { Err(Refused::Client) }
    }

    /// Exchanges a code (RFC 6749 §4.1.3, RFC 7636 §4.6). A code that fails here is spent.
    ///
    /// # Errors
    /// [`Refused::Grant`].
    pub fn exchange(
        &mut self,
        code: &str,
        verifier: &str,
        redirect_uri: &str,
        now: Instant,
    ) -> Result<Issued, Refused> {
        let Some(known) = self.codes.get_mut(code) else {
            return Err(self.refuse());
        };
        if let Some(family) = known.spent_for {
            self.revoke_family(family, Happening::CodeReused);
            return Err(Refused::Grant);
        }
        let family = self.numbers + 1;
        self.numbers = family;
        known.spent_for = Some(family);
        let (request, fresh) = (known.request.clone(), now < known.expires_at);
        if !fresh || redirect_uri != self.client.redirect_uri || !verifies(verifier, &request.challenge) {
            return Err(self.refuse());
        }
        self.families.insert(family, Family { scope: request.scope, revoked: false });
        let issued = self.issue(family, now);
        Ok(issued)
    }

    /// Exchanges a refresh token for a new pair (RFC 6749 §6). A token that was already exchanged revokes its whole grant.
    ///
    /// # Errors
    /// [`Refused::Grant`].
    pub fn refresh(&mut self, token: &str, now: Instant) -> Result<Issued, Refused> {
        let Some(known) = self.refresh.get_mut(token) else {
            return Err(self.refuse());
        };
        let family = known.family;
        if known.spent {
            self.revoke_family(family, Happening::RefreshTokenReused);
            return Err(Refused::Grant);
        }
        known.spent = true;
        if self.families.get(&family).is_none_or(|family| family.revoked) {
            return Err(self.refuse());
        }
        Ok(self.issue(family, now))
    }

    /// Revokes the grant behind a token of either kind (RFC 7009). An unknown token is no error there.
    pub fn revoke(&mut self, token: &str) {
        let family = self
            .refresh
            .get(token)
            .map(|refresh| refresh.family)
            .or_else(|| self.access.get(token).map(|access| access.family));
        if let Some(family) = family {
            self.revoke_family(family, Happening::RevokedByClient);
        }
    }

    /// What a person does in a provider's settings: "remove this app's access". Returns how many grants that were.
    pub fn revoke_all(&mut self) -> usize {
        let live: Vec<u64> =
            self.families.iter().filter(|(_, family)| !family.revoked).map(|(number, _)| *number).collect();
        for family in &live {
            self.revoke_family(*family, Happening::RevokedByUser);
        }
        live.len()
    }

    /// What a bearer token (RFC 6750) allows at this moment, if anything.
    pub fn live(&self, token: &str, now: Instant) -> Option<Live> {
        let access = self.access.get(token)?;
        let family = self.families.get(&access.family).filter(|family| !family.revoked)?;
        (now < access.expires_at).then(|| Live { number: access.number, scope: family.scope.clone() })
    }

    /// The number of a token that this server has issued, live or not.
    pub fn number_of(&self, token: &str) -> Option<u64> {
        self.access.get(token).map(|access| access.number)
    }

    fn issue(&mut self, family: u64, now: Instant) -> Issued {
        let number = u64::try_from(self.access.len()).unwrap_or(u64::MAX).saturating_add(1);
        let (access_token, refresh_token) = (random(ACCESS_TOKEN_PREFIX), random(REFRESH_TOKEN_PREFIX));
        let expires_at = now + self.lifetime;
        self.access.insert(access_token.clone(), Access { family, number, expires_at });
        let first = !self.refresh.values().any(|refresh| refresh.family == family);
        self.refresh.insert(refresh_token.clone(), Refresh { family, spent: false });
        self.journal.add(if first { Happening::Issued { number } } else { Happening::Refreshed { number } });
        let scope = self.families.get(&family).map(|family| family.scope.clone()).unwrap_or_default();
        Issued { access_token, refresh_token, expires_in: self.lifetime, scope }
    }

    fn refuse(&mut self) -> Refused {
        self.journal.add(Happening::Refused);
        Refused::Grant
    }

    fn revoke_family(&mut self, number: u64, why: Happening) {
        if let Some(family) = self.families.get_mut(&number) {
            family.revoked = true;
        }
        self.journal.add(why);
    }
}

/// Whether the verifier is one (43 to 128 unreserved characters, RFC 7636 §4.1) and the challenge's own.
fn verifies(verifier: &str, challenge: &str) -> bool {
    let unreserved = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
    let well_formed = (43..=128).contains(&verifier.len()) && verifier.bytes().all(unreserved);
    let digest = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()));
    well_formed && digest == challenge
}

/// A new opaque value of 192 random bits.
pub fn random(prefix: &str) -> String {
    let mut bytes = [0; 24];
    getrandom::fill(&mut bytes).expect("the operating system's random source answers once it has been seeded at boot");
    format!("{prefix}{}", URL_SAFE_NO_PAD.encode(bytes))
}
