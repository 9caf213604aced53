//! The refusals that routes can give, as the OpenAPI document has them: each a component made from the catalogue in
//! `refusal`, and named by routes in groups. Describes; decides nothing.

use std::collections::BTreeMap;

use serde_json::Value;
use utoipa::{
    IntoResponses,
    openapi::{
        Content, Header, ObjectBuilder, Ref, RefOr, Response, ResponseBuilder, Type, content::ContentBuilder,
        example::ExampleBuilder, extensions::Extensions, header::HeaderBuilder, schema::AllOfBuilder,
    },
};

use super::schemas::{member, one_of, reference};
use crate::{
    id::RequestId,
    refusal::{Code, Kind, catalogue},
};

/// Refusals under one HTTP status.
#[derive(Clone, Copy)]
pub(super) struct Group {
    http: u16,
    codes: &'static [Code],
}

const fn group(http: u16, codes: &'static [Code]) -> Group {
    Group { http, codes }
}

/// Declares groups that routes name, and the list of all.
macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident: [$($group:expr),+ $(,)?];)+) => {
        $(
            $(#[$doc])*
            pub(super) struct $name;

            impl IntoResponses for $name {
                fn responses() -> BTreeMap<String, RefOr<Response>> {
                    [$($group),+].iter().map(|group| (group.http.to_string(), group.reference())).collect()
                }
            }
        )+

        /// All groups that any route names.
        pub(super) const GROUPS: &[Group] = &[$($($group),+),+];
    };
}

refusals! {
    /// From every route, whatever it does.
    Always: [
        group(400, &[Code::BadRequest]),
        group(405, &[Code::MethodNotAllowed]),
        group(414, &[Code::TooLarge]),
        group(429, &[Code::RateLimited]),
        group(431, &[Code::TooLarge]),
        group(500, &[Code::Error]),
    ];
    /// From routes that need the caller's JWT and the store.
    ForCallers: [group(401, &[Code::Unauthenticated]), group(503, &[Code::Unavailable])];
    /// From routes that read a body.
    WithBody: [group(413, &[Code::TooLarge])];
    /// From routes that name a service.
    OfService: [group(404, &[Code::UnknownService])];
    /// From routes that name a service and ask for a connection to it.
    OfConnection: [group(404, &[Code::UnknownService, Code::NotFound])];
    /// From routes that ask for something one-time.
    OfThing: [group(404, &[Code::NotFound])];
    /// From routes where one account is meant and none need be named.
    OneOfSeveral: [group(409, &[Code::AccountRequired])];
    /// From routes that the operator may close.
    ByPolicy: [group(403, &[Code::Forbidden])];
    /// From the proxy alone.
    OfProxy: [
        group(401, &[Code::AuthRequired, Code::Unauthenticated]),
        group(403, &[Code::AdditionalScopesRequired, Code::Forbidden]),
        group(502, &[Code::UpstreamUnreachable, Code::RefreshFailed]),
        group(503, &[Code::Unavailable]),
        group(504, &[Code::UpstreamTimeout]),
    ];
}

impl Group {
    pub(super) fn kinds(self) -> Vec<Kind> {
        catalogue()
            .into_iter()
            .filter(|Kind { refusal, .. }| refusal.status.as_u16() == self.http && self.codes.contains(&refusal.code))
            .collect()
    }

    /// The component's name: `UnknownServiceOrNotFound`, `TooLarge413`.
    pub(super) fn name(self) -> String {
        let names: Vec<String> = self.codes.iter().map(|code| camel(code.as_str())).collect();
        let number = if self.codes == [Code::TooLarge] { self.http.to_string() } else { String::new() };
        format!("{}{number}", names.join("Or"))
    }

    fn reference(self) -> RefOr<Response> {
        Ref::from_response_name(self.name()).into()
    }

