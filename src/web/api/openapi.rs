//! The OpenAPI 3.1 document of the JSON API, put together from the handlers, the types that they read and write, and the
//! catalogue of refusals; and its route. A test walks the router against it, so that neither has what the other lacks.

use std::sync::LazyLock;

use axum::{body::Body, response::Response};
use bytes::Bytes;
use http::{HeaderValue, header};
use utoipa::{
    Modify, OpenApi as _,
    openapi::{
        HttpMethod, ObjectBuilder, OpenApi, PathItem, Ref, RefOr, Required, ResponseBuilder, Type,
        extensions::Extensions,
        path::{Operation, OperationBuilder, ParameterBuilder, ParameterIn},
        security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use super::{
    answers::{Always, ForCallers, GENERAL, GROUPS, OfConnection, OfProxy, OneOfSeveral, WithBody, headers},
    connections, links,
    schemas::{RefusalBody, RefusalStatus, UnauthenticatedReason},
};
use crate::{connection::Reason, id::RequestId, web::page};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Valetkey",
        description = "Connections of an application's users to the services that they use, and the proxy that calls those \
                       services with the users' own tokens. Requests carry the user's JWT. An answer with `Valetkey-Status` \
                       is Valetkey's own refusal; under `/proxy/` one without it is the upstream's.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    servers((url = "/", description = "A listener with the role `proxy`")),
    paths(
        connections::list,
        connections::one,
        connections::disconnect,
        connections::store_key,
        connections::remove_key,
        connections::confirm,
        links::connect_link,
        links::dashboard_link,
        links::preflight,
        document,
    ),
    components(schemas(RefusalBody, RefusalStatus, UnauthenticatedReason, Reason, RequestId)),
    security(("ValetkeyToken" = []), ("Bearer" = []), ("Basic" = [])),
    tags(
        (name = "connections", description = "What a caller has, and giving it up."),
        (name = "connecting", description = "Ways to connect, made before they are needed."),
        (name = "proxy", description = "Calls of the services themselves."),
        (name = "description", description = "This document."),
    ),
    modifiers(&Rest),
)]
struct Api;

/// The document.
pub fn openapi() -> OpenApi {
    Api::openapi()
}

/// The document as text, indented.
pub fn openapi_text() -> String {
    let mut text = openapi().to_pretty_json().expect("maps of texts, numbers and lists are JSON");
    text.push('\n');
    text
}

static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| openapi_text().into());

/// This document.
#[utoipa::path(
    get,
    path = "/openapi.json",
    operation_id = "getDocument",
    tag = "description",
    security(()),
    responses(
        (status = 200, description = "This document.", body = serde_json::Map<String, serde_json::Value>),
        Always,
    ),
)]
pub(super) async fn document() -> Response {
    let mut response = Response::new(Body::from(DOCUMENT.clone()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    page::seal(response.headers_mut());
    response
}

/// What the derives leave open: components that follow from code, headers of every answer, the proxy.
struct Rest;

impl Modify for Rest {
    fn modify(&self, document: &mut OpenApi) {
        let components = document.components.get_or_insert_default();
        for (name, header) in headers() {
            components.headers.insert(name.to_owned(), header.into());
        }
        for group in GROUPS {
            components.responses.insert(group.name(), group.component().into());
        }
        for (name, scheme) in schemes() {
            components.security_schemes.insert(name.to_owned(), scheme.into());
        }
        for operation in document.paths.paths.values_mut().flat_map(operations) {
            for response in operation.responses.responses.values_mut() {
                if let RefOr::T(response) = response {
                    for name in GENERAL {
                        let reference = Ref::new(format!("#/components/headers/{name}"));
                        response.headers.insert(name.to_owned(), RefOr::Ref(reference));
                    }
                }
            }
        }
        document.paths.paths.insert("/proxy/{service}/{path}".to_owned(), proxied());
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.put, &mut item.post, &mut item.delete].into_iter().flatten()
}

fn schemes() -> [(&'static str, SecurityScheme); 3] {
    let header = "The caller's JWT by itself; wins over `Authorization`.";
    let bearer = "The caller's JWT, as ordinary SDKs send it; `token` does for `Bearer`.";
    let basic = "The caller's JWT as the password, or as the name with an empty password.";
    let http = |scheme| HttpBuilder::new().scheme(scheme);
    [
        (
            "ValetkeyToken",
            SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description("Valetkey-Token", header))),
        ),
        (
            "Bearer",
            SecurityScheme::Http(http(HttpAuthScheme::Bearer).bearer_format("JWT").description(Some(bearer)).build()),
        ),
        ("Basic", SecurityScheme::Http(http(HttpAuthScheme::Basic).description(Some(basic)).build())),
    ]
}

/// The proxy, for reading: its `{path}` goes over slashes, and its answers are mostly somebody else's, which OpenAPI has no
/// words for. `x-valetkey-passthrough` tells tools.
fn proxied() -> PathItem {
    let parameter = |name, place, required, description| {
        ParameterBuilder::new()
            .name(name)
            .parameter_in(place)
            .required(required)
            .description(Some(description))
            .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
    };
    let upstream = "The upstream's own answer, streamed; it has no `Valetkey-Status`. Where it was had with an API key that is \
                    on its way out, `Valetkey-Notice`, `Deprecation` and `Sunset` say so.";
    let operation = |verb: &str| {
        OperationBuilder::new()
            .operation_id(Some(format!("proxy{verb}")))
            .tag("proxy")
            .summary(Some("Call a service with the caller's credential."))
            .description(Some(
                "`/proxy/{service}@{account}/{path}` names the account. Path, query, headers and body go upstream, the \
                 credential is put in, and the answer comes back. The refusals here are Valetkey's own.",
            ))
            .parameter(parameter("service", ParameterIn::Path, Required::True, "The service; `@{account}` may follow."))
            .parameter(parameter(
                "path",
                ParameterIn::Path,
                Required::True,
                "What follows the service's `base_url`; may hold slashes.",
            ))
            .parameter(parameter(
                "Valetkey-Account",
                ParameterIn::Header,
                Required::False,
                "The account, where the path names none.",
            ))
            .parameter(parameter(
                "Valetkey-Scopes",
                ParameterIn::Header,
                Required::False,
                "Scopes that this call needs, spaces between.",
            ))
            .parameter(parameter(
                "Valetkey-User",
                ParameterIn::Header,
                Required::False,
                "The person for whom a listed pod acts: the issuer of their JWTs, `|`, and its `sub`.",
            ))
            .responses(
                utoipa::openapi::ResponsesBuilder::new()
                    .responses_from_into_responses::<Always>()
                    .responses_from_into_responses::<ForCallers>()
                    .responses_from_into_responses::<WithBody>()
                    .responses_from_into_responses::<OfConnection>()
                    .responses_from_into_responses::<OneOfSeveral>()
                    .responses_from_into_responses::<OfProxy>()
                    .response("default", ResponseBuilder::new().description(upstream)),
            )
            .build()
    };
    let mut item = PathItem::new(HttpMethod::Get, operation("Get"));
    item.put = Some(operation("Put"));
    item.post = Some(operation("Post"));
    item.delete = Some(operation("Delete"));
    item.patch = Some(operation("Patch"));
    item.extensions = Some(Extensions::from_iter([("x-valetkey-passthrough", true)]));
    item
}
