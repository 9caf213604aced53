//! What JSON looks like where no derive can tell: the parameters of paths, and all that follows from the catalogue of
//! refusals. Describes; decides nothing.

use std::borrow::Cow;

use utoipa::{
    IntoParams, PartialSchema, ToSchema,
    openapi::{
        Array, ObjectBuilder, Ref, RefOr, Required, Schema, SchemaFormat, Type,
        path::{Parameter, ParameterBuilder, ParameterIn},
        schema::{AnyOfBuilder, OneOfBuilder},
    },
};

use crate::{
    caller,
    refusal::{Code, Kind, catalogue},
};

/// What a refusal or one item of a preflight has beside what all of them have.
pub(super) fn member(name: &str, code: Option<Code>) -> RefOr<Schema> {
    match (name, code) {
        ("service", _) => reference("ServiceName"),
        ("account", _) => reference("Account"),
        ("accounts", _) => {
            described(Array::new(Ref::from_schema_name("Account")), "The accounts there are to choose from.")
        }
        ("auth_url", _) => ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::Custom("uri".into())))
            .description(Some("A connect link: short-lived, for one person. Show it to the caller; keep it nowhere."))
            .into(),
        ("expires_in", _) => seconds("How long the link lives, in seconds."),
        ("new_scopes", _) => {
            described(Array::new(ObjectBuilder::new().schema_type(Type::String)), "The scopes that the grant lacks.")
        }
        ("reason", Some(Code::AuthRequired)) => reference("Reason"),
        ("reason", Some(Code::Unauthenticated)) => reference("UnauthenticatedReason"),
        ("reason", _) => AnyOfBuilder::new().item(reference("Reason")).item(reference("UnauthenticatedReason")).into(),
        // A test holds that no other name comes here.
        _ => ObjectBuilder::new().description(Some("undescribed")).into(),
    }
}

fn described(array: Array, description: &str) -> RefOr<Schema> {
    let mut array = array;
    array.description = Some(description.to_owned());
    array.into()
}

fn seconds(description: &str) -> RefOr<Schema> {
    ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)).description(Some(description)).into()
}

pub(super) fn reference(name: &str) -> RefOr<Schema> {
    Ref::from_schema_name(name).into()
}

/// One of these texts.
pub(super) fn one_of<'a>(words: impl IntoIterator<Item = &'a str>) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words))
}

fn text(description: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).description(Some(description))
}

fn retryable() -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Boolean)
        .description(Some("Whether the same request may succeed later without anybody's doing."))
}

/// `?account=`.
pub(super) struct AccountInQuery;

impl IntoParams for AccountInQuery {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![
            ParameterBuilder::new()
                .name("account")
                .parameter_in(ParameterIn::Query)
                .required(Required::False)
                .description(Some("The account; none: `default` if it exists, else the only one there is, else 409."))
                .schema(Some(reference("Account")))
                .build(),
        ]
    }
}

/// The `status` of a refusal.
pub(super) struct RefusalStatus;

impl PartialSchema for RefusalStatus {
    fn schema() -> RefOr<Schema> {
        one_of(Code::ALL.map(Code::as_str))
            .description(Some("What a client compares. docs/ERRORS.md lists them."))
            .into()
    }
}

impl ToSchema for RefusalStatus {}

/// Why the caller's own JWT is not believed.
pub(super) struct UnauthenticatedReason;

impl PartialSchema for UnauthenticatedReason {
    fn schema() -> RefOr<Schema> {
        use caller::Reason::{Expired, Invalid, Malformed, Missing, NotYetValid};
        one_of([Missing, Malformed, Expired, NotYetValid, Invalid].map(caller::Reason::code))
            .description(Some("Why the caller's own JWT is not believed."))
            .into()
    }
}

impl ToSchema for UnauthenticatedReason {}

/// The body of every refusal.
pub(super) struct RefusalBody;

impl PartialSchema for RefusalBody {
    fn schema() -> RefOr<Schema> {
        let mut schema = ObjectBuilder::new()
            .description(Some("An answer of Valetkey's own to a request that it does not serve."))
            .property("status", reference("RefusalStatus"))
            .property("message", text("A sentence fit to show a person."))
            .property("retryable", retryable())
            .property("request_id", reference("RequestId"));
        for name in ["status", "message", "retryable", "request_id"] {
            schema = schema.required(name);
        }
        for name in catalogue().iter().flat_map(|kind| kind.refusal.member_names()) {
            schema = schema.property(name, member(name, None));
        }
        schema.into()
    }
}

impl ToSchema for RefusalBody {
    fn name() -> Cow<'static, str> {
        "Refusal".into()
    }
}

/// What `POST /preflight` says of one service.
pub(super) struct Outcome;

/// The refusals that stand in a preflight.
const FORESEEN: [Code; 4] =
    [Code::AuthRequired, Code::AdditionalScopesRequired, Code::AccountRequired, Code::Unavailable];

impl PartialSchema for Outcome {
    fn schema() -> RefOr<Schema> {
        let status = |word| one_of([word]);
        let ready = ObjectBuilder::new()
            .title(Some("ready"))
            .property("service", reference("ServiceName"))
            .property("account", reference("Account"))
            .property("status", status("ready").description(Some("A call would find a usable credential.")))
            .required("service")
            .required("account")
            .required("status");
        let unknown = ObjectBuilder::new()
            .title(Some(Code::UnknownService.as_str()))
            .property("service", reference("ServiceName"))
            .property("status", status(Code::UnknownService.as_str()).description(Some("There is no such service.")))
            .required("service")
            .required("status");
        let mut outcomes =
            OneOfBuilder::new().description(Some("What a call of one service would meet.")).item(ready).item(unknown);
        for Kind { refusal, when } in catalogue().into_iter().filter(|kind| FORESEEN.contains(&kind.refusal.code)) {
            let word = refusal.code.as_str();
            let mut item = ObjectBuilder::new()
                .title(Some(word))
                .property("service", reference("ServiceName"))
                .property("account", reference("Account"))
                .property("status", status(word).description(Some(format!("{when}."))))
                .property("message", text("A sentence fit to show a person."));
            for name in refusal.member_names() {
                item = item.property(name, member(name, Some(refusal.code)));
            }
            item = item.property("retryable", retryable());
            for name in ["service", "status", "message", "retryable"] {
                item = item.required(name);
            }
            for name in refusal.member_names().filter(|name| *name != "service") {
                item = item.required(name);
            }
            outcomes = outcomes.item(item);
        }
        outcomes.into()
    }
}

impl ToSchema for Outcome {
    fn name() -> Cow<'static, str> {
        "PreflightOutcome".into()
    }
}
