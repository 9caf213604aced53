//! The messages of OpenTelemetry's protocol (`opentelemetry.proto.trace.v1` and what it rests on), as far as Valetkey fills them in. Tags
//! and types are OpenTelemetry's own and never change.

use data_encoding::HEXLOWER;
use prost::{Message, Oneof};

use super::Trace;

/// Who tells: the attributes of all spans of this process.
#[derive(Debug, Clone)]
pub struct Resource(Vec<KeyValue>);

impl Resource {
    /// This process, under a random name of its own.
    pub fn of_this_process() -> Self {
        let mut instance = [0; 16];
        // A name that another has, too, is no harm.
        let _ = getrandom::fill(&mut instance);
        Self(vec![
            KeyValue::text("service.name", "valetkey"),
            KeyValue::text("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::text("service.instance.id", HEXLOWER.encode(&instance)),
        ])
    }

    /// The body of a request that delivers these traces.
    pub fn request(&self, traces: Vec<Box<Trace>>) -> Vec<u8> {
        let scope = Scope { name: "valetkey".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() };
        let spans = traces.into_iter().flat_map(|trace| trace.spans()).collect();
        let request = Request {
            resource_spans: vec![ResourceSpans {
                resource: Some(ResourceMessage { attributes: self.0.clone() }),
                scope_spans: vec![ScopeSpans { scope: Some(scope), spans }],
            }],
        };
        request.encode_to_vec()
    }
}

/// How many spans of a request a collector did not take, by its answer.
pub fn rejected(answer: &[u8]) -> u64 {
    let answer = Answer::decode(answer).unwrap_or_default();
    answer.partial_success.map_or(0, |partly| u64::try_from(partly.rejected_spans).unwrap_or(0))
}

#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(message, repeated, tag = "1")]
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    resource: Option<ResourceMessage>,
    #[prost(message, repeated, tag = "2")]
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceMessage {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeSpans {
    #[prost(message, optional, tag = "1")]
    scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    spans: Vec<Span>,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct Scope {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    version: String,
}

/// One span.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Span {
    #[prost(bytes = "vec", tag = "1")]
    pub trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub span_id: Vec<u8>,
    #[prost(string, tag = "3")]
    pub trace_state: String,
    #[prost(bytes = "vec", tag = "4")]
    pub parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    pub name: String,
    #[prost(enumeration = "Kind", tag = "6")]
    pub kind: i32,
    /// In nanoseconds since the epoch.
    #[prost(fixed64, tag = "7")]
    pub start: u64,
    #[prost(fixed64, tag = "8")]
    pub end: u64,
    #[prost(message, repeated, tag = "9")]
    pub attributes: Vec<KeyValue>,
    #[prost(message, optional, tag = "15")]
    pub status: Option<Status>,
    /// As `traceparent` has them.
    #[prost(fixed32, tag = "16")]
    pub flags: u32,
}

/// What a span is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub(super) enum Kind {
    /// Nothing is said.
    Unspecified = 0,
    /// Work of the process's own.
    Internal = 1,
    /// It answers a request.
    Server = 2,
    /// It makes one.
    Client = 3,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct Status {
    /// 2: an error. Spans without one leave the whole status out.
    #[prost(int32, tag = "3")]
    pub code: i32,
}

impl Status {
    /// What went wrong, attributes say.
    pub(super) const ERROR: Self = Self { code: 2 };
}

/// An attribute.
#[derive(Clone, PartialEq, Message)]
pub(super) struct KeyValue {
    #[prost(string, tag = "1")]
    pub key: String,
    #[prost(message, optional, tag = "2")]
    pub value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct AnyValue {
    #[prost(oneof = "Value", tags = "1, 3")]
    pub value: Option<Value>,
}

#[derive(Clone, PartialEq, Eq, Oneof)]
pub(super) enum Value {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(int64, tag = "3")]
    Number(i64),
}

impl KeyValue {
    /// A text.
    pub(super) fn text(key: &str, value: impl Into<String>) -> Self {
        Self::new(key, Value::Text(value.into()))
    }

    /// A number.
    pub(super) fn number(key: &str, value: impl Into<i64>) -> Self {
        Self::new(key, Value::Number(value.into()))
    }

    fn new(key: &str, value: Value) -> Self {
        Self { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }) }
    }
}

#[derive(Clone, PartialEq, Message)]
struct Answer {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct PartialSuccess {
    #[prost(int64, tag = "1")]
    rejected_spans: i64,
}
