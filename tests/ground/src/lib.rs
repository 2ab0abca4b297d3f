//! The test ground: a real Kubernetes control plane without containers, and the operator as a process on it.
//!
//! ```text
//! binaries ─▶ ControlPlane = folder + [Component: etcd, kube-apiserver, kube-controller-manager]
//!                │ admin(), kubectl(), namespace()                    for the test, as cluster admin
//!                │ helm(), workload()                                 for tests of the chart itself
//!                │ install_operator(), operator_namespace(), service_account_kubeconfig()
//!                │                                                    for the operator, under the chart's own RBAC
//!                ▼
//!             Operator = a process, its log lines, its end
//! Dovecot = a mail server with LMTP, for tests of scripts and of task delivery
//! HttpSink = where tasks go, with faults on demand
//! ```
//!
//! Everything started here ends with the process that started it, even when that one is killed: see [`last_will`].

mod api;
mod apply;
mod binaries;
mod chart;
mod component;
mod control_plane;
mod dns;
mod dovecot;
mod error;
mod flags;
mod folder;
mod http_sink;
mod installation;
mod keys;
mod kubeconfig;
pub mod last_will;
mod operator;
mod ports;
mod release;
mod wait;

pub use binaries::{helm, judges, kubernetes};
pub use chart::InstalledChart;
pub use control_plane::{ControlPlane, Options, Pids};
pub use dns::{Dns, MAIL_HOST};
pub use dovecot::{Dovecot, DovecotConfig, Lmtp};
pub use error::{Error, Result};
pub use folder::Folder;
pub use http_sink::{Deed, HttpSink, Received};
pub use installation::Installation;
pub use kubeconfig::client;
pub use operator::{Operator, private_kib, rss_kib};
pub use ports::free_port;
pub use release::Workload;
pub use wait::wait_until;
