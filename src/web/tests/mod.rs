//! The routes, asked as browsers and applications ask them: pages, cookies, forms, and each mistake's page (SECURITY S32 to
//! S42, S56 to S58).

use std::{collections::BTreeMap, sync::Arc};

use axum::{Router, body::Body, response::Response};
use http::{HeaderMap, Request, StatusCode, header};
use serde_json::{Value, json};
use tower::ServiceExt as _;
use url::Url;

use super::*;
use crate::{
    caller::testing::{JwksServer, SECRET, claims, sign_hmac},
    config::{Algorithm, Config},
    consent::testing::{Break, Rig, connection_id},
    events::{About, Surroundings},
    id::ConnectionId,
    outbound::{Outbound, OutboundOptions},
    trends::Trends,
    vault::Root,
};

mod api;
mod browsers;
mod dashboard;
mod limits;
mod manage;
mod month;
mod operators;
mod pages;
mod routes;
mod sessions;

const OWN: &str = "https://connect.example.com";

struct Fixed(Readily);

impl Health for Fixed {
    fn readiness(&self) -> Readiness {
        Readiness { status: self.0, detail: BTreeMap::from([("store", "away".to_owned())]) }
    }
}

/// Tells nobody anything.
struct Silence;

#[async_trait::async_trait]
impl Surroundings for Silence {
    async fn root(&self) -> Option<Arc<Root>> {
        None
    }

    async fn about(&self, _: &ConnectionId, _: &[String], _: Option<&str>) -> Option<About> {
        None
    }
}

struct Site {
    rig: Rig,
    router: Router,
}

/// An answer, read.
struct Got {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Got {
    fn location(&self) -> Url {
        Url::parse(OWN).unwrap().join(self.headers[header::LOCATION].to_str().unwrap()).unwrap()
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{} {}", self.status, self.body))
    }

    #[track_caller]
    fn refusal(&self, status: u16, code: &str) -> Value {
        assert_eq!(
            (self.status.as_u16(), self.headers[refusal::STATUS].to_str().unwrap()),
            (status, code),
            "{}",
            self.body
        );
        self.json()
    }

    /// The value of a hidden field of a form.
    fn field(&self, name: &str) -> String {
        let mark = format!("name=\"{name}\" value=\"");
        let (_, rest) = self.body.split_once(&mark).unwrap_or_else(|| panic!("no {name} in {}", self.body));
        rest.split_once('"').unwrap().0.to_owned()
    }

