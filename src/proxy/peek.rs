//! Some providers say "dead token" in the body of an answer, under a status that others have for success. Pingora sends a
//! header on before its body is seen, so such an answer is held: its header goes into the context and an informational one,
//! which is not sent, takes its place; once enough of the body is there, the real header is written, or the answer is
//! taken back. Only what is looked at is held, at most 8 KiB; everything after it streams. The framing makes no difference: a
//! body ends with its length, its last chunk, its connection, its stream or its trailers, and all of them end the wait.

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use http::{Method, StatusCode, Version, header};
use pingora::{Error, ErrorType, Result, http::ResponseHeader, proxy::Session};

use crate::provider::{verdict::BODY_PREFIX_MAX, wants_body};

use super::{
    Gate,
    answer::{judge, taken_back},
    context::{Context, Held},
    decode::Coding,
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
            && !context.ends_with_head;
        if !has_body || wants_body(&call.route.service, header.status, &header.headers).is_none() {
            return Ok(false);
        }
        let Some(coding) = Coding::of(&header.headers) else { return Ok(false) };
        context.held = Some(Box::new(Held { header: header.clone(), coding, body: BytesMut::new() }));
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
        let Some(held) = &mut context.held else { return Ok(()) };
        if let Some(piece) = body.take() {
            held.body.extend_from_slice(&piece);
        }
        let Some(held) = self.judge_held(session, end, context)? else { return Ok(()) };
        *body = Some(held.body.freeze());
        self.release(session, held.header, context)
    }

    /// Trailers end the body of a held answer. Whatever was held goes to the client before them.
    pub(super) fn look_at_trailers(&self, session: &mut Session, context: &mut Context) -> Result<()> {
        let Some(held) = self.judge_held(session, true, context)? else { return Ok(()) };
        self.release(session, held.header, context)?;
        if held.body.is_empty() {
            return Ok(());
        }
        at_once(session.as_downstream_mut().write_response_body(held.body.freeze(), false).now_or_never())
    }

    /// Judges what is held. Gives it back where it is the client's and enough is known.
    fn judge_held(&self, session: &Session, end: bool, context: &mut Context) -> Result<Option<Box<Held>>> {
        let Some(held) = context.held.take() else { return Ok(None) };
        let known = &held.body[..held.body.len().min(BODY_PREFIX_MAX)];
        let plain = held.coding.decoded(known, BODY_PREFIX_MAX);
        let replayable = !session.as_ref().retry_buffer_truncated();
        if !judge(&self.core, context, &held.header, Some(&plain), replayable) {
            return Err(taken_back(context));
        }
        if end || held.body.len() >= BODY_PREFIX_MAX || plain.len() >= BODY_PREFIX_MAX {
            return Ok(Some(held));
        }
        context.held = Some(held);
        Ok(None)
    }

    /// Writes the real header. Nothing else is on its way to the client at this moment, so it fits into what the socket
    /// takes at once; where it doesn't, the connection is given up rather than left in between.
    fn release(&self, session: &mut Session, mut header: ResponseHeader, context: &Context) -> Result<()> {
        session.set_ignore_info_resp(false);
        // As Pingora does for what it passes on itself: HTTP/1.1 towards the client, whatever the upstream spoke.
        header.set_version(Version::HTTP_11);
        if !header.headers.contains_key(header::CONTENT_LENGTH)
            && !header.headers.contains_key(header::TRANSFER_ENCODING)
        {
            header.insert_header(header::TRANSFER_ENCODING, "chunked")?;
        }
        self.dress(session, &mut header, context)?;
        at_once(session.as_downstream_mut().write_response_header(Box::new(header)).now_or_never())
    }
}

/// What came of a write that had to be done at once.
fn at_once(written: Option<Result<()>>) -> Result<()> {
    written.unwrap_or_else(|| Error::e_explain(ErrorType::WriteError, "the client takes no answer"))
}
