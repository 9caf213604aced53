//! Forms: read within a limit, and believed only where the browser's own page of ours sent them. Two proofs are asked for:
//! what the browser says of the sender (Fetch Metadata, else `Origin`), and a token bound to the browser's cookie.

use axum::{body::Body, http::Request, response::Response};
use http::HeaderMap;

use super::{BODY_LIMIT, State, cookies::Cookie, visit::Visit};
use crate::{
    connection::Unavailable,
    consent::Browser,
    words::{Notice, Texts},
};

/// The field that holds the token.
pub(super) const TOKEN: &str = "form";

/// A form's fields.
pub(super) struct Form(Vec<(String, String)>);

/// Why a form is not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FormError {
    /// Another site sent it.
    Foreign,
    /// Not this browser's page, or one from before its cookie went.
    Stale,
    /// Not a form as our pages send them.
    Unreadable,
    /// Longer than any of ours.
    TooLong,
    /// For now.
    Unavailable(Unavailable),
}

impl FormError {
    /// What the page says.
    pub fn notice(self, t: &'static dyn Texts) -> Notice {
        match self {
            Self::Foreign => t.form_foreign(),
            Self::Stale => t.form_stale(),
            Self::Unreadable | Self::TooLong => t.bad_form(),
            Self::Unavailable(_) => t.unavailable(),
        }
    }

    /// The page's status.
    pub fn status(self) -> http::StatusCode {
        match self {
            Self::Foreign | Self::Stale => http::StatusCode::FORBIDDEN,
            Self::Unreadable => http::StatusCode::BAD_REQUEST,
            Self::TooLong => http::StatusCode::PAYLOAD_TOO_LARGE,
            Self::Unavailable(_) => http::StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl Form {
    /// A field that is there once.
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut values = self.0.iter().filter(|(key, _)| key == name);
        let (_, value) = values.next()?;
        values.next().is_none().then_some(value)
    }
}

/// What the forms of a page carry, for [`read`] to believe them.
pub(super) struct Proof {
    /// The value of [`TOKEN`].
    pub token: String,
    /// A browser that had no cookie yet.
    newcomer: Option<Browser>,
}

impl Proof {
    /// For the browser that asks.
    pub async fn new(visit: &Visit) -> Result<Self, Unavailable> {
        let (browser, new) = match visit.browser() {
            Some(browser) => (browser, false),
            None => (Browser::new()?, true),
        };
        let root = visit.state.parts.roots.get().await?;
        Ok(Self { token: browser.form_token(&root), newcomer: new.then_some(browser) })
    }

    /// The page, with the cookie that the token is bound to where the browser doesn't have it.
    pub fn given_with(&self, mut response: Response, state: &State) -> Response {
        if let Some(browser) = &self.newcomer {
            state.cookies.set(response.headers_mut(), Cookie::Browser, browser.cookie(), None);
        }
        response
    }
}

/// Reads a form of ours, and tells which browser sent it.
pub(super) async fn read(state: &State, request: Request<Body>) -> Result<(Form, Browser), FormError> {
    let (parts, body) = request.into_parts();
    if !same_origin(&parts.headers, &state.parts.settings.public_url.origin().ascii_serialization()) {
        return Err(FormError::Foreign);
    }
    let browser =
        state.cookies.read(&parts.headers, Cookie::Browser).and_then(Browser::from_cookie).ok_or(FormError::Stale)?;
    let form = Form(fields(&parts.headers, body).await?);
    let root = state.parts.roots.get().await.map_err(FormError::Unavailable)?;
    match form.get(TOKEN) {
        Some(token) if browser.sent_form(&root, token) => Ok((form, browser)),
        Some(_) | None => Err(FormError::Stale),
    }
}

/// Reads a form that a page of ours sent to the very host that served the page: where no `public_url` says which that is. The
/// browser has to say so, by Fetch Metadata or `Origin`: a cookie with `SameSite=Strict` also comes with what a page on
/// another port of that host sends.
pub(super) async fn read_from_this_host(request: Request<Body>) -> Result<Form, FormError> {
    let (parts, body) = request.into_parts();
    let text = |name: http::HeaderName| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let scheme = text(http::header::ORIGIN).and_then(|origin| origin.split_once("://")).map(|(scheme, _)| scheme);
    let own = scheme.zip(text(http::header::HOST)).map(|(scheme, host)| format!("{scheme}://{host}"));
    let own = own.unwrap_or_default();
    let is_told = text(http::HeaderName::from_static("sec-fetch-site")).is_some()
        || text(http::header::ORIGIN).is_some_and(|origin| origin == own);
    if !is_told || !same_origin(&parts.headers, &own) {
        return Err(FormError::Foreign);
    }
    let form = Form(fields(&parts.headers, body).await?);
    // None of our forms says a thing twice; of one that does nobody knows what it means.
    let is_twice = |(at, (name, _)): (usize, &(String, String))| form.0[..at].iter().any(|(before, _)| before == name);
    if form.0.iter().enumerate().any(is_twice) { Err(FormError::Unreadable) } else { Ok(form) }
}

/// The fields of any form, whoever sent it, in their order.
pub(super) async fn fields(headers: &HeaderMap, body: Body) -> Result<Vec<(String, String)>, FormError> {
    if !is_form(headers) {
        return Err(FormError::Unreadable);
    }
    let bytes = axum::body::to_bytes(body, BODY_LIMIT).await.map_err(|_| FormError::TooLong)?;
    Ok(url::form_urlencoded::parse(&bytes).into_owned().collect())
}

/// Whether the body is what a form of ours sends. Another site's form could send other types with other words in them.
fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// Whether the browser says that a page of ours sent this. Where it says nothing, cookie and token decide: other sites'
/// forms come without the cookie, and no other page knows the token.
fn same_origin(headers: &HeaderMap, own: &str) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    match (text("sec-fetch-site"), text("origin")) {
        (Some(site), None) => site == "same-origin",
        // Under `Referrer-Policy: no-referrer` a page's own forms carry `Origin: null` (Fetch §3.2.5).
        (Some(site), Some(origin)) => site == "same-origin" && (origin == own || origin == "null"),
        // Browsers without Fetch Metadata (Safari before 16.4, many views inside apps) send that `null`, too, and then it is
        // as if they had said nothing.
        (None, Some("null") | None) => true,
        (None, Some(origin)) => origin == own,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_pages_may_send_forms() {
        let own = "https://connect.example.com";
        for (site, origin, followed) in [
            (Some("same-origin"), Some(own), true),
            (Some("same-origin"), Some("null"), true),
            (Some("same-origin"), None, true),
            (None, Some(own), true),
            (None, None, true),
            (Some("cross-site"), Some(own), false),
            (Some("cross-site"), Some("https://evil.example"), false),
            (Some("same-site"), Some("https://evil.example.com"), false),
            (Some("none"), None, false),
            (Some("same-origin"), Some("https://evil.example"), false),
            (None, Some("https://evil.example"), false),
            (None, Some("null"), true),
            (Some("cross-site"), Some("null"), false),
            (Some("same-site"), Some("null"), false),
            (None, Some("https://connect.example.com.evil.example"), false),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(site) = site {
                headers.insert("sec-fetch-site", site.parse().unwrap());
            }
            if let Some(origin) = origin {
                headers.insert("origin", origin.parse().unwrap());
            }
            assert_eq!(same_origin(&headers, own), followed, "{site:?} {origin:?}");
        }
    }
}
