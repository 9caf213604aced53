//! Names to addresses, for calls to upstreams and for calls of Valetkey's own: the only place that asks a resolver. Gives out no
//! address that may not be called, whatever an answer says, and connects to nothing itself. Mail and Redis have resolvers
//! of their own, in their libraries.
//!
//! The system's resolver is asked (`getaddrinfo`), not a DNS server: it puts `/etc/hosts` before every search domain, follows
//! `nsswitch.conf` and a `resolv.conf` that changes, and puts addresses last that this machine has no way to (RFC 6724).
//! `hickory-resolver` 0.26 would tell TTLs, and leaves each of these to whoever uses it: in a Kubernetes pod, where most
//! names are tried below the search domains first, a wildcard there would win over the pod's own `hostAliases`. What the
//! system's resolver doesn't tell is a TTL: each answer is fresh for half a minute.
//!
//! - `name`: one name's addresses, and until when they are believed
//! - `names`: many of them, for whoever holds no [`Name`]
//! - `forbidden`: addresses that nobody calls

mod forbidden;
mod name;
mod names;

pub use forbidden::may_be_called;
pub use name::{Name, Unresolved};
pub use names::Names;
