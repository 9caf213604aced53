//! The two parties of the demo that speak HTTP: an application with a JWT, and a person's browser with cookies. Both
//! speak over real sockets, follow no redirect by themselves, and watch that no token of the stand-in ever reaches them.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use reqwest::{
    Method, StatusCode,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, COOKIE, HeaderMap, ORIGIN, SET_COOKIE},
};
use serde_json::Value;
use url::Url;

/// How tokens of the stand-in begin.
const TOKEN_PREFIXES: [&str; 2] = [valetkey_standin::ACCESS_TOKEN_PREFIX, valetkey_standin::REFRESH_TOKEN_PREFIX];

/// Who is speaking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Party {
    /// The application, with Ada's JWT.
    App,
    /// An application that has none.
    Stranger,
    /// Ada's browser.
    Browser,
}

impl Party {
    /// A word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::Stranger => "stranger",
            Self::Browser => "browser",
        }
    }
}

/// One request and its answer, whole.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// Who asked.
    pub party: Party,
    /// How.
    pub method: Method,
    /// For what.
    pub url: Url,
    /// The answer's status.
    pub status: StatusCode,
    /// The answer's headers.
    pub headers: HeaderMap,
    /// The answer's body, as text.
    pub body: String,
    /// From the first byte sent to the last received.
    pub took: Duration,
    /// In how many pieces the body came: a stream that somebody buffered comes in one.
    pub pieces: usize,
}

impl Exchange {
    /// A header's value; empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The body as JSON; null where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }

