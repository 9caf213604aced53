//! The document says what the router does, and docs/openapi.json what the document says.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use axum::body::Body;
use http::{Method, Request, header};
use serde_json::Value;
use tower::ServiceExt as _;

use super::{answers::GROUPS, openapi, openapi_text, table};
use crate::{
    id::{Account, RequestId, ServiceName},
    refusal::{Code, Kind, catalogue},
};

/// What OpenAPI calls the methods that a path may have (3.1.0 §4.8.9).
const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

fn document() -> Value {
    serde_json::from_str(&openapi_text()).unwrap()
}

fn documented() -> BTreeMap<String, BTreeSet<String>> {
    let document = document();
    let paths = document["paths"].as_object().unwrap().iter();
    paths
        .filter(|(_, item)| item["x-valetkey-passthrough"] != true)
        .map(|(path, item)| {
            let methods = METHODS.iter().filter(|method| item[method].is_object());
            (path.clone(), methods.map(|method| method.to_uppercase()).collect())
        })
        .collect()
}

/// Every path of the router, with the methods that it names in `Allow` when asked for one that no route has.
#[tokio::test]
async fn the_document_has_the_routes_that_the_router_has_and_no_others() {
    let state = crate::web::tests::state();
    let mut served = BTreeMap::new();
    for (path, methods) in table() {
        let router = axum::Router::new().route(path, methods).with_state(std::sync::Arc::clone(&state));
        let target = path.replace("{service}", "crm");
        let request = Request::builder().method(Method::from_bytes(b"FROB").unwrap()).uri(target);
        let answer = router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(answer.status(), 405, "{path}");
        let allow = answer.headers()[header::ALLOW].to_str().unwrap().to_owned();
        // Axum answers `HEAD` wherever it answers `GET`.
        let methods = allow.split(',').map(str::trim).filter(|method| *method != "HEAD").map(str::to_owned);
        served.insert(path.to_owned(), methods.collect::<BTreeSet<_>>());
    }
    assert_eq!(documented(), served);
}

#[test]
fn every_refusal_is_in_the_document() {
    let document = document();
    let schemas = &document["components"]["schemas"];
    let statuses: BTreeSet<&str> =
        schemas["RefusalStatus"]["enum"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let members = schemas["Refusal"]["properties"].as_object().unwrap();
    let mut told: BTreeSet<(u16, Code)> = BTreeSet::new();
    for group in GROUPS {
        let response = &document["components"]["responses"][group.name()];
        let examples = response["content"]["application/json"]["examples"].as_object().unwrap();
        for Kind { refusal, .. } in group.kinds() {
            assert!(examples.contains_key(refusal.code.as_str()), "{} lacks {:?}", group.name(), refusal.code);
            told.insert((refusal.status.as_u16(), refusal.code));
            for header in refusal.header_names() {
                let headers = response["headers"].as_object().unwrap();
                assert!(headers.keys().any(|name| name.eq_ignore_ascii_case(header.as_str())), "{header}");
            }
        }
        assert_eq!(group.kinds().len(), examples.len());
    }
    for Kind { refusal, .. } in catalogue() {
        assert!(statuses.contains(refusal.code.as_str()), "{:?}", refusal.code);
        assert!(told.contains(&(refusal.status.as_u16(), refusal.code)), "{:?} is in no answer", refusal.code);
        for name in refusal.member_names() {
            assert!(members.contains_key(name), "{name}");
            assert_ne!(members[name]["description"], "undescribed", "{name} has no schema of its own");
        }
    }
    assert_eq!(statuses.len(), Code::ALL.len());
}

#[test]
fn every_reference_leads_somewhere_and_everything_is_described() {
    let document = document();
    let mut missing = Vec::new();
    look(&document, "#", &document, &mut missing);
    assert_eq!(missing, Vec::<String>::new());
    let mut names = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for operation in METHODS.iter().map(|method| &item[method]).filter(|operation| operation.is_object()) {
            assert!(operation["summary"].as_str().is_some_and(|text| text.ends_with('.')), "{path}");
            assert!(operation["tags"].is_array(), "{path}");
            assert!(names.insert(operation["operationId"].as_str().unwrap()), "{path}: its name is taken");
        }
    }
}

fn look(value: &Value, at: &str, document: &Value, missing: &mut Vec<String>) {
    if let Some(target) = value.get("$ref").and_then(Value::as_str)
        && document.pointer(target.trim_start_matches('#')).is_none()
    {
        missing.push(format!("{at}: {target}"));
    }
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(key, value)| look(value, &format!("{at}/{key}"), document, missing));
        }
        Value::Array(items) => {
            items
                .iter()
                .enumerate()
                .for_each(|(index, value)| look(value, &format!("{at}/{index}"), document, missing));
        }
        _ => {}
    }
}

/// The patterns are written beside the parsers, in a regular expression's words.
#[test]
fn names_that_the_document_allows_are_the_names_that_are_understood() {
    let document = document();
    let allows = |name: &str, text: &str| {
        jsonschema::is_valid(&document["components"]["schemas"][name], &Value::String(text.to_owned()))
    };
    let long = ["a".repeat(64), "a".repeat(65)];
    let texts =
        ["", "a", "A", "0", "-", "_a", "a_-9", "a.b", "a b", "a@b", "a/b", "a\n", "\0", "ä", &long[0], &long[1]];
    for text in texts {
        assert_eq!(allows("ServiceName", text), ServiceName::parse(text).is_ok(), "{text:?}");
        assert_eq!(allows("Account", text), Account::parse(text).is_ok(), "{text:?}");
        assert_eq!(allows("RequestId", text), RequestId::parse(text).is_ok(), "{text:?}");
    }
}

#[test]
fn the_page_in_docs_lists_every_route() {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/API.md")).unwrap();
    for (path, methods) in documented() {
        for method in methods {
            let listed = page.contains(&format!("`{method} {path}")) || page.contains(&format!("[`{path}`]"));
            assert!(listed, "docs/API.md lacks {method} {path}");
        }
    }
}

#[test]
fn it_is_openapi_3_1_of_this_version() {
    let document = openapi();
    assert_eq!(document.info.version, env!("CARGO_PKG_VERSION"));
    assert!(openapi_text().contains("\"openapi\": \"3.1.0\""));
}

/// `UPDATE=1` rewrites it.
#[test]
#[expect(clippy::disallowed_methods, reason = "asks whoever runs the tests")]
fn the_copy_in_docs_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
    if std::env::var("UPDATE").is_ok_and(|update| update == "1") {
        std::fs::write(&path, openapi_text()).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == openapi_text(), "docs/openapi.json is out of date: run this test with UPDATE=1");
}
