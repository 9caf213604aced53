//! What is told of a call beside its answer: numbers, a line in the log, a trace, and how long what took. Which calls have a line
//! although all went well, and which have a trace, is settled when they begin; nothing is made for the others. Never
//! tells a user, an account, a query or a header.

use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, StatusCode, request::Parts};
use pingora::{Error, Result, http::ResponseHeader, proxy::Session};

use crate::{
    id::RequestId,
    telemetry::{
        metrics::{RequestOutcome, Took},
        trace::{Ended, Parent, Trace, Upstreamed},
    },
};

use super::{
    Core, Gate, answer,
    context::{Context, Way},
};

/// Names a call's trace and the span that it comes from (W3C Trace Context).
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// What others have to say of the trace.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// The longest `tracestate` that is kept, in bytes.
const LONGEST_STATE: usize = 512;

/// The span that a request comes from, where its header names one.
pub fn parent(headers: &HeaderMap) -> Option<Parent> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let parent = Parent::parse(values.next()?.as_bytes())?;
    values.next().is_none().then_some(parent)
}

/// A request's `tracestate`, as one line.
fn state(headers: &HeaderMap) -> String {
    let values: Vec<&str> = headers.get_all(TRACESTATE).iter().filter_map(|value| value.to_str().ok()).collect();
    let state = values.join(",");
    if state.len() > LONGEST_STATE { String::new() } else { state }
}

/// The upstream has answered with this status.
pub fn upstream_answered(status: StatusCode, context: &mut Context) {
    let now = Instant::now();
    let asked = context.timing.answered(now);
    if let (Some(asked), Some(trace), Way::Call(call)) = (asked, &mut context.trace, &context.way) {
        let base = call.upstream().base();
        let upstream = Upstreamed { method: &call.method, host: base.host(), port: base.port(), status: Some(status) };
        trace.upstream(upstream, asked, now);
    }
}

impl Gate {
    /// Settles what is told of a call that begins. `comes_from_a_span`: it may have a `traceparent`.
    pub(super) fn choose(&self, head: &Parts, comes_from_a_span: bool, context: &mut Context) {
        let telling = context.generation.settings.telling;
        context.in_log = self.core.parts.tracer.chooses(telling.share);
        if !telling.traces {
            return;
        }
        let parent = if comes_from_a_span { parent(&head.headers) } else { None };
        if parent.map_or(context.in_log, |parent| parent.sampled) {
            let parent = parent.map(|parent| (parent, state(&head.headers)));
            context.trace = Some(Trace::begin(parent, (context.timing.began, context.began)));
        }
    }

    /// Makes the head of an upstream's answer ready for the client, and says in it how long what took where that is wanted.
    pub(super) fn rewrite_headers(
        &self,
        session: &Session,
        header: &mut ResponseHeader,
        context: &mut Context,
    ) -> Result<()> {
        let Context { timing, way: Way::Call(call), generation, .. } = context else { return Ok(()) };
        let settings = &generation.settings;
        let tells = settings.telling.server_timing;
        let origin = || self.origin(session, &settings.trusted);
        let rewritten = answer::rewrite_headers(call, header, origin, || {
            timing.ready(Instant::now());
            if tells { timing.server_timing() } else { None }
        });
        // An upgrade is told nothing.
        if timing.is_own() && header.status == StatusCode::SWITCHING_PROTOCOLS {
            timing.ready(Instant::now());
        }
        rewritten
    }

    /// A request has ended: counts it, and tells what was to be told of it.
    pub(super) fn ended(&self, session: &Session, error: Option<&Error>, context: &mut Context) {
        let now = Instant::now();
        self.deadlines.answer_is_done(now);
        let status = session.response_written().map(|header| header.status);
        let total = now.saturating_duration_since(context.timing.began);
        let outcome = match (context.outcome, context.call(), status, error) {
            (Some(outcome), ..) => outcome,
            (None, None, ..) => return,
            (None, Some(_), Some(status), None) => RequestOutcome::answered(status),
            (None, Some(_), ..) => RequestOutcome::ClientGone,
        };
        let took = context.timing.took(total).filter(|_| context.outcome.is_none());
        let metrics = context.route().map_or(&self.core.nowhere, |route| &route.metrics);
        match &took {
            Some(took) => {
                let trace = context.trace.as_ref().map(|trace| (trace.id(), context.began.plus(total)));
                metrics.call(outcome, took, trace);
            }
            None => metrics.request(outcome, total),
        }
        if context.in_log && context.outcome.is_none() {
            tell(outcome, status, (total, took), context);
        }
        if context.trace.is_some() {
            end_trace(&self.core, (outcome, status), session, (context, now));
        }
    }
}

/// Ends the trace of a request that has ended, and hands it over.
fn end_trace(
    core: &Core,
    (outcome, status): (RequestOutcome, Option<StatusCode>),
    session: &Session,
    (context, now): (&mut Context, Instant),
) {
    let Some(mut trace) = context.trace.take() else { return };
    let service = context.route().map(|route| route.service.name.as_str());
    let path = context.call().map(|call| call.target.path().as_str()).unwrap_or_default();
    if let (Some(asked), Some(call)) = (context.timing.unanswered(), context.call()) {
        let base = call.upstream().base();
        let upstream = Upstreamed { method: &call.method, host: base.host(), port: base.port(), status: None };
        trace.upstream(upstream, asked, now);
    }
    let ended = Ended {
        method: &session.req_header().method,
        path: format!("/proxy/{}{path}", service.unwrap_or_default()),
        service,
        status: status.filter(|_| outcome != RequestOutcome::ClientGone),
        outcome: outcome.name(),
        request_id: context.request_id.as_ref().map(RequestId::as_str),
    };
    trace.end(&ended, now);
    if let Err(lost) = core.parts.tracer.record(trace) {
        core.parts.metrics.spans_dropped(lost as u64);
    }
}

/// A line for a call that was chosen.
fn tell(
    outcome: RequestOutcome,
    status: Option<StatusCode>,
    (total, took): (Duration, Option<Took>),
    context: &Context,
) {
    let Some(call) = context.call() else { return };
    tracing::info!(
        target: "valetkey::calls",
        service = %call.route.service.name,
        method = %call.method,
        outcome = outcome.name(),
        http = status.map(|status| status.as_u16()),
        took_ms = millis(total),
        own_ms = took.map(|took| millis(took.own)),
        upstream_ms = took.map(|took| millis(took.upstream)),
        trace_id = context.trace_id(),
        "answered"
    );
}

/// Milliseconds, to the microsecond.
pub fn millis(time: Duration) -> f64 {
    f64::from(u32::try_from(time.as_micros()).unwrap_or(u32::MAX)) / 1000.0
}
