//! What labels may say: closed lists.

/// Declares an enum whose values are label values, with the list of them all.
macro_rules! outcomes {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $label:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

        impl $name {
            /// Every value, in the order of their discriminants.
            pub(super) const ALL: [Self; [$($label),+].len()] = [$(Self::$variant),+];

            /// The label's value.
            pub(super) fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)+ }
            }
        }
    };
}

outcomes! {
    /// How a request to the proxy ended: answered by the upstream, or with one of the statuses of Valetkey's own.
    RequestOutcome {
        /// The upstream answered 1xx, an upgrade.
        Answered1xx = "answered",
        /// The upstream answered 2xx.
        Answered2xx = "answered",
        /// The upstream answered 3xx.
        Answered3xx = "answered",
        /// The upstream answered 4xx.
        Answered4xx = "answered",
        /// The upstream answered 5xx.
        Answered5xx = "answered",
        /// 401 `auth_required`.
        AuthRequired = "auth_required",
        /// 403 `additional_scopes_required`.
        AdditionalScopesRequired = "additional_scopes_required",
        /// 401 `unauthenticated`.
        Unauthenticated = "unauthenticated",
        /// 403 `forbidden`.
        Forbidden = "forbidden",
        /// 404 `unknown_service` or `not_found`.
        NotFound = "not_found",
        /// 405 `method_not_allowed`.
        MethodNotAllowed = "method_not_allowed",
        /// 409 `account_required`.
        AccountRequired = "account_required",
        /// 400 `bad_request`.
        BadRequest = "bad_request",
        /// 413, 414 or 431 `too_large`.
        TooLarge = "too_large",
        /// 429 `rate_limited`.
        RateLimited = "rate_limited",
        /// 502 `upstream_unreachable`.
        UpstreamUnreachable = "upstream_unreachable",
        /// 502 `refresh_failed`.
        RefreshFailed = "refresh_failed",
        /// 504 `upstream_timeout`.
        UpstreamTimeout = "upstream_timeout",
        /// 503 `unavailable`.
        Unavailable = "unavailable",
        /// 500 `error`.
        Error = "error",
        /// The client went away before its answer was whole.
        ClientGone = "client_gone",
    }
}

impl RequestOutcome {
    /// The outcome of a request that the upstream answered with this status.
    pub fn answered(status: http::StatusCode) -> Self {
        match status.as_u16() / 100 {
            1 => Self::Answered1xx,
            2 => Self::Answered2xx,
            3 => Self::Answered3xx,
            4 => Self::Answered4xx,
            _ => Self::Answered5xx,
        }
    }

    /// In a word, for people and programs.
    pub fn name(self) -> &'static str {
        self.label()
    }

    /// Whether the upstream answered.
    pub(super) fn is_upstreams(self) -> bool {
        self.label() == Self::Answered2xx.label()
    }

    /// The values of `outcome` and `code`.
    pub(super) fn labels(self) -> (&'static str, &'static str) {
        let code = match self {
            Self::Answered1xx => "1xx",
            Self::Answered2xx => "2xx",
            Self::Answered3xx => "3xx",
            Self::Answered4xx
            | Self::AuthRequired
            | Self::AdditionalScopesRequired
            | Self::Unauthenticated
            | Self::Forbidden
            | Self::NotFound
            | Self::MethodNotAllowed
            | Self::AccountRequired
            | Self::BadRequest
            | Self::TooLarge
            | Self::RateLimited => "4xx",
            Self::Answered5xx
            | Self::UpstreamUnreachable
            | Self::RefreshFailed
            | Self::UpstreamTimeout
            | Self::Unavailable
            | Self::Error => "5xx",
            Self::ClientGone => "",
        };
        (self.label(), code)
    }
}

outcomes! {
    /// How a refresh ended.
    RefreshOutcome {
        /// A new access token is stored.
        Renewed = "renewed",
        /// Another replica had renewed it meanwhile.
        Adopted = "adopted",
        /// The provider refused the refresh token for good.
        Refused = "refused",
        /// The token endpoint failed for now.
        Failed = "failed",
        /// The provider refused the operator's client.
        ClientRefused = "client_refused",
        /// Whether the refresh token was spent is unknown.
        Interrupted = "interrupted",
    }
}