    /// The component.
    pub(super) fn component(self) -> Response {
        let kinds = self.kinds();
        let whens: Vec<String> =
            kinds.iter().map(|Kind { refusal, when }| format!("`{}`: {when}.", refusal.code.as_str())).collect();
        let mut response = ResponseBuilder::new()
            .description(whens.join(" "))
            .content("application/json", self.content(&kinds))
            .content("text/html", page());
        for (name, _) in headers().iter().filter(|(name, _)| *name != "Valetkey-Status") {
            if GENERAL.contains(name) || kinds.iter().any(|kind| has_header(kind, name)) {
                response = response.header_ref(*name, Ref::new(format!("#/components/headers/{name}")));
            }
        }
        response.header_ref("Valetkey-Status", Ref::new("#/components/headers/Valetkey-Status")).build()
    }

    /// The general body, narrowed to these codes and what they always say.
    fn content(self, kinds: &[Kind]) -> Content {
        let words = kinds.iter().map(|kind| kind.refusal.code.as_str());
        let mut narrowed = ObjectBuilder::new().property("status", one_of(words));
        let always = |name: &str| kinds.iter().all(|kind| kind.refusal.member_names().any(|member| member == name));
        for name in kinds.first().into_iter().flat_map(|kind| kind.refusal.member_names()).filter(|name| always(name)) {
            narrowed = narrowed.required(name);
            if let ("reason", [code]) = (name, self.codes) {
                narrowed = narrowed.property(name, member(name, Some(*code)));
            }
        }
        let schema = AllOfBuilder::new().item(reference("Refusal")).item(narrowed);
        let examples = kinds.iter().enumerate().map(|(index, Kind { refusal, .. })| {
            let earlier = kinds[..index].iter().filter(|kind| kind.refusal.code == refusal.code).count();
            let number = if earlier == 0 { String::new() } else { format!("_{}", earlier + 1) };
            let value: Option<Value> = serde_json::from_str(&refusal.json(&RequestId::from_number(1))).ok();
            (format!("{}{number}", refusal.code.as_str()), ExampleBuilder::new().value(value).build())
        });
        ContentBuilder::new().schema(Some(schema)).examples_from_iter(examples).build()
    }
}

/// Where `Accept` prefers it.
fn page() -> Content {
    let page = ObjectBuilder::new().schema_type(Type::String);
    ContentBuilder::new()
        .schema(Some(page.description(Some("A page for a person, where `Accept` prefers it."))))
        .build()
}

fn has_header(kind: &Kind, name: &str) -> bool {
    kind.refusal.header_names().any(|header| header.as_str().eq_ignore_ascii_case(name))
}

fn camel(snake: &str) -> String {
    let capital = |word: &str| word[..1].to_ascii_uppercase() + &word[1..];
    snake.split('_').map(capital).collect()
}

/// The headers of every answer of Valetkey's own.
pub(super) const GENERAL: [&str; 2] = ["Valetkey-Request-Id", "Cache-Control"];

/// The headers that answers have, as components.
pub(super) fn headers() -> Vec<(&'static str, Header)> {
    let text = || ObjectBuilder::new().schema_type(Type::String);
    let always = |schema: RefOr<utoipa::openapi::Schema>, description: &str| {
        let mut header = HeaderBuilder::new().schema(Some(schema)).description(Some(description)).build();
        // The builder knows no `required` (OpenAPI 3.1.0 §4.8.21).
        header.extensions = Some(Extensions::from_iter([("required", true)]));
        header
    };
    vec![
        ("Valetkey-Request-Id", always(reference("RequestId"), "Names the request, in the answer and in the logs.")),
        ("Cache-Control", always(one_of(["no-store"]).into(), "Answers are nobody else's.")),
        (
            "Valetkey-Status",
            always(reference("RefusalStatus"), "The `status` of the body. The upstream's answers lack it."),
        ),
        ("WWW-Authenticate", always(text().into(), "RFC 9110 §11.6.1.")),
        (
            "Retry-After",
            always(
                ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)).into(),
                "How many seconds to wait before the same request may succeed.",
            ),
        ),
        ("Allow", always(text().into(), "The methods that the route knows (RFC 9110 §10.2.1).")),
    ]
}
