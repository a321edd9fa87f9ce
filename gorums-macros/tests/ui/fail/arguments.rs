#[gorums_macros::service(package = "a", package = "b", colour = "red", crate = "a b")]
trait Storage {}

#[gorums_macros::service(package = "a..b")]
trait Dots {}

#[gorums_macros::service(package)]
trait Value {}

fn main() {}
