//! Where our own calls may go, and how their names are resolved: a target is refused for what can be seen of it, and its name
//! leads only to addresses that may be called (`dns`).

use std::net::IpAddr;

use reqwest::dns::{Name, Resolve, Resolving};
use url::{Host, Url};

use super::Refusal;
use crate::{
    config::loopback::is_loopback,
    dns::{Names, may_be_called},
};

/// Resolves for the client.
#[derive(Debug, Default)]
pub(super) struct Resolver(Names);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let name = self.0.get(name.as_str());
        Box::pin(async move {
            let addresses: Vec<_> = name.resolve().await?.to_vec();
            Ok(Box::new(addresses.into_iter()) as reqwest::dns::Addrs)
        })
    }
}

/// Checks all of a target that can be seen before its name is resolved.
pub(super) fn check_target(url: &Url, allow_plain_http: bool) -> Result<(), Refusal> {
    let host = url.host().ok_or(Refusal::MalformedUrl)?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Refusal::MalformedUrl);
    }
    let address = match host {
        Host::Ipv4(v4) => Some(IpAddr::V4(v4)),
        Host::Ipv6(v6) => Some(IpAddr::V6(v6)),
        Host::Domain(_) => None,
    };
    if address.is_some_and(|address| !may_be_called(address)) {
        return Err(Refusal::Address);
    }
    match url.scheme() {
        "https" => Ok(()),
        "http" if allow_plain_http || is_loopback(url) => Ok(()),
        "http" => Err(Refusal::PlainHttp),
        _ => Err(Refusal::MalformedUrl),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(url: &str) -> Result<(), Refusal> {
        check_target(&Url::parse(url).unwrap(), false)
    }

    #[test]
    fn metadata_addresses_are_refused_in_every_spelling() {
        for url in [
            "https://169.254.169.254/",
            "https://2852039166/",
            "https://0xa9.0xfe.0xa9.0xfe/",
            "https://0251.0376.0251.0376/",
            "https://169.254.43518/",
            "https://[::ffff:169.254.169.254]/",
            "https://[64:ff9b::a9fe:a9fe]/",
            "https://[2002:a9fe:a9fe::1]/",
            "https://[::169.254.169.254]/",
            "https://[fd00:ec2::254]/",
            "https://[fe80::1]/",
            "https://[febf::1]/",
            "https://[ff02::1]/",
            "https://[::]/",
            "https://0.0.0.0/",
            "https://0/",
            "https://224.0.0.1/",
            "https://255.255.255.255/",
            "https://100.100.100.200/",
        ] {
            assert_eq!(verdict(url), Err(Refusal::Address), "{url}");
        }
    }

    #[test]
    fn plain_http_is_for_loopback_or_by_permission() {
        for url in
            ["http://127.0.0.1:1/", "http://127.9.9.9/", "http://[::1]/", "http://localhost/", "http://a.LOCALHOST./"]
        {
            assert_eq!(verdict(url), Ok(()), "{url}");
        }
        for url in ["http://10.0.0.1/", "http://example.com/", "http://localhost.example.com/", "http://notlocalhost/"]
        {
            assert_eq!(verdict(url), Err(Refusal::PlainHttp), "{url}");
            assert_eq!(check_target(&Url::parse(url).unwrap(), true), Ok(()), "{url}");
        }
        let metadata = Url::parse("http://169.254.169.254/").unwrap();
        assert_eq!(check_target(&metadata, true), Err(Refusal::Address));
    }

    #[test]
    fn other_schemes_and_user_information_are_refused() {
        for url in [
            "ftp://example.com/",
            "file:///etc/passwd",
            "https://user@example.com/",
            "https://u:p@example.com/",
            "data:,x",
        ] {
            assert_eq!(verdict(url), Err(Refusal::MalformedUrl), "{url}");
        }
    }

    #[test]
    fn private_networks_may_be_called_over_tls() {
        for url in ["https://10.0.0.1/", "https://192.168.1.1/", "https://[fd00::1]/", "https://100.64.0.1/"] {
            assert_eq!(verdict(url), Ok(()), "{url}");
        }
    }
}
