//! What an upstream's answer says of the credential that was sent. Pure: status, headers and, where the provider's signs
//! need them, the first bytes of the body. Scopes come before death: some vendors answer 401 or 400 for a missing scope,
//! and a refresh would not help.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, StatusCode, header};

use super::{
    Service,
    coding::is_readable,
    scan::{Pointer, scan},
    scopes::{ScopeSet, words},
};
use crate::config::{ErrorRules, provider::Sign};

/// How much of a body is looked at.
pub const BODY_PREFIX_MAX: usize = 8 * 1024;

/// What an answer says of the credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing: it is the application's.
    Fine,
    /// The grant lacks scopes. A refresh is no remedy.
    MissingScopes {
        /// Those it names, in canonical spelling; empty where it names none.
        scopes: Vec<String>,
    },
    /// The token is no longer taken.
    InvalidToken,
    /// Too many calls; nothing of the credential.
    RateLimited,
}

/// A provider's signs, taken apart.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Signs {
    dead_token: Vec<Compiled>,
    missing_scopes: Vec<Compiled>,
    rate_limited: Vec<Compiled>,
}

/// A sign that can't be meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadSign {
    /// The list that it stands in, such as `dead_token`, …
    pub list: &'static str,
    /// … and its place there.
    pub index: usize,
    /// What is wrong with it, in a sentence for the operator.
    pub message: &'static str,
}

const NO_POINTER: &str = "A JSON pointer is empty or begins with a slash";

#[derive(Debug, Clone, PartialEq)]
struct Compiled {
    status: Option<u16>,
    header: Option<(HeaderName, String)>,
    /// Pointers and the values that count there, all of which must hold.
    pointers: Vec<(Pointer, Vec<String>)>,
    contains: Option<String>,
    scopes: Vec<Pointer>,
    scopes_header: Option<HeaderName>,
    held_scopes_header: Option<HeaderName>,
}

impl Signs {
    /// Checks the signs of provider fields.
    ///
    /// # Errors
    /// Which sign is wrong, and how.
    pub fn parse(rules: Option<&ErrorRules>) -> Result<Self, BadSign> {
        let Some(rules) = rules else { return Ok(Self::default()) };
        let list = |list: &'static str, signs: &[Sign]| {
            let compiled = signs
                .iter()
                .enumerate()
                .map(|(index, sign)| Compiled::parse(sign).map_err(|message| BadSign { list, index, message }));
            compiled.collect::<Result<Vec<_>, _>>()
        };
        if let Some(index) = rules.token_error.iter().position(|text| Pointer::parse(text).is_none()) {
            return Err(BadSign { list: "token_error", index, message: NO_POINTER });
        }
        Ok(Self {
            dead_token: list("dead_token", &rules.dead_token)?,
            missing_scopes: list("missing_scopes", &rules.missing_scopes)?,
            rate_limited: list("rate_limited", &rules.rate_limited)?,
        })
    }

    /// Whether any sign is looked for in a body, whatever the status.
    pub fn look_at_bodies(&self) -> bool {
        self.all().any(Compiled::needs_body)
    }

    fn all(&self) -> impl Iterator<Item = &Compiled> {
        self.dead_token.iter().chain(&self.missing_scopes).chain(&self.rate_limited)
    }
}

