//! Services: what the operator wrote, checked together with what their providers bring.

use std::collections::BTreeMap;

use super::{
    api_keys,
    context::{Context, PlainHttp, UrlRule},
    limits, or, rules,
};
use crate::{
    config::{
        Injection, Limits, Pkce, ProviderFields, RateLimit, Service, Timeouts, Upstream, UpstreamProtocol,
        problem::{Path, finding, nearest},
        raw::{RawLimits, RawRateLimit, RawService, RawTimeouts, RawUpstream},
    },
    id::ServiceName,
};

pub(super) fn services(
    raw: BTreeMap<String, RawService>,
    common: Limits,
    path: &Path,
    cx: &mut Context<'_>,
) -> BTreeMap<ServiceName, Service> {
    if raw.is_empty() && !cx.report.is_broken(path) {
        cx.report.warning(path, finding("There are no services: nothing can be called"));
    }
    let connections = connections(&raw, path, cx);
    let mut services = BTreeMap::new();
    let mut clients: BTreeMap<(String, String), String> = BTreeMap::new();
    for (name, raw) in raw {
        let path = path.key(&name);
        let parsed = match ServiceName::parse(&name) {
            Ok(_) if name == "confirm" => {
                let taken =
                    finding("`confirm` can't be the name of a service: `/connections/confirm` is a way of its own");
                cx.report.problem(&path, taken.hint("give the service another name"));
                None
            }
            Ok(parsed) => Some(parsed),
            Err(malformed) => {
                cx.report.problem(&path, finding(format!("This can't be the name of a service: {malformed}")));
                None
            }
        };
        let connection = connections.get(&name).cloned();
        let (service, token_url) = service(&name, raw, connection, common, &path, cx);
        let client = service.as_ref().filter(|service| service.connection.is_none()).and_then(|s| s.client_id.clone());
        if let Some(client) = client.zip(token_url) {
            match clients.get(&client) {
                Some(other) => shared_client(other, &path.key("client_id"), cx),
                None => drop(clients.insert(client, name.clone())),
            }
        }
        if let (Some(name), Some(service)) = (parsed, service) {
            services.insert(name, service);
        }
    }
    services
}

/// A provider may take what one of two services is given up with for both, and a second consent for the end of the first.
fn shared_client(other: &str, path: &Path, cx: &mut Context<'_>) {
    let finding = finding(format!("`{other}` has the same OAuth client: the provider may not tell their grants apart"));
    let hint = format!(
        "register a client of its own, or share one connection with `connection: {other}`; while somebody has both, \
         neither is revoked at the provider when it is disconnected"
    );
    cx.report.warning(path, finding.hint(hint));
}

/// Whose connection each service shares, where it shares one. One hop only, so that a link always leads to the client that
/// holds the grant.
fn connections(
    raw: &BTreeMap<String, RawService>,
    services: &Path,
    cx: &mut Context<'_>,
) -> BTreeMap<String, ServiceName> {
    let mut connections = BTreeMap::new();
    for (name, service) in raw {
        let Some(owner) = &service.connection else { continue };
        let path = services.key(name).key("connection");
        let finding = match raw.get(owner) {
            _ if owner == name => finding("A service can't share its own connection").hint("take this key away"),
            None if cx.report.is_broken(&services.key(owner)) => continue,
            None => {
                let finding = finding("There is no service of this name");
                match nearest(owner, raw.keys().map(String::as_str).filter(|known| known != name)) {
                    Some(near) => finding.hint(format!("did you mean `{near}`?")),
                    None => finding.hint("name one of the services here"),
                }
            }
            Some(owner) if owner.connection.is_some() => {
                finding("That service shares another's connection itself").hint("name the one that owns the connection")
            }
            Some(_) => {
                connections.extend(ServiceName::parse(owner).ok().map(|owner| (name.clone(), owner)));
                continue;
            }
        };
        cx.report.problem(&path, finding);
    }
    connections
}

