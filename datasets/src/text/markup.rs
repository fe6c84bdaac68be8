//! HTML and XML to plain text.
//!
//! Not a parser of HTML: it never looks at the tree. For the documentation in the kit (well-formed, UTF-8, hardly any
//! named entity) a single pass over the text gives the same lines, in linear time whatever the input.

/// How a kind of document is marked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Markup {
    /// The text begins after the tag that begins so; with an absent tag there is no text. Empty: at the beginning.
    pub start: &'static str,
    /// Elements that are dropped with all that is in them.
    pub drop: &'static [&'static str],
    /// Elements within a line of text. All others begin and end a line.
    pub inline: &'static [&'static str],
    /// Elements in which spaces and line ends are kept.
    pub verbatim: &'static [&'static str],
}

impl Markup {
    /// HTML.
    pub const HTML: Self = Self {
        start: "",
        drop: &[
            "head", "script", "style", "noscript", "template", "svg", "nav", "aside", "footer",
        ],
        inline: &[
            "a", "abbr", "acronym", "b", "bdi", "bdo", "big", "cite", "code", "data", "del", "dfn",
            "em", "font", "i", "img", "ins", "kbd", "label", "mark", "q", "s", "samp", "small",
            "span", "strike", "strong", "sub", "sup", "time", "tt", "u", "var", "wbr",
        ],
        verbatim: &["pre", "textarea"],
    };

    /// HTML that begins at a tag of its own.
    pub const fn html_from(start: &'static str) -> Self {
        Self {
            start,
            ..Self::HTML
        }
    }

    /// Mallard, the XML of GNOME's documentation.
    pub const MALLARD: Self = Self {
        start: "",
        drop: &["info", "media"],
        inline: &[
            "app", "cmd", "em", "file", "gui", "guiseq", "hi", "input", "key", "keyseq", "link",
            "output", "span", "sys", "var",
        ],
        verbatim: &["screen"],
    };
}

/// The text of a document, a line for each block.
///
/// Entities are decoded if numeric or one of XML's five (and `&nbsp;`); others stay as they are. Runs of white space
/// become one space, except in verbatim elements. Markup that does not end is text from there on.
///
/// ```
/// use fire_assay_datasets::text::{Markup, plain_text};
///
/// let html = "<h1>Files &amp; folders</h1><p>Save\n  <b>all</b> of&#160;them.</p>";
/// assert_eq!(plain_text(html, &Markup::HTML), "Files & folders\nSave all of\u{a0}them.\n");
/// ```
pub fn plain_text(document: &str, markup: &Markup) -> String {
    let mut lines = Lines::default();
    let mut verbatim = 0_usize;
    let mut rest = match document.find(markup.start) {
        Some(at) => &document[at..],
        None => return String::new(),
    };
    while let Some((text, token, after)) = next_token(rest) {
        lines.add(text, verbatim > 0);
        rest = after;
        match token {
            Token::Nothing => {}
            Token::Text(text) => lines.add_decoded(text, verbatim > 0),
            Token::Tag { name, kind } => {
                let is =
                    |names: &[&str]| names.iter().any(|other| other.eq_ignore_ascii_case(name));
                if kind == TagKind::Opening && is(markup.drop) {
                    rest = after_element(after, name);
                }
                if is(markup.verbatim) {
                    match kind {
                        TagKind::Opening => verbatim += 1,
                        TagKind::Closing => verbatim = verbatim.saturating_sub(1),
                        TagKind::Empty => {}
                    }
                }
                if !is(markup.inline) {
                    lines.end_line();
                }
            }
        }
    }
    lines.add(rest, verbatim > 0);
    lines.end_line();
    lines.done
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TagKind {
    Opening,
    Closing,
    /// Opening and closing in one.
    Empty,
}

enum Token<'a> {
    Tag {
        name: &'a str,
        kind: TagKind,
    },
    /// Text in which nothing is to be decoded.
    Text(&'a str),
    /// A comment, declaration or instruction.
    Nothing,
}

/// The text up to the next piece of markup, that piece, and what is after it; `None` if there is no more.
fn next_token(document: &str) -> Option<(&str, Token<'_>, &str)> {
    let mut from = 0;
    loop {
        let at = from + document[from..].find('<')?;
        let (text, markup) = document.split_at(at);
        let until = |end: &str| {
            let length = markup.find(end)?;
            Some((&markup[..length], &markup[length + end.len()..]))
        };
        if markup.starts_with("<!--") {
            return until("-->").map(|(_, after)| (text, Token::Nothing, after));
        }
        if let Some(inside) = markup.strip_prefix("<![CDATA[") {
            let length = inside.find("]]>")?;
            let after = &inside[length + 3..];
            return Some((text, Token::Text(&inside[..length]), after));
        }
        if markup.starts_with("<!") || markup.starts_with("<?") {
            return until(">").map(|(_, after)| (text, Token::Nothing, after));
        }
        let inside = &markup[1..];
        let name_at = inside.strip_prefix('/').unwrap_or(inside);
        if name_at.starts_with(|first: char| first.is_ascii_alphabetic()) {
            let end = tag_end(inside)?;
            let name = name_of(name_at);
            let kind = if inside.starts_with('/') {
                TagKind::Closing
            } else if inside[..end].ends_with('/') {
                TagKind::Empty
            } else {
                TagKind::Opening
            };
            return Some((text, Token::Tag { name, kind }, &inside[end + 1..]));
        }
        // A `<` that begins no markup.
        from = at + 1;
    }
}

/// The name of a tag, without a namespace's prefix.
fn name_of(tag: &str) -> &str {
    let end = tag
        .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, ':' | '-' | '_' | '.')))
        .unwrap_or(tag.len());
    let name = &tag[..end];
    name.rsplit_once(':').map_or(name, |(_, name)| name)
}

