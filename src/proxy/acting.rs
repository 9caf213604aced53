//! Calls in somebody else's name: a pod that the operator lets act for others names a person in `Valetkey-User`, and that
//! person has allowed it. From then on the call is the person's: their connections, their rate. Only requests with that header
//! come here.

use http::{HeaderMap, HeaderName};

use std::sync::Arc;

use crate::{
    caller::Caller,
    clock::Timestamp,
    id::{CallerId, Issuer, ServiceName, Subject},
    refusal::Refusal,
};

use super::generation::Settings;

const VALETKEY_USER: HeaderName = HeaderName::from_static("valetkey-user");

/// The caller whom this one, whose JWT was verified, names in the headers of a call to this service.
///
/// # Errors
/// 403 where this caller may act for nobody, or not for that person; 400 where the header names none that could be.
pub(super) async fn named_by(
    caller: &Arc<Caller>,
    headers: &HeaderMap,
    (settings, service): (&Settings, &ServiceName),
    now: Timestamp,
) -> Result<Arc<Caller>, Refusal> {
    if !settings.callers.may_act_for_others(&caller.id.issuer) {
        return Err(Refusal::may_not_act(service));
    }
    let person = person(headers).ok_or_else(|| {
        Refusal::bad_request(
            "The Valetkey-User header should name one person, as the issuer of their JWTs, |, and its sub",
        )
    })?;
    if !settings.callers.knows(&person.issuer) {
        return Err(Refusal::bad_request("The Valetkey-User header names an issuer that is not configured"));
    }
    if !settings.consent.allowances.allowed(&person, now).await? {
        return Err(Refusal::not_while_away(service));
    }
    Ok(Arc::new(Caller::acting(caller, person)))
}

/// Who is named: the issuer reaches to the first `|`.
fn person(headers: &HeaderMap) -> Option<CallerId> {
    let mut values = headers.get_all(VALETKEY_USER).iter();
    let text = std::str::from_utf8(values.next()?.as_bytes()).ok()?;
    let (issuer, subject) = text.split_once('|')?;
    let person = CallerId { issuer: Issuer::parse(issuer).ok()?, subject: Subject::parse(subject).ok()? };
    values.next().is_none().then_some(person)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn named(values: &[&[u8]]) -> Option<(String, String)> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(VALETKEY_USER, HeaderValue::from_bytes(value).unwrap());
        }
        person(&headers).map(|person| (person.issuer.to_string(), person.subject.to_string()))
    }

    #[test]
    fn the_issuer_reaches_to_the_first_bar() {
        let is = |issuer: &str, subject: &str| Some((issuer.to_owned(), subject.to_owned()));
        assert_eq!(named(&[b"https://auth.example/|ada"]), is("https://auth.example/", "ada"));
        assert_eq!(named(&[b"https://auth.example/|auth0|42"]), is("https://auth.example/", "auth0|42"));
        assert_eq!(named(&["https://auth.example/|Zoë".as_bytes()]), is("https://auth.example/", "Zoë"));
        for none in [&b""[..], b"ada", b"|ada", b"https://auth.example/|", b"\xff|ada"] {
            assert_eq!(named(&[none]), None, "{none:?}");
        }
        assert_eq!(named(&[b"https://a/|ada", b"https://a/|ada"]), None, "one name, once");
        assert_eq!(named(&[]), None);
    }
}
