//! A whole installation: authorization server, resource API, store and Valetkey with a service `crm` and a service
//! `calendar`, both clients of the same authorization server.

use std::ops::Deref;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::authorization_server::{CLIENT_ID, CLIENT_SECRET};
use super::raw::{Raw, RawAnswer};
use super::redis::Redis;
use super::{Answer, AuthorizationServer, Browser, Config, Page, Valetkey, jwt, ports};

/// Which store an installation keeps its connections in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Store {
    /// A real Redis.
    Redis,
    /// The redb file.
    Embedded,
}

/// Everything, running.
pub(crate) struct Rig {
    // Dropped in this order: Valetkey's logs are searched for secrets while the list of issued tokens still exists.
    pub(crate) valetkey: Valetkey,
    pub(crate) config: Config,
    pub(crate) server: AuthorizationServer,
    pub(crate) redis: Option<Redis>,
    data: TempDir,
}

impl Rig {
    /// The standard installation.
    pub(crate) async fn start(store: Store) -> Self {
        Self::with(store, |config, _| config).await
    }

    /// What `ada`, on a connection of her own, is answered to a request whose line and further headers come as they are.
    pub(crate) async fn send_raw(&self, line: &str, headers: &str) -> RawAnswer {
        let mut raw = Raw::connect(&self.url).await;
        let token = jwt::of("ada");
        raw.send(format!("{line} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n{headers}\r\n")).await;
        let answer = if line.starts_with("HEAD") { raw.head_answer().await } else { raw.answer().await };
        answer.unwrap_or_else(|| panic!("no answer to {line} {headers}"))
    }

    /// The standard installation with changes to its configuration.
    pub(crate) async fn with(store: Store, change: impl FnOnce(Config, &AuthorizationServer) -> Config) -> Self {
        let mut rig = Self::prepare(store, change).await;
        rig.valetkey.run().await;
        rig.valetkey.ready().await;
        rig
    }

    /// As [`Rig::with`], but Valetkey is not started yet.
    pub(crate) async fn prepare(store: Store, change: impl FnOnce(Config, &AuthorizationServer) -> Config) -> Self {
        let redis = async {
            match store {
                Store::Redis => Some(Redis::start().await),
                Store::Embedded => None,
            }
        };
        let (server, redis) = tokio::join!(AuthorizationServer::start(), redis);
        let data = TempDir::new().expect("a folder");
        let config = Config::new(ports::free_port(), ports::free_port())
            .service("crm", "CRM", &["contacts"], &server)
            .service("calendar", "Calendar", &["calendar"], &server);
        let config = match &redis {
            Some(redis) => with_redis(config, redis),
            None => config.set("store.embedded.path", data.path().join("valetkey.redb").display().to_string()),
        };
        let config = change(config, &server);
        register(&server, &config).await;
        let valetkey = Valetkey::prepare(&config);
        Self { valetkey, config, server, redis, data }
    }

    /// Another Valetkey on the same store, keys and `public_url`.
    pub(crate) async fn replica(&self) -> Valetkey {
        Valetkey::start(&self.replica_config()).await
    }

    /// The configuration of another Valetkey on the same store, keys and `public_url`.
    pub(crate) fn replica_config(&self) -> Config {
        let address = || format!("127.0.0.1:{}", ports::free_port());
        self.config.clone().set("listeners.0.address", address()).set("listeners.1.address", address())
    }

    /// The link that a call of `service` by a user who is not connected is answered with.
    pub(crate) async fn link(&self, user: &str, service: &str) -> String {
        self.get(user, &format!("/proxy/{service}/whoami")).await.auth_required(service, "not_connected")
    }

    /// Connects `user` to `crm` with a browser of their own, through every page; the person at the provider has the
    /// same name.
    pub(crate) async fn connect(&self, user: &str) -> Page {
        self.connect_to(user, "crm").await
    }

    /// The same for any service.
    pub(crate) async fn connect_to(&self, user: &str, service: &str) -> Page {
        let link = self.link(user, service).await;
        self.walk(&link, user).await
    }

    /// The same for a named account.
    pub(crate) async fn connect_account(&self, user: &str, service: &str, account: &str, login: &str) -> Page {
        let path = format!("/proxy/{service}@{account}/whoami");
        let link = self.get(user, &path).await.auth_required(service, "not_connected");
        self.walk(&link, login).await
    }

    /// Walks a connect link with a new browser and asserts that it ended well.
    pub(crate) async fn walk(&self, link: &str, login: &str) -> Page {
        let page = Browser::new().connect(link, login).await;
        assert_eq!(page.answer.status, 200, "{}: {}", page.url, page.text());
        assert!(page.query("connected").is_some(), "{}", page.url);
        page
    }

    /// The connection of `user` to `service` as `GET /connections/{service}` tells it.
    pub(crate) async fn connection(&self, user: &str, service: &str) -> Value {
        self.get(user, &format!("/connections/{service}")).await.own()
    }

    /// The folder of the embedded store.
    pub(crate) fn data(&self) -> &std::path::Path {
        self.data.path()
    }
}

impl Deref for Rig {
    type Target = Valetkey;

    fn deref(&self) -> &Valetkey {
        &self.valetkey
    }
}

impl Answer {
    /// The JSON of a route of Valetkey's own that answered 200.
    #[track_caller]
    pub(crate) fn own(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text());
        self.json()
    }
}

/// The configuration with this Redis as its store.
pub(crate) fn with_redis(config: Config, redis: &Redis) -> Config {
    config
        .set("store.redis", json!({ "url": format!("redis://127.0.0.1:{}/0", redis.port), "password": redis.password }))
}

/// Registers the client of every service in the configuration.
pub(crate) async fn register(server: &AuthorizationServer, config: &Config) {
    let public_url = config.get("public_url").as_str().expect("a URL").to_owned();
    let services: Vec<_> = config.get("services").as_object().expect("a map").keys().map(String::as_str).collect();
    server.register(CLIENT_ID, CLIENT_SECRET, &public_url, &services, "client_secret_basic").await;
}

/// Valetkey with the embedded store and a service `crm` whose provider and upstream do not exist: for all that is
/// decided before either is asked.
pub(crate) struct Alone {
    pub(crate) valetkey: Valetkey,
    pub(crate) config: Config,
    _data: TempDir,
}

impl Alone {
    /// Starts it with changes to its configuration.
    pub(crate) async fn start(change: impl FnOnce(Config) -> Config) -> Self {
        let data = TempDir::new().expect("a folder");
        let config = Self::config(&data);
        let config = change(config);
        let valetkey = Valetkey::start(&config).await;
        Self { valetkey, config, _data: data }
    }

    /// Its configuration, with the store in `data`.
    pub(crate) fn config(data: &TempDir) -> Config {
        // Port 9 (discard) is closed on any machine that runs tests.
        let nowhere = "http://127.0.0.1:9";
        Config::new(ports::free_port(), ports::free_port())
            .set("store.embedded.path", data.path().join("valetkey.redb").display().to_string())
            .set(
                "services.crm",
                json!({
                    "title": "CRM",
                    "base_url": format!("{nowhere}/v1"),
                    "authorize_url": format!("{nowhere}/auth"),
                    "token_url": format!("{nowhere}/token"),
                    "client_id": CLIENT_ID,
                    "client_secret": CLIENT_SECRET,
                    "scopes": ["contacts"],
                }),
            )
    }
}

impl Deref for Alone {
    type Target = Valetkey;

    fn deref(&self) -> &Valetkey {
        &self.valetkey
    }
}
