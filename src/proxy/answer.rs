//! What an upstream's answer means for the credential, and how its headers are rewritten for the client. Works on headers
//! alone; `peek` brings the first bytes of a body where the provider's signs need them.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use pingora::{Error, ErrorType, Result, http::ResponseHeader};

use crate::{
    connection::AuthKind,
    provider::{self, Verdict, is_open_without_body, verdict},
};

use super::{
    Core,
    call::{Call, Recovery},
    context::{Context, Finding},
    cookies::{self, Place},
    forwarded::Origin,
    rewrite::{self, REWRITTEN, Way},
    scrub::{self, Answered},
    vary,
};

/// The upstream refused the credential, and the request is sent again.
pub const DEAD: ErrorType = ErrorType::Custom("dead_token");
/// The context says what to answer.
pub const REFUSED: ErrorType = ErrorType::Custom("refused");

/// Judges an answer; notes in `context` what has to be acted on. Says whether the answer may go to the client.
pub fn judge(
    core: &Core,
    context: &mut Context,
    header: &ResponseHeader,
    body: Option<&[u8]>,
    replayable: bool,
) -> bool {
    let began = context.began;
    let Some(call) = context.call() else { return true };
    let Some(credential) = &call.credential else { return true };
    let service = &call.route.service;
    let verdict = verdict(service, header.status, &header.headers, body);
    let sign = match &verdict {
        Verdict::Fine | Verdict::RateLimited => None,
        Verdict::InvalidToken | Verdict::MissingScopes { .. } => {
            provider::sign(service, header.status, &header.headers, body)
        }
    };
    let may_pass = match verdict {
        Verdict::Fine | Verdict::RateLimited => {
            if header.status.as_u16() < 400 {
                core.parts.connections.resolver.accepted(credential, began);
            }
            true
        }
        Verdict::InvalidToken
            if call.method == Method::HEAD
                && is_open_without_body(&call.route.service, header.status, &header.headers) =>
        {
            true
        }
        Verdict::InvalidToken => {
            let own = call.recovery == Recovery::PassOn
                || core.parts.connections.resolver.refused_by_upstream_itself(credential, began);
            if !own {
                let credential = Arc::clone(credential);
                context.finding = Some(Finding::Rejected { credential, replayable });
            }
            own
        }
        Verdict::MissingScopes { scopes } => {
            let scopes = named(scopes, call);
            if let Some(held) = &credential.scopes
                && call.route.service.scopes.missing(&scopes, held).is_empty()
            {
                // Another consent would bring the same grant again.
                tracing::warn!(
                    service = %call.route.service.name, scopes = scopes.join(" "),
                    "the upstream lacks scopes that the person was asked for already: its registration or administrators may not allow them"
                );
            }
            context.finding = Some(Finding::MissingScopes(scopes));
            false
        }
    };
    if !may_pass {
        context.sign = sign;
    }
    may_pass
}

/// The error that makes Pingora drop an answer: retried where the request can be sent again.
pub fn taken_back(context: &Context) -> Box<Error> {
    let replay = matches!(context.finding, Some(Finding::Rejected { replayable: true, .. }));
    let mut error = Error::explain(if replay { DEAD } else { REFUSED }, "the answer was taken back");
    error.set_retry(replay);
    error
}

/// The scopes to ask for: those that the upstream names, else those that the application named, else the service's.
fn named(scopes: Vec<String>, call: &Call) -> Vec<String> {
    if !scopes.is_empty() {
        scopes
    } else if !call.scopes.is_empty() {
        call.scopes.clone()
    } else {
        call.route.service.asked_for().to_vec()
    }
}

