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

/// Who takes part, by number.
pub fn upstream_token(user: usize) -> String {
    format!("upstream-token-of-user-{user:06}")
}

/// A JWT of the user, valid for an hour from `now`, or with other times for tests of refusals.
///
/// # Errors
/// Where signing fails.
pub fn jwt(user: usize, lifetime: i64, secret: &str) -> Result<String, jsonwebtoken::errors::Error> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let claims = json!({
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": format!("user-{user:06}"),
        "iat": now,
        "exp": now.saturating_add_signed(lifetime),
    });
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(secret.as_bytes()))
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
    /// One JWT a line.
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
    pub fn set(users: usize, core: Core) -> Result<Self, Failure> {
        let folder = Folder::make()?;
        let (upstream, redis, valetkey, admin) = (free_address()?, free_address()?, free_address()?, free_address()?);
        let nginx = start_nginx(users, upstream, core, &folder)?;
        let redis_process = start_redis(redis, core, &folder)?;
        let config = folder.write("valetkey.yaml", &configuration(valetkey, admin, redis, upstream))?;
        let (mut records, mut jwts) = (String::new(), String::new());
        for user in 0..users {
            let record = json!({
                "issuer": ISSUER,
                "user": format!("user-{user:06}"),
                "service": "bench",
                "access_token": upstream_token(user),
            });
            writeln!(records, "{record}")?;
            writeln!(jwts, "{}", good_jwt(user)?)?;
        }
        let records = folder.write("connections.jsonl", &records)?;
        import(&records, &config)?;
        let jwts = folder.write("jwts", &jwts)?;
        Ok(Self { upstream, jwts, folder, config, valetkey, admin, _nginx: nginx, _redis: redis_process })
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
    pub fn bare(&self, who: &'static str, core: Core, wrap: impl FnOnce(Line) -> Line) -> Result<Contestant, Failure> {
        let name = if who == YARDSTICK { "bare-pingora-mimalloc" } else { "bare-pingora" };
        let address = free_address()?;
        let header = format!("Bearer {}", upstream_token(0));
        let arguments = vec![address.to_string(), self.upstream.to_string(), header];
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
  }}
}}
"#
    );
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

fn configuration(valetkey: SocketAddr, admin: SocketAddr, redis: SocketAddr, upstream: SocketAddr) -> String {
    format!(
        r#"public_url: http://{valetkey}
application: {{ name: "Bench" }}
listeners:
  - {{ address: "{valetkey}", serves: [proxy, connect] }}
  - {{ address: "{admin}", serves: [admin] }}
callers:
  - issuer: {ISSUER}
    audience: {AUDIENCE}
    secret: "{ISSUER_SECRET}"
    algorithms: [HS256]
store:
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
