//! A good configuration for tests here and above, and how a table of mistakes in it is checked.

use super::Problem;

pub(crate) const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// The environment of these tests.
pub(crate) fn env(name: &str) -> Option<String> {
    let value = match name {
        "VALETKEY_KEY" => KEY,
        "VALETKEY_ADMIN_TOKEN" => "hush-hush-hush-hush",
        "CRM_CLIENT_SECRET" | "GITHUB_CLIENT_SECRET" => "hush-hush",
        "GITHUB_CLIENT_ID" => "12345",
        "VALETKEY_DEV_SECRET" => "0123456789abcdef0123456789abcdef",
        "EMPTY" => "",
        "YAML" => "x: [1, 2]\n- \"injected\"",
        "NUMBER" => "42",
        "FLAG" => "false",
        "LONG" => "1h",
        _ => return None,
    };
    Some(value.to_owned())
}

pub(crate) const GOOD: &str = "\
public_url: https://connect.example.com
application: { name: Acme }
listeners:
  - address: 127.0.0.1:8080
    serves: [proxy, connect]
  - address: 127.0.0.1:9090
    serves: [admin]
admin: { token: hush-hush-hush-hush }
callers:
  - issuer: https://auth.example.com/
    audience: valetkey
    jwks_url: https://auth.example.com/jwks
    algorithms: [RS256]
connect:
  binding: link
  return_to: [https://app.example.com/]
shutdown: { delay: 5s }
store:
  embedded: { path: ./valetkey.redb }
vault:
  keys:
    - id: one
      key: ${VALETKEY_KEY}
services:
  github:
    client_id: client
    client_secret: hush-hush
    scopes: [repo]
  crm:
    base_url: https://crm.example.com/api
    authorize_url: https://crm.example.com/authorize
    token_url: https://crm.example.com/token
    client_id: client
    client_secret: hush-hush
";

/// The good configuration with a part of it replaced.
pub(crate) fn with(part: &str, other: &str) -> String {
    assert_eq!(GOOD.matches(part).count(), 1, "{part:?} should be there once");
    GOOD.replace(part, other)
}

/// The line that a comment marks.
pub(crate) fn marked(text: &str) -> Option<usize> {
    text.lines().position(|line| line.contains("# HERE")).map(|at| at + 1)
}

/// One mistake: a part of the good configuration, what stands there instead with the line marked, then the path that is named, and
/// what message and hint say.
pub(crate) type Case<'a> = (&'a str, &'a str, &'a str, &'a str, &'a str);

/// Each mistake is told once, at its line.
pub(crate) fn check(problems: impl Fn(&str) -> Vec<Problem>, cases: &[Case<'_>]) {
    for (part, other, path, message, hint) in cases {
        let text = with(part, other);
        let found = problems(&text);
        let [problem] = found.as_slice() else { panic!("{other:?} should have one problem, not {found:#?}") };
        assert_eq!(problem.path, *path, "{other:?}: {problem:?}");
        assert!(problem.message.contains(message), "{other:?}: {problem:?}");
        assert!(problem.hint.as_deref().unwrap_or_default().contains(hint), "{other:?}: {problem:?}");
        match marked(&text) {
            Some(line) => assert_eq!(problem.line, Some(line), "{other:?}: {problem:?}"),
            None => assert!(problem.line.is_some(), "{other:?}: {problem:?}"),
        }
    }
}
