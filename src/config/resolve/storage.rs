//! Where records are kept, and what seals them.

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use url::Url;
use zeroize::Zeroize;

use crate::{
    config::{
        Redis, RedisTls, RedisTopology, Store, Vault, VaultKey,
        context::{Context, from_directory},
        loopback::is_loopback,
        problem::{Path, finding},
        raw::{RawRedis, RawStore, RawVault, RawVaultKey},
    },
    secret::{Secret, SecretString},
};

pub(super) fn store(raw: RawStore, path: &Path, cx: &mut Context<'_>) -> Option<Store> {
    if !cx.require_one(path, &[("redis", raw.redis.is_some()), ("embedded", raw.embedded.is_some())]) {
        return None;
    }
    match raw.redis {
        Some(raw) => redis(raw, &path.key("redis"), cx).map(Store::Redis),
        None => Some(Store::Embedded { path: from_directory(cx.directory, raw.embedded?.path?) }),
    }
}

fn redis(raw: RawRedis, path: &Path, cx: &mut Context<'_>) -> Option<Redis> {
    let secret = cx.secret(path, "password", raw.password, raw.password_file);
    let has_tls = raw.tls.is_some();
    let mut tls = RedisTls::default();
    if let Some(raw) = raw.tls {
        let path = path.key("tls");
        tls.ca = raw.ca_file.and_then(|file| cx.authorities(&path.key("ca_file"), file));
        (tls.certificate, tls.key) = cx
            .client_certificate(&path, ("certificate_file", raw.certificate_file), ("key_file", raw.key_file))
            .unzip();
    }
    let mut first_address = None;
    let topology = match (raw.sentinel, raw.cluster) {
        (Some(_), Some(_)) => {
            let finding =
                finding("Only one of `sentinel` and `cluster` can be given").hint("keep the one that you run");
            cx.report.problem(&path.key("cluster"), finding);
            return None;
        }
        (Some(sentinel), None) => {
            let addresses = addresses(sentinel.addresses?, &path.key("sentinel").key("addresses"), cx);
            first_address = addresses.first().cloned();
            RedisTopology::Sentinel { master: sentinel.master?, addresses }
        }
        (None, Some(cluster)) => {
            let addresses = addresses(cluster.addresses?, &path.key("cluster").key("addresses"), cx);
            first_address = addresses.first().cloned();
            RedisTopology::Cluster { addresses }
        }
        (None, None) => RedisTopology::Standalone,
    };
    let url_path = path.key("url");
    let text = raw.url.or_else(|| {
        let scheme = if has_tls { "rediss" } else { "redis" };
        first_address.map(|address| SecretString::new(format!("{scheme}://{address}")))
    });
    let Some(text) = text else {
        let hint = "add `url: rediss://user@host:6379/0`";
        cx.report.problem(&url_path, finding("This key is missing").hint(hint));
        return None;
    };
    let (url, in_url) = redis_url(&text, &url_path, cx)?;
    if secret.is_some() && in_url.is_some() {
        let finding = finding("The password is given twice: in the URL and in a key of its own");
        cx.report.problem(&url_path, finding.hint("take it out of the URL"));
    }
    if url.scheme() == "redis" && has_tls {
        let finding = finding("`tls` has no effect on a `redis://` URL").hint("write `rediss://`");
        cx.report.problem(&path.key("tls"), finding);
    }
    if url.scheme() == "redis" && !is_loopback(&url) {
        let finding =
            finding("Plain `redis://` beyond this machine: its password and the sealed records can be read on the way");
        cx.report.warning(&url_path, finding.hint("use `rediss://` unless the network is trusted"));
    }
    // The schema has checked it: its characters keep prefixes apart in ACLs (`PREFIX:*`) and out of Cluster's hash tags.
    let prefix = raw.prefix.unwrap_or_else(|| "vk".to_owned());
    Some(Redis { url, password: secret.or(in_url), tls, topology, prefix })
}

