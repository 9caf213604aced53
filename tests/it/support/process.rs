//! A child process that cannot outlive its test.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use super::wait;

/// A child with its output in files; killed by its own id when dropped.
pub(crate) struct Process {
    child: Child,
    name: String,
    output: Vec<PathBuf>,
}

impl Process {
    /// Starts `command` with stdout and stderr in `{folder}/{name}.{out,err}`, appended to.
    pub(crate) fn start(name: &str, mut command: Command, folder: &Path) -> Self {
        let output: Vec<_> = ["out", "err"].iter().map(|end| folder.join(format!("{name}.{end}"))).collect();
        let open = |path: &Path| File::options().create(true).append(true).open(path).expect("the output file opens");
        let child = command
            .stdout(Stdio::from(open(&output[0])))
            .stderr(Stdio::from(open(&output[1])))
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        Self { child, name: name.to_owned(), output }
    }

    /// The process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// All that it has printed so far.
    pub(crate) fn output(&self) -> String {
        self.output.iter().map(|path| read_lossy(path)).collect()
    }

    /// What it has printed on stdout so far.
    pub(crate) fn stdout(&self) -> String {
        read_lossy(&self.output[0])
    }

    /// Its exit status, if it has ended.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be asked")
    }

    /// Waits for its end.
    pub(crate) async fn exit(&mut self) -> ExitStatus {
        let name = self.name.clone();
        let child = &mut self.child;
        wait::until(&format!("{name} ends"), || {
            let ended = child.try_wait().expect("a child can be asked");
            async move { ended }
        })
        .await
    }

    /// Sends a signal by name: `TERM`, `INT`, `STOP`, `CONT`.
    pub(crate) fn signal(&self, name: &str) {
        signal(self.id(), name);
    }

    /// SIGKILL, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let output = self.output();
            let from = output.len().saturating_sub(6_000);
            let from = (from..output.len()).find(|at| output.is_char_boundary(*at)).unwrap_or(0);
            say(&format!("---- {} said (its end) ----\n{}\n", self.name, &output[from..]));
        }
    }
}

/// Sends a signal by name to the process of this id.
pub(crate) fn signal(id: u32, name: &str) {
    let kill = format!("kill -{name} {id}");
    let status = Command::new("sh").args(["-c", &kill]).stderr(Stdio::null()).status().expect("sh runs");
    assert!(status.success(), "no process {id} to send {name} to");
}

/// Prints to the test's own output.
pub(crate) fn say(text: &str) {
    use std::io::Write;
    drop(std::io::stderr().write_all(text.as_bytes()));
}

fn read_lossy(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}
