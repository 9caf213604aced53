//! How a request is let in: where it goes and what it carries. What memory knows is settled without waiting; only the rest
//! waits for keys, the store or a refresh.

use bytes::Bytes;
use pingora::proxy::Session;

use crate::{
    connection::{Decision, Unusable},
    events::{Actor, Cause},
    refusal::Refusal,
    telemetry::metrics::CacheOutcome,
};

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
    /// It is known that there is none: the caller is to be told.
    Refuse(Unusable),
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
        self.choose(head, unclaimed.is_in_trace(), context);
        let known = if unclaimed.is_for_another() { None } else { unclaimed.known_caller(head, context.began) };
        let Some(caller) = known else { return Ok(Left::Authenticate(unclaimed)) };
        context.lap("caller");
        let claimed = unclaimed.claimed(&self.core.rates, head, caller);
        let call = claimed.map_err(|refused| context.refused(refused))?;
        Ok(self.claim(call, context))
    }

    /// Gives the call its credential, where memory holds it, or what memory knows to be the reason that there is none.
    fn claim(&self, mut call: Call, context: &mut Context) -> Left {
        let connections = &self.core.parts.connections;
        let owner = call.caller.owner(|id| connections.resolver.owner(id));
        let decision = owner.and_then(|owner| connections.resolver.from_memory(&owner, &call.want(), context.began));
        let (outcome, left) = match decision {
            Some(Decision::Use(credential)) => {
                call.credential = Some(credential);
                (CacheOutcome::Hit, Left::Nothing)
            }
            Some(Decision::Refuse(unusable) | Decision::Expired(_, unusable)) => {
                (CacheOutcome::Hit, Left::Refuse(unusable))
            }
            Some(Decision::Refresh(_) | Decision::FallBack(_) | Decision::Outdated) | None => {
                (CacheOutcome::Miss, Left::Resolve)
            }
        };
        self.core.parts.metrics.credential_cache(outcome);
        context.way = Way::Call(call);
        if !matches!(left, Left::Resolve) {
            context.lap("resolve");
        }
        left
    }

    /// The same, with all that has to be waited for.
    pub(super) async fn admit(&self, left: Left, session: &Session, context: &mut Context) -> Result<(), Refusal> {
        let left = match left {
            Left::Authenticate(unclaimed) => {
                let head = session.req_header();
                let now = self.core.parts.clock.now();
                let caller = match unclaimed.authenticate(head, now).await {
                    Ok(caller) => unclaimed.meant(head, caller, now).await,
                    Err(refusal) => Err(refusal),
                };
                context.lap("caller");
                let claimed = match caller {
                    Ok(caller) => unclaimed.claimed(&self.core.rates, head, caller),
                    Err(refusal) => Err(unclaimed.refused(refusal)),
                };
                let call = claimed.map_err(|refused| context.refused(refused))?;
                self.claim(call, context)
            }
            left => left,
        };
        let unusable = match left {
            Left::Nothing | Left::Authenticate(_) => {
                self.tell_of_actor(session, context);
                return Ok(());
            }
            Left::Refuse(unusable) => unusable,
            Left::Resolve => {
                let Some(call) = context.call() else { return Ok(()) };
                let resolver = &self.core.parts.connections.resolver;
                let owner = call.caller.owner(|id| resolver.owner(id));
                let resolved = resolver.resolve_of(owner, &call.want()).await;
                context.credential_settled();
                match resolved {
                    Ok(credential) => {
                        if let Some(call) = context.call_mut() {
                            call.credential = Some(credential);
                        }
                        self.tell_of_actor(session, context);
                        return Ok(());
                    }
                    Err(unusable) => unusable,
                }
            }
        };
        let Some(call) = context.call() else { return Ok(()) };
        Err(self.core.refusal(call, &unusable).await)
    }

    /// A call that somebody makes for another has its credential: that is told.
    fn tell_of_actor(&self, session: &Session, context: &mut Context) {
        let Way::Call(call) = &context.way else { return };
        let (Some(actor), Some(credential)) = (call.caller.actor(), &call.credential) else { return };
        let request_id = &mut context.request_id;
        let generation = &context.generation;
        self.core.parts.connections.resolver.acted_for(&credential.id, &actor.subject, context.began, || {
            let request = request_id.get_or_insert_with(|| self.core.parts.request_ids.next()).clone();
            Cause::in_request(Actor::Caller, request, Some(generation.client(session)))
        });
    }
}
