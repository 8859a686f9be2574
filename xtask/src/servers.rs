//! The real servers that the registry's tests talk to: S3, Azure Blob Storage, PostgreSQL, and two that lie.
//!
//! All listen on loopback on free ports, keep their data in a temporary folder, and stop when they are dropped.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::shell::{Result, output, target};

const MOTO: &str = "moto[server]==5.2.5";
const AZURITE: &str = "azurite@3.35.0";
/// It takes no notice of the condition of a put.
const S3RVER: &str = "s3rver@3.7.1";
/// It looks, then writes: right one by one, wrong in races.
const S3S_FS: &str = "0.14.0";
const STARTS_SECONDS_MAX: u32 = 60;
/// The account that Azurite documents for everybody, as it does the key.
const AZURE_ACCOUNT: &str = "devstoreaccount1";

/// Servers that run; they stop when this is dropped.
pub(crate) struct Servers {
    running: Vec<Server>,
    environment: Vec<(&'static str, String)>,
    left_out: Vec<String>,
}

struct Server {
    process: Child,
    /// How to end it in order, where a kill would leave something behind.
    stop: Option<(PathBuf, Vec<String>)>,
    data: PathBuf,
}

pub(crate) const NAMES: [&str; 5] = ["moto", "azurite", "postgres", "s3rver", "s3s-fs"];

/// Fetches what is missing into the target folder and starts all servers but those to do without. What cannot be had is
/// named.
pub(crate) fn start(without: &[&str]) -> Servers {
    let mut servers = Servers { running: Vec::new(), environment: Vec::new(), left_out: Vec::new() };
    let starts: [Start; 5] = [moto, azurite, postgres, s3rver, s3s_fs];
    for (name, start) in NAMES.into_iter().zip(starts).filter(|(name, _)| !without.contains(name)) {
        match start() {
            Ok((server, environment)) => {
                for (variable, value) in &environment {
                    println!("{name} runs: {variable}={value}");
                }
                servers.running.push(server);
                servers.environment.extend(environment);
            }
            Err(error) => {
                println!("left out: {name}: {error}");
                servers.left_out.push(format!("{name}: {error}"));
            }
        }
    }
    servers
}

impl Servers {
    /// The variables that tell the tests where the servers are.
    pub(crate) fn environment(&self) -> &[(&'static str, String)] {
        &self.environment
    }

    /// What does not run, and why.
    pub(crate) fn left_out(&self) -> &[String] {
        &self.left_out
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        match &self.stop {
            Some((program, arguments)) => {
                let _ = quiet(Command::new(program).args(arguments)).status();
            }
            None => {
                let _ = self.process.kill();
            }
        }
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.data);
    }
}

/// A server, and the variables that tell where it is.
type Started = (Server, Vec<(&'static str, String)>);
type Start = fn() -> Result<Started>;

fn moto() -> Result<Started> {
    let folder = target().join("servers").join("moto");
    let python = folder.join("bin").join("python");
    if !folder.join("bin").join("moto_server").exists() {
        println!("fetching {MOTO} from PyPI into {}", folder.display());
        let place = text(&folder)?;
        output("python3", &["-m", "venv", place])?;
        output(text(&python)?, &["-m", "pip", "install", "--quiet", MOTO])?;
    }
    let (data, port) = (scratch("moto")?, free_port()?);
    let process = spawn(Command::new(&python).args(["-c", RUN_MOTO, &port.to_string()]).current_dir(&data))?;
    let server = Server { process, stop: None, data };
    answers(port)?;
    request(
        port,
        "PUT /mlops-test HTTP/1.1\r\nAuthorization: AWS4-HMAC-SHA256 Credential=test/20200101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=x\r\nContent-Length: 0\r\n",
    )?;
    Ok((server, vec![("MLOPS_TEST_S3", format!("http://127.0.0.1:{port}"))]))
}

fn azurite() -> Result<Started> {
    let program = npm("azurite", AZURITE, "azurite-blob")?;
    let (data, port) = (scratch("azurite")?, free_port()?);
    let mut command = Command::new(&program);
    command.args(["--blobHost", "127.0.0.1", "--blobPort", &port.to_string(), "--location", text(&data)?]);
    command.args(["--disableTelemetry", "--skipApiVersionCheck", "--silent", "--loose"]);
    let server = Server { process: spawn(&mut command)?, stop: None, data };
    answers(port)?;
    let endpoint = format!("http://127.0.0.1:{port}/{AZURE_ACCOUNT}");
    output("python3", &["-c", MAKE_CONTAINER, &endpoint, AZURE_ACCOUNT])?;
    Ok((server, vec![("AZURITE_BLOB_STORAGE_URL", format!("http://127.0.0.1:{port}"))]))
}

fn s3rver() -> Result<Started> {
    let program = npm("s3rver", S3RVER, "s3rver")?;
    let (data, port) = (scratch("s3rver")?, free_port()?);
    let mut command = Command::new(&program);
    command.args(["--directory", text(&data)?, "--address", "127.0.0.1", "--port", &port.to_string()]);
    command.args(["--silent", "--no-vhost-buckets", "--configure-bucket", "mlops-test"]);
    let server = Server { process: spawn(&mut command)?, stop: None, data };
    answers(port)?;
    Ok((server, vec![("MLOPS_TEST_S3RVER", format!("http://127.0.0.1:{port}"))]))
}

fn s3s_fs() -> Result<Started> {
    let folder = target().join("servers").join("s3s-fs");
    let program = folder.join("bin").join("s3s-fs");
    if !program.exists() {
        println!("building s3s-fs {S3S_FS} from crates.io in {} (once, some minutes)", folder.display());
        let (root, build) = (text(&folder)?, folder.join("build"));
        let package = format!("s3s-fs@={S3S_FS}");
        let mut install = vec!["install", &package, "--locked", "--features", "binary", "--quiet"];
        // Quick to build is what counts, and small to keep.
        install.extend(["--debug", "--config", "profile.dev.debug=false", "--root", root]);
        install.extend(["--target-dir", text(&build)?]);
        output(env!("CARGO"), &install)?;
        let _ = fs::remove_dir_all(build);
    }
    let (data, port) = (scratch("s3s-fs")?, free_port()?);
    let bucket = data.join("mlops-test");
    fs::create_dir_all(&bucket).map_err(|error| format!("cannot create {}: {error}", bucket.display()))?;
    let mut command = Command::new(&program);
    command.args(["--host", "127.0.0.1", "--port", &port.to_string()]);
    command.args(["--access-key", "test", "--secret-key", "test", text(&data)?]);
    let server = Server { process: spawn(&mut command)?, stop: None, data };
    answers(port)?;
    Ok((server, vec![("MLOPS_TEST_S3S_FS", format!("http://127.0.0.1:{port}"))]))
}

/// A program out of an npm package; fetched the first time.
fn npm(name: &str, package: &str, program: &str) -> Result<PathBuf> {
    let folder = target().join("servers").join(name);
    let program = folder.join("node_modules").join(".bin").join(program);
    if !program.exists() {
        println!("fetching {package} from npm into {}", folder.display());
        fs::create_dir_all(&folder)
            .map_err(|error| format!("cannot create {}: {error}", folder.display()))?;
        let place = text(&folder)?;
        output("npm", &["install", "--silent", "--no-audit", "--no-fund", "--prefix", place, package])?;
    }
    Ok(program)
}

fn postgres() -> Result<Started> {
    let programs = postgres_programs().ok_or("it is not installed (Debian: apt install postgresql)")?;
    let data = scratch("postgres")?;
    let cluster = data.join("cluster");
    let (place, port) = (text(&cluster)?.to_owned(), free_port()?.to_string());
    let program = |name: &str| programs.join(name);
    let (certificate, key) = (data.join("server.crt"), data.join("server.key"));
    let (certificate, key) = (text(&certificate)?, text(&key)?);
    let mut sign = vec!["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate];
    sign.extend(["-days", "2", "-subj", "/CN=localhost", "-addext", "basicConstraints=critical,CA:FALSE"]);
    sign.extend(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]);
    output("openssl", &sign)?;
    // PostgreSQL refuses to run as root, so root runs it as the user that its package made.
    let user = is_root().then_some("postgres");
    if let Some(user) = user {
        output("chown", &["-R", user, text(&data)?])?;
    }
    let made = run_as(
        user,
        &program("initdb"),
        &["--pgdata", &place, "--auth", "trust", "--username", "mlops", "--no-sync"],
    )
    .output()
    .map_err(|error| format!("cannot run initdb: {error}"))?;
    if !made.status.success() {
        return Err(format!(
            "initdb ended with {}: {}",
            made.status,
            String::from_utf8_lossy(&made.stderr).trim()
        ));
    }
    let sockets = format!("unix_socket_directories={}", text(&data)?);
    let (tls_certificate, tls_key) = (format!("ssl_cert_file={certificate}"), format!("ssl_key_file={key}"));
    let mut arguments = vec!["-D", &place, "-h", "127.0.0.1", "-p", &port, "-c", &sockets, "-c", "ssl=on"];
    // What it holds is thrown away: a wait for the disk at each of many thousand commits proves nothing.
    arguments.extend(["-c", "fsync=off"]);
    arguments.extend(["-c", &tls_certificate, "-c", &tls_key]);
    let process = spawn(&mut run_as(user, &program("postgres"), &arguments))?;
    let stop = run_as(user, &program("pg_ctl"), &["stop", "--pgdata", &place, "--mode", "fast"]);
    let arguments = stop.get_args().map(|argument| argument.to_string_lossy().into_owned()).collect();
    let server = Server { process, stop: Some((PathBuf::from(stop.get_program()), arguments)), data };
    answers(port.parse().map_err(|_| "no port")?)?;
    let address = format!("postgres://mlops@127.0.0.1:{port}/postgres");
    Ok((server, vec![("MLOPS_TEST_POSTGRES", address), ("MLOPS_TEST_POSTGRES_ROOT", certificate.to_owned())]))
}

/// The folder of PostgreSQL's programs: Debian keeps them out of the path, by version.
fn postgres_programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut folders: Vec<_> =
        versions.map(|entry| entry.path().join("bin")).filter(|bin| bin.join("initdb").exists()).collect();
    folders.sort();
    folders.pop().or_else(|| Some(PathBuf::from(output("pg_config", &["--bindir"]).ok()?.trim())))
}

fn run_as(user: Option<&str>, program: &Path, arguments: &[&str]) -> Command {
    let mut command = match user {
        None => Command::new(program),
        Some(user) => {
            let mut command = Command::new("runuser");
            command.args(["-u", user, "--"]).arg(program);
            command
        }
    };
    command.args(arguments).current_dir(std::env::temp_dir());
    command
}

fn is_root() -> bool {
    output("id", &["-u"]).is_ok_and(|id| id.trim() == "0")
}

fn spawn(command: &mut Command) -> Result<Child> {
    let program = command.get_program().to_string_lossy().into_owned();
    quiet(command).spawn().map_err(|error| format!("cannot run {program}: {error}"))
}

fn quiet(command: &mut Command) -> &mut Command {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null())
}

/// A temporary folder that any user may enter.
fn scratch(name: &str) -> Result<PathBuf> {
    let folder = std::env::temp_dir().join(format!("mlops-{name}-{}", std::process::id()));
    fs::create_dir_all(&folder).map_err(|error| format!("cannot create {}: {error}", folder.display()))?;
    Ok(folder)
}

fn free_port() -> Result<u16> {
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| format!("no free port: {error}"))?;
    Ok(listener.local_addr().map_err(|error| format!("no free port: {error}"))?.port())
}

