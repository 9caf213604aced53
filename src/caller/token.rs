//! Finds the JWT that a request presents, in the forms in which ordinary SDKs send credentials. Pure: it looks at headers
//! and verifies nothing.

use std::borrow::Cow;

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use http::{HeaderMap, HeaderName, HeaderValue, header::AUTHORIZATION};

use super::{Reason, Unauthenticated};

/// The header for the JWT alone; it wins over all others.
pub const VALETKEY_TOKEN: HeaderName = HeaderName::from_static("valetkey-token");

const BASIC: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The JWT in these headers. `Valetkey-Token` wins, then comes `Authorization`, then `service_header`: the header in which
/// the service's own credential goes upstream, where SDKs put whatever key they are given. Borrowed but for Basic.
///
/// # Errors
/// [`Reason::Missing`] where none of these headers is there; [`Reason::Malformed`] where the first of them that is comes
/// twice, or holds anything but one JWT in a known form.
pub fn presented<'h>(
    headers: &'h HeaderMap,
    service_header: Option<&HeaderName>,
) -> Result<Cow<'h, str>, Unauthenticated> {
    if let Some(value) = sole(headers, &VALETKEY_TOKEN)? {
        return Ok(Cow::Borrowed(jwt(text(value)?)?));
    }
    if let Some(value) = sole(headers, &AUTHORIZATION)? {
        let any_scheme = service_header == Some(&AUTHORIZATION);
        return credentials(text(value)?, any_scheme);
    }
    if let Some(name) = service_header
        && let Some(value) = sole(headers, name)?
    {
        return credentials(text(value)?, true);
    }
    Err(Reason::Missing.into())
}

/// What is the JWT if it is one: the usual case of a single `Authorization: Bearer`, without a look at its bytes. Whoever
/// knows these very bytes as a verified JWT may take them for one; everybody else asks [`presented`], and so where this is
/// `None`. `ours` says whether there may be headers of Valetkey's own.
pub fn likely(headers: &HeaderMap, ours: bool) -> Option<&[u8]> {
    if ours && headers.contains_key(VALETKEY_TOKEN) {
        return None;
    }
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    value.as_bytes().strip_prefix(b"Bearer ")
}

/// Whether this has the form of a signed JWT (RFC 7515 §3.1), however long.
pub(super) fn is_well_formed(text: &str) -> bool {
    // Without a branch, so that it takes sixteen bytes at a time.
    let sound = |byte: u8| {
        ((byte | 0x20).wrapping_sub(b'a') < 26)
            | (byte.wrapping_sub(b'0') < 10)
            | (byte == b'-')
            | (byte == b'_')
            | (byte == b'.')
    };
    let odd = text.bytes().fold(false, |odd, byte| odd | !sound(byte));
    let mut segments = text.split('.');
    let filled = segments.by_ref().take(3).filter(|segment| !segment.is_empty()).count();
    !odd && filled == 3 && segments.next().is_none()
}

/// The header's only value.
fn sole<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h HeaderValue>, Reason> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (first, None) => Ok(first),
        _ => Err(Reason::Malformed),
    }
}

fn text(value: &HeaderValue) -> Result<&str, Reason> {
    value.to_str().map_err(|_| Reason::Malformed)
}

fn jwt(text: &str) -> Result<&str, Reason> {
    if is_well_formed(text) { Ok(text) } else { Err(Reason::Malformed) }
}

/// A JWT after its scheme; where `any_scheme` is set also after another vendor's, or alone.
fn credentials(value: &str, any_scheme: bool) -> Result<Cow<'_, str>, Unauthenticated> {
    let Some((scheme, rest)) = value.split_once(' ') else {
        return if any_scheme { Ok(Cow::Borrowed(jwt(value)?)) } else { Err(Reason::Malformed.into()) };
    };
    let rest = rest.trim_start_matches(' ');
    if scheme.eq_ignore_ascii_case("basic") {
        return Ok(Cow::Owned(from_basic(rest)?));
    }
    if any_scheme || scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("token") {
        return Ok(Cow::Borrowed(jwt(rest)?));
    }
    Err(Reason::Malformed.into())
}

