//! How attempts end that bring nothing, as they are counted: the kind of end, and the provider's own word for it where that is
//! listed. The list is closed, so that nobody who makes up words takes room.

use crate::consent::Ended;

/// Each end that is told from others, by its number. Part of what is stored: only append, up to 64.
const ERRORS: [(Ended, &str); 49] = [
    (Ended::Denied, ""),
    (Ended::Used, ""),
    (Ended::NotStored, ""),
    (Ended::ProviderError, ""),
    (Ended::ProviderError, "invalid_request"),
    (Ended::ProviderError, "unauthorized_client"),
    (Ended::ProviderError, "unsupported_response_type"),
    (Ended::ProviderError, "invalid_scope"),
    (Ended::ProviderError, "server_error"),
    (Ended::ProviderError, "temporarily_unavailable"),
    (Ended::ProviderError, "redirect_uri_mismatch"),
    (Ended::ProviderError, "interaction_required"),
    (Ended::ProviderError, "login_required"),
    (Ended::ProviderError, "consent_required"),
    (Ended::ProviderError, "account_selection_required"),
    (Ended::ProviderError, "application_suspended"),
    (Ended::ProviderError, "admin_policy_enforced"),
    (Ended::ProviderError, "org_internal"),
    (Ended::ProviderError, "disallowed_useragent"),
    (Ended::ProviderError, "invalid_client"),
    (Ended::ExchangeRefused, ""),
    (Ended::ExchangeRefused, "invalid_grant"),
    (Ended::ExchangeRefused, "invalid_client"),
    (Ended::ExchangeRefused, "unauthorized_client"),
    (Ended::ExchangeRefused, "invalid_request"),
    (Ended::ExchangeRefused, "unsupported_grant_type"),
    (Ended::ExchangeRefused, "invalid_scope"),
    (Ended::ExchangeRefused, "redirect_uri_mismatch"),
    (Ended::ExchangeRefused, "bad_verification_code"),
    (Ended::ExchangeRefused, "incorrect_client_credentials"),
    (Ended::ExchangeRefused, "invalid_code"),
    (Ended::ExchangeRefused, "code_already_used"),
    (Ended::ExchangeRefused, "invalid_client_id"),
    (Ended::ExchangeRefused, "bad_client_secret"),
    (Ended::ExchangeRefused, "http_401"),
    (Ended::ExchangeRefused, "token_expired"),
    (Ended::ExchangeRefused, "access_denied"),
    (Ended::ExchangeRefused, "token_type"),
    (Ended::ExchangeFailed, ""),
    (Ended::ExchangeFailed, "timeout"),
    (Ended::ExchangeFailed, "no_connection"),
    (Ended::ExchangeFailed, "tls"),
    (Ended::ExchangeFailed, "answer_too_large"),
    (Ended::ExchangeFailed, "target_not_allowed"),
    (Ended::ExchangeFailed, "connection_broke"),
    (Ended::ExchangeFailed, "http_5xx"),
    (Ended::ExchangeFailed, "too_many_calls"),
    (Ended::ExchangeFailed, "unreadable_answer"),
    (Ended::ExchangeFailed, "says_unavailable"),
];

/// The number and name of such an end.
pub(super) fn of(why: Ended, word: Option<&str>) -> (u64, String) {
    let at = |word: &str| ERRORS.iter().zip(0..).find(|((listed, known), _)| *listed == why && *known == word);
    let found = word.and_then(at).or_else(|| at(""));
    found.map_or_else(|| (0, String::new()), |((why, word), number)| (number, written(*why, word)))
}

/// The kind and name of the end with this number.
pub(super) fn numbered(number: u64) -> Option<(Ended, String)> {
    let (why, word) = ERRORS.get(usize::try_from(number).ok()?)?;
    Some((*why, written(*why, word)))
}

/// `kind`, or `kind:word`.
fn written(why: Ended, word: &str) -> String {
    if word.is_empty() { why.name().to_owned() } else { format!("{}:{word}", why.name()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_has_a_number_of_its_own_and_is_read_back_by_it() {
        for why in Ended::ALL {
            let (number, name) = of(why, None);
            assert_eq!(numbered(number), Some((why, name.clone())));
            assert_eq!(of(why, Some("made_up_0815")), (number, name), "what is not listed is counted by its kind");
        }
        for (index, (why, word)) in ERRORS.iter().enumerate() {
            let number = u64::try_from(index).unwrap();
            let name = written(*why, word);
            assert_eq!(of(*why, Some(word).filter(|word| !word.is_empty()).copied()), (number, name.clone()));
            assert_eq!(numbered(number), Some((*why, name)));
        }
        assert_eq!(numbered(63), None);
    }
}
