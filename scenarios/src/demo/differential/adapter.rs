//! The real connection handler with the example's lens, in this process.

use ::lens::Lens;
use anyhow::Context;
use call::{
    Chain, Closed, Dial, Direction, Failure, Gate, Lease, Limits, Observer, Pending, Refusal,
    RefusalKind, Upstream,
};
use parking_lot::Mutex;
use serve::serve_http;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

/// An adapter that listens; ends with its runtime.
pub(super) struct Adapter {
    pub port: u16,
    watch: Arc<Watch>,
    // Kept for what runs in it.
    runtime: Option<Runtime>,
}

/// Must not be dropped where a runtime runs: its end would block.
impl Drop for Adapter {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

struct Way {
    chain: Arc<Chain>,
    upstream: Upstream,
}

impl Gate for Way {
    fn enter(&self) -> Pending<'_, Result<Lease, Closed>> {
        let lease = Lease {
            chain: self.chain.clone(),
            upstream: self.upstream,
            give_back: false,
            guard: None,
        };
        Box::pin(std::future::ready(Ok(lease)))
    }
}

impl Dial for Way {
    fn dial(&self, upstream: Upstream, _: SocketAddr) -> Pending<'_, io::Result<TcpStream>> {
        Box::pin(TcpStream::connect(upstream.address))
    }
}

/// Remembers why calls were refused.
#[derive(Default)]
struct Watch {
    reasons: Mutex<Vec<String>>,
}

impl Observer for Watch {
    fn call(&self, _: Option<Direction>, _: usize) {}

    fn refused(&self, refusal: &Refusal) {
        let mut reasons = self.reasons.lock();
        // What a lens says in so many words stands alone; else operation and rule stand before it.
        let reason = match refusal.kind {
            RefusalKind::Declared => &refusal.reason,
            _ => refusal.reason.rsplit(": ").next().unwrap_or_default(),
        };
        reasons.push(reason.to_owned());
    }

    fn failed(&self, failure: &Failure) {
        eprintln!("a call through the adapter failed: {failure}");
    }
}

impl Adapter {
    /// Listens for callers of one version in front of the software of the other.
    pub(super) fn start(lens: &Path, direction: Direction, software: u16) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(lens)
            .with_context(|| format!("cannot read {}", lens.display()))?;
        let lens = Arc::new(Lens::parse(&lens.display().to_string(), &text)?);
        let way = Arc::new(Way {
            chain: Arc::new(::lens::chain(vec![(lens, direction)])),
            upstream: Upstream {
                address: SocketAddr::from((Ipv4Addr::LOCALHOST, software)),
                generation: 1,
            },
        });
        let watch = Arc::new(Watch::default());
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        runtime.spawn(serve(listener, way, watch.clone()));
        Ok(Self {
            port,
            watch,
            runtime: Some(runtime),
        })
    }

    /// How many calls were refused so far.
    pub(super) fn refused(&self) -> usize {
        self.watch.reasons.lock().len()
    }

    /// Why the last one was.
    pub(super) fn reason(&self) -> String {
        let reasons = self.watch.reasons.lock();
        reasons.last().cloned().unwrap_or_default()
    }
}

async fn serve(
    listener: std::net::TcpListener,
    way: Arc<Way>,
    watch: Arc<Watch>,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, peer) = listener.accept().await?;
        let (way, watch) = (way.clone(), watch.clone());
        let limits = Arc::new(Limits::default());
        tokio::spawn(
            async move { serve_http(stream, peer, way.clone(), way, limits, watch).await },
        );
    }
}
