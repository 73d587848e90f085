// SPDX-License-Identifier: EUPL-1.2
//! Rhai's own messages in German and English. Texts hold names from the script, never values.

use kop_core::similar;
use rhai::{EvalAltResult as Error, LexError, ParseErrorType as Parse};

use crate::errors::{OutOfTime, plain};

/// A run-time error in words.
pub(crate) struct Message {
    pub(crate) code: &'static str,
    pub(crate) de: String,
    pub(crate) en: String,
    pub(crate) hint: Option<String>,
    pub(crate) detail: Option<String>,
}

fn two(de: impl Into<String>, en: impl Into<String>) -> (String, String) {
    (de.into(), en.into())
}

/// Code and hint of a parse error: some are limits rather than mistakes of writing.
pub(crate) fn parse_code(error: &Parse) -> (&'static str, Option<String>) {
    match error {
        Parse::ExprTooDeep => ("KOP-M004", Some("Teile in eigene Funktionen auslagern.".into())),
        Parse::TooManyFunctions
        | Parse::LiteralTooLarge(..)
        | Parse::BadInput(LexError::StringTooLong(_)) => ("KOP-M004", None),
        Parse::VariableUndefined(name) => (
            "KOP-M001",
            Some(match name.as_str() {
                "input" | "eingabe" | "antrag" => "Der Antrag heißt „eingang“.".into(),
                _ => "Schreibweise prüfen; Variablen werden mit „let name = …;“ angelegt. In einer Funktion sind nur ihre Parameter, ihre eigenen Variablen und „eingang“ bekannt.".into(),
            }),
        ),
        Parse::ForbiddenVariable(_) | Parse::VariableExists(_) => {
            ("KOP-M001", Some("Einen anderen Namen wählen.".into()))
        }
        Parse::BadInput(LexError::UnterminatedString) => {
            ("KOP-M001", Some("Das schließende Anführungszeichen fehlt.".into()))
        }
        Parse::MissingToken(token, _) if token == ";" => {
            ("KOP-M001", Some("Am Ende der vorigen Anweisung fehlt ein Semikolon.".into()))
        }
        Parse::DuplicatedProperty(_) => (
            "KOP-M001",
            Some("Wiederholungen desselben Elements als Liste schreiben: [ …, … ].".into()),
        ),
        _ => ("KOP-M001", None),
    }
}

