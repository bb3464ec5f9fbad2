//! A bare gRPC server with the messages of `GenerateDataKey`, as the limit that
//! a cluster is held against.
//!
//! Two workers, mutual TLS. Writes one line, `listening <address>`, and ends
//! when its standard input does.

#![allow(clippy::print_stdout, reason = "says where it listens")]

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;
use strongroom_benches::{echo, lanes::load_store};
use tokio::{io::AsyncReadExt as _, net::TcpListener};

/// Answers GenerateDataKey with constant bytes.
#[derive(Parser)]
#[command(name = "strongroom-echo")]
struct Arguments {
    /// Certificate of a node, PEM
    #[arg(long)]
    cert: PathBuf,
    /// Its private key, PEM
    #[arg(long)]
    key: PathBuf,
    /// Certificate of the CA, PEM
    #[arg(long)]
    ca: PathBuf,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let Arguments { cert, key, ca } = Arguments::parse();
    let certificates = load_store(&cert, &key, &ca).context("the certificates")?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening {}", listener.local_addr()?);
    let ended = async {
        // Whoever started this is gone, by an error of the pipe too.
        let _end = tokio::io::stdin().read_to_end(&mut Vec::new()).await;
    };
    // Connections that are left open don't keep it.
    tokio::select! {
        served = echo::serve(listener, certificates, std::future::pending()) => served?,
        () = ended => {}
    }
    Ok(())
}
