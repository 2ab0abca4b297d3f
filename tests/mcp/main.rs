//! The MCP server with a real API server, its RBAC, and clients that nobody here wrote.

#![expect(clippy::unwrap_used, clippy::panic, clippy::expect_used, reason = "a test that can't be set up has failed")]

mod attacks;
mod bench;
mod client;
mod forged;
mod judges;
mod rights;
mod secrets;
mod server;
mod story;
mod tasks;
mod world;
