//! Who takes part: users, each with a JWT and a token of their own at the upstream.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;

/// The issuer of JWTs with HS256; other algorithms have one of their own below it.
pub const ISSUER: &str = "https://bench.example/";
/// For whom JWTs are.
pub const AUDIENCE: &str = "valetkey";
/// What HS256 signs with.
pub const ISSUER_SECRET: &str = "a-secret-of-this-benchmark-and-of-nothing-else";
/// How long JWTs live, in seconds: longer than any run.
const LIFETIME: i64 = 12 * 3600;

/// How JWTs are signed. Each algorithm has an issuer of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signing {
    /// HMAC-SHA256.
    Hs256,
    /// RSA with 2048 bits.
    Rs256,
    /// P-256.
    Es256,
}

impl Signing {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Hs256, Self::Rs256, Self::Es256];

    /// As RFC 7518 §3.1 has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
        }
    }

    /// The name of further passes, when every JWT is known.
    pub const fn hot(self) -> &'static str {
        match self {
            Self::Hs256 => "hot HS256",
            Self::Rs256 => "hot RS256",
            Self::Es256 => "hot ES256",
        }
    }

    /// How many times the bare proxy's instructions a first call may cost.
    pub const fn cold_goal(self) -> f64 {
        match self {
            Self::Hs256 => 1.7,
            Self::Rs256 => 2.3,
            Self::Es256 => 2.5,
        }
    }

    /// The name of a first pass over users with such JWTs.
    pub const fn cold(self) -> &'static str {
        match self {
            Self::Hs256 => "cold HS256",
            Self::Rs256 => "cold RS256",
            Self::Es256 => "cold ES256",
        }
    }

    /// Its issuer.
    pub fn issuer(self) -> String {
        match self {
            Self::Hs256 => ISSUER.to_owned(),
            Self::Rs256 | Self::Es256 => format!("{ISSUER}{}/", self.name()),
        }
    }

    fn key(self) -> Result<EncodingKey, jsonwebtoken::errors::Error> {
        match self {
            Self::Hs256 => Ok(EncodingKey::from_secret(ISSUER_SECRET.as_bytes())),
            Self::Rs256 => EncodingKey::from_rsa_pem(include_bytes!("../../src/caller/testdata/rsa2048.pem")),
            Self::Es256 => EncodingKey::from_ec_pem(include_bytes!("../../src/caller/testdata/p256.pem")),
        }
    }

    /// The issuer in Valetkey's configuration.
    pub fn as_config(self) -> String {
        let keys = match self {
            Self::Hs256 => format!("secret: \"{ISSUER_SECRET}\""),
            Self::Rs256 => pem(include_str!("../../src/caller/testdata/rsa2048.pub.pem")),
            Self::Es256 => pem(include_str!("../../src/caller/testdata/p256.pub.pem")),
        };
        let (issuer, name) = (self.issuer(), self.name());
        format!("  - {{ issuer: \"{issuer}\", audience: {AUDIENCE}, algorithms: [{name}], {keys} }}\n")
    }
}

fn pem(text: &str) -> String {
    format!("public_key: \"{}\"", text.trim().replace('\n', "\\n"))
}

/// What the upstream calls the user by.
pub fn name(user: usize) -> String {
    format!("user-{user:06}")
}

/// The user's token at the upstream.
pub fn upstream_token(user: usize) -> String {
    format!("upstream-token-of-user-{user:06}")
}

fn jwt(user: usize, lifetime: i64, secret: &str) -> Result<String, jsonwebtoken::errors::Error> {
    signed(user, lifetime, Signing::Hs256, &EncodingKey::from_secret(secret.as_bytes()))
}

/// JWTs of so many users, one a line.
///
/// # Errors
/// Where signing fails.
pub fn jwts(users: usize, signing: Signing) -> Result<String, jsonwebtoken::errors::Error> {
    let key = signing.key()?;
    (0..users).map(|user| Ok(signed(user, LIFETIME, signing, &key)? + "\n")).collect()
}

fn signed(
    user: usize,
    lifetime: i64,
    signing: Signing,
    key: &EncodingKey,
) -> Result<String, jsonwebtoken::errors::Error> {
    let now = since_epoch().as_secs();
    let claims = json!({
        "iss": signing.issuer(),
        "aud": AUDIENCE,
        "sub": name(user),
        "iat": now,
        "exp": now.saturating_add_signed(lifetime),
    });
    let algorithm = match signing {
        Signing::Hs256 => Algorithm::HS256,
        Signing::Rs256 => Algorithm::RS256,
        Signing::Es256 => Algorithm::ES256,
    };
    jsonwebtoken::encode(&Header::new(algorithm), &claims, key)
}

/// A JWT that is good.
///
/// # Errors
/// Where signing fails.
pub fn good_jwt(user: usize) -> Result<String, jsonwebtoken::errors::Error> {
    jwt(user, LIFETIME, ISSUER_SECRET)
}

/// JWTs that must be refused, with why.
///
/// # Errors
/// Where signing fails.
pub fn bad_jwts() -> Result<[(&'static str, String); 3], jsonwebtoken::errors::Error> {
    let good = good_jwt(0)?;
    let unsigned = good.rsplit_once('.').map_or(String::new(), |(head, _)| format!("{head}."));
    Ok([
        ("another secret", jwt(0, 3600, "another-secret-that-is-also-long-enough")?),
        ("expired", jwt(0, -3600, ISSUER_SECRET)?),
        ("no signature", unsigned),
    ])
}

/// The time since 1970 by the machine's clock, for what expires.
#[expect(clippy::disallowed_methods, reason = "the bench is a program of its own, whose clock is the machine's")]
pub fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
