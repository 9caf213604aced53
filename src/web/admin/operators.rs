//! Browsers of operators: signed in for an hour by a link that opens once, or by a token in a form. What the token may do, the
//! session may, and it ends with the token. Never knows a route.

use std::{sync::Arc, time::Duration};

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

use crate::{
    clock::Timestamp,
    config::Admin,
    connection::{Roots, Unavailable},
    consent::Handles,
    secret::SecretString,
    store::Store,
    vault::Root,
};

/// How long a browser stays signed in.
pub(super) const SESSION: Duration = Duration::from_secs(3600);

/// What an operator may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rights {
    /// Look.
    Read,
    /// And change.
    Write,
}

impl Rights {
    /// Those of a bearer of this token; `None`: it is none of them.
    pub(super) fn of(admin: &Admin, presented: &[u8]) -> Option<Self> {
        // Both are looked at, so that time tells nothing of which it was.
        let write = admin.token.matches(presented);
        let read = admin.read_token.as_ref().is_some_and(|token| token.matches(presented));
        if write { Some(Self::Write) } else { read.then_some(Self::Read) }
    }

    /// The token that grants so much and no more.
    fn token(self, admin: &Admin) -> Option<&SecretString> {
        match self {
            Self::Read => admin.read_token.as_ref(),
            Self::Write => Some(&admin.token),
        }
    }
}

/// A browser that is let in, or may be.
#[derive(Serialize, Deserialize)]
struct Operator {
    rights: Rights,
    /// Names the token that let it in, and says nothing of it.
    token: String,
    #[serde(with = "crate::clock::seconds")]
    expires: Timestamp,
}

/// Sessions of operators, and the links that begin one.
pub struct Operators {
    roots: Roots,
    sessions: Handles<Operator>,
    links: Handles<Operator>,
}

impl Operators {
    /// In this store.
    pub fn new(roots: Roots, store: Arc<dyn Store>) -> Self {
        let sessions = Handles::new(roots.clone(), Arc::clone(&store), ("operator", "operator session"));
        let links = Handles::new(roots.clone(), store, ("operator-link", "operator link"));
        Self { roots, sessions, links }
    }

    /// The secret part of a link that lets one browser in, once, to do this; asked for by a bearer of the token `of` those rights.
    ///
    /// # Errors
    /// Where store or keys are away.
    pub async fn link(
        &self,
        admin: &Admin,
        (rights, of): (Rights, Rights),
        life: Duration,
        now: Timestamp,
    ) -> Result<String, Unavailable> {
        let token = self.token_name(admin, of).await?;
        self.links.give(&Operator { rights, token, expires: now.plus(life) }, life).await
    }

    /// What a link lets its holder do. Looking spends nothing. `None`: it is no longer valid.
    ///
    /// # Errors
    /// Where store or keys are away.
    pub async fn behind_link(&self, admin: &Admin, link: &str, now: Timestamp) -> Result<Option<Rights>, Unavailable> {
        let operator = self.valid(admin, self.links.look(link).await?, now).await?;
        Ok(operator.map(|operator| operator.rights))
    }

    /// Spends a link, and begins a session: the cookie's value. `None`: the link is no longer valid.
    ///
    /// # Errors
    /// Where store or keys are away.
    pub async fn follow_link(&self, admin: &Admin, link: &str, now: Timestamp) -> Result<Option<String>, Unavailable> {
        match self.valid(admin, self.links.spend(link).await?, now).await? {
            Some(operator) => self.begin(operator, now).await.map(Some),
            None => Ok(None),
        }
    }

    /// Begins a session of whoever has the token of these rights: the cookie's value.
    ///
    /// # Errors
    /// Where store or keys are away.
    pub async fn sign_in(&self, admin: &Admin, rights: Rights, now: Timestamp) -> Result<String, Unavailable> {
        let token = self.token_name(admin, rights).await?;
        self.begin(Operator { rights, token, expires: now }, now).await
    }

    /// What the browser with this cookie may do.
    ///
    /// # Errors
    /// Where store or keys are away.
    pub async fn rights(&self, admin: &Admin, cookie: &str, now: Timestamp) -> Result<Option<Rights>, Unavailable> {
        let operator = self.valid(admin, self.sessions.look(cookie).await?, now).await?;
        Ok(operator.map(|operator| operator.rights))
    }

    /// Ends a session.
    ///
    /// # Errors
    /// Where the store is away.
    pub async fn sign_out(&self, cookie: &str) -> Result<(), Unavailable> {
        self.sessions.end(cookie).await
    }

    async fn begin(&self, operator: Operator, now: Timestamp) -> Result<String, Unavailable> {
        self.sessions.give(&Operator { expires: now.plus(SESSION), ..operator }, SESSION).await
    }

    async fn token_name(&self, admin: &Admin, of: Rights) -> Result<String, Unavailable> {
        let root = self.roots.get().await?;
        Ok(of.token(admin).map(|token| name(&root, token)).unwrap_or_default())
    }

    /// Whom the time and the token still let in, with no more rights than the token has now.
    async fn valid(
        &self,
        admin: &Admin,
        operator: Option<Operator>,
        now: Timestamp,
    ) -> Result<Option<Operator>, Unavailable> {
        let root = self.roots.get().await?;
        let Some(operator) = operator.filter(|operator| !operator.expires.reached(now)) else { return Ok(None) };
        let is_of = |rights: &Rights| rights.token(admin).is_some_and(|token| name(&root, token) == operator.token);
        let most = [Rights::Read, Rights::Write].into_iter().find(is_of);
        Ok(most.map(|most| Operator { rights: operator.rights.min(most), ..operator }))
    }
}

/// What a token is called where a session names it.
fn name(root: &Root, token: &SecretString) -> String {
    HEXLOWER.encode(&root.blind("operator token", &[token.expose().as_bytes()]))
}
