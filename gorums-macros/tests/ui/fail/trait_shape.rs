#[gorums_macros::service]
unsafe trait Storage<'b, A>: Clone
where
    A: Clone,
{
    type Reply;
    const LIMIT: usize;
    something!();
}

fn main() {}
