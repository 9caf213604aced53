//! Sessions of browsers on the dashboard: 30 minutes, ended by signing out. The browser holds a random handle, the store
//! its hash and, sealed, whose session it is and how far it reaches.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Erasures, Link, SESSION_TTL, Settings, digest, token};
use crate::{
    clock::Timestamp,
    connection::{Connection, Roots, Unavailable},
    id::{Account, CallerId, ServiceName},
    store::{Claim, Store},
    vault::{Purpose, Root},
};

/// Whose browser it is, and what it may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// The caller.
    pub caller: CallerId,
    /// Their name or address, where known.
    pub name: Option<String>,
    /// The application, where it is not the configured one.
    pub application: Option<String>,
    /// How far it reaches.
    pub reach: Reach,
    /// When it ends.
    #[serde(with = "crate::clock::seconds")]
    pub expires: Timestamp,
}

/// What a session manages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// All connections of the caller: the browser has proved whose it is.
    All,
    /// The one connection that this browser has just made: holding a link proves no more.
    Only {
        /// The owning service.
        service: ServiceName,
        /// The label.
        account: Account,
        /// When the connection was made, in milliseconds since the epoch: another one under this label is not meant.
        /// `None`: there is none yet, and this browser may make it.
        #[serde(default)]
        made: Option<u64>,
    },
}

impl Reach {
    /// Of a browser that made this connection.
    pub fn only(connection: &Connection) -> Self {
        let (service, account) = (connection.service.clone(), connection.account.clone());
        Self::Only { service, account, made: connection.connected_at.map(Timestamp::millis) }
    }

    /// Whether what is there under this label (`None`: nothing) is within it.
    pub fn covers(&self, service: &ServiceName, account: &Account, there: Option<&Connection>) -> bool {
        match self {
            Self::All => true,
            Self::Only { service: own_service, account: own_account, made } => {
                let same = match (there, made) {
                    (None, None) => true,
                    (Some(there), Some(made)) => there.connected_at.map(Timestamp::millis) == Some(*made),
                    _ => false,
                };
                own_service == service && own_account == account && same
            }
        }
    }
}

/// Sessions, and the links that begin one.
pub struct Sessions {
    roots: Roots,
    store: Arc<dyn Store>,
    erasures: Erasures,
    settings: Arc<Settings>,
}

impl Sessions {
    pub(super) fn new(roots: Roots, store: Arc<dyn Store>, erasures: Erasures, settings: Arc<Settings>) -> Self {
        Self { roots, store, erasures, settings }
    }

    /// Begins a session under a new handle (never one that the browser brought); what comes back is the cookie's value.
    ///
    /// # Errors
    /// Where store or keys are away.
    pub async fn sign_in(
        &self,
        caller: CallerId,
        name: Option<String>,
        application: Option<String>,
        reach: Reach,
        now: Timestamp,
    ) -> Result<String, Unavailable> {
        let expires = now.plus(SESSION_TTL);
        self.begin(Session { caller, name, application, reach, expires }, now).await
    }

    /// Begins this very session under a new handle; what comes back is the cookie's value.
    ///
    /// # Errors
    /// Where store or keys are away.
    pub async fn begin(&self, session: Session, now: Timestamp) -> Result<String, Unavailable> {
        let root = self.roots.get().await?;
        let value = token::<32>()?;
        let id = id_of(&value);
        let life = session.expires.until(now);
        let sealed = sealed(&root, &id, &session)?;
        match self.store.put_once(&id, sealed.as_bytes(), Some(life)).await? {
            Claim::Mine => Ok(value),
            Claim::Theirs(_) => Err(Unavailable::Keys),
        }
    }

    /// Has the session behind a cookie reach something else from now on. It ends when it would have ended.
    ///
    /// # Errors
    /// Where store or keys are away.
    pub async fn redirect(&self, cookie: &str, reach: Reach, now: Timestamp) -> Result<(), Unavailable> {
        let root = self.roots.get().await?;
        let id = id_of(cookie);
        let Some(old) = self.store.peek(&id).await? else { return Ok(()) };
        let Some(session) = opened(&root, &id, &old, now) else { return Ok(()) };
        let new = sealed(&root, &id, &Session { reach, ..session })?;
        // Where it was ended meanwhile, it stays so.
        self.store.replace(&id, &old, new.as_bytes(), None).await?;
        Ok(())
    }

