//! What is said of a command line that cannot be read, beside what is wrong with it: the command that was likely meant, and how
//! it is typed.

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, Error};

/// Of more commands none is likelier than the help of all.
const MOST_PLACES: usize = 3;

/// The error, with advice. `words` is the whole command line, the program's name first.
pub fn advise(mut error: Error, whole: &Command, words: &[String]) -> Error {
    likeliest(&mut error);
    let tips = match error.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
        | ErrorKind::MissingSubcommand => Vec::new(),
        ErrorKind::InvalidSubcommand => match error.get(ContextKind::InvalidSubcommand) {
            Some(ContextValue::String(typed)) if error.get(ContextKind::SuggestedSubcommand).is_none() => {
                elsewhere(whole, typed, words)
            }
            _ => Vec::new(),
        },
        _ => example(reached(whole, words))
            .map(|example| format!("for example: {example}"))
            .into_iter()
            .collect(),
    };
    if !tips.is_empty() {
        let told = match error.remove(ContextKind::Suggested) {
            Some(ContextValue::StyledStrs(told)) => told,
            _ => Vec::new(),
        };
        let all = told.into_iter().chain(tips.into_iter().map(StyledStr::from));
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(all.collect()));
    }
    error
}

/// The command that the words lead to, as far as they name one.
fn reached<'a>(whole: &'a Command, words: &[String]) -> &'a Command {
    words.iter().skip(1).fold(whole, |command, word| {
        let is_one = !word.starts_with('-') && word != "help";
        command.find_subcommand(word).filter(|_| is_one).unwrap_or(command)
    })
}

/// The first example in the help of a command.
fn example(command: &Command) -> Option<String> {
    let help = command.get_after_help()?.to_string();
    let mut lines = help.lines();
    lines.find_map(|line| Some(line.strip_prefix("  ")?.trim_end_matches('\\').trim().to_owned()))
}

/// How commands of this name are typed that belong to others: of those that are named beside it, or else of all, when they are
/// few.
fn elsewhere(whole: &Command, typed: &str, words: &[String]) -> Vec<String> {
    let shown = |command: &&Command| !command.is_hide_set() && command.get_name() != "help";
    let places = whole.get_subcommands().filter(shown).filter_map(|place| {
        let command = place.find_subcommand(typed)?;
        let is_named = words.iter().any(|word| *word != typed && is_called(place, word));
        Some((is_named, example(command)?))
    });
    let (named, all): (Vec<_>, Vec<_>) = places.partition(|(is_named, _)| *is_named);
    let best = if named.is_empty() { all } else { named };
    if best.len() > MOST_PLACES {
        return Vec::new();
    }
    best.into_iter()
        .map(|(_, example)| format!("for example: {example}"))
        .collect()
}

fn is_called(command: &Command, word: &str) -> bool {
    command.get_name() == word || command.get_all_aliases().any(|alias| alias == word)
}

/// Of the commands that are like a mistyped one, leaves the likeliest: clap names all that begin alike, the likeliest last.
fn likeliest(error: &mut clap::Error) {
    if let (Some(ContextValue::String(typed)), Some(ContextValue::Strings(alike))) = (
        error.get(ContextKind::InvalidSubcommand),
        error.get(ContextKind::SuggestedSubcommand),
    ) {
        let slips = |name: &String| strsim::damerau_levenshtein(typed, name);
        let fewest = alike.iter().map(slips).min();
        let best = alike
            .iter()
            .filter(|name| Some(slips(name)) == fewest)
            .cloned()
            .collect();
        error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(best));
    }
}