fn service(
    name: &str,
    raw: RawService,
    connection: Option<ServiceName>,
    common: Limits,
    path: &Path,
    cx: &mut Context<'_>,
) -> (Option<Service>, Option<String>) {
    let (provider, whole) = provided(name, raw.provider, &raw.fields, &path.key("provider"), cx);
    let allow_plain_http = raw.allow_plain_http.unwrap_or(false);
    let shares = raw.connection.is_some() || cx.report.is_broken(&path.key("connection"));
    let client_secret_given = raw.client_secret.is_some()
        || raw.client_secret_file.is_some()
        || cx.report.is_broken(&path.key("client_secret"))
        || cx.report.is_broken(&path.key("client_secret_file"));
    let client = Client {
        shares,
        id: raw.client_id.is_some() || cx.report.is_broken(&path.key("client_id")),
        secret: client_secret_given,
        keys_only: raw.api_keys.is_some() || cx.report.is_broken(&path.key("api_keys")),
        custom: provider.is_none(),
    };
    if let Some(whole) = &whole
        && (provider.is_some() || !nothing_to_build_on(name, client, whole, path, cx))
    {
        check_client(client, whole, path, cx);
        check_fields(whole, &raw.fields, allow_plain_http, path, cx);
    }
    if raw.connection.is_some() && raw.api_keys.is_some() {
        let finding = finding("`api_keys` has no effect here: `connection` uses the other service's keys");
        cx.report.warning(&path.key("api_keys"), finding.hint("write it on the service that owns the connection"));
    }
    let client_secret = cx.secret(path, "client_secret", raw.client_secret, raw.client_secret_file);
    let token_url = whole.as_ref().and_then(|whole| whole.token_url.clone());
    let upstream = upstream(raw.upstream, whole.and_then(|whole| whole.base_url).as_deref(), &path.key("upstream"), cx);
    let service = Service {
        provider,
        connection,
        client_id: raw.client_id,
        client_secret,
        fields: raw.fields,
        allow_plain_http,
        api_keys: api_keys::api_keys(raw.api_keys, &path.key("api_keys"), cx),
        timeouts: timeouts(raw.timeouts, &path.key("timeouts"), cx),
        upstream,
        response_cookies: raw.response_cookies.unwrap_or(false),
        rate_limit: raw.rate_limit.and_then(|raw| rate_limit(&raw, &path.key("rate_limit"), cx)),
        policy: rules::policy(raw.policy.unwrap_or_default(), &path.key("policy"), cx),
        limits: own_limits(raw.limits.as_ref(), common, &path.key("limits"), cx),
    };
    (Some(service), token_url)
}

/// The provider of a service by its `provider` key, or by its own name, and all fields of the service; `None` in place of
/// them where there is no such provider.
fn provided(
    name: &str,
    written: Option<String>,
    inline: &ProviderFields,
    path: &Path,
    cx: &mut Context<'_>,
) -> (Option<String>, Option<ProviderFields>) {
    if cx.report.is_broken(path) {
        return (None, None);
    }
    let Some(provider) = written else {
        return match cx.catalogue.whole(name, name, inline) {
            Some(whole) => (Some(name.to_owned()), Some(whole)),
            None => (None, Some(inline.clone())),
        };
    };
    let whole = cx.catalogue.whole(&provider, name, inline);
    if whole.is_none() {
        let names = cx.catalogue.names();
        let finding = finding("There is no provider of this name");
        let finding = match nearest(&provider, names.iter().copied()) {
            Some(near) => finding.hint(format!("did you mean `{near}`?")),
            None => finding.hint("`valetkey providers` lists them; a custom service has no `provider`"),
        };
        cx.report.problem(path, finding);
    }
    (Some(provider), whole)
}

/// Whether a service has no provider and none of what a custom one must have: its name was meant to be a provider's.
fn nothing_to_build_on(name: &str, client: Client, fields: &ProviderFields, path: &Path, cx: &mut Context<'_>) -> bool {
    let urls =
        [("base_url", &fields.base_url), ("authorize_url", &fields.authorize_url), ("token_url", &fields.token_url)];
    let written = urls.iter().any(|(key, url)| url.is_some() || cx.report.is_broken(&path.key(key)));
    if written || client.shares || client.keys_only {
        return false;
    }
    let message = "This is no provider's name, and a custom service needs `base_url`, `authorize_url` and `token_url`";
    let names = cx.catalogue.names();
    let hint = match nearest(name, names.iter().copied()) {
        Some(near) => format!("did you mean `{near}`? A service of another name can say `provider: {near}`"),
        None => "add them, or name its `provider`; `valetkey providers` lists them".to_owned(),
    };
    cx.report.problem(path, finding(message).hint(hint));
    true
}

