//! Asks a simulated server as any client could.

use mailcow_simulator::Simulator;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Sends one request and gives the whole answer, head and body.
pub(crate) async fn ask(simulator: &Simulator, method: &str, path: &str, body: &str) -> std::io::Result<String> {
    ask_with_key(simulator, simulator.api_key(), method, path, body).await
}

/// The same with another key.
pub(crate) async fn ask_with_key(
    simulator: &Simulator,
    key: &str,
    method: &str,
    path: &str,
    body: &str,
) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(simulator.address()).await?;
    let request = format!(
        "{method} /api/v1/{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-API-Key: {key}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}
