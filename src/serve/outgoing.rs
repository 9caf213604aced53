//! Lets the OAuth client speak through the one outgoing HTTP client.

use std::time::Duration;

use async_trait::async_trait;

use crate::{
    oauth::{Fault, Transport, TransportError},
    outbound::{CallLimits, Outbound, OutboundError},
};

/// Calls to authorization servers.
pub struct ThroughOutbound {
    /// The client.
    pub outbound: Outbound,
    /// The whole of one call.
    pub timeout: Duration,
}

#[async_trait]
impl Transport for ThroughOutbound {
    async fn call(
        &self,
        request: http::Request<Vec<u8>>,
        plain_http: bool,
    ) -> Result<http::Response<Vec<u8>>, TransportError> {
        let limits = CallLimits { total: Some(self.timeout), body: None, allow_plain_http: plain_http };
        self.outbound.send(request, limits).await.map_err(|error| TransportError {
            kind: match error {
                OutboundError::Timeout => Fault::Timeout,
                OutboundError::Connect => Fault::Connect,
                OutboundError::Tls => Fault::Tls,
                OutboundError::TooLarge => Fault::TooLarge,
                OutboundError::Refused { .. } => Fault::Refused,
                OutboundError::Protocol => Fault::Protocol,
            },
        })
    }
}
