//! How attempts to connect end that bring nothing: one word for `return_to`, one for whoever counts.

/// How an attempt ended that was its owner's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The person refused (`access_denied`, or the provider's own word for it).
    Denied,
    /// The provider answered with another error.
    ProviderError,
    /// The link's grant was stored meanwhile.
    Used,
    /// The provider refused the code, or the operator's client.
    ExchangeRefused,
    /// The provider's token endpoint fails for now.
    ExchangeFailed,
    /// The grant could not be stored.
    NotStored,
}

impl Ended {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Denied, Self::ProviderError, Self::Used, Self::ExchangeRefused, Self::ExchangeFailed, Self::NotStored];

    /// Its name where attempts are counted. Part of what is stored: never change one.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::ProviderError => "provider_error",
            Self::Used => "used",
            Self::ExchangeRefused => "exchange_refused",
            Self::ExchangeFailed => "exchange_failed",
            Self::NotStored => "not_stored",
        }
    }

    /// As `return_to` gets it in `error=` (RFC 6749 §4.1.2.1's words).
    pub const fn code(self) -> &'static str {
        match self {
            Self::Denied => "access_denied",
            Self::Used => "invalid_request",
            Self::ProviderError | Self::ExchangeRefused => "server_error",
            Self::ExchangeFailed | Self::NotStored => "temporarily_unavailable",
        }
    }
}
