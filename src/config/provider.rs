//! Provider fields: what a file of `config/providers/` says of a vendor, and what a service may say inline or override.
//! One type for both, so that a custom service can do all that a catalogued one can. Facts only; `crate::provider` gives
//! them meaning.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::units::Span;

/// Facts of a provider. In a service each may be written inline, or overrides the provider's.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ProviderFields {
    /// Its name as people know it, e.g. `GitHub`.
    pub title: Option<String>,
    /// Where its API lies; requests below `/proxy/{service}/` are appended to it.
    pub base_url: Option<String>,
    /// Environment variables from which SDKs and tools are known to take the base URL, such as `GITHUB_API_URL`. `valetkey env`
    /// prints them.
    #[schemars(inner(regex(pattern = r"^[A-Za-z_][A-Za-z0-9_]*$")))]
    pub base_url_env: Option<Vec<String>>,
    /// Authorization endpoint (RFC 6749 §3.1).
    pub authorize_url: Option<String>,
    /// Token endpoint (RFC 6749 §3.2).
    pub token_url: Option<String>,
    /// Token endpoint for refreshes, where it is another one.
    pub refresh_url: Option<String>,
    /// Revocation endpoint (RFC 7009).
    pub revoke_url: Option<String>,
    /// Tells who granted access: OpenID Connect's userinfo endpoint, or the provider's own.
    pub userinfo_url: Option<String>,
    /// Issuer identifier: `iss` in callbacks must equal it (RFC 9207).
    pub issuer: Option<String>,
    /// Whether every callback holds `iss`: one without it is then refused (RFC 9207 §2.4). A provider that announces
    /// `authorization_response_iss_parameter_supported` does so.
    pub iss_in_response: Option<bool>,
    /// How that endpoint is spoken to, where it is not as RFC 7009 has it.
    pub revoke: Option<RevokeRules>,
    /// Scopes asked for (RFC 6749 §3.3).
    pub scopes: Option<Vec<String>>,
    /// The authorization URL's parameter for them; `scope` by default.
    pub scope_param: Option<String>,
    /// Between scopes in requests; a space by default. Answers may use spaces, commas or lists.
    pub scope_separator: Option<String>,
    /// Proof Key for Code Exchange (RFC 7636).
    pub pkce: Option<Pkce>,
    /// How the client authenticates at the token endpoint.
    pub client_auth: Option<ClientAuth>,
    /// Further parameters of the authorization URL.
    pub authorize_params: Option<BTreeMap<String, String>>,
    /// Further parameters of token requests.
    pub token_params: Option<BTreeMap<String, String>>,
    /// Whether refreshes, too, must name the `redirect_uri`.
    pub redirect_uri_on_refresh: Option<bool>,
    /// Headers set on API calls where the application sends none of that name.
    pub headers: Option<BTreeMap<String, String>>,
    /// How an access token is sent; `Authorization: Bearer {token}` by default.
    pub inject: Option<Injection>,
    /// How an API key is sent; as an access token by default.
    pub api_key: Option<Injection>,
    /// Signs of dead tokens and missing scopes in the API's answers.
    pub errors: Option<ErrorRules>,
    /// JSON pointers (RFC 6901) to the members of a token answer that are not where RFC 6749 §5.1 has them.
    pub token_answer: Option<TokenAnswer>,
    /// How long a refresh token lives from when it is received, where the token answer doesn't say (`refresh_token_expires_in`
    /// and the like); the answer's own word wins.
    pub refresh_token_expires_in: Option<Span>,
    /// A grant ends this long after its consent, whatever is done with it: 7d for a Google app in testing, a year elsewhere.
    pub grant_lifetime: Option<Span>,
    /// A grant ends this long after its last proof of life: the last renewal or call, whichever is later.
    pub idle_lifetime: Option<Span>,
    /// JSON pointers into the answer of `userinfo_url`.
    pub identity: Option<IdentityRules>,
    /// What each scope allows, in a sentence fit to show a person.
    pub scope_titles: Option<BTreeMap<String, String>>,
    /// Scopes that include others: `repo: [repo:status, public_repo]`.
    pub scope_includes: Option<BTreeMap<String, Vec<String>>>,
    /// Other spellings of a scope in answers: `https://…/userinfo.email: email`.
    pub scope_aliases: Option<BTreeMap<String, String>>,
    /// What calls need which scopes, the first that matches counts.
    pub scope_rules: Option<Vec<ScopeRule>>,
}

/// The scopes that some calls need. Only what is certain belongs here: a call that lacks them is not sent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScopeRule {
    /// HTTP methods, upper case; none: all.
    #[serde(default)]
    pub methods: Vec<String>,
    /// Path below `base_url`; `{name}` stands for one segment or the beginning of one, a last `**` for any rest.
    pub path: String,
    /// Any one of these is enough; the narrowest comes first and is the one asked for.
    pub any_of: Vec<String>,
}

