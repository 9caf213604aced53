//! The way to the provider and back: the authorization URL, and whether a callback comes from the issuer it should.

use url::Url;

use crate::{id::ServiceName, provider::OAuth};

/// Parameters that only this module sets, whatever configuration or caller say.
const OWN: [&str; 6] =
    ["response_type", "client_id", "redirect_uri", "state", "code_challenge", "code_challenge_method"];

/// The URL to send a browser to (RFC 6749 §4.1.1). `challenge` is a verifier's (RFC 7636), left out where the provider
/// takes none. `extra` goes over the provider's own `authorize_params`.
///
/// Built without the `oauth2` crate's `authorize_url`, which knows no scope separator but the space and no other name
/// for the parameter.
pub fn authorize_url(
    oauth: &OAuth,
    redirect_uri: &Url,
    state: &str,
    challenge: Option<&str>,
    scopes: &[String],
    extra: &[(&str, &str)],
) -> Url {
    let mut parameters = vec![
        ("response_type", "code"),
        ("client_id", oauth.client_id.as_str()),
        ("redirect_uri", redirect_uri.as_str()),
        ("state", state),
    ];
    let scopes = scopes.iter().map(|scope| oauth.scope_facts.canonical(scope)).collect::<Vec<_>>();
    let scope = unique(&scopes).join(&oauth.scope_separator);
    if !scope.is_empty() {
        parameters.push((&oauth.scope_param, &scope));
    }
    if let Some(challenge) = challenge.filter(|_| oauth.pkce) {
        parameters.push(("code_challenge", challenge));
        parameters.push(("code_challenge_method", "S256"));
    }
    let configured = oauth.authorize_params.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    for (name, value) in extra.iter().copied().chain(configured) {
        if !OWN.contains(&name) && !parameters.iter().any(|(known, _)| *known == name) {
            parameters.push((name, value));
        }
    }
    let mut url = oauth.authorize_url.clone();
    url.query_pairs_mut().extend_pairs(parameters);
    url
}

/// RFC 9207 §2.4: whether a callback's `iss` is that of the provider. A provider whose issuer is known may leave it out,
/// since nobody said that it sends one; one whose issuer is not known may send any.
pub fn issuer_matches(oauth: &OAuth, iss: Option<&str>) -> bool {
    match (&oauth.issuer, iss) {
        (Some(expected), Some(iss)) => expected == iss,
        (Some(_), None) => !oauth.iss_in_response,
        (None, _) => true,
    }
}

fn unique<'s>(list: &[&'s str]) -> Vec<&'s str> {
    let mut seen: Vec<&str> = Vec::new();
    for item in list {
        if !seen.contains(item) {
            seen.push(item);
        }
    }
    seen
}

/// The callback of a service: the same text in the authorization URL and at the token endpoint (RFC 6749 §4.1.3).
pub fn redirect_uri(public_url: &Url, service: &ServiceName) -> Url {
    let mut url = public_url.clone();
    url.set_path(&format!("{}/oauth/callback/{service}", public_url.path().trim_end_matches('/')));
    url
}
