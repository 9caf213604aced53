//! `valetkey keys`: makes sealing keys, and cleans up after retired API keys (`cleanup`).

use base64::{Engine, engine::general_purpose::STANDARD};
use clap::Subcommand;
use serde_json::json;
use zeroize::Zeroizing;

use super::{
    Outcome,
    cleanup::{self, CleanupArgs},
    output::{complain, say},
};
use crate::clock::{Clock, Timestamp};

/// What to do with keys.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Make a new key and print it: 32 random bytes in base64.
    Generate {
        /// Print `{id, key}` as JSON, as it goes into `vault.keys`; the id is today's date.
        #[arg(long)]
        json: bool,
    },
    /// Delete API keys of services that have retired them; a dry run, unless `--yes` is given.
    Cleanup(CleanupArgs),
}

/// Does it.
pub fn run(command: &KeysCommand) -> Outcome {
    match command {
        KeysCommand::Generate { json } => generate(*json),
        KeysCommand::Cleanup(args) => cleanup::run(args),
    }
}

fn generate(json: bool) -> Outcome {
    let mut bytes = Zeroizing::new([0; 32]);
    if getrandom::fill(bytes.as_mut_slice()).is_err() {
        complain("The system has no random numbers to give");
        return Outcome::Failed;
    }
    say(shown(&bytes, json, Clock::system().now()).as_str());
    Outcome::Done
}

fn shown(bytes: &[u8; 32], as_json: bool, now: Timestamp) -> Zeroizing<String> {
    let key = Zeroizing::new(STANDARD.encode(bytes));
    if !as_json {
        return key;
    }
    Zeroizing::new(json!({"id": now.date(), "key": key.as_str()}).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_32_bytes_in_base64() {
        let now = Timestamp::from_seconds(1_795_446_000);
        assert_eq!(STANDARD.decode(shown(&[7; 32], false, now).as_bytes()).unwrap(), [7; 32]);
        let json: serde_json::Value = serde_json::from_str(&shown(&[7; 32], true, now)).unwrap();
        assert_eq!(json["id"], "2026-11-23");
        assert_eq!(STANDARD.decode(json["key"].as_str().unwrap()).unwrap(), [7; 32]);
    }
}
