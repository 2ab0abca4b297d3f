//! One file for each topic of the API.

#![expect(clippy::unnecessary_wraps, reason = "all writing functions stand in one table and have one shape")]

pub(crate) mod acl;
pub(crate) mod alias;
pub(crate) mod alias_domain;
pub(crate) mod alias_edit;
pub(crate) mod app_password;
pub(crate) mod auth;
pub(crate) mod bcc;
pub(crate) mod dkim;
pub(crate) mod dkim_keys;
pub(crate) mod domain;
pub(crate) mod domain_edit;
pub(crate) mod domain_view;
pub(crate) mod filter;
pub(crate) mod mailbox;
pub(crate) mod mailbox_edit;
pub(crate) mod mailbox_settings;
pub(crate) mod mailbox_view;
pub(crate) mod maps;
pub(crate) mod others;
pub(crate) mod password_check;
pub(crate) mod policy;
pub(crate) mod quarantine;
pub(crate) mod rate_limit;
pub(crate) mod relay;
pub(crate) mod rename;
pub(crate) mod resource;
pub(crate) mod search;
pub(crate) mod sender_acl;
pub(crate) mod status;
pub(crate) mod sync_job;
pub(crate) mod tables;
pub(crate) mod tags;
pub(crate) mod templates;
pub(crate) mod timed_alias;
