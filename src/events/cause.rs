//! Who or what brought something about, and by which request. An argument of whatever changes a connection, so that no fact
//! is without it.

use std::net::IpAddr;

use crate::id::{RequestId, Subject};

/// The header in which the proxy tells Valetkey's own routes where a request came from. It is never a client's word: the proxy
/// sets it, and a listener without the proxy doesn't look at it.
pub const CLIENT_ADDRESS: &str = "valetkey-client-address";

/// Who or what acted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Actor {
    /// The person themself, or the application in their name.
    Caller,
    /// An operator, through the admin API.
    Operator,
    /// An operator, through a command.
    Command,
    /// Valetkey itself: what it renews and finishes without anybody's asking.
    Healer,
    /// The provider: it refused a token, or didn't answer.
    Provider,
    /// The upstream: it refused a credential.
    Upstream,
    /// Nobody: time has passed.
    Nobody,
}

impl Actor {
    /// Its name in the log. Part of what is stored: never change one.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Operator => "operator",
            Self::Command => "command",
            Self::Healer => "healer",
            Self::Provider => "provider",
            Self::Upstream => "upstream",
            Self::Nobody => "nobody",
        }
    }
}

/// Why something happens: who acted, in which request, from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// Who acted.
    pub actor: Actor,
    /// The request in which they did, where there is one.
    pub request: Option<RequestId>,
    /// The address that it came from, as far as somebody trusted knows it.
    pub address: Option<IpAddr>,
    /// Who acted in the person's name, where it was neither they nor their application.
    pub by: Option<Subject>,
}

impl Cause {
    /// Without any request.
    pub const fn of(actor: Actor) -> Self {
        Self { actor, request: None, address: None, by: None }
    }

    /// In this request, from that address.
    pub const fn in_request(actor: Actor, request: RequestId, address: Option<IpAddr>) -> Self {
        Self { actor, request: Some(request), address, by: None }
    }

    /// The same, done by this one in the person's name.
    #[must_use]
    pub fn by(mut self, actor: &Subject) -> Self {
        self.by = Some(actor.clone());
        self
    }

    /// Who acted, as the log names them.
    pub fn who(&self) -> &str {
        self.by.as_ref().map_or(self.actor.name(), Subject::as_str)
    }
}

/// Tests' usual cause: the person, in no request.
#[cfg(test)]
pub(crate) static CALLER: Cause = Cause::of(Actor::Caller);
