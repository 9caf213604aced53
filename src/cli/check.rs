//! `valetkey check`: says whether a configuration is right, and everything that isn't.

use clap::Args;
use serde_json::json;

use super::{
    ConfigFile, Outcome,
    configuration::{load, show_problems, show_warnings},
    output::{FAINT, GOOD, say, styled},
};
use crate::{
    config::{IssuerKeys, Listener, RedisTopology, Store},
    provider::Loaded,
};

/// Arguments of `check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigFile,
    /// Print `{ok, problems, warnings}` as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Checks a configuration.
pub fn run(args: &CheckArgs) -> Outcome {
    let file = args.config.config.display().to_string();
    match load(&args.config.config) {
        Ok(loaded) if args.json => {
            say(format_args!("{:#}", json!({"ok": true, "problems": [], "warnings": loaded.warnings})));
            Outcome::Done
        }
        Ok(loaded) => {
            show_warnings(&file, &loaded.warnings);
            say(format_args!("{} {file}", styled(GOOD, "OK")));
            for (what, how) in summary(&loaded) {
                say(format_args!("  {} {how}", styled(FAINT, format_args!("{what:<10}"))));
            }
            Outcome::Done
        }
        Err(problems) if args.json => {
            say(format_args!("{:#}", json!({"ok": false, "problems": problems.all, "warnings": []})));
            Outcome::Wrong
        }
        Err(problems) => {
            show_problems(&problems);
            Outcome::Wrong
        }
    }
}

/// What a configuration amounts to, without anything secret.
fn summary(loaded: &Loaded) -> Vec<(&'static str, String)> {
    let config = &loaded.config;
    let mut lines = vec![("public URL", config.public_url.to_string())];
    lines.extend(config.listeners.iter().map(|listener| ("listens", listens(listener))));
    lines.extend(config.callers.iter().map(|caller| {
        let keys = match &caller.keys {
            _ if caller.pods.is_some() => "pods",
            IssuerKeys::Cluster(_) | IssuerKeys::JwksUrl(_) | IssuerKeys::Jwks(_) => "JWKS",
            IssuerKeys::PublicKey(_) => "public key",
            IssuerKeys::Secret(_) => "shared secret",
        };
        ("callers", format!("{} ({keys})", caller.issuer))
    }));
    lines.push(("store", store(&config.store)));
    let keys: Vec<&str> = config.vault.keys.iter().map(|key| key.id.as_str()).collect();
    lines.push(("vault", format!("seals with {}, opens {}", keys.first().unwrap_or(&"nothing"), keys.join(", "))));
    let services: Vec<&str> = loaded.services.iter().map(|service| service.name.as_str()).collect();
    lines.push(("services", services.join(", ")));
    lines
}

fn listens(listener: &Listener) -> String {
    let tls = if listener.tls.is_some() { " with TLS" } else { "" };
    format!("{}{tls} for {}", listener.listen, listener.serves)
}

fn store(store: &Store) -> String {
    match store {
        Store::Embedded { path } => format!("the file {}", path.display()),
        Store::Redis(redis) => match &redis.topology {
            RedisTopology::Standalone => format!("Redis at {}", redis.url.host_str().unwrap_or_default()),
            RedisTopology::Sentinel { master, .. } => format!("Redis behind Sentinel, master {master}"),
            RedisTopology::Cluster { addresses } => format!("Redis Cluster at {}", addresses.join(", ")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, json: bool) -> Outcome {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("valetkey.yaml");
        std::fs::write(&config, text).unwrap();
        run(&CheckArgs { config: ConfigFile { config }, json })
    }

    #[test]
    fn a_right_configuration_is_0_and_a_wrong_one_2() {
        let right = "public_url: http://localhost:8080\n\
             callers: [{issuer: dev, audience: a, secret: 0123456789abcdef0123456789abcdef, algorithms: [HS256]}]\n\
             store: {embedded: {path: x.redb}}\n\
             vault: {keys: [{id: a, key: AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=}]}\n\
             services: {github: {client_id: c, client_secret: s, scopes: [repo]}}\n";
        for json in [false, true] {
            assert_eq!(check(right, json), Outcome::Done);
            assert_eq!(check(&right.replace("client_id", "client_ids"), json), Outcome::Wrong);
        }
    }

    #[test]
    fn the_summary_holds_no_secret() {
        let text = "public_url: http://localhost:8080\n\
             callers: [{issuer: dev, audience: a, secret: hush-hush-hush-hush-hush-hush-hush, algorithms: [HS256]}]\n\
             store: {redis: {url: 'rediss://u:hush-hush@redis.example/0'}}\n\
             vault: {keys: [{id: a, key: AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=}]}\n\
             services: {github: {client_id: c, client_secret: hush-hush}}\n";
        let loaded = crate::serve::parse(text, std::path::Path::new(""), &|_| None).unwrap();
        let shown = format!("{:?} {:?}", summary(&loaded), loaded.config);
        assert!(!shown.contains("hush"), "{shown}");
    }
}
