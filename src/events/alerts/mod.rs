//! Tells operators when something fails too often, and when that is over. Of all replicas one watches, by a lease; what it knows
//! lies in the store and changes there by comparison: which alerts are raised, and which messages have yet to be delivered. So
//! whoever takes over after a death raises nothing twice and loses no message. Decides what is too much, and nothing else: what
//! fails, `failures` says.
//!
//! - `watch`: the one that watches; `window`: what it counts; `spikes`: when an alert begins and ends
//! - `lately`: what failed, and what of it was told; `state`: what all replicas know; `message`: what is told; `meaning`: what an error means; `ways`: how it is delivered
//!
//! An alert is raised where more than `failures_above` failures of one service and error happened within the window. It is over
//! once there were no more than that in it for as long as a window again; between these two nothing is told.

mod lately;
mod meaning;
mod message;
mod spikes;
mod state;
mod watch;
mod ways;
mod window;

pub use watch::{Parts, Watch};