/// A parse error in words.
pub(crate) fn parse(error: &Parse) -> (String, String) {
    match error {
        Parse::UnexpectedEOF => two(
            "Das Skript endet mitten in einem Ausdruck; vermutlich fehlt eine schließende Klammer.",
            "The script ends within an expression; a closing bracket is probably missing.",
        ),
        Parse::BadInput(lex) => lexical(lex),
        Parse::UnknownOperator(op) => {
            two(format!("Den Operator „{op}“ gibt es nicht."), format!("There is no operator “{op}”."))
        }
        Parse::MissingToken(token, _) => {
            two(format!("Hier wird „{token}“ erwartet."), format!("Expected “{token}” here."))
        }
        Parse::MissingSymbol(_) => two("Hier fehlt ein Zeichen.", "A symbol is missing here."),
        Parse::MalformedIndexExpr(_) => {
            two("Der Zugriff mit [ ] ist fehlerhaft.", "The index expression is malformed.")
        }
        Parse::MalformedCapture(_) => two("Der Aufruf ist fehlerhaft.", "The call is malformed."),
        Parse::DuplicatedProperty(name) => two(
            format!("Der Schlüssel „{name}“ steht zweimal in derselben Map."),
            format!("The key “{name}” occurs twice in the same map."),
        ),
        Parse::DuplicatedVariable(name) => two(
            format!("Der Name „{name}“ kommt hier zweimal vor."),
            format!("The name “{name}” occurs twice here."),
        ),
        Parse::WrongSwitchIntegerCase => two(
            "Dieser Fall von „switch“ muss ein einzelner Wert sein.",
            "This switch case must be a single value.",
        ),
        Parse::WrongSwitchDefaultCase => two(
            "Der Fall „_“ von „switch“ muss der letzte sein und darf keine Bedingung haben.",
            "The default case of switch must come last and have no condition.",
        ),
        Parse::WrongSwitchCaseCondition => {
            two("Dieser Fall darf keine Bedingung haben.", "This case must not have a condition.")
        }
        Parse::PropertyExpected => {
            two("Hier wird der Name eines Schlüssels erwartet.", "Expected the name of a property.")
        }
        Parse::VariableExpected => {
            two("Hier wird der Name einer Variablen erwartet.", "Expected the name of a variable.")
        }
        Parse::ForbiddenVariable(name) => two(
            format!("„{name}“ ist vergeben und kann nicht neu angelegt werden."),
            format!("“{name}” is taken and cannot be defined again."),
        ),
        Parse::Reserved(name) => two(
            format!("„{name}“ ist ein reserviertes Wort oder hier nicht erlaubt."),
            format!("“{name}” is reserved or not allowed here."),
        ),
        Parse::MismatchedType(..) => {
            two("Hier steht ein Wert von der falschen Art.", "A value of the wrong type stands here.")
        }
        Parse::ExprExpected(_) => two("Hier wird ein Ausdruck erwartet.", "Expected an expression."),
        Parse::WrongDocComment => two(
            "Ein Kommentar mit /// darf nur vor einer Funktion stehen.",
            "A doc comment is only allowed before a function.",
        ),
        Parse::WrongFnDefinition => two(
            "Funktionen dürfen nur auf der obersten Ebene des Skripts stehen.",
            "Functions can only be defined at the top level of the script.",
        ),
        Parse::FnDuplicatedDefinition(name, _) => two(
            format!("Die Funktion „{name}“ gibt es schon mit gleich vielen Parametern."),
            format!("The function “{name}” exists already with as many parameters."),
        ),
        Parse::FnMissingName => two("Der Funktion fehlt ein Name.", "The function has no name."),
        Parse::FnMissingParams(name) => two(
            format!("Der Funktion „{name}“ fehlt die Liste der Parameter ( )."),
            format!("The function “{name}” lacks its parameter list."),
        ),
        Parse::FnDuplicatedParam(name, param) => two(
            format!("Die Funktion „{name}“ hat den Parameter „{param}“ zweimal."),
            format!("The function “{name}” has the parameter “{param}” twice."),
        ),
        Parse::FnMissingBody(name) => two(
            format!("Der Funktion „{name}“ fehlt der Rumpf {{ }}."),
            format!("The function “{name}” lacks its body."),
        ),
        Parse::WrongExport => two(
            "„export“ ist nur auf der obersten Ebene erlaubt.",
            "“export” is only allowed at the top level.",
        ),
        Parse::AssignmentToConstant(name) => two(
            format!("„{name}“ ist eine Konstante und kann nicht geändert werden."),
            format!("“{name}” is a constant and cannot be changed."),
        ),
        Parse::AssignmentToInvalidLHS(_) => two(
            "Diesem Ausdruck kann nichts zugewiesen werden.",
            "Nothing can be assigned to this expression.",
        ),
        Parse::VariableExists(name) => two(
            format!("Die Variable „{name}“ gibt es schon."),
            format!("The variable “{name}” exists already."),
        ),
        Parse::VariableUndefined(name) => {
            two(format!("Die Variable „{name}“ gibt es nicht."), format!("There is no variable “{name}”."))
        }
        Parse::ModuleUndefined(name) => two(
            format!("Das Modul „{name}“ ist nicht eingebunden."),
            format!("The module “{name}” is not imported."),
        ),
        Parse::ExprTooDeep => {
            two("Der Ausdruck ist zu tief verschachtelt.", "The expression is nested too deeply.")
        }
        Parse::TooManyFunctions => {
            two("Das Skript hat zu viele Funktionen.", "The script has too many functions.")
        }
        Parse::LiteralTooLarge(..) => {
            two("Der Text, die Liste oder die Map ist zu groß.", "The literal is too large.")
        }
        Parse::LoopBreak => two(
            "„break“ und „continue“ sind nur in Schleifen erlaubt.",
            "“break” and “continue” are only allowed within loops.",
        ),
        _ => two("Das Skript ist fehlerhaft.", "The script is malformed."),
    }
}

fn lexical(error: &LexError) -> (String, String) {
    match error {
        LexError::UnexpectedInput(_) => {
            two("Dieses Zeichen ist hier nicht erlaubt.", "Unexpected character.")
        }
        LexError::UnterminatedString => two("Der Text endet nicht.", "The text is never closed."),
        LexError::StringTooLong(_) => two("Der Text ist zu lang.", "The text is too long."),
        LexError::MalformedEscapeSequence(_) => two(
            "Die Zeichenfolge nach \\ ist unbekannt; ein \\ selbst wird \\\\ geschrieben.",
            "Unknown escape sequence; a backslash itself is written as two.",
        ),
        LexError::MalformedNumber(_) => two("Die Zahl ist fehlerhaft.", "The number is malformed."),
        LexError::MalformedChar(_) => two(
            "In einfachen Anführungszeichen darf nur ein Zeichen stehen; Texte stehen in doppelten.",
            "Single quotes hold one character; texts stand in double quotes.",
        ),
        LexError::MalformedIdentifier(_) => two("Der Name ist fehlerhaft.", "The name is malformed."),
        LexError::ImproperSymbol(symbol, _) if !symbol.is_empty() => {
            two(format!("„{symbol}“ ist hier nicht erlaubt."), format!("“{symbol}” is not allowed here."))
        }
        _ => two("Dieses Zeichen ist hier nicht erlaubt.", "This symbol is not allowed here."),
    }
}

