//! A DNS server for tests and the demo: zones come from the test.
