use std::path::Path;

use super::*;

mod brand;
mod generated;
mod meaning;
mod notifications;
mod problems;
mod text;

/// Two providers, one with OAuth and one with API keys only.
struct Known;

impl Catalogue for Known {
    fn names(&self) -> Vec<&str> {
        vec!["github", "keyed"]
    }

    fn whole(&self, provider: &str, _: &str, inline: &ProviderFields) -> Option<ProviderFields> {
        let over = |inline: &Option<String>, text: &str| inline.clone().or_else(|| Some(text.to_owned()));
        match provider {
            "github" => Some(ProviderFields {
                base_url: over(&inline.base_url, "https://api.github.com"),
                authorize_url: over(&inline.authorize_url, "https://github.com/login/oauth/authorize"),
                token_url: over(&inline.token_url, "https://github.com/login/oauth/access_token"),
                ..inline.clone()
            }),
            "keyed" => {
                Some(ProviderFields { base_url: over(&inline.base_url, "https://keyed.example"), ..inline.clone() })
            }
            _ => None,
        }
    }
}

const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

fn env(name: &str) -> Option<String> {
    let value = match name {
        "VALETKEY_KEY" => KEY,
        "VALETKEY_ADMIN_TOKEN" => "hush-hush-hush-hush",
        "CRM_CLIENT_SECRET" | "GITHUB_CLIENT_SECRET" => "hush-hush",
        "GITHUB_CLIENT_ID" => "12345",
        "VALETKEY_DEV_SECRET" => "0123456789abcdef0123456789abcdef",
        "EMPTY" => "",
        "YAML" => "x: [1, 2]\n- \"injected\"",
        "NUMBER" => "42",
        "FLAG" => "false",
        "LONG" => "1h",
        _ => return None,
    };
    Some(value.to_owned())
}

fn parsed(text: &str) -> Result<Loaded, Problems> {
    parse(text, Path::new("config"), &env, &Known)
}
