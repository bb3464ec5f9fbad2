//! A folder with everything that people have there, and the servers that run in
//! it.
//!
//! Keeps what every call and every server printed, so that at the end it can be
//! looked through for secrets.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::Context as _;
use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use strongroom_testkit::{
    scan::{Canary, Scanner},
    server_binary, wait,
};
use tempfile::TempDir;

use super::call::{Call, field};

/// The cluster comes to a state by itself within this.
const PATIENCE: Duration = Duration::from_secs(60);
/// A clean end: `limits.shutdown_ms` of the configuration and some more.
const SHUTDOWN: Duration = Duration::from_secs(20);

/// The folder. A test that fails keeps it.
pub(super) struct Site {
    pub(super) program: PathBuf,
    pub(super) folder: PathBuf,
    keep: Option<TempDir>,
    servers: Mutex<BTreeMap<u64, Background>>,
    secrets: Mutex<Vec<Canary>>,
    printed: Mutex<Vec<Printed>>,
}

/// What was printed, and by what.
struct Printed {
    line: String,
    may_hold_secrets: bool,
    bytes: Vec<u8>,
}

impl Site {
    pub(super) fn new(name: &str) -> Self {
        let keep = TempDir::with_prefix(format!("strongroom-{name}-")).unwrap();
        let folder = keep.path().to_owned();
        fs::create_dir(folder.join("tmp")).unwrap();
        Self {
            program: server_binary().unwrap(),
            folder,
            keep: Some(keep),
            servers: Mutex::default(),
            secrets: Mutex::default(),
            printed: Mutex::default(),
        }
    }

    pub(super) fn path(&self, file: &str) -> PathBuf {
        self.folder.join(file)
    }

