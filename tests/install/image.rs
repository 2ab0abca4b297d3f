//! The image's root file system, run as a container would be: nothing else is there, nothing can be written, and the user
//! is nobody. `make image` builds it and runs this.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use ground::{Folder, Operator};
use nameserver::Server;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::release::{LIMIT, RELEASE, Release, chart};

/// The name that Mailcow has here.
const HOST: &str = "mailcow.image.test";
/// The user of the image.
const USER: &str = "65532";
/// What is in the image.
const FILES: &str = "etc/group etc/nsswitch.conf etc/passwd etc/ssl/certs/ca-certificates.crt mailcow-operator";
/// Where a pod has its service account.
const ACCOUNT: &str = "var/run/secrets/kubernetes.io/serviceaccount";

const DOMAIN: &str = "
apiVersion: email.askrobots.com/v1alpha1
kind: EmailDomain
metadata: {name: example}
spec: {domain: example.com}
";

/// A copy of the root file system, with what a container runtime puts beside it.
struct Sandbox {
    folder: Folder,
    root: PathBuf,
}

impl Sandbox {
    fn new(image: &Path) -> Self {
        let folder = Folder::new("image", false).unwrap();
        let root = folder.path().join("root");
        script(
            r#"chmod 755 "$1" && cp -r "$2" "$1/root" && mkdir -p "$1/root/proc" "$1/root/dev" "$1/root/$3" && chmod -R u=rwX,go=rX "$1""#,
            &[folder.path(), image, Path::new(ACCOUNT)],
        );
        Self { folder, root }
    }

    /// Writes a file that everyone may read.
    fn write(&self, path: &str, text: &str) {
        let path = self.root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Makes a file outside known inside under the same path.
    fn mount(&self, path: &str) {
        self.write(path.trim_start_matches('/'), &std::fs::read_to_string(path).unwrap());
    }

    /// The command that runs the program inside with just this environment, as the image's user where this process may
    /// choose one.
    fn command(&self, env: &[(String, String)]) -> Vec<String> {
        let is_root = script("id -u", &[]) == "0";
        let other = ["setpriv", "--reuid", USER, "--regid", USER, "--clear-groups", "--no-new-privs"];
        let root = self.root.display().to_string();
        let isolated =
            "bwrap --die-with-parent --unshare-user --unshare-pid --unshare-ipc --cap-drop ALL --clearenv --chdir /";
        let mounted = ["--uid", USER, "--gid", USER, "--ro-bind", &root, "/", "--proc", "/proc", "--dev", "/dev"];
        let mut words: Vec<&str> = if is_root { other.to_vec() } else { Vec::new() };
        words.extend(isolated.split(' ').chain(mounted).chain(["--remount-ro", "/dev"]));
        words.extend(env.iter().flat_map(|(name, value)| ["--setenv", name, value]));
        words.push("/mailcow-operator");
        words.into_iter().map(ToOwned::to_owned).collect()
    }
}

/// Runs a short script to its end.
fn script(text: &str, args: &[&Path]) -> String {
    let output = Command::new("bash").args(["-euc", text, "script"]).args(args).output().unwrap();
    assert!(output.status.success(), "{text}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Mailcow behind TLS: the port, and the authority of the certificate.
async fn with_tls(mailcow: SocketAddr) -> (u16, String) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![HOST.to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    let chain = vec![CertificateDer::from(certificate.der().to_vec())];
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(decrypted(acceptor.clone(), stream, mailcow));
        }
    });
    (port, authority.pem())
}

async fn decrypted(acceptor: TlsAcceptor, stream: TcpStream, mailcow: SocketAddr) {
    let Ok(mut outside) = acceptor.accept(stream).await else { return };
    let mut inside = TcpStream::connect(mailcow).await.unwrap();
    let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
}

/// Makes the name of Mailcow known inside: by DNS where port 53 can be had, and else by a line in `/etc/hosts`.
async fn with_name(sandbox: &Sandbox) -> Option<Server> {
    let address = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 77), 53));
    let Ok(server) = Server::start_recursive(address).await else {
        println!("skipped: names by DNS, for want of port 53 (run as root)");
        sandbox.write("etc/hosts", &format!("127.0.0.1 {HOST}\n"));
        return None;
    };
    server.set_zone("image.test", "@ NS ns1.image.test.\nns1 A 127.0.0.77\nmailcow A 127.0.0.1\n").unwrap();
    sandbox.write("etc/hosts", "");
    sandbox.write("etc/resolv.conf", "nameserver 127.0.0.77\n");
    Some(server)
}