impl Compiled {
    fn parse(sign: &Sign) -> Result<Self, &'static str> {
        let pointer = |text: &String| Pointer::parse(text).ok_or(NO_POINTER);
        let name = |text: &String| {
            HeaderName::from_bytes(text.as_bytes()).map_err(|_| "This sign names a header that is none")
        };
        let own = sign.pointer.iter().map(|text| Ok((pointer(text)?, sign.values.clone())));
        let also = sign.also.iter().map(|(text, values)| Ok((pointer(text)?, values.clone())));
        let compiled = Self {
            status: sign.status,
            header: sign
                .header
                .as_ref()
                .map(|(text, part)| Ok::<_, &str>((name(text)?, part.to_lowercase())))
                .transpose()?,
            pointers: own.chain(also).collect::<Result<_, &str>>()?,
            contains: sign.contains.clone(),
            scopes: match &sign.scopes_pointer {
                Some(text) => vec![pointer(text)?, pointer(text)?.each()],
                None => Vec::new(),
            },
            scopes_header: sign.scopes_header.as_ref().map(name).transpose()?,
            held_scopes_header: sign.held_scopes_header.as_ref().map(name).transpose()?,
        };
        if !sign.values.is_empty() && sign.pointer.is_none() {
            return Err("This sign has `values` but no `pointer`");
        }
        if compiled.held_scopes_header.is_some() && compiled.scopes_header.is_none() {
            return Err("This sign has `held_scopes_header` but no `scopes_header`");
        }
        let says_nothing = compiled.status.is_none()
            && compiled.header.is_none()
            && compiled.pointers.is_empty()
            && compiled.contains.is_none();
        if says_nothing { Err("This sign needs a `status`, `header`, `pointer` or `contains`") } else { Ok(compiled) }
    }

    fn needs_body(&self) -> bool {
        !self.pointers.is_empty() || self.contains.is_some() || !self.scopes.is_empty()
    }

    /// Whether status and headers are as the sign has them.
    fn head_holds(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        self.status.is_none_or(|wanted| wanted == status.as_u16())
            && self.header.as_ref().is_none_or(|(name, part)| {
                headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).any(|value| {
                    let value = value.to_lowercase();
                    part.strip_prefix('=').map_or_else(|| value.contains(part.as_str()), |whole| value == whole)
                })
            })
    }

    fn body_holds(&self, body: Option<&[u8]>) -> bool {
        if self.pointers.is_empty() && self.contains.is_none() {
            return true;
        }
        let Some(body) = body else { return false };
        let pointers: Vec<&Pointer> = self.pointers.iter().map(|(pointer, _)| pointer).collect();
        let pointed = scan(body, &pointers).iter().zip(&self.pointers).all(|(found, (_, values))| {
            if values.is_empty() { !found.is_empty() } else { found.iter().any(|text| values.contains(text)) }
        });
        let text = String::from_utf8_lossy(body);
        pointed && self.contains.as_ref().is_none_or(|part| text.contains(part.as_str()))
    }

    fn holds(&self, status: StatusCode, headers: &HeaderMap, body: Option<&[u8]>) -> bool {
        self.head_holds(status, headers) && self.body_holds(body)
    }

    /// The scopes needed, where the sign holds.
    fn scopes(
        &self,
        service: &Service,
        status: StatusCode,
        headers: &HeaderMap,
        body: Option<&[u8]>,
    ) -> Option<Vec<String>> {
        if !self.holds(status, headers, body) {
            return None;
        }
        let pointers: Vec<&Pointer> = self.scopes.iter().collect();
        let mut named: Vec<String> =
            scan(body.unwrap_or_default(), &pointers).concat().iter().flat_map(|text| words(text)).collect();
        named.extend(self.scopes_header.iter().flat_map(|name| words(&joined(headers, name))));
        if let Some(held) = &self.held_scopes_header {
            let held = ScopeSet::parse(&joined(headers, held));
            if named.is_empty() || named.iter().any(|scope| service.scopes.covers(&held, scope)) {
                return None;
            }
            named = service.scopes.narrowest(&named, service.asked_for()).cloned().into_iter().collect();
        }
        Some(named)
    }
}

/// What the answer says. `body` is what [`wants_body`] asked for, as far as it came, its codings undone.
pub fn verdict(service: &Service, status: StatusCode, headers: &HeaderMap, body: Option<&[u8]>) -> Verdict {
    let body = body.map(|body| body.get(..BODY_PREFIX_MAX).unwrap_or(body));
    let holds = |sign: &Compiled| sign.holds(status, headers, body);
    if status == StatusCode::TOO_MANY_REQUESTS || service.signs.rate_limited.iter().any(holds) {
        return Verdict::RateLimited;
    }
    let named = insufficient_scope(status, headers)
        .or_else(|| service.signs.missing_scopes.iter().find_map(|sign| sign.scopes(service, status, headers, body)));
    if let Some(named) = named {
        let none_held = ScopeSet::default();
        return Verdict::MissingScopes { scopes: service.scopes.missing(&named, &none_held) };
    }
    if status == StatusCode::UNAUTHORIZED || service.signs.dead_token.iter().any(holds) {
        return Verdict::InvalidToken;
    }
    Verdict::Fine
}

