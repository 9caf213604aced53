//! The story of a request, phase by phase, in the order in which Pingora tells it.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Version, header};
use pingora::{
    Error, ErrorSource, ErrorType, Result,
    http::{RequestHeader, ResponseHeader},
    modules::http::HttpModules,
    proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session},
    upstreams::peer::HttpPeer,
};

use crate::{
    connection::{AfterRejection, Unusable},
    refusal::{REQUEST_ID, Refusal},
    telemetry::metrics::{CacheOutcome, RequestOutcome},
};

use super::{
    Gate,
    answer::{self, DEAD, Origin, REFUSED, taken_back},
    call::{self, Admitted, Call, Remedy},
    context::{Context, Finding, Way},
    refuse::refuse,
    scrub, target, upstream,
};

const KEEPALIVE_S: u64 = 60;
/// So many addresses of an upstream are tried.
const ADDRESSES: usize = 3;

#[async_trait]
impl ProxyHttp for Gate {
    type CTX = Context;

    fn new_ctx(&self) -> Context {
        Context::new(self.core.clock.now())
    }

    /// None: they would compress, and so hold up, what only passes through.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn early_request_filter(&self, session: &mut Session, context: &mut Context) -> Result<()> {
        self.deadlines.head_is_there(session.as_downstream());
        context.in_flight = Some(self.core.metrics.begin());
        let keepalive = (!self.core.drain.is_draining()).then_some(KEEPALIVE_S);
        session.set_keepalive(keepalive);
        session.as_downstream_mut().set_total_drain_timeout(Some(Duration::from_secs(5)));
        Ok(())
    }

    async fn request_filter(&self, session: &mut Session, context: &mut Context) -> Result<bool> {
        match self.admit(session, context).await {
            Ok(()) => Ok(false),
            Err(refusal) => refuse(&self.core, session, context, &refusal).await.map(|_| true),
        }
    }

    async fn upstream_peer(&self, _session: &mut Session, context: &mut Context) -> Result<Box<HttpPeer>> {
        if let Err(refusal) = self.act_on_finding(context).await {
            context.refusal = Some(refusal);
            return Error::e_explain(REFUSED, "no credential to go on with");
        }
        self.peer(context).await
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        context: &mut Context,
    ) -> Result<()> {
        if context.replaying && session.as_ref().get_retry_buffer().is_some() {
            request.remove_header(&header::EXPECT);
        }
        match &context.way {
            Way::Call(call) => self.send_call(session, request, call),
            Way::Own | Way::Unknown => self.send_own(request, context),
        }
    }

    async fn request_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        context: &mut Context,
    ) -> Result<()> {
        // An empty last piece would be written as a second end of the body, and the next caller on this upstream
        // connection would get the answer to it (docs/PINGORA.md 5).
        if end && body.as_ref().is_some_and(Bytes::is_empty) {
            *body = None;
        }
        context.body_bytes += body.as_ref().map_or(0, |piece| piece.len() as u64);
        let Some(call) = context.call() else { return Ok(()) };
        if let Err(refusal) = call::within_body(context.body_bytes, &self.core, &call.service) {
            context.refusal = Some(refusal);
            return Error::e_explain(REFUSED, "the body is too large");
        }
        Ok(())
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        header: &mut ResponseHeader,
        context: &mut Context,
    ) -> Result<()> {
        if header.status.is_informational() || self.hold(session, header, context)? {
            return Ok(());
        }
        let replayable = !session.as_ref().retry_buffer_truncated();
        if answer::judge(&self.core, context, header, None, replayable) {
            return Ok(());
        }
        Err(taken_back(context))
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        header: &mut ResponseHeader,
        context: &mut Context,
    ) -> Result<()> {
        if self.core.drain.is_draining() {
            session.set_keepalive(None);
        }
        if header.status.is_informational() && header.status != http::StatusCode::SWITCHING_PROTOCOLS {
            return Ok(());
        }
        self.dress(session, header, context)
    }

    fn upstream_response_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        context: &mut Context,
    ) -> Result<Option<Duration>> {
        self.look(session, body, end, context).map(|()| None)
    }

    fn fail_to_connect(
        &self,
        _session: &mut Session,
        _peer: &HttpPeer,
        context: &mut Context,
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
        context: &mut Context,
        reused: bool,
    ) -> Box<Error> {
        context.held = None;
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

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, context: &mut Context) -> FailToProxy {
        let answered = session.response_written().is_some_and(|header| !header.status.is_informational());
        let refusal = if answered { None } else { self.refusal_for(error, context).await };
        // Pingora closes the connection after this, whatever was said: so it is said.
        session.set_keepalive(None);
        let error_code = match refusal {
            Some(refusal) => refuse(&self.core, session, context, &refusal).await.unwrap_or(0),
            None => 0,
        };
        FailToProxy { error_code, can_reuse_downstream: false }
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, context: &mut Context) {
        self.deadlines.answer_is_done(session.as_downstream());
        let Some(call) = context.call() else { return };
        let Some(reached) = self.core.reached.get(&call.service.name) else { return };
        let status = session.response_written().map(|header| header.status);
        let outcome = match (context.outcome, status, error) {
            (Some(outcome), _, _) => outcome,
            (None, Some(status), None) => RequestOutcome::answered(status),
            (None, _, _) => RequestOutcome::ClientGone,
        };
        reached.metrics.request(outcome, context.started.elapsed().as_secs_f64());
    }

    /// Pingora's own lines would show paths, queries and more.
    fn suppress_error_log(&self, _session: &Session, _context: &Context, _error: &Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(
        &self,
        _session: &Session,
        _context: &Context,
        _error: &Error,
        _about: ProxyWarnLogContext,
    ) -> bool {
        true
    }

    fn request_summary(&self, _session: &Session, context: &Context) -> String {
        context.call().map_or_else(|| "own route".to_owned(), |call| format!("service {}", call.service.name))
    }
}

