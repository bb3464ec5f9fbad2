//! `strongroom dev`: one node that forms its cluster and unseals itself.
//!
//! The share lies beside the data that it protects. That is the point, for a
//! laptop, and the reason why it is never for production.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use clap::Args;
use serde::Serialize;
use strongroom_client::{
    Client, Config, Node, Token,
    proto::{CreateKeyRequest, CreateTokenRequest, InitRequest, NodeState, Role},
};
use strongroom_node::config::Sources;
use zeroize::Zeroizing;

use crate::{
    commands::init::{self, Formed},
    connect,
    files::{self, Existing, Privacy},
    output::Output,
    progress::waiting,
};

mod home;

use home::Home;

/// Time for the node to listen, to elect itself, to unseal.
const START_MAX: Duration = Duration::from_secs(60);
/// Between two looks at something that is on its way.
const POLL: Duration = Duration::from_millis(50);
/// Timeout of each call.
const TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Args)]
#[command(after_help = "\
The key share lies beside the data: whoever reads the directory reads every key. For trials and
tests only.

Examples:
  strongroom dev
  strongroom dev --dir ~/.strongroom-dev       keeps keys until the next start")]
pub(crate) struct DevArgs {
    /// Keep everything in this directory [default: a temporary one, removed at the end]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Address for callers; port 0 takes a free one
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:7400")]
    listen: SocketAddr,
    /// Address for metrics and health; port 0 takes a free one
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:7402")]
    monitor: SocketAddr,
    /// Log filter of the node
    #[arg(long, value_name = "FILTER", default_value = "warn")]
    log_level: String,
}

pub(crate) fn run(args: &DevArgs, output: Output) -> anyhow::Result<u8> {
    // Removed when dropped, at the end.
    let temporary = match args.dir {
        Some(_) => None,
        None => Some(tempfile::tempdir().context("can't make a temporary directory")?),
    };
    let folder = match (&args.dir, &temporary) {
        (Some(folder), _) => folder.as_path(),
        (None, Some(temporary)) => temporary.path(),
        (None, None) => bail!("no directory"),
    };
    let home = Home::prepare(folder, args.listen, args.monitor, &args.log_level)?;
    let server = Server::start(home.node_config())?;
    let prepared = connect::runtime()?.block_on(waiting(
        output,
        "starting the development server",
        prepare(&home, &server),
    ));
    match prepared {
        Ok(prepared) => show(output, &home, &prepared, temporary.is_some())?,
        Err(error) => {
            // Without the node there is nothing to wait for; the process ends
            // with it, as after a crash, which the node is made for.
            return Err(error);
        }
    }
    let code = server.join()?;
    Ok(u8::try_from(code).unwrap_or(1))
}

/// The node, on a thread of its own.
struct Server(mpsc::Receiver<i32>);

impl Server {
    fn start(config: PathBuf) -> anyhow::Result<Self> {
        let sources = Sources { file: Some(config), overrides: Vec::new() };
        let config = strongroom_node::config::Config::load(&sources)?;
        let (sender, receiver) = mpsc::channel();
        thread::Builder::new()
            .name("node".to_owned())
            .spawn(move || {
                let code = strongroom_node::run_blocking(config);
                // Nobody listens any more when preparing failed.
                let _ = sender.send(code);
            })
            .context("can't start a thread")?;
        Ok(Self(receiver))
    }

    /// Refuses to go on when the node has ended.
    fn check(&self) -> anyhow::Result<()> {
        match self.0.try_recv() {
            Err(mpsc::TryRecvError::Empty) => Ok(()),
            Ok(code) => bail!("the node ended at once, with exit code {code}: see its log above"),
            Err(mpsc::TryRecvError::Disconnected) => bail!("the node panicked: see its log above"),
        }
    }

    fn join(&self) -> anyhow::Result<i32> {
        self.0.recv().context("the node panicked: see its log above")
    }
}

/// What the user gets to know.
struct Prepared {
    address: String,
    monitor: String,
    key_id: String,
}

async fn prepare(home: &Home, server: &Server) -> anyhow::Result<Prepared> {
    let until = Instant::now() + START_MAX;
    let endpoints = loop {
        server.check()?;
        match home.endpoints()? {
            Some(endpoints) => break endpoints,
            None => pause(until).await?,
        }
    };
    let client = home.client(&endpoints.client, None)?;
    let node = &client.nodes()[0];
    while node.seal_status().await.is_err() {
        server.check()?;
        pause(until).await?;
    }
    unseal(home, &client, node, until).await?;
    let key_id = furnish(home, &endpoints.client).await?;
    home.write_profiles(&endpoints.client)?;
    Ok(Prepared { address: endpoints.client, monitor: endpoints.monitor, key_id })
}

/// Waits a moment, unless time is up.
async fn pause(until: Instant) -> anyhow::Result<()> {
    if Instant::now() >= until {
        bail!("the node was not ready within {} s: see its log above", START_MAX.as_secs());
    }
    tokio::time::sleep(POLL).await;
    Ok(())
}

