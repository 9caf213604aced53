//! Domain errors as refusals, each match exhaustive: a new kind of error does not compile until it is decided here how
//! it is told. Pure: it asks nobody and makes nothing, not even a link.

use super::{About, Refusal, TooLarge};
use crate::{
    caller::{self, Unauthenticated},
    connection::Unavailable,
    consent::{HeldError, Refused, Remedy},
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

impl Refusal {
    /// Why a call to this service gets no credential, and what helps.
    pub fn no_credential(service: &Service, remedy: &Remedy) -> Self {
        let title = service.title.as_str();
        let about = |account| About { service: &service.name, title, account };
        match remedy {
            Remedy::Connect { reason, account, link } => Self::auth_required(about(account), *reason, link),
            Remedy::GrantMore { scopes, account, link } => {
                Self::additional_scopes_required(about(account), scopes, link)
            }
            Remedy::NameAccount(accounts) => Self::account_required(title, accounts),
            Remedy::WaitForProvider => Self::refresh_failed(title),
            Remedy::WaitForUs(unavailable) => (*unavailable).into(),
        }
    }
}
