//! A Mailcow server that answers as the recordings of the real one do.
