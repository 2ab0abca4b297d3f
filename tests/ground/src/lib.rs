//! The test ground: a real control plane, the simulator, a DNS server and the operator, started together.
