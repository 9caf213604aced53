//! Some providers say "dead token" in the body of an answer whose status is 200. Pingora sends a header on before its body
//! is seen, so such an answer is held: its header goes into the context and an informational one, which is not sent, takes
//! its place; once enough of the body is there, the real header is written, or the answer is taken back. Only what is
//! looked at is held, at most 8 KiB; everything after it streams.

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use http::{Method, StatusCode, Version, header};
use pingora::{Error, ErrorType, Result, http::ResponseHeader, proxy::Session};

use crate::provider::{coding, verdict::BODY_PREFIX_MAX, wants_body};

use super::{
    Gate,
    answer::{judge, taken_back},
    context::{Context, Held},
};

/// How much of a coded body comes before it is looked into for the first time, where it doesn't end before.
const CODED_FIRST: usize = 512;

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
        let has_body = !context.head_only
            && call.method != Method::HEAD
            && !matches!(header.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if !has_body || wants_body(&call.route.service, header.status, &header.headers).is_none() {
            return Ok(false);
        }
        // A coded body is looked into earlier: there is no telling how much it holds.
        let look_at = if coding::is_coded(&header.headers) { CODED_FIRST } else { BODY_PREFIX_MAX };
        context.held = Some(Box::new(Held { header: header.clone(), body: BytesMut::new(), look_at }));
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
        if !self.passes(session, &mut held, end, context)? {
            context.held = Some(held);
            return Ok(());
        }
        let Held { header, body: held, .. } = *held;
        *body = Some(held.freeze());
        let header = self.ready(session, header, context)?;
        // Nothing else is on its way to the client at this moment, so the header fits into what the socket takes at once;
        // where it doesn't, the connection is given up rather than left in between.
        let written = session.as_downstream_mut().write_response_header(Box::new(header)).now_or_never();
        written.unwrap_or_else(|| Error::e_explain(ErrorType::WriteError, "the client takes no header"))
    }

    /// Trailers end a body without an end of its own.
    pub(super) fn look_before_trailers(&self, session: &Session, context: &mut Context) -> Result<()> {
        let Some(mut held) = context.held.take() else { return Ok(()) };
        self.passes(session, &mut held, true, context)?;
        context.held = Some(held);
        Ok(())
    }

    /// Writes an answer that was judged when its trailers came.
    pub(super) async fn release_before_trailers(&self, session: &mut Session, context: &mut Context) -> Result<()> {
        let Some(held) = context.held.take() else { return Ok(()) };
        let Held { header, body, .. } = *held;
        let header = self.ready(session, header, context)?;
        let client = session.as_downstream_mut();
        client.write_response_header(Box::new(header)).await?;
        client.write_response_body(body.freeze(), false).await
    }

    /// Whether enough has come to judge a held answer, and it may go to the client. It is judged once: half a sentence says
    /// nothing, or the wrong thing.
    fn passes(&self, session: &Session, held: &mut Held, end: bool, context: &mut Context) -> Result<bool> {
        let Held { header, body, look_at } = held;
        let whole = end || length(header).is_some_and(|length| body.len() >= length);
        if !whole && body.len() < *look_at {
            return Ok(false);
        }
        let prefix = coding::decoded(&header.headers, body, BODY_PREFIX_MAX);
        if !whole && prefix.len().max(body.len()) < BODY_PREFIX_MAX {
            *look_at = 2 * body.len();
            return Ok(false);
        }
        let replayable = !session.as_ref().retry_buffer_truncated();
        if judge(&self.core, context, header, Some(&prefix), replayable) { Ok(true) } else { Err(taken_back(context)) }
    }

    /// The real header, as it goes to the client. What stands in for it goes on being ignored.
    fn ready(&self, session: &Session, mut header: ResponseHeader, context: &mut Context) -> Result<ResponseHeader> {
        if header.version >= Version::HTTP_2 {
            header.set_version(Version::HTTP_11);
        }
        if !header.headers.contains_key(header::CONTENT_LENGTH)
            && !header.headers.contains_key(header::TRANSFER_ENCODING)
        {
            header.set_version(Version::HTTP_11);
            header.insert_header(header::TRANSFER_ENCODING, "chunked")?;
        }
        self.rewrite_headers(session, &mut header, context)?;
        Ok(header)
    }
}

/// The length that a header promises, so that a body is whole without an end that may come later.
fn length(header: &ResponseHeader) -> Option<usize> {
    header.headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
