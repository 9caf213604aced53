//! How a credential becomes a header.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};

use super::header::{BadHeader, settable};
use crate::{config::Injection, secret::SecretString};

/// A header and the text around the credential in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inject {
    header: Arc<HeaderName>,
    before: String,
    after: String,
}

/// The credential holds bytes that no header value may have; the credential itself is not in this error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the credential holds characters that can't be sent in a header")]
pub struct Unsendable;

/// Why a header and a template can't carry credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadInjection {
    /// The header is not a service's to set.
    Header(BadHeader),
    /// The template has no place for the credential.
    NoToken,
    /// It has two.
    TokenTwice,
    /// It holds characters that can't be sent in a header.
    Unsendable,
}

impl Inject {
    /// Checks header name and template.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn parse(injection: &Injection) -> Result<Self, BadInjection> {
        let header = Arc::new(settable(&injection.header).map_err(BadInjection::Header)?);
        let (before, after) = injection.template.split_once("{token}").ok_or(BadInjection::NoToken)?;
        if after.contains("{token}") {
            return Err(BadInjection::TokenTwice);
        }
        if !visible(before) || !visible(after) {
            return Err(BadInjection::Unsendable);
        }
        Ok(Self { header, before: before.to_owned(), after: after.to_owned() })
    }

    /// The header's name.
    pub fn header(&self) -> &HeaderName {
        &self.header
    }

    /// The header that carries a credential, for the many calls that it goes into.
    ///
    /// # Errors
    /// As [`Inject::header_value`].
    pub fn header_with(&self, credential: &SecretString) -> Result<(Arc<HeaderName>, HeaderValue), Unsendable> {
        Ok((Arc::clone(&self.header), self.header_value(credential)?))
    }

    /// The header's value, marked sensitive so that no log prints it.
    ///
    /// # Errors
    /// Where the credential is empty or holds anything but visible ASCII characters and inner spaces.
    pub fn header_value(&self, credential: &SecretString) -> Result<HeaderValue, Unsendable> {
        let credential = credential.expose();
        if credential.is_empty() || !visible(credential) || credential.trim().len() != credential.len() {
            return Err(Unsendable);
        }
        let text = zeroize::Zeroizing::new([self.before.as_str(), credential, &self.after].concat());
        let mut value = HeaderValue::from_str(&text).map_err(|_| Unsendable)?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// The credential in a header value of this shape, as SDKs send it. Schemes compare without case (RFC 9110 §11.1).
    pub fn extract<'v>(&self, value: &'v str) -> Option<&'v str> {
        let (head, rest) = value.split_at_checked(self.before.len())?;
        let token = rest.strip_suffix(self.after.as_str())?;
        (head.eq_ignore_ascii_case(&self.before) && !token.is_empty()).then_some(token)
    }
}

fn visible(text: &str) -> bool {
    text.bytes().all(|b| (b' '..=b'~').contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inject(header: &str, template: &str) -> Result<Inject, BadInjection> {
        Inject::parse(&Injection { header: header.into(), template: template.into() })
    }

    #[test]
    fn a_credential_goes_where_the_template_says() {
        let value = |template: &str| inject("Authorization", template).unwrap().header_value(&"t0k".into()).unwrap();
        assert_eq!(value("Bearer {token}"), "Bearer t0k");
        assert_eq!(value("{token}"), "t0k");
        assert_eq!(value("Token token=\"{token}\""), "Token token=\"t0k\"");
        assert_eq!(format!("{:?}", value("{token}")), "Sensitive");
    }

    #[test]
    fn a_credential_can_not_break_out_of_its_header() {
        let bearer = Inject::parse(&Injection::default()).unwrap();
        for bad in ["", "a\r\nX: y", "a\nb", "a\0", "a\u{7f}", "ä", "a\tb", " a", "a "] {
            assert_eq!(bearer.header_value(&bad.into()), Err(Unsendable), "{bad:?}");
        }
    }

    #[test]
    fn odd_templates_and_headers_are_refused() {
        for (header, template) in [
            ("Authorization", "Bearer"),
            ("Authorization", "{token}{token}"),
            ("Authorization", "B\r\n{token}"),
            ("Bad Header", "{token}"),
            ("Host", "{token}"),
            ("Connection", "{token}"),
            ("Proxy-Authorization", "{token}"),
            ("Valetkey-Token", "{token}"),
        ] {
            assert!(inject(header, template).is_err(), "{header}: {template}");
        }
    }

    #[test]
    fn a_credential_is_found_again_in_its_own_shape() {
        let bearer = Inject::parse(&Injection::default()).unwrap();
        assert_eq!(bearer.extract("bearer abc"), Some("abc"));
        assert_eq!(bearer.extract("Basic abc"), None);
        assert_eq!(bearer.extract("Bearer "), None);
        assert_eq!(inject("x-api-key", "{token}").unwrap().extract("abc"), Some("abc"));
        assert_eq!(bearer.extract("Bäaaaaa"), None);
    }
}
