//! The two runtimes of a process that serves. One carries calls, and what they wait for on their way to the store: a call
//! that is seen for the first time changes no thread. The other does everything beside: refreshes, pages, the healer. It
//! has the timers that tick for ever, which would make each wait of the first one read the clock.

use std::{io, thread};

use tokio::runtime::{Builder, Handle, Runtime};
use tokio_util::sync::CancellationToken;

/// Where tasks run.
#[derive(Debug, Clone)]
pub struct Handles {
    /// The runtime that carries calls.
    pub calls: Handle,
    /// The one beside.
    pub background: Handle,
}

impl Handles {
    /// For commands, which carry no calls: this runtime is both.
    pub fn both(runtime: &Runtime) -> Self {
        Self { calls: runtime.handle().clone(), background: runtime.handle().clone() }
    }
}

/// The runtime that carries calls: a thread a core. It ends, and with it what is left on it, when this is dropped, which
/// waits for nothing.
#[derive(Debug)]
pub struct CallRuntime {
    handle: Handle,
    threads: Threads,
}

#[derive(Debug)]
enum Threads {
    Many(Option<Runtime>),
    /// A single thread has nobody to steal from, and would pay for it with every turn of every connection.
    One {
        over: CancellationToken,
    },
}

impl CallRuntime {
    /// Starts its threads.
    ///
    /// # Errors
    /// Where the system gives none.
    pub fn start() -> io::Result<Self> {
        match thread::available_parallelism() {
            Ok(cores) if cores.get() > 1 => Self::many(cores.get()),
            _ => Self::one(),
        }
    }

    fn many(cores: usize) -> io::Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(cores).thread_name("calls").enable_all().build()?;
        Ok(Self { handle: runtime.handle().clone(), threads: Threads::Many(Some(runtime)) })
    }

    fn one() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().thread_name("calls").enable_all().build()?;
        let (handle, over) = (runtime.handle().clone(), CancellationToken::new());
        let until = over.clone();
        thread::Builder::new().name("calls".into()).spawn(move || {
            runtime.block_on(until.cancelled());
            runtime.shutdown_background();
        })?;
        Ok(Self { handle, threads: Threads::One { over } })
    }

    /// To spawn on it.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for CallRuntime {
    fn drop(&mut self) {
        match &mut self.threads {
            Threads::Many(runtime) => {
                if let Some(runtime) = runtime.take() {
                    runtime.shutdown_background();
                }
            }
            Threads::One { over } => over.cancel(),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[test]
    fn either_kind_runs_tasks_and_drops_them_at_its_end() {
        for start in [CallRuntime::one, || CallRuntime::many(2)] {
            let runtime = start().unwrap();
            let (ran, runs) = oneshot::channel();
            let (held, dropped) = oneshot::channel::<()>();
            runtime.handle().spawn(async move {
                let _held = held;
                let _ = ran.send(thread::current().name().map(str::to_owned));
                std::future::pending::<()>().await;
            });
            assert_eq!(runs.blocking_recv().unwrap().as_deref(), Some("calls"));
            drop(runtime);
            dropped.blocking_recv().expect_err("the task is dropped with its runtime");
        }
    }
}