/// Rhai's and our type names as authors know them.
fn type_name(name: &str) -> (&str, &str) {
    match name.rsplit("::").next().unwrap_or(name) {
        "string" | "ImmutableString" | "&str" | "String" => ("Text", "text"),
        "()" => ("nichts ()", "nothing ()"),
        "i64" | "int" => ("ganze Zahl", "whole number"),
        "f64" | "float" => ("Kommazahl", "floating-point number"),
        "bool" => ("Wahrheitswert", "truth value"),
        "char" => ("Zeichen", "character"),
        "array" | "Array" => ("Liste", "list"),
        "map" | "Map" => ("Map", "map"),
        "Fn" | "FnPtr" => ("Funktion", "function"),
        "Teil" => ("Teil des Antrags", "part of the submission"),
        "Datei" => ("Datei", "file"),
        other => (other, other),
    }
}

/// A run-time error in words; thrown values are handled before.
pub(crate) fn run(error: &Error) -> Message {
    let make = |code, (de, en): (String, String)| Message { code, de, en, hint: None, detail: None };
    let with = |code, texts, hint: &str| Message { hint: Some(hint.to_owned()), ..make(code, texts) };
    match error {
        Error::ErrorParsing(parse_error, _) => {
            let (code, hint) = parse_code(parse_error);
            Message { hint, ..make(code, parse(parse_error)) }
        }
        Error::ErrorVariableExists(name, _) => make("KOP-M010", parse(&Parse::VariableExists(name.clone()))),
        Error::ErrorForbiddenVariable(name, _) => {
            make("KOP-M001", parse(&Parse::ForbiddenVariable(name.clone())))
        }
        Error::ErrorVariableNotFound(name, _) => {
            make("KOP-M010", parse(&Parse::VariableUndefined(name.clone())))
        }
        Error::ErrorPropertyNotFound(name, _) => make(
            "KOP-M010",
            two(
                format!("Den Schlüssel „{name}“ gibt es hier nicht."),
                format!("There is no property “{name}” here."),
            ),
        ),
        Error::ErrorIndexNotFound(..) => {
            make("KOP-M010", two("Diesen Eintrag gibt es nicht.", "There is no such entry."))
        }
        Error::ErrorDotExpr(..) => with(
            "KOP-M005",
            two(
                "Auf diesen Namen gibt es hier keinen Zugriff; der Wert hat ihn nicht oder er ist nur lesbar.",
                "This name cannot be accessed here; the value does not have it, or it is read-only.",
            ),
            "Felder liest man mit eingang.text(\"pfad\"); „eingang“ selbst ist nicht änderbar.",
        ),
        Error::ErrorFunctionNotFound(signature, _) => function_not_found(signature),
        Error::ErrorModuleNotFound(..) => with(
            "KOP-M010",
            two("Dieses Modul gibt es nicht.", "There is no such module."),
            "Eingebunden werden nur die Skripte aus „_gemeinsam“, mit ihrem Namen ohne Ordner und Endung.",
        ),
        Error::ErrorUnboundThis(_) => {
            make("KOP-M010", two("„this“ hat hier keinen Wert.", "“this” is not bound here."))
        }
        Error::ErrorMismatchDataType(wanted, got, _) | Error::ErrorMismatchOutputType(wanted, got, _) => {
            let ((wanted_de, wanted_en), (got_de, got_en)) = (type_name(wanted), type_name(got));
            let texts = if wanted.is_empty() {
                two(
                    format!("Ein Wert hat die falsche Art: {got_de}."),
                    format!("A value has the wrong type: {got_en}."),
                )
            } else {
                two(
                    format!("Erwartet wird {wanted_de}, vorhanden ist {got_de}."),
                    format!("Expected {wanted_en}, found {got_en}."),
                )
            };
            make("KOP-M005", texts)
        }
        Error::ErrorIndexingType(..) => with(
            "KOP-M005",
            two("Auf diesen Wert kann nicht mit [ ] zugegriffen werden.", "This value cannot be indexed."),
            "Felder liest man mit eingang.text(\"pfad\").",
        ),
        Error::ErrorArrayBounds(len, ..) => make(
            "KOP-M010",
            two(
                format!("Diesen Eintrag der Liste gibt es nicht; sie hat {len} Einträge, gezählt ab 0."),
                format!("The list has no such entry; it has {len}, counted from 0."),
            ),
        ),
        Error::ErrorStringBounds(..) => {
            make("KOP-M010", two("So lang ist der Text nicht.", "The text is not that long."))
        }
        Error::ErrorFor(_) => with(
            "KOP-M005",
            two("„for“ braucht eine Liste oder einen Bereich.", "“for” needs a list or a range."),
            "Wiederholte Felder liefert eingang.liste(\"pfad\").",
        ),
        Error::ErrorDataRace(..) => with(
            "KOP-M010",
            two(
                "Ein Wert wird geändert, während er gelesen wird.",
                "A value is changed while it is being read.",
            ),
            "Den Wert vor dem Aufruf in eine eigene Variable kopieren.",
        ),
        Error::ErrorNonPureMethodCallOnConstant(..) | Error::ErrorAssignmentToConstant(..) => {
            make("KOP-M010", two("Dieser Wert kann nicht geändert werden.", "This value cannot be changed."))
        }
        Error::ErrorArithmetic(text, _) => Message {
            detail: Some(plain(text)),
            ..make("KOP-M010", two("Die Rechnung ist nicht möglich.", "The calculation is not possible."))
        },
        Error::ErrorTooManyOperations(_) => with(
            "KOP-M004",
            two("Das Skript braucht zu viele Schritte.", "The script takes too many steps."),
            "Vermutlich endet eine Schleife nicht.",
        ),
        Error::ErrorTooManyVariables(_) => {
            make("KOP-M004", two("Das Skript hat zu viele Variablen.", "The script has too many variables."))
        }
        Error::ErrorTooManyModules(_) => {
            make("KOP-M004", two("Das Skript lädt zu viele Module.", "The script loads too many modules."))
        }
        Error::ErrorStackOverflow(_) => with(
            "KOP-M004",
            two("Funktionen rufen einander zu oft ineinander auf.", "Functions call one another too deeply."),
            "Vermutlich ruft sich eine Funktion ohne Ende selbst auf.",
        ),
        Error::ErrorDataTooLarge(..) => make(
            "KOP-M004",
            two("Ein Text, eine Liste oder eine Map ist zu groß.", "A text, list or map is too large."),
        ),
        Error::ErrorTerminated(token, _) => with(
            "KOP-M004",
            if token.is::<OutOfTime>() {
                two("Das Skript braucht zu lange.", "The script takes too long.")
            } else {
                two("Das Skript wurde abgebrochen.", "The script was terminated.")
            },
            "Vermutlich endet eine Schleife nicht oder verarbeitet sehr große Listen.",
        ),
        other => Message {
            detail: Some(plain(&other.to_string())),
            ..make("KOP-M010", two("Das Skript ist gescheitert.", "The script failed."))
        },
    }
}

