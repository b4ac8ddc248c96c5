//! What this machine is: CPU features, topology, CPU budget, memory.
#![forbid(unsafe_code)]
