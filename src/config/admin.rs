//! What guards the routes for operators.

use crate::secret::SecretString;

/// The tokens of operators.
#[derive(Debug, Clone, PartialEq)]
pub struct Admin {
    /// Its holder may do everything under `/admin`.
    pub token: SecretString,
    /// Its holder may look at everything there and change nothing.
    pub read_token: Option<SecretString>,
}
