//! `Vary` of answers that a cache of the client's own may keep: what of a request decides which answer it gets (RFC 9110
//! §12.5.5). Pure.

use http::{HeaderMap, HeaderValue, header};

/// What of a request decides which answer it gets.
const DECIDING: [&str; 3] = ["Authorization", "Valetkey-Token", "Valetkey-Account"];
const VARY: HeaderValue = HeaderValue::from_static("Authorization, Valetkey-Token, Valetkey-Account");
/// The same where callers may act for others.
const DECIDING_TOO: &str = "Valetkey-User";
const VARY_TOO: HeaderValue =
    HeaderValue::from_static("Authorization, Valetkey-Token, Valetkey-Account, Valetkey-User");

/// `Vary` for an answer that a cache of the client's own may keep: another caller or account gets another. `any` is
/// whether the upstream's has one of its own, which is added to; `acting`, whether callers may act for others.
pub fn vary(headers: &HeaderMap, any: bool, acting: bool) -> HeaderValue {
    let ours = if acting { VARY_TOO } else { VARY };
    if !any {
        return ours;
    }
    let values = headers.get_all(header::VARY).iter().filter_map(|value| value.to_str().ok());
    let mut names: Vec<&str> = values.flat_map(|value| value.split(',')).map(str::trim).collect();
    names.retain(|name| !name.is_empty());
    if names.contains(&"*") {
        return HeaderValue::from_static("*");
    }
    for deciding in DECIDING.into_iter().chain(acting.then_some(DECIDING_TOO)) {
        if !names.iter().any(|name| name.eq_ignore_ascii_case(deciding)) {
            names.push(deciding);
        }
    }
    HeaderValue::from_str(&names.join(", ")).unwrap_or(ours)
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        lines.iter().map(pair).collect()
    }

    #[test]
    fn what_may_be_kept_varies_on_caller_and_account() {
        let ours = "Authorization, Valetkey-Token, Valetkey-Account";
        assert_eq!(vary(&HeaderMap::new(), false, false), ours);
        for (upstream, expected) in [
            ("Accept-Encoding", "Accept-Encoding, Authorization, Valetkey-Token, Valetkey-Account"),
            ("authorization", "authorization, Valetkey-Token, Valetkey-Account"),
            ("Accept, *", "*"),
            ("", ours),
        ] {
            assert_eq!(vary(&headers(&[("vary", upstream)]), true, false), expected, "{upstream}");
        }
        assert_eq!(vary(&HeaderMap::new(), false, true), format!("{ours}, Valetkey-User"));
        assert_eq!(vary(&headers(&[("vary", "Accept")]), true, true), format!("Accept, {ours}, Valetkey-User"));
    }
}
