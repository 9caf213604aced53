//! What operators see: logs (`logs`; `caps`, what is never written; `limit`, how much is), metrics (`metrics`) and the ids
//! that join both to answers (`request_id`). It owns their names and the caps that keep secrets out of them; it never sees a
//! secret itself, and decides nothing.

mod caps;
mod limit;
pub mod logs;
pub mod metrics;
pub mod request_id;
pub mod trace;

pub use limit::Logging;
pub use logs::{Format, InitError, LogOptions, init};
pub use metrics::Metrics;
pub use request_id::RequestIds;
pub use trace::TraceId;
