//! Task delivery on Kubernetes' side: app passwords, the rights of both processes, and the way from a mail to a task.

#[cfg(test)]
mod app_passwords;
#[cfg(test)]
mod dovecot;
#[cfg(test)]
#[cfg(test)]
mod rights;
#[cfg(test)]
mod signatures;
#[cfg(test)]
mod site;
#[cfg(test)]
mod way;
