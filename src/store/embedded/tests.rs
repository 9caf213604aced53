//! The contract on a file, and what only a file has: permissions, the lock, crashes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::store::Version;
use crate::store::contract::{self, key, suite};

async fn started() -> (EmbeddedStore, TempDir) {
    let directory = tempfile::tempdir().expect("there is a temporary directory");
    let store = EmbeddedStore::open(directory.path().join("store.redb")).expect("the directory is writable");
    (store, directory)
}

suite!(started);

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("the file is there").permissions().mode() & 0o777
}

#[tokio::test]
async fn the_file_is_its_owners_alone() {
    let (store, directory) = started().await;
    let path = directory.path().join("store.redb");
    assert_eq!(mode(&path), 0o600);
    store.close().await;

    fs::set_permissions(&path, fs::Permissions::from_mode(0o664)).expect("it is ours");
    let store = EmbeddedStore::open(&path).expect("a mode too wide is narrowed");
    assert_eq!(mode(&path), 0o600);
    store.close().await;
}

#[tokio::test]
async fn a_second_opener_is_told_who_has_it() {
    let (_store, directory) = started().await;
    let error = EmbeddedStore::open(directory.path().join("store.redb")).err().expect("it is locked");
    assert!(matches!(error, OpenError::Locked { .. }), "{error}");
    assert!(error.to_string().contains("open in another process"), "{error}");
}

#[tokio::test]
async fn a_link_or_directory_is_not_opened() {
    let (store, directory) = started().await;
    store.close().await;
    let link = directory.path().join("link.redb");
    std::os::unix::fs::symlink(directory.path().join("store.redb"), &link).expect("the directory is writable");
    for path in [link.as_path(), directory.path()] {
        let error = EmbeddedStore::open(path).err().expect("it is no plain file");
        assert!(matches!(error, OpenError::NotAFile { .. }), "{error}");
    }
}

#[tokio::test]
async fn something_else_is_not_taken_for_a_store() {
    let directory = tempfile::tempdir().expect("there is a temporary directory");
    let path = directory.path().join("notes.txt");
    fs::write(&path, "not a database, but somebody's only notes ".repeat(200)).expect("the directory is writable");
    let before = fs::read(&path).expect("it was just written");
    let error = EmbeddedStore::open(&path).err().expect("it is no database");
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    assert_eq!(fs::read(&path).expect("it is still there"), before);
}

#[tokio::test]
async fn a_directory_that_is_not_there_is_an_error_that_names_it() {
    let error = EmbeddedStore::open("/nonexistent/store.redb").err().expect("there is no such directory");
    assert!(error.to_string().contains("/nonexistent/store.redb"), "{error}");
}

#[tokio::test]
async fn everything_but_leases_is_there_after_reopening() {
    let (store, directory) = started().await;
    store
        .put(&key(1, 1), Expect::Absent, Write::of(Version(5), b"kept").due(Some(77)))
        .await
        .expect("the store answers");
    store.put_once("kept", b"state", None).await.expect("the store answers");
    store.close().await;
    assert!(matches!(store.get(&key(1, 1)).await, Err(Error::Unavailable { .. })));
    assert!(matches!(store.take("kept").await, Err(Error::Unavailable { .. })));

    let store = EmbeddedStore::open(directory.path().join("store.redb")).expect("closing let go of the file");
    let record = store.get(&key(1, 1)).await.expect("the store answers");
    assert_eq!(record, Some(Versioned { version: Version(5), value: b"kept".to_vec() }));
    assert_eq!(store.due(100, None, 10).await, Ok(vec![(key(1, 1), 77)]));
    assert_eq!(store.take("kept").await, Ok(Some(b"state".to_vec())));
}

#[tokio::test]
async fn expired_one_time_values_leave_the_file() {
    let (store, _directory) = started().await;
    for number in 0..10 {
        store
            .put_once(&format!("brief-{number}"), b"x", Some(Duration::from_millis(1)))
            .await
            .expect("the store answers");
    }
    let left = contract::eventually("the purge", || async {
        // Any write clears what is over.
        store.put_once("lasting", b"x", None).await.expect("the store answers");
        let left =
            store.read(|transaction| Ok(transaction.open_table(tables::ONCE)?.len()?)).expect("the store answers");
        (left == 1).then_some(left)
    })
    .await;
    assert_eq!(left, 1);
}

