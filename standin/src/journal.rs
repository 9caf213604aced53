//! STAND-IN. What happened at the stand-in, in order: the independent witness that the walk's checks and the people who
//! watch the demo rely on. Holds token numbers, never tokens.

use std::fmt;

/// What can happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happening {
    /// A person allowed a request.
    Consented,
    /// A person refused one.
    Denied,
    /// A code was exchanged for a first access token.
    Issued {
        /// The token's number.
        number: u64,
    },
    /// A refresh token was exchanged.
    Refreshed {
        /// The new access token's number.
        number: u64,
    },
    /// `invalid_grant`.
    Refused,
    /// A code came a second time: its grant is revoked.
    CodeReused,
    /// A refresh token came a second time: its grant is revoked.
    RefreshTokenReused,
    /// The client revoked its grant (RFC 7009).
    RevokedByClient,
    /// A person took the grant back in the provider's settings.
    RevokedByUser,
    /// The API was called with a live token.
    Called {
        /// Which one.
        number: u64,
        /// Method and path.
        what: String,
    },
    /// The API was called with anything else.
    Rejected {
        /// Which token, if it was ever one of this server's.
        number: Option<u64>,
        /// Method and path.
        what: String,
    },
}

impl fmt::Display for Happening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Consented => f.write_str("the person allowed access"),
            Self::Denied => f.write_str("the person refused access"),
            Self::Issued { number } => write!(f, "code exchanged: issued token no. {number}"),
            Self::Refreshed { number } => write!(f, "refresh token exchanged: issued token no. {number}"),
            Self::Refused => f.write_str("token request refused: invalid_grant"),
            Self::CodeReused => f.write_str("code used twice: grant revoked"),
            Self::RefreshTokenReused => f.write_str("refresh token used twice: grant revoked"),
            Self::RevokedByClient => f.write_str("grant revoked by the client"),
            Self::RevokedByUser => f.write_str("grant revoked in the provider's settings"),
            Self::Called { number, what } => write!(f, "{what} with token no. {number}"),
            Self::Rejected { number: Some(number), what } => write!(f, "{what} refused: token no. {number} is dead"),
            Self::Rejected { number: None, what } => write!(f, "{what} refused: no token of this server"),
        }
    }
}

/// The journal: only ever longer.
#[derive(Debug, Default)]
pub struct Journal(Vec<Happening>);

impl Journal {
    /// Adds a line.
    pub fn add(&mut self, happening: Happening) {
        self.0.push(happening);
    }

    /// How many lines there are: a bookmark for [`Journal::since`].
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// What was added after that bookmark.
    pub fn since(&self, bookmark: usize) -> &[Happening] {
        self.0.get(bookmark..).unwrap_or_default()
    }

    /// The number of the token that the last accepted call carried.
    pub fn last_called(&self) -> Option<u64> {
        self.0.iter().rev().find_map(|happening| match happening {
            Happening::Called { number, .. } => Some(*number),
            _ => None,
        })
    }
}
