//! Two versions on one store. What the version before wrote is kept in `fixtures/store`, as that version's binary left it: this
//! one reads every record of it, serves calls from it, renews and writes. The other way round, what this one writes is read by
//! the version before where `VALETKEY_BEFORE` names its binary; without that, by this one.
//!
//! `fixtures/store/README.md` says how the kept files are made anew.

mod provider;
mod reading;
mod writing;

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::redis::Redis;
use crate::support::valetkey::before;
use crate::support::{Config, Store, on_both_stores, ports, reloads, rig};
use provider::Provider;
use reading::read;
use writing::write;

/// The binary under test.
const PRESENT: &str = env!("CARGO_BIN_EXE_valetkey");

/// The people of the store, and what each has.
mod people {
    /// A token that lives long.
    pub(super) const ADA: &str = "ada";
    /// A token that has expired when it is read.
    pub(super) const BOB: &str = "bob";
    /// An API key.
    pub(super) const CYD: &str = "cyd";
    /// A grant that waits for the application's word.
    pub(super) const DAN: &str = "dan";
    /// Disconnected, while the provider could not be asked to revoke.
    pub(super) const EVE: &str = "eve";
    /// Under another label than at first.
    pub(super) const FAY: &str = "fay";
    /// A grant that the provider refused to renew.
    pub(super) const GUS: &str = "gus";
    /// A renewal that its process didn't survive.
    pub(super) const HAL: &str = "hal";
    /// A connect link that nobody has opened.
    pub(super) const IVY: &str = "ivy";
    /// On the way through the provider's pages.
    pub(super) const JON: &str = "jon";
}

/// What one version left.
struct Left {
    /// What is known of it: when it was, links and codes that were given out.
    facts: Value,
    /// The file of the store: Redis's dump, or the embedded one.
    file: Vec<u8>,
}

impl Left {
    fn folder() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/fixtures/store")
    }

    fn names(store: Store) -> [&'static str; 2] {
        match store {
            Store::Redis => ["redis.json", "redis.rdb.gz"],
            Store::Embedded => ["embedded.json", "embedded.redb.gz"],
        }
    }

    fn kept(store: Store) -> Self {
        let [facts, file] =
            Self::names(store).map(|name| std::fs::read(Self::folder().join(name)).expect("it is kept"));
        let mut plain = Vec::new();
        GzDecoder::new(&*file).read_to_end(&mut plain).expect("gzip");
        Self { facts: serde_json::from_slice(&facts).expect("JSON"), file: plain }
    }

    fn keep(&self, store: Store) {
        let [facts, file] = Self::names(store).map(|name| Self::folder().join(name));
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&self.file).expect("written");
        std::fs::write(file, encoder.finish().expect("gzip")).expect("written");
        let text = serde_json::to_string_pretty(&self.facts).expect("JSON");
        std::fs::write(facts, format!("{text}\n")).expect("written");
    }
}

/// Where a version runs: a store with what is in it, and a provider.
struct Place {
    redis: Option<Redis>,
    folder: TempDir,
    provider: Provider,
}

impl Place {
    /// With what another version left, where there is something.
    async fn new(store: Store, left: Option<&Left>) -> Self {
        let folder = TempDir::new().expect("a folder");
        let redis = match store {
            Store::Redis => {
                let mut redis = Redis::reserved();
                if let Some(left) = left {
                    std::fs::write(redis.dump_file(), &left.file).expect("written");
                }
                redis.run().await;
                Some(redis)
            }
            Store::Embedded => {
                if let Some(left) = left {
                    std::fs::write(folder.path().join("valetkey.redb"), &left.file).expect("written");
                }
                None
            }
        };
        Self { redis, folder, provider: Provider::start().await }
    }

    /// The file of the embedded store.
    fn embedded(&self) -> PathBuf {
        self.folder.path().join("valetkey.redb")
    }

    fn config(&self) -> Config {
        let url = self.provider.url();
        let config = Config::new(ports::free_port(), ports::free_port())
            .set("connect.binding", "confirm")
            .set("services.mail", reloads::service(&format!("{url}/api"), "x-key"))
            .set(
                "services.crm",
                json!({
                    "title": "CRM",
                    "base_url": format!("{url}/api"),
                    "authorize_url": format!("{url}/authorize"),
                    "token_url": format!("{url}/token"),
                    "revoke_url": format!("{url}/revoke"),
                    "client_id": "crm",
                    "client_secret": "the secret of the client crm",
                    "scopes": ["contacts"],
                }),
            );
        match &self.redis {
            Some(redis) => rig::with_redis(config, redis),
            None => config.set("store.embedded.path", self.embedded().display().to_string()),
        }
    }
}

on_both_stores! {
    async fn what_the_version_before_wrote_is_read_and_used(store) {
        read(Path::new(PRESENT), store, &Left::kept(store)).await;
    }

    async fn what_this_version_writes_is_read_and_used_by_the_one_before(store) {
        let left = write(Path::new(PRESENT), store).await;
        read(&before(), store, &left).await;
    }
}

#[tokio::test]
#[ignore = "makes the files anew that others read; VALETKEY_BEFORE says by which binary"]
async fn what_is_kept_is_made_anew() {
    for store in [Store::Redis, Store::Embedded] {
        write(&before(), store).await.keep(store);
    }
}
