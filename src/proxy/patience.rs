//! How long a caller may keep a call waiting, and what a caller is told who waits itself.

use std::time::Duration;

use http::Version;
use pingora::{Result, http::RequestHeader, proxy::Session};

use crate::config::Timeouts;

use super::{Gate, context::Context};

/// The caller's side waits no shorter than this for the next piece of a body.
const LEAST_PATIENCE: Duration = Duration::from_secs(60);

/// A caller may be quiet for as long as the upstream may, in a tunnel or between two pieces of an upload; but one who doesn't
/// read any more is let go, and with it the upstream's connection.
pub fn be_as_patient(session: &mut Session, timeouts: &Timeouts) {
    let downstream = session.as_downstream_mut();
    downstream.set_read_timeout(Some(timeouts.read.max(LEAST_PATIENCE)));
    downstream.set_write_timeout(Some(timeouts.write));
}

impl Gate {
    /// An upstream of HTTP/2 has its way to say "100 Continue", but Pingora doesn't hear it (docs/PINGORA.md): the caller, who
    /// waits for it, is told here. No upstream's answer can come before that, so a body that it would have refused is sent.
    pub(super) async fn go_on_and_send(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        context: &Context,
    ) -> Result<()> {
        if session.req_header().version == Version::HTTP_11 {
            session.as_downstream_mut().write_continue_response().await?;
        }
        match context.call() {
            Some(call) => self.send_call(session, request, (call, context.trace.as_deref())),
            None => Ok(()),
        }
    }
}
