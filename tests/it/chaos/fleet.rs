//! Several replicas of one installation, and the people who call through them.

use futures_util::future::join_all;
use serde_json::json;

use crate::support::load::{Load, lasting_jwt};
use crate::support::{Answer, Config, Rig, Store, Valetkey, wait};

/// `name-0`, `name-1` …
pub(super) fn people(name: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{name}-{number}")).collect()
}

/// One installation of several replicas, each of which has a name of its own at the token endpoint.
pub(super) struct Fleet {
    pub(super) rig: Rig,
    others: Vec<Valetkey>,
}

impl Fleet {
    pub(super) async fn start(store: Store, replicas: usize, change: impl FnOnce(Config) -> Config) -> Self {
        let rig = Rig::with(store, |config, server| {
            change(config.set("services.crm.token_url", server.token_url("0")).set("refresh.timeout", "3s"))
        })
        .await;
        let mut others = Vec::new();
        for number in 1..replicas {
            let name = rig.server.token_url(&number.to_string());
            others.push(Valetkey::start(&rig.replica_config().set("services.crm.token_url", name)).await);
        }
        Self { rig, others }
    }

    pub(super) fn all(&self) -> Vec<&Valetkey> {
        std::iter::once(&self.rig.valetkey).chain(&self.others).collect()
    }

    pub(super) fn urls(&self) -> Vec<String> {
        self.all().iter().map(|valetkey| valetkey.url.clone()).collect()
    }

    pub(super) fn get_mut(&mut self, number: usize) -> &mut Valetkey {
        if number == 0 { &mut self.rig.valetkey } else { &mut self.others[number - 1] }
    }

    pub(super) async fn connect(&self, users: &[String]) {
        for some in users.chunks(4) {
            join_all(some.iter().map(|user| self.rig.connect(user))).await;
        }
        for user in users {
            for valetkey in self.all() {
                assert_eq!(call(valetkey, user).await.status, 200);
            }
        }
    }

    /// Connects people whose tokens live long, and then lets all later tokens live for two seconds.
    pub(super) async fn steady(&self, users: &[String]) {
        self.connect(users).await;
        self.rig.server.access_token_ttl(2).await;
    }

    /// Everybody is served everywhere, within the deadline.
    pub(super) async fn all_well(&self, users: &[String]) {
        for user in users {
            for valetkey in self.all() {
                wait::until("everybody is served again", || async {
                    let answer = call(valetkey, user).await;
                    assert_ne!(answer.header("valetkey-status"), Some("auth_required"), "{user}: {}", answer.text());
                    (answer.status == 200).then_some(())
                })
                .await;
            }
        }
    }

    /// Nothing was lost, and no refresh token was sent twice.
    pub(super) async fn assert_nothing_lost(&self, loads: &[&Load]) {
        for load in loads {
            assert!(load.asked().is_empty(), "{:?}", load.asked());
        }
        let state = self.rig.server.state().await;
        assert_eq!((&state["reuse_detected"], &state["grants_revoked"]), (&json!(0), &json!(0)), "{state}");
        self.rig.server.assert_sound().await;
    }

    /// Waits until every replica has heard that this user connected again.
    pub(super) async fn all_know(&self, user: &str) {
        for valetkey in self.all() {
            wait::until("every replica serves them again", || async {
                (call(valetkey, user).await.status == 200).then_some(())
            })
            .await;
        }
    }
}

pub(super) async fn call(valetkey: &Valetkey, user: &str) -> Answer {
    let request = valetkey.anonymous(reqwest::Method::GET, "/proxy/crm/whoami");
    valetkey.send(request.bearer_auth(lasting_jwt(user))).await
}
