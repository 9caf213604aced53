//! How a call goes upstream: to which peer, and with which headers.

use std::sync::Arc;

use http::{Method, header, uri::PathAndQuery};
use pingora::{Error, ErrorType, Result, http::RequestHeader, proxy::Session, upstreams::peer::HttpPeer};

use crate::{events::CLIENT_ADDRESS, provider::coding, refusal::REQUEST_ID, telemetry::trace::Trace};

use super::{Gate, call::Call, context::Context, cookies, lines, scrub, told, traits::HopByHop, upstream::Protocol};

impl Gate {
    /// The peer, where the upstream's addresses are known.
    pub(super) fn peer_at_once(&self, context: &Context) -> Option<Box<HttpPeer>> {
        let call = context.call()?;
        let address = call.route.destination.name().at_once(context.unreachable, context.timing.began)?;
        Some(Box::new(call.route.destination.at(address, call.protocol, call.hop_by_hop)))
    }

    pub(super) async fn peer(&self, context: &mut Context) -> Result<Box<HttpPeer>> {
        let unreachable = context.unreachable;
        let Some(call) = context.call() else {
            let mut peer = HttpPeer::new_uds("/in-memory/own-routes", false, String::new())?;
            peer.options.custom_l4 = Some(Arc::clone(&self.own_routes) as _);
            return Ok(Box::new(peer));
        };
        let Ok(addresses) = call.route.destination.name().resolve().await else {
            return Err(Error::explain(ErrorType::ConnectNoRoute, "the upstream's name has no address").into_up());
        };
        let address = addresses[unreachable % addresses.len()];
        Ok(Box::new(call.route.destination.at(address, call.protocol, call.hop_by_hop)))
    }

    /// The hop-by-hop headers are out by now but for a plain `Connection`, so nothing that it names can remove what is put
    /// in.
    pub(super) fn send_call(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        (call, trace): (&Call, Option<&Trace>),
    ) -> Result<()> {
        let Some(credential) = &call.credential else {
            return Error::e_explain(ErrorType::InternalError, "a call without a credential");
        };
        let service = &call.route.service;
        let credentials = [service.inject.header(), service.api_key.header()];
        // A cookie that is a credential is put in below.
        let cookies = (service.response_cookies && !credentials.contains(&&header::COOKIE))
            .then(|| cookies::for_upstream(&request.headers, call.generation.settings.session_cookie.as_deref()))
            .flatten();
        for name in
            scrub::request_headers_to_drop(&request.headers, credentials, &credential.headers, service.trace_context)
        {
            request.remove_header(&name);
        }
        if call.hop_by_hop == HopByHop::ConnectionOnly {
            request.remove_header(&header::CONNECTION);
        }
        if let Some(cookies) = cookies {
            request.insert_header(header::COOKIE, cookies)?;
        }
        for (name, value) in &service.headers {
            if !request.headers.contains_key(name) {
                request.insert_header(name.clone(), value.clone())?;
            }
        }
        if call.route.judged_by_body
            && let Some(readable) = coding::readable_only(&request.headers)
        {
            request.insert_header(header::ACCEPT_ENCODING, readable)?;
        }
        if service.trace_context {
            tell_of_trace(request, call, trace)?;
        }
        // Pingora's maps grow when they are full, even for a name that they hold.
        if request.headers.len() >= request.headers.capacity() {
            request.remove_header(&header::HOST);
        }
        for (name, value) in credential.headers.iter() {
            request.insert_header(call.route.written(name), value.clone())?;
        }
        request.insert_header("Host", credential.upstream.host().clone())?;
        // RFC 9110 §8.6: some servers refuse such a request that doesn't say that it has no body.
        if !call.framed
            && matches!(call.method, Method::POST | Method::PUT | Method::PATCH)
            && call.protocol != Protocol::Grpc
            && session.as_downstream_mut().is_body_empty()
        {
            request.insert_header(header::CONTENT_LENGTH, 0)?;
        }
        if call.protocol == Protocol::Grpc
            && session.req_header().headers.get(header::TE).is_some_and(|te| te == "trailers")
        {
            request.insert_header(header::TE, "trailers")?;
        }
        let target = call.upstream_target();
        match PathAndQuery::from_maybe_shared(target.clone()) {
            Ok(target) => request.set_uri(target.into()),
            Err(_) if call.protocol == Protocol::Dedicated => request.set_raw_path(&lines::raised(&target))?,
            Err(_) => return Error::e_explain(ErrorType::InvalidHTTPHeader, "the target can't go upstream"),
        }
        Ok(())
    }

    pub(super) fn send_own(&self, session: &Session, request: &mut RequestHeader, context: &Context) -> Result<()> {
        let request_id = context.request_id.clone().unwrap_or_else(|| self.core.parts.request_ids.next());
        request.insert_header(REQUEST_ID, request_id.as_str())?;
        // In place of whatever the client said.
        request.insert_header(CLIENT_ADDRESS, context.generation.client(session).to_string())
    }
}

/// Tells the upstream which trace it is part of: what the caller said of that, and Valetkey's own span where there is one.
fn tell_of_trace(request: &mut RequestHeader, call: &Call, trace: Option<&Trace>) -> Result<()> {
    match trace {
        Some(trace) => {
            request.insert_header(told::TRACEPARENT, trace.traceparent())?;
            match trace.state() {
                "" => drop(request.remove_header(&told::TRACESTATE)),
                state => request.insert_header(told::TRACESTATE, state)?,
            }
        }
        // What can't be read is nobody's trace.
        None if call.in_trace && told::parent(&request.headers).is_none() => {
            request.remove_header(&told::TRACEPARENT);
            request.remove_header(&told::TRACESTATE);
        }
        None => {}
    }
    Ok(())
}
