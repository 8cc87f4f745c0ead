//! Says to src/drive/sync.rs, and to nothing else, that this is the build for the model checker.
fn main() {
    println!("cargo::rustc-check-cfg=cfg(tickwire_model, tickwire_tape, fuzzing)");
    println!("cargo::rustc-cfg=tickwire_model");
    println!("cargo::rerun-if-changed=build.rs");
}
