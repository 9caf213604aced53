//! The pieces of a call, each by itself and on one thread: what path a request takes (`route`), whose it is (`caller`),
//! with which credential it goes on (`resolve`), whether that suffices (`scopes`), and how an answer's URLs come back
//! (`rewrite`). Times of one machine and moment: compare rows of one run. What is held to a price is counted in
//! instructions, in `tests/it/instructions.rs`.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a program for developers, which reads the clock to sign what is good now"
)]

use std::{path::Path, time::Duration};

use bytestring::ByteString;
use divan::{Bencher, black_box, counter::BytesCount};
use http::{HeaderValue, header};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use tokio::runtime::Runtime;
use valetkey::{
    caller::Callers,
    clock::{Clock, Timestamp},
    config::Config,
    connection::{Decision, Want},
    events::{Actor, Cause},
    id::{Account, CallerId, ConnectionId, Issuer, ServiceName, Subject},
    oauth::Grant,
    operation::{Operation, Path as CallPath},
    outbound::{Outbound, OutboundOptions},
    provider::{BaseUrl, Loaded, ScopeSet},
    proxy::{rewrite, target::Target},
    serve::{self, Heart},
};

fn main() {
    println!("Times of this machine and moment; rows of one run compare.");
    divan::main();
}

const ISSUER: &str = "https://app.example/";
const SECRET: &str = "a secret of the benchmark, 32 bytes or more";
const RSA: &str = include_str!("../src/caller/testdata/rsa2048.pem");
const P256: &str = include_str!("../src/caller/testdata/p256.pem");