    /// A text member of the JSON body; empty where there is none.
    pub fn member(&self, name: &str) -> String {
        self.json().get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    /// Where a redirect points, made absolute.
    pub fn location(&self) -> Option<Url> {
        self.url.join(self.headers.get("location")?.to_str().ok()?).ok()
    }
}

/// Both parties.
pub struct Parties {
    http: reqwest::Client,
    jwt: String,
    cookies: BTreeMap<String, String>,
    leaks: usize,
}

impl Parties {
    /// An application with this JWT, and a browser without cookies.
    ///
    /// # Errors
    /// Where the HTTP library can't be set up.
    #[expect(
        clippy::disallowed_methods,
        reason = "the demo plays applications and browsers, which are not Valetkey's outgoing calls"
    )]
    pub fn new(jwt: String) -> reqwest::Result<Self> {
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(Duration::from_secs(20))
            .build()?;
        Ok(Self { http, jwt, cookies: BTreeMap::new(), leaks: 0 })
    }

    /// The application's JWT.
    pub fn jwt(&self) -> &str {
        &self.jwt
    }

    /// How many answers held a token of the stand-in. Anything but 0 is a fault.
    pub const fn leaks(&self) -> usize {
        self.leaks
    }

    /// The application (or one without a JWT) calls.
    ///
    /// # Errors
    /// Where no whole answer came.
    pub async fn call(
        &mut self,
        party: Party,
        method: Method,
        url: Url,
        json: Option<&Value>,
    ) -> reqwest::Result<Exchange> {
        let mut request = self.http.request(method.clone(), url.clone()).header(ACCEPT, "application/json");
        if party == Party::App {
            request = request.header(AUTHORIZATION, format!("Bearer {}", self.jwt));
        }
        if let Some(json) = json {
            request = request.header(CONTENT_TYPE, "application/json").body(json.to_string());
        }
        self.exchange(party, method, url, request).await
    }

    /// The browser opens a page.
    ///
    /// # Errors
    /// Where no whole answer came.
    pub async fn open(&mut self, url: Url) -> reqwest::Result<Exchange> {
        let request = self.http.get(url.clone()).header(ACCEPT, "text/html,application/xhtml+xml");
        let request = self.with_cookies(request);
        self.exchange(Party::Browser, Method::GET, url, request).await
    }

    /// The browser sends a page's form.
    ///
    /// # Errors
    /// Where no whole answer came.
    pub async fn submit(&mut self, form: &Form) -> reqwest::Result<Exchange> {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form.fields.iter()).finish();
        let request = self
            .http
            .post(form.action.clone())
            .header(ACCEPT, "text/html,application/xhtml+xml")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ORIGIN, form.action.origin().ascii_serialization())
            .header("sec-fetch-site", "same-origin")
            .body(body);
        let request = self.with_cookies(request);
        self.exchange(Party::Browser, Method::POST, form.action.clone(), request).await
    }

    /// Ports don't separate cookies (RFC 6265 §8.5), and everything here is one host: as a browser would, send all.
    fn with_cookies(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        if self.cookies.is_empty() {
            return request;
        }
        let pairs: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        request.header(COOKIE, pairs.join("; "))
    }

    async fn exchange(
        &mut self,
        party: Party,
        method: Method,
        url: Url,
        request: reqwest::RequestBuilder,
    ) -> reqwest::Result<Exchange> {
        let begun = Instant::now();
        let mut response = request.send().await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let (mut body, mut pieces) = (Vec::new(), 0);
        while let Some(chunk) = response.chunk().await? {
            pieces += 1;
            body.extend_from_slice(&chunk);
        }
        let body = String::from_utf8_lossy(&body).into_owned();
        if party == Party::Browser {
            self.remember(&headers);
        }
        let exchange = Exchange { party, method, url, status, headers, body, took: begun.elapsed(), pieces };
        self.watch(&exchange);
        Ok(exchange)
    }

    /// Keeps cookies, and drops those that the server takes back.
    fn remember(&mut self, headers: &HeaderMap) {
        for cookie in headers.get_all(SET_COOKIE).iter().filter_map(|value| value.to_str().ok()) {
            let mut parts = cookie.split(';').map(str::trim);
            let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else { continue };
            if value.is_empty() || parts.any(|part| part.eq_ignore_ascii_case("max-age=0")) {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
    }

    fn watch(&mut self, exchange: &Exchange) {
        let held = |text: &str| TOKEN_PREFIXES.iter().any(|prefix| text.contains(prefix));
        if held(&exchange.body) || exchange.headers.values().any(|value| value.to_str().is_ok_and(held)) {
            self.leaks += 1;
        }
    }
}

/// A form of a page, filled with what the page itself has put in.
#[derive(Debug, Clone)]
pub struct Form {
    /// Where it goes.
    pub action: Url,
    /// Its fields.
    pub fields: Vec<(String, String)>,
}

impl Form {
    /// The first form of a page that is sent by POST.
    pub fn of(page: &Exchange) -> Option<Self> {
        let mut rest = page.body.as_str();
        loop {
            let (_, after) = rest.split_once("<form")?;
            let (opening, after) = after.split_once('>')?;
            let (content, after) = after.split_once("</form").unwrap_or((after, ""));
            rest = after;
            if !attribute(opening, "method").is_some_and(|method| method.eq_ignore_ascii_case("post")) {
                continue;
            }
            let action = page.url.join(&attribute(opening, "action").unwrap_or_default()).ok()?;
            let fields = content
                .split("<input")
                .skip(1)
                .filter_map(|tag| {
                    let tag = tag.split_once('>').map_or(tag, |(tag, _)| tag);
                    Some((attribute(tag, "name")?, attribute(tag, "value").unwrap_or_default()))
                })
                .collect();
            return Some(Self { action, fields });
        }
    }

    /// Presses a button of this name and value.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// An attribute of a tag, in the double quotes that all our pages use.
fn attribute(tag: &str, name: &str) -> Option<String> {
    let marker = format!("{name}=\"");
    let at = tag.match_indices(&marker).find(|(at, _)| tag[..*at].ends_with(char::is_whitespace))?.0;
    let value = tag[at + marker.len()..].split('"').next()?;
    Some(unescaped(value))
}

/// Undoes HTML's escapes, as askama and people write them.
fn unescaped(text: &str) -> String {
    let pairs = [("&#60;", "<"), ("&lt;", "<"), ("&#62;", ">"), ("&gt;", ">"), ("&#34;", "\""), ("&quot;", "\"")];
    let text = pairs.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to));
    [("&#39;", "'"), ("&#x27;", "'"), ("&#38;", "&"), ("&amp;", "&")]
        .iter()
        .fold(text, |text, (from, to)| text.replace(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(body: &str) -> Exchange {
        Exchange {
            party: Party::Browser,
            method: Method::GET,
            url: Url::parse("http://127.0.0.1:1/connect/demo-hub?ticket=t").unwrap(),
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            body: body.to_owned(),
            took: Duration::ZERO,
            pieces: 1,
        }
    }

    #[test]
    fn a_page_s_form_is_found_with_its_fields() {
        let form = Form::of(&page(
            "<form method=\"get\" action=\"/search\"></form>\
             <form class=\"x\" method=\"post\" action=\"/go?a=1&#38;b=2\">\
             <input type=\"hidden\" data-name=\"no\" name=\"ticket\" value=\"a&#34;b\"><input name=\"empty\"></form>",
        ))
        .unwrap();
        assert_eq!(form.action.as_str(), "http://127.0.0.1:1/go?a=1&b=2");
        assert_eq!(form.fields, [("ticket".into(), "a\"b".into()), ("empty".into(), String::new())]);
    }

    #[test]
    fn a_form_without_an_action_goes_back_to_its_page() {
        let form = Form::of(&page("<form method=\"post\"><button>Go</button></form>")).unwrap();
        assert_eq!(form.action.as_str(), "http://127.0.0.1:1/connect/demo-hub?ticket=t");
        assert!(Form::of(&page("<p>no form</p>")).is_none());
    }
}
