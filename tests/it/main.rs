//! End-to-end tests: the real binary between a real Redis (or the embedded store), npm's oidc-provider and upstreams.
//!
//! Each module is about one promise of the contract; `support` holds the parts.

/// The servers, clients and checks that every module uses.
mod support;

/// The tests' own servers do what the tests rely on.
mod servers;

/// Callers' JWTs: algorithms, keys, header forms, bad ones.
mod callers;

/// Callers that are pods of a Kubernetes cluster.
mod pods;

/// Requests to the upstream and its answers: injection, hygiene, paths, refusals, streaming.
mod proxy;

/// From a connect link to a stored grant, and every misuse of link, state and callback.
mod consent;

/// Attacks on the connect flow, and input that no page of ours sends.
mod consent_security;

/// Real Chromium on the pages: every walk, by keyboard, and what axe-core finds.
mod browser;
/// The OpenAPI document, compared with the binary by programs that others wrote.
mod openapi;

/// Connect links and a caller's own connections, as JSON.
mod connections_api;

/// API keys beside OAuth, and the way from one to the other.
mod api_keys;

/// Tokens that end, refreshes, replays, and token endpoints that misbehave.
mod refresh;

/// Token endpoints as vendors run them.
mod token_answers;

/// Answers that say in their body what others say with their status.
mod verdicts;

/// Every framing, encoding and protocol of an answer, and one verdict.
mod judging;

/// How far attempts to connect come, and what fails: exactly, whatever befalls replicas and store.
mod funnel;

/// Operators are told when something fails too often, and when that is over.
mod alerts;

/// The command line and its exit codes.
mod cli;

/// From nothing to the first answer, as the README says.
mod newcomer;

/// The Helm chart and the examples, by tests in Python.
mod in_python;

/// Health, readiness, metrics.
mod admin;
mod overview;

/// Connections that end by themselves: who is told, and what operators see and do of all of them.
mod ends;

/// Metrics, by promtool and a Prometheus.
mod metrics;

/// What must never leave, searched for in all that does.
mod redaction;

/// The audit log: what is asked for, what is missing, what is forgotten, and who is found out.
mod audit;
/// Traces, lines of calls in the log, and times in answers.
mod traces;

/// What operators learn: log, metrics, readiness, `check`, and how `serve` ends.
mod operators;

/// How much the log says in a second, and what it leaves out.
mod log_lines;

/// Answers of Valetkey's own, whoever refuses.
mod own_answers;

/// Start, drain, restarts, and a store that goes away.
mod lifecycle;

/// One replica after the other gives way to a new one, while calls go on.
mod rollout;

/// What another version wrote to the store.
mod versions;

/// Beside an application: waiting for Valetkey, ending with it, and finding it.
mod beside;

/// Another configuration while calls go on.
mod reload;

/// Files of the configuration that change, with nobody to say so.
mod watching;

/// Listeners without a network.
mod unix_sockets;

/// Processes that end while they have something on its way.
mod endings;

/// A request has one reading, whoever judges it.
mod one_reading;

/// What clients really send, and what an upstream gets of it.
mod as_sent;

/// Characters of request targets that few agree on.
mod targets;

/// Cookies of services that opted in to them.
mod service_cookies;

/// Limits on requests, and how long either side may be quiet.
mod request_limits;

/// A Redis that lost everything while processes lived.
mod emptied;

/// Records that cannot be opened.
mod damaged;

/// What Pingora does by itself that Valetkey must not.
mod pingora_traps;

/// TLS to upstreams: sessions resumed, HTTP/2 by ALPN.
mod upstream_tls;

/// Mail and webhooks: who hears of what, and how often.
mod notifications;

/// Many calls at the moment of expiry; many rotations; what one replica does and the others feel.
mod storm;

/// Redis and token endpoints that fail exactly while a grant is being renewed.
mod faults;

/// Processes killed at the worst moment.
mod crash;

/// The long versions, at random moments and many times over: `make chaos`.
mod chaos;

/// What a call costs.
mod instructions;
