//! The words by which providers say what went wrong, as far as anything is counted or told by them: a closed list, so that
//! no word that somebody makes up takes room anywhere. What a word means for a grant, `words` decides.

use super::error::{Fault, Kind, TokenError};

/// RFC 6749 §4.1.2.1 and §5.2, OpenID Connect Core §3.1.2.6, and what is known of Google, GitHub, Slack, Zoho and others.
const LISTED: [&str; 27] = [
    "access_denied",
    "account_selection_required",
    "admin_policy_enforced",
    "application_suspended",
    "bad_client_secret",
    "bad_verification_code",
    "code_already_used",
    "consent_required",
    "disallowed_useragent",
    "http_401",
    "incorrect_client_credentials",
    "interaction_required",
    "invalid_client",
    "invalid_client_id",
    "invalid_code",
    "invalid_grant",
    "invalid_request",
    "invalid_scope",
    "login_required",
    "org_internal",
    "redirect_uri_mismatch",
    "server_error",
    "temporarily_unavailable",
    "token_expired",
    "unauthorized_client",
    "unsupported_grant_type",
    "unsupported_response_type",
];

/// The word as the list has it; `None` where it isn't on the list.
pub fn listed(word: &str) -> Option<&'static str> {
    LISTED.into_iter().find(|listed| listed.eq_ignore_ascii_case(word))
}

impl Fault {
    /// Its name where failures are counted. Part of what is stored: never change one.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Connect => "no_connection",
            Self::Tls => "tls",
            Self::TooLarge => "answer_too_large",
            Self::Refused => "target_not_allowed",
            Self::Protocol => "connection_broke",
            Self::Status => "http_5xx",
            Self::TooMany => "too_many_calls",
            Self::Garbage => "unreadable_answer",
            Self::SaysSo => "says_unavailable",
            Self::TokenType(_) => "token_type",
        }
    }
}

impl TokenError {
    /// What it is counted by: the provider's own word where that is on the list, or what happened to the call.
    pub fn word(&self) -> Option<&'static str> {
        match &self.kind {
            Kind::InvalidGrant { code } | Kind::Client { code } | Kind::Denied { code } => listed(code),
            Kind::Unavailable { fault, .. } => Some(fault.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_counts_where_it_is_on_the_list_however_it_is_spelled() {
        assert_eq!(listed("Invalid_Client"), Some("invalid_client"));
        assert_eq!(TokenError::client("invalid_client").word(), Some("invalid_client"));
        assert_eq!(TokenError::client("made_up_0815").word(), None);
        assert_eq!(TokenError::unavailable(Fault::Timeout, None).word(), Some("timeout"));
    }

    #[test]
    fn the_list_is_in_order_and_has_each_word_once() {
        assert!(LISTED.is_sorted_by(|one, next| one < next));
    }
}
