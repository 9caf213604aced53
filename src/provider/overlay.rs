//! One set of provider fields over another: a preset over its provider, a service over either. A field that is given
//! replaces the one below it; maps are joined key by key; signs add to those below, so that naming one more sign never
//! takes a known one away.

use std::collections::BTreeMap;

use crate::config::{ErrorRules, ProviderFields};

/// `over` on top of `base`.
pub(super) fn overlay(base: &ProviderFields, over: &ProviderFields) -> ProviderFields {
    // Every field by name: a new one does not compile until it is decided here how it is joined.
    let ProviderFields {
        title,
        base_url,
        base_url_env,
        authorize_url,
        token_url,
        refresh_url,
        revoke_url,
        userinfo_url,
        issuer,
        iss_in_response,
        revoke,
        scopes,
        scope_param,
        scope_separator,
        pkce,
        client_auth,
        authorize_params,
        token_params,
        redirect_uri_on_refresh,
        headers,
        inject,
        api_key,
        errors,
        token_answer,
        refresh_token_expires_in,
        grant_lifetime,
        idle_lifetime,
        identity,
        scope_titles,
        scope_includes,
        scope_aliases,
        scope_rules,
    } = base.clone();
    ProviderFields {
        title: over.title.clone().or(title),
        base_url: over.base_url.clone().or(base_url),
        base_url_env: over.base_url_env.clone().or(base_url_env),
        authorize_url: over.authorize_url.clone().or(authorize_url),
        token_url: over.token_url.clone().or(token_url),
        refresh_url: over.refresh_url.clone().or(refresh_url),
        revoke_url: over.revoke_url.clone().or(revoke_url),
        userinfo_url: over.userinfo_url.clone().or(userinfo_url),
        issuer: over.issuer.clone().or(issuer),
        iss_in_response: over.iss_in_response.or(iss_in_response),
        revoke: over.revoke.clone().or(revoke),
        scopes: over.scopes.clone().or(scopes),
        scope_param: over.scope_param.clone().or(scope_param),
        scope_separator: over.scope_separator.clone().or(scope_separator),
        pkce: over.pkce.or(pkce),
        client_auth: over.client_auth.or(client_auth),
        authorize_params: join(authorize_params, over.authorize_params.as_ref()),
        token_params: join(token_params, over.token_params.as_ref()),
        redirect_uri_on_refresh: over.redirect_uri_on_refresh.or(redirect_uri_on_refresh),
        headers: join(headers, over.headers.as_ref()),
        inject: over.inject.clone().or(inject),
        api_key: over.api_key.clone().or(api_key),
        errors: errors_joined(errors, over.errors.as_ref()),
        token_answer: over.token_answer.clone().or(token_answer),
        refresh_token_expires_in: over.refresh_token_expires_in.or(refresh_token_expires_in),
        grant_lifetime: over.grant_lifetime.or(grant_lifetime),
        idle_lifetime: over.idle_lifetime.or(idle_lifetime),
        identity: over.identity.clone().or(identity),
        scope_titles: join(scope_titles, over.scope_titles.as_ref()),
        scope_includes: join(scope_includes, over.scope_includes.as_ref()),
        scope_aliases: join(scope_aliases, over.scope_aliases.as_ref()),
        scope_rules: over.scope_rules.clone().or(scope_rules),
    }
}

fn join<V: Clone>(
    base: Option<BTreeMap<String, V>>,
    over: Option<&BTreeMap<String, V>>,
) -> Option<BTreeMap<String, V>> {
    let Some(over) = over else { return base };
    let mut joined = base.unwrap_or_default();
    joined.extend(over.iter().map(|(key, value)| (key.clone(), value.clone())));
    Some(joined)
}

fn errors_joined(base: Option<ErrorRules>, over: Option<&ErrorRules>) -> Option<ErrorRules> {
    let Some(over) = over else { return base };
    let mut joined = base.unwrap_or_default();
    joined.dead_token.extend_from_slice(&over.dead_token);
    joined.missing_scopes.extend_from_slice(&over.missing_scopes);
    joined.rate_limited.extend_from_slice(&over.rate_limited);
    joined.token_error.extend_from_slice(&over.token_error);
    joined.invalid_grant.extend_from_slice(&over.invalid_grant);
    joined.unavailable.extend_from_slice(&over.unavailable);
    Some(joined)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::provider::Sign;

    #[test]
    fn given_fields_win_maps_join_and_signs_add_up() {
        let base: ProviderFields = serde_json::from_value(serde_json::json!({
            "title": "Base", "token_url": "https://t.example", "headers": {"a": "1", "b": "1"},
            "errors": {"dead_token": [{"status": 498}], "invalid_grant": ["old"]},
        }))
        .unwrap();
        let over: ProviderFields = serde_json::from_value(serde_json::json!({
            "title": "Over", "headers": {"b": "2"}, "errors": {"dead_token": [{"status": 440}]},
        }))
        .unwrap();
        let joined = overlay(&base, &over);
        assert_eq!(joined.title.as_deref(), Some("Over"));
        assert_eq!(joined.token_url.as_deref(), Some("https://t.example"));
        let headers = joined.headers.unwrap();
        assert_eq!((headers["a"].as_str(), headers["b"].as_str()), ("1", "2"));
        let errors = joined.errors.unwrap();
        let status = |status| Sign { status: Some(status), ..Sign::default() };
        assert_eq!(errors.dead_token, [status(498), status(440)]);
        assert_eq!(errors.invalid_grant, ["old"]);
    }

    #[test]
    fn nothing_over_a_base_changes_nothing() {
        let base: ProviderFields = serde_json::from_value(serde_json::json!({
            "title": "T", "pkce": "off", "grant_lifetime": "7d", "scopes": ["a"], "scope_rules": [{"path": "/x", "any_of": ["a"]}],
        }))
        .unwrap();
        let joined = overlay(&base, &ProviderFields::default());
        assert_eq!(serde_json::to_value(joined).unwrap(), serde_json::to_value(base).unwrap());
    }
}
