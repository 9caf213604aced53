//! Facts of policies: which calls a list of rules lets through, however they are spelled, and whom it shuts out.

use serde_json::json;

use super::*;
use crate::id::{Issuer, Subject};

fn rule(allow: bool, methods: &[&str], paths: &[&str]) -> PolicyRule {
    PolicyRule {
        allow,
        methods: methods.iter().map(ToString::to_string).collect(),
        paths: paths.iter().map(|path| PathPattern::parse(path).unwrap()).collect(),
        claims: Default::default(),
    }
}

fn of(claims: Option<&Map<String, Value>>) -> Known<'_> {
    Known { claims, behalf_of: None }
}

fn asks(rules: &[PolicyRule], methods: &str, path: &str, claims: Value) -> bool {
    let path = Path::parse(path).unwrap();
    allows(rules, of(claims.as_object()), Some(Operation { methods, path: &path }))
}

#[test]
fn the_first_match_decides_and_no_match_allows() {
    let rules = [rule(true, &["GET"], &[]), rule(false, &[], &["/admin", "/admin/*"])];
    assert!(asks(&rules, "GET", "/admin", json!({})));
    assert!(!asks(&rules, "POST", "/admin", json!({})));
    assert!(asks(&rules, "POST", "/other", json!({})));
}

const ADMIN: [&str; 14] = [
    "/admin",
    "/%61dmin",
    "//admin",
    "/admin/",
    "/admin%2Fx",
    "/adm%69n/x",
    "/admin//x",
    "/admin;x=1",
    "/admin;x/users",
    "/admin%3Bx/users",
    "/;y/admin",
    "/;y/%61dmin;z//users",
    "/%2Fadmin",
    "/admin;a%2Fb/c",
];

#[test]
fn spelling_does_not_pass_a_rule() {
    let rules = [rule(false, &[], &["/admin", "/admin/*"])];
    for path in ADMIN {
        assert!(!asks(&rules, "GET", path, json!({})), "{path}");
    }
    for path in ["/administration", "/a/admin", "/%2561dmin", "/"] {
        assert!(asks(&rules, "GET", path, json!({})), "{path}");
    }
}

#[test]
fn an_allowed_path_lets_no_other_through() {
    let rules = [rule(true, &[], &["/public/*"]), rule(false, &[], &[])];
    for path in ["/public/x", "/public/x%20y", "/public/x;v=1/y", "/public/a//b", "/%70ublic/x", "/public/a%2Fb"] {
        assert!(asks(&rules, "GET", path, json!({})), "{path}");
    }
    // Somebody reads each of these as a path outside: `/public<slash>x` is one segment to those who decode last.
    for path in ["//public/x", "/public%2Fx", "/public;/x", "/;/public/x", "/public%3Ba/x", "/public"] {
        assert!(!asks(&rules, "GET", path, json!({})), "{path}");
    }
    for path in ADMIN {
        assert!(!asks(&rules, "GET", path, json!({})), "{path}");
    }
}

#[test]
fn a_pattern_is_read_as_the_path_is() {
    for pattern in ["/projects/grp%2Fsecret/*", "/projects/grp%2fsecret/*", "/projects/%67rp%2Fsecret/*"] {
        let denies = [rule(false, &[], &[pattern])];
        for path in ["/projects/grp%2Fsecret/x", "/projects/grp%2fsecret/x", "/projects/grp/secret/x"] {
            assert!(!asks(&denies, "GET", path, json!({})), "{pattern} {path}");
        }
        let allows = [rule(true, &[], &[pattern]), rule(false, &[], &[])];
        assert!(asks(&allows, "GET", "/projects/grp%2Fsecret/x", json!({})), "{pattern}");
        assert!(!asks(&allows, "GET", "/projects/grp/secret/x", json!({})), "another project: {pattern}");
        assert!(!asks(&allows, "GET", "/projects/grp%2Fother/x", json!({})), "{pattern}");
    }
    assert!(!asks(&[rule(false, &[], &["/a//b"])], "GET", "/a/b", json!({})));
    assert!(!asks(&[rule(false, &[], &["/a;v=1"])], "GET", "/a;v=1;w", json!({})));
    assert!(!asks(&[rule(false, &[], &["/my files"])], "GET", "/my%20files", json!({})));
}

#[test]
fn a_call_with_several_methods_needs_leave_for_each() {
    let rules = [rule(false, &["DELETE"], &[])];
    assert!(asks(&rules, "POST", "/x", json!({})));
    assert!(!asks(&rules, "POST DELETE", "/x", json!({})));
    assert!(!asks(&rules, "DELETE POST", "/x", json!({})));
    assert!(!asks(&[rule(false, &["PROPFIND"], &[])], "propfind", "/x", json!({})), "no spelling is another method");
    let reads = [rule(true, &["GET"], &[]), rule(false, &[], &[])];
    assert!(!asks(&reads, "GET DELETE", "/x", json!({})));
}

