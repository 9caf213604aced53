//! Attempts to connect by the thousand: a token endpoint that answers as the code says, and people whose browsers send plain
//! HTTP. What they send goes to whichever replica is named, as behind a balancer; the provider's pages are left out, for its
//! answer is a redirect that anybody can write down.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::routing::post;
use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use url::Url;

use super::authorization_server::{CLIENT_ID, CLIENT_SECRET, http};
use super::{Config, canary, html, jwt};

/// What a person ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The grant is stored.
    Completed,
    /// They say no.
    Denied,
    /// They say yes, and the token endpoint refuses the code.
    Refused,
    /// They look at the page and go away.
    Looked,
    /// They go to the provider and stay there.
    Left,
}

/// A token endpoint: `good` codes get tokens, others `invalid_grant`. And whatever is posted to `/chat` is kept.
pub(crate) struct TokenEndpoint {
    pub(crate) url: String,
    chat: Arc<std::sync::Mutex<Vec<Value>>>,
    serving: JoinHandle<()>,
}

impl TokenEndpoint {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (issued, chat) = (Arc::new(AtomicU64::new(0)), Arc::<std::sync::Mutex<Vec<Value>>>::default());
        let said = Arc::clone(&chat);
        let token = move |body: String| {
            let number = issued.fetch_add(1, Ordering::Relaxed);
            async move {
                let good = url::form_urlencoded::parse(body.as_bytes())
                    .any(|(name, value)| name == "code" && value.starts_with("good"));
                let (status, answer) = if good {
                    let token = canary::secret("an access token", format!("access-token-of-attempt-{number}"));
                    (200, json!({ "access_token": token, "token_type": "Bearer", "expires_in": 3600 }))
                } else {
                    (400, json!({ "error": "invalid_grant" }))
                };
                let status = http::StatusCode::from_u16(status).expect("a status");
                (status, [("content-type", "application/json")], answer.to_string())
            }
        };
        let chat_post = move |body: String| {
            said.lock().expect("no panic in here").push(serde_json::from_str(&body).expect("JSON"));
            async { "ok" }
        };
        let router = Router::new().route("/token", post(token)).route("/chat", post(chat_post));
        let serving = tokio::spawn(async move { drop(axum::serve(listener, router).await) });
        Self { url, chat, serving }
    }

    /// What was said in the chat.
    pub(crate) fn chat(&self) -> Vec<Value> {
        self.chat.lock().expect("no panic in here").clone()
    }

    /// A configuration whose service `crm` has this endpoint.
    pub(crate) fn service(&self, config: Config) -> Config {
        config.set(
            "services.crm",
            json!({
                "title": "CRM",
                "base_url": format!("{}/api", self.url),
                "authorize_url": format!("{}/authorize", self.url),
                "token_url": format!("{}/token", self.url),
                "client_id": CLIENT_ID,
                "client_secret": CLIENT_SECRET,
                "scopes": ["contacts"],
            }),
        )
    }
}

impl Drop for TokenEndpoint {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// What came of one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step<T> {
    /// It was answered as it should be.
    Done(T),
    /// It was answered otherwise: this status.
    Other(u16),
    /// Nobody answered, or asked to come again.
    Again,
}

/// A person, their browser and their link.
pub(crate) struct Person {
    client: reqwest::Client,
    user: String,
    cookie: String,
}

impl Person {
    pub(crate) fn new(client: &reqwest::Client, user: &str) -> Self {
        Self { client: client.clone(), user: user.to_owned(), cookie: String::new() }
    }

    /// Asks this replica for a connect link: its path and query.
    pub(crate) async fn offered(&self, replica: &str) -> Step<String> {
        let request = self.client.post(format!("{replica}/connect-links")).bearer_auth(jwt::of(&self.user));
        let request = request.header("content-type", "application/json").body(r#"{"service":"crm"}"#);
        match sent(request).await {
            Ok((200, _, body)) => {
                let answer: Value = serde_json::from_str(&body).expect("JSON");
                let url = Url::parse(answer["auth_url"].as_str().expect("a link")).expect("a URL");
                Step::Done(format!("{}?{}", url.path(), url.query().unwrap_or_default()))
            }
            other => otherwise(&other),
        }
    }

    /// Opens the link's page: what its form holds.
    pub(crate) async fn opened(&mut self, replica: &str, link: &str) -> Step<String> {
        match self.browse(self.client.get(format!("{replica}{link}"))).await {
            Ok((200, _, body)) => {
                let form = html::forms(&body).into_iter().find(|form| form.method == "post").expect("a form");
                Step::Done(url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form.fields).finish())
            }
            other => otherwise(&other),
        }
    }

