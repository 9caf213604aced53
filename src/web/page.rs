//! What every page has in common: its layout, its language, and the headers that keep it from being framed, cached, or made
//! to run anything. A page holds no script at all.

use askama::Template;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};

use super::{
    State,
    assets::{self, Asset},
};
use crate::{
    config::Language,
    id::RequestId,
    refusal,
    words::{Notice, Texts, texts},
};

/// What the layout of every page shows.
#[derive(Clone, Copy)]
pub(super) struct Frame<'a> {
    pub t: &'static dyn Texts,
    /// Where style sheet, icon and logo are.
    pub assets: &'a str,
    /// `public_url`'s path, in front of every link; empty or without a trailing slash.
    pub base: &'a str,
    pub application: &'a str,
    pub style: &'a str,
    pub icon: &'a str,
    /// The operator's colours.
    pub brand: Option<&'a str>,
    /// The operator's logo; not beside another application's name.
    pub logo: Option<&'a str>,
    /// Where people get help.
    pub support: Option<&'a str>,
}

impl<'a> Frame<'a> {
    pub fn new(state: &'a State, t: &'static dyn Texts, application: Option<&'a str>) -> Self {
        Self {
            t,
            assets: &state.assets,
            base: state.base(),
            application: application.unwrap_or(&state.parts.settings.application),
            style: assets::STYLE.name(),
            icon: assets::ICON.name(),
            brand: state.brand.style.as_ref().map(Asset::name),
            logo: state.brand.logo.as_ref().filter(|_| application.is_none()).map(Asset::name),
            support: state.parts.settings.brand.support_url.as_ref().map(url::Url::as_str),
        }
    }

    /// For operators, who come by a listener of their own.
    pub fn for_operators(state: &'a State) -> Self {
        let own = Self::new(state, texts(Language::En), None);
        Self { base: "", assets: "/admin/-", support: None, ..own }
    }
}

/// A page that says something and offers what to do next.
#[derive(Template)]
#[template(path = "notice.html")]
struct NoticePage<'a> {
    f: Frame<'a>,
    notice: &'a Notice,
    tone: Tone,
    actions: &'a [Action],
    request_id: Option<&'a str>,
}

/// A button's target and its words. The first of several stands out.
#[derive(Debug, Clone)]
pub(super) struct Action {
    pub url: String,
    pub label: String,
}

impl Action {
    pub fn new(url: impl Into<String>, label: impl Into<String>) -> Self {
        Self { url: url.into(), label: label.into() }
    }
}

/// How a notice is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Calm,
    Caution,
}

impl Tone {
    fn class(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::Caution => "caution",
        }
    }
}

/// A notice as an answer.
pub(super) fn notice(
    frame: Frame<'_>,
    status: StatusCode,
    notice: &Notice,
    actions: &[Action],
    request_id: &RequestId,
) -> Response {
    let failed = status.is_client_error() || status.is_server_error();
    let tone = if failed { Tone::Caution } else { Tone::Calm };
    let page = NoticePage { f: frame, notice, tone, actions, request_id: failed.then(|| request_id.as_str()) };
    let mut response = render(&page, status, &Forms::Own);
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
    }
    response
}

/// What an error's status is called in `Valetkey-Status`, so that programs that stray to a page can tell.
pub(super) fn code(status: StatusCode) -> Option<refusal::Code> {
    match status {
        StatusCode::UNAUTHORIZED => Some(refusal::Code::Unauthenticated),
        StatusCode::FORBIDDEN => Some(refusal::Code::Forbidden),
        StatusCode::NOT_FOUND => Some(refusal::Code::NotFound),
        StatusCode::METHOD_NOT_ALLOWED => Some(refusal::Code::MethodNotAllowed),
        StatusCode::PAYLOAD_TOO_LARGE => Some(refusal::Code::TooLarge),
        StatusCode::BAD_GATEWAY => Some(refusal::Code::RefreshFailed),
        StatusCode::SERVICE_UNAVAILABLE => Some(refusal::Code::Unavailable),
        other if other.is_client_error() => Some(refusal::Code::BadRequest),
        other if other.is_server_error() => Some(refusal::Code::Error),
        _ => None,
    }
}

/// Where a page's forms may lead, redirects included: browsers apply `form-action` to every step of them.
pub(super) enum Forms<'a> {
    /// Back to us only.
    Own,
    /// To a provider, through whatever sign-in it sends people on to, and from the callback to the application. Which
    /// hosts those are can't be known, so any over TLS may be; those over plain HTTP are named.
    Provider {
        /// Origins over plain HTTP that may be met.
        plain: &'a [String],
    },
}

/// Renders a template with a page's headers.
pub(super) fn render(page: &impl Template, status: StatusCode, forms: &Forms<'_>) -> Response {
    let body = match page.render() {
        Ok(body) => body,
        Err(error) => {
            tracing::error!(%error, "a page could not be rendered");
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
    };
    with_headers((status, body).into_response(), forms)
}

/// What `HEAD` gets for a page that can't be made without its doing something.
pub(super) fn unseen() -> Response {
    with_headers(StatusCode::OK.into_response(), &Forms::Own)
}

fn with_headers(mut response: Response, forms: &Forms<'_>) -> Response {
    let code = code(response.status());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    if let Some(code) = code {
        headers.insert(refusal::STATUS, HeaderValue::from_static(code.as_str()));
    }
    headers.insert(header::CONTENT_SECURITY_POLICY, policy(forms));
    seal(headers);
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
    headers.insert("permissions-policy", HeaderValue::from_static("interest-cohort=()"));
    response
}

/// The headers of every answer that is not an asset: nobody keeps it, nobody guesses at it, nobody learns its address.
pub(super) fn seal(headers: &mut http::HeaderMap) {
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::VARY, HeaderValue::from_static("Authorization"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}

fn policy(forms: &Forms<'_>) -> HeaderValue {
    let mut targets = "'self'".to_owned();
    if let Forms::Provider { plain } = forms {
        targets.push_str(" https:");
        for origin in *plain {
            targets.push(' ');
            targets.push_str(origin);
        }
    }
    let text = format!(
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action {targets}; base-uri 'none'; frame-ancestors 'none'"
    );
    // Origins are the URL standard's own serialisation, which is visible ASCII without `;` or `,`.
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"))
}

/// A browser sent on by 303, so that what it does next is a `GET`.
pub(super) fn see_other(location: &str) -> Response {
    let Ok(location) = HeaderValue::try_from(location) else {
        tracing::error!("a redirect's target is no header value");
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let mut response = StatusCode::SEE_OTHER.into_response();
    response.headers_mut().insert(header::LOCATION, location);
    seal(response.headers_mut());
    response
}