/// Takes out of an answer what must not reach the client, rewrites its URLs, and guards what a browser might run. `server_timing` is
/// asked when nearly all of that is done.
pub fn rewrite_headers<'a>(
    call: &Call,
    header: &mut ResponseHeader,
    origin: impl FnOnce() -> Origin<'a>,
    server_timing: impl FnOnce() -> Option<HeaderValue>,
) -> Result<()> {
    let tunnel = header.status == StatusCode::SWITCHING_PROTOCOLS;
    let answered = Answered { cookies: call.route.service.response_cookies, tunnel };
    let seen = scrub::look(&header.headers, answered);
    for name in &seen.drop {
        header.remove_header(name);
    }
    if answered.cookies && header.headers.contains_key(header::SET_COOKIE) {
        let service = &call.route.service;
        let proxied = format!("/proxy/{}{}", service.name, call.target.form());
        let place = Place { base: call.upstream().base(), proxied: &proxied, path: call.target.path().as_str() };
        let session = call.generation.settings.session_cookie.as_deref();
        let all = header.headers.get_all(header::SET_COOKIE).iter();
        let theirs: Vec<HeaderValue> = all.filter_map(|cookie| cookies::mended(cookie, place, session)).collect();
        header.remove_header(&header::SET_COOKIE);
        for cookie in theirs {
            header.append_header(header::SET_COOKIE, cookie)?;
        }
    }
    if header.status == StatusCode::NO_CONTENT {
        header.remove_header(&header::CONTENT_LENGTH);
    }
    if seen.urls {
        rewrite_urls(call, header, &origin())?;
    }
    if call.credential.as_ref().is_some_and(|credential| credential.kind == AuthKind::ApiKey) {
        for (name, value) in &call.route.service.key_notice {
            // What the upstream says of its own retirement is more than we know.
            if !header.headers.contains_key(name) {
                header.insert_header(name.clone(), value.clone())?;
            }
        }
    }
    if header.status.is_informational() {
        return Ok(());
    }
    if !(seen.cache_control && scrub::is_no_store(&header.headers)) {
        let vary = vary::vary(&header.headers, seen.vary, call.generation.settings.callers.anybody_may_act());
        header.insert_header("Vary", vary)?;
    }
    // Written names: Pingora copies most of those that it is given as constants of the `http` crate.
    header.insert_header("X-Content-Type-Options", scrub::NOSNIFF)?;
    let cache_control = if seen.cache_control { scrub::cache_control(&header.headers) } else { scrub::PRIVATE };
    header.insert_header("Cache-Control", cache_control)?;
    if let Some(timing) = server_timing() {
        // Beside what the upstream says of itself.
        header.append_header("Server-Timing", timing)?;
    }
    make_room(header);
    if let Some(sandbox) = scrub::markup_guard(header.status, seen.tame) {
        header.insert_header("Content-Security-Policy", sandbox)?;
    }
    Ok(())
}

/// Pingora sets `Date` and `Connection` next, and its maps grow when they are full, even for a name that they hold. The
/// upstream's `Connection` is not for the client anyway.
fn make_room(header: &mut ResponseHeader) {
    if header.headers.len() >= header.headers.capacity() {
        header.remove_header(&header::CONNECTION);
    }
}

fn rewrite_urls(call: &Call, header: &mut ResponseHeader, origin: &Origin<'_>) -> Result<()> {
    let present: Vec<&HeaderName> = REWRITTEN.iter().filter(|name| header.headers.contains_key(*name)).collect();
    if present.is_empty() {
        return Ok(());
    }
    let called = &call.route.service;
    let own = std::iter::once((called, call.upstream()));
    let others = call.generation.settings.services.sharing(called).filter(|service| service.name != called.name);
    let ways: Vec<Way<'_>> = own
        .chain(others.map(|service| (service, &*service.upstream)))
        .map(|(service, upstream)| Way {
            base: upstream.base(),
            proxied: if origin.host.is_empty() {
                // HTTP/1.0 needs no `Host`: a path of the proxy's own says the same.
                format!("/proxy/{}{}", service.name, call.target.form())
            } else {
                format!("{}://{}/proxy/{}{}", origin.scheme, origin.host, service.name, call.target.form())
            },
        })
        .collect();
    for name in present {
        let values: Vec<HeaderValue> = header
            .headers
            .get_all(name)
            .iter()
            .map(|value| {
                rewrite::value(name, value, call.target.path().as_str(), &ways).unwrap_or_else(|| value.clone())
            })
            .collect();
        header.remove_header(name);
        for value in values {
            header.append_header(name.clone(), value)?;
        }
    }
    Ok(())
}
