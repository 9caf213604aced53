//! Temporary stand-in for the interface of `connection`, so that `consent`, `refusal` and `web` compile and can be tested.

#![expect(missing_docs, clippy::unused_async, reason = "temporary stand-in; the real module replaces it")]

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use serde::Serialize;

use crate::{
    clock::Timestamp,
    id::{Account, CallerId, ConnectionId, ServiceName},
    oauth,
    provider::Service,
    vault,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Active,
    Pending,
    Invalid,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum AuthKind {
    #[serde(rename = "oauth")]
    OAuth,
    #[serde(rename = "api_key")]
    ApiKey,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    NotConnected,
    Expired,
    Revoked,
    RejectedByUpstream,
    RefreshInterrupted,
    ApiKeyRetired,
    Pending,
}

#[derive(Debug, Clone, Serialize)]
pub struct Connection {
    pub service: ServiceName,
    pub account: Account,
    pub status: Status,
    pub auth_kind: AuthKind,
    pub scopes: Vec<String>,
    pub connected_at: Option<Timestamp>,
    pub refreshed_at: Option<Timestamp>,
    pub expires_at: Option<Timestamp>,
    pub last_used_at: Option<Timestamp>,
    pub invalidated_at: Option<Timestamp>,
    pub invalid_reason: Option<Reason>,
    pub identity: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unusable {
    AuthRequired { reason: Reason, account: Account },
    AccountRequired { accounts: Vec<Account> },
    MissingScopes { scopes: Vec<String>, account: Account },
    RefreshFailed,
    Unavailable(Unavailable),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    #[error("the store is unavailable")]
    Store,
    #[error("the sealing keys are unavailable")]
    Keys,
    #[error("too much is in flight")]
    Busy,
}

#[derive(Debug)]
pub struct Roots(Arc<vault::Root>);

impl Roots {
    pub fn fixed(root: vault::Root) -> Self {
        Self(Arc::new(root))
    }

    pub async fn get(&self) -> Result<Arc<vault::Root>, Unavailable> {
        Ok(Arc::clone(&self.0))
    }
}

#[derive(Debug, Default)]
pub struct Connections(Mutex<BTreeMap<ConnectionId, Connection>>);

impl Connections {
    pub async fn list(&self, caller: &CallerId) -> Result<Vec<Connection>, Unavailable> {
        Ok(self.0.lock().iter().filter(|(id, _)| id.caller == *caller).map(|(_, c)| c.clone()).collect())
    }

    pub async fn get(&self, id: &ConnectionId) -> Result<Option<Connection>, Unavailable> {
        Ok(self.0.lock().get(id).cloned())
    }

    pub async fn find(
        &self,
        caller: &CallerId,
        service: &Service,
        account: Option<&Account>,
    ) -> Result<Option<Connection>, Unusable> {
        let owner = &service.owner;
        let mine: Vec<Connection> = self
            .list(caller)
            .await
            .map_err(Unusable::Unavailable)?
            .into_iter()
            .filter(|c| c.service == *owner)
            .collect();
        if let Some(account) = account {
            return Ok(mine.into_iter().find(|c| c.account == *account));
        }
        if let Some(found) = mine.iter().find(|c| c.account == Account::default()) {
            return Ok(Some(found.clone()));
        }
        if mine.len() > 1 {
            return Err(Unusable::AccountRequired { accounts: mine.into_iter().map(|c| c.account).collect() });
        }
        Ok(mine.into_iter().next())
    }

    pub async fn connect(
        &self,
        id: &ConnectionId,
        grant: oauth::Grant,
        identity: Option<oauth::Identity>,
        requested_scopes: &[String],
    ) -> Result<Connection, Unavailable> {
        let connection = Connection {
            service: id.service.clone(),
            account: id.account.clone(),
            status: Status::Active,
            auth_kind: AuthKind::OAuth,
            scopes: requested_scopes.to_vec(),
            connected_at: Some(Timestamp::from_millis(1_700_000_000_000)),
            refreshed_at: None,
            expires_at: None,
            last_used_at: None,
            invalidated_at: None,
            invalid_reason: None,
            identity: identity.map(|identity| identity.label),
        };
        drop(grant);
        self.0.lock().insert(id.clone(), connection.clone());
        Ok(connection)
    }

    pub async fn disconnect(&self, id: &ConnectionId) -> Result<bool, Unavailable> {
        Ok(self.0.lock().remove(id).is_some())
    }
}
