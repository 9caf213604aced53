//! npm's oidc-provider in a process of its own, with the resource API and a control API (tests/node).

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::process::Process;
use super::{canary, wait};

/// The client that services are configured with unless a test says otherwise.
pub(crate) const CLIENT_ID: &str = "crm-client";
/// Its secret; with characters that must be form-encoded in `client_secret_basic`.
pub(crate) const CLIENT_SECRET: &str = "s3cret:+%/of the crm client";

/// A running authorization server.
pub(crate) struct AuthorizationServer {
    /// Its issuer identifier, also the base of its endpoints.
    pub(crate) issuer: String,
    /// The base URL of the resource API.
    pub(crate) resource: String,
    control: String,
    process: Process,
    folder: TempDir,
}

impl AuthorizationServer {
    /// Starts one with no client.
    pub(crate) async fn start() -> Self {
        let folder = TempDir::new().expect("a folder");
        let issued = folder.path().join("issued");
        canary::file(&issued);
        canary::secret("the client's secret", CLIENT_SECRET);
        let mut command = Command::new("node");
        let node = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/node");
        assert!(
            node.join("node_modules").is_dir(),
            "tests/node has no node_modules: run `npm ci` there, or `make test`"
        );
        command
            .arg(node.join("authorization-server.mjs"))
            .arg(json!({ "issued_file": issued }).to_string())
            .stdin(Stdio::piped());
        let mut process = Process::start("authorization-server", command, folder.path());
        let ready: Value = wait::until("the authorization server is ready", || {
            assert!(process.ended().is_none(), "the authorization server ended: {}", process.output());
            let line = process.stdout();
            async move { line.ends_with('\n').then(|| serde_json::from_str(&line).expect("one line of JSON")) }
        })
        .await;
        let text = |name: &str| ready[name].as_str().expect("a URL").to_owned();
        Self { issuer: text("issuer"), resource: text("resource"), control: text("control"), process, folder }
    }

    /// Registers a client that may come back to `{public_url}/oauth/callback/{service}` for each service.
    pub(crate) async fn register(
        &self,
        client_id: &str,
        secret: &str,
        public_url: &str,
        services: &[&str],
        auth_method: &str,
    ) {
        let redirect_uris: Vec<_> =
            services.iter().map(|service| format!("{public_url}/oauth/callback/{service}")).collect();
        self.control("POST", "/clients", json!({
            "client_id": client_id, "client_secret": secret, "redirect_uris": redirect_uris, "auth_method": auth_method,
        }))
        .await;
    }

    /// Where the control API is, for scripts.
    pub(crate) fn control_url(&self) -> &str {
        &self.control
    }

    /// One call of the control API.
    pub(crate) async fn control(&self, method: &str, path: &str, body: Value) -> Value {
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
        let mut request = http().request(method.clone(), format!("{}{path}", self.control));
        if method != reqwest::Method::GET {
            request = request.body(body.to_string());
        }
        let answer = super::Answer::read(request.send().await.expect("the control API answers")).await;
        assert_eq!(answer.status, 200, "{method} {path} {body}: {}", answer.text());
        answer.json()
    }

    /// The counters.
    pub(crate) async fn state(&self) -> Value {
        self.control("GET", "/state", Value::Null).await
    }

    /// One counter.
    pub(crate) async fn count(&self, name: &str) -> u64 {
        let state = self.state().await;
        state[name].as_u64().unwrap_or_else(|| panic!("no counter {name}: {state}"))
    }

    /// How often the token endpoint was asked with this grant type, answered or not.
    pub(crate) async fn token_requests(&self, grant: &str) -> u64 {
        self.state().await["token_requests"][grant].as_u64().unwrap_or(0)
    }

    /// Every token request so far, and when it was received, rotated a token, was answered or cut off.
    pub(crate) async fn token_log(&self) -> Vec<Value> {
        self.control("GET", "/token-log", Value::Null).await.as_array().expect("a list").clone()
    }

    /// Its token endpoint under a name of its own, for faults and log entries of one service or replica.
    pub(crate) fn token_url(&self, via: &str) -> String {
        format!("{}/token?via={via}", self.issuer)
    }

    /// Sets how long access tokens live from now on, in seconds.
    pub(crate) async fn access_token_ttl(&self, seconds: u64) {
        self.set(json!({ "access_token_ttl": seconds })).await;
    }

    /// Changes settings of control.mjs.
    pub(crate) async fn set(&self, settings: Value) {
        self.control("POST", "/settings", settings).await;
    }

    /// Injects a fault at the token endpoint (faults.mjs says what one may hold).
    pub(crate) async fn fault(&self, fault: Value) {
        self.control("POST", "/faults", fault).await;
    }

    /// The token endpoint works again, and whatever was held goes on.
    pub(crate) async fn heal(&self) {
        self.control("DELETE", "/faults", Value::Null).await;
    }

    /// Waits until `count` calls are held at the token endpoint.
    pub(crate) async fn held(&self, count: u64) {
        wait::until("the token endpoint holds the calls", || async {
            (self.count("held").await >= count).then_some(())
        })
        .await;
    }

    /// Lets held calls go on.
    pub(crate) async fn release(&self) {
        self.control("POST", "/release", Value::Null).await;
    }

    /// Ends `access` tokens, `refresh` tokens or the whole `grant` of a user, as the provider's own settings page would.
    pub(crate) async fn revoke(&self, what: &str, user: &str) {
        let answer = self.control("POST", "/revoke", json!({ "what": what, "user": user })).await;
        assert!(answer["revoked"].as_u64().is_some_and(|count| count > 0), "nothing to revoke: {answer}");
    }

    /// The live access tokens of a user.
    pub(crate) async fn access_tokens(&self, user: &str) -> Vec<String> {
        self.tokens("access", user).await
    }

    /// The live refresh tokens of a user.
    pub(crate) async fn refresh_tokens(&self, user: &str) -> Vec<String> {
        self.tokens("refresh", user).await
    }

    async fn tokens(&self, kind: &str, user: &str) -> Vec<String> {
        let all = self.control("GET", "/tokens", Value::Null).await;
        let of_user = all[kind].as_array().expect("a list").iter().filter(|token| token["user"] == user);
        of_user.map(|token| token["token"].as_str().expect("a token").to_owned()).collect()
    }

    /// Issues tokens as if `user` had consented, without a browser: access and refresh token.
    pub(crate) async fn mint(&self, client_id: &str, user: &str, scope: &str) -> (String, String) {
        let body = json!({ "client_id": client_id, "user": user, "scope": scope });
        let minted = self.control("POST", "/mint", body).await;
        let text = |name: &str| minted[name].as_str().expect("a token").to_owned();
        (text("access_token"), text("refresh_token"))
    }

    /// What oidc-provider itself reported as its own failures.
    pub(crate) async fn assert_sound(&self) {
        let state = self.state().await;
        assert_eq!(state["server_errors"], json!([]), "{}", self.process.output());
        assert_eq!(state["code_verifiers_missing"], 0);
        assert!(self.folder.path().exists());
    }
}

/// The tests' HTTP client: no redirects, no proxy from the environment.
#[expect(clippy::disallowed_methods, reason = "a client of Valetkey's, not one of its own")]
pub(crate) fn http() -> reqwest::Client {
    static CLIENT: OnceLock<()> = OnceLock::new();
    CLIENT.get_or_init(|| drop(rustls::crypto::ring::default_provider().install_default()));
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .tls_built_in_root_certs(false)
        .timeout(wait::DEADLINE * 2)
        .build()
        .expect("a client")
}
