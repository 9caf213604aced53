//! A configuration with its services whole: what every command works with.

use std::sync::Arc;

use super::{Services, resolve};
use crate::config::{Config, Draft, FilesRead, Problem, Problems};

/// A configuration, whole, and what is worth a second look in it.
#[derive(Debug)]
pub struct Loaded {
    /// All but the services.
    pub config: Config,
    /// The services.
    pub services: Arc<Services>,
    /// Not wrong, but probably not meant.
    pub warnings: Vec<Problem>,
    /// What it was made of.
    pub files: FilesRead,
}

impl Loaded {
    /// Makes a draft's services whole, and settles whether all of it is right.
    ///
    /// # Errors
    /// Everything that is wrong with it, at once.
    pub fn settle(mut draft: Draft) -> Result<Self, Problems> {
        let services = Arc::new(resolve::resolve(&mut draft));
        let (config, warnings, files) = draft.finish()?;
        Ok(Self { config, services, warnings, files })
    }
}
