//! Roles, methods, assets, probes, and the door before all of them.

use super::*;

#[tokio::test]
async fn routes_answer_only_their_methods_and_listeners_only_their_roles() {
    let site = Site::new();
    let wrong = site.api("ada", "PUT", "/connect-links", None).await;
    wrong.refusal(405, "method_not_allowed");
    assert_eq!(wrong.headers[header::ALLOW], "POST");
    for (method, path) in
        [("POST", "/connections"), ("DELETE", "/connect/crm"), ("TRACE", "/connections"), ("TRACE", "/nothing")]
    {
        site.api("ada", method, path, None).await.refusal(405, "method_not_allowed");
    }
    site.get("/nothing").await.refusal(404, "not_found");
    site.get("/connect/-/style.css").await.refusal(404, "not_found");
    let html = site.send(Request::get("/nothing").header("accept", "text/html").body(Body::empty()).unwrap()).await;
    assert!(html.body.contains("<h1>Not found</h1>"), "{}", html.body);
    let only = |proxy, connect, admin| Site::of(|_| {}, Readily::Ready, Roles { proxy, connect, admin });
    let paths = ["/connections", "/dashboard", "/healthz"];
    for (site, own) in [(only(true, false, false), 0), (only(false, true, false), 1), (only(false, false, true), 2)] {
        for (index, path) in paths.iter().enumerate() {
            assert_eq!(site.get(path).await.status == 404, index != own, "{path}");
        }
    }
}

#[tokio::test]
async fn assets_are_found_by_the_names_that_pages_use_and_kept_for_good() {
    let site = Site::new();
    let page = site.get("/dashboard").await;
    let names: Vec<&str> = page.body.split('"').filter(|text| text.starts_with("/connect/-/")).collect();
    assert_eq!(names.len(), 2, "{}", page.body);
    for name in names {
        let asset = site.get(name).await;
        assert_eq!(asset.status, 200, "{name}");
        assert!(asset.headers[header::CACHE_CONTROL].to_str().unwrap().contains("immutable"));
    }
}

#[tokio::test]
async fn probes_hear_how_the_process_is() {
    let roles = Roles { proxy: false, connect: false, admin: true };
    for (readily, status, word) in [
        (Readily::Ready, 200, "ready"),
        (Readily::Degraded, 200, "degraded"),
        (Readily::Starting, 503, "starting"),
        (Readily::Draining, 503, "draining"),
    ] {
        let site = Site::of(|_| {}, readily, roles);
        let ready = site.get("/readyz").await;
        assert_eq!((ready.status.as_u16(), ready.json()["status"].as_str()), (status, Some(word)));
        assert_eq!(site.get("/healthz").await.json(), json!({"status": "ok"}));
        assert!(site.get("/metrics").await.body.contains("valetkey_build_info"));
    }
}

#[tokio::test]
async fn a_request_keeps_the_id_that_it_came_with_and_a_panic_is_an_answer() {
    let site = Site::new();
    let named = Request::get("/nothing").header("valetkey-request-id", "abc-1").body(Body::empty()).unwrap();
    assert_eq!(site.send(named).await.json()["request_id"], "abc-1");
    let odd = Request::get("/nothing").header("valetkey-request-id", "a b").body(Body::empty()).unwrap();
    assert_ne!(site.send(odd).await.headers[refusal::REQUEST_ID], "a b");
    let state = Arc::new(State::new(parts(&site.rig, Readily::Ready)));
    let broken = Router::new()
        .route("/", axum::routing::get(breaks))
        .layer(middleware::from_fn_with_state(Arc::clone(&state), door))
        .with_state(state);
    let response = broken.oneshot(Request::get("/").body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()[refusal::STATUS]),
        (500, &HeaderValue::from_static("error"))
    );
}

async fn breaks() -> StatusCode {
    panic!("as it happens")
}
