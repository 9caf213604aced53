//! A service's OAuth client: whether what is written of it is enough, and the client itself.

use super::vendor::Vendor;
use crate::{
    config::{ApiKeyPhase, ApiKeys, Context, Path, Pkce, ProviderFields, RawService, finding, nearest},
    provider::{Lifetimes, OAuth, catalogue},
    secret::SecretString,
};

/// What is written of a service's OAuth client. What the first pass refused counts as written.
#[derive(Debug, Clone, Copy)]
pub struct Client {
    shares: bool,
    id: bool,
    secret: bool,
    keys_only: bool,
    custom: bool,
}

impl Client {
    /// Looks at what is there. `custom`: the service has no provider.
    pub fn of(raw: &RawService, custom: bool, path: &Path, cx: &Context<'_>) -> Self {
        let broken = |key: &str| cx.report.is_broken(&path.key(key));
        Self {
            shares: raw.connection.is_some() || broken("connection"),
            id: raw.client_id.is_some() || broken("client_id"),
            secret: raw.client_secret.is_some()
                || raw.client_secret_file.is_some()
                || broken("client_secret")
                || broken("client_secret_file"),
            keys_only: raw.api_keys.is_some() || broken("api_keys"),
            custom,
        }
    }

    /// Whether a service without a provider has none of what a custom one must have: its name was meant to be a provider's.
    pub fn has_nothing_to_build_on(
        self,
        name: &str,
        fields: &ProviderFields,
        path: &Path,
        cx: &mut Context<'_>,
    ) -> bool {
        let urls = [
            ("base_url", &fields.base_url),
            ("authorize_url", &fields.authorize_url),
            ("token_url", &fields.token_url),
        ];
        let written = urls.iter().any(|(key, url)| url.is_some() || cx.report.is_broken(&path.key(key)));
        if written || self.shares || self.keys_only {
            return false;
        }
        let message =
            "This is no provider's name, and a custom service needs `base_url`, `authorize_url` and `token_url`";
        let hint = match nearest(name, catalogue::names()) {
            Some(near) => format!("did you mean `{near}`? A service of another name can say `provider: {near}`"),
            None => "add them, or name its `provider`; `valetkey providers` lists them".to_owned(),
        };
        cx.report.problem(path, finding(message).hint(hint));
        true
    }

    /// Checks that it is enough: an id, a secret or PKCE, and the endpoints; or keys alone; or another's connection.
    pub fn check(self, fields: &ProviderFields, api_keys: &ApiKeys, path: &Path, cx: &mut Context<'_>) {
        if self.shares {
            for (key, given) in [("client_id", self.id), ("client_secret", self.secret)] {
                if given {
                    let finding =
                        finding(format!("`{key}` has no effect here: `connection` uses the other service's client"));
                    cx.report.problem(&path.key(key), finding.hint("take this key away"));
                }
            }
            return;
        }
        let oauth = fields.authorize_url.is_some() || fields.token_url.is_some();
        if !self.id {
            if self.secret {
                cx.report.problem(&path.key("client_id"), finding("`client_secret` needs its `client_id`"));
            } else if !self.keys_only && (oauth || self.custom) {
                let hint = "give the OAuth client's id, or write `api_keys: {}` if this service takes API keys only";
                cx.report.problem(&path.key("client_id"), finding("This key is missing").hint(hint));
            } else {
                if api_keys.phase == ApiKeyPhase::Retired {
                    let finding =
                        finding("Nothing can be connected: there is no OAuth client, and API keys are retired");
                    cx.report.problem(path, finding.hint("give `client_id`, or take API keys"));
                }
                return;
            }
        }
        let urls = [("authorize_url", &fields.authorize_url), ("token_url", &fields.token_url)];
        for (key, _) in urls.into_iter().filter(|(_, url)| url.is_none()) {
            let hint = format!("OAuth needs it: add `{key}: https://…`");
            cx.report.problem(&path.key(key), finding("This key is missing").hint(hint));
        }
        if self.id && !self.secret {
            if fields.pkce == Some(Pkce::Off) {
                let hint = "a client without a secret needs PKCE, which is `off` here";
                cx.report.problem(&path.key("client_secret"), finding("This key is missing").hint(hint));
            } else {
                let hint = "add `client_secret` or `client_secret_file` if the provider gave one";
                let finding = finding("There is no `client_secret`: this is taken for a public client");
                cx.report.warning(path, finding.hint(hint));
            }
        }
    }
}

/// The client of this id, but for the scopes that it asks for; `None` where an endpoint is missing or wrong.
pub fn oauth(
    client_id: String,
    client_secret: Option<SecretString>,
    fields: &ProviderFields,
    vendor: &Vendor,
    allow_plain_http: bool,
) -> Option<OAuth> {
    let errors = fields.errors.clone().unwrap_or_default();
    let endpoints = vendor.endpoints.clone();
    Some(OAuth {
        client_secret,
        client_auth: fields.client_auth.unwrap_or_default(),
        authorize_url: endpoints.authorize?,
        refresh_url: endpoints.refresh.or_else(|| endpoints.token.clone())?,
        token_url: endpoints.token?,
        revoke_url: endpoints.revoke,
        revoke: fields.revoke.clone().unwrap_or_default(),
        userinfo_url: endpoints.userinfo,
        identity: fields.identity.clone().unwrap_or_default(),
        headers: vendor.headers.clone(),
        inject: vendor.inject.clone(),
        issuer: fields.issuer.clone(),
        iss_in_response: fields.iss_in_response.unwrap_or_default(),
        scopes: Vec::new(),
        scope_facts: vendor.scopes.clone(),
        scope_param: fields.scope_param.clone().unwrap_or_else(|| "scope".into()),
        scope_separator: fields.scope_separator.clone().unwrap_or_else(|| " ".into()),
        pkce: fields.pkce.unwrap_or_default() == Pkce::S256,
        authorize_params: fields.authorize_params.clone().unwrap_or_default(),
        token_params: fields.token_params.clone().unwrap_or_default(),
        redirect_uri_on_refresh: fields.redirect_uri_on_refresh.unwrap_or_default(),
        token_objects: fields
            .token_answer
            .as_ref()
            .map(|answer| answer.objects.clone())
            .filter(|objects| !objects.is_empty())
            .unwrap_or_else(|| vec![String::new()]),
        token_error: errors.token_error,
        invalid_grant: errors.invalid_grant,
        unavailable: errors.unavailable,
        lifetimes: Lifetimes {
            refresh_token: fields.refresh_token_expires_in.map(|span| span.0),
            grant: fields.grant_lifetime.map(|span| span.0),
            idle: fields.idle_lifetime.map(|span| span.0),
        },
        allow_plain_http,
        client_id,
    })
}
