//! Tokens, key sets and an issuer's server, for tests.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use jsonwebtoken::{EncodingKey, Header, jwk::Jwk};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::{Caller, keys::library};
use crate::{
    clock::Timestamp,
    config::{Algorithm, CallerIssuer, IssuerKeys},
    id::{CallerId, Issuer, Subject},
};

/// The issuer of [`claims`].
pub(crate) const ISSUER: &str = "https://auth.example.com/";
/// The audience of [`claims`].
pub(crate) const AUDIENCE: &str = "valetkey";
/// Now, as tests have it.
pub(crate) const NOW: u64 = 1_800_000_000;

/// This many seconds after the epoch.
pub(crate) fn at(seconds: u64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}
/// A secret of an allowed length.
pub(crate) const SECRET: &str = "a secret of thirty-two bytes, ok";

/// A key pair of `testdata/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pair {
    Rsa,
    RsaOther,
    P256,
    P384,
    Ed25519,
}

impl Pair {
    fn private_pem(self) -> &'static str {
        match self {
            Self::Rsa => include_str!("testdata/rsa2048.pem"),
            Self::RsaOther => include_str!("testdata/rsa2048-other.pem"),
            Self::P256 => include_str!("testdata/p256.pem"),
            Self::P384 => include_str!("testdata/p384.pem"),
            Self::Ed25519 => include_str!("testdata/ed25519.pem"),
        }
    }

    /// The public half.
    pub(crate) fn public_pem(self) -> &'static str {
        match self {
            Self::Rsa => include_str!("testdata/rsa2048.pub.pem"),
            Self::RsaOther => unreachable!("signs what must not verify"),
            Self::P256 => include_str!("testdata/p256.pub.pem"),
            Self::P384 => include_str!("testdata/p384.pub.pem"),
            Self::Ed25519 => include_str!("testdata/ed25519.pub.pem"),
        }
    }

    /// The algorithm that its JWK names.
    pub(crate) fn algorithm(self) -> Algorithm {
        match self {
            Self::Rsa | Self::RsaOther => Algorithm::RS256,
            Self::P256 => Algorithm::ES256,
            Self::P384 => Algorithm::ES384,
            Self::Ed25519 => Algorithm::EdDSA,
        }
    }

    fn encoding(self) -> EncodingKey {
        let pem = self.private_pem().as_bytes();
        match self {
            Self::Rsa | Self::RsaOther => EncodingKey::from_rsa_pem(pem).unwrap(),
            Self::P256 | Self::P384 => EncodingKey::from_ec_pem(pem).unwrap(),
            Self::Ed25519 => EncodingKey::from_ed_pem(pem).unwrap(),
        }
    }

    /// The public half as a JWK.
    pub(crate) fn jwk(self, id: &str) -> Value {
        let jwk = Jwk::from_encoding_key(&self.encoding(), library(self.algorithm())).unwrap();
        let mut jwk = serde_json::to_value(jwk).unwrap();
        jwk["kid"] = json!(id);
        jwk["use"] = json!("sig");
        jwk
    }

    /// A signed token.
    pub(crate) fn sign(self, algorithm: Algorithm, id: Option<&str>, claims: &Value) -> String {
        let mut header = Header::new(library(algorithm));
        header.kid = id.map(ToOwned::to_owned);
        self.sign_with(&header, claims)
    }

    /// A signed token with this header.
    pub(crate) fn sign_with(self, header: &Header, claims: &Value) -> String {
        jsonwebtoken::encode(header, claims, &self.encoding()).unwrap()
    }
}

/// A token signed by a shared secret.
pub(crate) fn sign_hmac(secret: &[u8], algorithm: Algorithm, claims: &Value) -> String {
    jsonwebtoken::encode(&Header::new(library(algorithm)), claims, &EncodingKey::from_secret(secret)).unwrap()
}

/// Claims that are good at [`NOW`].
pub(crate) fn claims(subject: &str) -> Value {
    json!({"iss": ISSUER, "aud": AUDIENCE, "sub": subject, "exp": NOW + 300})
}

/// A key set of these keys, each named.
pub(crate) fn jwks(keys: &[(Pair, &str)]) -> String {
    json!({ "keys": keys.iter().map(|(pair, id)| pair.jwk(id)).collect::<Vec<_>>() }).to_string()
}

/// An issuer's configuration.
pub(crate) fn issuer(keys: IssuerKeys, algorithms: &[Algorithm]) -> CallerIssuer {
    CallerIssuer {
        issuer: Issuer::parse(ISSUER).unwrap(),
        audience: AUDIENCE.into(),
        keys,
        algorithms: algorithms.to_vec(),
        user_claim: "sub".into(),
        pods: None,
        application: None,
        email_claim: None,
        language_claim: None,
    }
}

/// A verified caller of [`ISSUER`], with this token.
pub(crate) fn caller_with(subject: &str, expires_at: Timestamp, token: &str) -> Caller {
    let id = CallerId { issuer: Issuer::parse(ISSUER).unwrap(), subject: Subject::parse(subject).unwrap() };
    Caller::new(id, expires_at, 0, token)
}

/// An issuer's server: answers every request with what it is set to, and counts them.
pub(crate) struct JwksServer {
    answer: Arc<Mutex<Vec<u8>>>,
    fetches: Arc<AtomicUsize>,
    pub(crate) url: url::Url,
}

impl JwksServer {
    pub(crate) async fn start(body: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/jwks.json", listener.local_addr().unwrap()).parse().unwrap();
        let answer = Arc::new(Mutex::new(Vec::new()));
        let fetches = Arc::new(AtomicUsize::new(0));
        let (current, count) = (answer.clone(), fetches.clone());
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let (current, count) = (current.clone(), count.clone());
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
                        if socket.read_buf(&mut head).await.unwrap_or(0) == 0 {
                            return;
                        }
                    }
                    count.fetch_add(1, Ordering::SeqCst);
                    let answer = current.lock().clone();
                    let _ = socket.write_all(&answer).await;
                    let _ = socket.shutdown().await;
                });
            }
        });
        let server = Self { answer, fetches, url };
        server.serve(body);
        server
    }

    /// Answers 200 with this body from now on.
    pub(crate) fn serve(&self, body: &str) {
        self.answer_with(&format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        ));
    }

    /// Answers with these bytes from now on.
    pub(crate) fn answer_with(&self, answer: &str) {
        *self.answer.lock() = answer.as_bytes().to_vec();
    }

    /// How many requests have come.
    pub(crate) fn fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }
}
