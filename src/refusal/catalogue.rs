//! One refusal of each kind, and when it comes. docs/ERRORS.md and the OpenAPI document are made from it, so that both say
//! what the code does. Nothing here is ever sent.

use super::{About, Refusal, TooLarge};
use crate::{
    caller::{self, Unauthenticated},
    connection::Reason,
    consent::Link,
    id::{Account, ServiceName},
};

/// A kind of refusal.
#[derive(Debug, Clone, PartialEq)]
pub struct Kind {
    /// One of them.
    pub refusal: Refusal,
    /// When it comes: a sentence without its full stop.
    pub when: &'static str,
}

/// All kinds, in the contract's order.
pub fn catalogue() -> Vec<Kind> {
    let service = ServiceName::parse("github").expect("lower-case letters are a service's name");
    let account = |name| Account::parse(name).expect("letters are a label");
    let (default, both) = (Account::default(), [account("home"), account("work")]);
    let about = About { service: &service, title: "GitHub", account: &default };
    let link = Link { url: "https://connect.example.com/connect/github?ticket=v1.abc".into(), expires_in: 600 };
    let scopes = ["repo".to_owned(), "read:org".to_owned()];
    let kind = |refusal, when| Kind { refusal, when };
    vec![
        kind(
            Refusal::auth_required(about, Reason::NotConnected, &link),
            "There is no usable credential. `auth_url` is the way to one",
        ),
        kind(
            Refusal::additional_scopes_required(about, &scopes, &link),
            "The grant lacks the scopes in `new_scopes`. `auth_url` asks for them",
        ),
        kind(Unauthenticated::from(caller::Reason::Missing).into(), "The caller's JWT is missing, bad or expired"),
        kind(Refusal::forbidden(&service, "GitHub"), "A policy of the operator forbids this caller or call"),
        kind(
            Refusal::may_not_act(&service),
            "A call has the `Valetkey-User` header, and its caller is none that the operator lets act for others",
        ),
        kind(
            Refusal::not_while_away(&service),
            "The person in `Valetkey-User` has not allowed jobs to act for them while they are away, or no longer does",
        ),
        kind(
            Refusal::api_keys_retired(&service, "GitHub"),
            "An API key for a service whose keys are retired is not stored",
        ),
        kind(Refusal::unknown_service(), "No service has the name in the path or body"),
        kind(Refusal::not_found(), "No such route, connection or thing"),
        kind(
            Refusal::method_not_allowed(Some("GET")),
            "`TRACE`, `CONNECT`, or a wrong method on a route of Valetkey's own",
        ),
        kind(Refusal::account_required("GitHub", &both), "Several accounts, none named, and no `default`"),
        kind(Refusal::bad_request("return_to is not an allowed address"), "Malformed path, account, header or body"),
        kind(Refusal::too_large(TooLarge::Body), "The body is over its limit"),
        kind(Refusal::too_large(TooLarge::Target), "The path and query are over their limit"),
        kind(Refusal::too_large(TooLarge::Headers), "The headers are over their limit"),
        kind(Refusal::too_large(TooLarge::Token), "The caller's JWT is over its limit"),
        kind(Refusal::rate_limited(7), "The caller is over the service's rate"),
        kind(Refusal::upstream_unreachable("GitHub"), "No connection, no TLS, or no HTTP with the upstream"),
        kind(Refusal::refresh_failed("GitHub"), "The provider's token endpoint fails for now; the connection stays"),
        kind(Refusal::upstream_timeout("GitHub"), "The upstream did not answer in time"),
        kind(Refusal::unavailable(5), "Store or keys are away, or this replica drains"),
        kind(Refusal::error(), "Anything else"),
    ]
}
