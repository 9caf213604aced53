//! Which calls the scope rules find, however they are spelled.

use crate::{
    operation::{Operation, Path},
    provider::ScopeFacts,
};

fn facts() -> ScopeFacts {
    let fields = serde_json::from_value(serde_json::json!({
        "scope_rules": [
            {"methods": ["POST"], "path": "/messages/send", "any_of": ["send", "compose"]},
            {"methods": ["GET"], "path": "/messages/{id}", "any_of": ["read", "admin"]},
            {"methods": ["DELETE"], "path": "/messages/{id}", "any_of": ["delete"]},
            {"path": "/sheets/{s}:clear", "any_of": ["write"]},
            {"path": "/projects/grp%2Fsecret/{x}", "any_of": ["secret"]},
            {"path": "/projects/{id}/x", "any_of": ["project"]},
            {"path": "/calendars/{calendar}/events", "any_of": ["events"]},
            {"path": "/admin/**", "any_of": ["admin"]},
        ],
    }));
    ScopeFacts::new(&fields.unwrap())
}

/// The first scope of each rule that is told, each once.
fn needed(methods: &str, path: &str) -> Vec<String> {
    let facts = facts();
    let mut told: Vec<String> = Vec::new();
    needed_by(&facts, methods, path, |any_of| {
        if !told.contains(&any_of[0]) {
            told.push(any_of[0].clone());
        }
    });
    told
}

fn needed_by(facts: &ScopeFacts, methods: &str, path: &str, tell: impl FnMut(&[String])) {
    let path = Path::parse(path).unwrap();
    facts.needed(Some(Operation { methods, path: &path }), tell);
}

#[test]
fn rules_find_their_calls() {
    for (method, path, scope) in [
        ("POST", "/messages/send", "send"),
        ("GET", "/messages/17", "read"),
        ("POST", "/sheets/x:clear", "write"),
        ("PUT", "/admin/a/b/c", "admin"),
        ("GET", "/calendars/x%3Ay/events", "events"),
    ] {
        assert_eq!(needed(method, path), [scope], "{method} {path}");
    }
    for (method, path) in [
        ("GET", "/messages/17/x"),
        ("GET", "/messages/"),
        ("PUT", "/messages/17"),
        ("POST", "/sheets/:clear"),
        ("GET", "/messages/17:verb"),
    ] {
        assert!(needed(method, path).is_empty(), "{method} {path}");
    }
}

#[test]
fn a_rule_tells_its_scopes_once_for_a_plain_call() {
    let facts = facts();
    let mut told = 0;
    needed_by(&facts, "POST", "/sheets/x:clear", |_| told += 1);
    assert_eq!(told, 8, "one of the patterns can be read in several ways");
    let plain = serde_json::json!({"scope_rules": [{"path": "/a", "any_of": ["a"]}]});
    needed_by(&ScopeFacts::new(&serde_json::from_value(plain).unwrap()), "GET", "/a", |_| told += 1);
    assert_eq!(told, 9);
}

#[test]
fn spelling_does_not_pass_a_rule() {
    for path in ["/messages//send", "/messages/%73end", "//messages/send", "/messages/send;x", "/messages;x/send"] {
        assert!(needed("POST", path).contains(&"send".to_owned()), "{path}");
    }
    for path in ["/admin%2Fa", "/admin;x/a", "//admin/a", "/%61dmin/a", "/;/admin/a", "/sheets/x%3Aclear"] {
        assert!(!needed("PUT", path).is_empty(), "{path}");
    }
    for path in ["/projects/grp%2Fsecret/x", "/projects/grp%2fsecret/x", "/projects/grp/secret/x"] {
        assert!(needed("GET", path).contains(&"secret".to_owned()), "{path}");
    }
}

#[test]
fn a_call_that_has_two_meanings_needs_what_both_need() {
    assert_eq!(needed("GET DELETE", "/messages/17"), ["read", "delete"]);
    // To some servers `a%2Fx` is one segment, to others it is two.
    assert_eq!(needed("GET", "/projects/a%2Fb/x"), ["project"]);
}

#[test]
fn a_call_that_is_not_known_yet_needs_what_every_call_needs() {
    let told = |rules: serde_json::Value| {
        let facts = ScopeFacts::new(&serde_json::from_value(serde_json::json!({ "scope_rules": rules })).unwrap());
        let mut told = Vec::new();
        facts.needed(None, |any_of| told.extend_from_slice(any_of));
        told
    };
    let every = serde_json::json!([{"path": "/", "any_of": ["root"]}, {"path": "/**", "any_of": ["all"]}]);
    assert_eq!(told(every), ["all"]);
    let reads = serde_json::json!([{"methods": ["GET"], "path": "/**", "any_of": ["read"]}]);
    assert!(told(reads).is_empty(), "a call may write");
}