/// What is written of a service's OAuth client.
#[derive(Debug, Clone, Copy)]
struct Client {
    shares: bool,
    id: bool,
    secret: bool,
    keys_only: bool,
    custom: bool,
}

fn check_client(client: Client, fields: &ProviderFields, path: &Path, cx: &mut Context<'_>) {
    if client.shares {
        for (key, given) in [("client_id", client.id), ("client_secret", client.secret)] {
            if given {
                let finding =
                    finding(format!("`{key}` has no effect here: `connection` uses the other service's client"));
                cx.report.warning(&path.key(key), finding);
            }
        }
        return;
    }
    let oauth = fields.authorize_url.is_some() || fields.token_url.is_some();
    if !client.id {
        if client.secret {
            cx.report.problem(&path.key("client_id"), finding("`client_secret` needs its `client_id`"));
        } else if !client.keys_only && (oauth || client.custom) {
            let hint = "give the OAuth client's id, or write `api_keys: {}` if this service takes API keys only";
            cx.report.problem(&path.key("client_id"), finding("This key is missing").hint(hint));
        } else {
            return;
        }
    }
    for (key, given) in [("authorize_url", fields.authorize_url.is_some()), ("token_url", fields.token_url.is_some())] {
        if !given {
            let hint = format!("OAuth needs it: add `{key}: https://…`");
            cx.report.problem(&path.key(key), finding("This key is missing").hint(hint));
        }
    }
    if client.id && !client.secret {
        if fields.pkce == Some(Pkce::Off) {
            let finding =
                finding("This key is missing").hint("a client without a secret needs PKCE, which is `off` here");
            cx.report.problem(&path.key("client_secret"), finding);
        } else {
            let finding = finding("There is no `client_secret`: this is taken for a public client");
            cx.report
                .warning(path, finding.hint("add `client_secret` or `client_secret_file` if the provider gave one"));
        }
    }
}

fn check_fields(
    whole: &ProviderFields,
    written: &ProviderFields,
    allow_plain_http: bool,
    path: &Path,
    cx: &mut Context<'_>,
) {
    if whole.base_url.is_none() {
        let finding = finding("This key is missing").hint("add `base_url: https://…`, where the API lies");
        cx.report.problem(&path.key("base_url"), finding);
    }
    let plain_http = if allow_plain_http { PlainHttp::Allowed } else { PlainHttp::LoopbackUnlessAllowed };
    let urls = [
        ("base_url", &whole.base_url, false),
        ("authorize_url", &whole.authorize_url, true),
        ("token_url", &whole.token_url, true),
        ("refresh_url", &whole.refresh_url, true),
        ("revoke_url", &whole.revoke_url, true),
        ("userinfo_url", &whole.userinfo_url, true),
    ];
    for (key, text, query) in urls {
        if let Some(text) = text {
            cx.url(&path.key(key), text, UrlRule { plain_http, query });
        }
    }
    for (key, injection) in [("inject", &written.inject), ("api_key", &written.api_key)] {
        if let Some(injection) = injection {
            check_injection(injection, &path.key(key), cx);
        }
    }
    for (name, value) in written.headers.iter().flatten() {
        let path = path.key("headers").key(name);
        if frames(name) {
            cx.report.problem(&path, finding("The proxy writes this header itself").hint("take it away"));
        } else if cx.header_name(&path, name) && http::HeaderValue::from_str(value).is_err() {
            let finding = finding("A header can't have this value");
            cx.report.problem(&path, finding.hint("take away line breaks and control characters"));
        }
    }
    rules::check_scope_rules(written.scope_rules.as_deref().unwrap_or_default(), &path.key("scope_rules"), cx);
    for (at, scope) in written.scopes.iter().flatten().enumerate() {
        // RFC 6749 §3.3: scope-token.
        if scope.is_empty() || !scope.bytes().all(|b| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e)) {
            let hint = "one scope an item, without spaces, quotes and backslashes";
            cx.report.problem(&path.key("scopes").index(at), finding("This is no possible scope").hint(hint));
        }
    }
}