/// Where the `>` is that ends a tag; one between quotes does not.
fn tag_end(tag: &str) -> Option<usize> {
    let mut quote = None;
    for (at, byte) in tag.bytes().enumerate() {
        match (quote, byte) {
            (None, b'>') => return Some(at),
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), _) if open == byte => quote = None,
            _ => {}
        }
    }
    None
}

/// What comes after the end of the element `name`, whose opening tag was read; nothing if it does not end.
fn after_element<'a>(document: &'a str, name: &str) -> &'a str {
    let raw = ["script", "style"]
        .iter()
        .any(|raw| raw.eq_ignore_ascii_case(name));
    if raw {
        // No markup within these, and a `<` of the script must not be taken for some.
        let mut rest = document;
        while let Some(at) = rest.find("</") {
            rest = &rest[at + 2..];
            if name_of(rest).eq_ignore_ascii_case(name) {
                return tag_end(rest).map_or("", |end| &rest[end + 1..]);
            }
        }
        return "";
    }
    let mut depth = 1;
    let mut rest = document;
    while let Some((_, token, after)) = next_token(rest) {
        rest = after;
        if let Token::Tag { name: other, kind } = token
            && other.eq_ignore_ascii_case(name)
        {
            match kind {
                TagKind::Opening => depth += 1,
                TagKind::Closing => depth -= 1,
                TagKind::Empty => {}
            }
            if depth == 0 {
                return rest;
            }
        }
    }
    ""
}

/// Puts text together, line by line.
#[derive(Default)]
struct Lines {
    done: String,
    line: String,
}

impl Lines {
    fn add(&mut self, text: &str, verbatim: bool) {
        let mut rest = text;
        while let Some(at) = rest.find('&') {
            self.add_decoded(&rest[..at], verbatim);
            rest = &rest[at..];
            match entity(rest) {
                Some((character, length)) => {
                    self.line.push(character);
                    rest = &rest[length..];
                }
                None => {
                    self.line.push('&');
                    rest = &rest[1..];
                }
            }
        }
        self.add_decoded(rest, verbatim);
    }

    fn add_decoded(&mut self, text: &str, verbatim: bool) {
        if verbatim {
            for piece in text.split_inclusive('\n') {
                match piece.strip_suffix('\n') {
                    Some(line) => {
                        self.line += line;
                        self.end_line();
                    }
                    None => self.line += piece,
                }
            }
            return;
        }
        for c in text.chars() {
            if !matches!(c, ' ' | '\t' | '\n' | '\r') {
                self.line.push(c);
            } else if !self.line.is_empty() && !self.line.ends_with(' ') {
                self.line.push(' ');
            }
        }
    }

