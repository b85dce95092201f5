//! What the client surface reads and writes, case by case.
