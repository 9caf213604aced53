//! How a person's consent becomes a connection: the authorization-code flow (RFC 6749 §4.1) with PKCE (RFC 7636), from the
//! connect link through the provider to the stored grant. Owns tickets, the state between leaving and coming back, which
//! browser may go on with what, where a browser may be sent, how far attempts come, and whether pods may act for a person. Never renders a page and never keeps a token: the grant
//! goes straight to `connection`.

use std::{fmt, sync::Arc, time::Duration};

use url::Url;

use crate::{
    config,
    connection::{Connections, Roots, Unavailable},
    oauth,
    store::Store,
};

mod away;
mod begin;
mod binding;
mod callback;
mod ended;
mod forget;
mod funnel;
mod handles;
mod held;
mod link;
mod remedy;
mod return_to;
mod session;
mod settle;
mod state;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod ticket;

pub use away::Allowances;
pub use begin::{BeginError, Guest, Plan};
pub use binding::Browser;
use binding::Uses;
pub use callback::{Answer, CallbackError, Retry};
pub use ended::Ended;
pub use forget::Erasures;
use funnel::{Beginning, Fingerprint};
pub use funnel::{DAYS_MAX, Family, Funnel, LOW_CONVERSION, Report};
pub use handles::Handles;
pub use link::{Link, Links, Wish};
pub use remedy::{RefusedCall, Remedy};
pub use return_to::{Refused, ReturnTo};
pub use session::{Reach, Session, Sessions};
pub use settle::{Choice, Completed, HeldError, Outcome, Pending, Question};
use state::States;
pub use ticket::{Ticket, TicketError};

/// How long a browser may stay at the provider.
pub const STATE_TTL: Duration = Duration::from_secs(600);
/// How long a browser may use the dashboard.
pub const SESSION_TTL: Duration = Duration::from_secs(1800);

/// The connect flow.
pub struct Consent {
    /// Makes connect links, and every other address of Valetkey's own.
    pub links: Links,
    /// Browsers on the dashboard.
    pub sessions: Sessions,
    /// Ends what browsers of erased people have begun.
    pub erasures: Erasures,
    /// Who lets pods act for them while they are away.
    pub allowances: Allowances,
    /// Counts how far attempts come.
    pub funnel: Funnel,
    uses: Uses,
    states: States,
    roots: Roots,
    store: Arc<dyn Store>,
    oauth: Arc<oauth::Client>,
    connections: Connections,
    /// What the flow was configured with.
    pub settings: Arc<Settings>,
}

/// What the flow takes of the configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where browsers reach Valetkey. Redirect URIs are made from it and from nothing else (never from `Host`).
    pub public_url: Url,
    /// Who may use a link, for how long, and where browsers may be sent back to.
    pub connect: config::Connect,
}

impl Settings {
    fn at(&self, path: &str) -> String {
        format!("{}/{path}", self.public_url.as_str().trim_end_matches('/'))
    }
}

impl Consent {
    /// Puts the flow together from its parts.
    pub fn new(
        roots: Roots,
        store: Arc<dyn Store>,
        oauth: Arc<oauth::Client>,
        connections: Connections,
        funnel: Funnel,
        settings: Settings,
    ) -> Self {
        let settings = Arc::new(settings);
        let links = Links::new(roots.clone(), funnel.clone(), Arc::clone(&settings));
        let erasures = Erasures::new(roots.clone(), Arc::clone(&store));
        let sessions = Sessions::new(roots.clone(), Arc::clone(&store), erasures.clone(), Arc::clone(&settings));
        let allowances = Allowances::new(roots.clone(), Arc::clone(&store));
        let (uses, states) = (Uses::new(Arc::clone(&store)), States::new(Arc::clone(&store)));
        Self { links, sessions, erasures, allowances, uses, states, roots, store, oauth, connections, funnel, settings }
    }
}

impl fmt::Debug for Consent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consent").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// What to call a caller on a page, by the claims of their JWT: an address or name that they know themselves by. Whoever can
/// choose it freely could pass for somebody else, so pages show the subject beside it.
pub fn shown_name(claims: &serde_json::Map<String, serde_json::Value>) -> Option<String> {
    let claim = |name: &str| {
        let text = claims.get(name)?.as_str()?.trim();
        let fit = !text.is_empty() && text.len() <= 128 && !text.chars().any(misleading);
        fit.then_some(text)
    };
    match (claim("name"), claim("email").or_else(|| claim("preferred_username"))) {
        (Some(name), Some(address)) => Some(format!("{name} ({address})")),
        (name, address) => name.or(address).map(str::to_owned),
    }
}

/// Control characters, and those that turn or hide the text around them.
fn misleading(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// Random bytes of the system, as base64url.
fn token<const N: usize>() -> Result<String, Unavailable> {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| Unavailable::Keys)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// SHA-256, as base64url: how a value that a browser holds is known to the store.
fn digest(kind: &str, value: &str) -> String {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    use sha2::{Digest, Sha256};
    let mut hash = Sha256::new();
    hash.update(kind.as_bytes());
    hash.update([0]);
    hash.update(value.as_bytes());
    URL_SAFE_NO_PAD.encode(hash.finalize())
}
