//! The client against scripted answers: every odd form, every failure, and what the requests look like.

mod answers;
mod authorization;
mod failures;
mod identities;
mod requests;
mod revocation;
mod words;

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use http::{Request, Response, StatusCode, header};
use parking_lot::Mutex;
use proptest::prelude::*;
use serde_json::{Value, json};
use url::Url;

use super::*;
use crate::provider::{OAuth, testing::service};

/// Answers in turn and keeps what it was asked.
#[derive(Default)]
struct Script {
    answers: Mutex<VecDeque<Result<Response<Vec<u8>>, TransportError>>>,
    requests: Mutex<Vec<Request<Vec<u8>>>>,
}

#[async_trait]
impl Transport for Script {
    async fn call(&self, request: Request<Vec<u8>>, _: bool) -> Result<Response<Vec<u8>>, TransportError> {
        self.requests.lock().push(request);
        self.answers.lock().pop_front().expect("an answer for every request")
    }
}

fn scripted(answer: Result<Response<Vec<u8>>, TransportError>) -> (Client, Arc<Script>) {
    let script = Arc::new(Script::default());
    script.answers.lock().push_back(answer);
    (Client::new(script.clone()), script)
}

fn response(status: u16, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Response<Vec<u8>> {
    let mut builder = Response::builder().status(status);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(body.into()).unwrap()
}

const JSON: &[(&str, &str)] = &[("content-type", "application/json")];
const FORM: &[(&str, &str)] = &[("content-type", "application/x-www-form-urlencoded")];
const HTML: &[(&str, &str)] = &[("content-type", "text/html")];

fn crm(more: Value) -> Arc<OAuth> {
    let mut fields = json!({
        "base_url": "https://crm.example/api", "client_id": "crm client", "client_secret": "a:b+c%d/e",
        "authorize_url": "https://crm.example/authorize?tenant=1", "token_url": "https://crm.example/token",
        "revoke_url": "https://crm.example/revoke", "scopes": ["contacts"], "issuer": "https://crm.example",
    });
    fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    service("crm", fields).oauth.unwrap()
}

fn of(provider: &str) -> Arc<OAuth> {
    service(provider, json!({"client_id": "id", "client_secret": "secret"})).oauth.unwrap()
}

fn callback() -> Url {
    Url::parse("https://connect.example.com/oauth/callback/crm").unwrap()
}

async fn refreshed(oauth: &OAuth, answer: Response<Vec<u8>>) -> Result<Grant, TokenError> {
    scripted(Ok(answer)).0.refresh(oauth, &"old".into(), &callback()).await
}

fn kind(result: Result<Grant, TokenError>) -> Kind {
    result.map(|grant| format!("{:?}", grant.expires_in)).unwrap_err().kind
}

fn form(request: &Request<Vec<u8>>) -> BTreeMap<String, String> {
    url::form_urlencoded::parse(request.body()).into_owned().collect()
}

proptest! {
    #[test]
    fn no_answer_panics_or_ends_a_grant_by_chance(
        status in 100_u16..600,
        content_type in "(application/json|text/html|application/x-www-form-urlencoded|[ -~]{0,20})",
        noise in proptest::collection::vec(any::<u8>(), 0..200),
        json in r#"\{("(access_token|error|scope|expires_in|ok|authed_user)":("[a-z_]{0,6}"|-?[0-9]{0,30}|true|null|\{\}|\[\]),?){0,4}\}?"#,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for body in [noise, json.into_bytes()] {
            let mut answer = response(200, &[], body);
            *answer.status_mut() = StatusCode::from_u16(status).unwrap();
            let value = http::HeaderValue::from_str(content_type.trim()).unwrap();
            answer.headers_mut().insert(header::CONTENT_TYPE, value);
            for oauth in [of("slack"), of("github"), of("gmail")] {
                let result = runtime.block_on(refreshed(&oauth, answer.clone()));
                if let Err(error) = result {
                    let ended = matches!(error.kind, Kind::InvalidGrant { .. });
                    prop_assert!(!ended, "{error}");
                }
            }
        }
    }
}