    pub(super) fn read(&self, file: &str) -> Vec<u8> {
        fs::read(self.path(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
    }

    /// Permissions of a file, as `chmod` takes them.
    pub(super) fn mode(&self, file: &str) -> u32 {
        fs::metadata(self.path(file)).unwrap().permissions().mode() & 0o777
    }

    /// Writes a file that its owner alone may read.
    pub(super) fn write_private(&self, file: &str, bytes: &[u8]) {
        let path = self.path(file);
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Remembers a secret: no output may hold it but where the call says so.
    pub(super) fn learn(&self, name: &str, secret: &[u8]) {
        self.secrets.lock().push(Canary::new(name, secret));
    }

    /// Remembers the secret that a text file holds.
    pub(super) fn learn_file(&self, file: &str) {
        self.learn(file, self.read(file).trim_ascii());
    }

    /// What every process here gets, and nothing else.
    pub(super) fn environment(&self) -> [(&'static str, PathBuf); 4] {
        let path = std::env::var_os("PATH").unwrap_or_default();
        [
            ("PATH", path.into()),
            // Nothing of the user's own is read or written.
            ("HOME", self.folder.clone()),
            ("TMPDIR", self.path("tmp")),
            ("STRONGROOM_CLIENT_CONFIG", self.path("pki/client.toml")),
        ]
    }

    /// A call of the program in this folder, with the profiles of `tls init`.
    pub(super) fn call(&self, arguments: &[&str]) -> Call<'_> {
        Call::new(self, arguments)
    }

    /// Starts a process that runs on; its output goes to `<name>.out` and
    /// `<name>.err`.
    pub(super) fn start(&self, name: &str, arguments: &[&str]) -> Background {
        let (out, err) = (self.path(&format!("{name}.out")), self.path(&format!("{name}.err")));
        let open = |path: &Path| OpenOptions::new().create(true).append(true).open(path).unwrap();
        let process = Command::new(&self.program)
            .args(arguments)
            .current_dir(&self.folder)
            .env_clear()
            .envs(self.environment())
            .stdin(Stdio::null())
            .stdout(open(&out))
            .stderr(open(&err))
            .spawn()
            .unwrap();
        Background { process, out, err }
    }

    /// Starts the server of a node.
    pub(super) fn serve(&self, node: u64) {
        let config = format!("pki/node-{node}.toml");
        let server = self.start(&format!("node-{node}"), &["server", "--config", &config]);
        self.servers.lock().insert(node, server);
    }

    /// SIGKILL; the process is gone on return.
    pub(super) fn kill(&self, node: u64) {
        drop(self.servers.lock().remove(&node).expect("the server runs"));
    }

    /// Takes ports that were free a moment ago instead of 7400 to 7422, which
    /// `tls init` gives to nodes on one machine and others may use.
    pub(super) fn take_free_ports(&self) {
        let listen = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let ports = (0..3).flat_map(|node| (0..3).map(move |service| 7400 + 10 * node + service));
        let listeners: Vec<_> = ports.map(|port| (port, listen())).collect();
        for file in ["node-1", "node-2", "node-3", "client"] {
            let path = self.path(&format!("pki/{file}.toml"));
            let mut text = fs::read_to_string(&path).unwrap();
            assert!(text.contains("127.0.0.1:7420") || text.contains("127.0.0.1:7421"), "{text}");
            for (port, listener) in &listeners {
                let free = listener.local_addr().unwrap().to_string();
                text = text.replace(&format!("127.0.0.1:{port}"), &free);
            }
            fs::write(path, text).unwrap();
        }
    }

    /// Exit code of `status`, and the state of each node, or why there is none.
    async fn states(&self) -> (i32, Vec<String>) {
        let run = self.call(&["status", "--output", "json"]).run().await;
        let state = |node: &Value| match node["status"]["seal"]["state"].as_str() {
            Some(state) => state.to_owned(),
            None => field(&node["error"], "reason").to_owned(),
        };
        (run.code, run.json()["nodes"].as_array().unwrap().iter().map(state).collect())
    }

    /// Waits until `status` ends with this code and shows these states.
    pub(super) async fn wait_states(&self, code: i32, states: [&str; 3]) {
        let what = format!("status ends with {code} and shows {states:?}");
        wait::until(&what, PATIENCE, || async {
            let seen = self.states().await;
            anyhow::ensure!(seen.0 == code && seen.1 == states, "{seen:?}");
            Ok(())
        })
        .await
        .unwrap();
    }

    /// Ends all servers cleanly, and looks for secrets in all that was printed
    /// and logged.
    pub(super) async fn finish(self) {
        let mut servers = std::mem::take(&mut *self.servers.lock());
        for server in servers.values() {
            server.signal(Signal::TERM);
        }
        for (node, server) in &mut servers {
            let status = server.ended().await;
            assert!(status.success(), "node {node}: {status}: {}", server.err());
            assert!(!server.err().contains("panicked at"), "node {node}: {}", server.err());
            for text in [server.out(), server.err()] {
                self.print(&format!("the server of node {node}"), false, text.into_bytes());
            }
        }
        self.assert_no_secret_was_told();
    }

    /// Keeps what was printed, and by what.
    pub(super) fn print(&self, line: &str, may_hold_secrets: bool, bytes: Vec<u8>) {
        self.printed.lock().push(Printed { line: line.to_owned(), may_hold_secrets, bytes });
    }

    /// Keeps what a process printed that is to hold no secret.
    pub(super) fn print_of(&self, process: &Background) {
        for text in [process.out(), process.err()] {
            self.print("a process", false, text.into_bytes());
        }
    }

    /// No secret stands where it may not; the scanner is seen to find those that
    /// may stand there.
    pub(super) fn assert_no_secret_was_told(&self) {
        let scanner = Scanner::new(&self.secrets.lock());
        let (mut told, mut meant) = (Vec::new(), 0);
        for printed in self.printed.lock().iter() {
            let found = scanner.bytes(Path::new(&printed.line), &printed.bytes);
            if printed.may_hold_secrets {
                meant += found.len();
            } else {
                told.extend(found.iter().map(ToString::to_string));
            }
        }
        assert!(told.is_empty(), "secrets were printed: {told:#?}");
        assert!(meant > 0, "the scanner finds nothing at all");
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // Servers go before the folder that they write to.
        self.servers.lock().clear();
        if std::thread::panicking()
            && let Some(folder) = self.keep.take()
        {
            println!("files and logs are kept in {}", folder.keep().display());
        }
    }
}

/// A process of the program that dies with this value.
pub(super) struct Background {
    process: Child,
    out: PathBuf,
    err: PathBuf,
}

impl Background {
    pub(super) fn out(&self) -> String {
        fs::read_to_string(&self.out).unwrap()
    }

    pub(super) fn err(&self) -> String {
        fs::read_to_string(&self.err).unwrap()
    }

    pub(super) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    /// How it ended, where it has.
    pub(super) fn exited(&mut self) -> Option<ExitStatus> {
        self.process.try_wait().unwrap()
    }

    /// Waits for its end, for as long as a clean one takes.
    pub(super) async fn ended(&mut self) -> ExitStatus {
        let process = Mutex::new(&mut self.process);
        wait::until("the process ends", SHUTDOWN, || async {
            process.lock().try_wait()?.context("it is still running")
        })
        .await
        .unwrap()
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // Fails only for a process that is gone already.
        let _gone = self.process.kill();
        let _gone = self.process.wait();
    }
}
