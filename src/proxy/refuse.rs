//! Answers of Valetkey's own, written to the client. The answer goes first, then what the client still sends is read for a
//! little while: closing with unread bytes would make the kernel throw the answer away, and an HTTP/2 client would see its
//! stream reset instead (docs/PINGORA.md 3).

use std::time::Duration;

use bytes::Bytes;
use http::{Method, header};
use pingora::{Result, http::ResponseHeader, proxy::Session};
use tokio::time::{Instant, timeout_at};

use crate::refusal::Refusal;

use super::{Core, context::Context, told::millis};

/// How much of a refused request's body is read.
const READ_ON_BYTES: usize = 16 * 1024 * 1024;
/// And for how long.
const READ_ON_TIME: Duration = Duration::from_secs(2);

/// Writes the refusal. The client gets it, or is gone.
pub async fn refuse(core: &Core, session: &mut Session, context: &mut Context, refusal: &Refusal) -> Result<u16> {
    let request_id = context.request_id.get_or_insert_with(|| core.parts.request_ids.next()).clone();
    context.outcome = Some(refusal.code.into());
    let service = context.route().map(|route| route.service.name.as_str());
    let client = context.generation.client(session);
    let now = Instant::now().into_std();
    let took = now.saturating_duration_since(context.timing.began);
    tracing::info!(
        %request_id,
        %client,
        service,
        status = refusal.code.as_str(),
        http = refusal.status.as_u16(),
        reason = refusal.reason(),
        sign = context.sign.as_deref(),
        took_ms = millis(took),
        upstream_ms = context.timing.took(took).map(|took| millis(took.upstream)),
        trace_id = context.trace_id(),
        "refused"
    );
    let accept = session.req_header().headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let (parts, body) = refusal.render(&request_id, accept).into_parts();
    let mut answer = ResponseHeader::build(parts.status, Some(parts.headers.len() + 1))?;
    for (name, value) in &parts.headers {
        answer.append_header(name.clone(), value.clone())?;
    }
    answer.insert_header(header::CONTENT_LENGTH, body.len())?;
    let bodiless = session.req_header().method == Method::HEAD;
    session.write_response_header(Box::new(answer), bodiless).await?;
    if !bodiless {
        session.write_response_body(Some(body), true).await?;
    } else if session.as_downstream().is_http2() {
        // Pingora's writer leaves the stream open after a header, and an open stream that is dropped is reset.
        session.write_response_body(Some(Bytes::new()), true).await?;
    }
    read_on(session).await;
    Ok(parts.status.as_u16())
}

async fn read_on(session: &mut Session) {
    let deadline = Instant::now() + READ_ON_TIME;
    let mut read = 0;
    while read < READ_ON_BYTES && !session.as_downstream_mut().is_body_done() {
        match timeout_at(deadline, session.as_downstream_mut().read_request_body()).await {
            Ok(Ok(Some(piece))) => read += piece.len(),
            Ok(Ok(None) | Err(_)) | Err(_) => return,
        }
    }
}
