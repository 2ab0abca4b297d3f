//! Which passwords Mailcow has, while this process runs: a changed label of a Secret is no new password.
//!
//! The status names the version of the Secret whose password was set, and nothing that was made from the password. What is
//! compared here is a hash under a key that this process draws at its start, and it never leaves its memory. After a
//! restart the version decides: what Kubernetes says of who wrote the Secret's data, and when.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use kube::Resource;
use secrecy::{ExposeSecret, SecretString};

use crate::shrink::shrink;

/// Hashes of the passwords that Mailcow has, by mailbox.
#[derive(Debug, Default)]
pub(crate) struct Passwords {
    key: RandomState,
    set: Mutex<HashMap<u64, u64>>,
}

impl Passwords {
    /// Whether this is the password that Mailcow has for the mailbox; `None` where this process does not know.
    pub(crate) fn is_set(&self, mailbox: &impl Resource, password: &SecretString) -> Option<bool> {
        self.set().get(&self.of(mailbox)).map(|set| *set == self.hash(password))
    }

    /// Remembers that Mailcow has it.
    pub(crate) fn remember(&self, mailbox: &impl Resource, password: &SecretString) {
        self.set().insert(self.of(mailbox), self.hash(password));
    }

    /// Forgets a deleted mailbox.
    pub(crate) fn forget(&self, mailbox: &impl Resource) {
        let mut set = self.set();
        set.remove(&self.of(mailbox));
        shrink(&mut *set);
    }

    fn of(&self, mailbox: &impl Resource) -> u64 {
        self.key.hash_one(&mailbox.meta().uid)
    }

    fn hash(&self, password: &SecretString) -> u64 {
        self.key.hash_one(password.expose_secret())
    }

    fn set(&self) -> MutexGuard<'_, HashMap<u64, u64>> {
        self.set.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crd::EmailMailbox;

    #[test]
    fn the_same_password_of_the_same_mailbox_is_known() {
        let mut ada = EmailMailbox::new("ada", serde_yaml::from_str("{localPart: a, domainRef: {name: d}}").unwrap());
        ada.metadata.uid = Some("u1".into());
        let (one, other) = (SecretString::from("one-Pass-1"), SecretString::from("other-Pass-2"));
        let passwords = Passwords::default();
        assert_eq!(passwords.is_set(&ada, &one), None);
        passwords.remember(&ada, &one);
        assert_eq!((passwords.is_set(&ada, &one), passwords.is_set(&ada, &other)), (Some(true), Some(false)));
        let mut again = ada.clone();
        again.metadata.uid = Some("u2".into());
        assert_eq!(passwords.is_set(&again, &one), None, "one that was deleted and made again is another");
        passwords.forget(&ada);
        assert_eq!(passwords.is_set(&ada, &one), None);
        assert_ne!(Passwords::default().hash(&one), passwords.hash(&one), "each process has a key of its own");
    }
}