    fn end_line(&mut self) {
        let line = self.line.trim_end();
        if !line.is_empty() {
            self.done += line;
            self.done.push('\n');
        }
        self.line.clear();
    }
}

/// The character that the entity at the beginning of `text` stands for, and the entity's length.
fn entity(text: &str) -> Option<(char, usize)> {
    /// `&#x10ffff;` and longer than all names below.
    const LONGEST: usize = 10;
    let end = text.bytes().take(LONGEST).position(|byte| byte == b';')?;
    let name = &text[1..end];
    let character = match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        "nbsp" => '\u{a0}',
        _ => {
            let digits = name.strip_prefix('#')?;
            let code = match digits.strip_prefix(['x', 'X']) {
                Some(digits) => u32::from_str_radix(digits, 16),
                None => digits.parse(),
            };
            char::from_u32(code.ok()?)?
        }
    };
    Some((character, end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn html(document: &str) -> String {
        plain_text(document, &Markup::HTML)
    }

    #[test]
    fn blocks_are_lines_and_inline_elements_are_not() {
        let document = "<ul><li>one <em>two</em></li><li>three</li></ul>four<br/>five";
        assert_eq!(html(document), "one two\nthree\nfour\nfive\n");
    }

    #[test]
    fn scripts_heads_and_comments_leave_nothing() {
        let document = "<head><title>t</title></head>a<script>if (x<b) y='</p>';</script>b\
                        <!-- <p>no</p> -->c<STYLE>p > q {}</STYLE>";
        assert_eq!(html(document), "a\nbc\n");
    }

    #[test]
    fn a_greater_sign_between_quotes_ends_no_tag() {
        assert_eq!(html("<a title=\"x > y\" alt='>'>z</a>"), "z\n");
    }

    #[test]
    fn what_is_no_markup_is_text() {
        for text in ["1 < 2 & 3", "a <3 b", "&unknown; &;", "5 > 4", "x <", "é &"] {
            assert_eq!(html(text), format!("{text}\n"));
        }
    }

    #[test]
    fn entities_are_decoded_once() {
        assert_eq!(
            html("&amp;lt; &lt;b&gt; &#233; &#xE9; &apos;"),
            "&lt; <b> é é '\n"
        );
        // Not a character: stays.
        assert_eq!(html("&#xD800; &#99999999;"), "&#xD800; &#99999999;\n");
    }

    #[test]
    fn verbatim_elements_keep_their_lines() {
        assert_eq!(html("<pre>a\n  b  c\n</pre>d  e"), "a\n  b  c\nd e\n");
    }

    #[test]
    fn text_before_the_start_is_left_out_and_without_a_start_there_is_none() {
        let markup = Markup::html_from("<div id=\"x\"");
        assert_eq!(
            plain_text("<p>a</p><div id=\"x\" dir=l>b</div>", &markup),
            "b\n"
        );
        assert_eq!(plain_text("<p>a</p>", &markup), "");
    }

    #[test]
    fn mallard_drops_credits_with_their_prefix_and_nesting() {
        let page = "<page><info><m:credit xmlns:m=\"u\"><m:name>N</m:name></m:credit></info>\
                    <title>T</title><p>Press <key>A</key>.</p><info/><p>Q</p></page>";
        assert_eq!(plain_text(page, &Markup::MALLARD), "T\nPress A.\nQ\n");
    }

    #[test]
    fn unclosed_markup_takes_linear_time() {
        for piece in [
            "<a '",
            "<!--",
            "</",
            "<![CDATA[",
            "&#",
            "<script>",
            "<info>",
            "<",
        ] {
            let document = piece.repeat(200_000);
            let started = std::time::Instant::now();
            plain_text(&document, &Markup::HTML);
            plain_text(&document, &Markup::MALLARD);
            assert!(started.elapsed().as_secs() < 5, "{piece} is slow");
        }
    }

    #[test]
    fn cdata_is_text_as_it_is() {
        assert_eq!(html("<p><![CDATA[a &amp; <b>]]></p>"), "a &amp; <b>\n");
    }
}
