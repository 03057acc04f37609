//! `cvctl`: the command line of libcv.
fn main() -> std::process::ExitCode {
    libcv::cli::main(std::env::args_os())
}
