//! Where the calls of a credential go, as one value that service, credential and proxy share. Knows no address and opens no
//! connection: that is the proxy's.

use std::sync::Arc;

use http::HeaderValue;

use super::BaseUrl;

/// An upstream: its base URL, and what follows from that for every call.
#[derive(Debug, PartialEq, Eq)]
pub struct Upstream {
    base: BaseUrl,
    host: HeaderValue,
}

impl Upstream {
    /// The upstream at this base URL.
    pub fn new(base: BaseUrl) -> Arc<Self> {
        let host = HeaderValue::from_str(base.authority())
            .expect("a URL's authority is ASCII without spaces or control characters");
        Arc::new(Self { base, host })
    }

    /// Its base URL.
    pub fn base(&self) -> &BaseUrl {
        &self.base
    }

    /// `Host`, as calls carry it (RFC 9110 §7.2).
    pub fn host(&self) -> &HeaderValue {
        &self.host
    }
}