impl Gate {
    /// Settles where a request goes and what it carries.
    async fn admit(&self, session: &Session, context: &mut Context) -> Result<(), Refusal> {
        let head = session.req_header();
        let line = session.as_downstream().as_http1().map(|session| session.get_headers_raw_bytes());
        let raw = line.as_deref().map_or_else(|| head.raw_path(), target::of_request_line);
        let mut call = match call::admit(&self.core, head, raw, self.serves.proxy).await? {
            Admitted::Own => {
                context.way = Way::Own;
                return Ok(());
            }
            Admitted::Call(call) => call,
        };
        let connections = &self.core.connections;
        let cached = connections.cached(&call.want(), context.began);
        self.core.metrics.credential_cache(if cached.is_some() { CacheOutcome::Hit } else { CacheOutcome::Miss });
        let credential = match cached {
            Some(credential) => Ok(credential),
            None => connections.resolve(&call.want()).await,
        };
        match credential {
            Ok(credential) => call.credential = Some(credential),
            Err(unusable) => {
                let refusal = self.core.refusal(&call, &unusable).await;
                context.way = Way::Call(call);
                return Err(refusal);
            }
        }
        context.way = Way::Call(call);
        Ok(())
    }

    /// Before a request is sent again: another credential.
    async fn act_on_finding(&self, context: &mut Context) -> Result<(), Refusal> {
        let Some(Finding::Rejected { credential, .. }) = context.finding.take() else { return Ok(()) };
        let began = context.began;
        let Some(call) = context.call_mut() else { return Ok(()) };
        let now = self.core.clock.now();
        let connections = &self.core.connections;
        let after = match call.remedy {
            Remedy::None | Remedy::Replaced => connections.rejected(&call.want(), &credential, began).await,
            Remedy::Renewed | Remedy::PassOn => connections.rejected_again(&call.want(), &credential, began).await,
        };
        match after {
            AfterRejection::Replay(next) => {
                let renewed = next.issued_at.is_some_and(|issued| issued >= now);
                call.remedy = if renewed || call.remedy != Remedy::None { Remedy::Renewed } else { Remedy::Replaced };
                call.credential = Some(next);
                Ok(())
            }
            AfterRejection::PassOn => {
                call.remedy = Remedy::PassOn;
                Ok(())
            }
            AfterRejection::Refuse(unusable) => Err(self.core.refusal(call, &unusable).await),
        }
    }

    async fn peer(&self, context: &mut Context) -> Result<Box<HttpPeer>> {
        let unreachable = context.unreachable;
        let Some(call) = context.call() else {
            let mut peer = HttpPeer::new_uds("/in-memory/own-routes", false, String::new())?;
            peer.options.custom_l4 = Some(Arc::clone(&self.own_routes) as _);
            return Ok(Box::new(peer));
        };
        let base = &call.service.base;
        let addresses = self.core.names.resolve(base.host(), base.port()).await;
        let Ok(addresses) = addresses else {
            return Err(Error::explain(ErrorType::ConnectNoRoute, "the upstream's name has no address").into_up());
        };
        let address = addresses[unreachable % addresses.len()];
        let reached = self.core.reached.get(&call.service.name);
        let Some(reached) = reached else { return Error::e_explain(ErrorType::InternalError, "an unknown service") };
        Ok(Box::new(upstream::peer(&call.service, &reached.tls, address, call.manner)))
    }

