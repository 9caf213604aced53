//! Issuers of callers' JWTs: one kind of key each, and only algorithms that fit it.

use jsonwebtoken::DecodingKey;

use super::{
    issuers::{issuer, jwks_file},
    kubernetes::pods,
};
use crate::config::{
    Algorithm, CallerIssuer, IssuerKeys,
    context::Context,
    problem::{Path, finding},
    raw::RawCaller,
    urls::{PlainHttp, UrlRule},
};

/// RFC 2104 §3 and RFC 7518 §3.2: a key no shorter than the hash.
const SHORTEST_SECRET: usize = 32;

pub(super) fn callers(raw: Vec<RawCaller>, path: &Path, cx: &mut Context<'_>) -> Vec<CallerIssuer> {
    let mut callers: Vec<CallerIssuer> = Vec::new();
    for (at, raw) in raw.into_iter().enumerate() {
        let path = path.index(at);
        let Some(caller) = caller(raw, &path, cx) else { continue };
        if callers.iter().any(|earlier| earlier.issuer == caller.issuer) {
            let finding =
                finding("An issuer above has the same name, and the first one decides: this one is never asked");
            cx.report.warning(&path.key("issuer"), finding);
        }
        callers.push(caller);
    }
    callers
}

fn caller(mut raw: RawCaller, path: &Path, cx: &mut Context<'_>) -> Option<CallerIssuer> {
    if let Some(kubernetes) = raw.kubernetes.take() {
        return pods(kubernetes, raw, path, cx);
    }
    if cx.report.is_broken(&path.key("kubernetes")) {
        return None;
    }
    let algorithms = raw.algorithms.take().unwrap_or_default();
    let jwks = raw.jwks_url.is_some() || raw.jwks_file.is_some();
    let family = one_family(&algorithms, jwks, &path.key("algorithms"), cx);
    let given = [
        ("jwks_url", raw.jwks_url.is_some()),
        ("jwks_file", raw.jwks_file.is_some()),
        ("public_key", raw.public_key.is_some()),
        ("public_key_file", raw.public_key_file.is_some()),
        ("secret", raw.secret.is_some()),
        ("secret_file", raw.secret_file.is_some()),
    ];
    let symmetric = raw.secret.is_some() || raw.secret_file.is_some();
    let keys = if cx.require_one(path, &given) {
        check_symmetry(family, symmetric, &path.key("algorithms"), cx);
        keys(&mut raw, family, path, cx)
    } else {
        None
    };
    let issuer = raw.issuer.and_then(|text| issuer(&text, path, cx));
    Some(CallerIssuer {
        issuer: issuer?,
        audience: raw.audience?,
        keys: keys?,
        algorithms,
        user_claim: raw.user_claim.unwrap_or_else(|| "sub".into()),
        pods: None,
        application: raw.application.and_then(|application| application.name),
        email_claim: raw.email_claim,
        language_claim: raw.language_claim,
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Hmac,
    Rsa,
    Ec,
    Ed,
}

fn family(algorithm: Algorithm) -> Family {
    match algorithm {
        Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => Family::Hmac,
        Algorithm::RS256
        | Algorithm::RS384
        | Algorithm::RS512
        | Algorithm::PS256
        | Algorithm::PS384
        | Algorithm::PS512 => Family::Rsa,
        Algorithm::ES256 | Algorithm::ES384 => Family::Ec,
        Algorithm::EdDSA => Family::Ed,
    }
}

/// The family that all algorithms are of. A JWKS may hold keys of several, but none of them is a shared secret, and one
/// public key is of one family.
fn one_family(algorithms: &[Algorithm], jwks: bool, path: &Path, cx: &mut Context<'_>) -> Option<Family> {
    let first = family(*algorithms.first()?);
    let mixed = algorithms.iter().any(|algorithm| family(*algorithm) != first);
    let with_hmac = algorithms.iter().any(|algorithm| family(*algorithm) == Family::Hmac);
    if mixed && (with_hmac || !jwks) {
        let finding = finding("These algorithms need different kinds of keys");
        cx.report.problem(path, finding.hint("keep those of one kind: HS*, RS* with PS*, ES*, or EdDSA"));
        return None;
    }
    Some(first)
}

fn check_symmetry(family: Option<Family>, symmetric: bool, path: &Path, cx: &mut Context<'_>) {
    let Some(family) = family else { return };
    match (family == Family::Hmac, symmetric) {
        (true, false) => {
            // Whoever can read a public key could sign with it as an HMAC secret.
            let finding = finding("HS256, HS384 and HS512 only go with `secret`");
            cx.report.problem(path, finding.hint("with a public key, use RS256, ES256, EdDSA or alike"));
        }
        (false, true) => {
            let finding = finding("`secret` only goes with HS256, HS384 and HS512");
            cx.report.problem(path, finding.hint("write `algorithms: [HS256]`, or give `jwks_url` or a public key"));
        }
        _ => {}
    }
}

fn keys(raw: &mut RawCaller, family: Option<Family>, path: &Path, cx: &mut Context<'_>) -> Option<IssuerKeys> {
    if let Some(text) = raw.jwks_url.take() {
        let rule = UrlRule { plain_http: PlainHttp::Loopback, query: true };
        return cx.url(&path.key("jwks_url"), &text, rule).map(IssuerKeys::JwksUrl);
    }
    if let Some(file) = raw.jwks_file.take() {
        return jwks_file(file, &path.key("jwks_file"), cx);
    }
    if let Some(pem) = raw.public_key.take() {
        return public_key(pem, family, &path.key("public_key"), cx);
    }
    if let Some(file) = raw.public_key_file.take() {
        let path = path.key("public_key_file");
        let pem = cx.file(&path, file)?;
        return public_key(pem, family, &path, cx);
    }
    let place = path.key(if raw.secret.is_some() { "secret" } else { "secret_file" });
    let secret = cx.secret(path, "secret", raw.secret.take(), raw.secret_file.take())?;
    if secret.expose().len() < SHORTEST_SECRET {
        let finding = finding(format!("This secret is shorter than {SHORTEST_SECRET} bytes"));
        cx.report.problem(&place, finding.hint("make one with `openssl rand -base64 48`"));
        return None;
    }
    Some(IssuerKeys::Secret(secret))
}

fn public_key(pem: String, family: Option<Family>, path: &Path, cx: &mut Context<'_>) -> Option<IssuerKeys> {
    let bytes = pem.as_bytes();
    let (fits, kind) = match family {
        Some(Family::Rsa) => (DecodingKey::from_rsa_pem(bytes).is_ok(), "RSA public key"),
        Some(Family::Ec) => (DecodingKey::from_ec_pem(bytes).is_ok(), "elliptic-curve public key"),
        Some(Family::Ed) => (DecodingKey::from_ed_pem(bytes).is_ok(), "Ed25519 public key"),
        // Told already.
        Some(Family::Hmac) | None => return None,
    };
    if !fits || pem.contains("PRIVATE KEY") {
        let finding = finding(format!("This is no {kind} in PEM, as `algorithms` asks for"));
        cx.report.problem(path, finding.hint("it begins with `-----BEGIN PUBLIC KEY-----`"));
        return None;
    }
    Some(IssuerKeys::PublicKey(pem))
}
