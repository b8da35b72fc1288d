//! How much passes: a sender and a receiver, with one of the relays between them.

use super::relays::{Relay, session, splice_relay};
use crate::bench::figures::median;
use anyhow::Context;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// How much the receiver reads at once, in bytes.
const READ_BYTES: usize = 256 * 1024;

/// Medians, in 10^9 bytes per second.
pub(super) struct Passed {
    pub(super) session: f64,
    pub(super) splice: f64,
}

/// Measures both in turn, so many rounds.
pub(super) fn measure(
    rounds: usize,
    duration: Duration,
    message_bytes: usize,
) -> anyhow::Result<Passed> {
    let (mut sessions, mut splices) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let (session, splice) = if round % 2 == 0 {
            let session = one(session, duration, message_bytes)?;
            (session, one(splice_relay, duration, message_bytes)?)
        } else {
            let splice = one(splice_relay, duration, message_bytes)?;
            (one(session, duration, message_bytes)?, splice)
        };
        eprintln!(
            "  round {} of {rounds}: session {session:.2} GB/s, splice {splice:.2} GB/s",
            round + 1
        );
        sessions.push(session);
        splices.push(splice);
    }
    Ok(Passed {
        session: median(&sessions),
        splice: median(&splices),
    })
}

fn pair() -> anyhow::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let one = TcpStream::connect(listener.local_addr()?)?;
    Ok((one, listener.accept()?.0))
}

/// Sends messages through a relay for a while; says how much arrived, in 10^9 bytes per second.
fn one(relay: Relay, duration: Duration, message_bytes: usize) -> anyhow::Result<f64> {
    let (mut sender, caller) = pair()?;
    let (mut receiver, software) = pair()?;
    let relaying = std::thread::spawn(move || relay(caller, software));
    let begun = Instant::now();
    let sending = std::thread::spawn(move || -> std::io::Result<u64> {
        let length = u32::try_from(message_bytes).unwrap_or(u32::MAX);
        let mut frame = vec![0; 4 + length as usize];
        frame[..4].copy_from_slice(&length.to_be_bytes());
        let mut sent = 0;
        while begun.elapsed() < duration {
            sender.write_all(&frame)?;
            sent += frame.len() as u64;
        }
        Ok(sent)
    });
    let mut received = 0;
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match receiver.read(&mut buffer)? {
            0 => break,
            bytes => received += bytes as u64,
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    drop(receiver);
    let sent = sending.join().ok().context("the sender panicked")??;
    relaying.join().ok().context("the relay panicked")??;
    anyhow::ensure!(
        sent == received,
        "{sent} bytes were sent, {received} arrived"
    );
    Ok(received as f64 / seconds / 1e9)
}
