//! The one thread that writes. Everything that waits when a commit begins shares that commit, so many writers cost few
//! disk flushes; nobody is answered before the flush.

use std::sync::Arc;
use std::thread;

use redb::{Durability, WriteTransaction};
use tokio::sync::{mpsc, oneshot};

use super::slot::Slot;
use super::tables::Tables;
use super::{Failure, now_ms};
use crate::store::notices::Notices;
use crate::store::{Change, Error, Version};

/// How many writes may wait in line, and how many share a commit at most.
const LINE: usize = 1024;
const BATCH: usize = 256;

/// A write in line.
trait Job: Send {
    fn run(&mut self, tables: &mut Tables<'_>) -> Result<(), Failure>;
    fn answer(self: Box<Self>, failed: Option<Error>);
}

struct Write<F, T> {
    work: Option<F>,
    result: Option<Result<T, Error>>,
    reply: oneshot::Sender<Result<T, Error>>,
}

impl<F, T> Job for Write<F, T>
where
    F: FnOnce(&mut Tables<'_>) -> Result<T, Failure> + Send,
    T: Send,
{
    fn run(&mut self, tables: &mut Tables<'_>) -> Result<(), Failure> {
        let Some(work) = self.work.take() else { return Ok(()) };
        match work(tables) {
            Ok(done) => self.result = Some(Ok(done)),
            // One damaged record fails its own write, not the whole commit.
            Err(Failure::Store(error)) => self.result = Some(Err(error)),
            Err(failure) => return Err(failure),
        }
        Ok(())
    }

    fn answer(self: Box<Self>, failed: Option<Error>) {
        let result = match failed {
            Some(error) => Err(error),
            None => self.result.unwrap_or_else(|| Err(Error::unavailable("the write was not reached"))),
        };
        // Who asked may have gone; the write stands all the same.
        let _ = self.reply.send(result);
    }
}

enum Message {
    Job(Box<dyn Job>),
    Stop(oneshot::Sender<()>),
}

/// The way to the writing thread, which ends when this is dropped.
pub(super) struct Writer {
    line: mpsc::Sender<Message>,
}

impl Writer {
    pub(super) fn start(slot: Arc<Slot>, notices: Arc<Notices>) -> std::io::Result<Self> {
        let (line, jobs) = mpsc::channel(LINE);
        thread::Builder::new().name("valetkey-store".into()).spawn(move || serve(jobs, &slot, &notices))?;
        Ok(Self { line })
    }

    /// Runs `work` in a transaction and answers once it is on the disk.
    pub(super) async fn write<T, F>(&self, work: F) -> Result<T, Error>
    where
        F: FnOnce(&mut Tables<'_>) -> Result<T, Failure> + Send + 'static,
        T: Send + 'static,
    {
        let closed = || Error::unavailable("the embedded store is closed");
        let (reply, answer) = oneshot::channel();
        let job = Box::new(Write { work: Some(work), result: None, reply });
        self.line.send(Message::Job(job)).await.map_err(|_| closed())?;
        answer.await.unwrap_or_else(|_| Err(closed()))
    }

    /// Waits until everything in line is written, then ends the thread.
    pub(super) async fn stop(&self) {
        let (reply, answer) = oneshot::channel();
        if self.line.send(Message::Stop(reply)).await.is_ok() {
            let _ = answer.await;
        }
    }
}

fn serve(mut jobs: mpsc::Receiver<Message>, slot: &Slot, notices: &Notices) {
    while let Some(first) = jobs.blocking_recv() {
        let mut batch = Vec::new();
        let mut stop = None;
        let mut next = Some(first);
        while let Some(message) = next {
            match message {
                Message::Job(job) => batch.push(job),
                Message::Stop(reply) => {
                    stop = Some(reply);
                    break;
                }
            }
            next = if batch.len() < BATCH { jobs.try_recv().ok() } else { None };
        }
        let outcome = commit(&mut batch, slot);
        let failed = match outcome {
            Ok(changed) => {
                changed.into_iter().for_each(|(key, version)| notices.send(Change::Record(key, version)));
                None
            }
            Err(error) => Some(error),
        };
        batch.into_iter().for_each(|job| job.answer(failed.clone()));
        if let Some(reply) = stop {
            slot.close();
            let _ = reply.send(());
            return;
        }
    }
}

/// Runs the jobs in one transaction; all of them stand or none does.
fn commit(batch: &mut [Box<dyn Job>], slot: &Slot) -> Result<Vec<(crate::store::Key, Option<Version>)>, Error> {
    if batch.is_empty() {
        return Ok(Vec::new());
    }
    slot.with(|database| {
        let mut transaction: WriteTransaction = database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        let changed = {
            let mut tables = Tables::open(&transaction)?;
            tables.purge(now_ms())?;
            for job in batch.iter_mut() {
                job.run(&mut tables)?;
            }
            std::mem::take(&mut tables.changed)
        };
        transaction.commit()?;
        Ok(changed)
    })
}
