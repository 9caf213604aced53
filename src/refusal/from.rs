//! Domain errors as refusals, each match exhaustive: a new kind of error does not compile until it is decided here how
//! it is told.

use super::{About, Refusal, TooLarge};
use crate::{
    caller::{self, Caller, Unauthenticated},
    clock::Timestamp,
    connection::{Reason, Unavailable, Unusable},
    consent::{Consent, HeldError, Refused, Wish, shown_name},
    id::{Account, ConnectionId},
    policy::Forbidden,
    provider::Service,
};

impl From<Unauthenticated> for Refusal {
    fn from(error: Unauthenticated) -> Self {
        use caller::Reason;
        let message = match error.reason {
            Reason::Missing => return Self::no_caller("Please sign in to continue"),
            Reason::Malformed | Reason::Invalid => "Your sign-in could not be verified, please sign in again",
            Reason::TooLong => return Self::too_large(TooLarge::Token),
            Reason::Expired => "Your sign-in has expired, please sign in again",
            Reason::NotYetValid => "Your sign-in is not valid yet, please try again",
            // Nobody knows whether the token is good: not the caller's fault.
            Reason::KeysUnavailable => return Self::unavailable(5),
        };
        Self::unauthenticated(error.reason.code(), message)
    }
}

impl From<Unavailable> for Refusal {
    fn from(error: Unavailable) -> Self {
        match error {
            Unavailable::Store | Unavailable::Keys => Self::unavailable(5),
            Unavailable::Busy => Self::unavailable(1),
        }
    }
}

impl From<Refused> for Refusal {
    fn from(error: Refused) -> Self {
        match error {
            Refused::Malformed => Self::bad_request("return_to is not a well-formed absolute URL"),
            Refused::NotAllowed => Self::bad_request("return_to is not an allowed address"),
        }
    }
}

impl From<Forbidden<'_>> for Refusal {
    fn from(Forbidden { service }: Forbidden<'_>) -> Self {
        Self::forbidden(&service.name, &service.title)
    }
}

impl From<HeldError> for Refusal {
    fn from(error: HeldError) -> Self {
        match error {
            HeldError::Unknown => Self::not_found(),
            HeldError::Unavailable(unavailable) => unavailable.into(),
        }
    }
}

/// What is needed to tell somebody how to help themselves: who they are, what they called, and who makes links.
#[derive(Debug, Clone, Copy)]
pub struct Remedies<'a> {
    /// Makes links.
    pub consent: &'a Consent,
    /// Who called.
    pub caller: &'a Caller,
    /// The application's name, where the caller's issuer has one of its own.
    pub application: Option<&'a str>,
    /// What they called.
    pub service: &'a Service,
    /// Scopes that the call names, on top of the service's own: a link asks for them, too.
    pub scopes: &'a [String],
}

impl Remedies<'_> {
    /// Tells why there is no credential, with the link that leads to one where a person can do something about it.
    pub async fn refuse(&self, unusable: &Unusable, now: Timestamp) -> Refusal {
        let title = self.service.title.as_str();
        match unusable {
            Unusable::AuthRequired { reason, account } => match self.link(account, self.scopes, now).await {
                Ok(link) => Refusal::auth_required(self.about(account), self.reason(*reason, account).await, &link),
                Err(unavailable) => unavailable.into(),
            },
            Unusable::MissingScopes { scopes, account } => match self.link(account, scopes, now).await {
                Ok(link) => Refusal::additional_scopes_required(self.about(account), scopes, &link),
                Err(unavailable) => unavailable.into(),
            },
            Unusable::AccountRequired { accounts } => Refusal::account_required(title, accounts),
            Unusable::RefreshFailed => Refusal::refresh_failed(title),
            Unusable::Unavailable(unavailable) => (*unavailable).into(),
        }
    }

    /// A person who has just connected is not sent to connect again: the application is to confirm.
    async fn reason(&self, reason: Reason, account: &Account) -> Reason {
        let id = ConnectionId {
            caller: self.caller.id.clone(),
            service: self.service.owner.clone(),
            account: account.clone(),
        };
        if self.consent.is_pending(&id).await { Reason::Pending } else { reason }
    }

    fn about<'s>(&'s self, account: &'s Account) -> About<'s> {
        About { service: &self.service.name, title: &self.service.title, account }
    }

    async fn link(
        &self,
        account: &Account,
        scopes: &[String],
        now: Timestamp,
    ) -> Result<crate::consent::Link, Unavailable> {
        let name = shown_name(self.caller.claims());
        let wish = Wish {
            caller: &self.caller.id,
            name: name.as_deref(),
            application: self.application,
            service: self.service,
            account,
            scopes,
            return_to: None,
        };
        self.consent.links.link(&wish, now).await
    }
}
