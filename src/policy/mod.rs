//! Who may make which call: the operator's rules for a service, asked in one way by calls, `/preflight`, connect links and
//! connect pages. The first rule that matches decides, and what matches none is allowed. Pure: knows no store, no
//! connection and no HTTP, and words no refusal.
//!
//! A call that can be read in several ways, by its methods or its path, may go on only if it may in each of them: so nothing
//! is passed by another spelling, and nothing that is allowed lets more through than it says. What isn't known yet forbids
//! nothing: somebody is shut out only if no call of theirs could be let through.

use serde_json::{Map, Value};

use crate::{
    config::PolicyRule,
    id::CallerId,
    operation::{Operation, Path, PathPattern, ways},
    provider::{Service, Services},
};

#[cfg(test)]
mod tests;

/// What is asked of a service's policy.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The service that is to be called.
    pub service: &'a Service,
    /// The claims of the caller's JWT; `None`: they aren't known, as of a browser that came with a link, or nobody looks at
    /// them.
    pub claims: Option<&'a Map<String, Value>>,
    /// What is asked of the service's API; `None`: that isn't known yet.
    pub operation: Option<Operation<'a>>,
    /// For whom the call is, where the claims are those of somebody who acts for them.
    pub behalf_of: Option<&'a CallerId>,
}

/// The policy lets no such call through.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the policy of {} forbids it", service.name)]
pub struct Forbidden<'a> {
    /// Whose policy.
    pub service: &'a Service,
}

/// Whether the service's policy lets this through.
///
/// # Errors
/// Where it doesn't.
pub fn judge<'a>(question: &Question<'a>) -> Result<(), Forbidden<'a>> {
    let Question { service, claims, operation, behalf_of } = *question;
    if service.policy.is_empty() || allows(&service.policy, Known { claims, behalf_of }, operation) {
        return Ok(());
    }
    Err(Forbidden { service })
}

/// Whether a connection to `service` would be of use to somebody with these claims: the policy of one of the services that
/// would share it lets some call of theirs through.
pub fn may_connect(services: &Services, service: &Service, claims: Option<&Map<String, Value>>) -> bool {
    services
        .sharing(service)
        .any(|service| judge(&Question { service, claims, operation: None, behalf_of: None }).is_ok())
}

/// Whether any of these rules looks at claims: reading and keeping those of every caller costs more than the rest of
/// a look at a JWT that was seen before.
pub fn looks_at_claims(rules: &[PolicyRule]) -> bool {
    rules.iter().any(|rule| !rule.claims.is_empty())
}

/// What is known of whoever calls.
#[derive(Clone, Copy)]
struct Known<'a> {
    claims: Option<&'a Map<String, Value>>,
    behalf_of: Option<&'a CallerId>,
}

fn allows(rules: &[PolicyRule], known: Known<'_>, operation: Option<Operation<'_>>) -> bool {
    let Some(operation) = operation else { return lets_through(rules, known, None) };
    let alike = operation.path.is_one() && rules.iter().flat_map(|rule| &rule.paths).all(PathPattern::is_one);
    operation
        .each_method()
        .all(|method| ways(alike).all(|way| lets_through(rules, known, Some((method, operation.path, way)))))
}

/// A call in one way of reading it: its method, its path, and how that is read.
type Reading<'a> = (&'a str, &'a Path, usize);

/// Whether the rules let through what is known of a call. What isn't known may be as an `allow` wants it, and need not be as
/// a `deny` wants it; but where somebody acts for another, whose claims nobody has seen, it is the other way round.
fn lets_through(rules: &[PolicyRule], known: Known<'_>, call: Option<Reading<'_>>) -> bool {
    let of_call = |rule: &PolicyRule| match call {
        Some(call) => matches(rule, call),
        None => rule.allow || rule.methods.is_empty() && rule.paths.is_empty(),
    };
    let of_caller = |rule: &PolicyRule| match known.claims {
        Some(claims) => rule.claims.iter().all(|(name, wanted)| {
            let held = claims.get(name);
            held.is_some_and(|held| holds(held, wanted))
                || !rule.allow && known.behalf_of.is_some_and(|person| may_hold(person, name, held, wanted))
        }),
        None => rule.allow || rule.claims.is_empty(),
    };
    rules.iter().find(|rule| of_call(rule) && of_caller(rule)).is_none_or(|rule| rule.allow)
}

fn matches(rule: &PolicyRule, (method, path, way): Reading<'_>) -> bool {
    // Many servers serve `/admin/` as `/admin`: what is denied there is denied here, too.
    let slash_or_none = !rule.allow;
    (rule.methods.is_empty() || rule.methods.iter().any(|known| known.eq_ignore_ascii_case(method)))
        && (rule.paths.is_empty() || rule.paths.iter().any(|pattern| pattern.matches(path, way, slash_or_none)))
}

/// Whether a claim of a person for whom somebody acts could be what a `deny` speaks of: their issuer and subject are known, and of the
/// rest what the actor's token doesn't have either.
fn may_hold(person: &CallerId, name: &str, of_actor: Option<&Value>, wanted: &Value) -> bool {
    match name {
        "iss" => wanted.as_str() == Some(person.issuer.as_str()),
        "sub" => wanted.as_str() == Some(person.subject.as_str()),
        _ => of_actor.is_none(),
    }
}

/// A claim holds a value if it is that value, or a list with it.
fn holds(held: &Value, wanted: &Value) -> bool {
    held == wanted || held.as_array().is_some_and(|list| list.contains(wanted))
}
