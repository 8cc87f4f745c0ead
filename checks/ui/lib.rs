//! Empty: Cargo wants a target beside the test.
