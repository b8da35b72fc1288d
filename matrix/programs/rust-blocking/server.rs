//! The plainest server in Rust, which stops at the first accept that fails. Its version, and who asks.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

fn serve(mut connection: TcpStream) -> std::io::Result<()> {
    let peer = connection.peer_addr()?;
    let mut lines = BufReader::new(connection.try_clone()?).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let said = if request.contains("/peer") {
        format!("{} {}", peer.ip(), peer.port())
    } else {
        format!("version {}", std::env::var("VERSION").unwrap_or_default())
    };
    // In one write: whoever ends the program between two of them cuts the answer where its caller cannot see that.
    let answer = format!("HTTP/1.0 200 OK\r\n\r\n{said}\n");
    connection.write_all(answer.as_bytes())
}

fn main() -> std::io::Result<()> {
    let at = |name| std::env::var(name).unwrap_or_default();
    let listener = TcpListener::bind(format!("{}:{}", at("HOST"), at("PORT")))?;
    for connection in listener.incoming() {
        // A caller that goes away is no reason to end; an accept that fails is.
        let connection = connection?;
        let _ = serve(connection);
    }
    Ok(())
}