    /// Presses its button: the `state`.
    pub(crate) async fn initiated(&mut self, replica: &str, form: &str) -> Step<String> {
        let request = self.client.post(format!("{replica}/connect/crm")).header("sec-fetch-site", "same-origin");
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(form.to_owned());
        match self.browse(request).await {
            Ok((303, Some(location), _)) => {
                let url = Url::parse(&location).expect("a URL");
                let state = url.query_pairs().find(|(name, _)| name == "state").expect("a state").1.into_owned();
                Step::Done(canary::secret("a state", state))
            }
            other => otherwise(&other),
        }
    }

    /// Comes back from the provider with this answer (`code=…` or `error=…`): the status of the page.
    pub(crate) async fn back(&mut self, replica: &str, state: &str, with: &str) -> Step<u16> {
        let request = self.client.get(format!("{replica}/oauth/callback/crm?{with}&state={state}"));
        match self.browse(request).await {
            Ok((status, ..)) if status != 503 => Step::Done(status),
            other => otherwise(&other),
        }
    }

    async fn browse(&mut self, request: reqwest::RequestBuilder) -> Sent {
        let agent = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
        let request = request.header("accept", "text/html").header("user-agent", agent);
        let response = request.header(COOKIE, &self.cookie).send().await.map_err(drop)?;
        for cookie in response.headers().get_all(SET_COOKIE) {
            let pair = cookie.to_str().expect("visible").split(';').next().expect("a pair");
            // One of them is the browser's; the session that comes at the end is not needed.
            if self.cookie.is_empty() || pair.split('=').next() == self.cookie.split('=').next() {
                pair.clone_into(&mut self.cookie);
                canary::secret("a cookie of Valetkey's", pair.split_once('=').expect("a value").1);
            }
        }
        read(response).await
    }

    /// The whole of an attempt at this replica, from a link of its own.
    pub(crate) async fn walk(&mut self, replica: &str, end: End) {
        let Step::Done(link) = self.offered(replica).await else { panic!("no link") };
        let Step::Done(form) = self.opened(replica, &link).await else { panic!("no page") };
        if end == End::Looked {
            return;
        }
        let Step::Done(state) = self.initiated(replica, &form).await else { panic!("not sent off") };
        if end != End::Left {
            let Step::Done(status) = self.back(replica, &state, end.answer()).await else { panic!("no way back") };
            assert_eq!(status, end.status(), "{end:?}");
        }
    }
}

impl End {
    /// What the provider says.
    pub(crate) const fn answer(self) -> &'static str {
        match self {
            Self::Completed => "code=good-code-of-the-tests",
            Self::Denied => "error=access_denied",
            Self::Refused | Self::Looked | Self::Left => "code=bad-code-of-the-tests",
        }
    }

    /// What the callback answers then.
    pub(crate) const fn status(self) -> u16 {
        match self {
            Self::Completed => 303,
            Self::Denied => 200,
            Self::Refused | Self::Looked | Self::Left => 502,
        }
    }
}

type Sent = Result<(u16, Option<String>, String), ()>;

async fn sent(request: reqwest::RequestBuilder) -> Sent {
    read(request.send().await.map_err(drop)?).await
}

async fn read(response: reqwest::Response) -> Sent {
    let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let status = response.status().as_u16();
    Ok((status, location, response.text().await.map_err(drop)?))
}

fn otherwise<T>(sent: &Sent) -> Step<T> {
    match sent {
        Ok((status, ..)) if *status != 503 => Step::Other(*status),
        Ok(_) | Err(()) => Step::Again,
    }
}

/// A client for many people.
pub(crate) fn client() -> reqwest::Client {
    http()
}