    /// Pingora has taken the hop-by-hop headers out by now, so nothing that `Connection` names can remove what is put in.
    fn send_call(&self, session: &Session, request: &mut RequestHeader, call: &Call) -> Result<()> {
        let Some(credential) = &call.credential else {
            return Error::e_explain(ErrorType::InternalError, "a call without a credential");
        };
        let service = &call.service;
        let credentials = [service.inject.header(), service.api_key.header()];
        for name in scrub::request_headers_to_drop(&request.headers, credentials) {
            request.remove_header(&name);
        }
        for (name, value) in &service.headers {
            if !request.headers.contains_key(name) {
                request.insert_header(name.clone(), value.clone())?;
            }
        }
        if service.signs.need_bodies() {
            request.insert_header(header::ACCEPT_ENCODING, "identity")?;
        }
        request.insert_header(credential.header.clone(), credential.value.clone())?;
        request.insert_header(header::HOST, service.base.authority())?;
        let trailers = session.req_header().headers.get(header::TE).is_some_and(|te| te == "trailers");
        if trailers && call.manner == upstream::Manner::Grpc {
            request.insert_header(header::TE, "trailers")?;
        }
        request.set_raw_path(call.target.as_bytes())
    }

    fn send_own(&self, request: &mut RequestHeader, context: &Context) -> Result<()> {
        let request_id = context.request_id.clone().unwrap_or_else(|| self.core.request_ids.next());
        request.insert_header(REQUEST_ID, request_id.as_str())
    }

    pub(super) fn dress(&self, session: &Session, header: &mut ResponseHeader, context: &Context) -> Result<()> {
        let Some(call) = context.call() else { return Ok(()) };
        let head = session.req_header();
        let host = match head.uri.authority() {
            Some(authority) if head.version >= Version::HTTP_2 => authority.as_str(),
            _ => head.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default(),
        };
        let scheme = if self.encrypted { "https" } else { "http" };
        answer::dress(&self.core, call, header, &Origin { scheme, host })
    }

    /// What to answer where Pingora could not go on. `None`: there is nobody to answer.
    async fn refusal_for(&self, error: &Error, context: &mut Context) -> Option<Refusal> {
        if let Some(refusal) = context.refusal.take() {
            return Some(refusal);
        }
        if let Some(refusal) = self.refusal_for_finding(context).await {
            return Some(refusal);
        }
        let title = context.call().map(|call| call.service.title.clone());
        match (error.esource(), error.etype(), title) {
            (ErrorSource::Downstream, ErrorType::InvalidHTTPHeader, _) => {
                Some(Refusal::bad_request("The request's headers are malformed"))
            }
            (ErrorSource::Downstream, _, _) => None,
            (_, ErrorType::ReadTimedout | ErrorType::WriteTimedout, Some(title)) => {
                Some(Refusal::upstream_timeout(&title))
            }
            (ErrorSource::Upstream, _, Some(title)) => Some(Refusal::upstream_unreachable(&title)),
            (_, kind, _) => {
                tracing::error!(kind = kind.as_str(), "a request failed inside the proxy");
                Some(Refusal::error())
            }
        }
    }

    /// A finding that could not be acted on by sending the request again.
    async fn refusal_for_finding(&self, context: &mut Context) -> Option<Refusal> {
        let began = context.began;
        match (context.finding.take()?, context.call()) {
            (Finding::MissingScopes(scopes), Some(call)) => {
                let credential = call.credential.as_ref()?;
                let account = credential.id.account.clone();
                Some(self.core.refusal(call, &Unusable::MissingScopes { scopes, account }).await)
            }
            (Finding::Rejected { credential, .. }, Some(call)) => {
                match self.core.connections.rejected(&call.want(), &credential, began).await {
                    // The next call has the new credential; this one's body is gone.
                    AfterRejection::Replay(_) | AfterRejection::PassOn => Some(Refusal::unavailable(0)),
                    AfterRejection::Refuse(unusable) => Some(self.core.refusal(call, &unusable).await),
                }
            }
            (_, None) => None,
        }
    }
}
