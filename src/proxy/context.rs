//! What is kept of one request between phases.

use std::{sync::Arc, time::Instant};

use bytes::BytesMut;
use data_encoding::HEXLOWER;
use pingora::http::ResponseHeader;

use crate::{
    clock::Timestamp,
    connection::Credential,
    id::RequestId,
    refusal::Refusal,
    telemetry::{
        metrics::{InFlight, RequestOutcome},
        trace::Trace,
    },
};

use super::{
    call::{Call, RefusedRequest},
    generation::{Generation, Route},
    timing::Timing,
};

/// One request.
pub struct Context {
    /// What it goes by, to its end.
    pub generation: Arc<Generation>,
    /// When it began.
    pub began: Timestamp,
    /// Where its time goes.
    pub timing: Timing,
    /// Counted as in flight for as long as this lives.
    pub in_flight: Option<InFlight>,
    /// Its name, made when it is first needed.
    pub request_id: Option<RequestId>,
    /// Where it goes.
    pub way: Way,
    /// What to answer instead, where a phase has settled that.
    pub refusal: Option<Refusal>,
    /// How it ended, for the metrics.
    pub outcome: Option<RequestOutcome>,
    /// Addresses tried so far that took no connection.
    pub unreachable: usize,
    /// Bytes of the request's body so far.
    pub body_bytes: u64,
    /// Body bytes were kept back before: on a replay, `Expect` must not ask for them again.
    pub replaying: bool,
    /// What the last answer meant, before it was acted on.
    pub finding: Option<Finding>,
    /// The answer's head is all of it.
    pub head_only: bool,
    /// What is recorded of it, where it is.
    pub trace: Option<Box<Trace>>,
    /// It has a line in the log, also where all goes well.
    pub in_log: bool,
    /// The sign by which the upstream's last answer was taken for a refusal of the credential.
    pub sign: Option<String>,
    /// An answer that is held until enough of its body is known.
    pub held: Option<Box<Held>>,
}

/// Where a request goes.
pub enum Way {
    /// Not settled yet.
    Unknown,
    /// To Valetkey's own routes.
    Own,
    /// Nowhere: it was refused before it became a call to this service.
    Refused(Arc<Route>),
    /// To a service.
    Call(Call),
}

/// What an upstream's answer means for the credential, to be acted on where waiting is safe.
pub enum Finding {
    /// It was refused.
    Rejected {
        /// The refused one.
        credential: Arc<Credential>,
        /// Whether the request can be sent again.
        replayable: bool,
    },
    /// The grant lacks these scopes.
    MissingScopes(Vec<String>),
}

/// An answer whose header is not on its way yet (see `peek`).
pub struct Held {
    /// The upstream's header.
    pub header: ResponseHeader,
    /// What of the body has come.
    pub body: BytesMut,
    /// How many bytes there must be to be looked at, unless the body is whole before.
    pub look_at: usize,
}

impl Context {
    /// A request that begins now, by this generation.
    pub fn new(generation: Arc<Generation>, now: Timestamp) -> Self {
        Self {
            generation,
            began: now,
            timing: Timing::new(Instant::now()),
            in_flight: None,
            request_id: None,
            way: Way::Unknown,
            refusal: None,
            outcome: None,
            unreachable: 0,
            body_bytes: 0,
            replaying: false,
            finding: None,
            head_only: false,
            trace: None,
            in_log: false,
            sign: None,
            held: None,
        }
    }

    /// A part of it has ended: for its trace, where there is one.
    pub fn lap(&mut self, name: &'static str) {
        if let Some(trace) = &mut self.trace {
            trace.lap(name, Instant::now());
        }
    }

    /// Its credential has been looked for, and a refresh perhaps waited for: for its trace.
    pub fn credential_settled(&mut self) {
        if let (Some(trace), Way::Call(call)) = (&mut self.trace, &self.way) {
            trace.lap("resolve", Instant::now());
            if let Some((from, to)) = call.waited.for_refresh() {
                trace.part("refresh", from, to);
            }
        }
    }

    /// The name of its trace, where it has one.
    pub fn trace_id(&self) -> Option<String> {
        self.trace.as_ref().map(|trace| HEXLOWER.encode(&trace.id()))
    }

    /// It is refused before it became a call. The answer.
    pub fn refused(&mut self, refused: RefusedRequest) -> Refusal {
        if let Some(route) = refused.route {
            self.way = Way::Refused(route);
        }
        refused.refusal
    }

    /// The service that it is for, as far as that is known.
    pub fn route(&self) -> Option<&Arc<Route>> {
        match &self.way {
            Way::Call(call) => Some(&call.route),
            Way::Refused(route) => Some(route),
            Way::Unknown | Way::Own => None,
        }
    }

    /// The call, where the request goes to a service.
    pub fn call(&self) -> Option<&Call> {
        match &self.way {
            Way::Call(call) => Some(call),
            Way::Unknown | Way::Own | Way::Refused(_) => None,
        }
    }

    /// The call, to be changed.
    pub fn call_mut(&mut self) -> Option<&mut Call> {
        match &mut self.way {
            Way::Call(call) => Some(call),
            Way::Unknown | Way::Own | Way::Refused(_) => None,
        }
    }
}
