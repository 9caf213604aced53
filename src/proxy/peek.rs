//! Some providers say "dead token" in the body of an answer whose status is 200. Pingora sends a header on before its body
//! is seen, so such an answer is held: its header goes into the context and an informational one, which is not sent, takes
//! its place; once enough of the body is there, the real header is written, or the answer is taken back. Only what is
//! looked at is held, at most 8 KiB; everything after it streams.

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use http::{Method, StatusCode, Version, header};
use pingora::{Error, ErrorType, Result, http::ResponseHeader, proxy::Session};

use crate::provider::{verdict::BODY_PREFIX_MAX, wants_body};

use super::{
    Gate,
    answer::{judge, taken_back},
    context::{Context, Held},
};

impl Gate {
    /// Holds an answer back if the provider's signs need its body. Says whether it did.
    pub(super) fn hold(
        &self,
        session: &mut Session,
        header: &mut ResponseHeader,
        context: &mut Context,
    ) -> Result<bool> {
        let Some(call) = context.call() else { return Ok(false) };
        if !call.route.judged_by_body {
            return Ok(false);
        }
        let has_body = call.method != Method::HEAD
            && header.status != StatusCode::NO_CONTENT
            && header.status != StatusCode::NOT_MODIFIED
            && header.headers.get(header::CONTENT_LENGTH).is_none_or(|length| length != "0")
            // On HTTP/2 a header may end the answer without saying so here.
            && (header.version < Version::HTTP_2 || header.headers.contains_key(header::CONTENT_LENGTH));
        if !has_body || wants_body(&call.route.service, header.status, &header.headers).is_none() {
            return Ok(false);
        }
        context.held = Some(Box::new(Held { header: header.clone(), body: BytesMut::new() }));
        session.set_ignore_info_resp(true);
        header.set_status(StatusCode::EARLY_HINTS)?;
        for name in [header::CONTENT_LENGTH, header::TRANSFER_ENCODING] {
            header.remove_header(&name);
        }
        Ok(true)
    }

    /// A piece of a held answer's body has come.
    pub(super) fn look(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        context: &mut Context,
    ) -> Result<()> {
        let Some(mut held) = context.held.take() else { return Ok(()) };
        if let Some(piece) = body.take() {
            held.body.extend_from_slice(&piece);
        }
        let prefix = &held.body[..held.body.len().min(BODY_PREFIX_MAX)];
        let replayable = !session.as_ref().retry_buffer_truncated();
        if !judge(&self.core, context, &held.header, Some(prefix), replayable) {
            return Err(taken_back(context));
        }
        if !end && held.body.len() < BODY_PREFIX_MAX {
            context.held = Some(held);
            return Ok(());
        }
        let Held { header, body: held } = *held;
        *body = Some(held.freeze());
        self.release(session, header, context)
    }

    /// Writes the real header. Nothing else is on its way to the client at this moment, so it fits into what the socket
    /// takes at once; where it doesn't, the connection is given up rather than left in between.
    fn release(&self, session: &mut Session, mut header: ResponseHeader, context: &Context) -> Result<()> {
        session.set_ignore_info_resp(false);
        if !header.headers.contains_key(header::CONTENT_LENGTH)
            && !header.headers.contains_key(header::TRANSFER_ENCODING)
        {
            header.set_version(Version::HTTP_11);
            header.insert_header(header::TRANSFER_ENCODING, "chunked")?;
        }
        self.dress(session, &mut header, context)?;
        let written = session.as_downstream_mut().write_response_header(Box::new(header)).now_or_never();
        written.unwrap_or_else(|| Error::e_explain(ErrorType::WriteError, "the client takes no header"))
    }
}
