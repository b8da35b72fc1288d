//! What sessions read from and write to: sockets; in tests and fuzzing, memory.

use bytes::BytesMut;
use socket2::SockRef;
use std::future::Future;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::time::Duration;
use tokio::net::TcpStream;

/// One connection. Whoever waits for it to be readable does not keep whoever waits for it to be writable.
pub trait Wire: Send + Sync {
    /// Waits until something has arrived, or the peer has ended its side.
    fn readable(&self) -> impl Future<Output = io::Result<()>> + Send;

    /// Reads what is there into a buffer's spare room; 0 is the end.
    fn try_read(&self, buffer: &mut BytesMut) -> io::Result<usize>;

    /// Waits until something can be written.
    fn writable(&self) -> impl Future<Output = io::Result<()>> + Send;

    /// Writes as much as fits.
    fn try_write(&self, parts: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Says that nothing more will be written.
    fn end(&self) -> io::Result<()>;

    /// Makes the connection end as one of a dead process when it is dropped.
    fn will_reset(&self);

    /// The socket, where there is one: its bytes need not come into the process.
    fn socket(&self) -> Option<&TcpStream>;
}

impl Wire for TcpStream {
    async fn readable(&self) -> io::Result<()> {
        Self::readable(self).await
    }

    fn try_read(&self, buffer: &mut BytesMut) -> io::Result<usize> {
        self.try_read_buf(buffer)
    }

    async fn writable(&self) -> io::Result<()> {
        Self::writable(self).await
    }

    fn try_write(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.try_write_vectored(parts)
    }

    fn end(&self) -> io::Result<()> {
        SockRef::from(self).shutdown(Shutdown::Write)
    }

    fn will_reset(&self) {
        // Without it the peer sees an orderly end instead; it is gone either way.
        let _ = SockRef::from(self).set_linger(Some(Duration::ZERO));
    }

    fn socket(&self) -> Option<&TcpStream> {
        Some(self)
    }
}