/// The JWT of Basic credentials (RFC 7617): the password, or else the user's name.
fn from_basic(encoded: &str) -> Result<String, Reason> {
    let decoded = BASIC.decode(encoded).map_err(|_| Reason::Malformed)?;
    let pair = std::str::from_utf8(&decoded).map_err(|_| Reason::Malformed)?;
    let (user, password) = pair.split_once(':').ok_or(Reason::Malformed)?;
    jwt(password).or_else(|_| jwt(user)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const JWT: &str = "eyJh.eyJz.c2ln";

    fn found(pairs: &[(&str, &str)], service_header: Option<&str>) -> Result<String, Reason> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap());
        }
        let service_header = service_header.map(|name| HeaderName::try_from(name).unwrap());
        presented(&headers, service_header.as_ref()).map(Cow::into_owned).map_err(|error| error.reason)
    }

    fn basic(pair: &str) -> String {
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
    }

    #[test]
    fn a_jwt_is_found_in_every_form_that_sdks_send() {
        for value in [
            "Bearer eyJh.eyJz.c2ln".to_owned(),
            "bearer eyJh.eyJz.c2ln".to_owned(),
            "BEARER   eyJh.eyJz.c2ln".to_owned(),
            "token eyJh.eyJz.c2ln".to_owned(),
            "Token eyJh.eyJz.c2ln".to_owned(),
            basic("user:eyJh.eyJz.c2ln"),
            basic("eyJh.eyJz.c2ln:"),
            basic("eyJh.eyJz.c2ln:x-oauth-basic"),
            basic(":eyJh.eyJz.c2ln"),
            basic("user:eyJh.eyJz.c2ln").trim_end_matches('=').to_owned(),
            basic("user:eyJh.eyJz.c2ln").replace("Basic", "bAsIc"),
        ] {
            assert_eq!(found(&[("authorization", &value)], None).as_deref(), Ok(JWT), "{value}");
        }
    }

    #[test]
    fn the_services_own_header_counts_where_it_is_named() {
        for value in [JWT, "Bearer eyJh.eyJz.c2ln", "Klaviyo-API-Key eyJh.eyJz.c2ln"] {
            assert_eq!(found(&[("x-api-key", value)], Some("x-api-key")).as_deref(), Ok(JWT), "{value}");
            assert_eq!(found(&[("authorization", value)], Some("authorization")).as_deref(), Ok(JWT), "{value}");
        }
        assert_eq!(found(&[("x-api-key", JWT)], None), Err(Reason::Missing));
        assert_eq!(found(&[("authorization", JWT)], None), Err(Reason::Malformed));
        assert_eq!(found(&[("authorization", "Klaviyo-API-Key eyJh.eyJz.c2ln")], None), Err(Reason::Malformed));
    }

    #[test]
    fn valetkey_token_wins_and_authorization_comes_next() {
        let other = "Bearer x.y.z";
        assert_eq!(found(&[("authorization", other), ("valetkey-token", JWT)], None).as_deref(), Ok(JWT));
        let twice = [("authorization", other), ("authorization", other), ("valetkey-token", JWT)];
        assert_eq!(found(&twice, None).as_deref(), Ok(JWT));
        let both = [("x-api-key", JWT), ("authorization", other)];
        assert_eq!(found(&both, Some("x-api-key")).as_deref(), Ok("x.y.z"));
        assert_eq!(found(&[("authorization", other), ("valetkey-token", "")], None), Err(Reason::Malformed));
    }

    #[test]
    fn anything_but_one_jwt_is_malformed() {
        for value in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer\teyJh.eyJz.c2ln",
            "Bearer eyJh.eyJz.c2ln ",
            "Bearer eyJh.eyJz.c2ln, Bearer eyJh.eyJz.c2ln",
            "Bearer eyJh.eyJz",
            "Bearer eyJh.eyJz.",
            "Bearer eyJh..c2ln",
            "Bearer .eyJz.c2ln",
            "Bearer a.b.c.d",
            "Bearer a.b.c=",
            "Bearer a.b.c+",
            "Digest a.b.c",
            "Basic !!!",
            "Basic YWJj",
        ] {
            assert_eq!(found(&[("authorization", value)], None), Err(Reason::Malformed), "{value:?}");
        }
        for pair in ["user:password", ":", "a.b.c d.e.f:"] {
            assert_eq!(found(&[("authorization", &basic(pair))], None), Err(Reason::Malformed), "{pair:?}");
        }
    }

    #[test]
    fn a_header_that_comes_twice_is_malformed() {
        for name in ["authorization", "valetkey-token", "x-api-key"] {
            let twice = [(name, "Bearer eyJh.eyJz.c2ln"), (name, "Bearer eyJh.eyJz.c2ln")];
            assert_eq!(found(&twice, Some("x-api-key")), Err(Reason::Malformed), "{name}");
        }
    }

    #[test]
    fn a_long_token_is_found_for_others_to_judge() {
        let long = format!("a.b.{}", "c".repeat(1 << 16));
        for value in [format!("Bearer {long}"), basic(&format!("user:{long}"))] {
            assert_eq!(found(&[("authorization", &value)], None).as_deref(), Ok(long.as_str()));
        }
    }

    #[test]
    fn a_bearer_token_is_borrowed() {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer eyJh.eyJz.c2ln"));
        assert!(matches!(presented(&headers, None), Ok(Cow::Borrowed(JWT))));
    }

    #[test]
    fn no_header_is_missing() {
        assert_eq!(found(&[("cookie", "token=a.b.c")], Some("x-api-key")), Err(Reason::Missing));
    }
}
