//! What answers to calls that used an API key say of the way away from keys: made once, from the configuration, so that a
//! call only copies headers. docs/MIGRATION.md shows them.

use http::{HeaderName, HeaderValue};
use url::Url;

use crate::config::{ApiKeyPhase, ApiKeys};

const NOTICE: HeaderName = HeaderName::from_static("valetkey-notice");
/// RFC 9745: since when, or from when on.
const DEPRECATION: HeaderName = HeaderName::from_static("deprecation");
/// RFC 8594: until when.
const SUNSET: HeaderName = HeaderName::from_static("sunset");

/// The headers under these keys' phase. `Valetkey-Notice` is an item of RFC 9651: the token `api-key` with parameters.
pub(super) fn headers(keys: &ApiKeys, public_url: &Url) -> Vec<(HeaderName, HeaderValue)> {
    let connect = format!("{}/dashboard", public_url.as_str().trim_end_matches('/'));
    let mut headers = Vec::new();
    let mut add = |name, text: String| {
        // All that goes in is a URL in the URL standard's own serialisation, a number or a date: no quotes, no controls.
        headers.extend(HeaderValue::try_from(text).ok().map(|value| (name, value)));
    };
    match keys.phase {
        ApiKeyPhase::Allowed | ApiKeyPhase::Retired => {}
        ApiKeyPhase::Encouraged => add(NOTICE, format!("api-key; phase=encouraged; connect=\"{connect}\"")),
        ApiKeyPhase::Deprecated => {
            let ends = keys.retire_on.map(|day| format!("; retire-on=\"{}\"", day.date())).unwrap_or_default();
            add(NOTICE, format!("api-key; phase=deprecated{ends}; connect=\"{connect}\""));
            if let Some(began) = keys.deprecated_on() {
                add(DEPRECATION, format!("@{}", began.seconds()));
            }
            if let Some(day) = keys.retire_on {
                add(SUNSET, day.http_date());
            }
        }
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    fn of(phase: ApiKeyPhase) -> Vec<(String, String)> {
        let retire_on = (phase == ApiKeyPhase::Deprecated).then(|| Timestamp::parse_date("2027-03-01").unwrap());
        let keys = ApiKeys { phase, retire_on, ..ApiKeys::default() };
        headers(&keys, &Url::parse("https://connect.example.com/base/").unwrap())
            .into_iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect()
    }

    #[test]
    fn each_phase_says_what_it_must() {
        let text = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(of(ApiKeyPhase::Allowed), []);
        assert_eq!(of(ApiKeyPhase::Retired), []);
        let url = "https://connect.example.com/base/dashboard";
        let encouraged = format!("api-key; phase=encouraged; connect=\"{url}\"");
        assert_eq!(of(ApiKeyPhase::Encouraged), [text("valetkey-notice", &encouraged)]);
        let deprecated = format!("api-key; phase=deprecated; retire-on=\"2027-03-01\"; connect=\"{url}\"");
        let began = format!("@{}", Timestamp::parse_date("2027-01-30").unwrap().seconds());
        let expected = [
            text("valetkey-notice", &deprecated),
            text("deprecation", &began),
            text("sunset", "Mon, 01 Mar 2027 00:00:00 GMT"),
        ];
        assert_eq!(of(ApiKeyPhase::Deprecated), expected);
    }
}
