//! Files of the configuration change, and nobody says so: what Kubernetes does with ConfigMaps and Secrets, and what an editor
//! does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::support::config::ADMIN_TOKEN;
use crate::support::reloads::{Traffic, refused, taken};
use crate::support::{Alone, Mount, Valetkey, canary, ports, wait};

const SWAPS: usize = 100;
/// After each so many a broken one comes first.
const BROKEN: usize = 10;
/// 300 calls a second.
const PACE: Duration = Duration::from_millis(3);
/// How a configuration begins that is none.
const HALF: &str = "public_url: [";

const CONFIG: &str = "valetkey.yaml";

async fn trouble(valetkey: &Valetkey) -> Option<String> {
    let ready = valetkey.admin_get("/readyz").await;
    assert_eq!((ready.status, &ready.json()["status"]), (200, &json!("ready")));
    ready.json()["detail"]["configuration"].as_str().map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_swaps_under_load_are_all_in_force_and_a_broken_one_is_refused() {
    let mut mount = None;
    let traffic = Traffic::start(PACE, |valetkey, config| {
        let folder = valetkey.config_file().with_file_name("");
        mount = Some(Mount::new(&folder, &[(CONFIG, &config.text())]));
    })
    .await;
    let mut mount = mount.expect("mounted");
    for number in 1..=SWAPS {
        if number.is_multiple_of(BROKEN) {
            let changed = traffic.written(number).text();
            let broken = if number.is_multiple_of(2 * BROKEN) { HALF } else { &changed[..changed.len() / 2] };
            refused(&traffic.valetkey, || mount.swap(&[(CONFIG, broken)])).await;
            assert!(trouble(&traffic.valetkey).await.is_some_and(|text| text.contains("refused (1 problem)")));
            traffic.some_more().await;
        }
        traffic.reload(number, |_, config| mount.swap(&[(CONFIG, &config.text())])).await;
        assert_eq!(trouble(&traffic.valetkey).await, None, "mended");
    }
    assert!(traffic.valetkey.logs().contains("This is no valid YAML"), "the log says what is wrong");
    traffic.end(SWAPS).await;
}

async fn erase_nobody(alone: &Alone, token: &str) -> u16 {
    let url = format!("{}/admin/users/nobody", alone.admin);
    let request = crate::support::authorization_server::http().request(Method::DELETE, url).bearer_auth(token);
    request.send().await.expect("an answer").status().as_u16()
}

#[tokio::test]
async fn a_secret_that_is_not_there_yet_is_waited_for_and_one_that_changes_is_read_again() {
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("admin-token");
    let alone = Alone::start(|config| config).await;
    let with_file = alone.config.clone().without("admin").set("admin.token_file", file.display().to_string());
    let other = "another-admin-token-of-the-watching-tests";
    canary::secret("another admin token", other);

    // A ConfigMap may be there before the Secret that goes with it.
    refused(&alone, || std::fs::write(alone.config_file(), with_file.text()).expect("written")).await;
    assert!(alone.logs().contains("admin.token_file: This file can't be read: it doesn't exist"), "{}", alone.logs());
    assert_ne!(erase_nobody(&alone, ADMIN_TOKEN).await, 401, "the one before is in force");
    taken(&alone, || std::fs::write(&file, other).expect("written")).await;
    assert_eq!(trouble(&alone).await, None);
    assert_eq!(erase_nobody(&alone, ADMIN_TOKEN).await, 401);
    assert_ne!(erase_nobody(&alone, other).await, 401);

    taken(&alone, || std::fs::write(&file, ADMIN_TOKEN).expect("written")).await;
    assert_ne!(erase_nobody(&alone, ADMIN_TOKEN).await, 401);
    assert_eq!(erase_nobody(&alone, other).await, 401);
    let told = format!("the configuration's files have changed files={:?}", file.display().to_string());
    let told = told.replace('"', "");
    assert!(alone.logs().replace('"', "").contains(&told), "{told} in {}", alone.logs());
}

/// A certificate for `localhost` with its key, in PEM.
fn certificate() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let key = made.signing_key.serialize_pem();
    canary::secret("a listener's key", key.lines().nth(1).expect("base64"));
    (made.cert.pem(), key)
}

/// A connection by whoever trusts this certificate alone; none where another one is shown.
async fn connected(address: SocketAddr, trusted: &str) -> Option<TlsStream<TcpStream>> {
    drop(rustls::crypto::ring::default_provider().install_default());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(trusted.as_bytes()).expect("PEM")).expect("a certificate");
    let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let stream = TcpStream::connect(address).await.expect("somebody listens");
    let name = ServerName::try_from("localhost").expect("a name");
    wait::within("the handshake", TlsConnector::from(Arc::new(config)).connect(name, stream)).await.ok()
}

/// A call without a JWT over this connection, which stays open: the status of the answer.
async fn call(stream: &mut TlsStream<TcpStream>) -> String {
    stream.write_all(b"GET /proxy/crm/x HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("written");
    let mut answer = String::new();
    let mut bytes = [0; 4096];
    while !answer.ends_with('}') {
        let read = wait::within("an answer", stream.read(&mut bytes)).await.expect("read");
        assert!(read > 0, "closed after {answer}");
        answer.push_str(&String::from_utf8_lossy(&bytes[..read]));
    }
    answer[9..12].to_owned()
}

#[tokio::test]
async fn a_listeners_new_certificate_is_shown_to_new_connections_and_old_ones_go_on() {
    let folder = TempDir::new().expect("a folder");
    let [(first, first_key), (second, second_key)] = [certificate(), certificate()];
    let both =
        |certificate: &str, key: &str, mount: &mut Mount| mount.swap(&[("tls.crt", certificate), ("tls.key", key)]);
    let mut mount = Mount::new(folder.path(), &[("tls.crt", &first), ("tls.key", &first_key)]);
    let address = SocketAddr::from(([127, 0, 0, 1], ports::free_port()));
    let alone = Alone::start(|config| {
        let mut listeners = config.get("listeners").clone();
        let tls = json!({ "certificate_file": mount.path("tls.crt"), "key_file": mount.path("tls.key") });
        let with_tls = json!({ "address": address.to_string(), "serves": ["proxy"], "tls": tls });
        listeners.as_array_mut().expect("a list").push(with_tls);
        config.set("listeners", listeners)
    })
    .await;
    let mut old = connected(address, &first).await.expect("the first one is shown");
    assert!(connected(address, &second).await.is_none());
    assert_eq!(call(&mut old).await, "401");

    // What Secrets of two versions would be: neither is taken.
    refused(&alone, || both(&second, &first_key, &mut mount)).await;
    assert!(trouble(&alone).await.is_some());
    assert!(alone.logs().contains("listeners[2].tls: The certificate and the key don't match"), "{}", alone.logs());
    assert!(connected(address, &first).await.is_some(), "the first one is still shown");

    taken(&alone, || both(&second, &second_key, &mut mount)).await;
    assert_eq!(trouble(&alone).await, None);
    let mut new = connected(address, &second).await.expect("the second one is shown");
    assert!(connected(address, &first).await.is_none());
    assert_eq!(call(&mut new).await, "401");
    assert_eq!(call(&mut old).await, "401", "on the connection that was there before");
}
