//! A service, whole: its provider's facts under what the operator wrote, checked and taken apart once.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue};
use url::Url;

use super::{Inject, ScopeFacts, ScopeSet, Upstream, scopes::well_formed, verdict::Signs};
use crate::{
    config::{
        self, ApiKeys, ClientAuth, Limits, PolicyRule, RateLimit, Timeouts,
        provider::{IdentityRules, RevokeRules},
    },
    id::ServiceName,
    operation::Operation,
    secret::SecretString,
};

/// The longest API key that is stored, in bytes.
pub const API_KEY_MAX: usize = 4096;

/// One name under `/proxy/`, ready for use. Cheap to share; never changes while the program runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    /// Its name.
    pub name: ServiceName,
    /// Its name as people know it.
    pub title: String,
    /// The provider that it is built on; `None` where every field is the operator's.
    pub provider: Option<String>,
    /// The service whose connections it uses: itself, unless the operator wrote `connection`.
    pub owner: ServiceName,
    /// Where its calls go.
    pub upstream: Arc<Upstream>,
    /// Environment variables from which SDKs and tools take the base URL.
    pub base_url_env: Vec<String>,
    /// The OAuth client of the owner; `None` where only API keys are taken.
    pub oauth: Option<Arc<OAuth>>,
    /// How an access token is sent.
    pub inject: Inject,
    /// How an API key is sent.
    pub api_key: Inject,
    /// API keys beside or before OAuth: those of the owner.
    pub api_keys: ApiKeys,
    /// Whether people are offered to store an API key, for as long as keys are not retired.
    pub offers_keys: bool,
    /// Headers of answers to calls that used an API key, where the upstream sends none of that name.
    pub key_notice: Vec<(HeaderName, HeaderValue)>,
    /// Headers for calls where the application sends none of that name.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// What the provider says of scopes.
    pub scopes: ScopeFacts,
    /// What its answers say of a credential.
    pub signs: Signs,
    /// Time limits upstream.
    pub timeouts: Timeouts,
    /// How the upstream is spoken to.
    pub transport: config::Upstream,
    /// Whether the upstream's `Set-Cookie` is passed on.
    pub response_cookies: bool,
    /// Whether the upstream learns which trace a call is part of.
    pub trace_context: bool,
    /// At most this many calls a caller.
    pub rate_limit: Option<RateLimit>,
    /// First match decides; default allow.
    pub policy: Vec<PolicyRule>,
    /// Limits, where they differ from the configuration's general ones.
    pub limits: Limits,
}

/// An OAuth client and its authorization server. Shared by the services that share its connections.
#[derive(Debug, Clone, PartialEq)]
pub struct OAuth {
    /// The client (RFC 6749 §2.2).
    pub client_id: String,
    /// Its secret; `None` for a public client.
    pub client_secret: Option<SecretString>,
    /// How it authenticates.
    pub client_auth: ClientAuth,
    /// Authorization endpoint.
    pub authorize_url: Url,
    /// Token endpoint.
    pub token_url: Url,
    /// Token endpoint for refreshes: mostly the same.
    pub refresh_url: Url,
    /// Revocation endpoint; `{client_id}` is filled in.
    pub revoke_url: Option<Url>,
    /// How that is spoken to.
    pub revoke: RevokeRules,
    /// Tells who granted access.
    pub userinfo_url: Option<Url>,
    /// Where its answer says so.
    pub identity: IdentityRules,
    /// Headers for `userinfo_url`, as for API calls.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// How an access token is sent there.
    pub inject: Inject,
    /// Issuer identifier (RFC 9207).
    pub issuer: Option<String>,
    /// Whether every callback names it.
    pub iss_in_response: bool,
    /// Scopes asked for, in order: the owner's and those of the services that share its connections.
    pub scopes: Vec<String>,
    /// What the provider says of scopes.
    pub scope_facts: ScopeFacts,
    /// The authorization URL's parameter for them.
    pub scope_param: String,
    /// Stands between them.
    pub scope_separator: String,
    /// Whether a code challenge (S256, RFC 7636) is sent.
    pub pkce: bool,
    /// Further parameters of the authorization URL.
    pub authorize_params: BTreeMap<String, String>,
    /// Further parameters of token requests.
    pub token_params: BTreeMap<String, String>,
    /// Whether refreshes name the `redirect_uri`, too.
    pub redirect_uri_on_refresh: bool,
    /// Pointers to the object that holds `access_token` in a token answer, tried in order; never empty.
    pub token_objects: Vec<String>,
    /// Pointers to the words of a refusal in a token answer, beside the usual ones.
    pub token_error: Vec<String>,
    /// The token endpoint's words for a refresh token that is no longer valid, beside the usual ones.
    pub invalid_grant: Vec<String>,
    /// Its words for being out of order.
    pub unavailable: Vec<String>,
    /// How long what it grants lives.
    pub lifetimes: Lifetimes,
    /// Whether `http` URLs beyond loopback are allowed.
    pub allow_plain_http: bool,
}