outcomes! {
    /// The stage that a connect attempt has reached.
    ConnectOutcome {
        /// A link was given.
        Offered = "offered",
        /// A browser has shown it.
        Opened = "opened",
        /// The browser was sent to the provider.
        Initiated = "initiated",
        /// It came back with a code and a valid state.
        Authorized = "authorized",
        /// The grant is stored.
        Completed = "completed",
        /// Any other end.
        Failed = "failed",
    }
}

outcomes! {
    /// By which way a notice goes.
    NoticeChannel {
        /// To an operator's endpoint.
        Webhook = "webhook",
        /// To the person.
        Mail = "mail",
        /// Not decided yet.
        None = "none",
    }
}

outcomes! {
    /// How it went with a notice.
    NoticeOutcome {
        /// The other side has taken it.
        Delivered = "delivered",
        /// An attempt failed, and there will be another.
        Retried = "retried",
        /// There will be no other.
        Dead = "dead",
        /// The queue was full.
        Dropped = "dropped",
        /// Another replica tells it, or it was told before.
        Duplicate = "duplicate",
    }
}

outcomes! {
    /// What the credential cache had.
    CacheOutcome {
        /// What is known to be current: a credential, or that there is none.
        Hit = "hit",
        /// Nothing, or what had to be read again or renewed.
        Miss = "miss",
        /// One that served because the store is away.
        Offline = "offline",
    }
}

outcomes! {
    /// What the store was asked.
    StoreOperation {
        /// One record.
        Get = "get",
        /// All records of an owner.
        List = "list",
        /// To write a record.
        Put = "put",
        /// To delete one.
        Delete = "delete",
        /// What is due.
        Due = "due",
        /// For a lease, …
        Lease = "lease",
        /// … to keep it, …
        Renew = "renew",
        /// … or to take it back.
        Release = "release",
        /// To claim a one-time value, …
        PutOnce = "put_once",
        /// … to show it, …
        Peek = "peek",
        /// … to hand it over, …
        Take = "take",
        /// … or to replace it.
        Replace = "replace",
        /// How many records there are.
        Count = "count",
        /// For a page of all records.
        Scan = "scan",
        /// Whether it answers.
        Ping = "ping",
        /// To append to a log, …
        Append = "append",
        /// … to read one, …
        Read = "read",
        /// … or to cut its oldest entries off.
        Trim = "trim",
        /// To count something, …
        CountUp = "count_up",
        /// … or what was counted.
        Counts = "counts",
    }
}

outcomes! {
    /// Why a caller is not believed.
    CallerRejection {
        /// Nothing was presented.
        Missing = "missing",
        /// It is not one JWT.
        Malformed = "malformed",
        /// It is too long.
        TooLong = "too_long",
        /// It has expired.
        Expired = "expired",
        /// It is not good yet.
        NotYetValid = "not_yet_valid",
        /// Issuer, audience, algorithm, key, signature or claims are not believed.
        Invalid = "invalid",
        /// The issuer's keys can't be had.
        KeysUnavailable = "keys_unavailable",
    }
}

outcomes! {
    /// What became of a spike of failures.
    AlertOutcome {
        /// It began.
        Raised = "raised",
        /// It is over.
        Resolved = "resolved",
    }
}

outcomes! {
    /// How a stored connection stands.
    ConnectionState {
        /// Calls can use it.
        Active = "active",
        /// Not until the application confirms it.
        Pending = "pending",
        /// Not until the person connects again.
        Invalid = "invalid",
    }
}

outcomes! {
    /// Within which time a connection ends, unless somebody does something.
    EndsWithin {
        /// A day.
        Day = "1d",
        /// Seven days.
        Week = "7d",
        /// Thirty days.
        Month = "30d",
    }
}
