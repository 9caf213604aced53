//! What a URL of the configuration may be like, wherever it stands: absolute, `https` (plain `http` where the rule lets it),
//! without user, password and fragment. The one home of that rule. Pure; its texts never hold the URL.

use url::Url;

use super::{
    loopback::is_loopback,
    problem::{Finding, finding},
};

/// Where plain `http` may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlainHttp {
    /// Only to this machine.
    Loopback,
    /// Only to this machine, but the service can say otherwise.
    LoopbackUnlessAllowed,
    /// The service says otherwise.
    Allowed,
    /// Anywhere: nothing secret is sent there.
    Anywhere,
}

/// What a URL may be like.
#[derive(Debug, Clone, Copy)]
pub struct UrlRule {
    /// Where plain `http` may go.
    pub plain_http: PlainHttp,
    /// Whether it may have a query.
    pub query: bool,
}

/// An absolute `http(s)` URL without user, password and fragment.
///
/// # Errors
/// All that is wrong with it.
pub fn parse(text: &str, rule: UrlRule) -> Result<Url, Vec<Finding>> {
    let Ok(url) = Url::parse(text) else {
        return Err(vec![
            finding("This is no absolute URL").hint("write it whole, such as `https://example.com/path`"),
        ]);
    };
    let mut findings = Vec::new();
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(&url) || matches!(rule.plain_http, PlainHttp::Allowed | PlainHttp::Anywhere) => {}
        "http" => {
            let hint = match rule.plain_http {
                PlainHttp::LoopbackUnlessAllowed => {
                    "use `https`, or set `allow_plain_http: true` on this service if the network in between is trusted"
                }
                _ => "use `https`",
            };
            findings.push(finding("Plain `http` is only for loopback addresses").hint(hint));
        }
        _ => findings.push(finding("This should be an `https` URL")),
    }
    if !url.username().is_empty() || url.password().is_some() {
        findings.push(finding("This URL may hold no user and no password"));
    }
    if url.fragment().is_some() {
        findings.push(finding("This URL may have no fragment (`#…`)"));
    }
    if url.query().is_some() && !rule.query {
        findings.push(finding("This URL may have no query (`?…`)"));
    }
    if findings.is_empty() { Ok(url) } else { Err(findings) }
}
