//! A new build of the interface has new file names, which no compiled file mentions yet.

fn main() {
    println!("cargo:rerun-if-changed=../../../ui/dist");
}
