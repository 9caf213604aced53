//! The story of a request, phase by phase, in the order in which Pingora tells it.

use std::{
    future::{Future, ready},
    os::fd::RawFd,
    pin::Pin,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, StatusCode, Version, header};
use pingora::{
    Error, Result,
    http::{RequestHeader, ResponseHeader},
    modules::http::HttpModules,
    protocols::Digest,
    proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session},
    upstreams::peer::HttpPeer,
};

use super::{
    Gate,
    admit::Left,
    answer::{DEAD, REFUSED},
    call,
    context::{Context, Way},
    patience,
    ready::{Logged, No, Phase, Yes, done},
    refuse::refuse,
    scrub::scrub_trailers,
    told,
};

/// How many addresses of an upstream are tried.
const ADDRESSES: usize = 3;

#[async_trait]
impl ProxyHttp for Gate {
    // Boxed: it is a part of several of Pingora's futures, which are moved whole, once a request.
    type CTX = Box<Context>;

    fn new_ctx(&self) -> Box<Context> {
        Box::new(Context::new(self.core.now(), self.core.parts.clock.now()))
    }

    /// None: they would compress, and so hold up, what only passes through.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    fn early_request_filter<'a: 's, 'b: 's, 'c: 's, 's>(
        &'a self,
        session: &'b mut Session,
        context: &'c mut Box<Context>,
    ) -> Phase<'s, ()>
    where
        Self: 's,
    {
        self.deadlines.head_is_there(session.as_downstream());
        context.in_flight = Some(self.core.parts.metrics.begin());
        // Idling between requests has its limit in `guard`, so that it costs no timer a request.
        if self.core.parts.drain.is_draining() {
            session.set_keepalive(None);
        }
        session.as_downstream_mut().set_total_drain_timeout(Some(Duration::from_secs(5)));
        done(Ok(()))
    }

    fn request_filter<'a: 's, 'b: 's, 'c: 's, 's>(
        &'a self,
        session: &'b mut Session,
        context: &'c mut Box<Context>,
    ) -> Phase<'s, bool>
    where
        Self: 's,
    {
        let left = self.admit_from_memory(session, context);
        if let Ok(Left::Nothing) = left {
            return Box::pin(No);
        }
        Box::pin(async move {
            let admitted = match left {
                Ok(left) => self.admit(left, session, context).await,
                Err(refusal) => Err(refusal),
            };
            match admitted {
                Ok(()) => Ok(false),
                Err(refusal) => refuse(&self.core, session, context, &refusal).await.map(|_| true),
            }
        })
    }

    /// Said here because the default allocates for it.
    fn proxy_upstream_filter<'a: 's, 'b: 's, 'c: 's, 's>(
        &'a self,
        _session: &'b mut Session,
        _context: &'c mut Box<Context>,
    ) -> Phase<'s, bool>
    where
        Self: 's,
    {
        Box::pin(Yes)
    }

    fn upstream_peer<'a: 's, 'b: 's, 'c: 's, 's>(
        &'a self,
        session: &'b mut Session,
        context: &'c mut Box<Context>,
    ) -> Phase<'s, Box<HttpPeer>>
    where
        Self: 's,
    {
        if let (None, Some(peer)) = (&context.finding, self.peer_at_once(context)) {
            context.timing.goes(Instant::now());
            return Box::pin(ready(Ok(peer)));
        }
        Box::pin(async move {
            if let Err(refusal) = self.act_on_finding(session, context).await {
                context.refusal = Some(refusal);
                return Error::e_explain(REFUSED, "no credential to go on with");
            }
            let peer = self.peer(context).await;
            context.timing.goes(Instant::now());
            peer
        })
    }

    /// Said here, too, because the default allocates for it.
    fn connected_to_upstream<'a: 's, 'b: 's, 'c: 's, 'd: 's, 'e: 's, 's>(
        &'a self,
        _session: &'b mut Session,
        reused: bool,
        _peer: &'c HttpPeer,
        _socket: RawFd,
        _digest: Option<&'d Digest>,
        context: &'e mut Box<Context>,
    ) -> Phase<'s, ()>
    where
        Self: 's,
    {
        if !reused {
            context.timing.connected(Instant::now());
        }
        done(Ok(()))
    }

    fn upstream_request_filter<'a: 's, 'b: 's, 'c: 's, 'd: 's, 's>(
        &'a self,
        session: &'b mut Session,
        request: &'c mut RequestHeader,
        context: &'d mut Box<Context>,
    ) -> Phase<'s, ()>
    where
        Self: 's,
    {
        if context.replaying && session.as_ref().get_retry_buffer().is_some() {
            request.remove_header(&header::EXPECT);
        }
        // What was kept of the body comes through the filter again.
        context.body_bytes = 0;
        if let Some(call) = context.call() {
            patience::be_as_patient(session, &call.route.service.timeouts);
            if request.version == Version::HTTP_2 && request.headers.contains_key(header::EXPECT) {
                request.remove_header(&header::EXPECT);
                return Box::pin(self.go_on_and_send(session, request, context));
            }
        }
        done(match &context.way {
            Way::Call(call) => self.send_call(session, request, (call, context.trace.as_deref())),
            Way::Own | Way::Unknown | Way::Refused(_) => self.send_own(session, request, context),
        })
    }

    fn request_body_filter<'a: 's, 'b: 's, 'c: 's, 'd: 's, 's>(
        &'a self,
        _session: &'b mut Session,
        body: &'c mut Option<Bytes>,
        end: bool,
        context: &'d mut Box<Context>,
    ) -> Phase<'s, ()>
    where
        Self: 's,
    {
        // An empty last piece would be written as a second end of the body, and the next caller on this upstream
        // connection would get the answer to it (docs/PINGORA.md 5).
        if end && body.as_ref().is_some_and(Bytes::is_empty) {
            *body = None;
        }
        context.body_bytes += body.as_ref().map_or(0, |piece| piece.len() as u64);
        let Some(call) = context.call() else { return done(Ok(())) };
        if let Err(refusal) = call::within_body(context.body_bytes, &call.route.service) {
            context.refusal = Some(refusal);
            return done(Error::e_explain(REFUSED, "the body is too large"));
        }
        done(Ok(()))
    }

    /// Only here does Pingora tell whether the head is all of an answer.
    fn adjust_upstream_modules<'a: 's, 'b: 's, 'c: 's, 'd: 's, 's>(
        &'a self,
        _session: &'b mut Session,
        _header: &'c ResponseHeader,
        end: bool,
        context: &'d mut Box<Context>,
    ) -> Phase<'s, ()>
    where
        Self: 's,
    {
        context.head_only = end;
        done(Ok(()))
    }

    fn upstream_response_filter<'a: 's, 'b: 's, 'c: 's, 'd: 's, 's>(
        &'a self,
        session: &'b mut Session,
        header: &'c mut ResponseHeader,
        context: &'d mut Box<Context>,
    ) -> Phase<'s, ()>
    where
        Self: 's,
    {
        if is_answer(header.status) {
            told::upstream_answered(header.status, context);
        }
        done(self.look_at_head(session, header, context))
    }

    fn response_filter<'a: 's, 'b: 's, 'c: 's, 'd: 's, 's>(
        &'a self,
        session: &'b mut Session,
        header: &'c mut ResponseHeader,
        context: &'d mut Box<Context>,
    ) -> Phase<'s, ()>
    where
        Self: 's,
    {
        if self.core.parts.drain.is_draining() {
            session.set_keepalive(None);
        }
        // What stands in for a held answer's head is not sent.
        if context.held.is_some() {
            context.timing.held();
            return done(Ok(()));
        }
        done(self.rewrite_headers(session, header, context))
    }

    fn upstream_response_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        context: &mut Box<Context>,
    ) -> Result<Option<Duration>> {
        self.look(session, body, end, context).map(|()| None)
    }

    fn upstream_response_trailer_filter(
        &self,
        session: &mut Session,
        trailers: &mut HeaderMap,
        context: &mut Box<Context>,
    ) -> Result<()> {
        scrub_trailers(trailers);
        self.look_before_trailers(session, context)
    }

    async fn response_trailer_filter(
        &self,
        session: &mut Session,
        _trailers: &mut HeaderMap,
        context: &mut Box<Context>,
    ) -> Result<Option<Bytes>> {
        self.release_before_trailers(session, context).await.map(|()| None)
    }

    fn fail_to_connect(
        &self,
        _session: &mut Session,
        _peer: &HttpPeer,
        context: &mut Box<Context>,
        mut error: Box<Error>,
    ) -> Box<Error> {
        context.unreachable += 1;
        error.set_retry(context.unreachable < ADDRESSES && context.call().is_some());
        error
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        mut error: Box<Error>,
        context: &mut Box<Context>,
        reused: bool,
    ) -> Box<Error> {
        if context.held.take().is_some() {
            session.set_ignore_info_resp(false);
        }
        if error.etype() == &DEAD {
            context.replaying = true;
            return error;
        }
        // As Pingora does by default: what may have had an effect upstream is never sent twice.
        if !session.req_header().method.is_idempotent() || session.as_ref().retry_buffer_truncated() {
            error.set_retry(false);
        } else {
            error.retry.decide_reuse(reused);
        }
        error
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, context: &mut Box<Context>) -> FailToProxy {
        let answered = session.response_written().is_some_and(|header| !header.status.is_informational());
        let refusal = if answered { None } else { self.refusal_for(session, error, context).await };
        // Pingora closes the connection after this, whatever was said: so it is said.
        session.set_keepalive(None);
        let error_code = match refusal {
            Some(refusal) => refuse(&self.core, session, context, &refusal).await.unwrap_or(0),
            None => 0,
        };
        FailToProxy { error_code, can_reuse_downstream: false }
    }

    fn logging<'a: 's, 'b: 's, 'c: 's, 'd: 's, 's>(
        &'a self,
        session: &'b mut Session,
        error: Option<&'c Error>,
        context: &'d mut Box<Context>,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 's>>
    where
        Self: 's,
    {
        self.ended(session, error, context);
        Box::pin(Logged)
    }

    /// Pingora's own lines would show paths, queries and more.
    fn suppress_error_log(&self, _session: &Session, _context: &Box<Context>, _error: &Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(
        &self,
        _session: &Session,
        _context: &Box<Context>,
        _error: &Error,
        _about: ProxyWarnLogContext,
    ) -> bool {
        true
    }

    fn request_summary(&self, _session: &Session, context: &Box<Context>) -> String {
        context.call().map_or_else(|| "own route".to_owned(), |call| format!("service {}", call.route.service.name))
    }
}

/// Whether this is the head of an answer, and not of what comes before one.
fn is_answer(status: StatusCode) -> bool {
    !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS
}
