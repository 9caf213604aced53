//! What is measured, and what it needs: users with JWTs and upstream tokens, an upstream that refuses unknown tokens,
//! Redis with a password, Valetkey with everyone's connection imported, and the bare proxy.

use std::{
    fmt::Write as _,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;

use crate::{
    fleet::{Core, Folder, Line, Process, Tried, free_address, program},
    http::Connection,
    measure::Failure,
};

/// The name of the yardstick in the table: the bare proxy with Valetkey's allocator.
pub const YARDSTICK: &str = "bare Pingora";
/// The bare proxy with the system's allocator.
pub const WITH_GLIBC: &str = "bare Pingora, glibc";
/// How long Valetkey may take to be ready; under valgrind everything takes long.
const READY_WITHIN: Duration = Duration::from_secs(60);

const ISSUER: &str = "https://bench.example/";
const AUDIENCE: &str = "valetkey";
const ISSUER_SECRET: &str = "a-secret-of-this-benchmark-and-of-nothing-else";
const REDIS_PASSWORD: &str = "bench-redis-password";
/// 32 bytes in base64; seals nothing but made-up tokens.
const VAULT_KEY: &str = "YmVuY2gtYmVuY2gtYmVuY2gtYmVuY2gtYmVuY2gtMTI=";
/// Where programs lie that are missing.
const HINT: &str = "scripts/install-bench-deps.sh installs what is missing";

/// The path that is asked for: 1 KiB of text.
pub const WORK: &str = "/kib";
/// A path that answers with the user whose token came.
pub const WHO: &str = "/who";

/// How JWTs are signed. Each algorithm has an issuer of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signing {
    /// HMAC-SHA256.
    Hs256,
    /// RSA with 2048 bits.
    Rs256,
    /// P-256.
    Es256,
}

impl Signing {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Hs256, Self::Rs256, Self::Es256];

    /// As RFC 7518 §3.1 has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
        }
    }

    /// The name of a first pass over users with such JWTs.
    pub const fn cold(self) -> &'static str {
        match self {
            Self::Hs256 => "cold HS256",
            Self::Rs256 => "cold RS256",
            Self::Es256 => "cold ES256",
        }
    }

    fn issuer(self) -> String {
        match self {
            Self::Hs256 => ISSUER.to_owned(),
            Self::Rs256 | Self::Es256 => format!("{ISSUER}{}/", self.name()),
        }
    }

    fn key(self) -> Result<EncodingKey, jsonwebtoken::errors::Error> {
        match self {
            Self::Hs256 => Ok(EncodingKey::from_secret(ISSUER_SECRET.as_bytes())),
            Self::Rs256 => EncodingKey::from_rsa_pem(include_bytes!("../../src/caller/testdata/rsa2048.pem")),
            Self::Es256 => EncodingKey::from_ec_pem(include_bytes!("../../src/caller/testdata/p256.pem")),
        }
    }

    fn as_config(self) -> String {
        let keys = match self {
            Self::Hs256 => format!("secret: \"{ISSUER_SECRET}\""),
            Self::Rs256 => pem(include_str!("../../src/caller/testdata/rsa2048.pub.pem")),
            Self::Es256 => pem(include_str!("../../src/caller/testdata/p256.pub.pem")),
        };
        let (issuer, name) = (self.issuer(), self.name());
        format!("  - {{ issuer: \"{issuer}\", audience: {AUDIENCE}, algorithms: [{name}], {keys} }}\n")
    }
}

fn pem(text: &str) -> String {
    format!("public_key: \"{}\"", text.trim().replace('\n', "\\n"))
}

/// A path with 1 GiB of zeros.
pub const BIG: &str = "/gib";

/// Who takes part, by number.
pub fn upstream_token(user: usize) -> String {
    format!("upstream-token-of-user-{user:06}")
}

/// A JWT of the user, valid for an hour from `now`, or with other times for tests of refusals.
///
/// # Errors
/// Where signing fails.
pub fn jwt(user: usize, lifetime: i64, secret: &str) -> Result<String, jsonwebtoken::errors::Error> {
    signed(user, lifetime, Signing::Hs256, &EncodingKey::from_secret(secret.as_bytes()))
}

fn signed(
    user: usize,
    lifetime: i64,
    signing: Signing,
    key: &EncodingKey,
) -> Result<String, jsonwebtoken::errors::Error> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let claims = json!({
        "iss": signing.issuer(),
        "aud": AUDIENCE,
        "sub": format!("user-{user:06}"),
        "iat": now,
        "exp": now.saturating_add_signed(lifetime),
    });
    let algorithm = match signing {
        Signing::Hs256 => Algorithm::HS256,
        Signing::Rs256 => Algorithm::RS256,
        Signing::Es256 => Algorithm::ES256,
    };
    jsonwebtoken::encode(&Header::new(algorithm), &claims, key)
}