/// The sign by which an answer says what [`verdict`] reads from it, as the operator knows it: `dead_token[1]` is the provider's second
/// under `errors.dead_token`. For the log; of an answer that says nothing there is none.
pub fn sign(service: &Service, status: StatusCode, headers: &HeaderMap, body: Option<&[u8]>) -> Option<String> {
    let body = body.map(|body| body.get(..BODY_PREFIX_MAX).unwrap_or(body));
    let holds = |sign: &Compiled| sign.holds(status, headers, body);
    if insufficient_scope(status, headers).is_some() {
        return Some("insufficient_scope".to_owned());
    }
    let lacks = |sign: &Compiled| sign.scopes(service, status, headers, body).is_some();
    if let Some(at) = service.signs.missing_scopes.iter().position(lacks) {
        return Some(format!("missing_scopes[{at}]"));
    }
    match service.signs.dead_token.iter().position(holds) {
        Some(at) => Some(format!("dead_token[{at}]")),
        None => (status == StatusCode::UNAUTHORIZED).then(|| "status 401".to_owned()),
    }
}

/// Whether only a body could tell a dead token from missing scopes or too many calls under this status. An answer to `HEAD`
/// has none: to take it for a dead token might end a grant that is alive.
pub fn is_open_without_body(service: &Service, status: StatusCode, headers: &HeaderMap) -> bool {
    let signs = service.signs.missing_scopes.iter().chain(&service.signs.rate_limited);
    signs.into_iter().any(|sign| sign.needs_body() && sign.status.is_some() && sign.head_holds(status, headers))
}

/// How many of the body's first bytes [`verdict`] must see, `None` where status and headers are enough. Only bodies that
/// are text, in codings that can be undone, are judged.
pub fn wants_body(service: &Service, status: StatusCode, headers: &HeaderMap) -> Option<usize> {
    let readable = is_text(headers) && is_readable(headers);
    let wanted = readable
        && status != StatusCode::TOO_MANY_REQUESTS
        && insufficient_scope(status, headers).is_none()
        && service.signs.all().any(|sign| sign.needs_body() && sign.head_holds(status, headers));
    wanted.then_some(BODY_PREFIX_MAX)
}

/// JSON and short texts; not event streams, not files.
fn is_text(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) else { return false };
    let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json"
        || essence.ends_with("+json")
        || essence == "text/json"
        || essence == "text/javascript"
        || essence == "text/plain"
        || essence == "text/html"
}

/// RFC 6750 §3.1: the scopes of an `insufficient_scope` challenge. The RFC has it with 403; some send it with 401 or 400.
fn insufficient_scope(status: StatusCode, headers: &HeaderMap) -> Option<Vec<String>> {
    if !matches!(status, StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        return None;
    }
    headers.get_all(header::WWW_AUTHENTICATE).iter().find_map(|value| {
        let parameters = parameters(value.to_str().ok()?);
        let get = |wanted: &str| parameters.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
        (get("error")? == "insufficient_scope").then(|| words(get("scope").unwrap_or_default()))
    })
}

/// The parameters of a challenge (RFC 9110 §11.2), names in lower case. The scheme is taken for no parameter; where
/// several challenges stand in one value, their parameters come together.
fn parameters(challenge: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = challenge;
    while let Some((head, tail)) = rest.split_once('=') {
        let name = head.rsplit([' ', ',', '\t']).next().unwrap_or_default().to_ascii_lowercase();
        let tail = tail.trim_start();
        let (value, after) = match tail.strip_prefix('"') {
            Some(quoted) => unquoted(quoted),
            None => {
                let end = tail.find([',', ' ', '\t']).unwrap_or(tail.len());
                (Cow::Borrowed(&tail[..end]), &tail[end..])
            }
        };
        found.push((name, value.into_owned()));
        rest = after;
    }
    found
}

/// A quoted string's content and what follows it.
fn unquoted(text: &str) -> (Cow<'_, str>, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return (Cow::Owned(value), &text[at + 1..]),
            '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
            _ => value.push(char),
        }
    }
    (Cow::Owned(value), "")
}

/// All values of a header, as one list.
fn joined(headers: &HeaderMap, name: &HeaderName) -> String {
    headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect::<Vec<_>>().join(",")
}
