//! What is recorded of one call: a span of its own, and one for each of its parts. Names and attributes are those of OpenTelemetry's
//! conventions for HTTP.

use std::time::Instant;

use http::{Method, StatusCode};

use super::{
    Parent, SpanId, TraceId,
    context::traceparent,
    otlp::{KeyValue, Kind, Span, Status},
};
use crate::clock::Timestamp;

/// A call that is recorded.
#[derive(Debug)]
pub struct Trace {
    id: TraceId,
    parent: Option<SpanId>,
    state: String,
    /// Names spans: the call's own, then its parts', one after the other.
    first: u64,
    began: (Instant, Timestamp),
    /// When the last part ended.
    lap: Instant,
    spans: Vec<Span>,
}

/// How a call has ended.
#[derive(Debug)]
pub struct Ended<'a> {
    /// Its method.
    pub method: &'a Method,
    /// Its path, without account and query.
    pub path: String,
    /// The service, where it is known.
    pub service: Option<&'a str>,
    /// The status of the answer, where there was one.
    pub status: Option<StatusCode>,
    /// In a word, as the metrics have it.
    pub outcome: &'static str,
    /// The request's id, where it has one.
    pub request_id: Option<&'a str>,
}

/// What the upstream was asked, and how it answered.
#[derive(Debug, Clone, Copy)]
pub struct Upstreamed<'a> {
    /// The method.
    pub method: &'a Method,
    /// The upstream's host …
    pub host: &'a str,
    /// … and port.
    pub port: u16,
    /// The status of its answer, where one came.
    pub status: Option<StatusCode>,
}

impl Trace {
    /// Of a call that began then. `parent`: whose it goes on, with its `tracestate`.
    pub fn begin(parent: Option<(Parent, String)>, began: (Instant, Timestamp)) -> Box<Self> {
        let mut random = [0; 24];
        // Without randomness its name is of no use, and no harm.
        let _ = getrandom::fill(&mut random);
        let (own, rest) = random.split_first_chunk::<16>().expect("16 of 24");
        let first = u64::from_be_bytes(*rest.first_chunk().expect("8 of 8")) | 1;
        let (id, parent, state) = match parent {
            Some((parent, state)) => (parent.trace, Some(parent.span), state),
            None => (*own, None, String::new()),
        };
        Box::new(Self { id, parent, state, first, began, lap: began.0, spans: Vec::with_capacity(4) })
    }

    /// Its name.
    pub fn id(&self) -> TraceId {
        self.id
    }

    /// A part has ended that began when the last one ended.
    pub fn lap(&mut self, name: &'static str, now: Instant) {
        let began = std::mem::replace(&mut self.lap, now);
        self.part(name, began, now);
    }

    /// A part of its own.
    pub fn part(&mut self, name: &'static str, from: Instant, to: Instant) {
        let span = self.span(name.to_owned(), Kind::Internal, (from, to), Vec::new());
        self.spans.push(span);
    }

    /// `traceparent` for the upstream: the part that will be told to [`Trace::upstream`] next is its parent.
    pub fn traceparent(&self) -> String {
        traceparent(self.id, self.next())
    }

    /// Its `tracestate`, as it came.
    pub fn state(&self) -> &str {
        &self.state
    }

    /// The upstream was asked, and has answered.
    pub fn upstream(&mut self, asked: Upstreamed<'_>, from: Instant, to: Instant) {
        let mut attributes = vec![
            KeyValue::text("http.request.method", asked.method.as_str()),
            KeyValue::text("server.address", asked.host),
            KeyValue::number("server.port", asked.port),
        ];
        attributes.extend(asked.status.map(|status| KeyValue::number("http.response.status_code", status.as_u16())));
        let mut span = self.span(asked.method.to_string(), Kind::Client, (from, to), attributes);
        match asked.status {
            Some(status) if status.is_client_error() || status.is_server_error() => span.failed(status.as_str()),
            Some(_) => {}
            None => span.failed("no_answer"),
        }
        self.spans.push(span);
        self.lap = to;
    }

    /// The call has ended: its own span joins those of its parts.
    pub fn end(&mut self, ended: &Ended<'_>, now: Instant) {
        let mut attributes = vec![
            KeyValue::text("http.request.method", ended.method.as_str()),
            KeyValue::text("url.path", ended.path.as_str()),
            KeyValue::text("valetkey.outcome", ended.outcome),
        ];
        attributes.extend(ended.service.map(|service| KeyValue::text("valetkey.service", service)));
        attributes.extend(ended.request_id.map(|id| KeyValue::text("valetkey.request_id", id)));
        attributes.extend(ended.status.map(|status| KeyValue::number("http.response.status_code", status.as_u16())));
        let route = ended.service.map_or_else(|| "/proxy".to_owned(), |service| format!("/proxy/{service}"));
        let name = format!("{} {route}", ended.method);
        let mut span = self.span(name, Kind::Server, (self.began.0, now), attributes);
        span.span_id = self.first.to_be_bytes().to_vec();
        span.parent_span_id = self.parent.map(Vec::from).unwrap_or_default();
        match ended.status {
            Some(status) if status.is_server_error() => span.failed(status.as_str()),
            Some(_) => {}
            None => span.failed(ended.outcome),
        }
        self.spans.push(span);
    }

    /// How many spans it has.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    pub(super) fn spans(self) -> Vec<Span> {
        self.spans
    }

    /// The name of the next part.
    fn next(&self) -> SpanId {
        self.first.wrapping_add(self.spans.len() as u64 + 1).to_be_bytes()
    }

    fn span(&self, name: String, kind: Kind, (from, to): (Instant, Instant), attributes: Vec<KeyValue>) -> Span {
        Span {
            trace_id: self.id.to_vec(),
            span_id: self.next().to_vec(),
            trace_state: self.state.clone(),
            parent_span_id: self.first.to_be_bytes().to_vec(),
            name,
            kind: kind.into(),
            start: self.nanos(from),
            end: self.nanos(to),
            attributes,
            status: None,
            flags: 1,
        }
    }

    /// A moment in nanoseconds since the epoch, as exact as the call's beginning is told.
    fn nanos(&self, at: Instant) -> u64 {
        let (began, time) = self.began;
        let since = u64::try_from(at.saturating_duration_since(began).as_nanos()).unwrap_or(u64::MAX);
        time.millis().saturating_mul(1_000_000).saturating_add(since)
    }
}

impl Span {
    fn failed(&mut self, kind: &str) {
        self.status = Some(Status::ERROR);
        self.attributes.push(KeyValue::text("error.type", kind));
    }
}