/// A configuration with one service and an issuer of this algorithm; its store is a file in `folder`.
fn loaded(folder: &Path, algorithm: &str) -> Loaded {
    let testdata = concat!(env!("CARGO_MANIFEST_DIR"), "/src/caller/testdata");
    let keys = match algorithm {
        "HS256" => format!("secret: \"{SECRET}\""),
        "RS256" => format!("public_key_file: {testdata}/rsa2048.pub.pem"),
        _ => format!("public_key_file: {testdata}/p256.pub.pem"),
    };
    let text = format!(
        "public_url: http://127.0.0.1:8080
callers:
  - {{ issuer: \"{ISSUER}\", audience: bench, {keys}, algorithms: [{algorithm}] }}
store:
  embedded: {{ path: \"{}\" }}
vault:
  keys: [ {{ id: bench, key: \"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\" }} ]
services:
  github: {{ client_id: bench, client_secret: bench, scopes: [repo] }}
",
        folder.join("store.redb").display()
    );
    serve::parse(&text, folder, &|_| None).unwrap_or_else(|problems| panic!("{problems}"))
}

fn config(folder: &Path, algorithm: &str) -> Config {
    loaded(folder, algorithm).config
}

fn now() -> Timestamp {
    Clock::system().now()
}

/// A JWT of this subject.
fn jwt(algorithm: &str, subject: &str) -> String {
    let (algorithm, key) = match algorithm {
        "HS256" => (Algorithm::HS256, EncodingKey::from_secret(SECRET.as_bytes())),
        "RS256" => (Algorithm::RS256, EncodingKey::from_rsa_pem(RSA.as_bytes()).unwrap()),
        _ => (Algorithm::ES256, EncodingKey::from_ec_pem(P256.as_bytes()).unwrap()),
    };
    let claims = serde_json::json!({ "iss": ISSUER, "aud": "bench", "sub": subject, "exp": now().seconds() + 3600 });
    jsonwebtoken::encode(&Header::new(algorithm), &claims, &key).unwrap()
}

#[divan::bench]
fn route(bencher: Bencher<'_, '_>) {
    let raw = "/proxy/github@work/repos/octo-org/octo-repo/issues?state=open&per_page=100&page=2";
    bencher.counter(BytesCount::of_str(raw)).bench(|| Target::parse(ByteString::from_static(black_box(raw))));
}

const ALGORITHMS: [&str; 3] = ["HS256", "RS256", "ES256"];

/// Callers who were seen before, 256 of them in turn.
#[divan::bench(args = ALGORITHMS)]
fn caller_hit(bencher: Bencher<'_, '_>, algorithm: &str) {
    let (runtime, folder) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
    let callers = callers(&runtime, &config(folder.path(), algorithm), 20_000);
    let tokens: Vec<String> = (0..256).map(|number| jwt(algorithm, &format!("user-{number}"))).collect();
    for token in &tokens {
        runtime.block_on(callers.authenticate(token, now())).unwrap();
    }
    let (at, mut next) = (now(), tokens.iter().cycle());
    bencher.bench_local(|| callers.cached(next.next().unwrap().as_bytes(), at).unwrap());
}

/// The same seen for the first time: the signature is checked.
#[divan::bench(args = ALGORITHMS, sample_count = 50, sample_size = 10)]
fn caller_miss(bencher: Bencher<'_, '_>, algorithm: &str) {
    let (runtime, folder) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
    let callers = callers(&runtime, &config(folder.path(), algorithm), 20_000);
    let mut number = 0;
    let fresh = || {
        number += 1;
        jwt(algorithm, &format!("user-{number}"))
    };
    let at = now();
    bencher.with_inputs(fresh).bench_local_values(|token| runtime.block_on(callers.authenticate(&token, at)).unwrap());
}

fn callers(runtime: &Runtime, config: &Config, room: usize) -> Callers {
    let outbound = Outbound::new(OutboundOptions::default(), runtime.handle().clone()).unwrap();
    Callers::new(&config.callers, room, outbound, runtime.handle().clone()).unwrap()
}

/// From a caller to the ready header value, out of memory.
#[divan::bench]
fn resolve(bencher: Bencher<'_, '_>) {
    let (runtime, folder) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
    let loaded = loaded(folder.path(), "HS256");
    let heart = Heart::for_command(&loaded, &runtime).unwrap();
    let caller = CallerId { issuer: Issuer::parse(ISSUER).unwrap(), subject: Subject::parse("ada").unwrap() };
    let service = loaded.services.get("github").unwrap();
    let id = ConnectionId {
        caller: caller.clone(),
        service: ServiceName::parse("github").unwrap(),
        account: Account::default(),
    };
    let grant = Grant {
        access_token: "gho_of_the_benchmark".into(),
        refresh_token: None,
        expires_in: Some(Duration::from_secs(8 * 3600)),
        scopes: Some(vec!["repo".into()]),
        refresh_expires_in: None,
        id_token_subject: None,
    };
    runtime.block_on(heart.connections.manager.connect(&id, grant, None, &[], &Cause::of(Actor::Caller))).unwrap();
    let path = CallPath::parse("/user").unwrap();
    let operation = Some(Operation { methods: "GET", path: &path });
    let services = &loaded.services;
    let want = Want { caller: &caller, services, service, account: None, scopes: &[], operation, waited: None };
    let held = runtime.block_on(heart.connections.resolver.resolve(&want)).unwrap();
    let owner = heart.connections.resolver.owner(&caller).unwrap();
    let at = now();
    bencher.bench_local(|| {
        let Some(Decision::Use(credential)) = heart.connections.resolver.from_memory(black_box(&owner), &want, at)
        else {
            panic!("it is held");
        };
        assert_eq!(credential.token_version, held.token_version);
        credential
    });
}

/// Whether a grant suffices for a call that the provider has a rule for.
#[divan::bench]
fn scopes(bencher: Bencher<'_, '_>) {
    let folder = tempfile::tempdir().unwrap();
    let services = loaded(folder.path(), "HS256").services;
    let service = services.get("github").unwrap();
    let granted = ScopeSet::parse("gist notifications read:org repo user:email workflow");
    let named: [&str; 0] = [];
    bencher.bench(|| {
        let path = CallPath::parse(black_box("/repos/octo-org/octo-repo/issues")).unwrap();
        service.missing_scopes(Some(Operation { methods: "POST", path: &path }), &named, Some(&granted))
    });
}

/// The `Link` of a paginated answer.
#[divan::bench]
fn rewrite_link(bencher: Bencher<'_, '_>) {
    let base = BaseUrl::parse("https://api.github.com", false).unwrap();
    let ways = [rewrite::Way { base: &base, proxied: "http://127.0.0.1:8080/proxy/github".into() }];
    let link = HeaderValue::from_static(
        "<https://api.github.com/repositories/1300192/issues?page=2>; rel=\"prev\", \
         <https://api.github.com/repositories/1300192/issues?page=4>; rel=\"next\", \
         <https://api.github.com/repositories/1300192/issues?page=515>; rel=\"last\"",
    );
    bencher.bench(|| rewrite::value(&header::LINK, black_box(&link), "/items", &ways).unwrap());
}