/// Run by [`a_full_disk_refuses_writes_until_there_is_room`] on a small disk of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a helper that needs a small disk"]
async fn fills_its_disk() {
    let Some(path) = std::env::var_os("VALETKEY_TEST_STORE") else { return };
    let path = Path::new(&path);
    let filler = path.with_extension("filler");
    fs::write(&filler, vec![1; 1 << 20]).expect("there is room yet");
    let store = EmbeddedStore::open(path).expect("there is room yet");
    let large = vec![7; 60_000];
    let mut written = 0;
    let error = loop {
        match store.put(&key(written, 1), Expect::Absent, Write::of(Version(1), &large)).await {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
    };
    assert!(error.is_transient(), "{error}");
    assert!(error.to_string().contains("disk"), "{error}");
    assert!(written > 2, "{written}");
    assert!(
        store.put(&key(written, 1), Expect::Absent, Write::of(Version(1), &large)).await.is_err(),
        "there is still no room"
    );

    fs::remove_file(filler).expect("it was just written");
    contract::eventually("a write", || async {
        store.put(&key(written, 1), Expect::Absent, Write::of(Version(1), &large)).await.ok()
    })
    .await;
    for owner in 0..=written {
        let record = store.get(&key(owner, 1)).await.expect("the store answers");
        assert_eq!(record.map(|record| record.value.len()), Some(large.len()), "{owner} of {written}");
    }
    fs::write(path.with_extension("done"), "").expect("there is room again");
    store.close().await;
}

#[tokio::test]
async fn a_full_disk_refuses_writes_until_there_is_room() {
    let directory = tempfile::tempdir().expect("there is a temporary directory");
    // A mount of its own, which an ordinary user may make in a user namespace. Where the system forbids even that,
    // the helper can't run, and this says so instead of passing for another reason.
    let script = r#"mount -t tmpfs -o size=4m tmpfs "$1" || exit 42; "$2" --exact store::embedded::tests::fills_its_disk --ignored || exit 1; test -e "$1/store.done""#;
    let program = std::env::current_exe().expect("this test runs");
    let output = std::process::Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"])
        .args([directory.path(), &program])
        .env("VALETKEY_TEST_STORE", directory.path().join("store.redb"))
        .output();
    let Ok(output) = output else { return eprintln_skipped() };
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    match output.status.code() {
        Some(0) => {}
        Some(42) => eprintln_skipped(),
        _ if text.starts_with("unshare:") => eprintln_skipped(),
        _ => panic!("{text}"),
    }
}

fn eprintln_skipped() {
    eprintln!("skipped: this system has no user namespaces with mounts");
}

/// Run by [`acknowledged_writes_survive_kill_9`] in a process of its own: writes and says what is written, for ever.
#[tokio::test]
#[ignore = "a helper that only a killed process runs"]
async fn writes_until_killed() {
    let Some(path) = std::env::var_os("VALETKEY_TEST_STORE") else { return };
    let store = EmbeddedStore::open(path).expect("the test gave a path");
    let mark = std::path::PathBuf::from(std::env::var_os("VALETKEY_TEST_MARK").expect("the test gave it"));
    let first = store.count().await.expect("the store answers");
    for number in first.. {
        let [.., high, low] = number.to_be_bytes();
        store
            .put(&key(low, high), Expect::Absent, Write::of(Version(1), &number.to_be_bytes()))
            .await
            .expect("the store answers");
        // Renamed, so that no half of a number is ever read.
        fs::write(mark.with_extension("new"), number.to_string()).expect("it is writable");
        fs::rename(mark.with_extension("new"), &mark).expect("it is writable");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_writes_survive_kill_9() {
    let directory = tempfile::tempdir().expect("there is a temporary directory");
    let (path, mark) = (directory.path().join("store.redb"), directory.path().join("mark"));
    let acknowledged = || fs::read_to_string(&mark).ok().and_then(|mark| mark.parse::<u64>().ok());
    for _ in 0..20 {
        let before = acknowledged();
        let mut child = std::process::Command::new(std::env::current_exe().expect("this test runs"))
            .args(["--exact", "store::embedded::tests::writes_until_killed", "--ignored"])
            .envs([("VALETKEY_TEST_STORE", &path), ("VALETKEY_TEST_MARK", &mark)])
            .stdout(std::process::Stdio::null())
            .spawn()
            .expect("this test can run itself");
        contract::eventually("some writes", || async {
            (acknowledged() > before.map(|before| before + 20).or(Some(20))).then_some(())
        })
        .await;
        child.kill().expect("it runs");
        child.wait().expect("it was killed");

        let last = acknowledged().expect("something was written");
        let store = EmbeddedStore::open(&path).expect("a killed process leaves a file that opens");
        for number in 0..=last {
            let [.., high, low] = number.to_be_bytes();
            let record = store.get(&key(low, high)).await.expect("the store answers");
            assert_eq!(record.map(|record| record.value), Some(number.to_be_bytes().to_vec()), "{number} of {last}");
        }
        store.close().await;
    }
}
