//! What must hold for every file of the catalogue.

use super::*;

/// An answer of a provider's API and what it means.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fixture {
    name: String,
    status: u16,
    #[serde(default)]
    headers: std::collections::BTreeMap<String, String>,
    #[serde(default)]
    body: Option<Value>,
    verdict: String,
    #[serde(default)]
    scopes: Vec<String>,
    /// The preset to ask; the provider by default.
    #[serde(default)]
    service: Option<String>,
}

static TESTDATA: include_dir::Dir<'_> = include_dir::include_dir!("$CARGO_MANIFEST_DIR/src/provider/testdata");

fn fixtures(provider: &str) -> Vec<Fixture> {
    TESTDATA
        .get_file(format!("{provider}.json"))
        .map(|file| serde_json::from_str(file.contents_utf8().unwrap()).unwrap())
        .unwrap_or_default()
}

fn providers() -> impl Iterator<Item = &'static str> {
    let presets: Vec<&str> = catalogue::names().flat_map(catalogue::presets).collect();
    catalogue::names().filter(move |name| !presets.contains(name))
}

/// A service on this entry, with a base URL where the provider has many.
fn built_on(name: &str) -> Service {
    let mut fields = json!({"client_id": "id", "client_secret": "s", "provider": name});
    if catalogue::fields(name).unwrap().base_url.is_none() {
        fields["base_url"] = "https://api.example.com".into();
    }
    service("built", fields)
}

#[test]
fn makes_a_whole_service() {
    for (name, fields) in catalogue::tests::all() {
        let service = built_on(name);
        let oauth = service.oauth.as_ref().unwrap_or_else(|| panic!("{name}"));
        assert!(service.upstream.base().tls() && oauth.authorize_url.scheme() == "https", "{name}");
        for url in [Some(&oauth.token_url), oauth.revoke_url.as_ref(), oauth.userinfo_url.as_ref()] {
            assert!(url.is_none_or(|url| url.scheme() == "https"), "{name}");
        }
        assert!(fields.title.is_some(), "{name} has a title");
        for variable in &service.base_url_env {
            let is_name = |next: char| next.is_ascii_uppercase() || next.is_ascii_digit() || next == '_';
            assert!(variable.chars().all(is_name) && !variable.starts_with(char::is_numeric), "{name}: {variable}");
        }
        assert_eq!(fields.userinfo_url.is_some(), oauth.userinfo_url.is_some(), "{name}");
    }
}

#[test]
fn has_a_title_for_every_scope_it_asks_for_or_speaks_of() {
    for (name, fields) in catalogue::tests::all() {
        let facts = ScopeFacts::new(fields);
        let rules = fields.scope_rules.iter().flatten();
        let asked = fields.scopes.iter().flatten().chain(rules.filter_map(|rule| rule.any_of.first()));
        let included = fields.scope_includes.iter().flatten().flat_map(|(wide, narrow)| narrow.iter().chain([wide]));
        for scope in asked.chain(included) {
            assert!(facts.title(scope).is_some(), "{name}: {scope}");
        }
        for (scope, title) in fields.scope_titles.iter().flatten() {
            assert_eq!(scopes::words(scope), [scope.as_str()], "{name}");
            assert!(title.chars().next().is_some_and(char::is_uppercase) && !title.ends_with('.'), "{name}: {title}");
        }
        for alias in fields.scope_aliases.iter().flatten().map(|(_, scope)| scope) {
            assert_eq!(facts.canonical(alias), alias, "{name}: an alias leads to the end at once");
        }
    }
}

#[test]
fn has_rules_of_paths_and_scopes_that_can_match() {
    for (name, fields) in catalogue::tests::all() {
        for rule in fields.scope_rules.iter().flatten() {
            assert!(rule.path.starts_with('/') && !rule.any_of.is_empty(), "{name}: {}", rule.path);
            assert!(rule.methods.iter().all(|method| method.bytes().all(|b| b.is_ascii_uppercase())), "{name}");
        }
    }
}

#[test]
fn gives_its_fixtures_their_verdicts() {
    for provider in providers() {
        let cases = fixtures(provider);
        assert!(!cases.is_empty(), "{provider} has testdata");
        for case in cases {
            let service = built_on(case.service.as_deref().unwrap_or(provider));
            let (status, headers, body) = parts(&case);
            let wanted = wants_body(&service, status, &headers);
            let seen = wanted.and(body.as_deref());
            let expected = match case.verdict.as_str() {
                "fine" => Verdict::Fine,
                "dead_token" => Verdict::InvalidToken,
                "rate_limited" => Verdict::RateLimited,
                "missing_scopes" => Verdict::MissingScopes { scopes: case.scopes.clone() },
                other => panic!("{provider}: no verdict {other}"),
            };
            assert_eq!(verdict(&service, status, &headers, seen), expected, "{provider}: {}", case.name);
        }
    }
}

#[test]
fn has_an_answer_for_every_sign() {
    for provider in providers() {
        let rules = catalogue::fields(provider).unwrap().errors.clone().unwrap_or_default();
        let kinds = [
            ("dead_token", &rules.dead_token),
            ("missing_scopes", &rules.missing_scopes),
            ("rate_limited", &rules.rate_limited),
        ];
        for (kind, signs) in kinds {
            for sign in signs {
                assert!(
                    fixtures(provider).iter().any(|case| case.verdict == kind && fits(provider, sign, case)),
                    "{provider}: no fixture for {sign:?}"
                );
            }
        }
    }
}

/// Whether the answer gets its verdict by this sign alone.
fn fits(provider: &str, sign: &crate::config::provider::Sign, case: &Fixture) -> bool {
    let mut service = built_on(provider);
    let alone = crate::config::ErrorRules { missing_scopes: vec![sign.clone()], ..Default::default() };
    service.signs = Signs::parse(Some(&alone)).unwrap();
    let (status, headers, body) = parts(case);
    status != StatusCode::TOO_MANY_REQUESTS
        && matches!(verdict(&service, status, &headers, body.as_deref()), Verdict::MissingScopes { .. })
}

fn parts(case: &Fixture) -> (StatusCode, HeaderMap, Option<Vec<u8>>) {
    let mut headers: HeaderMap = case
        .headers
        .iter()
        .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap()))
        .collect();
    let body = case.body.as_ref().map(|body| match body {
        Value::String(text) => text.clone().into_bytes(),
        json => json.to_string().into_bytes(),
    });
    if body.is_some() && !headers.contains_key("content-type") {
        headers.insert("content-type", HeaderValue::from_static("application/json"));
    }
    (StatusCode::from_u16(case.status).unwrap(), headers, body)
}