async fn unseal(home: &Home, client: &Client, node: &Node, until: Instant) -> anyhow::Result<()> {
    let state = node.seal_status().await?.state();
    // Sealed without a share in the directory: the answer to `init` was lost,
    // and may be had again.
    if state == NodeState::Uninitialised || !home.share().exists() {
        form(home, client).await?;
    }
    let share = files::read_secret_text(&home.share())?;
    if node.seal_status().await?.state() != NodeState::Unsealed {
        node.submit_share(&share).await?;
    }
    while node.seal_status().await?.state() != NodeState::Unsealed {
        pause(until).await?;
    }
    Ok(())
}

/// Forms the cluster and keeps share and token.
async fn form(home: &Home, client: &Client) -> anyhow::Result<()> {
    let init_token = init::init_token(&home.init_token())?;
    let request = InitRequest {
        shares: 1,
        threshold: 1,
        init_token: init_token.to_vec(),
        administrator_name: "root".to_owned(),
        allow_absent: false,
    };
    let Formed { shares, administrator_token, .. } = init::form(client, START_MAX, request).await?;
    let share = shares.first().context("the server sent no share")?;
    keep(&home.administrator_token(), &administrator_token)?;
    keep(&home.share(), share)
}

fn keep(path: &Path, secret: &str) -> anyhow::Result<()> {
    let line = Zeroizing::new(format!("{secret}\n"));
    files::write(path, line.as_bytes(), Privacy::Owner, Existing::Replace)
}

/// Makes a first key, and a token that may use it.
async fn furnish(home: &Home, address: &str) -> anyhow::Result<String> {
    let token = Token::new(&files::read_secret_text(&home.administrator_token())?)?;
    let client = home.client(address, Some(token))?;
    let request = CreateKeyRequest {
        description: "Made by `strongroom dev`".to_owned(),
        client_token: "strongroom-dev".to_owned(),
        ..CreateKeyRequest::default()
    };
    let key = client.create_key(request).await?.key_metadata.context("the server sent no key")?;
    if !home.user_token().exists() {
        let request = CreateTokenRequest {
            principal_name: "developer".to_owned(),
            role: Role::User.into(),
            ttl_seconds: 0,
        };
        let answer = client.create_token(request).await?;
        keep(&home.user_token(), &Zeroizing::new(answer.token))?;
    }
    Ok(key.key_id)
}

impl Home {
    fn client(&self, address: &str, token: Option<Token>) -> anyhow::Result<Client> {
        let mut config = Config::new([address], connect::read_pem(&self.ca())?)?
            .with_timeout(TIMEOUT)
            .with_identity(connect::identity(&self.operator().0, &self.operator().1)?);
        config.token = token;
        Ok(Client::new(&config)?)
    }
}

fn show(output: Output, home: &Home, prepared: &Prepared, temporary: bool) -> anyhow::Result<()> {
    #[derive(Serialize)]
    struct Ready<'a> {
        address: &'a str,
        monitor: &'a str,
        ca: PathBuf,
        user_token_file: PathBuf,
        administrator_token_file: PathBuf,
        client_config: PathBuf,
        key_id: &'a str,
    }
    let Prepared { address, monitor, key_id } = prepared;
    if output.is_json() {
        return output.json(&Ready {
            address,
            monitor,
            ca: home.ca(),
            user_token_file: home.user_token(),
            administrator_token_file: home.administrator_token(),
            client_config: home.profiles(),
            key_id,
        });
    }
    let (red, plain) = (anstyle::AnsiColor::Red.on_default().bold(), anstyle::Reset);
    anstream::eprintln!(
        "{red}\n\
         *** Development server: one node, unsealed by itself. Never for production. ***{plain}\n\
         The key share lies in {}, beside the data:\n\
         whoever reads that directory reads every key.{}\n",
        home.folder().display(),
        if temporary { " It is removed at the end, with all keys." } else { "" }
    );
    output.say(format!("# callers: {address}    monitoring: http://{monitor}/status"))?;
    output.say(format!("export STRONGROOM_CLIENT_CONFIG={}", home.profiles().display()))?;
    output.say(format!("export KEY={key_id}"))?;
    output.say("# or, without a profile:")?;
    output.say(format!("#   export STRONGROOM_ADDRESS={address}"))?;
    output.say(format!("#   export STRONGROOM_CA={}", home.ca().display()))?;
    output.say(format!("#   export STRONGROOM_TOKEN_FILE={}", home.user_token().display()))?;
    output.say(
        "\n# try, in another terminal:\n\
         #   echo hello | strongroom encrypt --key-id $KEY > hello.blob\n\
         #   strongroom decrypt --in hello.blob\n\
         #   strongroom --profile administrator key list --long\n\
         #   strongroom --profile administrator audit tail --follow\n\
         # Ctrl-C ends the server.",
    )
}