/// A JWT that is good.
///
/// # Errors
/// Where signing fails.
pub fn good_jwt(user: usize) -> Result<String, jsonwebtoken::errors::Error> {
    jwt(user, 12 * 3600, ISSUER_SECRET)
}

/// JWTs that must be refused, with why.
///
/// # Errors
/// Where signing fails.
pub fn bad_jwts() -> Result<[(&'static str, String); 3], jsonwebtoken::errors::Error> {
    let good = good_jwt(0)?;
    let unsigned = good.rsplit_once('.').map_or(String::new(), |(head, _)| format!("{head}."));
    Ok([
        ("another secret", jwt(0, 3600, "another-secret-that-is-also-long-enough")?),
        ("expired", jwt(0, -3600, ISSUER_SECRET)?),
        ("no signature", unsigned),
    ])
}

/// Everything that runs beside the proxies.
pub struct Scene {
    /// Where the upstream listens.
    pub upstream: SocketAddr,
    /// Where the service `sink` expects an upstream that takes uploads; nobody listens there by itself.
    pub sink: SocketAddr,
    /// One JWT a line, HS256.
    pub jwts: PathBuf,
    /// Configurations and logs.
    pub folder: Folder,
    config: PathBuf,
    valetkey: SocketAddr,
    admin: SocketAddr,
    _nginx: Process,
    _redis: Process,
}

impl Scene {
    /// Starts upstream and Redis, and imports every user's connection.
    ///
    /// # Errors
    /// Where a program is missing or fails.
    pub fn set(users: usize, signings: &[Signing], core: Core) -> Result<Self, Failure> {
        let folder = Folder::make()?;
        let (upstream, redis, valetkey, admin) = (free_address()?, free_address()?, free_address()?, free_address()?);
        let nginx = start_nginx(users, upstream, core, &folder)?;
        let redis_process = start_redis(redis, core, &folder)?;
        let sink = free_address()?;
        let config = folder.write("valetkey.yaml", &configuration(valetkey, admin, redis, upstream, sink))?;
        let mut records = String::new();
        for signing in signings {
            let (mut jwts, key) = (String::new(), signing.key()?);
            for user in 0..users {
                for service in ["bench", "sink"] {
                    let record = json!({
                        "issuer": signing.issuer(),
                        "user": format!("user-{user:06}"),
                        "service": service,
                        "access_token": upstream_token(user),
                    });
                    if service == "bench" || user == 0 {
                        writeln!(records, "{record}")?;
                    }
                }
                writeln!(jwts, "{}", signed(user, 12 * 3600, *signing, &key)?)?;
            }
            folder.write(&jwts_file(*signing), &jwts)?;
        }
        let tokens = (0..users).fold(String::new(), |all, user| all + &upstream_token(user) + "\n");
        folder.write("tokens", &tokens)?;
        let records = folder.write("connections.jsonl", &records)?;
        import(&records, &config)?;
        let jwts = folder.path().join(jwts_file(Signing::Hs256));
        Ok(Self { sink, upstream, jwts, folder, config, valetkey, admin, _nginx: nginx, _redis: redis_process })
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
        let arguments = vec!["serve".into(), "--config".into(), self.config.display().to_string()];
        let line = wrap(Line { program: needed("valetkey")?, arguments });
        let process = Process::start("valetkey", core, &line, self.valetkey, &self.folder)?;
        let begun = Instant::now();
        while !matches!(Connection::open(self.admin).and_then(|mut admin| admin.get("/readyz", "")), Ok((200, _))) {
            if begun.elapsed() > READY_WITHIN {
                return Err("valetkey didn't get ready".into());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(Contestant { who: "Valetkey", process, address: self.valetkey, prefix: "/proxy/bench" })
    }

    /// Starts a bare proxy, [`YARDSTICK`] or [`WITH_GLIBC`]. `wrap` may put the program under another.
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
        let header = format!("Bearer {}", upstream_token(0));
        let arguments = vec![address.to_string(), upstream.to_string(), header];
        let line = wrap(Line { program: needed(name)?, arguments });
        let process = Process::start(name, core, &line, address, &self.folder)?;
        Ok(Contestant { who, process, address, prefix: "" })
    }
}

/// A proxy in the race.
pub struct Contestant {
    /// Its name in the table.
    pub who: &'static str,
    /// It.
    pub process: Process,
    /// Where it listens.
    pub address: SocketAddr,
    /// What stands before the upstream's own path.
    pub prefix: &'static str,
}

impl Contestant {
    /// A path of the upstream, as this proxy wants it.
    pub fn path(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }
}

fn jwts_file(signing: Signing) -> String {
    format!("jwts.{}", signing.name())
}

fn needed(name: &str) -> Result<PathBuf, String> {
    program(name).ok_or_else(|| format!("{name} is not here; {HINT}"))
}

fn start_nginx(users: usize, address: SocketAddr, core: Core, folder: &Folder) -> Result<Process, Failure> {
    let mut known = String::new();
    for user in 0..users {
        writeln!(known, "\"Bearer {}\" \"user-{user:06}\";", upstream_token(user))?;
    }
    folder.write("known.map", &known)?;
    let (path, text) = (folder.path().display(), "0123456789abcde\\n".repeat(64));
    let config = format!(
        r#"daemon off; master_process off; pid {path}/nginx.pid; error_log stderr error;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_timeout 300s; keepalive_requests 1000000000; default_type text/plain;
  client_body_temp_path {path}/t1; proxy_temp_path {path}/t2; fastcgi_temp_path {path}/t3; uwsgi_temp_path {path}/t4; scgi_temp_path {path}/t5;
  map_hash_max_size 262144; map_hash_bucket_size 128;
  map $http_authorization $user {{ default ""; include {path}/known.map; }}
  server {{
    listen {address};
    if ($user = "") {{ return 401 "unknown token\n"; }}
    location = {WORK} {{ return 200 "{text}"; }}
    location = {WHO} {{ return 200 "$user"; }}
    location = {BIG} {{ root {path}; }}
  }}
}}
"#
    );
    fs::File::create(folder.path().join("gib")).and_then(|file| file.set_len(1 << 30)).tried("making a big file")?;
    let config = folder.write("nginx.conf", &config.replace("\\n", "\n"))?;
    let arguments =
        vec!["-c".into(), config.display().to_string(), "-e".into(), "stderr".into(), "-p".into(), path.to_string()];
    let line = Line { program: needed("nginx")?, arguments };
    Ok(Process::start("nginx", core, &line, address, folder)?)
}

