//! A TCP link that can be cut and stalled.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
};

/// State of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Bytes pass.
    Open,
    /// Connections are dropped, new ones refused: a reset.
    Cut,
    /// Connections stay, and nothing passes: a black hole. What was sent before
    /// arrives once the link opens again.
    Stalled,
}

/// One directed link: listens on a port of its own and forwards to a target
/// that may change.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    target: Mutex<Option<SocketAddr>>,
    link: watch::Sender<Link>,
}

impl Proxy {
    /// Listens on a port by the system. Forwards nowhere yet: connections are
    /// dropped until [`Proxy::set_target`].
    ///
    /// # Errors
    ///
    /// When the system has no port.
    pub async fn listen() -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let shared =
            Arc::new(Shared { target: Mutex::new(None), link: watch::Sender::new(Link::Open) });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { address, shared, accepting })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sets where new connections go.
    pub fn set_target(&self, target: SocketAddr) {
        *self.shared.target.lock() = Some(target);
    }

    /// Changes the link; effective on open connections too.
    pub fn set(&self, link: Link) {
        self.shared.link.send_replace(link);
    }

    /// State of the link.
    #[must_use]
    pub fn link(&self) -> Link {
        *self.shared.link.borrow()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.shared.link.send_replace(Link::Cut);
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((from, _)) = listener.accept().await else {
            // Out of descriptors, say: they come back as connections end.
            tokio::task::yield_now().await;
            continue;
        };
        let target = *shared.target.lock();
        let Some(target) = target else { continue };
        if *shared.link.borrow() == Link::Cut {
            continue;
        }
        tokio::spawn(forward(from, target, shared.link.subscribe()));
    }
}

/// Ends when either side does, or with a cut.
async fn forward(from: TcpStream, target: SocketAddr, link: watch::Receiver<Link>) {
    let mut gate = link.clone();
    if !pass(&mut gate).await {
        return;
    }
    let Ok(to) = TcpStream::connect(target).await else { return };
    // Latency would otherwise be Nagle's, not the product's.
    if from.set_nodelay(true).is_err() || to.set_nodelay(true).is_err() {
        return;
    }
    let (from_read, from_write) = from.into_split();
    let (to_read, to_write) = to.into_split();
    // Half-closed connections don't occur in HTTP/2: the first end ends both.
    tokio::select! {
        () = pump(from_read, to_write, link.clone()) => {}
        () = pump(to_read, from_write, link) => {}
    }
}

async fn pump(mut read: OwnedReadHalf, mut write: OwnedWriteHalf, mut link: watch::Receiver<Link>) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        if !pass(&mut link).await {
            return;
        }
        let count = tokio::select! {
            biased;
            changed = link.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
            read = read.read(&mut buffer) => match read {
                Ok(0) | Err(_) => return,
                Ok(count) => count,
            },
        };
        if !pass(&mut link).await || write.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

/// Waits while the link is stalled; false once it is cut.
async fn pass(link: &mut watch::Receiver<Link>) -> bool {
    matches!(link.wait_for(|link| *link != Link::Stalled).await.map(|link| *link), Ok(Link::Open))
}

/// Proxies of all directed links between members, by (from, to).
pub(crate) struct Mesh(BTreeMap<(u64, u64), Proxy>);

impl Mesh {
    /// One proxy for each ordered pair, each member and itself included: its own
    /// address must name a port too.
    pub(crate) async fn between(members: &[u64]) -> std::io::Result<Self> {
        let mut links = BTreeMap::new();
        for from in members {
            for to in members {
                links.insert((*from, *to), Proxy::listen().await?);
            }
        }
        Ok(Self(links))
    }

    pub(crate) fn link(&self, from: u64, to: u64) -> &Proxy {
        self.0.get(&(from, to)).expect("a link between each pair of members")
    }

    /// Every link to `member` leads to `target`.
    pub(crate) fn set_target(&self, member: u64, target: SocketAddr) {
        for ((_, to), proxy) in &self.0 {
            if *to == member {
                proxy.set_target(target);
            }
        }
    }

    /// Sets the links from and to `member`, but not its link to itself.
    pub(crate) fn set_around(&self, member: u64, link: Link) {
        for ((from, to), proxy) in &self.0 {
            if from != to && (*from == member || *to == member) {
                proxy.set(link);
            }
        }
    }

    /// Sets every link.
    pub(crate) fn set_all(&self, link: Link) {
        self.0.values().for_each(|proxy| proxy.set(link));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A server that sends back what it gets.
    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (mut read, mut write) = stream.into_split();
                tokio::spawn(async move { tokio::io::copy(&mut read, &mut write).await });
            }
        });
        address
    }

    async fn round_trip(stream: &mut TcpStream) -> std::io::Result<u8> {
        stream.write_all(&[7]).await?;
        stream.read_u8().await
    }

    #[tokio::test]
    async fn a_cut_link_drops_what_is_open_and_refuses_what_is_new() {
        let proxy = Proxy::listen().await.unwrap();
        proxy.set_target(echo().await);
        let mut open = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(round_trip(&mut open).await.unwrap(), 7);
        proxy.set(Link::Cut);
        assert!(open.read_u8().await.is_err(), "an open connection ends");
        let mut new = TcpStream::connect(proxy.address()).await.unwrap();
        assert!(round_trip(&mut new).await.is_err());
        proxy.set(Link::Open);
        let mut healed = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(round_trip(&mut healed).await.unwrap(), 7);
    }

    #[tokio::test]
    async fn a_stalled_link_holds_bytes_until_it_opens() {
        let proxy = Proxy::listen().await.unwrap();
        proxy.set_target(echo().await);
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(round_trip(&mut stream).await.unwrap(), 7);
        proxy.set(Link::Stalled);
        stream.write_all(&[8]).await.unwrap();
        let waited = tokio::time::timeout(Duration::from_millis(100), stream.read_u8()).await;
        assert!(waited.is_err(), "nothing passes");
        proxy.set(Link::Open);
        assert_eq!(stream.read_u8().await.unwrap(), 8);
    }
}