/// How long the provider lets grants live, beside what its answers say; `None`: it sets no such limit, as far as is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lifetimes {
    /// A refresh token, from when it is received, where the answer that brought it doesn't say.
    pub refresh_token: Option<Duration>,
    /// A grant, from its consent, whatever is done with it.
    pub grant: Option<Duration>,
    /// A grant, from its last renewal or use.
    pub idle: Option<Duration>,
}

impl OAuth {
    /// Whether the provider takes both for the same client, as where several services have one registration.
    pub fn is_same_client(&self, other: &Self) -> bool {
        self.token_url == other.token_url && self.client_id == other.client_id
    }

    /// Whether an account goes by the same id with both.
    pub fn tells_accounts_as(&self, other: &Self) -> bool {
        self.userinfo_url == other.userinfo_url && self.identity.id == other.identity.id
    }
}

impl Service {
    /// The scopes that this call needs and the grant lacks, in canonical spelling: those that the application names, and
    /// one that would satisfy the provider's rules for this call, as each of its methods and in each reading of its path;
    /// where it isn't known, for every call. Where it is not known what was granted (`None`), nothing is missing: the
    /// upstream will say.
    pub fn missing_scopes<S: AsRef<str>>(
        &self,
        operation: Option<Operation<'_>>,
        named: &[S],
        granted: Option<&ScopeSet>,
    ) -> Vec<String> {
        let Some(granted) = granted else { return Vec::new() };
        let mut missing = self.scopes.missing(named, granted);
        self.scopes.needed(operation, |any_of| {
            if !any_of.iter().any(|scope| self.scopes.covers(granted, scope))
                && let Some(scope) = self.scopes.narrowest(any_of, self.asked_for())
                && !missing.contains(scope)
            {
                missing.push(scope.clone());
            }
        });
        missing
    }

    /// What a link that helps this call asks for on top of the service's own scopes, so that nobody who connects is sent round
    /// once more for what the same call lacks then.
    pub fn scopes_beside_its_own<S: AsRef<str>>(&self, operation: Option<Operation<'_>>, named: &[S]) -> Vec<String> {
        self.missing_scopes(operation, named, Some(&self.asked_for().iter().collect()))
    }

    /// Whether this can be stored as an API key: it is not longer than [`API_KEY_MAX`], and a header can carry it.
    pub fn takes_key(&self, key: &SecretString) -> bool {
        key.expose().len() <= API_KEY_MAX && self.api_key.header_value(key).is_ok()
    }

    /// Whether this is a scope that the configuration or the provider's file speaks of, and one by RFC 6749 §3.3.
    pub fn knows_scope(&self, scope: &str) -> bool {
        let of_owner = self.oauth.as_ref().is_some_and(|oauth| oauth.scope_facts.knows(scope));
        let asked_for = || self.asked_for().iter().any(|asked| asked == scope);
        well_formed(scope) && (of_owner || self.scopes.knows(scope) || asked_for())
    }

    /// The scopes that a connect link asks for by default.
    pub fn asked_for(&self) -> &[String] {
        self.oauth.as_ref().map_or(&[], |oauth| &oauth.scopes)
    }
}