/// How a revocation endpoint is spoken to. The defaults are RFC 7009's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RevokeRules {
    /// HTTP method; `POST` by default.
    pub method: Option<String>,
    /// Who asks.
    pub auth: RevokeAuth,
    /// How the token is sent.
    pub body: RevokeBody,
    /// The member or parameter that holds the token; `token` by default.
    pub parameter: Option<String>,
    /// Whether only access tokens can be revoked.
    pub access_tokens_only: bool,
    /// Further statuses or error codes that say that the token no longer exists.
    pub gone: Vec<String>,
}

/// Who asks for a revocation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RevokeAuth {
    /// The client, as at the token endpoint; the default.
    #[default]
    Client,
    /// The holder of the token, with the token as bearer.
    Bearer,
    /// Nobody: the token is enough.
    None,
}

/// How the token to revoke is sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RevokeBody {
    /// As a form with `token_type_hint`; the default.
    #[default]
    Form,
    /// As a JSON object.
    Json,
    /// Not in the body.
    None,
}

/// How a credential is sent upstream.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Injection {
    /// The header's name.
    #[serde(default = "authorization")]
    pub header: String,
    /// Its value, with `{token}` where the credential goes.
    #[serde(default = "bearer")]
    pub template: String,
}

fn authorization() -> String {
    "Authorization".into()
}

fn bearer() -> String {
    "Bearer {token}".into()
}

impl Default for Injection {
    fn default() -> Self {
        Self { header: authorization(), template: bearer() }
    }
}

/// Proof Key for Code Exchange (RFC 7636).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Pkce {
    /// With SHA-256; the default.
    #[default]
    S256,
    /// For providers that refuse it.
    #[serde(rename = "off")]
    Off,
}

/// How the client authenticates at the token endpoint (RFC 6749 §2.3.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuth {
    /// HTTP Basic; the default.
    #[default]
    Basic,
    /// In the form.
    Post,
    /// HTTP Basic, and the request is JSON instead of a form.
    Json,
}

/// How welcome API keys are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ApiKeyPhase {
    /// Taken; the default.
    #[default]
    Allowed,
    /// Taken, and people are shown what OAuth gives them.
    Encouraged,
    /// Taken until `retire_on`.
    Deprecated,
    /// No longer used.
    Retired,
}

/// Signs in an API's answers. All given parts of a sign must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ErrorRules {
    /// The token is dead (in addition to any 401).
    pub dead_token: Vec<Sign>,
    /// The grant lacks scopes: never a reason to refresh.
    pub missing_scopes: Vec<Sign>,
    /// Too many calls (in addition to any 429): a reason for neither.
    pub rate_limited: Vec<Sign>,
    /// JSON pointers to the words of a refusal in a token endpoint's answer, beside `error` and the places that vendors
    /// commonly use; a segment `*` stands for any member or element.
    pub token_error: Vec<String>,
    /// The token endpoint's words for a refresh token that is no longer valid, in addition to `invalid_grant` and its known synonyms.
    pub invalid_grant: Vec<String>,
    /// The token endpoint's words for being out of order, in addition to `server_error` and `temporarily_unavailable`.
    pub unavailable: Vec<String>,
}

/// One sign in an answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Sign {
    /// HTTP status.
    pub status: Option<u16>,
    /// A header that is there, and what its value contains, without regard to case. Empty: anything; `=` before it: the
    /// whole value.
    pub header: Option<(String, String)>,
    /// A JSON pointer into the body; a segment `*` stands for any member or element …
    pub pointer: Option<String>,
    /// … and the values (as text) that count there; empty: it need only be there.
    pub values: Vec<String>,
    /// Further pointers and the values that count there, all of which must hold.
    pub also: BTreeMap<String, Vec<String>>,
    /// What the body contains, where it is no JSON or a pointer is not enough.
    pub contains: Option<String>,
    /// A JSON pointer to the scopes that are needed (list, or text with spaces or commas).
    pub scopes_pointer: Option<String>,
    /// A header that names the scopes needed.
    pub scopes_header: Option<String>,
    /// A header that names the scopes held. With it, any one of the scopes needed is enough, and the sign holds only
    /// where none of them is held.
    pub held_scopes_header: Option<String>,
}

/// Where a token answer keeps its members.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TokenAnswer {
    /// Pointers tried in order for `access_token`; the object that holds it also holds the others.
    pub objects: Vec<String>,
}

/// Where an answer keeps who someone is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct IdentityRules {
    /// Pointer to the stable id; `/sub` by default.
    pub id: Option<String>,
    /// Pointers to a name or address fit to show, the first that is there counts; `/email`, `/name` by default.
    pub label: Vec<String>,
    /// The method of the request; `GET` by default.
    pub method: Option<String>,
}
