//! The facts of a service's API, taken apart: where it lies, its endpoints, its headers and its signs.

use std::time::Duration;

use http::{HeaderName, HeaderValue};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

use super::rules;
use crate::{
    config::{
        Context, Injection, Path, ProviderFields, finding,
        urls::{PlainHttp, UrlRule},
    },
    provider::{
        BaseUrl, Inject, ScopeFacts, catalogue,
        header::{BadHeader, settable},
        inject::BadInjection,
        scopes,
        verdict::Signs,
    },
};

const UNSENDABLE: &str = "A header can't have this value";
const TAKE_CONTROLS_AWAY: &str = "take away line breaks and control characters";

/// The facts of a service's API.
pub struct Vendor {
    /// Where it lies.
    pub base: BaseUrl,
    /// Where OAuth is spoken.
    pub endpoints: Endpoints,
    /// How an access token is sent.
    pub inject: Inject,
    /// How an API key is sent.
    pub api_key: Inject,
    /// Headers for calls where the application sends none of that name.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// What is known of its scopes.
    pub scopes: ScopeFacts,
    /// What its answers say of a credential.
    pub signs: Signs,
}

/// The endpoints that are given and right.
#[derive(Debug, Clone)]
pub struct Endpoints {
    pub authorize: Option<Url>,
    pub token: Option<Url>,
    pub refresh: Option<Url>,
    pub revoke: Option<Url>,
    pub userinfo: Option<Url>,
}

impl Vendor {
    /// Takes all fields of a service apart. `client_id` is filled into endpoints that name it.
    pub fn of(
        fields: &ProviderFields,
        provider: Option<&str>,
        client_id: Option<&str>,
        allow_plain_http: bool,
        path: &Path,
        cx: &mut Context<'_>,
    ) -> Option<Self> {
        let plain_http = if allow_plain_http { PlainHttp::Allowed } else { PlainHttp::LoopbackUnlessAllowed };
        let base = match &fields.base_url {
            Some(text) => cx.url(&path.key("base_url"), text, UrlRule { plain_http, query: false }),
            None => {
                cx.report.problem(&path.key("base_url"), finding("This key is missing").hint(base_url_hint(provider)));
                None
            }
        };
        let mut endpoint = |key: &str, text: &Option<String>| {
            let id = client_id.map(|id| utf8_percent_encode(id, NON_ALPHANUMERIC).to_string());
            let text = text.as_ref()?;
            let text = id.map_or_else(|| text.clone(), |id| text.replace("{client_id}", &id));
            cx.url(&path.key(key), &text, UrlRule { plain_http, query: true })
        };
        let endpoints = Endpoints {
            authorize: endpoint("authorize_url", &fields.authorize_url),
            token: endpoint("token_url", &fields.token_url),
            refresh: endpoint("refresh_url", &fields.refresh_url),
            revoke: endpoint("revoke_url", &fields.revoke_url),
            userinfo: endpoint("userinfo_url", &fields.userinfo_url),
        };
        let inject = inject(&fields.inject.clone().unwrap_or_default(), &path.key("inject"), cx);
        let api_key = match &fields.api_key {
            Some(api_key) => self::inject(api_key, &path.key("api_key"), cx),
            None => inject.clone(),
        };
        let mut headers = Vec::new();
        for (name, value) in fields.headers.iter().flatten() {
            headers.extend(header(name, value, &path.key("headers").key(name), cx));
        }
        Some(Self {
            base: BaseUrl::of(&base?),
            endpoints,
            inject: inject?,
            api_key: api_key?,
            headers,
            scopes: ScopeFacts::new(fields),
            // Those that the operator wrote are checked where they stand, and a test checks the catalogue's.
            signs: Signs::parse(fields.errors.as_ref()).ok()?,
        })
    }
}

/// Checks what has its own place in lists that the operator wrote.
pub fn check_written(written: &ProviderFields, path: &Path, cx: &mut Context<'_>) {
    rules::check_scope_rules(written.scope_rules.as_deref().unwrap_or_default(), &path.key("scope_rules"), cx);
    for (at, scope) in written.scopes.iter().flatten().enumerate() {
        if !scopes::is_scope(scope) {
            let hint = "one scope an item, without spaces, commas, quotes and backslashes";
            cx.report.problem(&path.key("scopes").index(at), finding("This is no possible scope").hint(hint));
        }
    }
    for (key, span) in [
        ("refresh_token_expires_in", written.refresh_token_expires_in),
        ("grant_lifetime", written.grant_lifetime),
        ("idle_lifetime", written.idle_lifetime),
    ] {
        cx.positive(&path.key(key), span, Duration::ZERO);
    }
    if let Err(bad) = Signs::parse(written.errors.as_ref()) {
        cx.report.problem(&path.key("errors").key(bad.list).index(bad.index), finding(bad.message));
    }
}

fn base_url_hint(provider: Option<&str>) -> String {
    let presets: Vec<&str> = provider.into_iter().flat_map(catalogue::presets).collect();
    if presets.is_empty() {
        "add `base_url: https://…`, where the API lies".to_owned()
    } else {
        format!("add `base_url: https://…`, or use one of the provider's services: {}", presets.join(", "))
    }
}

fn inject(injection: &Injection, path: &Path, cx: &mut Context<'_>) -> Option<Inject> {
    let (key, finding) = match Inject::parse(injection) {
        Ok(inject) => return Some(inject),
        Err(BadInjection::Header(BadHeader::Malformed)) => ("header", finding("This is no possible name of a header")),
        Err(BadInjection::Header(BadHeader::Framing)) => {
            ("header", finding("This header frames the request and can't carry a credential"))
        }
        Err(BadInjection::Header(BadHeader::NotTheServices)) => {
            ("header", finding("This header is the caller's or Valetkey's own and can't carry a credential"))
        }
        Err(BadInjection::NoToken) => {
            let hint = "such as `Bearer {token}`, or `\"{token}\"` for the credential alone";
            ("template", finding("This should hold `{token}`, where the credential goes").hint(hint))
        }
        Err(BadInjection::TokenTwice) => ("template", finding("This holds `{token}` twice").hint("keep one of them")),
        Err(BadInjection::Unsendable) => ("template", finding(UNSENDABLE).hint(TAKE_CONTROLS_AWAY)),
    };
    cx.report.problem(&path.key(key), finding);
    None
}

fn header(name: &str, value: &str, path: &Path, cx: &mut Context<'_>) -> Option<(HeaderName, HeaderValue)> {
    let finding = match (settable(name), HeaderValue::from_str(value)) {
        (Ok(name), Ok(value)) => return Some((name, value)),
        (Ok(_), Err(_)) => finding(UNSENDABLE).hint(TAKE_CONTROLS_AWAY),
        (Err(BadHeader::Malformed), _) => finding("This is no possible name of a header"),
        (Err(BadHeader::Framing), _) => finding("The proxy writes this header itself").hint("take it away"),
        (Err(BadHeader::NotTheServices), _) => {
            finding("This header is the caller's or Valetkey's own").hint("take it away")
        }
    };
    cx.report.problem(path, finding);
    None
}
