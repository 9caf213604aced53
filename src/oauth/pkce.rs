//! Proof Key for Code Exchange (RFC 7636), S256 only.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use oauth2::{PkceCodeChallenge, PkceCodeVerifier};

use crate::secret::SecretString;

/// A code verifier: proves at the token endpoint that who redeems a code is who asked for it. Never in a URL.
#[derive(Debug, Clone)]
pub struct Verifier(SecretString);

impl Verifier {
    /// 256 random bits, as RFC 7636 §4.1 recommends.
    ///
    /// # Errors
    /// Where the system gives no random bytes.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut bytes = zeroize::Zeroizing::new([0; 32]);
        getrandom::fill(&mut *bytes)?;
        Ok(Self(SecretString::new(URL_SAFE_NO_PAD.encode(*bytes))))
    }

    /// A verifier as [`Verifier::secret`] gave it; `None` for what is none (RFC 7636 §4.1).
    pub fn from_secret(secret: SecretString) -> Option<Self> {
        let text = secret.expose();
        let well_formed = (43..=128).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~'));
        well_formed.then_some(Self(secret))
    }

    /// The verifier itself, to be sealed until the callback.
    pub fn secret(&self) -> &SecretString {
        &self.0
    }

    /// The `code_challenge` for the authorization URL.
    pub fn challenge(&self) -> String {
        let verifier = PkceCodeVerifier::new(self.0.expose().clone());
        PkceCodeChallenge::from_code_verifier_sha256(&verifier).as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_challenge_is_that_of_rfc_7636_appendix_b() {
        let verifier = Verifier::from_secret("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".into()).unwrap();
        assert_eq!(verifier.challenge(), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }

    #[test]
    fn verifiers_are_well_formed_and_never_the_same() {
        let (one, two) = (Verifier::generate().unwrap(), Verifier::generate().unwrap());
        assert_ne!(one.secret().expose(), two.secret().expose());
        assert!(Verifier::from_secret(one.secret().clone()).is_some());
        assert!(!format!("{one:?}").contains(one.secret().expose()));
    }

    #[test]
    fn what_is_no_verifier_is_refused() {
        for bad in ["", "short", &"a".repeat(42), &"a".repeat(129), &format!("{}+", "a".repeat(43))] {
            assert!(Verifier::from_secret(bad.into()).is_none(), "{bad}");
        }
    }
}
