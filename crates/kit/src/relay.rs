//! A way to a server on which what comes from it is counted.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How much is passed on at once.
const BLOCK_BYTES: usize = 64 << 10;

/// Passes connections on to a server on this host, until the process ends.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    came: Arc<AtomicU64>,
}

impl Relay {
    /// Begins to pass on what comes to a free port.
    ///
    /// # Errors
    /// There is no port.
    pub fn start(server: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let came = Arc::new(AtomicU64::new(0));
        let counted = came.clone();
        std::thread::spawn(move || {
            for caller in listener.incoming().flatten() {
                let counted = counted.clone();
                std::thread::spawn(move || {
                    // Either end sees the other's end; nobody else needs to know why.
                    let _ = pass_both_ways(caller, server, &counted);
                });
            }
        });
        Ok(Self { address, came })
    }

    /// Where it is called, as the server behind it is.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// How many bytes have come from the server.
    pub fn came(&self) -> u64 {
        self.came.load(Ordering::Relaxed)
    }
}

fn pass_both_ways(caller: TcpStream, server: u16, came: &AtomicU64) -> io::Result<()> {
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, server))?;
    let (from, to) = (caller.try_clone()?, server.try_clone()?);
    std::thread::spawn(move || pass(from, to, &AtomicU64::new(0)));
    pass(server, caller, came)
}

fn pass(mut from: TcpStream, mut to: TcpStream, count: &AtomicU64) -> io::Result<()> {
    let mut block = vec![0; BLOCK_BYTES];
    let result = loop {
        match from.read(&mut block) {
            Ok(0) => break Ok(()),
            Ok(length) => {
                count.fetch_add(length as u64, Ordering::Relaxed);
                if let Err(error) = to.write_all(&block[..length]) {
                    break Err(error);
                }
            }
            Err(error) => break Err(error),
        }
    };
    // Whoever has ended already is not told again.
    let _ = to.shutdown(Shutdown::Write);
    let _ = from.shutdown(Shutdown::Read);
    result
}