    /// Makes a link that lets one browser, once, into the dashboard of this caller.
    ///
    /// # Errors
    /// Where store or keys are away.
    pub async fn link(
        &self,
        caller: CallerId,
        name: Option<String>,
        application: Option<String>,
        now: Timestamp,
    ) -> Result<Link, Unavailable> {
        let root = self.roots.get().await?;
        let life = self.settings.connect.ticket_ttl;
        let value = token::<32>()?;
        let id = link_of(&value);
        let session = Session { caller, name, application, reach: Reach::All, expires: now.plus(life) };
        let sealed = sealed(&root, &id, &session)?;
        match self.store.put_once(&id, sealed.as_bytes(), Some(life)).await? {
            Claim::Mine => {
                Ok(Link { url: self.settings.at(&format!("dashboard?link={value}")), expires_in: life.as_secs() })
            }
            Claim::Theirs(_) => Err(Unavailable::Keys),
        }
    }

    /// Whose dashboard such a link opens. Looking spends nothing. `None`: it is no longer valid.
    ///
    /// # Errors
    /// Where store or keys are away.
    pub async fn behind_link(&self, link: &str, now: Timestamp) -> Result<Option<Session>, Unavailable> {
        let root = self.roots.get().await?;
        let id = link_of(link);
        let sealed = self.store.peek(&id).await?;
        let Some(session) = sealed.and_then(|sealed| opened(&root, &id, &sealed, now)) else { return Ok(None) };
        let begun = session.expires.before(self.settings.connect.ticket_ttl);
        Ok((!self.erasures.since(&session.caller, begun).await?).then_some(session))
    }

    /// Spends such a link, and begins a session for it; what comes back is the cookie's value. `None`: it is no longer
    /// valid.
    ///
    /// # Errors
    /// Where store or keys are away.
    pub async fn follow_link(&self, link: &str, now: Timestamp) -> Result<Option<String>, Unavailable> {
        let root = self.roots.get().await?;
        let id = link_of(link);
        let Some(sealed) = self.store.take(&id).await? else { return Ok(None) };
        let session = opened(&root, &id, &sealed, now);
        let Some(Session { caller, name, application, reach, expires }) = session else { return Ok(None) };
        let begun = expires.before(self.settings.connect.ticket_ttl);
        if self.erasures.since(&caller, begun).await? {
            return Ok(None);
        }
        self.sign_in(caller, name, application, reach, now).await.map(Some)
    }

    /// The session behind a cookie.
    ///
    /// # Errors
    /// Where store or keys are away.
    pub async fn get(&self, cookie: &str, now: Timestamp) -> Result<Option<Session>, Unavailable> {
        let root = self.roots.get().await?;
        let id = id_of(cookie);
        let sealed = self.store.peek(&id).await?;
        let Some(session) = sealed.and_then(|sealed| opened(&root, &id, &sealed, now)) else { return Ok(None) };
        let begun = session.expires.before(SESSION_TTL);
        Ok((!self.erasures.since(&session.caller, begun).await?).then_some(session))
    }

    /// Ends the session behind a cookie, if there is one.
    ///
    /// # Errors
    /// Where the store is away.
    pub async fn sign_out(&self, cookie: &str) -> Result<(), Unavailable> {
        self.store.take(&id_of(cookie)).await?;
        Ok(())
    }
}

fn sealed(root: &Root, id: &str, session: &Session) -> Result<String, Unavailable> {
    let plaintext = serde_json::to_vec(session).expect("texts and numbers are JSON");
    Ok(root.seal(Purpose::Session, &plaintext, &[id.as_bytes()])?)
}

/// What lies sealed under this name, while its time lasts.
fn opened(root: &Root, id: &str, sealed: &[u8], now: Timestamp) -> Option<Session> {
    let plaintext = root.open(Purpose::Session, std::str::from_utf8(sealed).ok()?, &[id.as_bytes()]).ok()?;
    let session: Session = serde_json::from_slice(plaintext.expose()).ok()?;
    (!session.expires.reached(now)).then_some(session)
}

fn link_of(link: &str) -> String {
    format!("dashboard.{}", digest("dashboard link", link))
}

fn id_of(cookie: &str) -> String {
    format!("session.{}", digest("session", cookie))
}