    #[track_caller]
    fn assert_page(&self, status: u16) {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        assert_eq!(self.headers[header::CONTENT_TYPE], "text/html; charset=utf-8");
        let policy = self.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        for rule in ["default-src 'none'", "style-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"] {
            assert!(policy.contains(rule), "{policy}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains("script-src"), "{policy}");
        assert_eq!(self.headers[header::CACHE_CONTROL], "no-store");
        assert_eq!(self.headers[header::REFERRER_POLICY], "no-referrer");
        assert_eq!(self.headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert!(self.headers.contains_key(refusal::REQUEST_ID));
        assert_eq!(self.headers.contains_key(refusal::STATUS), status >= 400, "whose refusal it is");
        for mark in ["<title>", "name=\"viewport\"", "<h1>", "<main>"] {
            assert!(self.body.contains(mark), "{mark} is not in {}", self.body);
        }
        // Neither markup of others (all names here hold some), nor any script or style inside.
        for bad in ["<script", " style=", " onclick=", "<Helpdesk>", "C<R>M"] {
            assert!(!self.body.contains(bad), "{bad} is in {}", self.body);
        }
    }
}

impl Site {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Config)) -> Self {
        Self::of(change, Readily::Ready, Roles { proxy: true, connect: true, admin: true })
    }

    fn of(change: impl FnOnce(&mut Config), readily: Readily, roles: Roles) -> Self {
        Self::over(Rig::with(change), readily, roles)
    }

    /// With these lines in services.
    fn writing(lines: &[(&str, String)], change: impl FnOnce(&mut Config)) -> Self {
        let all = Roles { proxy: true, connect: true, admin: true };
        Self::over(Rig::writing(lines, change), Readily::Ready, all)
    }

    fn over(rig: Rig, readily: Readily, roles: Roles) -> Self {
        let state = State::new(parts(&rig, readily));
        let router = router(Arc::new(state), roles, true);
        Self { rig, router }
    }

    async fn send(&self, request: Request<Body>) -> Got {
        let response: Response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        Got { status: parts.status, headers: parts.headers, body: String::from_utf8(bytes.to_vec()).unwrap() }
    }

    /// The API, as `user`.
    async fn api(&self, user: &str, method: &str, path: &str, body: Option<Value>) -> Got {
        let request = Request::builder().method(method).uri(path).header("valetkey-token", jwt(user));
        self.send(request.body(body.map_or(Body::empty(), |body| Body::from(body.to_string()))).unwrap()).await
    }

    async fn get(&self, path: &str) -> Got {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    async fn link(&self, user: &str) -> String {
        let answer = self.api(user, "POST", "/connect-links", Some(json!({"service": "crm"}))).await.json();
        answer["auth_url"].as_str().unwrap().to_owned()
    }

    /// All the way to a stored grant; what came back last.
    async fn connect(&self, browser: &mut Jar, link: &str) -> Got {
        let away = browser.go_on(self, link).await;
        assert_eq!(away.status, 303, "{}", away.body);
        browser.get(self, &callback_of(&away)).await
    }
}

/// What routes share, over a store in memory.
pub(crate) fn state() -> Arc<State> {
    Arc::new(State::new(parts(&Rig::with(|_| {}), Readily::Ready)))
}

fn jwt(user: &str) -> String {
    sign_hmac(SECRET.as_bytes(), Algorithm::HS256, &claims(user))
}

/// The callback that the provider would send a browser to.
fn callback_of(away: &Got) -> String {
    let state = away.location().query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
    format!("/oauth/callback/crm?code=the-code&state={state}&iss=https://crm.example")
}

/// A browser: keeps cookies, and says where its requests come from.
#[derive(Default, Clone)]
struct Jar(BTreeMap<String, String>);

impl Jar {
    async fn send(&mut self, site: &Site, mut request: Request<Body>) -> Got {
        let line: Vec<String> = self.0.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if !line.is_empty() {
            request.headers_mut().insert(header::COOKIE, line.join("; ").parse().unwrap());
        }
        let got = site.send(request).await;
        for cookie in got.headers.get_all(header::SET_COOKIE) {
            let text = cookie.to_str().unwrap();
            for attribute in ["; Path=/", "; HttpOnly", "; Secure", "; SameSite=Lax"] {
                assert!(text.contains(attribute), "{text}");
            }
            let (name, value) = text.split(';').next().unwrap().split_once('=').unwrap();
            assert!(name.starts_with("__Host-"), "{text}");
            if text.contains("Max-Age=0") {
                self.0.remove(name);
            } else {
                self.0.insert(name.to_owned(), value.to_owned());
            }
        }
        got
    }

    async fn get(&mut self, site: &Site, url: &str) -> Got {
        let path = url.strip_prefix(OWN).unwrap_or(url);
        self.send(site, Request::get(path).body(Body::empty()).unwrap()).await
    }

    async fn post(&mut self, site: &Site, path: &str, fields: &[(&str, &str)]) -> Got {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = Request::post(path)
            .header("origin", "null")
            .header("sec-fetch-site", "same-origin")
            .header("content-type", "application/x-www-form-urlencoded");
        self.send(site, request.body(Body::from(body)).unwrap()).await
    }

    /// Opens a dashboard link's page and presses its button.
    async fn come_in(&mut self, site: &Site, link: &str) -> Got {
        let page = self.get(site, link).await;
        page.assert_page(200);
        self.post(site, "/dashboard", &[("form", &page.field("form")), ("link", &page.field("link"))]).await
    }

    /// Opens the page and presses its button.
    async fn go_on(&mut self, site: &Site, link: &str) -> Got {
        let page = self.get(site, link).await;
        page.assert_page(200);
        self.post(site, "/connect/crm", &[("form", &page.field("form")), ("ticket", &page.field("ticket"))]).await
    }
}

fn parts(rig: &Rig, readily: Readily) -> Parts {
    let runtime = tokio::runtime::Handle::current();
    let outbound = Outbound::new(OutboundOptions::default(), runtime.clone()).unwrap();
    let store = Arc::clone(&rig.store);
    let failures = FailureLog::new(Arc::clone(&store), Arc::new(crate::vault::Vault::new(&rig.config.vault)));
    let contacts = Contacts::new(&[], 1, store, Arc::new(Silence), rig.clock.clone(), runtime.clone());
    Parts {
        contacts,
        failures,
        audit: crate::events::audit::AuditReader::new(
            Arc::clone(&rig.store),
            Arc::new(crate::vault::Vault::new(&rig.config.vault)),
        ),
        consent: Arc::clone(&rig.consent),
        connections: rig.connections.clone(),
        services: Arc::clone(&rig.services),
        callers: Arc::new(Callers::new(&rig.config.callers, 16, outbound.clone(), runtime).unwrap()),
        roots: rig.roots.clone(),
        trends: Trends::new(
            (rig.roots.clone(), Arc::clone(&rig.store)),
            Arc::clone(&rig.metrics),
            rig.clock.clone(),
            "a".into(),
        ),
        operators: crate::web::Operators::new(rig.roots.clone(), Arc::clone(&rig.store)),
        outbound,
        metrics: Arc::clone(&rig.metrics),
        health: Arc::new(Fixed(readily)),
        stop: tokio_util::sync::CancellationToken::new(),
        clock: rig.clock.clone(),
        request_ids: Arc::new(RequestIds::with_prefix(1)),
        settings: Settings {
            public_url: rig.config.public_url.clone(),
            application: rig.config.application.clone(),
            brand: rig.config.brand.clone(),
            confirm: rig.config.connect.confirm,
            return_to: rig.config.connect.return_to.clone(),
            session: rig.config.connect.session.clone(),
            admin: rig.config.admin.clone(),
            issuers: rig.config.callers.iter().map(|issuer| issuer.issuer.clone()).collect(),
        },
    }
}
