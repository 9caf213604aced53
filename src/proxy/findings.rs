//! What becomes of an answer that says something of the credential: the request is sent again with another one, or the
//! caller gets a refusal. Judges nothing itself (`answer`), and decides nothing of credentials (`connection`).

use pingora::{Error, ErrorSource, ErrorType, Result, http::ResponseHeader, proxy::Session};

use crate::{
    connection::{AfterRejection, Unusable},
    events::{Actor, Cause},
    refusal::Refusal,
};

use super::{
    Gate,
    answer::{self, taken_back},
    call::Recovery,
    context::{Context, Finding},
};

impl Gate {
    /// An answer's header has come: is it the caller's, or does it mean that the credential is dead?
    pub(super) fn look_at_head(
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

    /// Why a credential is lost that the upstream refuses.
    fn refusal_of_upstream(&self, session: &Session, context: &mut Context) -> Cause {
        let request = context.request_id.get_or_insert_with(|| self.core.parts.request_ids.next()).clone();
        Cause::in_request(Actor::Upstream, request, Some(context.generation.client(session)))
    }

    /// Before a request is sent again: another credential.
    pub(super) async fn act_on_finding(&self, session: &Session, context: &mut Context) -> Result<(), Refusal> {
        let Some(Finding::Rejected { credential, .. }) = context.finding.take() else { return Ok(()) };
        let (began, cause) = (context.began, self.refusal_of_upstream(session, context));
        let Some(call) = context.call() else { return Ok(()) };
        let now = self.core.parts.clock.now();
        let connections = &self.core.parts.connections;
        let after = match call.recovery {
            Recovery::None | Recovery::Replaced => {
                connections.resolver.rejected(&call.want(), &credential, began, &cause).await
            }
            Recovery::Renewed | Recovery::PassOn => {
                connections.resolver.rejected_again(&call.want(), &credential, began, &cause).await
            }
        };
        context.credential_settled();
        let Some(call) = context.call_mut() else { return Ok(()) };
        match after {
            AfterRejection::Replay(next) => {
                let renewed = next.issued_at.is_some_and(|issued| issued >= now);
                call.recovery =
                    if renewed || call.recovery != Recovery::None { Recovery::Renewed } else { Recovery::Replaced };
                call.credential = Some(next);
                Ok(())
            }
            AfterRejection::PassOn => {
                call.recovery = Recovery::PassOn;
                Ok(())
            }
            AfterRejection::Refuse(unusable) => Err(self.core.refusal(call, &unusable).await),
        }
    }

    /// What to answer where Pingora could not go on. `None`: there is nobody to answer.
    pub(super) async fn refusal_for(&self, session: &Session, error: &Error, context: &mut Context) -> Option<Refusal> {
        if let Some(refusal) = context.refusal.take() {
            return Some(refusal);
        }
        if let Some(refusal) = self.refusal_for_finding(session, context).await {
            return Some(refusal);
        }
        let title = context.call().map(|call| call.route.service.title.clone());
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
    async fn refusal_for_finding(&self, session: &Session, context: &mut Context) -> Option<Refusal> {
        let (began, finding) = (context.began, context.finding.take()?);
        let cause = self.refusal_of_upstream(session, context);
        match (finding, context.call()) {
            (Finding::MissingScopes(scopes), Some(call)) => {
                let credential = call.credential.as_ref()?;
                let account = credential.id.account.clone();
                let (resolver, service) = (&self.core.parts.connections.resolver, &call.route.service);
                resolver.lacks_scopes(call.caller_id(), service, &account, &scopes);
                Some(self.core.refusal(call, &Unusable::MissingScopes { scopes, account }).await)
            }
            (Finding::Rejected { credential, .. }, Some(call)) => {
                let (connections, want) = (&self.core.parts.connections, call.want());
                // No replay tells whether a renewal helped: the next call does, else each would cost one more.
                let after = if credential.is_on_trial() || matches!(call.recovery, Recovery::Renewed | Recovery::PassOn)
                {
                    connections.resolver.rejected_again(&want, &credential, began, &cause).await
                } else {
                    connections.resolver.rejected(&want, &credential, began, &cause).await
                };
                match after {
                    // The next call has the new credential; this one's body is gone.
                    AfterRejection::Replay(_) | AfterRejection::PassOn => Some(Refusal::unavailable(0)),
                    AfterRejection::Refuse(unusable) => Some(self.core.refusal(call, &unusable).await),
                }
            }
            (_, None) => None,
        }
    }
}