#[test]
fn claims_match_by_value_or_membership() {
    let mut deny = rule(false, &[], &[]);
    deny.claims.insert("role".into(), json!("guest"));
    assert!(!asks(&[deny.clone()], "GET", "/", json!({"role": "guest"})));
    assert!(!asks(&[deny.clone()], "GET", "/", json!({"role": ["guest", "x"]})));
    assert!(asks(&[deny], "GET", "/", json!({"role": "admin"})));
}

#[test]
fn a_caller_is_shut_out_where_no_call_could_be_allowed() {
    let shut = |rules: &[PolicyRule], claims: Value| !allows(rules, of(claims.as_object()), None);
    let mut guests = rule(false, &[], &[]);
    guests.claims.insert("role".into(), json!("guest"));
    assert!(shut(&[guests.clone()], json!({"role": "guest"})));
    assert!(!shut(&[guests.clone()], json!({"role": "admin"})));
    assert!(!shut(&[rule(true, &["GET"], &[]), guests.clone()], json!({"role": "guest"})), "it may read");
    assert!(shut(&[rule(false, &["POST"], &[]), guests], json!({"role": "guest"})));
    assert!(!shut(&[rule(false, &["POST"], &[])], json!({})));
    assert!(!shut(&[], json!({})));
}

#[test]
fn somebody_of_whom_nothing_is_known_is_shut_out_only_with_everybody() {
    let shut = |rules: &[PolicyRule]| !allows(rules, of(None), None);
    let (mut guests, mut staff) = (rule(false, &[], &[]), rule(true, &[], &[]));
    guests.claims.insert("role".into(), json!("guest"));
    staff.claims.insert("role".into(), json!("staff"));
    assert!(shut(&[rule(false, &[], &[])]));
    assert!(shut(&[guests.clone(), rule(false, &[], &[])]));
    assert!(!shut(&[guests]), "it may be somebody else");
    assert!(!shut(&[staff, rule(false, &[], &[])]), "it may be one of the staff");
    assert!(!shut(&[]));
}

#[test]
fn claims_are_looked_at_only_where_a_rule_names_one() {
    let mut guests = rule(false, &[], &[]);
    assert!(!looks_at_claims(&[]) && !looks_at_claims(&[guests.clone()]));
    guests.claims.insert("role".into(), json!("guest"));
    assert!(looks_at_claims(&[rule(false, &["POST"], &[]), guests]));
}

#[test]
fn nobody_passes_a_deny_by_having_somebody_act_for_them() {
    let person = CallerId { issuer: Issuer::parse("https://i/").unwrap(), subject: Subject::parse("ada").unwrap() };
    let pod = json!({ "iss": "https://cluster/", "sub": "system:serviceaccount:jobs:nightly", "aud": ["valetkey"] });
    let by_claim = |allow: bool, name: &str, value: &str| PolicyRule {
        claims: [(name.to_owned(), json!(value))].into(),
        ..rule(allow, &[], &[])
    };
    let path = Path::parse("/x").unwrap();
    let passes = |rules: &[PolicyRule], behalf_of: Option<&CallerId>| {
        let known = Known { claims: pod.as_object(), behalf_of };
        allows(rules, known, Some(Operation { methods: "GET", path: &path }))
    };
    let acting = Some(&person);
    // Whether the person is a contractor, nobody knows; who they are is known.
    let contractors = by_claim(false, "role", "contractor");
    assert!(passes(std::slice::from_ref(&contractors), None) && !passes(std::slice::from_ref(&contractors), acting));
    assert!(!passes(&[by_claim(false, "sub", "ada")], acting) && passes(&[by_claim(false, "sub", "bob")], acting));
    assert!(!passes(&[by_claim(false, "iss", "https://i/")], acting));
    // The pod's own claims count, too, and an `allow` by them comes first where it stands first.
    let nightly = "system:serviceaccount:jobs:nightly";
    assert!(!passes(&[by_claim(false, "sub", nightly)], acting));
    assert!(passes(&[by_claim(true, "sub", nightly), contractors.clone()], acting));
    // A person's claims open nothing here.
    assert!(!passes(&[by_claim(true, "role", "admin"), rule(false, &[], &[])], acting));
    assert!(!passes(&[by_claim(true, "sub", "ada"), rule(false, &[], &[])], acting));
}