/// Puts the service account there as a pod has it; gives the environment that tells where the API server is.
async fn with_account(release: &Release, sandbox: &Sandbox, account: &str) -> [(&'static str, String); 2] {
    let kubeconfig = release.plane.service_account_kubeconfig(&release.namespace, account).await.unwrap();
    let config: serde_json::Value = serde_json::from_slice(&std::fs::read(kubeconfig).unwrap()).unwrap();
    let cluster = &config["clusters"][0]["cluster"];
    let authority = cluster["certificate-authority-data"].as_str().unwrap();
    let authority = script(&format!("base64 -d <<<{authority}"), &[]);
    sandbox.write(&format!("{ACCOUNT}/ca.crt"), &authority);
    sandbox.write(&format!("{ACCOUNT}/token"), config["users"][0]["user"]["token"].as_str().unwrap());
    sandbox.write(&format!("{ACCOUNT}/namespace"), &release.namespace);
    let (_, port) = cluster["server"].as_str().unwrap().rsplit_once(':').unwrap();
    [("KUBERNETES_SERVICE_HOST", "127.0.0.1".to_owned()), ("KUBERNETES_SERVICE_PORT", port.to_owned())]
}

/// The root file system that `make image` has built.
fn image() -> PathBuf {
    let image = std::env::vars().find(|(name, _)| name == "IMAGE_ROOT");
    image.map_or_else(|| panic!("IMAGE_ROOT names no folder: run `make image`"), |(_, path)| PathBuf::from(path))
}

#[test]
fn the_bill_of_materials_names_what_is_linked_and_the_provenance_each_file() {
    let folder = Folder::new("attest", false).unwrap();
    let (root, attestations) = (folder.path().join("root"), folder.path().join("attestations"));
    std::fs::create_dir_all(root.join("etc")).unwrap();
    std::fs::write(root.join("etc/passwd"), "nobody\n").unwrap();
    let attest = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/image/attest.py");
    script(r#""$1" "$2" "$3" >/dev/null"#, &[&attest, &root, &attestations]);
    let read = |name: &str| -> serde_json::Value {
        serde_json::from_str(&std::fs::read_to_string(attestations.join(name)).unwrap()).unwrap()
    };
    let bill = read("sbom.cdx.json");
    let components = bill["components"].as_array().unwrap();
    let scope = |name: &str| components.iter().find(|one| one["name"] == name).map(|one| one["scope"].clone());
    for (name, expected) in [("kube", Some("required")), ("serde_derive", Some("excluded")), ("rcgen", None)] {
        assert_eq!(scope(name), expected.map(Into::into), "{name}");
    }
    let is_whole = |one: &serde_json::Value| one["hashes"][0]["content"].is_string() && one["licenses"].is_array();
    assert_eq!(components.iter().find(|one| !is_whole(one)), None);
    let provenance = read("provenance.json");
    let digest = script(r#"sha256sum "$1" | cut -d' ' -f1"#, &[&root.join("etc/passwd")]);
    let expected = serde_json::json!([{"name": "etc/passwd", "digest": {"sha256": digest}}]);
    assert_eq!(provenance["subject"], expected);
}

#[tokio::test]
#[ignore = "needs what `make image` builds"]
async fn the_image_runs_with_nothing_beside_it_nothing_to_write_and_no_rights() {
    let image = image();
    assert_eq!(script(r#"cd "$1" && find . -type f -printf '%P\n' | sort | xargs"#, &[&image]), FILES);
    let sandbox = Sandbox::new(&image);
    let command = sandbox.command(&[]);
    let version = Command::new(&command[0]).args(&command[1..]).arg("--version").output().unwrap();
    let said = String::from_utf8_lossy(&version.stdout);
    assert_eq!(said.trim(), concat!("mailcow-operator ", env!("CARGO_PKG_VERSION")), "{version:?}");

    let mut release = Release::prepare().await;
    release.helm("install", &chart(), &["--set", &format!("watchNamespaces={{{}}}", release.users)]).await.unwrap();
    let workload = release.plane.workload(&release.namespace, RELEASE, &sandbox.folder).await.unwrap();
    let (port, authority) = with_tls(release.mailcow.address()).await;
    let _names = with_name(&sandbox).await;
    let mut env = workload.env.clone();
    let place = with_account(&release, &sandbox, &workload.service_account).await;
    env.extend(place.map(|(name, value)| (name.to_owned(), value)));
    env.push(("LISTEN".to_owned(), "127.0.0.1:0".to_owned()));
    for sinks in workload.args.iter().filter_map(|arg| arg.strip_prefix("--sinks-file=")) {
        sandbox.mount(sinks);
    }
    let command: Vec<String> = sandbox.command(&env).into_iter().chain(workload.args).collect();
    let args: Vec<&str> = command[1..].iter().map(String::as_str).collect();
    let start = || Operator::start(Path::new(&command[0]), &args, &[]).unwrap();

    // Mailcow's certificate is trusted only when its authority is among the image's.
    release.operator = Some(start());
    release.connect_to(&format!("https://{HOST}:{port}")).await;
    release.apply(DOMAIN).await;
    let said = release.operator.as_ref().unwrap().logged("first request to Mailcow failed", LIMIT).await.unwrap();
    assert!(said.contains("certificate"), "{said}");
    release.operator = None;
    let bundle = std::fs::read_to_string(sandbox.root.join("etc/ssl/certs/ca-certificates.crt")).unwrap();
    assert!(bundle.matches("BEGIN CERTIFICATE").count() > 50, "the public authorities");
    sandbox.write("etc/ssl/certs/ca-certificates.crt", &format!("{bundle}\n{authority}"));
    release.operator = Some(start());
    release.ready("edom/example").await;
}
