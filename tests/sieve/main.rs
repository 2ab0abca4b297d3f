//! Scripts before their judges: Dovecot's own compiler and delivery, and Mailcow's check.
//!
//! Without Debian's dovecot-core, dovecot-sieve, dovecot-lmtpd and musl-tools the tests say `skipped`; where `CI` is set they fail.

#[cfg(test)]
mod dovecot;
#[cfg(test)]
mod mails;
#[cfg(test)]
mod pigeonhole;
#[cfg(test)]
mod world;

#[cfg(test)]
mod lmtp;

#[cfg(test)]
mod cases;
#[cfg(test)]
mod chain;
#[cfg(test)]
mod delivery;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod judged;
#[cfg(test)]
mod musl;
#[cfg(test)]
mod random;
#[cfg(test)]
mod speed;