/// Headers that say where a request ends, where it goes, or what becomes of the connection: they are the proxy's to write.
const FRAMING: [&str; 12] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];

fn frames(header: &str) -> bool {
    FRAMING.contains(&header.to_ascii_lowercase().as_str())
}

fn check_injection(injection: &Injection, path: &Path, cx: &mut Context<'_>) {
    if cx.header_name(&path.key("header"), &injection.header) && frames(&injection.header) {
        cx.report.problem(&path.key("header"), finding("This header frames the request and can't carry a credential"));
    }
    let path = path.key("template");
    if !injection.template.contains("{token}") {
        let hint = "such as `Bearer {token}`, or `\"{token}\"` for the credential alone";
        cx.report.problem(&path, finding("This should hold `{token}`, where the credential goes").hint(hint));
    } else if http::HeaderValue::from_str(&injection.template.replace("{token}", "x")).is_err() {
        cx.report.problem(
            &path,
            finding("A header can't have this value").hint("take away line breaks and control characters"),
        );
    }
}

fn timeouts(raw: Option<RawTimeouts>, path: &Path, cx: &mut Context<'_>) -> Timeouts {
    let default = Timeouts::default();
    let Some(raw) = raw else { return default };
    Timeouts {
        connect: cx.positive(&path.key("connect"), raw.connect, default.connect),
        read: cx.positive(&path.key("read"), raw.read, default.read),
        write: cx.positive(&path.key("write"), raw.write, default.write),
        idle: or(raw.idle, default.idle),
    }
}

fn upstream(raw: Option<RawUpstream>, base_url: Option<&str>, path: &Path, cx: &mut Context<'_>) -> Upstream {
    let Some(raw) = raw else { return Upstream::default() };
    let protocol = raw.protocol.unwrap_or_default();
    let tls = base_url.map(|url| url.starts_with("https:"));
    match (protocol, tls) {
        (UpstreamProtocol::H2c, Some(true)) => {
            let finding =
                finding("`h2c` is HTTP/2 without TLS, but `base_url` is `https`").hint("write `h2` or `auto`");
            cx.report.problem(&path.key("protocol"), finding);
        }
        (UpstreamProtocol::H2, Some(false)) => {
            let finding = finding("`h2` is HTTP/2 over TLS, but `base_url` is `http`").hint("write `h2c` or `auto`");
            cx.report.problem(&path.key("protocol"), finding);
        }
        _ => {}
    }
    Upstream {
        protocol,
        ca: raw.ca_file.and_then(|file| cx.authorities(&path.key("ca_file"), file)),
        client_certificate: cx.client_certificate(
            path,
            ("client_certificate_file", raw.client_certificate_file),
            ("client_key_file", raw.client_key_file),
        ),
    }
}

/// What limits one service. Some limits know no service yet when they are asked.
fn own_limits(raw: Option<&RawLimits>, common: Limits, path: &Path, cx: &mut Context<'_>) -> Limits {
    let without_effect = [
        ("connections_per_client", raw.is_some_and(|raw| raw.connections_per_client.is_some())),
        ("jwt_bytes", raw.is_some_and(|raw| raw.jwt_bytes.is_some())),
    ];
    for (key, _) in without_effect.into_iter().filter(|(_, given)| *given) {
        let finding = finding(format!("`{key}` has no effect here: it is the same for all services"));
        cx.report.warning(&path.key(key), finding.hint("write it under `limits:` at the top"));
    }
    limits(raw, common)
}

fn rate_limit(raw: &RawRateLimit, path: &Path, cx: &mut Context<'_>) -> Option<RateLimit> {
    let requests = raw.requests?;
    let per = raw.per?;
    cx.positive(&path.key("per"), Some(per), per.0);
    Some(RateLimit { requests, per: per.0, burst: raw.burst.unwrap_or(requests) })
}
