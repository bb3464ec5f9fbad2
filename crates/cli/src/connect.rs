//! From settings to a client.

use std::{fs, future::Future, path::Path};

use anyhow::{Context as _, bail};
use strongroom_client::{Client, ClientIdentity, Config};

use crate::{
    args::GlobalArgs,
    files,
    output::Output,
    settings::{Environment, Settings},
};

/// Largest certificate file that is read: hundreds of CA certificates fit.
const PEM_BYTES_MAX: usize = 1024 * 1024;

/// What a command that talks to a cluster works with.
pub(crate) struct Session {
    pub(crate) settings: Settings,
    pub(crate) client: Client,
    pub(crate) output: Output,
}

impl Session {
    /// Reads settings, certificates and token; dials nothing yet.
    fn open(global: &GlobalArgs, environment: &Environment) -> anyhow::Result<Self> {
        let settings = Settings::load(global, environment)?;
        let client = Client::new(&config(&settings, environment)?)?;
        let output = Output::new(settings.format);
        Ok(Self { settings, client, output })
    }
}

/// Runs a command against the cluster that the settings name.
pub(crate) fn with_session<F>(
    global: &GlobalArgs,
    environment: &Environment,
    command: impl FnOnce(Session) -> F,
) -> anyhow::Result<u8>
where
    F: Future<Output = anyhow::Result<u8>>,
{
    let runtime = runtime()?;
    let done = runtime.block_on(async { command(Session::open(global, environment)?).await });
    // A read of standard input that is still waiting must not keep the process.
    runtime.shutdown_background();
    done
}

/// A runtime for one command.
pub(crate) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("can't start the runtime")
}

fn config(settings: &Settings, environment: &Environment) -> anyhow::Result<Config> {
    let Some(ca) = &settings.ca else {
        bail!(
            "no CA certificate is given: a node can't be told from an impostor. Give the \
             cluster's CA with --ca, STRONGROOM_CA, or `ca` in a profile"
        );
    };
    // Somebody waits, who would rather know at once that nobody is there.
    let mut config = Config::new(&settings.addresses, read_pem(ca)?)?
        .with_timeout(settings.timeout)
        .with_fail_fast(true);
    if let Some((cert, key)) = &settings.identity {
        config = config.with_identity(identity(cert, key)?);
    }
    if let Some(token) = settings.token(environment)? {
        config = config.with_token(token);
    }
    Ok(config)
}

/// Reads certificate and key.
pub(crate) fn identity(cert: &Path, key: &Path) -> anyhow::Result<ClientIdentity> {
    let key_text = files::read_secret_text(key)?;
    Ok(ClientIdentity {
        certificate_pem: read_pem(cert)?,
        key_pem: zeroize::Zeroizing::new(key_text.as_bytes().to_vec()),
    })
}

pub(crate) fn read_pem(path: &Path) -> anyhow::Result<Vec<u8>> {
    let file = fs::File::open(path).with_context(|| format!("can't read {}", path.display()))?;
    let bytes = files::read_bounded(file, PEM_BYTES_MAX)
        .with_context(|| format!("can't read {}", path.display()))?;
    Ok(bytes.to_vec())
}