fn start_redis(address: SocketAddr, core: Core, folder: &Folder) -> Result<Process, Failure> {
    let config = format!(
        "bind 127.0.0.1\nport {}\nrequirepass {REDIS_PASSWORD}\nsave \"\"\nappendonly no\nmaxmemory-policy noeviction\ndir {}\n",
        address.port(),
        folder.path().display(),
    );
    let config = folder.write("redis.conf", &config)?;
    let line = Line { program: needed("redis-server")?, arguments: vec![config.display().to_string()] };
    Ok(Process::start("redis", core, &line, address, folder)?)
}

fn configuration(
    valetkey: SocketAddr,
    admin: SocketAddr,
    redis: SocketAddr,
    upstream: SocketAddr,
    sink: SocketAddr,
) -> String {
    let callers: String = Signing::ALL.iter().map(|signing| signing.as_config()).collect();
    format!(
        r#"public_url: http://{valetkey}
application: {{ name: "Bench" }}
listeners:
  - {{ address: "{valetkey}", serves: [proxy, connect] }}
  - {{ address: "{admin}", serves: [admin] }}
callers:
{callers}store:
  redis: {{ url: "redis://{redis}/0", password: "{REDIS_PASSWORD}" }}
vault:
  keys: [ {{ id: "bench", key: "{VAULT_KEY}" }} ]
services:
  bench:
    title: "Bench"
    base_url: http://{upstream}
    authorize_url: http://{upstream}/authorize
    token_url: http://{upstream}/token
    client_id: bench
    client_secret: bench-client-secret
    scopes: []
  sink:
    title: "Sink"
    base_url: http://{sink}
    authorize_url: http://{sink}/authorize
    token_url: http://{sink}/token
    client_id: bench
    client_secret: bench-client-secret
    scopes: []
"#
    )
}

/// `valetkey import`.
fn import(records: &Path, config: &Path) -> Result<(), Failure> {
    let output = Command::new(needed("valetkey")?)
        .arg("import")
        .arg(records)
        .arg("--config")
        .arg(config)
        .output()
        .tried("running valetkey import")?;
    if output.status.success() {
        return Ok(());
    }
    let lines = fs::read_to_string(config).unwrap_or_default();
    Err(format!("valetkey import failed: {}\n{lines}", String::from_utf8_lossy(&output.stderr)).into())
}
