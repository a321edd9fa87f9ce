#[gorums_macros::service]
struct Storage;

fn main() {}
