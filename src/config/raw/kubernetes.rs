//! Callers that are pods, as the operator writes them.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::Algorithm;

/// Callers that are pods of a Kubernetes cluster: each ServiceAccount is a caller of its own, by the projected tokens that its
/// pods are given. Where Valetkey runs in that cluster and its pod has a ServiceAccount's token mounted, the defaults fit.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Kubernetes")]
pub struct RawKubernetes {
    /// The audience that the tokens are projected for. One of the cluster's own, such as its API server's, would let in tokens
    /// that were made for something else.
    #[schemars(required, length(min = 1))]
    pub audience: Option<String>,
    /// Whose tokens are taken: `namespace/name`, or `namespace/*` for all of a namespace.
    #[schemars(required, length(min = 1))]
    pub service_accounts: Option<Vec<String>>,
    /// Whether these pods may act for people: such a call names its person in `Valetkey-User: ISSUER|SUB`, and goes through where that
    /// person has allowed it on the dashboard ("also while I am away").
    #[schemars(extend("default" = false))]
    pub on_behalf_of: Option<bool>,
    /// The `iss` claim of the cluster's tokens: what its API server was started with as `--service-account-issuer`. Managed
    /// clusters have one of their own.
    #[schemars(length(min = 1, max = 2048), extend("default" = "https://kubernetes.default.svc.cluster.local"))]
    pub issuer: Option<String>,
    /// The cluster's key set, fetched in the background. `https`; plain `http` only on loopback.
    #[schemars(extend("default" = "https://kubernetes.default.svc/openid/v1/jwks"))]
    pub jwks_url: Option<String>,
    /// In place of a URL: the key set in a file, as `kubectl get --raw /openid/v1/jwks` prints it.
    pub jwks_file: Option<PathBuf>,
    /// The authorities that vouch for `jwks_url`, in PEM; no others are trusted there. By default
    /// `/var/run/secrets/kubernetes.io/serviceaccount/ca.crt` where that file exists, else the system's.
    pub ca_file: Option<PathBuf>,
    /// The token that is shown to `jwks_url` and to nobody else; read anew for each fetch. Where there is no such file, none is
    /// shown.
    #[schemars(extend("default" = "/var/run/secrets/kubernetes.io/serviceaccount/token"))]
    pub token_file: Option<PathBuf>,
    /// The JWS algorithms that are accepted. By default `RS256`, `ES256` and `ES384`, which are all that clusters sign with and
    /// that are known here.
    #[schemars(length(min = 1))]
    pub algorithms: Option<Vec<Algorithm>>,
}