/// Waits until something listens.
fn answers(port: u16) -> Result<()> {
    for _ in 0..STARTS_SECONDS_MAX * 10 {
        if TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), Duration::from_secs(1))
            .is_ok()
        {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Err(format!("it does not listen after {STARTS_SECONDS_MAX} s"))
}

/// Sends one request and wants a 2xx answer.
fn request(port: u16, head: &str) -> Result<()> {
    let failed = |error: std::io::Error| format!("it does not answer: {error}");
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).map_err(failed)?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).map_err(failed)?;
    stream
        .write_all(format!("{head}Host: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n").as_bytes())
        .map_err(failed)?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).map_err(failed)?;
    if answer.starts_with(b"HTTP/1.1 2") || answer.starts_with(b"HTTP/1.0 2") {
        return Ok(());
    }
    Err(format!("it answers `{}`", String::from_utf8_lossy(&answer)))
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| format!("{} is no text", path.display()))
}

/// One request after the other: with its threads moto looks and then writes, and loses about one race of twenty.
const RUN_MOTO: &str = "
import sys
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple
run_simple('127.0.0.1', int(sys.argv[1]), DomainDispatcherApplication(create_backend_app), threaded=False)
";

/// Azure wants the request that makes a container signed; Python's standard library can do that.
const MAKE_CONTAINER: &str = r#"
import base64, hashlib, hmac, sys, urllib.request
from email.utils import formatdate
endpoint, account = sys.argv[1:]
key = base64.b64decode("Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==")
headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-12-02"}
canonical = "".join(f"{name}:{value}\n" for name, value in sorted(headers.items()))
text = "PUT" + "\n" * 12 + canonical + f"/{account}/{account}/mlops-test\nrestype:container"
signature = base64.b64encode(hmac.new(key, text.encode(), hashlib.sha256).digest()).decode()
headers |= {"Authorization": f"SharedKey {account}:{signature}", "Content-Length": "0"}
urllib.request.urlopen(urllib.request.Request(f"{endpoint}/mlops-test?restype=container", method="PUT", headers=headers))
"#;
