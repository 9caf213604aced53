//! The operator's policy for a service: the first rule that matches decides, and what matches none is allowed. Pure. Paths
//! are compared as they go upstream, decoded once so that spelling doesn't matter.

use serde_json::{Map, Value};

use crate::config::PolicyRule;

/// What is asked of a policy.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The method.
    pub method: &'a str,
    /// The path below `base_url`, with its leading slash.
    pub path: &'a str,
    /// The claims of the caller's JWT.
    pub claims: &'a Map<String, Value>,
}

/// Whether the rules let this call through.
pub fn allows(rules: &[PolicyRule], asked: &Asked<'_>) -> bool {
    rules.iter().find(|rule| matches(rule, asked)).is_none_or(|rule| rule.allow)
}

fn matches(rule: &PolicyRule, asked: &Asked<'_>) -> bool {
    let method = rule.methods.is_empty() || rule.methods.iter().any(|method| method == asked.method);
    method
        && (rule.paths.is_empty() || rule.paths.iter().any(|pattern| path_matches(pattern, asked.path)))
        && rule.claims.iter().all(|(name, wanted)| asked.claims.get(name).is_some_and(|held| holds(held, wanted)))
}

/// A claim holds a value if it is that value, or a list with it.
fn holds(held: &Value, wanted: &Value) -> bool {
    held == wanted || held.as_array().is_some_and(|list| list.contains(wanted))
}

fn path_matches(pattern: &str, path: &str) -> bool {
    let decoded: String = percent_encoding::percent_decode_str(path).decode_utf8_lossy().into_owned();
    let path = collapse(&decoded);
    match pattern.strip_suffix('*') {
        Some(prefix) => path.starts_with(prefix),
        None => path == pattern,
    }
}

/// Many servers read `//` as `/`; a rule must not be passed by it.
fn collapse(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for c in path.chars() {
        if !(c == '/' && out.ends_with('/')) {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rule(allow: bool, methods: &[&str], paths: &[&str]) -> PolicyRule {
        PolicyRule {
            allow,
            methods: methods.iter().map(ToString::to_string).collect(),
            paths: paths.iter().map(ToString::to_string).collect(),
            claims: Default::default(),
        }
    }

    fn asks(rules: &[PolicyRule], method: &str, path: &str, claims: Value) -> bool {
        allows(rules, &Asked { method, path, claims: claims.as_object().unwrap() })
    }

    #[test]
    fn the_first_match_decides_and_no_match_allows() {
        let rules = [rule(true, &["GET"], &[]), rule(false, &[], &["/admin", "/admin/*"])];
        assert!(asks(&rules, "GET", "/admin", json!({})));
        assert!(!asks(&rules, "POST", "/admin", json!({})));
        assert!(asks(&rules, "POST", "/other", json!({})));
    }

    #[test]
    fn spelling_does_not_pass_a_rule() {
        let rules = [rule(false, &[], &["/admin", "/admin/*"])];
        for path in ["/admin", "/%61dmin", "//admin", "/admin/", "/admin%2Fx", "/adm%69n/x", "/admin//x"] {
            assert!(!asks(&rules, "GET", path, json!({})), "{path}");
        }
    }

    #[test]
    fn claims_match_by_value_or_membership() {
        let mut deny = rule(false, &[], &[]);
        deny.claims.insert("role".into(), json!("guest"));
        assert!(!asks(&[deny.clone()], "GET", "/", json!({"role": "guest"})));
        assert!(!asks(&[deny.clone()], "GET", "/", json!({"role": ["guest", "x"]})));
        assert!(asks(&[deny], "GET", "/", json!({"role": "admin"})));
    }
}
