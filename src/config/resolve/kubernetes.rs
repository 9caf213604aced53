//! Callers that are pods: what the operator leaves out is as a pod finds it in its cluster.

use std::path::PathBuf;

use super::issuers::{issuer, jwks_file};
use crate::config::{
    Algorithm, CallerIssuer, IssuerKeys,
    context::Context,
    pods::{ClusterKeys, Pods, ServiceAccounts},
    problem::{Path, finding},
    raw::{RawCaller, RawKubernetes},
    urls::{PlainHttp, UrlRule},
};

/// As `kubeadm` sets it up.
const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
const JWKS_URL: &str = "https://kubernetes.default.svc/openid/v1/jwks";
const CA_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt";
const TOKEN_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";
/// What API servers sign with, as far as it is known here: they take RSA keys and such on the NIST curves.
const ALGORITHMS: [Algorithm; 3] = [Algorithm::RS256, Algorithm::ES256, Algorithm::ES384];

/// The cluster's pods as callers. `beside`: the other keys of the same entry, of which only `application` fits.
pub(super) fn pods(raw: RawKubernetes, beside: RawCaller, path: &Path, cx: &mut Context<'_>) -> Option<CallerIssuer> {
    only_here(&beside, path, cx);
    let path = path.key("kubernetes");
    let keys = keys(&raw, &path, cx);
    let algorithms = raw.algorithms.unwrap_or_else(|| ALGORITHMS.to_vec());
    if algorithms.iter().any(|known| matches!(known, Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512)) {
        let finding = finding("HS256, HS384 and HS512 need a shared secret, and clusters have none");
        cx.report.problem(&path.key("algorithms"), finding.hint("leave the key out"));
    }
    let accounts = accounts(raw.service_accounts?, &path.key("service_accounts"), cx);
    Some(CallerIssuer {
        issuer: issuer(raw.issuer.as_deref().unwrap_or(ISSUER), &path, cx)?,
        audience: raw.audience?,
        keys: keys?,
        algorithms,
        user_claim: "sub".into(),
        pods: Some(Pods { accounts, on_behalf_of: raw.on_behalf_of.unwrap_or(false) }),
        application: beside.application.and_then(|application| application.name),
        email_claim: None,
        language_claim: None,
    })
}

fn only_here(beside: &RawCaller, path: &Path, cx: &mut Context<'_>) {
    let given = [
        ("issuer", beside.issuer.is_some()),
        ("audience", beside.audience.is_some()),
        ("jwks_url", beside.jwks_url.is_some()),
        ("jwks_file", beside.jwks_file.is_some()),
        ("public_key", beside.public_key.is_some()),
        ("public_key_file", beside.public_key_file.is_some()),
        ("secret", beside.secret.is_some()),
        ("secret_file", beside.secret_file.is_some()),
        ("algorithms", beside.algorithms.is_some()),
        ("user_claim", beside.user_claim.is_some()),
        ("email_claim", beside.email_claim.is_some()),
        ("language_claim", beside.language_claim.is_some()),
    ];
    let below = ["issuer", "audience", "jwks_url", "jwks_file", "algorithms"];
    for (key, _) in given.into_iter().filter(|(_, given)| *given) {
        let finding = finding("This key doesn't go with `kubernetes`");
        let hint = if below.contains(&key) { "write it below `kubernetes`" } else { "leave it out" };
        cx.report.problem(&path.key(key), finding.hint(hint));
    }
}

fn accounts(raw: Vec<String>, path: &Path, cx: &mut Context<'_>) -> Vec<ServiceAccounts> {
    let mut accounts = Vec::new();
    for (at, text) in raw.into_iter().enumerate() {
        match ServiceAccounts::parse(&text) {
            Some(parsed) => accounts.push(parsed),
            None => {
                let finding = finding("This names no ServiceAccount");
                cx.report.problem(&path.index(at), finding.hint("write `namespace/name`, or `namespace/*`"));
            }
        }
    }
    accounts
}

fn keys(raw: &RawKubernetes, path: &Path, cx: &mut Context<'_>) -> Option<IssuerKeys> {
    if let Some(file) = &raw.jwks_file {
        for (key, given) in [
            ("jwks_url", raw.jwks_url.is_some()),
            ("ca_file", raw.ca_file.is_some()),
            ("token_file", raw.token_file.is_some()),
        ] {
            if given {
                let finding = finding("Nothing is fetched where there is a `jwks_file`").hint("keep one of them");
                cx.report.problem(&path.key(key), finding);
            }
        }
        return jwks_file(file.clone(), &path.key("jwks_file"), cx);
    }
    let rule = UrlRule { plain_http: PlainHttp::Loopback, query: true };
    let url = cx.url(&path.key("jwks_url"), raw.jwks_url.as_deref().unwrap_or(JWKS_URL), rule);
    let ca = match &raw.ca_file {
        Some(file) => Some(cx.authorities(&path.key("ca_file"), file.clone())?),
        None if std::path::Path::new(CA_FILE).exists() => Some(cx.authorities(&path.key("ca_file"), CA_FILE.into())?),
        None => None,
    };
    let token_file = raw.token_file.clone().unwrap_or_else(|| PathBuf::from(TOKEN_FILE));
    let token_file = cx.in_directory(token_file);
    Some(IssuerKeys::Cluster(ClusterKeys { url: url?, ca, token_file }))
}
