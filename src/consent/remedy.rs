//! What can be done about a call that got no credential: where a person can help themselves, with the link that leads there.
//! Words nothing, and asks no store: why there is none has been decided.

use super::{Link, Links, Wish, shown_name};
use crate::{
    caller::Caller,
    clock::Timestamp,
    connection::{Reason, Unavailable, Unusable},
    id::Account,
    provider::Service,
};

/// A call that got no credential.
#[derive(Debug, Clone, Copy)]
pub struct RefusedCall<'a> {
    /// Who called.
    pub caller: &'a Caller,
    /// The application's name, where the caller's issuer has one of its own.
    pub application: Option<&'a str>,
    /// What they called.
    pub service: &'a Service,
    /// Scopes that the call needs, on top of the service's own: a link asks for them, too.
    pub scopes: &'a [String],
}

/// What helps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remedy {
    /// The person connects (again), or waits for the application to confirm that they did.
    Connect {
        /// Why there is no credential.
        reason: Reason,
        /// Under which label.
        account: Account,
        /// Where they connect.
        link: Link,
    },
    /// The person grants more.
    GrantMore {
        /// Which scopes are missing.
        scopes: Vec<String>,
        /// Under which label.
        account: Account,
        /// Where they do.
        link: Link,
    },
    /// The application names one of these accounts.
    NameAccount(Vec<Account>),
    /// Time: the provider's token endpoint fails.
    WaitForProvider,
    /// Time: something of ours is away, or somebody else is at it.
    WaitForUs(Unavailable),
}

impl Links {
    /// What helps against this. The link is made from what this process holds, once it has the shared secret.
    pub async fn remedy(&self, unusable: &Unusable, refused: &RefusedCall<'_>, now: Timestamp) -> Remedy {
        let made = match unusable {
            Unusable::AuthRequired { reason, account } => {
                let link = self.remedy_link(account, refused.scopes, refused, now).await;
                link.map(|link| Remedy::Connect { reason: *reason, account: account.clone(), link })
            }
            Unusable::MissingScopes { scopes, account } => {
                let link = self.remedy_link(account, scopes, refused, now).await;
                link.map(|link| Remedy::GrantMore { scopes: scopes.clone(), account: account.clone(), link })
            }
            Unusable::AccountRequired { accounts } => Ok(Remedy::NameAccount(accounts.clone())),
            Unusable::RefreshFailed => Ok(Remedy::WaitForProvider),
            Unusable::Unavailable(unavailable) => Err(*unavailable),
        };
        made.unwrap_or_else(Remedy::WaitForUs)
    }

    async fn remedy_link(
        &self,
        account: &Account,
        scopes: &[String],
        refused: &RefusedCall<'_>,
        now: Timestamp,
    ) -> Result<Link, Unavailable> {
        if refused.caller.actor().is_some() {
            // Whoever acts for somebody is not the one to hold their ticket.
            return Ok(self.link_to_sign_in(refused.service, account));
        }
        let name = shown_name(refused.caller.claims());
        let wish = Wish {
            caller: &refused.caller.id,
            name: name.as_deref(),
            application: refused.application,
            service: refused.service,
            account,
            scopes,
            return_to: None,
        };
        self.link(&wish, now).await
    }
}
