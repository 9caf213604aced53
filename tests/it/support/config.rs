//! The configuration that Valetkey is started with. It is written as JSON, which is YAML too; tests that are about the
//! file itself (line numbers, hints) write their own text.

use serde_json::{Map, Value, json};

use super::authorization_server::{CLIENT_ID, CLIENT_SECRET};
use super::{AuthorizationServer, canary, jwt};

/// The admin token of the tests.
pub(crate) const ADMIN_TOKEN: &str = "admin-token-of-the-tests-0123456789";
/// A vault key: base64 of 32 bytes.
pub(crate) const VAULT_KEY: &str = "dGhlIHRlc3RzJyBvd24gMzItYnl0ZSB2YXVsdCBrZXk=";

/// A configuration under construction.
#[derive(Debug, Clone)]
pub(crate) struct Config(Value);

impl Config {
    /// One caller issuer (HS256), no service, no store.
    pub(crate) fn new(port: u16, admin_port: u16) -> Self {
        canary::secret("the admin token", ADMIN_TOKEN);
        canary::secret("the vault key", VAULT_KEY);
        Self(json!({
            "public_url": format!("http://127.0.0.1:{port}"),
            "application": { "name": "Acme Helpdesk" },
            "listeners": [
                { "address": format!("127.0.0.1:{port}"), "serves": ["proxy", "connect"] },
                { "address": format!("127.0.0.1:{admin_port}"), "serves": ["admin"] },
            ],
            "admin": { "token": ADMIN_TOKEN },
            "callers": [{ "issuer": jwt::ISSUER, "audience": jwt::AUDIENCE, "secret": jwt::SECRET, "algorithms": ["HS256"] }],
            "connect": { "return_to": ["https://app.example.com/"] },
            "shutdown": { "delay": "0s", "grace": "10s" },
            "vault": { "keys": [{ "id": "tests", "key": VAULT_KEY }] },
            "services": {},
        }))
    }

    /// Sets the value at a dotted path; numbers index lists, missing maps are made.
    #[must_use]
    pub(crate) fn set(mut self, path: &str, value: impl Into<Value>) -> Self {
        let mut at = &mut self.0;
        for part in path.split('.') {
            at = match at {
                Value::Array(list) => list.get_mut(part.parse::<usize>().expect("an index")).expect("it is there"),
                other => {
                    if !other.is_object() {
                        *other = Value::Object(Map::new());
                    }
                    other.as_object_mut().expect("just made").entry(part).or_insert(Value::Null)
                }
            };
        }
        *at = value.into();
        self
    }

    /// Removes what is at a dotted path.
    #[must_use]
    pub(crate) fn without(mut self, path: &str) -> Self {
        let (parent, last) = path
            .rsplit_once('.')
            .map_or((String::new(), path), |(parent, last)| (format!("/{}", parent.replace('.', "/")), last));
        self.0.pointer_mut(&parent).and_then(Value::as_object_mut).expect("a map").remove(last).expect("it was there");
        self
    }

    /// What is at a dotted path.
    pub(crate) fn get(&self, path: &str) -> &Value {
        self.0.pointer(&format!("/{}", path.replace('.', "/"))).unwrap_or(&Value::Null)
    }

    /// Adds a service of the authorization server's and its resource API, e.g. `crm` with `["contacts"]`.
    #[must_use]
    pub(crate) fn service(self, name: &str, title: &str, scopes: &[&str], server: &AuthorizationServer) -> Self {
        let issuer = &server.issuer;
        self.set(
            &format!("services.{name}"),
            json!({
                "title": title,
                "base_url": server.resource,
                "authorize_url": format!("{issuer}/auth"),
                "token_url": format!("{issuer}/token"),
                "revoke_url": format!("{issuer}/token/revocation"),
                "issuer": issuer,
                "client_id": CLIENT_ID,
                "client_secret": CLIENT_SECRET,
                "scopes": scopes,
            }),
        )
    }

    /// The file's text.
    pub(crate) fn text(&self) -> String {
        serde_json::to_string_pretty(&self.0).expect("JSON")
    }
}
