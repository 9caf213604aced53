//! A browser without JavaScript: cookies as browsers keep them (by host and path, not by port), redirects one by one,
//! forms. It walks the connect page, oidc-provider's login and consent pages, and the callback.

use reqwest::Method;
use reqwest::header::{COOKIE, LOCATION, ORIGIN, REFERER, SET_COOKIE};
use url::Url;

use super::authorization_server::http;
use super::html::{self, Form};
use super::{Answer, canary};

/// A browser of one person.
#[derive(Clone)]
pub(crate) struct Browser {
    client: reqwest::Client,
    cookies: Vec<Cookie>,
    /// Every URL that was asked for, in order.
    pub(crate) visited: Vec<Url>,
    /// Headers sent with every request to Valetkey, e.g. a JWT.
    pub(crate) headers: Vec<(String, String)>,
}

#[derive(Debug, Clone)]
struct Cookie {
    host: String,
    path: String,
    name: String,
    value: String,
}

/// A page that was loaded.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    pub(crate) url: Url,
    pub(crate) answer: Answer,
}

impl Page {
    /// Where it redirects to.
    pub(crate) fn location(&self) -> Option<Url> {
        let target = self.answer.header(LOCATION.as_str()).filter(|_| (300..400).contains(&self.answer.status))?;
        Some(self.url.join(target).expect("Location is a URL"))
    }

    /// Its forms.
    pub(crate) fn forms(&self) -> Vec<Form> {
        html::forms(&self.answer.text())
    }

    /// Its visible text.
    pub(crate) fn text(&self) -> String {
        html::text(&self.answer.text())
    }

    /// A parameter of its URL's query.
    pub(crate) fn query(&self, name: &str) -> Option<String> {
        self.url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }

    /// Asserts the headers that every page of Valetkey's has.
    #[track_caller]
    pub(crate) fn assert_is_a_safe_page(&self) {
        let policy = self.answer.header("content-security-policy").unwrap_or_default();
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert!(policy.contains("default-src 'none'") || policy.contains("default-src 'self'"), "{policy}");
        assert!(
            self.answer.header("cache-control").is_some_and(|value| value.contains("no-store")),
            "{:?}",
            self.answer.headers
        );
        let html = self.answer.text();
        assert!(
            html.contains("lang=\"en\"") && html.contains("name=\"viewport\"") && html.contains("<title>"),
            "{html}"
        );
        assert!(!html.contains(" style=") && !html.contains(" onclick="), "inline style or script: {html}");
    }
}

impl Browser {
    /// A new browser with no cookies.
    pub(crate) fn new() -> Self {
        Self { client: http(), cookies: Vec::new(), visited: Vec::new(), headers: Vec::new() }
    }

    /// Its cookies: host, path, name and value of each.
    pub(crate) fn jar(&self) -> Vec<[String; 4]> {
        let of = |cookie: &Cookie| [&cookie.host, &cookie.path, &cookie.name, &cookie.value].map(Clone::clone);
        self.cookies.iter().map(of).collect()
    }

    /// A browser with these cookies, as [`Browser::jar`] gave them.
    pub(crate) fn with_jar(jar: Vec<[String; 4]>) -> Self {
        let cookie = |[host, path, name, value]: [String; 4]| Cookie { host, path, name, value };
        Self { cookies: jar.into_iter().map(cookie).collect(), ..Self::new() }
    }

    /// One GET, as typed into the address bar; no redirect is followed.
    pub(crate) async fn get(&mut self, url: impl AsRef<str>) -> Page {
        let url = Url::parse(url.as_ref()).expect("a URL");
        self.request(Method::GET, url, None, None).await
    }

    /// A GET, and every redirect after it.
    pub(crate) async fn open(&mut self, url: impl AsRef<str>) -> Page {
        let page = self.get(url).await;
        self.follow(page, |_| false).await
    }

