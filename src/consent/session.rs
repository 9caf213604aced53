//! Sessions of browsers on the dashboard: 30 minutes, ended by signing out. The browser holds a random handle, the store
//! its hash and, sealed, whose session it is and how far it reaches.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Erasures, Handles, Link, SESSION_TTL, Settings};
use crate::{
    clock::Timestamp,
    connection::{Connection, Roots, Unavailable},
    id::{Account, CallerId, ServiceName},
    store::Store,
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
    sessions: Handles<Session>,
    links: Handles<Session>,
    erasures: Erasures,
    settings: Arc<Settings>,
}

impl Sessions {
    pub(super) fn new(roots: Roots, store: Arc<dyn Store>, erasures: Erasures, settings: Arc<Settings>) -> Self {
        let sessions = Handles::new(roots.clone(), Arc::clone(&store), ("session", "session"));
        let links = Handles::new(roots, store, ("dashboard", "dashboard link"));
        Self { sessions, links, erasures, settings }
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
        self.sessions.give(&session, session.expires.until(now)).await
    }

    /// Has the session behind a cookie reach something else from now on. It ends when it would have ended.
    ///
    /// # Errors
    /// Where store or keys are away.
    pub async fn redirect(&self, cookie: &str, reach: Reach, now: Timestamp) -> Result<(), Unavailable> {
        let reach =
            |session: Session| if session.expires.reached(now) { session } else { Session { reach, ..session } };
        self.sessions.change(cookie, reach).await
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
        let life = self.settings.connect.ticket_ttl;
        let session = Session { caller, name, application, reach: Reach::All, expires: now.plus(life) };
        let value = self.links.give(&session, life).await?;
        Ok(Link { url: self.settings.at(&format!("dashboard?link={value}")), expires_in: life.as_secs() })
    }

    /// Whose dashboard such a link opens. Looking spends nothing. `None`: it is no longer valid.
    ///
    /// # Errors
    /// Where store or keys are away.
    pub async fn behind_link(&self, link: &str, now: Timestamp) -> Result<Option<Session>, Unavailable> {
        self.valid(self.links.look(link).await?, self.settings.connect.ticket_ttl, now).await
    }

    /// Spends such a link, and begins a session for it; what comes back is the cookie's value. `None`: it is no longer
    /// valid.
    ///
    /// # Errors
    /// Where store or keys are away.
    pub async fn follow_link(&self, link: &str, now: Timestamp) -> Result<Option<String>, Unavailable> {
        let session = self.valid(self.links.spend(link).await?, self.settings.connect.ticket_ttl, now).await?;
        let Some(Session { caller, name, application, reach, .. }) = session else { return Ok(None) };
        self.sign_in(caller, name, application, reach, now).await.map(Some)
    }

    /// The session behind a cookie.
    ///
    /// # Errors
    /// Where store or keys are away.
    pub async fn get(&self, cookie: &str, now: Timestamp) -> Result<Option<Session>, Unavailable> {
        self.valid(self.sessions.look(cookie).await?, SESSION_TTL, now).await
    }

    /// Ends the session behind a cookie, if there is one.
    ///
    /// # Errors
    /// Where the store is away.
    pub async fn sign_out(&self, cookie: &str) -> Result<(), Unavailable> {
        self.sessions.end(cookie).await
    }

    /// What was begun `life` before its end, while its time lasts and its caller wasn't erased since.
    async fn valid(
        &self,
        session: Option<Session>,
        life: Duration,
        now: Timestamp,
    ) -> Result<Option<Session>, Unavailable> {
        let Some(session) = session.filter(|session| !session.expires.reached(now)) else { return Ok(None) };
        let erased = self.erasures.since(&session.caller, session.expires.before(life)).await?;
        Ok((!erased).then_some(session))
    }
}
