//! What of a script's words may be told: what stands in the script itself, never what came from a message.

/// Shortest piece of text that counts as the script's own.
const SHORTEST: usize = 8;
/// Longest text that is kept, in characters.
const LONGEST: usize = 300;

/// The JavaScript engine's own wording, which names no value.
const WORDING: &str = "\
cannot read property '\ncannot read properties of undefined (reading '\n' of undefined\n' of null\n' is not defined\n\
' is not a function\nis not a function\nnot a function\ncannot set property '\n' is not initialized\n\
' is read-only\nobject is not extensible\nundefined is not a function\nnull is not a function\nis not iterable\n\
value is not iterable\nobject is not a function\nMaximum call stack size exceeded\nout of memory\ninterrupted\n\
invalid array length\nunexpected token\ncircular reference\ncannot convert to object\ncannot convert \
undefined or null to object\nnot an object\nno setter for property\ncould not delete property\n\
is not a constructor\nnot a constructor\ninvalid date value\nInvalid string length\ninvalid string length\nnot a symbol\nnot a string\n\
transform() must not be async\ntransform() must return a Bundle, or nothing to keep the one that it was given\n\
what transform() leaves is no JSON\nMath.random() is not there: the same message must give the same result\n\
the texts are too long to search\ndecimal() needs a number in digits, such as '0.010'\n\
a path is text, such as 'PID-3[1].4'\nlookup() knows no such code set; there are \n\
lookup() knows no such code set; there is none\n` is no HL7 path; write it like PID-3[1].4.2\nproperty '\n";

/// `text` with every piece blotted out that is neither in `source` nor the engine's own wording.
pub(super) fn told(text: &str, source: &str) -> String {
    let text: String = text.chars().take(LONGEST).collect();
    // A name that is not defined is the script's own.
    let name = text.strip_suffix(" is not defined").filter(|name| !name.contains(char::is_whitespace));
    if source.contains(&text) || WORDING.contains(&text) || name.is_some_and(|name| source.contains(name)) {
        return text;
    }
    let mut out = String::new();
    let mut rest = text.as_str();
    while let Some(first) = rest.chars().next() {
        if let Some(end) = quoted_name(rest, &out, source) {
            let (name, after) = rest.split_at(end);
            out.push_str(name);
            rest = after;
            continue;
        }
        let own = own_piece(rest, source).max(own_piece(rest, WORDING));
        let (piece, after) = rest.split_at(if own == 0 { first.len_utf8() } else { own });
        if own > 0 {
            out.push_str(piece);
        } else if !out.ends_with('…') {
            out.push('…');
        }
        rest = after;
    }
    out
}

/// Where the name of an element in quotes ends that the script itself writes: `'code' of undefined` for `row.code`.
fn quoted_name(text: &str, before: &str, source: &str) -> Option<usize> {
    let (quote, name) = match text.strip_prefix('\'') {
        Some(name) => (1, name),
        None if before.ends_with('\'') => (0, text),
        None => return None,
    };
    let end = name.find('\'').filter(|end| *end > 0)?;
    let name = name.get(..end)?;
    let is_name = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    (is_name && source.contains(&format!(".{name}"))).then_some(quote + end)
}

/// How many bytes at the beginning of `text` stand in `source` as they are; 0 if they are too few to tell.
fn own_piece(text: &str, source: &str) -> usize {
    let Some(least) = text.char_indices().map(|(i, c)| i + c.len_utf8()).find(|end| *end >= SHORTEST) else { return 0 };
    let Some(start) = text.get(..least) else { return 0 };
    let same = |at: usize| {
        let there = source.get(at..).unwrap_or_default();
        let pairs = text.chars().zip(there.chars());
        pairs.take_while(|(a, b)| a == b && *a != '\n').map(|(c, _)| c.len_utf8()).sum::<usize>()
    };
    source.match_indices(start).map(|(at, _)| same(at)).max().unwrap_or(0)
}

/// The lines of `source` around `lines`, counted from 1: where what is said there is written.
pub(super) fn around(source: &str, lines: &[usize]) -> String {
    const AFTER: usize = 3;
    let near = |number: usize| lines.iter().any(|line| number + 1 >= *line && number <= line + AFTER);
    let kept = source.lines().enumerate().filter(|(i, _)| near(i + 1)).map(|(_, line)| line);
    kept.collect::<Vec<_>>().join("\n")
}

/// The places in the script called `name` that a stack trace goes through, the innermost first: line and column.
pub(super) fn frames(stack: &str, name: &str) -> Vec<(usize, usize)> {
    let place = |line: &str| {
        let (_, after) = line.rsplit_once(&format!("{name}:"))?;
        let mut numbers = after.trim_end_matches(')').split(':').map(|n| n.parse::<usize>().ok());
        Some((numbers.next()??, numbers.next().flatten().unwrap_or(1)))
    };
    stack.lines().filter_map(place).collect()
}

/// A place that a script names, if it has the form of one: `PID-3[1].4`, `entry[2].resource.code`.
pub(super) fn place(text: &str) -> Option<String> {
    let hl7 = text.parse::<message::hl7v2::Path>().is_ok();
    let name = |c: char| c.is_ascii_alphanumeric() || ".[]-".contains(c);
    let fhir = text.len() <= 120 && text.starts_with("entry[") && text.chars().all(name);
    (hl7 || fhir).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_the_script_says_and_blots_out_what_the_message_says() {
        let source = "if (x) throw new Error('no ward for the unit ' + unit)";
        assert_eq!(told("no ward for the unit 4 North", source), "no ward for the unit …");
        assert_eq!(told("no ward for the unit ", source), "no ward for the unit ");
        assert_eq!(told("Everyperson", source), "…");
        assert_eq!(
            told("cannot read property 'Everyperson' of undefined", source),
            "cannot read property '…' of undefined"
        );
        assert_eq!(told("Größe: 180 Zentimeter", source), "…");
    }

    #[test]
    fn finds_the_script_in_a_stack_trace() {
        let stack =
            "    at helper (fix.js:12:5)\n    at transform (fix.js:3:10)\n    at <anonymous> (tributary:90:1)\n";
        assert_eq!(frames(stack, "fix.js"), [(12, 5), (3, 10)]);
        assert_eq!(frames("    at fix.js:7\n", "fix.js"), [(7, 1)]);
    }

    #[test]
    fn a_place_has_the_form_of_one() {
        assert!(place("PID-3[1].4").is_some() && place("entry[2].resource.code").is_some());
        assert!(place("Everyperson").is_none() && place("PID Everyperson").is_none());
    }
}
