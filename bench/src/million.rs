//! stub
use crate::{failure::Failure, progress::Progress, report::Fact};
pub fn run(_: usize, _: &Progress) -> Result<Vec<Fact>, Failure> {
    Ok(vec![])
}
