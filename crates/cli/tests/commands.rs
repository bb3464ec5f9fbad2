//! The command line as it looks from outside, where no server is needed.

/// Each file is a command with its output and exit code. To accept a change:
/// `TRYCMD=overwrite cargo test --workspace --test commands`.
#[test]
fn help_and_refusals_are_as_recorded() {
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_strongroom"));
    trycmd::TestCases::new()
        .register_bin("strongroom", binary)
        .env("STRONGROOM_ADDRESS", "")
        .env("STRONGROOM_CA", "")
        .env("STRONGROOM_CLIENT_CONFIG", "")
        .env("STRONGROOM_OUTPUT", "")
        .env("STRONGROOM_PROFILE", "")
        .env("STRONGROOM_TOKEN", "")
        .env("STRONGROOM_TOKEN_FILE", "")
        .env("XDG_CONFIG_HOME", "/nonexistent")
        .env("COLUMNS", "100")
        .case("tests/cmd/*.toml");
}
