//! Which pods of a Kubernetes cluster are believed as callers, by the ServiceAccounts that their tokens name. Plain data: no
//! token is read here.

use std::{fmt, path::PathBuf};

use url::Url;

/// What the `sub` of a ServiceAccount's token begins with; `namespace:name` follows.
const SUBJECT: &str = "system:serviceaccount:";

/// What is believed of a cluster's tokens, beyond what holds for any issuer's.
#[derive(Debug, Clone, PartialEq)]
pub struct Pods {
    /// Whose tokens are taken. Never empty.
    pub accounts: Vec<ServiceAccounts>,
    /// Whether they may act for people who have allowed it.
    pub on_behalf_of: bool,
}

impl Pods {
    /// Whether a token of this subject is taken.
    pub fn include(&self, subject: &str) -> bool {
        let named = subject.strip_prefix(SUBJECT).and_then(|named| named.split_once(':'));
        named.is_some_and(|(namespace, name)| self.accounts.iter().any(|accounts| accounts.include(namespace, name)))
    }
}

/// One ServiceAccount, or all of a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceAccounts {
    namespace: String,
    /// None: all.
    name: Option<String>,
}

impl ServiceAccounts {
    /// Reads `namespace/name` or `namespace/*`. A namespace is a DNS label (RFC 1123), a name is labels with dots between.
    pub fn parse(text: &str) -> Option<Self> {
        let (namespace, name) = text.split_once('/')?;
        let all = name == "*";
        if !is_label(namespace) || !(all || is_name(name)) {
            return None;
        }
        Some(Self { namespace: namespace.to_owned(), name: (!all).then(|| name.to_owned()) })
    }

    fn include(&self, namespace: &str, name: &str) -> bool {
        self.namespace == namespace && is_name(name) && self.name.as_ref().is_none_or(|only| only == name)
    }
}

impl fmt::Display for ServiceAccounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name.as_deref().unwrap_or("*"))
    }
}

fn is_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

fn is_name(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_label)
}

/// Where a cluster's key set is fetched, and how it is known that it is the cluster's and that we may.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterKeys {
    /// The key set (RFC 7517).
    pub url: Url,
    /// The only authorities that are trusted there, in PEM; none: the system's.
    pub ca: Option<String>,
    /// Holds the token to show there, if it exists. It is replaced from time to time.
    pub token_file: PathBuf,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_named_one_by_one_or_by_namespace() {
        let pods = Pods {
            accounts: ["jobs/nightly", "web/*"].map(|text| ServiceAccounts::parse(text).unwrap()).into(),
            on_behalf_of: false,
        };
        for taken in ["jobs:nightly", "web:anything", "web:a.b-c"] {
            assert!(pods.include(&format!("system:serviceaccount:{taken}")), "{taken}");
        }
        for other in ["jobs:nightl", "jobs:nightly:x", "job:nightly", "web:", "web:a:b", "web:*", ":nightly", "web"] {
            assert!(!pods.include(&format!("system:serviceaccount:{other}")), "{other}");
        }
        for subject in ["jobs:nightly", "system:node:web", "system:serviceaccounts:web", "", "jobs/nightly"] {
            assert!(!pods.include(subject), "{subject}");
        }
    }

    #[test]
    fn what_could_not_name_an_account_is_none() {
        for text in
            ["", "jobs", "jobs/", "/nightly", "*/nightly", "*/*", "jobs/n*", "Jobs/x", "jobs/x/y", "a.b/x", "jobs/-x"]
        {
            assert_eq!(ServiceAccounts::parse(text), None, "{text}");
        }
        for text in ["jobs/nightly", "jobs/nightly.v2", "jobs/*"] {
            assert_eq!(ServiceAccounts::parse(text).unwrap().to_string(), text);
        }
    }
}