    /// Follows redirects until there are none, or until `stop` says that this target is not to be asked for.
    pub(crate) async fn follow(&mut self, mut page: Page, stop: impl Fn(&Url) -> bool) -> Page {
        for _ in 0..20 {
            match page.location() {
                Some(next) if !stop(&next) => {
                    let from = page.url.clone();
                    page = self.request(Method::GET, next, Some(&from), None).await;
                }
                _ => return page,
            }
        }
        panic!("redirects without end: {:?}", self.visited);
    }

    /// Sends a form as it stands on a page, with these fields changed or added; no redirect is followed.
    pub(crate) async fn submit(&mut self, page: &Page, form: &Form, changes: &[(&str, &str)]) -> Page {
        let mut fields = form.fields.clone();
        for (name, value) in changes {
            match fields.iter_mut().find(|(known, _)| known == name) {
                Some((_, old)) => *old = (*value).to_owned(),
                None => fields.push(((*name).to_owned(), (*value).to_owned())),
            }
        }
        let target = page.url.join(&form.action).expect("the action is a URL");
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        assert_eq!(form.method, "post", "{form:?}");
        self.request(Method::POST, target, Some(&page.url), Some(body)).await
    }

    /// The connect page and its button: the redirect to the provider, not yet followed.
    pub(crate) async fn accept_connect_page(&mut self, auth_url: &str) -> Page {
        let page = self.open(auth_url).await;
        assert_eq!(page.answer.status, 200, "{}: {}", page.url, page.text());
        let form = page
            .forms()
            .into_iter()
            .find(|form| form.method == "post")
            .unwrap_or_else(|| panic!("no form: {}", page.answer.text()));
        let started = self.submit(&page, &form, &[]).await;
        assert_eq!(started.answer.status, 303, "{}", started.text());
        started
    }

    /// From a redirect to the provider through its login and consent, up to the callback URL, which is not asked for.
    pub(crate) async fn consent_at_provider(&mut self, started: Page, login: &str) -> Url {
        let at_callback = |url: &Url| url.path().starts_with("/oauth/callback/");
        let mut page = self.follow(started, at_callback).await;
        for _ in 0..4 {
            if let Some(next) = page.location() {
                return next;
            }
            assert_eq!(page.answer.status, 200, "{}: {}", page.url, page.text());
            let form = page
                .forms()
                .into_iter()
                .next()
                .unwrap_or_else(|| panic!("no form at {}: {}", page.url, page.answer.text()));
            let changes: &[(&str, &str)] = if form.fields.iter().any(|(name, _)| name == "login") {
                &[("login", login), ("password", "any")]
            } else {
                &[]
            };
            let next = self.submit(&page, &form, changes).await;
            page = self.follow(next, at_callback).await;
        }
        panic!("the provider never came back: {:?}", self.visited);
    }

    /// From a redirect to the provider to its refusal: the person logs in and then presses Cancel.
    pub(crate) async fn deny_at_provider(&mut self, started: Page) -> Url {
        let at_callback = |url: &Url| url.path().starts_with("/oauth/callback/");
        let page = self.follow(started, at_callback).await;
        let abort =
            html::links(&page.answer.text()).into_iter().find(|link| link.contains("/abort")).expect("a way to cancel");
        let target = page.url.join(&abort).expect("a URL");
        let next = self.request(Method::GET, target, Some(&page.url), None).await;
        let page = self.follow(next, at_callback).await;
        page.location().expect("back to the callback")
    }

    /// The whole walk from a connect link to wherever it ends.
    pub(crate) async fn connect(&mut self, auth_url: &str, login: &str) -> Page {
        let started = self.accept_connect_page(auth_url).await;
        let callback = self.consent_at_provider(started, login).await;
        let provider = Url::parse("http://127.0.0.1/").expect("a URL");
        let answer = self.request(Method::GET, callback, Some(&provider), None).await;
        let inside = answer.url.origin();
        self.follow(answer, |next| next.origin() != inside).await
    }

    /// A POST of any type from a page, as scripts and other programs could send it.
    pub(crate) async fn raw_post(&mut self, url: Url, from: &Url, kind: &str, body: String) -> Page {
        self.headers.push(("content-type".into(), kind.into()));
        let page = self.request(Method::POST, url, Some(from), Some(body)).await;
        self.headers.pop();
        page
    }

