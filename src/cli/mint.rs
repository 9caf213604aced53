//! `valetkey mint`: a JWT for development, signed as an issuer with a shared `secret` would. Prints the token and nothing
//! else on standard output, so that it can stand in `$(…)`.

use std::time::Duration;

use clap::Args;
use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Map, Value};

use super::{
    ConfigFile, Outcome,
    configuration::load_or_complain,
    output::{complain, say},
};
use crate::{
    clock::{Clock, Timestamp},
    config::{Algorithm, CallerIssuer, Config, IssuerKeys},
    id::Subject,
};

/// Arguments of `mint`.
#[derive(Debug, Args)]
pub struct MintArgs {
    /// Whom the token speaks for: the `sub` claim, or what the issuer's `user_claim` names.
    #[arg(long, value_name = "USER")]
    pub user: String,
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigFile,
    /// The issuer; by default the first with a `secret`.
    #[arg(long, value_name = "ISSUER")]
    pub issuer: Option<String>,
    /// How long the token is valid.
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = humantime::parse_duration)]
    pub ttl: Duration,
    /// A further claim; the value is JSON where it can be read so, else text.
    #[arg(long = "claim", value_name = "NAME=VALUE", value_parser = claim)]
    pub claims: Vec<(String, Value)>,
}

/// Why no token can be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum MintError {
    #[error("--user: {0}")]
    User(crate::id::Malformed),
    #[error("no issuer in `callers` has a `secret`; only those can be minted for")]
    NoSecret,
    #[error("no issuer in `callers` has this name and a `secret`; there are: {0}")]
    NoSuchIssuer(String),
    #[error("--claim can't set `{0}`; it comes from the configuration, --user and --ttl")]
    Reserved(String),
    #[error("the token can't be signed")]
    Signing,
}

/// Makes a token.
pub fn run(args: &MintArgs) -> Outcome {
    let Some(loaded) = load_or_complain(&args.config.config) else { return Outcome::Wrong };
    match mint(&loaded.config, args, Clock::system().now()) {
        Ok(token) => {
            say(token);
            Outcome::Done
        }
        Err(error) => {
            complain(&error);
            if error == MintError::Signing { Outcome::Failed } else { Outcome::Wrong }
        }
    }
}

fn claim(text: &str) -> Result<(String, Value), &'static str> {
    let (name, value) = text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or("write NAME=VALUE")?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
    Ok((name.to_owned(), value))
}

fn mint(config: &Config, args: &MintArgs, now: Timestamp) -> Result<String, MintError> {
    let user = Subject::parse(&args.user).map_err(MintError::User)?;
    let issuer = issuer(config, args.issuer.as_deref())?;
    let mut claims = Map::new();
    claims.insert("iss".into(), issuer.issuer.as_str().into());
    claims.insert("aud".into(), issuer.audience.as_str().into());
    claims.insert("sub".into(), user.as_str().into());
    claims.insert(issuer.user_claim.clone(), user.as_str().into());
    claims.insert("iat".into(), now.seconds().into());
    claims.insert("exp".into(), now.plus(args.ttl).seconds().into());
    for (name, value) in &args.claims {
        if claims.contains_key(name) {
            return Err(MintError::Reserved(name.clone()));
        }
        claims.insert(name.clone(), value.clone());
    }
    let (IssuerKeys::Secret(secret), Some(algorithm)) = (&issuer.keys, issuer.algorithms.first()) else {
        return Err(MintError::NoSecret);
    };
    let algorithm = match algorithm {
        Algorithm::HS384 => jsonwebtoken::Algorithm::HS384,
        Algorithm::HS512 => jsonwebtoken::Algorithm::HS512,
        // A secret goes with no other family.
        _ => jsonwebtoken::Algorithm::HS256,
    };
    let key = EncodingKey::from_secret(secret.expose().as_bytes());
    jsonwebtoken::encode(&Header::new(algorithm), &claims, &key).map_err(|_| MintError::Signing)
}

/// The issuer that is named, or the first that has a secret.
fn issuer<'a>(config: &'a Config, named: Option<&str>) -> Result<&'a CallerIssuer, MintError> {
    let with_secret: Vec<&CallerIssuer> =
        config.callers.iter().filter(|caller| matches!(caller.keys, IssuerKeys::Secret(_))).collect();
    let first = *with_secret.first().ok_or(MintError::NoSecret)?;
    match named {
        None => Ok(first),
        Some(name) => with_secret.iter().find(|caller| caller.issuer.as_str() == name).copied().ok_or_else(|| {
            let names: Vec<&str> = with_secret.iter().map(|caller| caller.issuer.as_str()).collect();
            MintError::NoSuchIssuer(names.join(", "))
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use jsonwebtoken::{DecodingKey, Validation, decode};

    use super::*;
    use crate::config::parse;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn config() -> Config {
        let text = format!(
            "public_url: http://localhost:8080\n\
             callers:\n\
             - {{issuer: https://a.example/, audience: valetkey, jwks_url: 'https://a.example/jwks', algorithms: [RS256]}}\n\
             - {{issuer: dev, audience: valetkey, secret: {SECRET}, algorithms: [HS384], user_claim: email}}\n\
             store: {{embedded: {{path: x.redb}}}}\n\
             vault: {{keys: [{{id: a, key: AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=}}]}}\n\
             services: {{}}\n"
        );
        parse(&text, Path::new(""), &|_| None).finish().unwrap().0
    }

    fn args(more: &[&str]) -> MintArgs {
        use clap::Parser;
        let line = ["valetkey", "mint", "--user", "alice", "--config", "x.yaml"].iter().chain(more);
        match super::super::Cli::try_parse_from(line).unwrap().command {
            super::super::Command::Mint(args) => args,
            _ => unreachable!("`mint` was asked for"),
        }
    }

    #[test]
    fn a_minted_token_holds_what_the_issuer_asks_for() {
        let now = Timestamp::from_seconds(4_000_000_000);
        let claims = ["--ttl", "10m", "--claim", "groups=[\"a\"]", "--claim", "team=blue"];
        let token = mint(&config(), &args(&claims), now).unwrap();
        let mut validation = Validation::new(jsonwebtoken::Algorithm::HS384);
        validation.set_audience(&["valetkey"]);
        validation.set_issuer(&["dev"]);
        let key = DecodingKey::from_secret(SECRET.as_bytes());
        let claims = decode::<Value>(&token, &key, &validation).unwrap().claims;
        assert_eq!(claims["email"], "alice");
        assert_eq!(claims["sub"], "alice");
        assert_eq!(claims["exp"], 4_000_000_600_u64);
        assert_eq!(claims["groups"], serde_json::json!(["a"]));
        assert_eq!(claims["team"], "blue");
    }

    #[test]
    fn what_cannot_be_minted_is_told() {
        let now = Timestamp::from_seconds(1);
        let reserved = mint(&config(), &args(&["--claim", "exp=9"]), now);
        assert_eq!(reserved, Err(MintError::Reserved("exp".into())));
        let unknown = mint(&config(), &args(&["--issuer", "https://a.example/"]), now);
        assert_eq!(unknown, Err(MintError::NoSuchIssuer("dev".into())));
    }
}
