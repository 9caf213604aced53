//! The second pass: what was written becomes what it means, services aside, which `provider` makes whole. Defaults are filled in, files are read, and what no schema can
//! say is checked. Every function notes all it finds in the report and goes on; one that returns `None` has noted why, or
//! the first pass has.

use std::{net::IpAddr, time::Duration};

use ipnet::IpNet;

use super::{
    Binding, Cache, Config, Connect, Limits, Refresh, SessionProof, Shutdown,
    context::{Context, or},
    problem::{Path, finding},
    raw::{RawCache, RawConfig, RawConnect, RawRefresh, RawSession, RawShutdown},
    urls::{PlainHttp, UrlRule},
};

mod admin;
mod alerts;
mod audit;
mod brand;
mod callers;
mod issuers;
mod kubernetes;
mod listeners;
mod notifications;
mod storage;
mod telemetry;

/// A longer life of a connect link is warned of.
const LONG_TICKET: Duration = Duration::from_secs(86_400);

/// The application's name where the operator gives none.
const APPLICATION: &str = "This application";

/// Resolves a whole configuration but for its services.
pub(super) fn resolve(raw: RawConfig, cx: &mut Context<'_>) -> Option<Config> {
    let root = Path::default();
    let public_url = raw.public_url.and_then(|text| {
        let rule = UrlRule { plain_http: PlainHttp::Loopback, query: false };
        let mut url = cx.url(&root.key("public_url"), &text, rule)?;
        let trimmed = url.path().trim_end_matches('/').to_owned();
        url.set_path(&trimmed);
        Some(url)
    });
    let (application, brand) = brand::application(raw.application, &root.key("application"), cx);
    let admin = raw.admin.and_then(|raw| admin::admin(raw, &root.key("admin"), cx));
    let listeners = listeners::listeners(raw.listeners, admin.is_some(), &root.key("listeners"), cx);
    let callers = callers::callers(raw.callers.unwrap_or_default(), &root.key("callers"), cx);
    let connect = connect(raw.connect.unwrap_or_default(), &root.key("connect"), cx);
    let shutdown = shutdown(&raw.shutdown.unwrap_or_default());
    let cache = cache(&raw.cache.unwrap_or_default());
    let store = raw.store.and_then(|store| storage::store(store, &root.key("store"), cx));
    let vault = raw.vault.and_then(|vault| storage::vault(vault, &root.key("vault"), cx));
    let defaults = Limits {
        header_bytes: Some(32 << 10),
        uri_bytes: Some(8 << 10),
        jwt_bytes: Some(16 << 10),
        ..Limits::default()
    };
    let limits = raw.limits.map_or(defaults, |raw| raw.over(defaults));
    let trusted_proxies = trusted_proxies(raw.trusted_proxies.unwrap_or_default(), &root.key("trusted_proxies"), cx);
    let refresh = refresh(&raw.refresh.unwrap_or_default(), &root.key("refresh"), cx);
    let notifications =
        notifications::notifications(raw.notifications.unwrap_or_default(), &root.key("notifications"), cx);
    let telemetry = telemetry::telemetry(raw.telemetry.unwrap_or_default(), &root.key("telemetry"), cx);
    let mail = notifications.email.as_ref();
    let alerts = alerts::alerts(raw.alerts.unwrap_or_default(), mail, &root.key("alerts"), cx);
    let audit = audit::audit(raw.audit.unwrap_or_default(), &root.key("audit"), cx);
    Some(Config {
        public_url: public_url?,
        application: application.unwrap_or_else(|| APPLICATION.into()),
        brand,
        listeners,
        admin,
        callers,
        connect,
        shutdown,
        cache,
        store: store?,
        vault: vault?,
        limits,
        trusted_proxies,
        refresh,
        notifications,
        telemetry,
        alerts,
        audit,
    })
}

