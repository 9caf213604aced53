//! A service that opted in to cookies has them both ways; nobody else's cookies, and nobody's proof of who they are, get
//! through.

use serde_json::json;

use crate::support::raw::values;
use crate::support::{Rig, Script, Store, Upstream};

/// Hands out a token with a session, as SAP's OData does, and believes the one only with the other.
async fn guarded_by_a_session() -> Upstream {
    Upstream::start(|request| match request.method() {
        "GET" => Script::answer(
            200,
            &[
                ("X-CSRF-Token", "t1"),
                ("Set-Cookie", "SAP_SESSIONID=s1; path=/; Domain=sap.example; HttpOnly"),
                ("Set-Cookie", "lang=en; Path=/api/odata"),
                ("Set-Cookie", "app=forged; Path=/"),
                ("Set-Cookie", "__Host-valetkey-session=forged; Path=/; Secure"),
            ],
            "",
        ),
        _ if request.all("cookie").iter().any(|line| line.split("; ").any(|pair| pair == "SAP_SESSIONID=s1"))
            && request.all("x-csrf-token") == ["t1"] =>
        {
            Script::text("written")
        }
        _ => Script::answer(403, &[], "CSRF token validation failed"),
    })
    .await
}

async fn rig(upstream: &Upstream, cookies: bool) -> Rig {
    let rig = Rig::with(Store::Embedded, |config, _| {
        config
            .set("services.crm.base_url", format!("{}/api", upstream.url()))
            .set("services.crm.response_cookies", cookies)
            .set("connect.session", json!({ "cookie": "app" }))
    })
    .await;
    rig.connect("ada").await;
    rig
}

#[tokio::test]
async fn a_csrf_token_that_is_bound_to_a_session_cookie_is_believed() {
    let upstream = guarded_by_a_session().await;
    let rig = rig(&upstream, true).await;
    let fetched = rig.send_raw("GET /proxy/crm/odata", "X-CSRF-Token: Fetch\r\n").await;
    assert_eq!(
        values(&fetched.head, "set-cookie"),
        ["SAP_SESSIONID=s1; HttpOnly; Path=/proxy/crm", "lang=en; Path=/proxy/crm/odata"]
    );
    let cookies = "X-CSRF-Token: t1\r\nContent-Length: 0\r\nCookie: app=jwt; valetkey-session=v; SAP_SESSIONID=s1; \
                   __Host-valetkey-browser=b\r\nCookie: lang=en\r\n";
    let written = rig.send_raw("POST /proxy/crm/odata/Orders", cookies).await;
    assert_eq!((written.status, written.body.as_slice()), (200, &b"written"[..]));
    rig.send_raw("GET /proxy/crm/odata", "Cookie: app=jwt; valetkey-browser=b\r\n").await;
    let received = upstream.received();
    assert_eq!(received[1].all("cookie"), ["SAP_SESSIONID=s1; lang=en"]);
    assert!(received[2].all("cookie").is_empty(), "{}", received[2].head);
    let named = rig.send_raw("GET /proxy/crm@default", "").await;
    assert!(values(&named.head, "set-cookie")[0].ends_with("; Path=/proxy/crm@default"), "{}", named.head);
}

#[tokio::test]
async fn without_the_option_no_cookie_passes_either_way() {
    let upstream = guarded_by_a_session().await;
    let rig = rig(&upstream, false).await;
    let fetched = rig.send_raw("GET /proxy/crm/odata", "Cookie: SAP_SESSIONID=s1\r\n").await;
    assert!(values(&fetched.head, "set-cookie").is_empty(), "{}", fetched.head);
    assert!(upstream.received()[0].all("cookie").is_empty());
}
