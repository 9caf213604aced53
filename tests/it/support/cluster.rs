//! A stand-in for a Kubernetes cluster: its API server's key set over TLS, by an authority of its own and only for whoever
//! shows the token of the day, and the tokens that it projects into pods.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use jsonwebtoken::Algorithm;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{canary, jwt, raw};

/// The issuer of its tokens.
pub(crate) const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// What it serves, and what it was asked.
struct Served {
    keys: Value,
    token: String,
    /// The heads of all requests.
    heads: Vec<String>,
}

/// The cluster.
pub(crate) struct Cluster {
    address: SocketAddr,
    /// What is mounted into Valetkey's pod: `token` and `ca.crt`.
    mounted: TempDir,
    served: Arc<Mutex<Served>>,
}

impl Cluster {
    /// A cluster whose keys are those of `jwt::asymmetric`, by these names.
    pub(crate) async fn start(keys: &[&str]) -> Self {
        drop(rustls::crypto::ring::default_provider().install_default());
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(DnType::CommonName, "authority of the cluster");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(parameters, key()).expect("an authority");
        let own = key();
        let names = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        let certificate = names.signed_by(&own, &authority).expect("a certificate");
        let private = rustls_pki_types::PrivateKeyDer::try_from(own.serialize_der()).expect("a key");
        let tls = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private)
            .expect("they fit");

        let mounted = TempDir::new().expect("a folder");
        std::fs::write(mounted.path().join("ca.crt"), authority.pem()).expect("written");
        let served = Served { keys: named(keys), token: String::new(), heads: Vec::new() };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (served, acceptor) = (Arc::new(Mutex::new(served)), TlsAcceptor::from(Arc::new(tls)));
        let shared = Arc::clone(&served);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, served) = (acceptor.clone(), Arc::clone(&shared));
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        serve(stream, &served).await;
                    }
                });
            }
        });
        let cluster = Self { address, mounted, served };
        cluster.rotate("the first token of Valetkeys own pod");
        cluster
    }

    /// Mounts another token, and takes only that from now on.
    pub(crate) fn rotate(&self, token: &str) {
        let token = token.replace(' ', "-");
        canary::secret("the token of Valetkey's own pod", &token);
        std::fs::write(self.mounted("token"), &token).expect("written");
        self.served.lock().expect("no panic").token = token;
    }

    /// Serves these keys from now on.
    pub(crate) fn serve(&self, keys: &[&str]) {
        self.served.lock().expect("no panic").keys = named(keys);
    }

    /// A file that is mounted into Valetkey's pod.
    pub(crate) fn mounted(&self, name: &str) -> PathBuf {
        self.mounted.path().join(name)
    }

    /// The heads of all requests so far.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.served.lock().expect("no panic").heads.clone()
    }

    /// An entry of `callers`: these accounts' pods.
    pub(crate) fn callers(&self, accounts: &[&str]) -> Value {
        json!({ "kubernetes": {
            "audience": jwt::AUDIENCE,
            "service_accounts": accounts,
            "jwks_url": format!("https://localhost:{}/openid/v1/jwks", self.address.port()),
            "ca_file": self.mounted("ca.crt").display().to_string(),
            "token_file": self.mounted("token").display().to_string(),
        }})
    }
}

fn key() -> KeyPair {
    KeyPair::generate().expect("there are random numbers")
}

/// Those of the tests' keys that have these names.
fn named(names: &[&str]) -> Value {
    let keys = jwt::jwks()["keys"].as_array().expect("a list").clone();
    let kept = keys.into_iter().filter(|key| names.iter().any(|name| key["kid"] == *name));
    json!({ "keys": kept.collect::<Vec<_>>() })
}

/// One answer a connection.
async fn serve(mut stream: TlsStream<TcpStream>, served: &Mutex<Served>) {
    let (mut head, mut part) = (Vec::new(), [0; 4096]);
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        let Ok(read @ 1..) = stream.read(&mut part).await else { return };
        head.extend_from_slice(&part[..read]);
    }
    let head = String::from_utf8(head).expect("text");
    let answer = {
        let mut served = served.lock().expect("no panic");
        let known = raw::values(&head, "authorization") == [format!("Bearer {}", served.token)];
        let (status, body) = match (known, head.starts_with("GET /openid/v1/jwks HTTP/1.1\r\n")) {
            (true, true) => ("200 OK", served.keys.to_string()),
            (true, false) => ("404 Not Found", String::new()),
            (false, _) => ("401 Unauthorized", String::new()),
        };
        served.heads.push(head);
        let length = body.len();
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
    };
    drop(stream.write_all(answer.as_bytes()).await);
    drop(stream.shutdown().await);
}

/// The claims of a token that a cluster projects for a pod of `namespace:name`.
pub(crate) fn claims(account: &str) -> Value {
    let mut claims = jwt::claims(&format!("system:serviceaccount:{account}"));
    claims["iss"] = ISSUER.into();
    claims["aud"] = json!([jwt::AUDIENCE]);
    let (namespace, name) = account.split_once(':').expect("an account");
    claims["kubernetes.io"] = json!({ "namespace": namespace, "serviceaccount": { "name": name } });
    claims
}

/// Such a token.
pub(crate) fn token(account: &str) -> String {
    jwt::asymmetric(Algorithm::RS256, Some("rsa"), &claims(account))
}
