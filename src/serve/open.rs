//! Opens the configured store.

use std::sync::Arc;

use crate::{
    config::{self, RedisTopology},
    secret::Secret,
    store::{
        EmbeddedStore, RedisStore, Store, embedded,
        redis::{self, RedisOptions, TlsOptions, Topology},
    },
};

use super::runtimes::Handles;

/// The store can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The embedded file.
    #[error("store.embedded: {0}")]
    Embedded(#[from] embedded::OpenError),
    /// What is said of Redis.
    #[error("store.redis: {0}")]
    Redis(#[from] redis::OptionsError),
}

/// The store. A Redis that is away is no error: it is reached when it is back.
///
/// # Errors
/// Where the file can't be used, or the options can't be meant.
pub fn store(config: &config::Store, on: &Handles) -> Result<Arc<dyn Store>, OpenError> {
    Ok(match config {
        config::Store::Embedded { path } => Arc::new(EmbeddedStore::open(path)?),
        config::Store::Redis(redis) => Arc::new(RedisStore::connect(&options(redis), &on.calls, &on.background)?),
    })
}

fn options(redis: &config::Redis) -> RedisOptions {
    let mut options = RedisOptions::standalone(redis.url.as_str());
    options.password.clone_from(&redis.password);
    options.prefix.clone_from(&redis.prefix);
    let bytes = |text: &String| text.clone().into_bytes();
    options.tls = TlsOptions {
        ca_pem: redis.tls.ca.as_ref().map(bytes),
        cert_pem: redis.tls.certificate.as_ref().map(bytes),
        key_pem: redis.tls.key.as_ref().map(|key| Secret::new(bytes(key.expose()))),
    };
    options.topology = match &redis.topology {
        RedisTopology::Standalone => Topology::Standalone,
        RedisTopology::Sentinel { master, addresses } => {
            Topology::Sentinel { master: master.clone(), addresses: addresses.clone(), username: None, password: None }
        }
        RedisTopology::Cluster { addresses } => Topology::Cluster { addresses: addresses.clone() },
    };
    options
}
