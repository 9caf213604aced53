//! What is measured, and what it needs: users with JWTs and upstream tokens, an upstream that refuses unknown tokens,
//! Redis with a password, Valetkey with everyone's connection imported, and the bare proxy.

use std::{fmt::Write as _, net::SocketAddr, path::PathBuf, thread, time::Duration};

use serde_json::json;

use crate::{
    contestant::{Contestant, Job, VALETKEY, YARDSTICK},
    failure::Failure,
    fleet::{Core, Line, Process, needed, same},
    folder::{Folder, free_address},
    users::{Signing, jwts, name, upstream_token},
};

pub mod configuration;
pub mod servers;

use configuration::{Configured, Service};
use servers::Redis;

/// How long a process gets to take its turn at the audit log, which it does as it starts.
const FIRST_TURN: Duration = Duration::from_millis(300);

/// Everything that runs beside the proxies.
pub struct Scene {
    /// Where the upstream listens.
    pub upstream: SocketAddr,
    /// Where the service `sink` expects an upstream that takes uploads; nobody listens there by itself.
    pub sink: SocketAddr,
    /// One JWT a line, HS256.
    pub jwts: PathBuf,
    /// How many users there are.
    pub users: usize,
    /// The store.
    pub redis: Redis,
    /// Configurations and logs.
    pub folder: Folder,
    config: Configured,
    _upstream: Process,
}

impl Scene {
    /// Starts upstream and Redis, and imports every user's connection.
    ///
    /// # Errors
    /// Where a program is missing or fails.
    pub fn set(users: usize, signings: &[Signing], core: Core) -> Result<Self, Failure> {
        let folder = Folder::make()?;
        let (upstream, process) = servers::upstream(users, core, &folder)?;
        let redis = Redis::start(core, &folder)?;
        let sink = free_address()?;
        let service = |name, upstream| Service { name, upstream, provider: upstream };
        let services = [service("bench", upstream), service("sink", sink)];
        let config = Configured::write("valetkey", redis.address, &services, &folder)?;
        let mut records = String::new();
        for signing in signings {
            for (user, service) in (0..users).map(|user| (user, "bench")).chain([(0, "sink")]) {
                let record = json!({
                    "issuer": signing.issuer(),
                    "user": name(user),
                    "service": service,
                    "access_token": upstream_token(user),
                });
                writeln!(records, "{record}")?;
            }
            folder.write(&jwts_file(*signing), &jwts(users, *signing)?)?;
        }
        let tokens: String = (0..users).map(|user| upstream_token(user) + "\n").collect();
        folder.write("tokens", &tokens)?;
        config.import(&folder.write("connections.jsonl", &records)?)?;
        let jwts = folder.path().join(jwts_file(Signing::Hs256));
        // Whoever starts first reads all that the import has appended to the audit log, and the others leave it alone for a minute:
        // no call's business, and it would be counted as that of the first ones.
        let first = config.start(core, &folder, same)?;
        thread::sleep(FIRST_TURN);
        drop(first);
        Ok(Self { upstream, sink, jwts, users, redis, folder, config, _upstream: process })
    }

    /// JWTs of this algorithm, one a line.
    pub fn jwts_of(&self, signing: Signing) -> PathBuf {
        self.folder.path().join(jwts_file(signing))
    }

    /// The upstream's own tokens, one a line.
    pub fn tokens(&self) -> PathBuf {
        self.folder.path().join("tokens")
    }

    /// Starts Valetkey, and waits until it is ready. `wrap` may put the program under another.
    ///
    /// # Errors
    /// Where it doesn't come up.
    pub fn valetkey(&self, core: Core, wrap: impl FnOnce(Line) -> Line) -> Result<Contestant, Failure> {
        let process = self.config.start(core, &self.folder, wrap)?;
        Ok(Contestant { who: VALETKEY, job: Job::Whole, process, address: self.config.calls, prefix: "/proxy/bench" })
    }

    /// Starts a bare proxy, [`YARDSTICK`] or the one with the system's allocator. `wrap` may put the program under
    /// another.
    ///
    /// # Errors
    /// Where it doesn't come up.
    pub fn bare(
        &self,
        who: &'static str,
        upstream: SocketAddr,
        core: Core,
        wrap: impl FnOnce(Line) -> Line,
    ) -> Result<Contestant, Failure> {
        let name = if who == YARDSTICK { "bare-pingora-mimalloc" } else { "bare-pingora" };
        let address = free_address()?;
        let arguments = vec![address.to_string(), upstream.to_string(), fixed_header()];
        let line = wrap(Line { program: needed(name)?, arguments });
        let process = Process::start(name, core, &line, address, &self.folder)?;
        Ok(Contestant { who, job: Job::FixedHeader, process, address, prefix: "" })
    }
}

/// What proxies send that know one credential only: the first user's.
pub fn fixed_header() -> String {
    format!("Bearer {}", upstream_token(0))
}

fn jwts_file(signing: Signing) -> String {
    format!("jwts.{}", signing.name())
}