/// `name (Art, Art)` as Rhai writes it: an unknown name, or the right name with wrong arguments.
fn function_not_found(signature: &str) -> Message {
    let (name, arguments) = signature.split_once(" (").unwrap_or((signature, ""));
    let arguments: Vec<&str> = arguments
        .trim_end_matches(')')
        .split(", ")
        // Rhai lists every type that a text may have.
        .map(|a| type_name(a.split(" | ").next().unwrap_or(a)).0)
        .filter(|a| !a.is_empty())
        .collect();
    let known = crate::functions().iter().any(|doc| doc.name == name);
    let shown = name.strip_prefix("get$").or_else(|| name.strip_prefix("set$"));
    let list = arguments.join(", ");
    let (code, de, en) = match shown {
        Some(property) => (
            "KOP-M005",
            format!("Den Namen „{property}“ gibt es hier nicht ({list})."),
            format!("There is no property “{property}” here."),
        ),
        None if known || !name.chars().next().is_some_and(char::is_alphabetic) => (
            "KOP-M005",
            format!("„{name}“ passt nicht zu diesen Werten: {list}."),
            format!("“{name}” does not fit these values."),
        ),
        None => (
            "KOP-M010",
            format!("Die Funktion „{name}“ gibt es nicht für: {list}."),
            format!("There is no function “{name}” for these arguments."),
        ),
    };
    let hint = if arguments.contains(&"nichts ()") {
        Some("Ein Wert ist leer (): mit pflicht(), hat() oder ?? einen Wert sicherstellen.".to_owned())
    } else if name == "eval" || name == "sleep" {
        Some("Diese Funktion ist in Zuordnungen nicht vorgesehen.".to_owned())
    } else {
        let known = crate::functions().iter().map(|doc| doc.name);
        similar::question(&similar::near(shown.unwrap_or(name), known))
    };
    Message { code, de, en, hint, detail: None }
}