    /// One request with cookies and the headers that a browser adds; no redirect is followed.
    pub(crate) async fn request(&mut self, method: Method, url: Url, from: Option<&Url>, form: Option<String>) -> Page {
        self.visited.push(url.clone());
        for (name, value) in url.query_pairs() {
            if matches!(name.as_ref(), "ticket" | "code" | "state") {
                canary::secret("a ticket, code or state", value);
            }
        }
        let host = url.host_str().expect("a host").to_owned();
        let mut request = self
            .client
            .request(method.clone(), url.clone())
            .header("accept", "text/html,application/xhtml+xml,*/*;q=0.8");
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let mut jar: Vec<_> = self
            .cookies
            .iter()
            .filter(|cookie| cookie.host == host && path_matches(&cookie.path, url.path()))
            .collect();
        jar.sort_by_key(|cookie| std::cmp::Reverse(cookie.path.len()));
        if !jar.is_empty() {
            let line: Vec<_> = jar.iter().map(|cookie| format!("{}={}", cookie.name, cookie.value)).collect();
            request = request.header(COOKIE, line.join("; "));
        }
        let site = match from {
            None => "none",
            Some(from) if from.origin() == url.origin() => "same-origin",
            Some(from) if from.host_str() == url.host_str() => "same-site",
            Some(_) => "cross-site",
        };
        request = request
            .header("sec-fetch-site", site)
            .header("sec-fetch-mode", "navigate")
            .header("sec-fetch-dest", "document");
        if let Some(from) = from {
            request = request.header(REFERER, format!("{}/", from.origin().ascii_serialization()));
            if method == Method::POST {
                request = request.header(ORIGIN, from.origin().ascii_serialization());
            }
        }
        if let Some(body) = form {
            if !self.headers.iter().any(|(name, _)| name == "content-type") {
                request = request.header("content-type", "application/x-www-form-urlencoded");
            }
            request = request.body(body);
        }
        let response = request.send().await.unwrap_or_else(|error| panic!("{method} {url}: {error:?}"));
        for header in response.headers().get_all(SET_COOKIE) {
            self.take_cookie(&url, &host, header.to_str().expect("a visible cookie"));
        }
        Page { answer: Answer::read(response).await, url }
    }

    fn take_cookie(&mut self, url: &Url, host: &str, header: &str) {
        let mut parts = header.split(';').map(str::trim);
        let (name, value) = parts.next().and_then(|pair| pair.split_once('=')).expect("name=value");
        let folder =
            url.path().rsplit_once('/').map_or("/", |(folder, _)| if folder.is_empty() { "/" } else { folder });
        let mut cookie =
            Cookie { host: host.to_owned(), path: folder.to_owned(), name: name.to_owned(), value: value.to_owned() };
        let mut gone = false;
        for attribute in parts {
            let (key, setting) = attribute.split_once('=').unwrap_or((attribute, ""));
            match key.to_ascii_lowercase().as_str() {
                "path" => cookie.path = setting.to_owned(),
                "max-age" => gone |= setting.parse::<i64>().is_ok_and(|seconds| seconds <= 0),
                "expires" => gone |= setting.contains(" 1970 "),
                "secure" => assert_eq!(url.scheme(), "https", "a browser drops a Secure cookie over http: {header}"),
                _ => {}
            }
        }
        self.cookies
            .retain(|known| (&known.host, &known.path, &known.name) != (&cookie.host, &cookie.path, &cookie.name));
        if !gone {
            if !url.path().starts_with("/interaction") && !url.path().starts_with("/auth") {
                canary::secret("a cookie of Valetkey's", value);
            }
            self.cookies.push(cookie);
        }
    }
}

fn path_matches(cookie: &str, path: &str) -> bool {
    path == cookie || path.strip_prefix(cookie).is_some_and(|rest| cookie.ends_with('/') || rest.starts_with('/'))
}
