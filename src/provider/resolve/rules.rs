//! The rules that judge calls: a service's policy, and which calls need which scopes. A rule that could never match is
//! refused: who wrote it believes in it.

use crate::{
    config::{Context, Path, PolicyRule, RawMatch, RawRule, finding, provider::ScopeRule},
    operation::{PathPattern, never_sent},
};

/// A service's policy.
pub fn policy(raw: Vec<RawRule>, path: &Path, cx: &mut Context<'_>) -> Vec<PolicyRule> {
    let mut rules = Vec::new();
    for (at, raw) in raw.into_iter().enumerate() {
        let path = path.index(at);
        if !cx.require_one(&path, &[("allow", raw.allow.is_some()), ("deny", raw.deny.is_some())]) {
            continue;
        }
        if let Some(matching) = raw.allow {
            rules.push(rule(true, matching, &path.key("allow"), cx));
        } else if let Some(matching) = raw.deny {
            rules.push(rule(false, matching, &path.key("deny"), cx));
        }
    }
    rules
}

fn rule(allow: bool, raw: RawMatch, path: &Path, cx: &mut Context<'_>) -> PolicyRule {
    let methods = methods(raw.methods.unwrap_or_default(), &path.key("methods"), cx);
    let mut paths = Vec::new();
    for (at, pattern) in raw.paths.unwrap_or_default().iter().enumerate() {
        match PathPattern::parse(pattern) {
            Ok(pattern) => paths.push(pattern),
            Err((wrong, hint)) => cx.report.problem(&path.key("paths").index(at), finding(wrong).hint(hint)),
        }
    }
    PolicyRule { allow, methods, paths, claims: raw.claims.unwrap_or_default() }
}

/// Methods, in upper case.
fn methods(written: Vec<String>, path: &Path, cx: &mut Context<'_>) -> Vec<String> {
    let methods: Vec<String> = written.into_iter().map(|method| method.to_ascii_uppercase()).collect();
    for (at, method) in methods.iter().enumerate() {
        if http::Method::from_bytes(method.as_bytes()).is_err() {
            cx.report.problem(&path.index(at), finding("This is no possible HTTP method"));
        }
        if method == "HEAD" && !methods.iter().any(|method| method == "GET") {
            let never = finding("`HEAD` alone can never match: it is judged as `GET`");
            cx.report.problem(&path.index(at), never.hint("write `GET`, which means both"));
        }
    }
    methods
}

/// Checks the scope rules that the operator wrote.
pub fn check_scope_rules(rules: &[ScopeRule], path: &Path, cx: &mut Context<'_>) {
    for (at, rule) in rules.iter().enumerate() {
        let path = path.index(at);
        methods(rule.methods.clone(), &path.key("methods"), cx);
        let wrong = scope_pattern(&rule.path);
        if let Err((wrong, hint)) = wrong {
            cx.report.problem(&path.key("path"), finding(wrong).hint(hint));
        }
    }
}

/// Whether a call can have this path.
fn scope_pattern(pattern: &str) -> Result<(), (&'static str, &'static str)> {
    let inner = pattern.strip_suffix("/**").unwrap_or(pattern);
    let segment_is_sound = |segment: &str| match segment.split_once('{') {
        Some((before, rest)) => {
            before.is_empty() && rest.split_once('}').is_some_and(|(_, verb)| !verb.contains(['{', '}']))
        }
        None => !segment.contains('}'),
    };
    if !pattern.starts_with('/') || inner.contains(['*', '?', '#']) || !inner.split('/').all(segment_is_sound) {
        return Err((
            "This should be a path that begins with `/`; `{name}` begins a segment, and `**` is the last one or none",
            "such as `/repos/{owner}/{repo}`, `/sheets/{id}:clear` or `/admin/**`",
        ));
    }
    never_sent(inner)
}
