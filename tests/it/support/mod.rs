//! The real parts that the tests start for themselves: servers, clients and the binary under test.
//!
//! Everything listens on loopback ports of its own, ends with the test, and is waited for by a signal or by polling
//! with a deadline, never by a fixed sleep.

pub(crate) mod answer;
pub(crate) mod authorization_server;
pub(crate) mod balancer;
pub(crate) mod browser;
pub(crate) mod canary;
pub(crate) mod chance;
pub(crate) mod clock;
pub(crate) mod cluster;
pub(crate) mod config;
pub(crate) mod html;
pub(crate) mod jwt;
pub(crate) mod load;
pub(crate) mod mount;
pub(crate) mod ports;
pub(crate) mod process;
pub(crate) mod prometheus;
pub(crate) mod raw;
pub(crate) mod receivers;
pub(crate) mod redis;
pub(crate) mod redis_groups;
pub(crate) mod reloads;
pub(crate) mod rig;
pub(crate) mod upstream;
pub(crate) mod valetkey;
pub(crate) mod vendor;
pub(crate) mod wait;

pub(crate) use answer::Answer;
pub(crate) use authorization_server::AuthorizationServer;
pub(crate) use browser::{Browser, Page};
pub(crate) use cluster::Cluster;
pub(crate) use config::Config;
pub(crate) use mount::Mount;
pub(crate) use rig::{Alone, Rig, Store};
pub(crate) use upstream::{Script, Upstream};
pub(crate) use valetkey::Valetkey;
pub(crate) use vendor::Vendor;

/// Declares each fact twice: on Redis and on the embedded store.
macro_rules! on_both_stores {
    ($($(#[$meta:meta])* async fn $name:ident($store:ident) $body:block)*) => {$(
        $(#[$meta])*
        mod $name {
            use super::*;

            async fn fact($store: Store) $body

            #[tokio::test]
            async fn on_redis() {
                fact(Store::Redis).await;
            }

            #[tokio::test]
            async fn on_the_embedded_store() {
                fact(Store::Embedded).await;
            }
        }
    )*};
}
pub(crate) use on_both_stores;
