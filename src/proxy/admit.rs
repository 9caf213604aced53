//! How a request is let in: where it goes and what it carries. What memory knows is settled without waiting; only the rest
//! waits for keys, the store or a refresh.

use bytes::Bytes;
use pingora::proxy::Session;

use crate::{refusal::Refusal, telemetry::metrics::CacheOutcome};

use super::{
    Gate,
    call::{self, Call, Unclaimed},
    context::{Context, Way},
    target,
    wording::Worded,
};

/// What is left to do before a request can go on, beyond what memory knows.
pub enum Left {
    /// It can go on.
    Nothing,
    /// The JWT must be verified.
    Authenticate(Unclaimed),
    /// The credential must be fetched.
    Resolve,
}

/// A request's target as it came, and whether Pingora was shown another.
pub(super) fn target_of(session: &Session) -> (Bytes, bool) {
    let Some(session) = session.as_downstream().as_http1() else {
        return (Bytes::copy_from_slice(session.req_header().raw_path()), false);
    };
    let whole = session.get_headers_raw_bytes();
    let target = target::of_request_line(&whole);
    match Worded::line_of(session.stream()).and_then(|line| line.as_sent(target)) {
        Some(target) => (target, true),
        None => (whole.slice_ref(target), false),
    }
}

impl Gate {
    /// Settles where a request goes and what it carries, as far as memory knows. For a caller who was seen before that is
    /// all there is to do.
    pub(super) fn admit_from_memory(&self, session: &Session, context: &mut Context) -> Result<Left, Refusal> {
        let head = session.req_header();
        let read = call::read(&context.generation, head, target_of(session), self.serves.proxy);
        let Some(unclaimed) = read.map_err(|refused| context.refused(refused))? else {
            context.way = Way::Own;
            return Ok(Left::Nothing);
        };
        let Some(caller) = unclaimed.known_caller(head, context.began.seconds()) else {
            return Ok(Left::Authenticate(unclaimed));
        };
        let claimed = unclaimed.claimed(&self.core.rates, head, caller);
        self.claim(claimed.map_err(|refused| context.refused(refused))?, context)
    }

    /// Gives the call its credential, where memory holds it.
    fn claim(&self, mut call: Call, context: &mut Context) -> Result<Left, Refusal> {
        let connections = &self.core.connections;
        let owner = call.caller.owner(|id| connections.resolver.owner(id));
        call.credential = owner.and_then(|owner| connections.resolver.cached(&owner, &call.want(), context.began));
        let found = call.credential.is_some();
        self.core.metrics.credential_cache(if found { CacheOutcome::Hit } else { CacheOutcome::Miss });
        context.way = Way::Call(call);
        Ok(if found { Left::Nothing } else { Left::Resolve })
    }

    /// The same, with all that has to be waited for.
    pub(super) async fn admit(&self, left: Left, session: &Session, context: &mut Context) -> Result<(), Refusal> {
        let left = match left {
            Left::Authenticate(unclaimed) => {
                let head = session.req_header();
                let claimed = match unclaimed.authenticate(head, self.core.clock.now().seconds()).await {
                    Ok(caller) => unclaimed.claimed(&self.core.rates, head, caller),
                    Err(refusal) => Err(unclaimed.refused(refusal)),
                };
                self.claim(claimed.map_err(|refused| context.refused(refused))?, context)?
            }
            left => left,
        };
        let (Left::Resolve, Some(call)) = (left, context.call_mut()) else { return Ok(()) };
        let connections = &self.core.connections;
        let owner = call.caller.owner(|id| connections.resolver.owner(id));
        match connections.resolver.resolve_of(owner, &call.want()).await {
            Ok(credential) => {
                call.credential = Some(credential);
                Ok(())
            }
            Err(unusable) => Err(self.core.refusal(call, &unusable).await),
        }
    }
}
