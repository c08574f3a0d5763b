//! The program: see `tributary --help`.

/// Messages are made on one thread and freed on another, and so are the index's pages: with the C
/// library's allocator that takes about half as much CPU time again (`docs/performance.md`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    tributary::cli::main()
}
