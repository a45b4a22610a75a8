//! On a terminal colours set things off, unless `NO_COLOR` says no; everywhere else there are none.

use super::{alone, parity};

/// What a command writes on a terminal, which util-linux' `script` plays.
fn on_a_terminal(words: &str, variables: &[(&str, &str)]) -> String {
    let mut script = alone("script");
    let line = format!("{} {words}", env!("CARGO_BIN_EXE_ptm"));
    script.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    script.env_remove("NO_COLOR").envs(variables.iter().copied()).stdin(std::process::Stdio::null());
    let output = script.output().expect("script, of util-linux");
    String::from_utf8(output.stdout).expect("UTF-8").replace('\r', "")
}

#[test]
fn colours_are_for_terminals() {
    let model = parity("pipelines/heads/bert-token").display().to_string();
    for words in
        ["similarity 'a cat' 'a kitten' 'the sea'".to_owned(), format!("ner -m {model} 'Clara lives in Paris.'")]
    {
        let coloured = on_a_terminal(&words, &[]);
        assert!(coloured.contains("\x1b[2m") && coloured.contains("\x1b[0m"), "{coloured:?}");
        let plain = on_a_terminal(&words, &[("NO_COLOR", "1")]);
        assert!(!plain.contains('\x1b') && plain.contains('█'), "{plain:?}");
        // an empty variable says nothing
        assert_eq!(on_a_terminal(&words, &[("NO_COLOR", "")]), coloured);
        let mut shell = alone("sh");
        let output = shell.args(["-c", &format!("{} {words}", env!("CARGO_BIN_EXE_ptm"))]).output().unwrap();
        let piped = String::from_utf8(output.stdout).unwrap();
        assert_eq!(piped, plain, "what is read by a program has no colours");
        let json = on_a_terminal(&format!("{words} --json"), &[]);
        assert!(!json.contains('\x1b'), "{json:?}");
    }
}

#[test]
fn errors_are_set_off() {
    let coloured = on_a_terminal("embed ''", &[]);
    assert!(coloured.contains("\x1b[1;31merror:\x1b[0m text 1 of 1 is empty"), "{coloured:?}");
    assert!(on_a_terminal("embed ''", &[("NO_COLOR", "1")]).starts_with("error: text 1 of 1 is empty"));
}

/// Nobody waits for input that a terminal would have to give.
#[test]
fn a_terminal_is_not_read() {
    let mut script = alone("script");
    let line = format!("{} embed", env!("CARGO_BIN_EXE_ptm"));
    let output = script.args(["--quiet", "--return", "--command", &line, "/dev/null"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stdout).contains("no text given"));
}

/// What a model says can't steer the terminal, streamed or not.
#[test]
fn a_text_cannot_steer_the_terminal() {
    let model = parity("pipelines/generation/gpt2").display().to_string();
    for more in ["", " --stream"] {
        let words =
            format!("generate -m {model} --max-new-tokens 2 --do-sample false \"$(printf 'a\\033[31mb')\"{more}");
        let shown = on_a_terminal(&words, &[("NO_COLOR", "1")]);
        assert!(shown.starts_with("a·[31mb") && !shown.contains('\x1b'), "{shown:?}");
    }
}