/// The URL, and the password that was in it.
fn redis_url(text: &SecretString, path: &Path, cx: &mut Context<'_>) -> Option<(Url, Option<SecretString>)> {
    let Ok(mut url) = Url::parse(text.expose()) else {
        let hint = "write it whole, such as `rediss://user@host:6379/0`; other characters than letters and digits in a \
                    password must be percent-encoded, or use `password_file`";
        cx.report.problem(path, finding("This is no URL").hint(hint));
        return None;
    };
    if !matches!(url.scheme(), "redis" | "rediss") || url.host_str().is_none_or(str::is_empty) {
        let finding = finding("This should be a `redis://` or `rediss://` URL with a host");
        cx.report.problem(path, finding.hint("such as `rediss://user@host:6379/0`"));
        return None;
    }
    let database = url.path().trim_matches('/');
    if !database.is_empty() && database.parse::<u16>().is_err() {
        cx.report
            .problem(path, finding("The path of this URL should be the number of a database").hint("such as `/0`"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        cx.report.problem(path, finding("This URL may have no query and no fragment"));
    }
    let password = match url.password().map(|password| percent_encoding::percent_decode_str(password).decode_utf8()) {
        None => None,
        Some(Ok(password)) => Some(SecretString::from(password.as_ref())),
        Some(Err(_)) => {
            let hint = "use `password_file` instead";
            cx.report.problem(path, finding("The password in this URL is no UTF-8 text").hint(hint));
            None
        }
    };
    // Setting fails only for URLs without a host, which were refused above.
    if url.set_password(None).is_err() {
        return None;
    }
    Some((url, password.filter(|password| !password.expose().is_empty())))
}

fn addresses(raw: Vec<String>, path: &Path, cx: &mut Context<'_>) -> Vec<String> {
    for (at, address) in raw.iter().enumerate() {
        let fine = address.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty() && !host.contains(['/', '@', ' ']) && port.parse::<u16>().is_ok()
        });
        if !fine {
            let hint = "such as `redis-1.internal:6379`";
            cx.report.problem(&path.index(at), finding("This should be `host:port`").hint(hint));
        }
    }
    raw
}

pub(super) fn vault(raw: RawVault, path: &Path, cx: &mut Context<'_>) -> Option<Vault> {
    let keys_path = path.key("keys");
    let raw_keys = raw.keys.unwrap_or_default();
    if raw_keys.is_empty() {
        let hint = "add `keys: [{id: \"1\", key_file: …}]`; `valetkey keys generate` makes a key";
        cx.report.problem(&keys_path, finding("There is no key to seal records with").hint(hint));
        return None;
    }
    let mut keys: Vec<VaultKey> = Vec::new();
    for (at, raw) in raw_keys.into_iter().enumerate() {
        let path = keys_path.index(at);
        let Some(key) = vault_key(raw, &path, cx) else { continue };
        if keys.iter().any(|earlier| earlier.id == key.id) {
            let finding =
                finding("Another key above has this id").hint("records name their key by it: give each its own");
            cx.report.problem(&path.key("id"), finding);
        }
        keys.push(key);
    }
    Some(Vault { keys })
}

fn vault_key(raw: RawVaultKey, path: &Path, cx: &mut Context<'_>) -> Option<VaultKey> {
    if !cx.require_one(path, &[("key", raw.key.is_some()), ("key_file", raw.key_file.is_some())]) {
        return None;
    }
    let place = path.key(if raw.key.is_some() { "key" } else { "key_file" });
    let text = cx.secret(path, "key", raw.key, raw.key_file)?;
    let Some(key) = key_of(&text) else {
        let finding = finding("This should be 32 bytes in base64").hint("`valetkey keys generate` makes one");
        cx.report.problem(&place, finding);
        return None;
    };
    Some(VaultKey { id: raw.id?, key })
}

/// 32 bytes from base64 in either alphabet, padded or not.
fn key_of(text: &SecretString) -> Option<Secret<[u8; 32]>> {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let text = text.expose().trim();
    let alphabet = if text.contains(['-', '_']) { &alphabet::URL_SAFE } else { &alphabet::STANDARD };
    let mut bytes = GeneralPurpose::new(alphabet, config).decode(text).ok()?;
    let key = <[u8; 32]>::try_from(bytes.as_slice()).ok().map(Secret::new);
    bytes.zeroize();
    key
}