fn connect(raw: RawConnect, path: &Path, cx: &mut Context<'_>) -> Connect {
    let binding = raw.binding.unwrap_or_default();
    if binding == Binding::Session && raw.session.is_none() && !cx.report.is_broken(&path.key("session")) {
        let finding = finding("`binding: session` needs to know how a browser proves whose it is");
        let hint = "add `session:` with `cookie`, `header` or `check_url`";
        cx.report.problem(&path.key("binding"), finding.hint(hint));
    }
    let session = raw.session.and_then(|session| session_proof(session, &path.key("session"), cx));
    let mut return_to = Vec::new();
    for (at, text) in raw.return_to.unwrap_or_default().into_iter().enumerate() {
        let rule = UrlRule { plain_http: PlainHttp::Anywhere, query: false };
        return_to.extend(cx.url(&path.key("return_to").index(at), &text, rule));
    }
    let ticket_ttl = cx.positive(&path.key("ticket_ttl"), raw.ticket_ttl, Duration::from_secs(600));
    if ticket_ttl > LONG_TICKET {
        let finding = finding("Connect links live longer than a day: whoever finds one may use it");
        cx.report.warning(&path.key("ticket_ttl"), finding.hint("ten minutes are enough for most"));
    }
    let confirm = raw.confirm.unwrap_or(true);
    if !confirm && binding == Binding::Link {
        let finding =
            finding("Nobody sees for whom they connect before they do: a link that is passed on connects its taker");
        cx.report.warning(&path.key("confirm"), finding.hint("leave it out, or use `binding: session` or `confirm`"));
    }
    let notification_ttl =
        cx.positive(&path.key("notification_ttl"), raw.notification_ttl, Duration::from_secs(7 * 86_400));
    Connect { binding, session, confirm, return_to, ticket_ttl, notification_ttl }
}

fn session_proof(raw: RawSession, path: &Path, cx: &mut Context<'_>) -> Option<SessionProof> {
    let given =
        [("cookie", raw.cookie.is_some()), ("header", raw.header.is_some()), ("check_url", raw.check_url.is_some())];
    if !cx.require_one(path, &given) {
        return None;
    }
    if let Some(name) = raw.cookie {
        // A cookie's name is a token (RFC 6265 §4.1.1), as a header's is.
        if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
            cx.report.problem(&path.key("cookie"), finding("This is no possible name of a cookie"));
            return None;
        }
        return Some(SessionProof::Cookie(name));
    }
    if let Some(name) = raw.header {
        return cx.header_name(&path.key("header"), &name).then_some(SessionProof::Header(name));
    }
    let rule = UrlRule { plain_http: PlainHttp::Loopback, query: true };
    cx.url(&path.key("check_url"), &raw.check_url?, rule).map(SessionProof::CheckUrl)
}

fn shutdown(raw: &RawShutdown) -> Shutdown {
    Shutdown { delay: or(raw.delay, Duration::from_secs(5)), grace: or(raw.grace, Duration::from_secs(30)) }
}

fn cache(raw: &RawCache) -> Cache {
    Cache {
        offline_max: or(raw.offline_max, Duration::from_secs(3600)),
        credentials: raw.credentials.unwrap_or(50_000),
        callers: raw.callers.unwrap_or(50_000),
    }
}

fn refresh(raw: &RawRefresh, path: &Path, cx: &mut Context<'_>) -> Refresh {
    let default = Refresh::default();
    let timeout = cx.positive(&path.key("timeout"), raw.timeout, default.timeout);
    if timeout > Refresh::TIMEOUT_MAX {
        // A lease must outlast the wait: another replica would take a slow answer for none, and spend the token, too.
        let text = format!("This should be at most {} s", Refresh::TIMEOUT_MAX.as_secs());
        cx.report.problem(&path.key("timeout"), finding(text));
    }
    Refresh { window: or(raw.window, default.window), timeout }
}

/// Networks, or single addresses.
fn trusted_proxies(raw: Vec<String>, path: &Path, cx: &mut Context<'_>) -> Vec<IpNet> {
    let mut networks = Vec::new();
    for (at, text) in raw.into_iter().enumerate() {
        let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        match network {
            Ok(network) => networks.push(network),
            Err(_) => {
                let wrong = finding("This should be a network in CIDR notation, or an address");
                cx.report.problem(&path.index(at), wrong.hint("such as `10.0.0.0/8`, `fd00::/8` or `127.0.0.1`"));
            }
        }
    }
    networks
}
