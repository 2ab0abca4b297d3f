//! The server as a program: `nameserver [--recursive] --listen 127.0.0.1:5353 --zone-file example.test=zone.db …`.

use std::net::SocketAddr;
use std::process::ExitCode;

use nameserver::Server;

struct Options {
    listen: SocketAddr,
    recursive: bool,
    zones: Vec<(String, String)>,
}

fn options(mut args: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options { listen: SocketAddr::from(([127, 0, 0, 1], 5353)), recursive: false, zones: Vec::new() };
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--recursive" => options.recursive = true,
            "--listen" => {
                let text = value()?;
                options.listen = text.parse().map_err(|_| format!("{text:?} is not address:port"))?;
            }
            "--zone-file" => {
                let text = value()?;
                let (origin, path) = text.split_once('=').ok_or_else(|| format!("{text:?} is not origin=path"))?;
                options.zones.push((origin.to_owned(), path.to_owned()));
            }
            _ => return Err(format!("{arg:?} is unknown; say --listen, --zone-file or --recursive")),
        }
    }
    Ok(options)
}

async fn serve(options: Options) -> Result<(), String> {
    let starting = if options.recursive {
        Server::start_recursive(options.listen).await
    } else {
        Server::start(options.listen).await
    };
    let server = starting.map_err(|e| format!("can't listen on {}: {e}", options.listen))?;
    for (origin, path) in &options.zones {
        let text = std::fs::read_to_string(path).map_err(|e| format!("can't read {path}: {e}"))?;
        server.set_zone(origin, &text).map_err(|e| e.to_string())?;
    }
    eprintln!("listening on {} (UDP and TCP)", server.address());
    tokio::signal::ctrl_c().await.map_err(|e| e.to_string())
}

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match options(std::env::args().skip(1)) {
        Ok(options) => serve(options).await,
        Err(message) => Err(message),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}
